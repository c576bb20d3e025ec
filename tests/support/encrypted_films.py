"""Films that are encrypted, as far as their containers say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av

from finecut.io.media.testfilm.paint import paint

RATE = 15


def locked(folder: Path, scheme: bytes = b"cenc", only: str = "") -> Path:
    """An MP4 whose samples are encrypted, or those of its pictures or of its sound alone."""
    plain = paint(
        folder / "unlocked.mkv", seconds=3, rate=RATE, width=160, height=90, sound="aac", b_frames=0
    )
    film = folder / "locked.mp4"
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "5a" * 16}
    options = {"movflags": "+faststart", **key, "encryption_kid": "11" * 16}
    with av.open(plain.path) as source, av.open(str(film), "w", options=options) as copy:
        streams = {s.index: copy.add_stream_from_template(s, opaque=True) for s in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                copy.mux(packet)
    data = film.read_bytes()
    data = data.replace(b"schm\0\0\0\0cenc", b"schm\0\0\0\0" + scheme)
    film.write_bytes(data)
    return film


def locked_matroska(folder: Path) -> Path:
    """A Matroska whose track of pictures says with which key it is encrypted."""
    plain = paint(folder / "unlocked.mkv", seconds=3, rate=RATE, width=160, height=90, b_frames=0)
    data = Path(plain.path).read_bytes()
    key = ebml(0x47E1, b"\x05") + ebml(0x47E2, b"k" * 16)
    how = ebml(0x5031, b"\0") + ebml(0x5032, b"\1") + ebml(0x5033, b"\1") + ebml(0x5035, key)
    added = ebml(0x6D80, ebml(0x6240, how))
    film = folder / "locked.mkv"
    film.write_bytes(with_track_element(data, added))
    return film


def ebml(number: int, body: bytes) -> bytes:
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return name + (len(body) | 1 << 56).to_bytes(8, "big") + body


def with_track_element(data: bytes, added: bytes) -> bytes:
    """The film with an element more in its only track; what points into the file is left out."""
    [(head, _, start, end)] = [e for e in elements(data, 0, len(data)) if e[1] == SEGMENT]
    parts = []
    for at, name, inside, until in elements(data, start, end):
        if name == TRACKS:
            entries = elements(data, inside, until)
            [track] = [data[first:last] for _, kind, first, last in entries if kind == ENTRY]
            parts.append(ebml(TRACKS, ebml(ENTRY, track + added)))
        elif name in (INFO, CLUSTER):
            parts.append(data[at:until])
    return data[:head] + ebml(SEGMENT, b"".join(parts))


#: Elements of Matroska.
SEGMENT, INFO, TRACKS, ENTRY, CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0x1F43B675


def elements(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Where each begins, what it is, and where its inside begins and ends."""
    while at < end:
        length = 9 - data[at].bit_length()
        name = int.from_bytes(data[at : at + length], "big")
        width, size = variable(data, at + length)
        inside = at + length + width
        yield at, name, inside, inside + size
        at = inside + size


def variable(data: bytes, at: int) -> tuple[int, int]:
    """How long a size of Matroska is, and what it says."""
    length = 9 - data[at].bit_length()
    return length, int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
