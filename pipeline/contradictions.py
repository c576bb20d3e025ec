"""What is wrong with a set of options, in sentences that say what to write instead."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from finecut.io.storage.files import is_remote
from finecut.pipeline.choices.cutting import (
    CONTENT,
    ENCODE_ALL,
    FIXED_STRIDE,
    LEAST_STRIDE,
    SMART,
    SOFTWARE,
    TRANSNETV2,
    X264,
)
from finecut.pipeline.choices.running import ALL_GPUS, parse_gpus
from finecut.pipeline.options import Options, default_of, option_fields
from finecut.transforms.filter.rules import parse_rule
from finecut.transforms.find.parts import parse_part
from finecut.transforms.models.resources import parse_override
from finecut.transforms.option import ENABLE, ENABLED, did_you_mean
from finecut.transforms.registry import SOURCES, STEPS

LARGEST = 10**15


def contradictions(o: Options, whole: bool = True) -> Iterator[str]:
    """Everything that is wrong, the plainest first; nothing when all is well."""
    if wrong := next(_of_other_kinds(o), None):
        yield wrong
        return
    yield from unknown_or_out_of_range(o)
    yield from _those(
        [
            (
                0 < o.stride < LEAST_STRIDE,
                f"--clip-stride {o.stride:g} is shorter than any frame: give {LEAST_STRIDE:g} or "
                "more",
            ),
            (
                whole and not o.input,
                "no --input: give --input FOLDER (or a file, a glob in quotes, a list)",
            ),
            (
                whole and "" in o.input,
                "--input '' names nothing: give --input . for the current folder",
            ),
            (
                whole and not o.output,
                "no --output: give --output FOLDER, the folder for the dataset",
            ),
        ]
    )
    own = bool(o.step)
    if wrong := next(_unreadable("--keep", o.keep, partial(parse_rule, own=own)), None):
        yield wrong
        return
    other = "--verbose" if o.verbose else "--log-stats"
    yield from _those(
        [
            (
                o.profile and not o.is_local,
                "--profile watches this process, but --runner works elsewhere: leave one of them "
                "out",
            ),
            (
                o.scratch_mb > 0 and is_remote(o.scratch or ""),
                f"--scratch {o.scratch} cannot be written to by decoders: give a folder on this "
                "machine, or --scratch-mb 0 to do without one",
            ),
            (
                o.gpus is not None and not o.is_local,
                "--gpus chooses among the GPUs of this machine, but --runner works elsewhere: "
                "leave one of them out",
            ),
            (
                o.quiet and (o.verbose or o.log_stats),
                f"--quiet and {other} contradict each other: give only one of them",
            ),
        ]
    )
    yield from _unreadable("--part", [] if o.part is None else [o.part], parse_part)
    given = [] if o.gpus in (None, ALL_GPUS) else [str(o.gpus)]
    yield from _unreadable("--gpus", given, parse_gpus)
    yield from _unfit_for_a_stream(o)
    yield from _unfit_for_watching(o)
    yield from _unreadable("--resources", o.resources, partial(parse_override, own=own))
    yield from _at_odds_in_cutting(o)
    for kind in STEPS:
        yield from kind.of(o).contradictions()
    yield from _without_effect(o)


def _those(sentences: Iterable[tuple[object, str]]) -> Iterator[str]:
    """The sentences that are true."""
    return (sentence for true, sentence in sentences if true)


def _of_other_kinds(o: Options) -> Iterator[str]:
    """Values that are of another kind than the option."""
    steps: object = o.step
    if isinstance(steps, type):
        yield f"step is a single class: give step=({steps.__name__},)"
    for one in steps if isinstance(steps, tuple) else ():
        kind = type(one).__name__
        if hasattr(one, "expand") and not isinstance(one, str):
            yield f"step: this is an object of {kind}, not a class: give step=({kind},)"
        elif not isinstance(one, str):
            yield f"step: {one!r} is neither a class nor the name of one: give package.module:Name"
    for name in ("input", "keep", "drop", "resources", "step", "step_option"):
        several: object = getattr(o, name)
        if isinstance(several, str):
            yield f"{name} is a single string: give {name}=({several!r},)"


def _unreadable(named: str, texts: Iterable[str], read: Callable[[str], object]) -> Iterator[str]:
    for text in texts:
        try:
            read(text)
        except ValueError as error:
            yield f"{named} {error}"


def _unfit_for_a_stream(o: Options) -> Iterator[str]:
    if o.subscription is None:
        yield from _those(
            [
                (
                    not o.streams and o.patience != _defaults()["patience"],
                    "--patience does nothing without a stream (--subscription): give both, or "
                    "leave it out",
                ),
                (
                    o.announced_only,
                    "--announced-only does nothing without --subscription: give both, or leave it "
                    "out",
                ),
            ]
        )
        return
    yield from _those(
        [
            (
                o.runner == "FnApiRunner",
                "--runner FnApiRunner reads no stream: give --runner DirectRunner for this "
                "machine, or DataflowRunner",
            ),
            (
                o.is_local and o.workers != _defaults()["workers"],
                "--workers does nothing with --subscription, because the runner that reads it on "
                "this machine has one thread: leave it out",
            ),
            (
                o.overwrite,
                "--overwrite would process a video each time that it is announced: with "
                "--subscription, leave it out",
            ),
            (
                o.profile or o.gpus is not None,
                f"--{'profile' if o.profile else 'gpus'} does nothing with --subscription, which "
                "has no end: leave it out",
            ),
            (
                not re.fullmatch(r"projects/[^/]+/subscriptions/[^/]+", o.subscription),
                f"--subscription {o.subscription} is not a subscription: give "
                "projects/PROJECT/subscriptions/NAME",
            ),
            *(
                (
                    not path.startswith("gs://") or {*path} & {*"*?["},
                    f"--input {path} sends no notifications about new objects: with "
                    "--subscription, give a folder in a bucket (gs://…)",
                )
                for path in o.input
            ),
            (
                o.part is not None,
                "--part divides videos that are there, and --subscription waits for those to come: "
                "leave one of them out",
            ),
            (
                o.source_metadata or o.rules[SOURCES],
                "--source-metadata and rules on source.… need to know of videos before they are "
                "processed, and --subscription tells only their names: leave one of them out",
            ),
            (
                o.video_limit is not None,
                "--video-limit does nothing with --subscription, which has no end: leave it out",
            ),
        ]
    )


def _unfit_for_watching(o: Options) -> Iterator[str]:
    if o.watch is None:
        return
    yield from _those(
        [
            (
                o.subscription is not None,
                "--watch looks for new videos, and --subscription is told of them: leave one of "
                "them out",
            ),
            (
                o.gpus is not None,
                "--gpus shares out videos that are there, and --watch waits for those to come: "
                "start one for each GPU, with CUDA_VISIBLE_DEVICES=0 --part 1/2 and so on",
            ),
            (
                o.video_limit is not None,
                "--video-limit does nothing with --watch, which has no end: leave it out",
            ),
            (
                o.overwrite,
                "--overwrite with --watch would process every video again at each start: run it "
                "once without --watch",
            ),
            (
                o.dry_run,
                "--dry-run tries options on existing videos, and --watch waits for new ones: "
                "leave one of them out",
            ),
            (
                o.archives,
                "--archives does nothing with --watch, which takes videos only: curate archives in "
                "a run without --watch",
            ),
            (
                o.source_metadata or o.rules[SOURCES],
                "--source-metadata and rules on source.… do not go with --watch, because what is "
                "said of a video may come after it: run the same command without --watch, or "
                "finecut refilter afterwards",
            ),
            (
                o.profile,
                "--profile is written at the end of a run, and --watch has none: leave one of "
                "them out",
            ),
        ]
    )


def _defaults() -> dict[str, object]:
    return {f.name: default_of(f) for f in option_fields()}


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def unknown_or_out_of_range(o: object) -> Iterator[str]:
    """What is wrong with the options of any command, each by itself."""
    for f in option_fields(type(o)):
        value, limits = getattr(o, f.name), f.metadata
        if limits["choices"] and value is not None and value not in limits["choices"]:
            hint = did_you_mean(str(value), limits["choices"])
            yield f"{flag(f.name)} {value} is unknown: {hint}"
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if isinstance(value, int) and abs(value) > LARGEST:
            yield f"{flag(f.name)} has {len(str(value))} digits: give a smaller number"
            return
        above, least, most = limits["above"], limits["least"], limits["most"]
        said = f"{flag(f.name)} {value:g}"
        if above is not None and not value > above:
            yield f"{said} is not valid: give a number above {above:g}"
        if least is not None and not value >= least:
            yield f"{said} is not valid: give {least:g} or more"
        if most is not None and value > most:
            yield f"{said} is too large: give {most:g} or less"
        if not math.isfinite(value):
            yield f"{said} is not a finite number: give one"


def _at_odds_in_cutting(o: Options) -> Iterator[str]:
    most, name = o.clip_length, "--clip-length"
    if o.cuts_at_scenes:
        most, name = o.max_clip_length or math.inf, "--max-clip-length"
    rates = o.bit_rate is not None or o.use_input_bit_rate
    return _those(
        [
            (
                o.cuts and o.splitting_algorithm != FIXED_STRIDE,
                f"--cuts and --splitting-algorithm {o.splitting_algorithm} contradict each other: "
                "give only one of them",
            ),
            (
                o.min_clip_length > most,
                f"--min-clip-length {o.min_clip_length:g} is longer than {name} {most:g}, so no "
                f"clip would be kept: give --min-clip-length {most:g} or less",
            ),
            (
                o.use_input_bit_rate and o.bit_rate is not None,
                "--bit-rate and --use-input-bit-rate contradict each other: give only one of them",
            ),
            (
                o.crf is not None and rates,
                "--crf (constant quality) contradicts a bit rate: give only one of --crf, "
                "--bit-rate and --use-input-bit-rate",
            ),
            (
                o.transcode == SMART and o.encoder != X264,
                f"--transcode {SMART} puts encoded frames beside copied ones, which only {X264} "
                f"can do: leave --encoder {o.encoder} out",
            ),
            (
                o.transcode != ENCODE_ALL and o.decoder != SOFTWARE,
                f"--transcode {o.transcode} decodes almost nothing, so a GPU would be idle: leave "
                f"--decoder {o.decoder} out",
            ),
            (
                o.crf is not None and o.encoder == "libopenh264",
                "libopenh264 has no constant quality: give --bit-rate instead of --crf",
            ),
        ]
    )


def _needs_of_steps(o: Options) -> Iterator[tuple[bool, str, tuple[str, ...]]]:
    """Options of steps that only matter while one works, or rejects clips."""
    used = (*o.measuring, *o.making)
    for f in option_fields():
        if (effective := f.metadata["effective"]) is None:
            continue
        having = [step for step in STEPS if f.name in step.Options.__dataclass_fields__]
        declaring = [step for step in having if f.name in step.Options.__annotations__] or having
        met = any(step.works_by(effective) for step in used if isinstance(step, (*declaring,)))
        # The detector of scenes is a model, too, and no step that has options of its own.
        met |= f.name == "model_dir" and o.splitting_algorithm == TRANSNETV2
        value = f" {ENABLE}" if effective == ENABLED else ""
        switches = " or ".join(f"{step.flag()}{value}" for step in declaring)
        yield met, f.metadata["without"] or switches, (f.name,)


def _without_effect(o: Options) -> Iterator[str]:
    """An option that would do nothing was meant to do something."""
    detects = o.splitting_algorithm != FIXED_STRIDE
    needs: list[tuple[bool, str, tuple[str, ...]]] = [
        (
            not o.cuts_at_scenes,
            "a fixed stride (scenes have --max-clip-length)",
            ("clip_length", "clip_stride"),
        ),
        (
            o.cuts_at_scenes,
            f"scenes: --splitting-algorithm {CONTENT} or {TRANSNETV2}, or --cuts",
            ("max_clip_length", "long_scenes", "crop", "crop_every_piece"),
        ),
        (detects, f"--splitting-algorithm {CONTENT} or {TRANSNETV2}", ("skip_uncut",)),
        (
            o.splitting_algorithm == TRANSNETV2,
            f"--splitting-algorithm {TRANSNETV2}",
            ("transnetv2_threshold",),
        ),
        (bool(o.step), "--step", ("step_option",)),
        (
            not o.is_local,
            "a cluster (--runner); on this machine, models take whatever there is",
            ("resources", "accelerator", "right_fitting"),
        ),
        (o.right_fitting, "--right-fitting", ("accelerator_machine",)),
        *_needs_of_steps(o),
    ]
    defaults = _defaults()
    for met, need, names in needs:
        for name in names:
            if not met and getattr(o, name) != defaults[name]:
                yield f"{flag(name)} does nothing without {need}: add that, or leave it out"
