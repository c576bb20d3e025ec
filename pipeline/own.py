"""Steps of one's own: found by name (``package.module:Name@PLACE``), checked, and put in place."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from finecut.io.records import Clip
from finecut.pipeline.options import OptionError, Options
from finecut.transforms.guard import attempted
from finecut.transforms.keep import KeepClips
from finecut.transforms.looking import Looking
from finecut.transforms.resources import Resources
from finecut.transforms.rules import OWN, Rule
from finecut.transforms.step import PLACES, SCORED, EachClip

Transform = beam.PTransform[Any, Any]


class OwnStep(NamedTuple):
    """A step, what it is called, after what it stands, and the rules on what it finds out."""

    name: str
    place: str
    transform: Transform
    rules: tuple[Rule, ...] = ()

    @property
    def resources(self) -> Resources:
        needed = getattr(self.transform, "resources", None)
        return needed if isinstance(needed, Resources) else Resources()

    @property
    def shown(self) -> tuple[float, int] | None:
        """Frames a second that it looks at, and their shorter side."""
        step = self.transform
        if not isinstance(step, EachClip) or step.frames_per_second is None:
            return None
        return step.frames_per_second, step.side


def own_steps(options: Options) -> tuple[OwnStep, ...]:
    """The steps that are asked for, in their order."""
    steps = [_step(text) for text in options.step]
    names = [step.name for step in steps]
    for step, text in zip(steps, options.step, strict=True):
        if names.count(step.name) > 1:
            raise OptionError(
                f"--step {text}: there are two steps called {step.name}, and what they count could "
                "not be told apart: name one of the classes otherwise"
            )
    rules = options.rules[OWN]
    given = [set(getattr(step.transform, "scores", ())) for step in steps]
    for rule in rules:
        if not any(rule.score in scores for scores in given):
            raise OptionError(
                f"--keep {rule.name!r} speaks of {rule.score}, which is no score of finecut's and "
                "none that a --step gives: write its name into the class (scores = "
                f"({rule.score!r},))"
            )
    return tuple(
        step._replace(rules=tuple(rule for rule in rules if rule.score in scores))
        for step, scores in zip(steps, given, strict=True)
    )


def apply(
    clips: beam.PCollection[Clip], steps: Sequence[OwnStep], place: str, looking: Looking
) -> beam.PCollection[Clip]:
    """The clips after the steps that stand here, judged by the rules on what those found out."""
    for step in steps:
        if step.place != place:
            continue
        if isinstance(step.transform, EachClip):
            step.transform.looking = looking
        clips = clips | f"Step {step.name}" >> step.transform
        kind = getattr(clips, "element_type", None)
        if kind is not Clip:
            raise OptionError(
                f"--step {step.name} gives {kind}, and what comes next needs Clips: end its expand "
                "with …with_output_types(Clip), or derive it from finecut.transforms.step.EachClip"
            )
        if step.rules:
            clips = clips | f"KeepBy {step.name}" >> KeepClips(step.rules)
    return clips


def _step(text: str) -> OwnStep:
    path, _, place = text.partition("@")
    found = _found(text, path)
    place = place or getattr(found, "place", SCORED)
    if place not in PLACES:
        raise OptionError(f"--step {text}: there is no {place}: write one of {', '.join(PLACES)}")
    try:
        made = found()
    except TypeError as error:
        raise OptionError(
            f"--step {text} cannot be made without arguments ({error}): give them defaults, or "
            "derive a class that has them"
        ) from error
    return OwnStep(type(made).__name__, place, made)


def _found(text: str, path: str) -> Any:
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise OptionError(f"--step {text} names no class: write package.module:Name")
    _look_here_too()
    # Whatever a module does when it is imported, it does here.
    imported = attempted(lambda: importlib.import_module(module))
    if isinstance(imported, Exception):
        raise OptionError(
            f"--step {text}: {module} cannot be imported ({type(imported).__name__}: {imported}). "
            "Install its package, or start finecut in the folder it lies in"
        ) from imported
    found = getattr(imported, name, None)
    if found is None:
        raise OptionError(f"--step {text}: {module} has no {name}: see how it is written there")
    if not isinstance(found, type) or not issubclass(found, beam.PTransform):
        raise OptionError(
            f"--step {text}: {name} is no step: derive it from finecut.transforms.step.EachClip, "
            "or from beam.PTransform"
        )
    return found


def _look_here_too() -> None:
    """Modules are found where the command was started, as if Python ran a script from there.

    It stays so: a step may import its neighbours later.
    """
    here = os.getcwd()  # noqa: PTH109 - the path is a list of texts
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
