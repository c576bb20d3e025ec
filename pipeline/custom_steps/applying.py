"""Custom steps in the pipeline: put in their places, and watched for what no step may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam

from finecut.io.records import Clip
from finecut.pipeline.custom_steps.steps import CustomStep
from finecut.pipeline.options import OptionError
from finecut.transforms.beam.metrics import count
from finecut.transforms.filter.clips import KeepClips
from finecut.transforms.filter.rules import FAMILIES
from finecut.transforms.measure.looking import Looking
from finecut.transforms.step import UNDECLARED, EachClip, declare_words, without_undeclared


def apply(
    clips: beam.PCollection[Clip], steps: Sequence[CustomStep], place: str, looking: Looking
) -> beam.PCollection[Clip]:
    """The clips after the steps that stand here, judged by the rules on what those found out."""
    for step in steps:
        if step.place != place:
            continue
        if isinstance(step.transform, EachClip):
            step.transform.looking = looking
        else:
            clips = clips | f"Into {step.name}" >> _counting(f"{step.name}/given")
        clips = clips | f"Step {step.name}" >> step.transform
        kind = getattr(clips, "element_type", None)
        if kind is not Clip:
            raise OptionError(
                f"--step {step.name} returns {kind}, but the next step needs Clips: end its "
                "expand with …with_output_types(Clip), or derive it from "
                "finecut.transforms.step.EachClip"
            )
        if not isinstance(step.transform, EachClip):
            clips = clips | f"Out of {step.name}" >> _counting(f"{step.name}/items")
            known = frozenset(FAMILIES).union(*(each.scores for each in steps))
            clips = clips | f"Declared by {step.name}" >> _declared(step, known)
        if step.rules:
            clips = clips | f"KeepBy {step.name}" >> KeepClips(step.rules)
    return clips


def _counting(name: str) -> Any:
    return beam.Map(_counted, name).with_output_types(Clip)


def _declared(step: CustomStep, known: frozenset[str]) -> Any:
    return beam.Map(without_undeclared, step.name, step.scores, known).with_output_types(Clip)


def _counted(clip: Clip, name: str) -> Clip:
    count(name)
    return clip


def lost_by(steps: Iterable[CustomStep], stats: Mapping[str, int]) -> list[str]:
    """A sentence for each step that gave back other clips than it was given."""
    told = []
    for step in steps:
        given, back = (stats.get(f"{step.name}/{what}", 0) for what in ("given", "items"))
        if not isinstance(step.transform, EachClip) and given != back:
            told.append(
                f"--step {step.name} got {given} clips and returned {back}. A step must not drop "
                "or duplicate clips, because each one has to be accounted for. To reject a clip, "
                "return clip.replace(rejected_by='why')"
            )
        told += _undeclared(step, stats)
    return told


def _undeclared(step: CustomStep, stats: Mapping[str, int]) -> list[str]:
    """A sentence on the scores that a step gives and does not declare."""
    start = f"{step.name}/{UNDECLARED}"
    found = {
        key.removeprefix(start): n for key, n in sorted(stats.items()) if key.startswith(start)
    }
    if not found:
        return []
    number = max(found.values())
    words = declare_words(step.scores, found)
    clips = "1 clip" if number == 1 else f"{number} clips"
    return [f"--step {step.name} gave {clips} {words}, and run the same command again"]


def titles_of(steps: Iterable[CustomStep]) -> dict[str, str]:
    """What these steps call their scores, for readers of the report."""
    return {score.name: score.title for step in steps for score in step.declared if score.title}
