"""A step of one's own among the others: what becomes of each clip, and what that needs.

    class Colours(EachClip):
        scores = ("colourful",)                 # so that --keep 'colourful>=0.1' may speak of it
        frames_per_second = 1.0

        def look(self, clip, frames):
            return {"colourful": np.mean([np.ptp(frame, axis=2).mean() / 255 for frame in frames])}

It is put in its place by ``--step package.module:Colours`` and treated like those that are built
in: loaded once a worker, counted, timed, and guarded, so that an accident marks its clip and costs
nothing else. Any other ``PTransform`` from clips to clips may stand there too, and looks after
itself.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

from finecut.io.film.sheet import SheetFrames
from finecut.io.records import Clip, Failure
from finecut.transforms.guard import guarded
from finecut.transforms.looking import Looking, sheet_of
from finecut.transforms.resources import Resources
from finecut.transforms.tally import metered

#: After what a step may stand, in the order of the way.
CUT, JUDGED, SCORED, PREVIEWED, EMBEDDED, CAPTIONED = PLACES = (
    "cut",
    "judged",
    "scored",
    "previewed",
    "embedded",
    "captioned",
)

Frames = Sequence[NDArray[np.uint8]]
Clips = beam.PCollection[Clip]
NO_RESOURCES: Final = Resources()
NOT_LOOKING: Final = Looking()


class EachClip(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same, each looked at by :meth:`look`; rejected ones are not."""

    #: After what it stands, unless ``--step …@PLACE`` says otherwise.
    place: ClassVar[str] = SCORED
    #: Names of the scores that it gives.
    scores: ClassVar[tuple[str, ...]] = ()
    #: Frames of the clip it is shown, and their shorter side; none: no film is decoded for it.
    frames_per_second: ClassVar[float | None] = None
    side: ClassVar[int] = 224
    #: What a worker of a cluster has to have for it.
    resources: ClassVar[Resources] = NO_RESOURCES

    looking: Looking = NOT_LOOKING

    def load(self) -> None:
        """Make ready what takes long, once a worker: a model, say.

        Before a run on this machine it is tried once, so that what is missing is known at once.
        """

    def look(self, clip: Clip, frames: Frames) -> Clip | Mapping[str, float]:
        """What is found out: scores by name, or the clip with whatever was changed."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        return type(self).__name__

    def looker(self) -> "Looker":
        return Looker(
            self.name, self.load, self.look, self.frames_per_second, self.side, self.looking
        )

    def expand(self, clips: "Clips") -> "Clips":
        return clips | self.name >> beam.ParDo(_Each(self.looker()))


@dataclass(frozen=True)
class Looker:
    """A step without the transform around it."""

    name: str
    load: Callable[[], None]
    look: Callable[[Clip, Frames], Clip | Mapping[str, float]]
    frames_per_second: float | None = None
    side: int = 224
    looking: Looking = NOT_LOOKING


class _Each(beam.DoFn):
    def __init__(self, looker: Looker) -> None:
        super().__init__()
        self.looker = looker

    def setup(self) -> None:
        self.looker.load()

    def process(self, clip: Clip) -> Iterable[Clip]:
        yield looked_at_or_not(clip, self.looker)


def looked_at_or_not(clip: Clip, looker: Looker) -> Clip:
    """The clip after the step; after an accident it says so among its errors."""
    if not clip.kept or clip.file is None:
        return clip
    work = partial(_looked_at, clip, looker)
    [outcome] = guarded(looker.name, clip.video.source, lambda: metered(looker.name, work()))
    if isinstance(outcome, Failure):
        errors = {**clip.errors, looker.name: f"{outcome.error}: {outcome.message}"}
        return clip.replace(errors=errors)
    return outcome


def _looked_at(clip: Clip, looker: Looker) -> Iterator[Clip]:
    try:
        found: Any = looker.look(clip, _frames(clip, looker))
    except SystemExit as ended:  # no step ends the program
        raise RuntimeError(f"{looker.name}.look wanted to end the program ({ended})") from ended
    if isinstance(found, Mapping):
        yield clip.replace(scores={**clip.scores, **_scores(found, looker)})
    elif isinstance(found, Clip) and found.id == clip.id:
        yield found
    else:
        raise TypeError(
            f"{looker.name}.look gave {_what(found)} for clip {clip.id}. It has to give the clip "
            "itself (clip.replace(…)), or a dictionary of scores"
        )


def _scores(found: Mapping[Any, Any], looker: Looker) -> dict[str, float]:
    scores = {str(name): float(value) for name, value in found.items()}
    for name, value in scores.items():
        if not math.isfinite(value):
            raise ValueError(
                f"{looker.name}.look gave {value} for {name}, which no document can say and no "
                "rule compare. Usually something was divided by nothing: leave the score out then"
            )
    return scores


def _frames(clip: Clip, looker: Looker) -> Frames:
    if looker.frames_per_second is None:
        return ()
    sheet = sheet_of(clip, looker.looking)
    return SheetFrames(sheet, sheet.at_rate(looker.frames_per_second), looker.side)


def _what(found: object) -> str:
    return f"clip {found.id}" if isinstance(found, Clip) else f"a {type(found).__name__}"
