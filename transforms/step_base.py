"""What a step that scores clips declares: everything the rest of the program needs to know of it.

A step is one class in one module of :mod:`finecut.transforms.steps`::

    @dataclass(frozen=True, kw_only=True)
    class SaturationOptions:
        saturation_filter: str = filter_option(LOOK, "Measure how colourful clips are; …")
        saturation_threshold: float = threshold_option(0.1, LOOK, "Least …", least=0, most=1)

    class Saturation(StepOnFrames[SaturationOptions]):
        name, order = "saturation", 30
        Options = SaturationOptions
        scores = (Score("saturation", unit="share", better="more"),)

        def rules(self):
            return (self.rule("saturation", ">=", self.options.saturation_threshold),)

        def look(self, frames):
            return {"saturation": …}

Its options become options of ``curate`` and ``refilter`` (flags, help, tables, template, YAML); its
scores may stand in rules, are written into documents and drawn in the report. Names are flat: those
of a step's options begin with its name, and ``<name>_filter`` switches it on.

Light, because options are made of it: what is heavy is imported where a step loads or runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, Protocol, TypeVar

from finecut.io.records import Scores
from finecut.transforms.filter.comparing import Rule
from finecut.transforms.models.resources import Resources
from finecut.transforms.option import DISABLE, ENABLE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from finecut.io.media.frame_view import FrameView

    #: Sampled frames of a clip, RGB, and what gives scores for them.
    Frames = Sequence[NDArray[np.uint8]]
    Looker = Callable[[Frames], Scores]
else:
    Frames = Looker = Any

OptionsT = TypeVar("OptionsT")
NO_RESOURCES: Final = Resources()


@dataclass(frozen=True)
class Score:
    """A number or a label that a step gives of a clip."""

    #: Under this name rules and documents know it.
    name: str
    #: Another name that may stand in a rule.
    short: str = ""
    #: What the report calls it; nothing: its name.
    title: str = ""
    #: What it is counted in, and which way is better, if one is.
    unit: str = ""
    better: Literal["more", "less", ""] = ""
    #: The words it is one of; none: it is a number.
    labels: tuple[str, ...] = ()
    #: Where it stands in a clip's document ("motion_score.global_mean"); nothing: among "scores".
    document: str = ""


@dataclass(frozen=True)
class Needs:
    """What a step cannot work without."""

    #: CPUs, GPUs and memory of each worker.
    resources: Resources = NO_RESOURCES
    #: The options that name its models, which lie in --model-dir or on the hub.
    models: tuple[str, ...] = ()


NOTHING: Final = Needs()


class Meter(Protocol):
    """Measures one clip while it is cut."""

    def wants(self, times: Sequence[Fraction]) -> set[int]:
        """Of frames shown at these times, those it would like to see, if it cannot see all."""

    def more(self, times: Sequence[Fraction]) -> int:
        """How many of these frames are worth decoding for it."""

    def see(self, view: FrameView, seconds: Fraction) -> None:
        """The next frame, and when it is shown."""

    def scores(self) -> dict[str, float]:
        """What was measured, when there are no more frames."""


@dataclass(frozen=True)
class Step(Generic[OptionsT]):
    """A step with its options. One that is to be found has a name."""

    options: OptionsT

    name: ClassVar[str] = ""
    #: Steps stand in this order: the cheap ones first.
    order: ClassVar[int] = 0
    #: A frozen dataclass of :func:`~finecut.transforms.option.option` fields, given by name only.
    Options: ClassVar[type[Any]]
    scores: ClassVar[tuple[Score, ...]] = ()
    needs: ClassVar[Needs] = NOTHING
    #: Steps of the first version: their options are part of every configuration. Those of later
    #: ones are while they are used, so that what was made before them still counts as finished.
    original: ClassVar[bool] = False

    @classmethod
    def of(cls, options: object) -> Step[OptionsT]:
        """The step with its part of these options."""
        return cls(cls.Options(**{f.name: getattr(options, f.name) for f in fields(cls.Options)}))

    @property
    def mode(self) -> str:
        """Whether it measures, rejects, too, or does nothing, before other rules are heard."""
        mode: str = getattr(self.options, f"{self.name}_filter", DISABLE)
        return mode

    @property
    def rejects(self) -> bool:
        return self.mode == ENABLE

    def rules(self) -> Iterable[Rule]:
        """What clips have to fulfil when its filter is enabled."""
        return ()

    def rule(self, score: str, comparison: str, limit: float | str) -> Rule:
        """A rule by which clips are rejected in the step's name."""
        return Rule(self.name, score, comparison, limit)


class StepInCut(Step[OptionsT]):
    """A step that sees all frames of a clip, as they are decoded for the cut."""

    #: Whether it asks frames for the decoder's motion vectors.
    reads_vectors: ClassVar[bool] = False

    def meter(self) -> Meter:
        """What measures one clip."""
        raise NotImplementedError


class StepOnFrames(Step[OptionsT]):
    """A step that sees a few small frames of each clip that is still kept.

    Either it has :meth:`look`, or :meth:`load` gives a model that looks.
    """

    #: The shorter side of its frames.
    side: ClassVar[int] = 256

    @property
    def rate(self) -> float:
        """Frames a second that it sees."""
        return 1.0

    def require(self) -> object:
        """Raise when what it loads is missing, before any work is done."""
        return self.load()

    def load(self) -> Looker:
        """What gives the scores of a clip's frames, loaded once in a process."""
        return self.look

    def look(self, frames: Frames) -> Scores:
        """The scores of a clip with these sampled frames (RGB)."""
        raise NotImplementedError


def heads_of(scores: Iterable[Score]) -> Mapping[str, Mapping[str, str]]:
    """The keys of a clip's document that hold these scores outside of its "scores".

    By key: the scores that stand there, each with its name below that key, or nothing if the key
    holds the score itself.

    >>> heads_of([Score("motion_mean", document="motion_score.mean"), Score("sharpness")])
    {'motion_score': {'motion_mean': 'mean'}}
    """
    heads: dict[str, dict[str, str]] = {}
    for score in scores:
        if score.document:
            head, _, below = score.document.partition(".")
            heads.setdefault(head, {})[score.name] = below
    return heads
