"""``finecut doctor``: whether this machine can do what the options ask, found out by doing it.

    finecut doctor --embedding-algorithm cosmos-embed1-224p --model-dir gs://models --output gs://out
    finecut doctor s3://bucket/dataset

A film is painted, decoded and cut with the encoder that was chosen; every model that the options
name is loaded and asked about the clip; a file is written to the output and removed, and in a store
everything else is tried that finecut does there. What does not work is reported with what helps,
and the exit code is 1. Neither an input nor a GPU is needed, so this can be a step of building an
image; run where the GPU is, it shows what the models take of it.
"""

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from finecut.io.layout import Layout
from finecut.io.media.codecs import Encoding, require_decoder, require_encoder
from finecut.io.media.frames.contact_sheet import SheetForm, sheet_from_file
from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Clip, Failure, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.retry import greet
from finecut.io.storage.staging import temporary_folder
from finecut.io.storage.trial import trials
from finecut.pipeline.choices.cutting import SOFTWARE
from finecut.pipeline.commands.curate import Doctor
from finecut.pipeline.commands.curate.describe import needs
from finecut.pipeline.custom_steps import CustomStep, loaded
from finecut.pipeline.options import Options, cores
from finecut.pipeline.planning import Plan, encoding_of, needs_of, plan
from finecut.pipeline.running import check_scratch
from finecut.transforms.beam.guard import attempted
from finecut.transforms.cut.chunk import Cutting, cut_chunk
from finecut.transforms.measure.looking import Looking
from finecut.transforms.models.loading import gpus
from finecut.transforms.split.spans import FixedStride, chunks_of
from finecut.transforms.step import EachClip, looked_at_or_not
from finecut.transforms.steps.embed import Embed

#: Packages whose versions explain most of what differs between two machines.
PACKAGES = (
    "finecut",
    "apache-beam",
    "av",
    "pyarrow",
    "numpy",
    "onnxruntime",
    "torch",
    "transformers",
    "vllm",
    "google-cloud-storage",
    "obstore",
)
#: What films come in, and the encoder, container and pixels of a sample of it.
KINDS = {
    "H.264": ("libx264", "mp4", "yuv420p"),
    "HEVC": ("libx265", "mp4", "yuv420p"),
    "VP9": ("libvpx-vp9", "webm", "yuv420p"),
    "AV1": ("libsvtav1", "mp4", "yuv420p"),
    "MPEG-4": ("mpeg4", "avi", "yuv420p"),
    "ProRes": ("prores_ks", "mov", "yuv422p10le"),
    "MJPEG": ("mjpeg", "avi", "yuvj420p"),
}
SAMPLE_SECONDS = 3


@dataclass(frozen=True)
class Finding:
    """One thing that was tried: whether it works, and what there is to say."""

    what: str
    well: bool
    message: str

    def __str__(self) -> str:
        return f"  {'ok  ' if self.well else 'FAIL'}  {self.what:<20} {self.message}"


def doctor(command: Doctor) -> bool:
    """Try everything and say what came of it; whether all of it works."""
    options, say = command.options, command.say
    say("\n".join(["Versions", *_versions(), "", "Devices", *_devices()]))
    failed: list[Finding] = []

    def report(findings: Iterable[Finding]) -> None:
        for finding in findings:
            say(str(finding))
            failed.extend([] if finding.well else [finding])

    with temporary_folder() as folder:
        say("\nFilms")
        report(_films(options, Path(folder)))
        say("\nSteps")
        own = replace(options, output=f"{folder}/output")
        plans: list[Plan] = []
        planned = _tried("plan", lambda: plans.append(plan(own, run="doctor")))
        report(_steps(own, plans[0], Path(folder)) if plans else [planned])
        say("\nOutput")
        report(_output(options, plans))
    for steps in plans:
        say("\n".join(["", "Resources", *needs(options, steps)]))
    count = "1 thing does" if len(failed) == 1 else f"{len(failed)} things do"
    names = ", ".join(finding.what for finding in failed)
    say(f"\n{count} not work: {names}. See above." if failed else "\nEverything works.")
    return not failed


def _versions() -> Iterator[str]:
    yield f"  {'python':<22} {platform.python_version()}, {platform.platform()}"
    for package in PACKAGES:
        try:
            yield f"  {package:<22} {version(package)}"
        except PackageNotFoundError:
            yield f"  {package:<22} not installed"


def _devices() -> list[str]:
    found = [f"{name}, {memory:.1f} GB" for name, memory in gpus()] or ["none that torch can use"]
    return [f"  {'cores':<22} {cores()}", *(f"  {'GPU':<22} {gpu}" for gpu in found)]


def _films(options: Options, folder: Path) -> Iterator[Finding]:
    """A sample of each kind of film, painted and decoded; and the encoder of the clips."""
    for kind, (encoder, suffix, pixels) in KINDS.items():
        yield _tried(
            f"decode {kind}", partial(_decoded, folder / f"{kind}.{suffix}", encoder, pixels)
        )
    yield _tried(
        f"encode {options.encoder}", partial(require_encoder, encoding_of(options)), "opens"
    )
    if options.decoder != SOFTWARE:
        yield _tried(
            f"decode with {options.decoder}",
            partial(require_decoder, options.decoder),
            "a frame came back unchanged",
        )


def _decoded(path: Path, encoder: str, pixels: str) -> str:
    painting = paint(path, seconds=1, rate=10, codec=encoder, pix_fmt=pixels)
    sheet = sheet_from_file(painting.path, SheetForm((10,), side=64))
    if len(sheet) != len(painting.times):
        raise ValueError(f"{len(sheet)} of {len(painting.times)} frames came back")
    return f"{len(sheet)} frames"


