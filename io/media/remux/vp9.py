"""VP9 as bytes: how large the pictures of a packet are.

A key frame says its size, and so may any other; those that do not are as large as one of the eight
pictures that the decoder remembers. The container says one size for all.
"""

from __future__ import annotations

from finecut.io.media.remux.bits import BadUnits, Bits

Size = tuple[int, int]

#: All that is read here stands in the first bytes of a frame.
HEAD = 64
MARKER, SYNC, RGB = 2, 0x498342, 7


class Sizes:
    """Follows a track packet by packet, from a key frame on."""

    def __init__(self) -> None:
        #: The sizes of the pictures that the decoder remembers.
        self._kept: list[Size | None] = [None] * 8

    def shown(self, packet: bytes) -> list[Size]:
        """The sizes of the pictures that this packet shows; raises what it is not."""
        found = []
        for frame in frames(packet):
            size, is_shown = self._read(Bits(frame[:HEAD]))
            if is_shown and size is not None:
                found.append(size)
        return found

    def _read(self, bits: Bits) -> tuple[Size | None, bool]:
        if bits.u(2) != MARKER:
            raise BadUnits("a VP9 packet begins with invalid data")
        profile = bits.u(1) | bits.u(1) << 1
        if profile == 3:
            bits.u(1)
        if bits.u(1):  # one that is remembered
            return self._kept[bits.u(3)], True
        is_key, is_shown, resilient = not bits.u(1), bool(bits.u(1)), bits.u(1)
        if is_key:
            _skip_colours(bits, profile)
            size: Size | None = _size(bits)
            self._kept = [size] * 8
            return size, is_shown
        intra = not is_shown and bool(bits.u(1))
        if not resilient:
            bits.u(2)
        if intra:
            _skip_colours(bits, profile, 0 if profile else None)
            replaced, size = bits.u(8), _size(bits)
        else:
            replaced = bits.u(8)
            references = [bits.u(4) >> 1 for _ in range(3)]
            same = next((self._kept[number] for number in references if bits.u(1)), ())
            size = _size(bits) if same == () else same or None
        self._kept = [
            size if replaced >> number & 1 else kept for number, kept in enumerate(self._kept)
        ]
        return size, is_shown


def frames(packet: bytes) -> list[bytes]:
    """The frames of a packet: one, or several with an index behind them.

    >>> frames(b"abc" + bytes([0b11000001, 1, 2, 0b11000001]))
    [b'a', b'bc']
    """
    if not packet or packet[-1] >> 5 != 0b110:
        return [packet] if packet else []
    count, width = (packet[-1] & 7) + 1, (packet[-1] >> 3 & 3) + 1
    index = 2 + count * width
    if len(packet) < index or packet[-index] != packet[-1]:
        return [packet]
    found, at, row = [], 0, len(packet) - index + 1
    for number in range(count):
        place = row + number * width
        size = int.from_bytes(packet[place : place + width], "little")
        if size:
            found.append(packet[at : at + size])
        at += size
    return found


def _skip_colours(bits: Bits, profile: int, depth_of: int | None = 0) -> None:
    """What a frame that needs no other says before its size; ``None``: nothing of its colours."""
    if bits.u(24) != SYNC:
        raise BadUnits("a VP9 key frame begins with invalid data")
    if depth_of is None:
        return
    if profile >= 2:
        bits.u(1)
    if bits.u(3) != RGB:
        bits.u(1)
        if profile in (1, 3):
            bits.u(3)
    elif profile in (1, 3):
        bits.u(1)


def _size(bits: Bits) -> Size:
    return bits.u(16) + 1, bits.u(16) + 1
