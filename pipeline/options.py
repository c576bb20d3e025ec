"""Every choice a user has, once: those of :mod:`finecut.pipeline.choices`, and those of all steps.

A field of :class:`Options` is a flag (``clip_length`` ↔ ``--clip-length``), an argument in Python
and a row in docs/options.md; ``flags.py`` derives them all. Steps declare their own
(:mod:`finecut.transforms.steps`). Standard library only: ``--help`` has to answer at once.
"""

from __future__ import annotations

import os
import sys
from dataclasses import MISSING, Field, dataclass, fields
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from finecut.io.errors import UserError
from finecut.pipeline.choices.cutting import FIXED_STRIDE, ClipChoices
from finecut.pipeline.choices.running import LOCAL_RUNNERS, RunChoices
from finecut.transforms.filter.rules import OWN, Rule, parse_rule
from finecut.transforms.option import GROUPS, spelled
from finecut.transforms.registry import ON_CLIPS, SCORING, SOURCES, STEPS, family_of
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


class ClassName(str):
    """The name of a class, ``package.module:Name``, that knows the class itself.

    So documents and digests say the same of a class as of its name, and one that nobody could
    import by its name (of a notebook, or inside a function) is found nevertheless.
    """

    kind: type


def named(step: object) -> object:
    """The name of a class; anything else as it is."""
    if not isinstance(step, type):
        return step
    name = ClassName(f"{_module_of(step)}:{step.__qualname__}")
    name.kind = step
    return name


def _module_of(kind: type) -> str:
    """Where the class lies; that of a script as who imports it would say."""
    if kind.__module__ != "__main__":
        return kind.__module__
    main = sys.modules[kind.__module__]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    return str(spec.name) if spec else Path(file or kind.__module__).stem


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
    RunChoices,
    ClipChoices,
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
        enabled |= {SOURCES: (), OWN: ()}
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
        """Whether the input of a pipeline never ends: here, --watch is a row of pipelines."""
        watches = self.watch is not None and not self.is_local
        return watches or self.subscription is not None

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

    def meant(given: object, known: tuple[str, ...]) -> object:
        if isinstance(given, tuple):
            return tuple(meant(one, known) for one in given)
        return spelled(given, known) if isinstance(given, str) else given

    for f in fields(options):
        if known := f.metadata["choices"] or f.metadata["known"]:
            object.__setattr__(options, f.name, meant(getattr(options, f.name), known))


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    listed = (
        (
            *step.Options.__annotations__,
            *(f.name for f in fields(step.Options) if f.name not in own),
        )
        for step in STEPS
    )
    # What several share stands behind the last of them.
    return {name: number for number, name in enumerate(chain.from_iterable(listed))}


_STEP_PLACES: Final = _step_places()
