"""Previews: a small animated picture of each window of a kept clip, from the clip's sheet.

sheet    ▪  ▪  ▪  ▪  ▪  ▪  ▪  ▪  ▪  ▪
windows  [────0───────)[─────1──────)       previews/<clip>/0_255.webp, …/256_511.webp
"""

from dataclasses import dataclass, replace
from functools import partial

import apache_beam as beam

from finecut.io.media.frames.contact_sheet import Sheet
from finecut.io.media.frames.webp import write_webp
from finecut.io.records import Clip, Failure, Window
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.metrics import count, metered
from finecut.transforms.measure.looking import Looking, sheet_of


@dataclass(frozen=True)
class Previewing:
    """What previews look like and where they are staged."""

    shelf: Shelf
    looking: Looking
    rate: float = 1.0
    height: int = 240
    quality: int = 50


def frames_of_window(sheet: Sheet, window: Window, rate: float) -> list[int]:
    """Frames of the sheet that show this window, so many a second; one at the least."""
    inside = [
        place
        for place in sheet.at_rate(rate)
        if window.start_frame <= sheet.indices[place] <= window.end_frame
    ]
    if inside:
        return inside
    middle = (window.start_frame + window.end_frame) / 2
    return [min(range(len(sheet)), key=lambda place: abs(sheet.indices[place] - middle))]


def previewed(clip: Clip, previewing: Previewing) -> Clip:
    """The clip, with a staged preview of each of its windows."""
    if not clip.windows:
        return clip
    sheet = sheet_of(clip, previewing.looking)
    windows = []
    with previewing.shelf.bench() as folder:
        for window in clip.windows:
            path = folder / f"{window.start_frame}_{window.end_frame}.webp"
            indices = frames_of_window(sheet, window, previewing.rate)
            write_webp(path, sheet, indices, previewing.height, previewing.rate, previewing.quality)
            windows.append(replace(window, preview=previewing.shelf.stage(path)))
    return clip.replace(windows=tuple(windows))


def previewed_or_not(clip: Clip, previewing: Previewing) -> Clip:
    """The same for a kept clip; if that breaks, the clip stays and says what is missing."""
    if not clip.kept or clip.file is None:
        return clip
    make = partial(previewed, previewing=previewing)
    work = guarded("preview", clip.video.source, lambda: metered("preview", map(make, [clip])))
    [outcome] = work
    if isinstance(outcome, Failure):
        return clip.replace(errors={**clip.errors, "preview": outcome.message})
    count("previews made", len(outcome.windows))
    return outcome


class MakePreviews(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same; the windows of those that are kept have previews."""

    def __init__(self, previewing: Previewing) -> None:
        super().__init__()
        self.previewing = previewing

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        make = beam.Map(previewed_or_not, self.previewing)
        return clips | "Make previews" >> make.with_output_types(Clip)
