"""Containers edited as bytes: the boxes of MP4, and whatever follows a mark."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

STBL = "moov/trak/mdia/minf/stbl"


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


FTYP = box(b"ftyp", b"isom\0\0\0\0isom")


def edited(boxes: bytes, path: str, change: Callable[[bytes], bytes]) -> bytes:
    """A film in MP4 in which the body of the first box at ``moov/trak/…`` is another.

    Sizes above it follow, and where samples lie (the index stands before them).
    """
    changed = _edited(boxes, path, change)
    moved, place, shift = bytearray(changed), -1, len(changed) - len(boxes)
    while shift and (place := moved.find(b"stco", place + 1)) >= 0:
        number = struct.unpack_from(">I", moved, place + 8)[0]
        for entry in range(place + 12, place + 12 + 4 * number, 4):
            where = struct.unpack_from(">I", moved, entry)[0]
            struct.pack_into(">I", moved, entry, where + shift)
    return bytes(moved)


def _edited(boxes: bytes, path: str, change: Callable[[bytes], bytes]) -> bytes:
    wanted, _, below = path.partition("/")
    out, place, found = b"", 0, False
    while place + 8 <= len(boxes):
        size, kind = struct.unpack_from(">I4s", boxes, place)
        size = size or len(boxes) - place
        body = boxes[place + 8 : place + size]
        if kind == wanted.encode() and not found:
            found = True
            body = _edited(body, below, change) if below else change(body)
        out += box(kind, body)
        place += size
    assert found, path
    return out


def put(place: int, new: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body[:place] + new + body[place + len(new) :]


def patched(film: bytes, mark: bytes, place: int, new: bytes) -> bytes:
    """``new`` at ``place`` bytes after the first ``mark`` begins."""
    at = film.index(mark) + place
    return film[:at] + new + film[at + len(new) :]


def edit_list(*entries: tuple[int, int]) -> Callable[[bytes], bytes]:
    """A track that shows so many milliseconds from a tick on, and then others."""
    rows = b"".join(struct.pack(">Iii", length, tick, 1 << 16) for length, tick in entries)
    elst = box(b"edts", box(b"elst", struct.pack(">II", 0, len(entries)) + rows))

    def change(trak: bytes) -> bytes:
        header = struct.unpack_from(">I", trak)[0]
        rest = trak[header:]
        if rest[4:8] == b"edts":
            rest = rest[struct.unpack_from(">I", rest)[0] :]
        return trak[:header] + elst + rest

    return change


def png(width: int, height: int) -> bytes:
    """A flat grey picture, which is a thousandth of its pixels."""
    packer = zlib.compressobj(1)
    row, rows = bytes(width + 1), 64
    pixels = b"".join(packer.compress(row * min(rows, height - y)) for y in range(0, height, rows))
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", pixels + packer.flush()),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
