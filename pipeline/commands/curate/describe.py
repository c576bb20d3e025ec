"""``finecut describe``: the pipeline before it runs, as it will really be built."""

import math
import re
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor

from finecut.io.wording import count_of
from finecut.pipeline.choices.cutting import COPY, SMART, SOFTWARE, TRANSNETV2
from finecut.pipeline.cli.outlets import lines_of
from finecut.pipeline.commands.curate import Describe
from finecut.pipeline.curation import build
from finecut.pipeline.options import Options
from finecut.pipeline.planning import Plan, needs_of, plan
from finecut.transforms.beam.lines import WriteLines
from finecut.transforms.filter.clips import DUPLICATE
from finecut.transforms.find.videos import FindVideos
from finecut.transforms.models.resources import Resources

#: Steps inside steps are shown down to this depth.
DEPTH = 2


def describe(command: Describe) -> str:
    """Steps, what flows between them, and what they ask for."""
    options = command.options
    # Any runner will do: the graph is built, never run.
    pipeline = beam.Pipeline("FnApiRunner")
    steps = plan(options.check(), run="<run>", ask=False)
    build(
        pipeline | "FindVideos" >> FindVideos(steps.finding),
        steps,
        options.dealt_among,
        WriteLines(steps.writing.shelf, "") if options.is_local else steps.listing,
    )
    lister = _Lister()
    pipeline.visit(lister)
    parts = {
        "Steps": lister.lines,
        "Rules": _rules(steps),
        "Resources": [*_resources(options, steps), *_engine(options, steps, pipeline)],
        "Models": _models(steps),
        "Needs": _needs(options, steps),
    }
    return "\n\n".join("\n".join([name, *lines]) for name, lines in parts.items() if lines)


class _Lister(PipelineVisitor):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def enter_composite_transform(self, node: AppliedPTransform) -> None:
        self.visit_transform(node)

    def visit_transform(self, node: AppliedPTransform) -> None:
        depth = node.full_label.count("/") + 1 if node.full_label else 0
        if not 1 <= depth <= DEPTH:
            return
        label = "  " * depth + node.full_label.rsplit("/", 1)[-1]
        taken = dict.fromkeys(_type_name(c.element_type) for c in node.main_inputs.values())
        flow = f"{' | '.join(taken) or '(begin)'} → {_outputs(node)}"
        hints = ", ".join(
            f"{urn.rsplit(':', 2)[-2]} {value.decode()}"
            for urn, value in sorted((node.resource_hints or {}).items())
        )
        self.lines.append(f"{label:<26} {flow}" + (f"   [{hints}]" if hints else ""))


def _outputs(node: AppliedPTransform) -> str:
    """What flows out, and then what does so under a tag."""
    names = {t: _type_name(getattr(c, "element_type", None)) for t, c in node.outputs.items()}
    main = [name for tag, name in names.items() if tag in (None, "None")]
    tagged = [f"{tag}: {name}" for tag, name in names.items() if tag not in (None, "None")]
    return ", ".join(dict.fromkeys(main + tagged)) or "(end)"


def _type_name(kind: Any) -> str:
    if kind is None or kind is type(None):
        return "(nothing)"
    return getattr(kind, "__name__", None) or re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", str(kind))


def _rules(steps: Plan) -> list[str]:
    rules = [*steps.first_rules, *(rule for _, spoken in steps.scorings for rule in spoken)]
    lines = [
        f"  {rule.name:<24} keeps clips with {rule.score} {rule.comparison} {rule.limit:g}"
        for rule in rules
    ]
    if steps.dropping is not None:
        lists = ", ".join(steps.dropping.lists)
        lines.insert(0, f"  {DUPLICATE:<24} rejects the clips listed in {lists}")
    return lines or ["  all clips are kept"]


def _resources(options: Options, steps: Plan) -> list[str]:
    where = (
        f"this machine, {count_of(options.local_workers, 'worker')} (threads of one process)"
        if options.is_local
        else f"{options.runner}, as configured by its own options"
    )
    return [
        f"  runs on          {where}",
        f"  one worker       cuts 1 chunk at a time: {_how_cut(options)}",
        f"  one process      writes {count_of(options.write_threads, 'file')} at a time",
        *needs(options, steps),
    ]


