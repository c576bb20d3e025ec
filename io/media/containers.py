"""Containers as bytes: whether a file is all there, and what MP4 says that FFmpeg does not hand on.

Part follows part without a gap, and the file ends where it says: then it is whole. Demuxers pass
over what they cannot read, and a file that was cut off simply ends. So a gap between two packets,
or no packet before the promised end, may be damage, or a picture that stands still for as long. The
structure of the file tells which: only the heads of its parts are read.

The index of an MP4 says of each track how its samples are to be read::

    moov ─┬─ trak ─┬─ tkhd                      the track's number
          │        └─ mdia ─ minf ─ stbl ─ stsd  its descriptions: usually one
          └─ trak …

A sample names its description. Where there are several, pictures change on the way in size, header
or lock: clear pictures before encrypted ones, for one.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from finecut.io.process.child import beat

EBML, SEGMENT, CLUSTER, BLOCK_GROUP = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0xA0
#: Parts of Matroska that are gone into; the others are passed over.
HOLDERS = frozenset({SEGMENT, CLUSTER, BLOCK_GROUP})
#: All that may follow a packet: what a segment holds, a cluster, and a group of one block.
KNOWN = HOLDERS | {
    *(EBML, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367),
    *(0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xAF, 0xEC, 0xBF),
    *(0xA1, 0xA2, 0x75A1, 0x9B, 0xFA, 0xFB, 0xFD, 0xA4, 0x75A2, 0x8E, 0xC8),
}
#: Bytes of the longest head: four of a name, eight of a size.
HEAD = 12
#: The most parts that are looked at (a day has seven million).
MOST = 10_000_000


def is_known(form: str) -> bool:
    """Whether the structure of this format is known here."""
    return form == "avi" or form.startswith("matroska")


def is_whole(file: str | BinaryIO, form: str, start: int = 0) -> bool:
    """Whether nothing is missing from ``start`` (where a part begins) to the file's end.

    ``False`` for formats whose structure is not known here.
    """
    with raw(file) as opened:
        if form.startswith("matroska"):
            size = opened.seek(0, os.SEEK_END)
            end = _segment_end(opened, size)
            return end is not None and end <= size and _reached(opened, start, end) == end
        return form == "avi" and _whole_avi(opened)


def is_unbroken(file: str | BinaryIO, until: int) -> bool:
    """Whether the parts of a Matroska file follow each other from its beginning to this place."""
    with raw(file) as opened:
        return _reached(opened, 0, until) is not None


@contextmanager
def raw(file: str | BinaryIO) -> Iterator[BinaryIO]:
    """The file, which is left as it was: somebody may be reading it."""
    if isinstance(file, str):
        with Path(file).open("rb") as opened:
            yield opened
        return
    place = file.tell()
    try:
        yield file
    finally:
        file.seek(place)


def _reached(file: BinaryIO, place: int | None, until: int) -> int | None:
    """Where the first part begins at or behind ``until``; ``None`` when they do not go so far."""
    for _ in range(MOST):
        if place is None or place >= until:
            return place
        beat()
        name, body, end = _element(file, place)
        place = body if name in HOLDERS else end if name in KNOWN else None
    return None


def _segment_end(file: BinaryIO, size: int) -> int | None:
    """Where the segment says that it ends; one that was recorded live does not say it."""
    place: int | None = 0
    while place is not None:
        name, _, end = _element(file, place)
        if name == SEGMENT:
            return size if end is None else end
        place = end if name in KNOWN else None
    return None


def _element(file: BinaryIO, place: int) -> tuple[int, int, int | None]:
    """The name of the part that begins there, 0 if none does, where its body begins, and where it
    ends if that is known.
    """
    file.seek(place)
    head = file.read(HEAD)
    wide = _width(head)
    rest = head[wide:]
    long = _width(rest)
    if not 0 < wide <= 4 or not 0 < long <= min(8, len(rest)):
        return 0, 0, None
    body, unknown = place + wide + long, (1 << 7 * long) - 1
    length = int.from_bytes(rest[:long], "big") & unknown
    return int.from_bytes(head[:wide], "big"), body, None if length == unknown else body + length


def _width(head: bytes) -> int:
    """How many bytes a number of Matroska has: one more than zeros it begins with."""
    return 9 - head[0].bit_length() if head else 0


def _whole_avi(file: BinaryIO) -> bool:
    """Its outermost parts: RIFF after RIFF, each as long as it says."""
    size, place = file.seek(0, os.SEEK_END), 0
    for _ in range(MOST):
        file.seek(place)
        head = file.read(8)
        if head[:4] != b"RIFF" or len(head) < 8:
            return 0 < place <= size + 1  # what follows the last one does not count
        place += 8 + int.from_bytes(head[4:], "little")
    return False


# ── MP4 ──────────────────────────────────────────────────────────────────────────────────────────

#: What descriptions of encrypted samples are called.
LOCKED = frozenset({b"encv", b"enca", b"drmi", b"drms"})
#: No film has more boxes side by side than this.
MOST_BOXES = 100_000

_LONG, _TO_THE_END = 1, 0
_HEAD = 8

Descriptions = dict[int, tuple[bytes, ...]]


def descriptions(source: str | BinaryIO) -> Descriptions:
    """How the descriptions of each track are called, by its number; nothing where it is no MP4."""
    try:
        with raw(source) as file:
            return _descriptions(file)
    except OSError:
        if isinstance(source, str):
            return {}  # opening it will say why
        raise


def has_several(described: Descriptions, track: int) -> bool:
    """Whether the samples of this track are not all read in the same way."""
    return len(described.get(track, ())) > 1


def is_locked(described: Descriptions, track: int) -> bool:
    """Whether samples of this track are encrypted."""
    return bool(LOCKED.intersection(described.get(track, ())))


def _descriptions(file: BinaryIO) -> Descriptions:
    found: Descriptions = {}
    for start, end in _inside(file, 0, file.seek(0, os.SEEK_END), (b"moov", b"trak")):
        number, names = 0, tuple[bytes, ...]()
        for first, last in _inside(file, start, end, (b"tkhd",)):
            head = _read(file, first, min(last, first + 24))
            at = 20 if head[:1] == b"\x01" else 12
            number = int.from_bytes(head[at : at + 4], "big")
        for first, last in _inside(file, start, end, (b"mdia", b"minf", b"stbl", b"stsd")):
            names = tuple(name for name, *_ in _boxes(file, first + _HEAD, last))
        found[number] = found.get(number, ()) + names
    return found


def _inside(
    file: BinaryIO, start: int, end: int, way: tuple[bytes, ...]
) -> Iterator[tuple[int, int]]:
    """Where the inside of each box on this way begins and ends."""
    for kind, first, last in _boxes(file, start, end):
        if kind == way[0] and way[1:]:
            yield from _inside(file, first, last, way[1:])
        elif kind == way[0]:
            yield first, last


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two places: what each is, and where its inside begins and ends."""
    for _ in range(MOST_BOXES):
        if at >= end:
            return
        head = _read(file, at, min(end, at + 2 * _HEAD))
        if len(head) < _HEAD:
            return
        size, kind = struct.unpack_from(">I4s", head)
        inside = at + _HEAD
        if size == _LONG and len(head) == 2 * _HEAD:
            size, inside = int.from_bytes(head[_HEAD:], "big"), at + 2 * _HEAD
        elif size == _TO_THE_END:
            size = end - at
        if size < inside - at:
            return
        yield kind, inside, min(end, at + size)
        at += size


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(max(0, end - start))
