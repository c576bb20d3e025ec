"""AV1 as bytes: the header of its sequence, and whether a frame has a size of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from finecut.io.media.remux.bits import BadUnits, Bits

SEQUENCE, FRAME_HEADER, FRAME = 1, 3, 6
KEY, SWITCH = 0, 3
#: Profiles of which the one may have 12 bits, and the other always has colours.
PROFESSIONAL, WITHOUT_GREY = 2, 1
#: All that is read of a frame stands in its first bytes.
HEAD = 32
#: The frame itself says whether it uses a tool.
EACH = 2
#: The header that MP4 and Matroska keep is as long as this at the least.
BEFORE_UNITS = 4


@dataclass(frozen=True)
class Sequence:
    """What a sequence header says, as far as it is needed to read sizes."""

    size: tuple[int, int]
    is_still: bool
    #: How many bits say when a frame is to be shown, and which it is; 0: none.
    time_bits: int
    id_bits: int
    screen_tools: int
    whole_vectors: int
    #: Its profile, and bits that say how deep its samples are and whether they have colours.
    form: tuple[int, ...]


def units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The units of a packet: their kind, and what is in them."""
    at = 0
    while at < len(data):
        head = data[at]
        at += 2 if head & 4 else 1
        size = len(data) - at
        if head & 2:
            size, at = _leb128(data, at)
        if at + size > len(data):
            raise BadUnits("an AV1 packet claims to be longer than it is")
        yield head >> 3 & 15, data[at : at + size]
        at += size


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[at : at + 8]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise BadUnits("an AV1 packet is cut off")


def form_in(extradata: bytes | None) -> tuple[int, ...] | None:
    """What the header of the track says of the samples, in the same way as a :class:`Sequence`.

    (The copy of the sequence header there is no measure: encoders write it before they decided on
    all tools.)
    """
    if not extradata or len(extradata) < BEFORE_UNITS:
        return None
    kinds = extradata[2]
    return (extradata[1] >> 5, kinds >> 6 & 1, kinds >> 5 & 1, kinds >> 4 & 1)


def read_sequence(body: bytes) -> Sequence:
    """Read a sequence header."""
    bits = Bits(body)
    profile, is_still = bits.u(3), bool(bits.u(2) & 1)
    time_bits = 0
    if is_still:
        bits.u(5)
    else:
        time_bits = _skip_operation(bits)
    wide, high = bits.u(4) + 1, bits.u(4) + 1
    size = (bits.u(wide) + 1, bits.u(high) + 1)
    has_ids = not is_still and bits.u(1)
    id_bits = bits.u(4) + 2 + bits.u(3) + 1 if has_ids else 0
    bits.u(3)
    screen = whole = EACH
    if not is_still:
        bits.u(4)
        has_order = bits.u(1)
        if has_order:
            bits.u(2)
        screen = EACH if bits.u(1) else bits.u(1)
        if screen:
            whole = EACH if bits.u(1) else bits.u(1)
        if has_order:
            bits.u(3)
    bits.u(3)
    deep = bits.u(1)
    deepest = bits.u(1) if deep and profile == PROFESSIONAL else 0
    grey = 0 if profile == WITHOUT_GREY else bits.u(1)
    return Sequence(
        size=size,
        is_still=is_still,
        time_bits=time_bits,
        id_bits=id_bits,
        screen_tools=screen,
        whole_vectors=whole,
        form=(profile, deep, deepest, grey),
    )


def _skip_operation(bits: Bits) -> int:
    """Clocks and levels; how many bits of each frame say when it is to be shown."""
    delay_bits = time_bits = 0
    if bits.u(1):
        bits.u(64)
        is_even = bits.u(1)
        if is_even:
            bits.ue()
        if bits.u(1):
            delay_bits = bits.u(5) + 1
            bits.u(32 + 5)
            shown_bits = bits.u(5) + 1
            time_bits = 0 if is_even else shown_bits
    has_delays = bits.u(1)
    for _ in range(bits.u(5) + 1):
        bits.u(12)
        if bits.u(5) > 7:
            bits.u(1)
        if delay_bits and bits.u(1):
            bits.u(2 * delay_bits + 1)
        if has_delays and bits.u(1):
            bits.u(4)
    return time_bits


def has_own_size(frame: bytes, sequence: Sequence) -> bool:
    """Whether a frame says that it may be of another size than its sequence."""
    bits = Bits(frame[:HEAD])
    if sequence.is_still or bits.u(1):  # one that was sent before
        return False
    kind, is_shown = bits.u(2), bits.u(1)
    bits.u(sequence.time_bits if is_shown else 1)
    bits.u(1 if kind == SWITCH or (kind == KEY and is_shown) else 2)
    screen = bits.u(1) if sequence.screen_tools == EACH else sequence.screen_tools
    if screen and sequence.whole_vectors == EACH:
        bits.u(1)
    bits.u(sequence.id_bits)
    return kind == SWITCH or bool(bits.u(1))