def _steps(options: Options, steps: Plan, folder: Path) -> Iterator[Finding]:
    """One clip, the whole way: cut, looked at, scored, embedded, captioned."""
    used = "can be written to" if options.scratch_mb else "not used"
    yield _tried("scratch", partial(check_scratch, options, steps), used)
    cutter = steps.splitting.cutter
    yield from (
        Finding(f"needs of {name}", False, str(missing))
        for name, needed in needs_of(options, steps)
        for missing in needed.missing()
    )
    yield _tried("load scene detector", cutter.prepare, type(cutter).__name__)
    cut: list[Clip] = []
    yield _tried("cut one clip", lambda: _cut(steps.cutting, steps, folder, cut))
    if not cut:
        # What models do does not depend on the encoder.
        yield _tried(
            "cut with libx264",
            lambda: _cut(replace(steps.cutting, encoding=Encoding()), steps, folder, cut),
        )
    if cut:
        yield from _models(steps, cut[0])


def _cut(cutting: Cutting, steps: Plan, folder: Path, cut: list[Clip]) -> str:
    path = str(paint(folder / "sample.mp4", seconds=SAMPLE_SECONDS, sound="aac").path)
    splitting = replace(steps.splitting, cutter=FixedStride(SAMPLE_SECONDS, SAMPLE_SECONDS, 0))
    [planned] = chunks_of(
        probe(path, Source(path, path, "sample.mp4"), shelf.size_of(path)), splitting
    )
    for outcome in cut_chunk(planned, cutting):
        if isinstance(outcome, Failure):
            raise ValueError(outcome.message)
        cut.append(outcome)
    [clip] = cut
    if clip.errors or clip.file is None:
        raise ValueError("; ".join(clip.errors.values()) or "no file was made")
    return f"{clip.file.num_frames} frames of {clip.file.video_codec}, {clip.file.num_bytes} bytes"


def _own(step: CustomStep, clip: Clip, looking: Looking) -> str:
    """A step of one's own is loaded and shown one clip."""
    if not isinstance(step.transform, EachClip):
        return "found; finecut cannot test what it does"
    ready = loaded(step)
    ready.looking = looking
    return _answer(clip, looked_at_or_not(clip, ready))


def _models(steps: Plan, clip: Clip) -> Iterator[Finding]:
    for mine in steps.own:
        yield _tried(f"step {mine.name}", partial(_own, mine, clip, steps.looking))
    for scoring, _ in steps.scorings:
        yield _asked(scoring.name, scoring, clip)[0]
    for name, work in steps.works.items():
        finding, clip = _asked(f"{name} {work.model}".rstrip(), work, clip)
        yield finding


def _asked(what: str, step: Any, clip: Clip) -> tuple[Finding, Clip]:
    """The model is loaded and asked about one clip; the clip comes back with its answer."""
    asked = [clip]

    def ask() -> str:
        step.require()
        began = time.monotonic()
        model = step.load()
        loaded = time.monotonic()
        [asked[0]] = step.run([clip], model)
        answer = _answer(clip, asked[0])
        return (
            f"{answer}; loaded in {loaded - began:.1f} s, {time.monotonic() - loaded:.1f} s a clip"
        )

    return _tried(what, ask), asked[0]


def _answer(before: Clip, after: Clip) -> str:
    """What is known now and was not before; an error is raised."""
    if new := [error for name, error in after.errors.items() if name not in before.errors]:
        raise ValueError("; ".join(new))
    found = {name: value for name, value in after.scores.items() if name not in before.scores}
    scores = [f"{k} {v}" if isinstance(v, str) else f"{k} {v:.3g}" for k, v in found.items()]
    vectors = [f"{len(v)} numbers" for k, v in after.vectors.items() if k not in before.vectors]
    texts = [
        repr(text[:60])
        for window, old in zip(after.windows, before.windows, strict=True)
        for now, known in (
            (window.captions, old.captions),
            (window.enhanced_captions, old.enhanced_captions),
        )
        for name, text in now.items()
        if name not in known
    ]
    files = [path.partition("/")[0] for path in after.artefacts if path not in before.artefacts]
    made = [f"{number} in {folder}/" for folder, number in Counter(files).items()]
    return ", ".join([*scores, *vectors, *texts, *made]) or "no text"


def _output(options: Options, plans: Iterable[Plan]) -> Iterator[Finding]:
    if not options.output:
        return
    output = shelf.absolute(options.output)
    yield _tried("write", partial(_written, output), f"{output} can be written to")
    if shelf.is_remote(output):
        staging = Layout(output).staging_of("doctor")
        yield from (_tried(what, attempt) for what, attempt in trials(staging))
    for embed in filter(None, (steps.works.get(Embed.name) for steps in plans)):
        yield _tried(
            "existing vectors",
            partial(embed.check_output, Layout(options.output)),
            "none, or of the same model",
        )


def _written(output: str) -> None:
    greet([output])
    own = Shelf(output, Layout(output).staging_of("doctor"))
    there = shelf.exists(output)
    own.prepare()
    own.sweep()
    if not there and not shelf.is_remote(output):
        # What was not there before is not left behind.
        Path(output).rmdir()


def _tried(what: str, work: Callable[[], object], well: str = "") -> Finding:
    """``well`` is what there is to say where it works, unless the work gives that."""
    outcome = attempted(work)
    if isinstance(outcome, Exception):
        return Finding(what, False, f"{type(outcome).__name__}: {outcome}")
    return Finding(what, True, well or str(outcome))
