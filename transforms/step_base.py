"""What a step that scores clips declares: everything the rest of the program needs to know of it.

A step is one class in one module of :mod:`finecut.transforms.steps`. This one scores clips::

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

By when they run there are four kinds: :class:`StepInCut` sees every frame as it is decoded,
:class:`StepOnFrames` a few of each clip that is still kept; both give scores. :class:`StepOnClips`
sees clips when all rules have been applied, and makes files, vectors or captions of those that are
kept; :class:`StepOnTexts` sees only what others said of them.

Light, because options are made of it: what is heavy is imported where a step loads or runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    Self,
    TypeVar,
)

from finecut.io.layout import Artefact
from finecut.io.records import Clip, Scores
from finecut.transforms.filter.comparing import Rule
from finecut.transforms.needs import NOTHING, Needs
from finecut.transforms.option import DISABLE, ENABLE, ENABLED

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from finecut.io.media.frame_view import FrameView
    from finecut.io.media.frames.contact_sheet import Sheet as Sheet  # noqa: PLC0414  steps take it from here
    from finecut.io.storage.publishing import Shelf
    from finecut.transforms.measure.looking import Looking
    from finecut.transforms.work import Work as Work  # noqa: PLC0414

    #: Sampled frames of a clip, RGB, and what gives scores for them.
    Frames = Sequence[NDArray[np.uint8]]
    Looker = Callable[[Frames], Scores]
else:
    Frames = Looker = Looking = Path = Sheet = Shelf = Work = Any

OptionsT = TypeVar("OptionsT")

#: Steps of the first version: their options are part of every configuration. Those of later ones
#: are while they are used, so that what was made before them still counts as finished.
ORIGINAL: Final = frozenset(
    ["motion", "quality", "text", "unsafe", "aesthetic", "preview", "embed", "caption", "enhance"]
)


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


class Seen(NamedTuple):
    """The frames of a clip that a step sees: what its contact sheet has to hold."""

    #: Frames a second.
    rates: tuple[float, ...] = ()
    #: The least height of these frames, and of their shorter side.
    height: int = 0
    side: int = 0
    #: Frames that are spread evenly over the whole clip.
    even: int = 0
    #: Frames a second of each window.
    windows: float | None = None


class Surroundings(NamedTuple):
    """What a step needs to know of a run to plan its work in it."""

    looking: Looking
    #: Where it stages files.
    shelf: Shelf
    #: Whether stores and hubs may be asked what a model wants.
    ask: bool = True


class Made(NamedTuple):
    """A file that a step made: its path below the output's root, and where it lies."""

    below: str
    file: Path


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
    #: When it runs: steps of a stage see clips after all of the stages before it.
    stage: ClassVar[int] = 0
    #: Within a stage, steps stand in this order: the cheap ones first.
    order: ClassVar[int] = 0
    #: Processor seconds that it usually takes for a clip, if it sees clips when they are cut: what
    #: progress believes until it knows better.
    usual_seconds: ClassVar[float] = 0.0
    #: A frozen dataclass of :func:`~finecut.transforms.option.option` fields, given by name only.
    Options: ClassVar[type[Any]]
    #: The option that switches it on, or off; nothing: its filter.
    switch: ClassVar[str] = ""
    scores: ClassVar[tuple[Score, ...]] = ()
    #: The files that it makes of clips.
    artefacts: ClassVar[tuple[Artefact, ...]] = ()

    @classmethod
    def of(cls, options: object) -> Self:
        """The step with its part of these options."""
        return cls(cls.Options(**{f.name: getattr(options, f.name) for f in fields(cls.Options)}))

    @property
    def mode(self) -> str:
        """Whether it measures, rejects, too, or does nothing, before other rules are heard."""
        return getattr(self.options, f"{self.name}_filter", DISABLE)

    @property
    def rejects(self) -> bool:
        return self.mode == ENABLE

    @property
    def enabled(self) -> bool:
        """Whether the options switch it on."""
        if not self.switch:
            return self.mode != DISABLE
        return getattr(self.options, self.switch) != self.switch.startswith("no_")

    @classmethod
    def flag(cls) -> str:
        """The flag of its switch."""
        return f"--{cls.switch or f'{cls.name}_filter'}".replace("_", "-")

    @property
    def needs(self) -> Needs:
        """What it cannot work without, with these options."""
        return NOTHING

    def works_by(self, condition: str) -> bool:
        """Whether options that need this have an effect, while it is used."""
        return condition != ENABLED or self.rejects

    def contradictions(self) -> Iterable[str]:
        """What is wrong with its options, in sentences that say what to write instead."""
        return ()

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

    stage = 1
    #: The shorter side of its frames.
    side: ClassVar[int] = 256

    @property
    def rate(self) -> float:
        """Frames a second that it sees."""
        return 1.0

    def seen(self, ask: bool = True) -> Seen:
        return Seen(rates=(self.rate,), side=self.side)

    def require(self) -> object:
        """Raise when what it loads is missing, before any work is done."""
        return self.load()

    def load(self) -> Looker:
        """What gives the scores of a clip's frames, loaded once in a process."""
        return self.look

    def look(self, frames: Frames) -> Scores:
        """The scores of a clip with these sampled frames (RGB)."""
        raise NotImplementedError


class StepOnClips(Step[OptionsT]):
    """A step that sees clips when all rules have been applied, and makes something of kept ones.

    One that makes files has :meth:`make`. One with a model says how it works by :meth:`work`.
    """

    stage = 2
    #: What the step is called in a pipeline.
    label: ClassVar[str] = ""
    #: Custom steps may stand behind it under this name.
    place: ClassVar[str] = ""
    #: Under this name documents hold its errors; nothing: its own.
    errors: ClassVar[str] = ""
    #: What a kept clip has of it, in one word, and whether only one with windows has it.
    gives: ClassVar[str] = ""
    of_windows: ClassVar[bool] = False
    has_model: ClassVar[bool] = False

    @classmethod
    def marks(cls) -> str:
        return cls.errors or cls.name

    def seen(self, ask: bool = True) -> Seen:
        """The frames that it needs; ``ask=False``: without asking stores and hubs."""
        return Seen()

    def work(self, given: Surroundings) -> Work:
        """How it loads and runs."""
        from finecut.transforms.work import Making

        return Making(self, given.shelf, given.looking)

    def make(self, clip: Clip, sheet: Sheet, folder: Path) -> Iterator[Made]:
        """The files of a clip with this contact sheet, made in this empty folder."""
        raise NotImplementedError

    def prompts(self) -> Iterable[tuple[str, str]]:
        """The texts that a model is given beside clips, which may speak of sources; by options."""
        return ()

    @staticmethod
    def damage(data: bytes) -> str:
        """What is wrong with the bytes of one of its files; nothing if nothing is."""
        return "" if data else "is empty"


class StepOnTexts(StepOnClips[OptionsT]):
    """A step that sees what others said of clips, and no frames."""

    stage = 3


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
