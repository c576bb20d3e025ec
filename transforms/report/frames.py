"""The best frame of a clip, looked for in a child process.

It starts from no Beam and no tables: what a child imports for its task, it imports each time.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from finecut.io.dataset.places import NoDataset, Place
from finecut.io.media.frames.cheap_frames import show_key_frames
from finecut.io.media.frames.contact_sheet import (
    Sheet,
    SheetForm,
    SheetMaker,
    Wanted,
    sheet_from_file,
)
from finecut.io.media.limits import prepare_process
from finecut.io.process.child import beat
from finecut.io.process.children import preload
from finecut.io.storage import files as shelf
from finecut.io.storage.retry import has_outlasted, outlasted_at
from finecut.transforms.beam.guard import attempted
from finecut.transforms.steps.thumbnail import worth

preload(__name__)

#: Key frames that are looked at, and how well lit the best one has to be.
KEYS: Final = 4
LIT: Final = 0.3
#: A remote file up to this size is fetched once.
FETCHED_WHOLE: Final = 64 << 20
#: What a child says of each clip: its pixels, that there are none, or that a store was away.
SEEN, UNSEEN, AWAY = b"+", b"-", b"!"

Pixels = NDArray[np.uint8]


class Picture(NamedTuple):
    """A clip that is to be seen."""

    id: str
    #: Its file below the dataset, or the archive that has it; none if there is none.
    clip: str
    width: int
    height: int
    #: Where in an archive it lies.
    offset: int | None = None
    size: int | None = None
    #: Where in it its thumbnail does, from which byte on and how many, if it has one.
    thumbnail: tuple[int, int] | None = None


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn, and from where."""

    root: str
    #: Width of one; its height is 9/16 of that.
    width: int = 160
    #: Whether there may be thumbnails.
    thumbnails: bool = False

    @property
    def height(self) -> int:
        return self.width * 9 // 16

    def size(self, picture: Picture) -> tuple[int, int]:
        """How large it is within its place; the page reckons in the same way.

        >>> Drawing("").size(Picture("", "", 1080, 1920)), Drawing("").size(Picture("", "", 0, 0))
        ((51, 90), (160, 90))
        """
        if not picture.width or not picture.height:
            return self.width, self.height
        scale = min(self.width / picture.width, self.height / picture.height)
        wide, high = int(picture.width * scale + 0.5), int(picture.height * scale + 0.5)
        return max(1, wide), max(1, high)


def look(pictures: Sequence[Picture], drawing: Drawing) -> Iterator[bytes]:
    """In the child: what there is to see of each clip."""
    prepare_process()
    for picture in pictures:
        yield _look_at(picture, drawing)
        beat()


def _look_at(picture: Picture, drawing: Drawing) -> bytes:
    if not picture.clip:
        return UNSEEN
    try:
        place = Place(f"{drawing.root}/{picture.clip}", picture.offset, picture.size)
        with _opened(place) as file:
            found = attempted(lambda: best_of(file, 2 * drawing.height))
    except (OSError, NoDataset) as error:
        if has_outlasted(error):
            return AWAY + f"{outlasted_at(error)}: {error}".encode()
        return UNSEEN  # it is not there
    if isinstance(found, Exception):
        return UNSEEN
    return SEEN + fitted(found, drawing.size(picture)).tobytes()


def best_of(file: str | BinaryIO, side: int) -> Pixels:
    """The best of a clip's key frames; where all of them are dark, of frames all along the clip."""
    form = SheetForm((), side=side)
    maker = SheetMaker(form, Wanted(frames=frozenset(range(KEYS))))
    found = attempted(lambda: show_key_frames(file, maker, KEYS))
    sheet = None if isinstance(found, Exception) else maker.sheet()
    if sheet is None or max(worth(sheet, place)[1] for place in range(len(sheet))) < LIT:
        if not isinstance(file, str):
            file.seek(0)
        sheet = sheet_from_file(file, SheetForm((1.0,), side=side))
    return _best_on(sheet)


def _best_on(sheet: Sheet) -> Pixels:
    best = max(range(len(sheet)), key=lambda place: worth(sheet, place)[0])
    return np.asarray(sheet.rgb(best))


@contextmanager
def _opened(place: Place) -> Iterator[str | BinaryIO]:
    remote = shelf.is_remote(place.path)
    if place.offset is not None or (remote and place.num_bytes() <= FETCHED_WHOLE):
        yield io.BytesIO(place.read())
        return
    with shelf.open_source(place.path) as source:
        yield source


def fitted(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
