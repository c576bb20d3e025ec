"""Thumbnails: of each kept clip its best frame as a JPEG, ``thumbnails/<clip>.jpg``.

The best frame is the one whose sharpness times exposure is largest, both measured as the quality
filter does, among those sampled once a second: it is well lit and in focus, and neither a fade to
black nor a blurred pan. Where nothing in a clip is sharp, exposure alone decides; of equally good
frames the first is taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from finecut.io.layout import Artefact
from finecut.io.records import Clip
from finecut.transforms.option import MEASURED, MOST_HEIGHT, PREVIEW, option
from finecut.transforms.step_base import Made, Seen, Sheet, StepOnClips

THUMBNAILS = Artefact("thumbnails", ".jpg")
#: Frames a second among which the best is searched.
RATE = 1.0
#: What sharpness is at least taken for, so that exposure decides where nothing is sharp.
LEAST_SHARPNESS = 0.01
#: How a JPEG begins and ends.
BEGIN, END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True, kw_only=True)
class ThumbnailOptions:
    generate_thumbnails: bool = option(
        False, PREVIEW, "Make a JPEG of the best frame of each kept clip (thumbnails/)."
    )
    thumbnail_side: int = option(
        240,
        PREVIEW,
        "Shorter side of a thumbnail; smaller clips are not enlarged.",
        metavar="PIXELS",
        least=16,
        most=MOST_HEIGHT,
        effective=MEASURED,
    )
    thumbnail_quality: int = option(
        80,
        PREVIEW,
        "JPEG quality of a thumbnail, from 1 (small) to 95.",
        metavar="N",
        least=1,
        most=95,
        effective=MEASURED,
    )


class Thumbnail(StepOnClips[ThumbnailOptions]):
    name, order, label = "thumbnail", 75, "MakeThumbnails"
    usual_seconds = 0.02
    Options = ThumbnailOptions
    switch = "generate_thumbnails"
    artefacts = (THUMBNAILS,)
    gives = "thumbnail"

    def seen(self, ask: bool = True) -> Seen:
        return Seen(rates=(RATE,), side=self.options.thumbnail_side)

    def make(self, clip: Clip, sheet: Sheet, folder: Path) -> Iterator[Made]:
        from PIL import Image

        file = folder / f"{clip.id}.jpg"
        picture = Image.fromarray(sheet.rgb(best_frame(sheet), self.options.thumbnail_side))
        picture.save(file, "JPEG", quality=self.options.thumbnail_quality, optimize=True)
        yield Made(THUMBNAILS.path(clip.id), file)

    @staticmethod
    def damage(data: bytes) -> str:
        if not data.startswith(BEGIN):
            return f"has {len(data):,} bytes and does not begin as a JPEG does"
        return "" if data.endswith(END) else f"ends after {len(data):,} bytes as no JPEG does"


def best_frame(sheet: Sheet) -> int:
    """Which frame of the sheet is best."""
    return max(sheet.at_rate(RATE), key=lambda place: worth(sheet, place)[0])


def worth(sheet: Sheet, place: int) -> tuple[float, float]:
    """How good a frame of the sheet is, and how well it is lit."""
    from finecut.transforms.measure.quality import QualityMeter

    meter = QualityMeter()
    meter.see(sheet.frames[place][: sheet.height])
    scores = meter.scores()
    exposure = scores["exposure"]
    return exposure * max(LEAST_SHARPNESS, scores["sharpness"]), exposure
