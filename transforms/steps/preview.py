"""Previews: a small animated picture of each window of a kept clip, from its contact sheet.

sheet    ▪  ▪  ▪  ▪  ▪  ▪  ▪  ▪  ▪  ▪
windows  [────0───────)[─────1──────)       previews/<clip>/0_255.webp, …/256_511.webp
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from finecut.io.layout import PREVIEWS
from finecut.io.records import Clip, Window
from finecut.transforms.option import MEASURED, MOST_HEIGHT, MOST_RATE, PREVIEW, option
from finecut.transforms.step_base import Made, Seen, Sheet, StepOnClips


@dataclass(frozen=True, kw_only=True)
class PreviewOptions:
    generate_previews: bool = option(
        False, PREVIEW, "Make an animated WebP of each window of each kept clip."
    )
    preview_target_fps: float = option(
        1.0,
        PREVIEW,
        "Frames per second of a preview.",
        metavar="N",
        above=0,
        most=MOST_RATE,
        effective=MEASURED,
    )
    preview_target_height: int = option(
        240,
        PREVIEW,
        "Height of a preview in pixels; smaller videos are not enlarged.",
        metavar="PIXELS",
        least=16,
        most=MOST_HEIGHT,
        effective=MEASURED,
    )
    preview_quality: int = option(
        50,
        PREVIEW,
        "Quality of a preview, from 0 (small) to 100.",
        metavar="N",
        least=0,
        most=100,
        effective=MEASURED,
    )


class Preview(StepOnClips[PreviewOptions]):
    name, order, label, place = "preview", 70, "MakePreviews", "previewed"
    usual_seconds = 0.03
    Options = PreviewOptions
    switch = "generate_previews"
    artefacts = (PREVIEWS,)
    gives, of_windows = "preview", True

    def seen(self, ask: bool = True) -> Seen:
        o = self.options
        return Seen(rates=(o.preview_target_fps,), height=o.preview_target_height)

    def make(self, clip: Clip, sheet: Sheet, folder: Path) -> Iterator[Made]:
        from finecut.io.media.frames.small_pictures import write_webp

        o = self.options
        for window in clip.windows:
            file = folder / f"{window.start_frame}_{window.end_frame}.webp"
            write_webp(
                file,
                sheet,
                frames_of_window(sheet, window, o.preview_target_fps),
                height=o.preview_target_height,
                rate=o.preview_target_fps,
                quality=o.preview_quality,
            )
            yield Made(PREVIEWS.path(clip.id, window.start_frame, window.end_frame), file)


def frames_of_window(sheet: Sheet, window: Window, rate: float) -> list[int]:
    """Frames of the sheet that show this window at this rate; one at least."""
    inside = [
        place
        for place in sheet.at_rate(rate)
        if window.start_frame <= sheet.indices[place] <= window.end_frame
    ]
    if inside:
        return inside
    middle = (window.start_frame + window.end_frame) / 2
    return [min(range(len(sheet)), key=lambda place: abs(sheet.indices[place] - middle))]
