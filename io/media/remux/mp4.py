"""MP4 as bytes: what its index says of each track's samples, which FFmpeg does not hand on.

    moov ─┬─ trak ─┬─ tkhd                      the track's number
          │        └─ mdia ─ minf ─ stbl ─ stsd  its descriptions: usually one
          └─ trak …

A sample names its description. Where there are several, pictures change on the way in size, header
or lock: clear pictures before encrypted ones, for one.
"""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from finecut.io.media.wholeness import raw

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