def _engine(options: Options, steps: Plan, pipeline: beam.Pipeline) -> list[str]:
    """What the engine says of all that the pipeline needs from it."""
    if options.is_local:
        return []
    # What is needed for a cluster only is not imported for this machine.
    from finecut.pipeline.engines.support import engine_of, features_of, told
    from finecut.pipeline.streaming import listen

    if options.streams:
        pipeline = beam.Pipeline("FnApiRunner")
        listen(pipeline, options, steps)
    features = features_of(pipeline)
    engine = engine_of(options.runner, features)
    if engine is None:
        return []
    said = told(features, engine) or ["supports everything that this pipeline uses"]
    return [f"  engine           {engine}: {line}" for line in said]


def _how_cut(options: Options) -> str:
    number = options.encoder_threads
    encoder = f"{options.encoder} with {number} thread{'s' if number > 1 else ''}"
    if options.transcode == COPY:
        return (
            f"packets are copied; clips that cannot be copied are decoded, {encoder} for "
            "each open clip"
        )
    if options.transcode == SMART:
        return f"packets are copied; frames between cuts and key frames are encoded, {encoder}"
    decoder = "" if options.decoder == SOFTWARE else f" by {options.decoder}"
    return f"1 decode{decoder}, {encoder} for each open clip"


def needs(options: Options, steps: Plan) -> list[str]:
    """What steps ask of a worker, and the hints that Beam gets."""
    place, used = steps.placing, _used_if_there(options, steps)
    elsewhere, two_kinds = not options.is_local, place.film_hints is not None
    hints = f"  hints            {_hinted(place.hints)}, on every step that"
    return lines_of(
        [
            *(
                f"  {name:<16} needs {_said(need, place.gpu_gb)}"
                for name, need in place.steps.items()
                if need != Resources()
            ),
            (options.is_local, f"  accelerators     none requested{used}"),
            (
                elsewhere and two_kinds,
                f"  hints            {_hinted(place.film_hints or {})}, on every step that "
                f"detects scenes or cuts\n{hints} processes clips",
            ),
            (
                elsewhere and not two_kinds and place.hints,
                f"{hints} detects scenes, cuts or processes clips",
            ),
            (
                elsewhere and not two_kinds and not place.hints,
                f"  hints            none: nothing needs a GPU{used}",
            ),
            (
                elsewhere and place.worker.needs_gpu,
                f"  one GPU          of {place.gpu_gb:g} GB holds "
                f"{count_of(place.copies, 'copy', 'copies')} of each model",
            ),
        ]
    )


def _hinted(hints: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in hints.items()) or "none"


def _said(need: Resources, gpu_gb: float) -> str:
    named = [
        f"{value:g} {words}"
        for value, words in (
            (need.cpus if need.cpus != 1 else 0, "CPUs"),
            (
                need.gpu_memory_gb,
                f"GB of GPU memory ({math.ceil(100 * need.gpu_memory_gb / gpu_gb)}% of one GPU)",
            ),
            (0 if need.entire_gpu else need.gpus, "GPU" if need.gpus <= 1 else "GPUs"),
            (need.nvdecs, "hardware decoders"),
            (need.nvencs, "hardware encoders"),
            (need.memory_gb, "GB of memory"),
        )
        if value
    ]
    return ", ".join([*named, *(["an entire GPU"] if need.entire_gpu else [])])


def _models(steps: Plan) -> list[str]:
    """What models are asked, of what."""
    lines = [
        f"  {scoring.name:<16} scores {scoring.rate:g} frames per second"
        for scoring, _ in steps.scorings
    ]
    lines += [f"  {w.model:<16} {w.described}" for w in steps.works.values() if w.described]
    return lines or ["  none"]


def _needs(options: Options, steps: Plan) -> list[str]:
    """What machines have to have, besides CPUs, GPUs and memory."""
    return [
        f"  {name:<16} {said}" for name, needs in needs_of(options, steps) for said in needs.lines()
    ]


def _used_if_there(options: Options, steps: Plan) -> str:
    users = [
        name
        for name, used in (
            ("h264_nvenc", options.encoder == "h264_nvenc"),
            ("TransNetV2", options.splitting_algorithm == TRANSNETV2),
            *((name, need.needs_gpu) for name, need in steps.placing.steps.items()),
        )
        if used and name != "cut"
    ]
    return (
        f" ({', '.join(users)} use{'s' * (len(users) == 1)} a worker's GPU if it has one)"
        if users
        else ""
    )
