"""Curating a little in a temporary folder, to see what it takes: time, bytes, requests.

    painted films   a clip │ 3 clips │ 3 chunks │ 3 videos      what a video and a chunk cost
    the sample      parts of real videos                        what clips cost

An output on a disk is tried on a disk, and one in a store in a bucket that counts requests.
"""

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import apache_beam as beam

from finecut.io.layout import Layout
from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import paint
from finecut.io.process.processor_time import processor_seconds
from finecut.io.records import Source, Span, Video
from finecut.io.storage import copies
from finecut.io.storage.counted import bucket_in, objects_in, requests_in
from finecut.io.storage.files import is_remote
from finecut.io.summary import Summary
from finecut.pipeline.at_work import is_half_forgotten, occupying, refuse_other_layout
from finecut.pipeline.batches import weighed
from finecut.pipeline.choices.running import LOCAL, LOCAL_RUNNERS
from finecut.pipeline.commands.estimate.choosing import Chosen, foreseen
from finecut.pipeline.commands.report.work import report_of_run
from finecut.pipeline.engine import engine_for
from finecut.pipeline.keeping import list_failures, run_document, write_document
from finecut.pipeline.one_pipeline import Job, run_one
from finecut.pipeline.options import Options
from finecut.pipeline.planning import plan
from finecut.pipeline.running import prepare
from finecut.transforms.beam.sharing import of_run
from finecut.transforms.beam.tally import Tallies
from finecut.transforms.catalogue.compact import begin_catalogue, compact
from finecut.transforms.split.scenes import Piece
from finecut.transforms.split.spans import Splitting, chunks_of

#: Of the films that are painted: seconds, and pixels.
PAINTED_SECONDS, WIDTH, HEIGHT = 3, 160, 90
DOCUMENTS: Final = "documents"


@dataclass(frozen=True)
class Things:
    """How many there are of what costs something."""

    videos: float
    chunks: float
    clips: float


@dataclass(frozen=True)
class Took:
    """What a little curating took."""

    things: Things
    cpu_seconds: float
    #: By the names of the videos.
    clip_bytes: Mapping[str, int]
    #: Bytes of all that is no clip (:data:`DOCUMENTS`), and requests by their kinds.
    amounts: Mapping[str, float]
    summary: Summary


class Workshop:
    """Curates chosen pieces of videos, one output for each time."""

    def __init__(self, options: Options, folder: str) -> None:
        self._folder = Path(folder)
        self._stored = is_remote(options.output)
        self._reports = not (
            self._stored
            or options.no_report
            or options.dry_run
            or options.runner not in LOCAL_RUNNERS
        )
        # Once, here, and only what was chosen.
        self._options = replace(
            options,
            runner=LOCAL,
            gpus=None,
            profile=False,
            watch=None,
            subscription=None,
            overwrite=False,
        )
        self._times = 0

    def painted(self) -> "Painted":
        """What films take that are hardly any work."""
        films = self._folder / "painted"
        films.mkdir()
        paint(str(films / "0.mp4"), seconds=PAINTED_SECONDS, width=WIDTH, height=HEIGHT)
        for number in (1, 2):
            shutil.copyfile(films / "0.mp4", films / f"{number}.mp4")
        videos = [_probed(films / f"{number}.mp4") for number in range(3)]
        pieces = [_second(number, videos[0]) for number in range(PAINTED_SECONDS)]
        return Painted(
            once=self.curate({videos[0]: pieces[:1]}),
            clips=self.curate({videos[0]: pieces}),
            chunks=self.curate({videos[0]: pieces}, chunk_seconds=1),
            videos=self.curate(dict.fromkeys(videos, pieces)),
        )

    def curate(
        self, pieces: Mapping[Video, Sequence[Piece]], chunk_seconds: int | None = None
    ) -> Took:
        """Make clips of these pieces, and count what it takes."""
        with self._output() as (output, bucket):
            options = replace(
                self._options,
                output=output,
                chunk_seconds=chunk_seconds or self._options.chunk_seconds,
            )
            chosen = Chosen({video.name: tuple(some) for video, some in pieces.items()})
            began = processor_seconds()
            summary = self._run(options, [video.source for video in pieces], chosen)
            cpu_seconds = processor_seconds() - began
            splitting = Splitting(chosen, chunk_seconds=options.chunk_seconds)
            each = [foreseen(video, chosen.pieces(video), splitting) for video in pieces]
            root = objects_in(bucket) / "output" if self._stored else bucket / "output"
            clip_bytes, documents = _sizes(root, pieces, splitting)
            kinds = Counter(request.kind for request in requests_in(bucket))
            return Took(
                Things(len(each), sum(e.chunks for e in each), sum(e.clips for e in each)),
                cpu_seconds,
                clip_bytes,
                {DOCUMENTS: documents, **kinds},
                summary=summary,
            )

    @contextmanager
    def _output(self) -> Iterator[tuple[str, Path]]:
        """A new output, and the folder in which it is."""
        self._times += 1
        folder = self._folder / f"try-{self._times}"
        folder.mkdir()
        yield f"{bucket_in(folder) if self._stored else folder}/output", folder
        shutil.rmtree(folder)

    def _run(self, options: Options, sources: Sequence[Source], chosen: Chosen) -> Summary:
        began, started = time.monotonic(), time.time()
        steps = plan(options)
        steps = steps._replace(splitting=Splitting(chosen, chunk_seconds=options.chunk_seconds))
        shelf = steps.writing.shelf
        with ExitStack() as at_work:
            engine = at_work.enter_context(engine_for(options.runner, options.local_workers))
            # All that a run asks of its output, also before and after its work.
            made = steps.writing.configuration
            at_work.enter_context(
                occupying(shelf, "--output", ends_with_us=True, configuration=made)
            )
            is_half_forgotten(steps.writing.layout.root)
            prepare(options, steps)
            if not steps.writing.dry_run:
                refuse_other_layout(steps.writing.layout)
                begin_catalogue(steps.writing.layout, shelf)
            kept = of_run(shelf.staging)  # what is read ahead stays until it is used
            job = Job(options, steps, engine, Tallies(shelf.staging, wanted=False))
            stats = Counter[str]()
            batch = [source for source, _, _ in weighed(sources, steps)]
            summary, failures, _ = run_one(beam.Create(batch), job, stats)
            del kept
            list_failures(steps, failures, {source.name for source in sources})
            if not steps.writing.dry_run:
                compact(steps.writing.layout, shelf)
            steps.cutting.looking.sweep()
            copies.sweep()
            seconds = time.monotonic() - began
            document = run_document(
                options, summary, seconds, stats, started=started, writing=steps.writing
            )
            write_document(steps, document, started)
            if self._reports:
                report_of_run(steps.writing.layout, shelf)
        return summary


