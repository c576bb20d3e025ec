"""Stills: the first picture of an animated WebP, for decoders that know stills only.

RIFF … WEBP  VP8X  ANIM  ANMF[ place, size, time │ ALPH? VP8 ]  ANMF[…] …
                                                   ╰── the still's own, behind a new head
"""

from __future__ import annotations

from collections.abc import Iterator

HEAD = 12
#: Of an ``ANMF``: place, size, time and flags of its picture, three bytes each.
ABOUT = 16
#: An extended file whose picture has transparency.
TRANSPARENT = 0x10


def still_of(webp: bytes) -> bytes:
    """A WebP of its first picture alone; a still is returned as it is."""
    if webp[:4] != b"RIFF" or webp[8:HEAD] != b"WEBP":
        raise ValueError("it is not a WebP image: usually it was cut short when it was copied")
    for name, body in _chunks(webp[HEAD:]):
        if name in (b"VP8 ", b"VP8L"):
            return webp
        if name == b"ANMF":
            return _file(body[:ABOUT], list(_chunks(body[ABOUT:])))
    raise ValueError("it contains no picture: usually it was cut short when it was copied")


def _file(about: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    names = {name for name, _ in chunks}
    if b"ALPH" in names:
        # Width and height, less one, as the picture has them.
        chunks = [(b"VP8X", bytes([TRANSPARENT, 0, 0, 0]) + about[6:12]), *chunks]
    body = b"WEBP" + b"".join(_chunk(name, data) for name, data in chunks)
    return _chunk(b"RIFF", body)


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        body = data[place + 8 : place + 8 + size]
        if len(body) < size:
            raise ValueError("it ends too early: usually it was cut short when it was copied")
        yield data[place : place + 4], body
        place += 8 + size + size % 2
