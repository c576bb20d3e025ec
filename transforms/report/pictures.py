"""Pictures: the best frame of each clip, small, some hundred on one sprite.

    clips of a part, in order ─▶ Sprite, Sprite, … ─▶ report/pictures/<digest>.webp

So a page that shows a hundred clips asks for a few files, and has a picture of each at once. A
sprite is named by the clips on it, and ends at clips whose ids say so: where others come or go,
most sprites stay what they are, and are not made again.

The best frame is found as for thumbnails, and where there are thumbnails, these are used. Otherwise
a few key frames are decoded, in a child process, and only if all of them are dark the whole clip.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from finecut.io.dataset.places import NoDataset, Place
from finecut.io.process.children import ChildDied, ChildLimits, possible, run_in_child
from finecut.io.storage import files as shelf
from finecut.io.storage.retry import note_outlasted
from finecut.transforms.beam.guard import attempted
from finecut.transforms.report.counting import numbers
from finecut.transforms.report.frames import AWAY, SEEN, Drawing, Picture, Pixels, fitted, look
from finecut.transforms.steps.thumbnail import THUMBNAILS

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
#: What cannot be seen is a plain field.
NOTHING: Final = (128, 128, 128)


class Sprite(NamedTuple):
    """Consecutive clips and the file with their pictures; without a name there is none."""

    name: str
    clips: int
    pictures: tuple[Picture, ...]


def sprites_of(clips: pa.Table, width: int) -> Iterator[Sprite]:
    """The sprites of these clips, which are all of a part in their order."""
    ids, paths = clips.column("id").to_pylist(), clips.column("clip").to_pylist()
    offsets, sizes = clips.column("clip_offset").to_pylist(), numbers(clips, "num_bytes")
    made = clips.column("artefacts").to_pylist() if offsets.count(None) < len(offsets) else ()
    digests = zip(clips.column("sha256").to_pylist(), sizes, strict=True)
    wide, high = numbers(clips, "width").astype(int), numbers(clips, "height").astype(int)
    held: list[Picture] = []
    drawn = blake2b(digest_size=10)
    for place, (id, (sha256, size)) in enumerate(zip(ids, digests, strict=True)):
        offset = offsets[place]
        picture = Picture(id, paths[place] or "", int(wide[place]), int(high[place]))
        if offset is not None:
            lies = part_of(THUMBNAILS.folder, made[place])
            picture = picture._replace(offset=offset, size=int(size), thumbnail=lies)
        held.append(picture)
        drawn.update(f"{id} {sha256 or int(size)} {bool(paths[place])}\n".encode())
        if int(id[-4:], 16) % ONE_IN == 0 or len(held) == MOST or place == len(ids) - 1:
            drawn.update(f"{VERSION} {width}".encode())
            some = any(picture.clip for picture in held) and width > 0
            yield Sprite(f"{drawn.hexdigest()}.webp" if some else "", len(held), tuple(held))
            held, drawn = [], blake2b(digest_size=10)


def part_of(kind: str, made: Iterable[Mapping[str, Any]] | None) -> tuple[int, int] | None:
    """Where in its archive the first file of a kind lies that was made of a clip, and its size."""
    found = [
        (one["offset"], one["size"])
        for one in made or ()
        if one["kind"] == kind and one["offset"] is not None
    ]
    return min(found, default=None)


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
    data = _thumbnail_data(picture, drawing)
    if data is None:
        return None
    found = attempted(lambda: _of_jpeg(data))
    return None if isinstance(found, Exception) else fitted(found, drawing.size(picture))


def _thumbnail_data(picture: Picture, drawing: Drawing) -> bytes | None:
    if picture.thumbnail is not None:
        lies = Place(f"{drawing.root}/{picture.clip}", *picture.thumbnail)
        try:
            return lies.read()
        except (NoDataset, FileNotFoundError):
            return None
    if not drawing.thumbnails:
        return None
    return shelf.read_if_there(f"{drawing.root}/{THUMBNAILS.path(picture.id)}")


def _of_jpeg(data: bytes) -> Pixels:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data), formats=["JPEG"]).convert("RGB"))


# ── decoding ─────────────────────────────────────────────────────────────────────────────────────


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
