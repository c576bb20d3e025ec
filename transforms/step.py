"""A step of one's own among the others: what becomes of each clip, and what that needs.

    class Colours(EachClip):
        scores = ("colourful",)                 # so that --keep 'colourful>=0.1' may speak of it
        frames_per_second = 1.0

        def look(self, clip, frames):
            return {"colourful": np.mean([np.ptp(frame, axis=2).mean() / 255 for frame in frames])}

A score may be a label, too: ``Score("camera", labels=("static", "moving"))`` declares one, and
``--keep 'camera=static'`` is a rule on it.

A class that is written like the built-in steps, a ``StepOnFrames`` of
:mod:`finecut.transforms.step_base`, may stand there, too; ``--step-option`` sets its options.

It is put in its place by ``--step package.module:Colours`` and treated like those that are built
in: loaded once a worker, counted, timed, and guarded, so that an accident marks its clip and costs
nothing else. Any other ``PTransform`` from clips to clips may stand there too, and looks after
itself.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

from finecut.io.records import Clip, Failure, Scores
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.metrics import count, metered
from finecut.transforms.measure.looking import Looking, sheet_of
from finecut.transforms.models.resources import Resources
from finecut.transforms.needs import NO_RESOURCES, NOTHING, Needs
from finecut.transforms.step_base import Score, StepOnFrames

#: After what a step may stand, in the order of the way.
CUT, JUDGED, SCORED, PREVIEWED, EMBEDDED, CAPTIONED = PLACES = (
    "cut",
    "judged",
    "scored",
    "previewed",
    "embedded",
    "captioned",
)

#: What scores are counted under that no step declares.
UNDECLARED: Final = "undeclared "

#: What may stand in a rule.
LABEL: Final = re.compile(r"[^\s=!<>]\S*")

Frames = Sequence[NDArray[np.uint8]]
Clips = beam.PCollection[Clip]
NOT_LOOKING: Final = Looking()


def declared(scores: Iterable[str | Score]) -> tuple[Score, ...]:
    """Scores as they are declared; a name alone declares a number or a label."""
    return tuple(Score(score) if isinstance(score, str) else score for score in scores)


class EachClip(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same, each looked at by :meth:`look`; rejected ones are not."""

    #: After what it stands, unless ``--step …@PLACE`` says otherwise.
    place: ClassVar[str] = SCORED
    #: The scores that it gives, by name or declared as a :class:`Score`; others are refused.
    scores: ClassVar[tuple[str | Score, ...]] = ()
    #: Frames of the clip it is shown, and their shorter side; none: no film is decoded for it.
    frames_per_second: ClassVar[float | None] = None
    side: ClassVar[int] = 224
    #: What a worker of a cluster has to have for it.
    resources: ClassVar[Resources] = NO_RESOURCES
    #: What each machine has to have for it: packages, files, addresses, models.
    needs: ClassVar[Needs] = NOTHING

    looking: Looking = NOT_LOOKING

    def load(self) -> None:
        """Make ready what takes long, once a worker: a model, say.

        Before a run on this machine it is tried once, so that what is missing is known at once.
        """

    def look(self, clip: Clip, frames: Frames) -> Clip | Scores:
        """What is found out: scores by name, or the clip with whatever was changed."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        return type(self).__name__

    def expand(self, clips: "Clips") -> "Clips":
        return clips | self.name >> beam.ParDo(_Each(self))


class _OnFrames(EachClip):
    """A step that is declared as those are that are built in."""

    step: ClassVar[StepOnFrames[Any]]
    _look: Callable[[Frames], Scores]

    def load(self) -> None:
        self._look = self.step.load()

    def look(self, clip: Clip, frames: Frames) -> Scores:
        return self._look(frames)


def each_clip_of(step: StepOnFrames[Any]) -> type[EachClip]:
    """The same step, with its options, as one that is shown each clip."""
    kind = type(step)
    return type(
        kind.__name__,
        (_OnFrames,),
        {
            "__module__": kind.__module__,
            "step": step,
            "scores": kind.scores,
            "frames_per_second": step.rate,
            "side": kind.side,
            "resources": step.needs.resources,
            "needs": step.needs,
        },
    )


@dataclass(eq=False, repr=False)
class _Each(beam.DoFn):
    step: EachClip

    def setup(self) -> None:
        self.step.load()

    def process(self, clip: Clip) -> Iterable[Clip]:
        yield looked_at_or_not(clip, self.step)


def looked_at_or_not(clip: Clip, step: EachClip) -> Clip:
    """The clip after the step; after an accident it says so among its errors."""
    if not clip.kept or clip.file is None:
        return clip
    work = partial(_looked_at, clip, step)
    source, weather = clip.video.source, step.looking.weather
    [outcome] = guarded(step.name, source, lambda: metered(step.name, work()), weather=weather)
    if isinstance(outcome, Failure):
        errors = {**clip.errors, step.name: f"{outcome.error}: {outcome.message}"}
        return clip.replace(errors=errors)
    return outcome


def _looked_at(clip: Clip, step: EachClip) -> Iterator[Clip]:
    try:
        found: Any = step.look(clip, _frames(clip, step))
    except SystemExit as ended:  # no step ends the program
        raise RuntimeError(f"{step.name}.look tried to end the program ({ended})") from ended
    labels = {score.name: score.labels for score in declared(step.scores)}
    if isinstance(found, Mapping):
        given = {
            name: _score(step.name, name, value, labels.get(name, ()))
            for name, value in ((str(name), value) for name, value in found.items())
        }
        new = {*given}
        found = clip.replace(scores={**clip.scores, **given})
    elif isinstance(found, Clip) and found.id == clip.id:
        before = clip.scores
        new = {name for name in found.scores if found.scores[name] != before.get(name)}
    else:
        what = f"clip {found.id}" if isinstance(found, Clip) else f"a {type(found).__name__}"
        raise TypeError(
            f"{step.name}.look returned {what} for clip {clip.id}. It has to return the clip "
            "itself (clip.replace(…)), or a dictionary of scores"
        )
    if undeclared := new - {*labels}:
        _count_undeclared(step.name, undeclared)
        raise UndeclaredScores(f"{step.name} returned {declare_words(labels, undeclared)}")
    yield found


def _score(step: str, name: str, value: Any, labels: tuple[str, ...]) -> float | str:
    """The number or the label, if it is one that documents can say and rules compare."""
    if isinstance(value, str):
        if labels and value not in labels:
            raise ValueError(
                f"{step}.look returned {value!r} for {name}, which is one of "
                f"{', '.join(labels)}: return one of these, or also declare the new one"
            )
        if not LABEL.fullmatch(value):
            raise ValueError(
                f"{step}.look returned {value!r} for {name}, but a label is one word without "
                "spaces, so that rules can name it: use _ or - between its parts"
            )
        return value
    number = float(value)
    if labels:
        raise ValueError(
            f"{step}.look returned {number:g} for {name}, which is one of {', '.join(labels)}: "
            "return one of these, or declare a score without labels"
        )
    if not math.isfinite(number):
        raise ValueError(
            f"{step}.look returned {number} for {name}, which documents cannot contain and rules "
            "cannot compare. Usually something was divided by zero: leave the score out in that "
            "case"
        )
    return number


class UndeclaredScores(ValueError):
    """Scores that a step gives without saying so; the message says what to write."""


def without_undeclared(
    clip: Clip, name: str, declared: tuple[str, ...], known: frozenset[str]
) -> Clip:
    """The clip after a transform of this name, without scores that nobody declares; it is marked
    with them."""
    undeclared = {*clip.scores} - known
    if not undeclared:
        return clip
    _count_undeclared(name, undeclared)
    said = f"{UndeclaredScores.__name__}: {name} returned {declare_words(declared, undeclared)}"
    scores = {score: value for score, value in clip.scores.items() if score in known}
    return clip.replace(scores=scores, errors={**clip.errors, name: said})


def _count_undeclared(name: str, undeclared: Iterable[str]) -> None:
    for score in undeclared:
        count(f"{name}/{UNDECLARED}{score}")


def declare_words(declared: Iterable[str], undeclared: Iterable[str]) -> str:
    """Which scores were not declared, and how to declare them.

    >>> declare_words((), ["loud"])
    'the score loud, which it does not declare: add scores = ("loud",) to its class'
    """
    named = sorted(undeclared)
    several = "scores" if named[1:] else "score"
    names = [json.dumps(name, ensure_ascii=False) for name in (*declared, *named)]
    written = ", ".join(names) + "," * (len(names) == 1)
    return (
        f"the {several} {', '.join(named)}, which it does not declare: add scores = ({written}) "
        "to its class"
    )


def _frames(clip: Clip, step: EachClip) -> Frames:
    if step.frames_per_second is None:
        return ()
    sheet = sheet_of(clip, step.looking)
    return sheet.pictures(sheet.at_rate(step.frames_per_second), step.side)
