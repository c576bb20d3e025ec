"""Pictures: the best frame of each clip, small, some hundred on one sprite.

    clips of a part, in order ─▶ Sprite, Sprite, … ─▶ report/pictures/<digest>.webp

So a page that shows a hundred clips asks for a few files, and has a picture of each at once. A
sprite is named by the clips on it, and ends at clips whose ids say so: where others come or go,
most sprites stay what they are, and are not made again.

The best frame is found as for thumbnails, and where there are thumbnails, these are used. Otherwise
a few key frames are decoded, in a child process, and only if all of them are dark the whole clip.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import BinaryIO, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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
from finecut.io.process.children import ChildDied, ChildLimits, possible, preload, run_in_child
from finecut.io.storage import files as shelf
from finecut.io.storage.retry import has_outlasted, note_outlasted, outlasted_at
from finecut.transforms.beam.guard import attempted
from finecut.transforms.report.counting import numbers
from finecut.transforms.steps.thumbnail import THUMBNAILS, worth

preload(__name__)

#: The page's folder of pictures.
FOLDER: Final = "pictures"
#: Counts up when the same clips are to be drawn in another way.
VERSION: Final = 1
#: A sprite ends at one clip in so many, by its id, and has at most so many.
ONE_IN: Final = 128
MOST: Final = 192
#: Pictures beside each other; the page knows this, too.
ACROSS: Final = 10
QUALITY: Final = 60
#: Key frames that are looked at, and how well lit the best one has to be.
KEYS: Final = 4
LIT: Final = 0.3
#: What cannot be seen is a plain field.
NOTHING: Final = (128, 128, 128)
#: A remote file up to this size is fetched once.
FETCHED_WHOLE: Final = 64 << 20

Pixels = NDArray[np.uint8]


class Picture(NamedTuple):
    """A clip that is to be seen."""

    id: str
    #: Its file below the dataset; none if there is none.
    clip: str
    width: int
    height: int


class Sprite(NamedTuple):
    """Consecutive clips and the file with their pictures; without a name there is none."""

    name: str
    clips: int
    pictures: tuple[Picture, ...]


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


def sprites_of(clips: pa.Table, width: int) -> Iterator[Sprite]:
    """The sprites of these clips, which are all of a part in their order."""
    ids, paths = clips.column("id").to_pylist(), clips.column("clip").to_pylist()
    digests = zip(clips.column("sha256").to_pylist(), numbers(clips, "num_bytes"), strict=True)
    wide, high = numbers(clips, "width").astype(int), numbers(clips, "height").astype(int)
    held: list[Picture] = []
    drawn = blake2b(digest_size=10)
    for place, (id, (sha256, size)) in enumerate(zip(ids, digests, strict=True)):
        held.append(Picture(id, paths[place] or "", int(wide[place]), int(high[place])))
        drawn.update(f"{id} {sha256 or int(size)} {bool(paths[place])}\n".encode())
        if int(id[-4:], 16) % ONE_IN == 0 or len(held) == MOST or place == len(ids) - 1:
            drawn.update(f"{VERSION} {width}".encode())
            some = any(picture.clip for picture in held) and width > 0
            yield Sprite(f"{drawn.hexdigest()}.webp" if some else "", len(held), tuple(held))
            held, drawn = [], blake2b(digest_size=10)


def draw(sprite: Sprite, drawing: Drawing, limits: ChildLimits | None = None) -> bytes | None:
    """The file of a sprite, or nothing if no clip of it can be seen. Without limits, clips are
    decoded in this process.
    """
    seen = [_thumbnail(picture, drawing) for picture in sprite.pictures]
    unseen = [place for place, one in enumerate(seen) if one is None]
    asked = [sprite.pictures[place] for place in unseen]
    for place, one in zip(unseen, _decoded(asked, drawing, limits), strict=True):
        seen[place] = one
    if all(one is None for one in seen):
        return None
    from PIL import Image  # of those that make no page, nobody needs it

    rows = -(-sprite.clips // ACROSS)
    whole = Image.new("RGB", (drawing.width * ACROSS, drawing.height * rows), NOTHING)
    for place, (picture, one) in enumerate(zip(sprite.pictures, seen, strict=True)):
        if one is not None:
            wide, high = drawing.size(picture)
            left = place % ACROSS * drawing.width + (drawing.width - wide) // 2
            top = place // ACROSS * drawing.height + (drawing.height - high) // 2
            whole.paste(Image.fromarray(one), (left, top))
    out = io.BytesIO()
    whole.save(out, "WEBP", quality=QUALITY)
    return out.getvalue()


def _thumbnail(picture: Picture, drawing: Drawing) -> Pixels | None:
    """From the thumbnail, if there is one; that is a file of ours, whose bytes are checked."""
    if not drawing.thumbnails:
        return None
    data = shelf.read_if_there(f"{drawing.root}/{THUMBNAILS.path(picture.id)}")
    if data is None:
        return None
    found = attempted(lambda: _of_jpeg(data))
    return None if isinstance(found, Exception) else _fitted(found, drawing.size(picture))


def _of_jpeg(data: bytes) -> Pixels:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB"))


def _fitted(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


# ── decoding ─────────────────────────────────────────────────────────────────────────────────────

#: What a child says of each clip: its pixels, that there are none, or that a store was away.
SEEN, UNSEEN, AWAY = b"+", b"-", b"!"


def _decoded(
    pictures: Sequence[Picture], drawing: Drawing, limits: ChildLimits | None
) -> Iterator[Pixels | None]:
    """The best frame of each clip; a clip at which the child dies has none."""
    left = [*pictures]
    while left:
        done = 0
        try:
            for data in _looked_at(left, drawing, limits):
                yield _pixels(data, drawing.size(left[done]))
                done += 1
            return
        except ChildDied:
            yield None  # the one at which it died
        left = left[done + 1 :]


def _looked_at(
    pictures: Sequence[Picture], drawing: Drawing, limits: ChildLimits | None
) -> Iterator[bytes]:
    if limits is None or not possible():
        return look(pictures, drawing)
    return run_in_child(look, pictures, drawing, limits=limits)


def _pixels(data: bytes, size: tuple[int, int]) -> Pixels | None:
    wide, high = size
    if data[:1] == AWAY:
        error = ConnectionError(data[1:].decode(errors="replace"))
        note_outlasted(error, "a store")
        raise error
    if data[:1] != SEEN or len(data) != 1 + wide * high * 3:
        return None
    return np.frombuffer(data, np.uint8, offset=1).reshape(high, wide, 3)


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
        with _opened(f"{drawing.root}/{picture.clip}") as file:
            found = attempted(lambda: best_of(file, 2 * drawing.height))
    except OSError as error:
        if has_outlasted(error):
            return AWAY + f"{outlasted_at(error)}: {error}".encode()
        return UNSEEN  # it is not there
    if isinstance(found, Exception):
        return UNSEEN
    return SEEN + _fitted(found, drawing.size(picture)).tobytes()


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
def _opened(uri: str) -> Iterator[str | BinaryIO]:
    if shelf.is_remote(uri) and shelf.size_of(uri) <= FETCHED_WHOLE:
        yield io.BytesIO(shelf.read(uri))
        return
    with shelf.open_source(uri) as source:
        yield source
