"""``finecut describe``: the pipeline before it runs, as it will really be built."""

from __future__ import annotations

import re
from typing import Any

import apache_beam as beam
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor

from finecut.pipeline.curation import build
from finecut.pipeline.options import TRANSNETV2, Options
from finecut.pipeline.planning import Plan, plan
from finecut.transforms.find import FindVideos

#: Steps inside steps are shown down to this depth.
DEPTH = 2


def describe(options: Options) -> str:
    """Steps, what flows between them, and what they ask for."""
    # Any runner will do: the graph is built, never run.
    pipeline = beam.Pipeline("FnApiRunner")
    steps = plan(options.check(), run="<run>")
    build(pipeline | "FindVideos" >> FindVideos(steps.finding), steps, options.is_local)
    lister = _Lister()
    pipeline.visit(lister)
    parts = ["Steps", *lister.lines, "", "Rules", *_rules(steps), "", "Resources"]
    return "\n".join([*parts, *_resources(options)])


class _Lister(PipelineVisitor):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def enter_composite_transform(self, node: AppliedPTransform) -> None:
        self._list(node)

    def visit_transform(self, node: AppliedPTransform) -> None:
        self._list(node)

    def _list(self, node: AppliedPTransform) -> None:
        depth = node.full_label.count("/") + 1 if node.full_label else 0
        if not 1 <= depth <= DEPTH:
            return
        label = "  " * depth + node.full_label.rsplit("/", 1)[-1]
        flow = f"{_types(node.main_inputs.values())} → {_outputs(node)}"
        hints = _hints(node)
        self.lines.append(f"{label:<26} {flow}" + (f"   [{hints}]" if hints else ""))


def _types(collections: Any) -> str:
    names = dict.fromkeys(_type_name(c.element_type) for c in collections)
    return " | ".join(name for name in names if name) or "(begin)"


def _outputs(node: AppliedPTransform) -> str:
    main, tagged = [], []
    for tag, collection in node.outputs.items():
        name = _type_name(getattr(collection, "element_type", None))
        if tag in (None, "None"):
            main.append(name)
        else:
            tagged.append(f"{tag}: {name}")
    shown = main + tagged
    return ", ".join(dict.fromkeys(shown)) or "(end)"


def _type_name(kind: Any) -> str:
    if kind is None or kind is type(None):
        return "(nothing)"
    return getattr(kind, "__name__", None) or re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", str(kind))


def _hints(node: AppliedPTransform) -> str:
    hints = node.resource_hints or {}
    return ", ".join(
        f"{urn.rsplit(':', 2)[-2]} {value.decode()}" for urn, value in sorted(hints.items())
    )


def _rules(steps: Plan) -> list[str]:
    rules = [*steps.first_rules, *(rule for _, spoken in steps.scorings for rule in spoken)]
    if not rules:
        return ["  every clip is kept"]
    return [
        f"  {rule.name:<24} keeps clips with {rule.score} {rule.comparison} {rule.limit:g}"
        for rule in rules
    ]


def _resources(options: Options) -> list[str]:
    where = (
        f"this machine, {options.local_workers} workers (threads of one process)"
        if options.is_local
        else f"{options.runner}, as its own options say"
    )
    return [
        f"  runs on          {where}",
        f"  one worker       cuts 1 reel at a time: 1 decode, {options.encoder} with "
        f"{options.encoder_threads} threads for each open clip",
        f"  one process      writes {options.write_threads} files at a time",
        "  accelerators     none asked for" + _used_if_there(options),
    ]


def _used_if_there(options: Options) -> str:
    users = [
        name
        for name, used in (
            ("h264_nvenc", options.encoder == "h264_nvenc"),
            ("TransNetV2", options.splitting_algorithm == TRANSNETV2),
            ("CLIP", options.measures("aesthetic")),
        )
        if used
    ]
    return f" ({', '.join(users)} on the GPU of a worker that has one)" if users else ""
