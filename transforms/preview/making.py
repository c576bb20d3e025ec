"""Making files of clips: a step is shown the contact sheet of each kept clip, and makes files.

    contact sheet ──▶ step.make ──▶ files ──▶ staged, and known to the clip by their final paths

What breaks in it costs the files of one clip, which says so among its errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam

from finecut.io.records import Clip, Failure
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.metrics import count, metered
from finecut.transforms.measure.looking import Looking, sheet_of
from finecut.transforms.needs import NO_RESOURCES
from finecut.transforms.step_base import StepOnClips
from finecut.transforms.work import Work


@dataclass(frozen=True)
class Making(Work):
    """Which step makes files, and where they are staged."""

    step: StepOnClips[Any]
    shelf: Shelf
    looking: Looking

    #: It loads nothing, so there is nothing to say of a model.
    resources = NO_RESOURCES
    model = described = ""

    def require(self) -> None:
        """Nothing is missing."""

    def load(self) -> None:
        """Nothing is loaded."""

    def run(self, clips: Sequence[Clip], _model: None) -> list[Clip]:
        return [made_or_not(clip, self) for clip in clips]

    def transform(self, _shared: bool = False, _copies: int = 1) -> beam.PTransform[Any, Any]:
        return beam.Map(made_or_not, self).with_output_types(Clip)


def made(clip: Clip, making: Making) -> Clip:
    """The clip, with the staged files that the step makes of it."""
    step = making.step
    if step.of_windows and not clip.windows:
        return clip
    sheet = sheet_of(clip, making.looking)
    with making.shelf.bench() as folder:
        staged = {
            each.below: making.shelf.stage(each.file) for each in step.make(clip, sheet, folder)
        }
    return clip.replace(artefacts={**clip.artefacts, **staged})


def made_or_not(clip: Clip, making: Making) -> Clip:
    """The same for a kept clip; if that breaks, the clip stays and says what is missing."""
    if not clip.kept or clip.file is None:
        return clip
    step = making.step
    make = partial(made, making=making)
    [outcome] = guarded(step.name, clip.video.source, lambda: metered(step.name, map(make, [clip])))
    if isinstance(outcome, Failure):
        return clip.replace(errors={**clip.errors, step.marks(): outcome.message})
    count(f"{step.gives}s made", len(outcome.artefacts) - len(clip.artefacts))
    return outcome
