"""Every choice a user has, once: those of :mod:`finecut.pipeline.choices`, and those of all steps.

A field of :class:`Options` is a flag (``clip_length`` ↔ ``--clip-length``), an argument in Python
and a row in docs/options.md; ``flags.py`` derives them all. Steps declare their own
(:mod:`finecut.transforms.steps`). Standard library only: ``--help`` has to answer at once.
"""

from __future__ import annotations

import os
from dataclasses import MISSING, Field, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from finecut.io.errors import UserError
from finecut.pipeline.choices.cutting import FIXED_STRIDE, CutChoices
from finecut.pipeline.choices.encoding import EncodeChoices
from finecut.pipeline.choices.judging import JudgeChoices
from finecut.pipeline.choices.machines import MachineChoices
from finecut.pipeline.choices.reading import InputChoices
from finecut.pipeline.choices.running import LOCAL_RUNNERS, RunChoices
from finecut.pipeline.choices.writing import OutputChoices
from finecut.pipeline.classes import named
from finecut.transforms.filter.rules import OWN, Rule, parse_rule
from finecut.transforms.option import GROUPS
from finecut.transforms.registry import ON_CLIPS, SCORING, STEPS, family_of
from finecut.transforms.spelling import spelled
from finecut.transforms.step_base import Step, StepOnClips
from finecut.transforms.steps.shared import ModelFolder

if TYPE_CHECKING:
    from finecut.transforms.steps.aesthetic import AestheticOptions
    from finecut.transforms.steps.caption import CaptionOptions
    from finecut.transforms.steps.embed import EmbedOptions
    from finecut.transforms.steps.enhance import EnhanceOptions
    from finecut.transforms.steps.motion import MotionOptions
    from finecut.transforms.steps.preview import PreviewOptions
    from finecut.transforms.steps.quality import QualityOptions
    from finecut.transforms.steps.saturation import SaturationOptions
    from finecut.transforms.steps.text import TextOptions
    from finecut.transforms.steps.thumbnail import ThumbnailOptions
    from finecut.transforms.steps.unsafe import UnsafeOptions


class OptionError(UserError, ValueError):
    """Options that are wrong or contradict each other; the message says what to write instead."""


#: Options of all steps, as they were found. The type checker has to be told of those that come with
#: finecut; nothing else here speaks of one of them by name.
if TYPE_CHECKING:

    class StepOptions(
        MotionOptions,
        QualityOptions,
        SaturationOptions,
        TextOptions,
        UnsafeOptions,
        AestheticOptions,
        PreviewOptions,
        ThumbnailOptions,
        EmbedOptions,
        EnhanceOptions,
        CaptionOptions,
    ): ...

else:
    _KINDS = tuple(step.Options for step in STEPS)
    # One that another is derived from is part of that one already.
    _LAST = (kind for kind in _KINDS if sum(issubclass(other, kind) for other in _KINDS) == 1)
    StepOptions = dataclass(frozen=True, kw_only=True)(type("StepOptions", (*_LAST,), {}))


@dataclass(frozen=True)
class Options(
    StepOptions,
    InputChoices,
    CutChoices,
    EncodeChoices,
    JudgeChoices,
    MachineChoices,
    OutputChoices,
    RunChoices,
    ModelFolder,
):
    """The choices of one run. ``Options(input=("films",), output="dataset")`` is enough."""

    def __post_init__(self) -> None:
        spell(self)
        if isinstance(self.step, tuple | list):
            object.__setattr__(self, "step", tuple(map(named, self.step)))

    @property
    def stride(self) -> float:
        return self.clip_length if self.clip_stride is None else self.clip_stride

    @property
    def rules(self) -> dict[str, tuple[Rule, ...]]:
        """What clips have to fulfil, by step: enabled filters, then rules of one's own."""
        own = [parse_rule(text, own=bool(self.step)) for text in self.keep]
        enabled = {step.name: tuple(step.rules()) if step.rejects else () for step in self._scoring}
        enabled[OWN] = ()
        return {
            family: rules + tuple(rule for rule in own if family_of(rule.score) == family)
            for family, rules in enabled.items()
        }

    def measures(self, family: str) -> bool:
        """Whether the scores of this step are measured: asked for, or needed by a rule."""
        return any(step.name == family for step in self.measuring)

    @property
    def measuring(self) -> tuple[Step[Any], ...]:
        """The steps whose scores are measured, in their order."""
        rules = self.rules
        return tuple(step for step in self._scoring if step.enabled or rules[step.name])

    @property
    def making(self) -> tuple[StepOnClips[Any], ...]:
        """The steps that make something of clips when all rules have been applied."""
        return tuple(step for step in (kind.of(self) for kind in ON_CLIPS) if step.enabled)

    @property
    def _scoring(self) -> tuple[Step[Any], ...]:
        return tuple(step.of(self) for step in SCORING)

    @property
    def cuts_at_scenes(self) -> bool:
        return self.splitting_algorithm != FIXED_STRIDE or self.cuts is not None

    @property
    def is_local(self) -> bool:
        return self.runner in LOCAL_RUNNERS

    @property
    def streams(self) -> bool:
        """Whether the input never ends."""
        return self.subscription is not None

    @property
    def local_workers(self) -> int:
        return self.workers or cores()

    @property
    def dealt_among(self) -> int:
        """How many workers a run on this machine deals its work to; a cluster needs no dealer."""
        return self.local_workers if self.is_local else 0

    def check(self, whole: bool = True) -> Options:
        """Itself, or an :class:`OptionError` that says what to write instead.

        ``whole=False``: an input and an output may be missing.
        """
        from finecut.pipeline.contradictions import contradictions

        for wrong in contradictions(self, whole):
            raise OptionError(wrong)
        return self


def spell(options: Any) -> None:
    """Write the words of options as they are known, whoever gave them; for a frozen dataclass that
    is being made.
    """
    for f in fields(options):
        known = f.metadata["choices"] or f.metadata["known"]
        given: object = getattr(options, f.name)
        meant: object = given
        if known and isinstance(given, str):
            meant = spelled(given, known)
        elif known and isinstance(given, tuple):
            meant = tuple(spelled(one, known) if isinstance(one, str) else one for one in given)
        if meant != given:
            object.__setattr__(options, f.name, meant)


def cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_of(f: Field[Any]) -> Any:
    return None if f.default is MISSING else f.default


def option_fields(kind: type[Any] = Options) -> list[Field[Any]]:
    """The options of a command, as they are listed: those of ``curate`` group by group."""
    found = list(fields(kind))
    return sorted(found, key=_place) if issubclass(kind, Options) else found


def _place(f: Field[Any]) -> tuple[int, int]:
    """Of the steps' options: behind the others of their group, what several share at their end."""
    return GROUPS.index(f.metadata["group"]), _STEP_PLACES.get(f.name, -1)


def _step_places() -> dict[str, int]:
    own = {name for step in STEPS for name in step.Options.__annotations__}
    listed = [
        name
        for step in STEPS
        for name in (
            *step.Options.__annotations__,
            *(f.name for f in fields(step.Options) if f.name not in own),
        )
    ]
    # What several share stands behind the last of them.
    return {name: number for number, name in enumerate(listed)}


_STEP_PLACES: Final = _step_places()
