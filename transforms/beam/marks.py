"""Watching for clips that are marked one after the other: then it is not the clips that are broken.

    clip ✓  clip ✗  clip ✓  clip ✗  clip ✗ … clip ✗ ─▶ the run stops, and says which step and why
                            └──── so many in a row ───┘

Each process counts for itself. What a model said of a clip is no such mark, even if it refused to
say anything: it answered.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import apache_beam as beam

from finecut.io.records import Clip
from finecut.transforms.beam.sharing import of_run
from finecut.transforms.beam.weather import InARow, TooManyMarked
from finecut.transforms.caption.asking import FAILED

#: Characters of an error that are told.
TOLD = 300


@dataclass(frozen=True)
class Marking:
    """Whose marks are counted, and how many in a row are too many; 0: none are."""

    #: The run, by its staging folder.
    run: str
    #: The names under which clips hold the errors of steps.
    steps: frozenset[str]
    most: int


def marks_of(clip: Clip, steps: frozenset[str]) -> list[str]:
    """The steps that broke down over this clip."""
    return [step for step in sorted(steps & {*clip.errors}) if not _answered(clip, step)]


def _answered(clip: Clip, step: str) -> bool:
    """Whether a model answered about all windows, although not with a text."""
    outcomes = {"caption": "outcomes", "enhance": "enhanced_outcomes"}.get(step)
    told = [] if outcomes is None else [getattr(window, outcomes) for window in clip.windows]
    statuses = {outcome.status for each in told for outcome in each.values()}
    return bool(statuses) and FAILED not in statuses


def watched(clip: Clip, marking: Marking, rows: InARow) -> Clip:
    """The same clip, unless one mark too many is on it."""
    marks = marks_of(clip, marking.steps)
    for step in rows.see(marks, clip.kept and clip.file is not None):
        said = " ".join(clip.errors[step].split())[:TOLD].rstrip(".")
        raise TooManyMarked(
            f"{step} marked {marking.most} clips in a row with an error; of {clip.id} of "
            f"{clip.video.name} it says: {said}. Usually its model, its server or its own code is "
            "broken, and not the clips, so the run stopped before it marks more. Repair that and "
            "run the same command again to continue, or run without the step; --max-marked 0 "
            "goes on whatever happens"
        )
    return clip


class WatchMarks(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same, as long as not too many in a row are marked."""

    def __init__(self, marking: Marking) -> None:
        super().__init__()
        self.marking = marking

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        return clips | "Watch" >> beam.ParDo(_Watch(self.marking))


@dataclass(eq=False, repr=False)
class _Watch(beam.DoFn):
    marking: Marking

    def setup(self) -> None:
        self._kept = of_run(self.marking.run)
        self._rows = self._kept.once("marks", partial(InARow, self.marking.most))

    def teardown(self) -> None:
        del self._kept, self._rows

    def process(self, clip: Clip) -> Iterable[Clip]:
        yield watched(clip, self.marking, self._rows)
