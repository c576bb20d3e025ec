"""Scoring: what models say of a clip's sheet, added to its scores.

A scorer is any callable from frames (RGB, of one clip) to named scores. :class:`ScoreClips` runs
it with Beam's ``RunInference``: loaded once a process, shared by its threads, counted by its
metrics. A clip whose scoring breaks down keeps its place and says so among its errors; then a rule
that asks for the missing score rejects it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from finecut.io.media.frames.contact_sheet import SheetForm
from finecut.io.records import Clip, Failure, ModelUsed, Scores
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.metrics import metered
from finecut.transforms.measure.looking import Looking, sheet_of
from finecut.transforms.work import AskModel

Scorer = Callable[[Sequence[NDArray[np.uint8]]], Scores]


@dataclass(frozen=True)
class Scoring:
    """One model: its name, how it is loaded, and how many frames a second it is shown."""

    name: str
    load: Callable[[], Scorer]
    #: Raises when what it loads is missing, before any work is done.
    require: Callable[[], object]
    rate: float
    looking: Looking
    #: The shorter side of the frames it is shown, whatever the sheet has.
    side: int
    #: Clips that are handed to the model at once: it looks at one after the other.
    together: int = 1

    def run(self, clips: Sequence[Clip], scorer: Scorer) -> list[Clip]:
        return [scored_or_not(clip, scorer, self) for clip in clips]

    def num_bytes(self, clips: Sequence[Clip]) -> int:
        """Of the frames it is shown."""
        form = SheetForm((), side=self.side)
        return sum(
            3 * width * height * int(clip.planned.span.length * self.rate + 1)
            for clip in clips
            for width, height in [form.size(clip.video.width, clip.video.height)]
        )


def scored(clip: Clip, scorer: Scorer, scoring: Scoring) -> Clip:
    """The clip, with what the model says of it."""
    sheet = sheet_of(clip, scoring.looking)
    frames = sheet.pictures(sheet.at_rate(scoring.rate), scoring.side)
    # Which models they are is said by those that know it.
    used: Mapping[str, ModelUsed] = getattr(scorer, "which", dict)()
    return clip.replace(scores={**clip.scores, **scorer(frames)}, models={**clip.models, **used})


def scored_or_not(clip: Clip, scorer: Scorer, scoring: Scoring) -> Clip:
    """The same; a rejected clip is not looked at, and an accident becomes one of its errors."""
    if not clip.kept or clip.file is None:
        return clip
    make = partial(scored, scorer=scorer, scoring=scoring)
    source, weather = clip.video.source, scoring.looking.weather
    work = partial(metered, scoring.name, map(make, [clip]))
    [outcome] = guarded(scoring.name, source, work, weather=weather)
    if isinstance(outcome, Failure):
        errors = {**clip.errors, scoring.name: f"{outcome.error}: {outcome.message}"}
        return clip.replace(errors=errors)
    return outcome


class ScoreClips(AskModel):
    """Clips → the same, scored."""
