"""The registry: every step that is built in, and what is derived from all of them.

A module in :mod:`finecut.transforms.steps` that holds a step with a name is found by lying there;
nothing else lists it.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from finecut.io.held import OF_SOURCE
from finecut.io.layout import FOLDERS, TABLES, VECTORS, Artefact
from finecut.transforms import steps
from finecut.transforms.step_base import (
    Score,
    Step,
    StepInCut,
    StepOnClips,
    StepOnFrames,
    heads_of,
)


def _found() -> Iterator[type[Step[Any]]]:
    for module in pkgutil.iter_modules(steps.__path__, f"{steps.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            is_step = isinstance(value, type) and issubclass(value, Step)
            # What a module only imports lies in another one.
            if is_step and value.name and value.__module__ == module.name:
                check_name(value.name)
                yield value


def check_name(name: str) -> None:
    """Refuse a name that no option could begin with: its switch would never be found."""
    if not name.isidentifier():
        better = re.sub(r"\W+", "_", name).strip("_0123456789") or "my_step"
        raise TypeError(
            f"a step cannot be called {name!r}, because its options begin with its name: give a "
            f"Python name, such as {better!r}; flags have - in place of _"
        )


#: In the order in which they see clips.
STEPS: Final[tuple[type[Step[Any]], ...]] = tuple(
    sorted(_found(), key=lambda step: (step.stage, step.order, step.name))
)
#: Those that give scores, and those that see clips when all rules have been applied.
SCORING: Final = tuple(step for step in STEPS if issubclass(step, StepInCut | StepOnFrames))
ON_CLIPS: Final = tuple(step for step in STEPS if issubclass(step, StepOnClips))
#: The files that steps make of clips.
ARTEFACTS: Final[tuple[Artefact, ...]] = tuple(
    dict.fromkeys((*(made for step in STEPS for made in step.artefacts), VECTORS, TABLES))
)
IN_CUT: Final = tuple(step.name for step in STEPS if issubclass(step, StepInCut))
ON_FRAMES: Final = tuple(step.name for step in STEPS if issubclass(step, StepOnFrames))

SCORES: Final[Mapping[str, Score]] = {score.name: score for step in STEPS for score in step.scores}
#: Which step gives a score.
FAMILIES: Final[Mapping[str, str]] = {
    score.name: step.name for step in STEPS for score in step.scores
}
#: The family of scores that custom steps give.
OWN: Final = "own"
#: The family of fields of sources, which nobody measures.
SOURCES: Final = "source"
#: Short names that may stand in a rule.
SHORT: Final[Mapping[str, str]] = {
    score.short: score.name for score in SCORES.values() if score.short
}
#: Where documents hold scores that do not stand among the "scores" (see :func:`heads_of`).
HEADS: Final = heads_of(SCORES.values())
IN_HEADS: Final = frozenset(name for held in HEADS.values() for name in held)


def family_of(score: str) -> str:
    """The step that has to measure for there to be this score."""
    return SOURCES if score.startswith(OF_SOURCE) else FAMILIES.get(score, OWN)


def titles() -> dict[str, str]:
    """What a reader is told that scores are, where their names do not say it."""
    return {score.name: score.title for score in SCORES.values() if score.title}


def is_dataset_folder(name: str) -> bool:
    """Whether a folder of this name, at the root of a dataset, is one of its own.

    >>> is_dataset_folder("previews"), is_dataset_folder("ce1_embd"), is_dataset_folder("shards")
    (True, True, False)
    """
    return name in FOLDERS or any(artefact.lies_in(name) for artefact in ARTEFACTS)