@dataclass(frozen=True)
class Painted:
    """What painted films took."""

    #: One clip; everything is done for the first time in this process.
    once: Took
    #: Three clips of one video in a chunk, and in three; three such videos of a chunk each.
    clips: Took
    chunks: Took
    videos: Took

    @property
    def cpu_of_a_video(self) -> float:
        return max(0.0, self.videos.cpu_seconds - self.clips.cpu_seconds) / 2

    @property
    def cpu_of_a_run(self) -> float:
        """Of one that is not the first."""
        return max(0.0, self.clips.cpu_seconds - self.cpu_of_a_video)

    def amount(self, what: str, sample: Took, total: Things) -> float:
        """How much of this so many things will be: a run, a video, a chunk and a clip each have
        their share, and that of clips is the sample's.
        """
        tried = (self.once, self.clips, self.chunks, self.videos)
        once, clips, chunks, videos = (took.amounts.get(what, 0.0) for took in tried)
        of_clip, of_chunk = (clips - once) / 2, (chunks - clips) / 2
        of_video = (videos - clips) / 2 - of_chunk - 3 * of_clip
        of_run = once - of_video - of_chunk - of_clip

        def without_clips(things: Things) -> float:
            return of_run + of_video * things.videos + of_chunk * things.chunks

        if sample.things.clips:
            rest = sample.amounts.get(what, 0.0) - without_clips(sample.things)
            of_clip = max(0.0, rest / sample.things.clips)
        return without_clips(total) + of_clip * total.clips


def _second(number: int, video: Video) -> Piece:
    rate = video.framerate
    return Piece(int(number * rate), int((number + 1) * rate), Span(number, number + 1.0))


def _probed(path: Path) -> Video:
    source = Source(str(path), str(path), path.name)
    return probe(str(path), source, path.stat().st_size)


def _sizes(
    root: Path, pieces: Mapping[Video, Sequence[Piece]], splitting: Splitting
) -> tuple[dict[str, int], int]:
    """Bytes of clips (or of their packs) by the names of their videos, and of everything else."""
    chunks = [(video.name, chunk) for video in pieces for chunk in chunks_of(video, splitting)]
    owners = {clip.id: name for name, chunk in chunks for clip in chunk.clips}
    owners |= {f"{chunk.chunk.id}.tar": name for name, chunk in chunks}
    layout = Layout(str(root))
    folders = tuple(f"{each}/" for each in (layout.clips(), layout.clips(False), layout.packs()))
    clips, others = Counter[str](), 0
    for path in root.rglob("*"):
        if not path.is_file():
            continue
        size = path.stat().st_size
        owner = owners.get(path.name) or owners.get(path.stem)
        if str(path).startswith(folders) and owner is not None:
            clips[owner] += size
        else:
            others += size
    return dict(clips), others
