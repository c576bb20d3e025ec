"""Files made to hurt whose bytes are the trouble: halves, other formats, boxes, and no files."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from container_bytes import FTYP, box, patched, png
from encrypted_films import locked, locked_matroska
from hostile_content import NO_CONTAINER
from hostile_making import (
    Case,
    State,
    Studio,
    data,
    fifo,
    folder,
    link_to,
    nested,
    part,
    text,
    zipped,
)

LOCKED = "its video is encrypted"


def _ts(studio: Studio) -> bytes:
    return studio.canary.read_bytes()


#: What is left of films after 10, 50 and 90 %.
HALVED: tuple[tuple[str, Callable[[Studio], bytes], tuple[State, State, State]], ...] = (
    (".mp4", lambda s: s.mp4, ("failed", "failed", "marked")),
    (".mov", lambda s: s.mov, ("failed", "failed", "marked")),
    (".mkv", lambda s: s.mkv, ("failed", "failed", "marked")),
    (".webm", lambda s: s.webm, ("failed", "failed", "marked")),
    # Their length is that of what is there.
    (".avi", lambda s: s.avi, ("empty", "done", "done")),
    (".ts.mp4", _ts, ("empty", "done", "done")),
)

HOSTILE_BYTES: tuple[Case, ...] = (
    # Half files.
    *(
        Case(
            f"cut{percent}{suffix}", f"cut off after {percent} %", data(part(film, percent)), state
        )
        for suffix, film, states in HALVED
        for percent, state in zip((10, 50, 90), states, strict=True)
    ),
    Case("ts.mp4", "MPEG-TS under another name", data(_ts), "done"),
    # Bytes.
    Case("nothing.mp4", "no byte", data(lambda s: b""), "failed", NO_CONTAINER),
    Case("byte.mp4", "one byte", data(lambda s: b"\0"), "failed", NO_CONTAINER),
    Case("zeros.mp4", "zeros", data(lambda s: bytes(100_000)), "failed", NO_CONTAINER),
    Case(
        "random.mp4",
        "random bytes",
        data(lambda s: random.Random(1).randbytes(100_000)),
        "failed",
        NO_CONTAINER,
    ),
    Case(
        "random.mkv",
        "random bytes",
        data(lambda s: random.Random(2).randbytes(100_000)),
        "failed",
        NO_CONTAINER,
    ),
    Case("text.mp4", "a text", text("This is not a film.\n" * 100), "failed", NO_CONTAINER),
    Case(
        "page.mp4",
        "a web page",
        text("<!doctype html><video src=x.mp4></video>\n" * 50),
        "failed",
        NO_CONTAINER,
    ),
    Case(
        "image.mp4",
        "a JPEG",
        data(lambda s: b"\xff\xd8" + s.mjpeg.split(b"\xff\xd8")[1]),
        "failed",
        NO_CONTAINER,
    ),
    Case("png.mp4", "a PNG", data(lambda s: png(64, 64)), "failed", NO_CONTAINER),
    Case(
        "gif.mp4",
        "a GIF",
        data(lambda s: b"GIF89a\1\0\1\0\x80\0\0" + bytes(6) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;"),
        "failed",
        NO_CONTAINER,
    ),
    Case(
        "wav.mp4",
        "a WAV",
        data(
            lambda s: (
                b"RIFF\x24\x10\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0"
                b"\x10\0data\0\x10\0\0" + bytes(4096)
            )
        ),
        "failed",
        NO_CONTAINER,
    ),
    Case("zip.mp4", "a ZIP", zipped, "failed", NO_CONTAINER),
    # Boxes.
    Case(
        "encrypted.mp4",
        "a claim that the pictures are encrypted",
        data(lambda s: patched(s.mp4, b"avc1\0\0\0\0\0\0", 0, b"encv")),
        "failed",
        LOCKED,
    ),
    Case(
        "cenc.mp4",
        "encrypted pictures and sound",
        data(lambda s: locked(s.folder).read_bytes()),
        "failed",
        LOCKED,
    ),
    Case(
        "locked.mkv",
        "the claim in Matroska that the pictures are encrypted",
        data(lambda s: locked_matroska(s.folder).read_bytes()),
        "failed",
        LOCKED,
    ),
    Case("nested.mp4", "10,000 boxes, each in another", data(lambda s: nested(10_000)), "failed"),
    Case(
        "overlap.mp4",
        "boxes longer than those around them",
        data(lambda s: patched(s.mp4, b"mdia", -4, b"\x7f\0\0\0")),
        "done",
    ),
    Case(
        "size0.mp4",
        "a box of size 0 in front",
        data(lambda s: FTYP + struct.pack(">I4s", 0, b"free") + s.mp4),
        "failed",
    ),
    Case(
        "size1.mp4",
        "a box of 2^63 bytes in front",
        data(lambda s: FTYP + struct.pack(">I4sQ", 1, b"free", 1 << 63) + s.mp4),
        "failed",
    ),
    Case(
        "no_mdat.mp4",
        "an index without what it points to",
        data(lambda s: FTYP + s.mp4[s.mp4.index(b"moov") - 4 :] + box(b"mdat", b"")),
        "failed",
    ),
    # What is no file.
    Case("fifo.mp4", "a pipe", fifo, "failed", "is a folder, pipe or device"),
    Case("folder.mp4", "a folder", folder, "unseen"),
    Case("dangling.mp4", "a link to nothing", link_to("nowhere.mp4"), "failed"),
    Case("circle.mp4", "a link to itself", link_to("{own}"), "failed"),
)
