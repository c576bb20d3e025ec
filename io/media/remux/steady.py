"""Steadiness: whether all packets of a track are as its header says, judged by their bytes.

A track has one header, and so has a clip that is made of its packets. What changes on the way in
the packets themselves (another size, other parameter sets) would make the clip other than it says,
and what changed once is in force until it changes again. Nothing is decoded here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from finecut.io.media.limits import FilmError
from finecut.io.media.remux import h264
from finecut.io.media.remux.h264 import BadUnits, Bits

SETS_CHANGE = "its parameter sets change partway"
SIZE_CHANGES = "its frames change their size partway"
UNREADABLE = "one of its packets does not say how to decode it"

Size = tuple[int, int]

#: Is shown every packet of pictures in turn; why they are not what the header says, or nothing.
Steady = Callable[[bytes], str | None]


def steady(codec: str, extradata: bytes | None, size: Size) -> Steady | None:
    """What watches a track of this codec whose header says this; raises what it cannot be."""
    if codec == "h264":
        found = h264.header(extradata)
        return _Sets(found.sets, found.length_size, h264.is_set).change
    if codec == "hevc":
        return _Sets(*hevc_sets(extradata or b""), is_hevc_set).change
    if codec == "vp9":
        return partial(_read_or_not, Vp9(size).change)
    if codec == "av1":
        return partial(_read_or_not, _Av1(av1_form(extradata), size).change)
    if codec == "mpeg4":
        return _Mpeg4(extradata or b"").change
    return None


def _read_or_not(change: Steady, packet: bytes) -> str | None:
    try:
        return change(packet)
    except FilmError:
        return UNREADABLE


class _Sets:
    """H.264 and HEVC: sets in packets are those of the header, or all that follows is another's."""

    def __init__(
        self, known: frozenset[bytes], length_size: int | None, is_set: Callable[[bytes], bool]
    ) -> None:
        self._known, self._length_size, self._is_set = known, length_size, is_set
        self._changed = False

    def change(self, packet: bytes) -> str | None:
        if not self._changed:
            try:
                units = h264.units(packet, self._length_size)
            except FilmError as error:
                return str(error)
            self._changed = any(self._is_set(unit) and unit not in self._known for unit in units)
        return SETS_CHANGE if self._changed else None


# ── HEVC ─────────────────────────────────────────────────────────────────────────────────────────

#: Where the header says how long lengths are, and how many rows of parameter sets it has.
_HEVC_LENGTHS, _HEVC_ARRAYS = 21, 22


def is_hevc_set(unit: bytes) -> bool:
    """Whether it is one of the three kinds of parameter sets."""
    return 32 <= unit[0] >> 1 & 63 <= 34


def hevc_sets(extradata: bytes) -> tuple[frozenset[bytes], int | None]:
    """The parameter sets of an HEVC track, and how long the lengths before its units are."""
    if extradata[:1] != b"\x01":
        return frozenset(filter(is_hevc_set, h264.units(extradata, None))), None
    try:
        length_size, arrays = (extradata[_HEVC_LENGTHS] & 3) + 1, extradata[_HEVC_ARRAYS]
    except IndexError as error:
        raise BadUnits("the header of the HEVC track is cut off") from error
    known, at = set[bytes](), _HEVC_ARRAYS + 1
    for _ in range(arrays):
        count = int.from_bytes(extradata[at + 1 : at + 3], "big")
        units, at = h264.row(extradata, at + 3, count)
        known.update(units)
    return frozenset(known), length_size


# ── MPEG-4 ───────────────────────────────────────────────────────────────────────────────────────

#: How descriptions of pictures begin.
_LAYERS = range(0x20, 0x30)


class _Mpeg4:
    def __init__(self, extradata: bytes) -> None:
        self._known = set(_mpeg4_layers(extradata))
        self._changed = False

    def change(self, packet: bytes) -> str | None:
        for layer in _mpeg4_layers(packet):
            self._changed = layer not in self._known
        return SETS_CHANGE if self._changed else None


def _mpeg4_layers(data: bytes) -> Iterator[bytes]:
    """What MPEG-4 says of the pictures that follow, wherever it says it."""
    return (unit for unit in h264.units(data, None) if unit[0] in _LAYERS)


# ── VP9 ──────────────────────────────────────────────────────────────────────────────────────────

#: All that is read here stands in the first bytes of a frame.
_VP9_HEAD = 64
_MARKER, _SYNC, _RGB = 2, 0x498342, 7


class Vp9:
    """Follows the sizes of pictures packet by packet, from a key frame on.

    A key frame says its size, and so may any other; those that do not are as large as one of the
    eight pictures that the decoder remembers. The container says one size for all.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        #: The sizes of the pictures that the decoder remembers.
        self._kept: list[Size | None] = [None] * 8

    def change(self, packet: bytes) -> str | None:
        return SIZE_CHANGES if {*self.shown(packet)} - {self._size} else None

    def shown(self, packet: bytes) -> list[Size]:
        """The sizes of the pictures that this packet shows; raises what it is not."""
        read = [self._read(Bits(frame[:_VP9_HEAD])) for frame in vp9_frames(packet)]
        return [size for size, is_shown in read if is_shown and size is not None]

    def _read(self, bits: Bits) -> tuple[Size | None, bool]:
        if bits.u(2) != _MARKER:
            raise BadUnits("a VP9 packet begins with invalid data")
        profile = bits.u(1) | bits.u(1) << 1
        bits.u(1 if profile == 3 else 0)
        if bits.u(1):  # one that is remembered
            return self._kept[bits.u(3)], True
        is_key, is_shown, resilient = not bits.u(1), bool(bits.u(1)), bits.u(1)
        intra = is_key or (not is_shown and bool(bits.u(1)))
        bits.u(0 if is_key or resilient else 2)
        size: Size | None
        if intra:
            _skip_vp9_colours(bits, profile, is_key)
            replaced, size = 255 if is_key else bits.u(8), _vp9_size(bits)
        else:
            replaced = bits.u(8)
            references = [bits.u(4) >> 1 for _ in range(3)]
            same = next((self._kept[number] for number in references if bits.u(1)), ())
            size = _vp9_size(bits) if same == () else same or None
        self._kept = [
            size if replaced >> number & 1 else kept for number, kept in enumerate(self._kept)
        ]
        return size, is_shown


def vp9_frames(packet: bytes) -> list[bytes]:
    """The frames of a packet: one, or several with an index behind them.

    >>> vp9_frames(b"abc" + bytes([0b11000001, 1, 2, 0b11000001]))
    [b'a', b'bc']
    """
    if not packet or packet[-1] >> 5 != 0b110:
        return [packet] if packet else []
    count, width = (packet[-1] & 7) + 1, (packet[-1] >> 3 & 3) + 1
    index = 2 + count * width
    if len(packet) < index or packet[-index] != packet[-1]:
        return [packet]
    row = packet[1 - index : -1]
    sizes = [int.from_bytes(row[at : at + width], "little") for at in range(0, len(row), width)]
    ends = zip(sizes, accumulate(sizes), strict=True)
    return [packet[end - size : end] for size, end in ends if size]


def _skip_vp9_colours(bits: Bits, profile: int, is_key: bool) -> None:
    """What a frame that needs no other says before its size."""
    if bits.u(24) != _SYNC:
        raise BadUnits("a VP9 key frame begins with invalid data")
    if not (is_key or profile):
        return
    bits.u(1 if profile >= 2 else 0)
    is_odd = profile in (1, 3)
    if bits.u(3) != _RGB:
        bits.u(4 if is_odd else 1)
    else:
        bits.u(1 if is_odd else 0)


def _vp9_size(bits: Bits) -> Size:
    return bits.u(16) + 1, bits.u(16) + 1


# ── AV1 ──────────────────────────────────────────────────────────────────────────────────────────

SEQUENCE, FRAME_HEADER, FRAME = 1, 3, 6
_KEY, _SWITCH = 0, 3
#: Profiles of which the one may have 12 bits, and the other always has colours.
_PROFESSIONAL, _WITHOUT_GREY = 2, 1
#: All that is read of a frame stands in its first bytes.
_AV1_HEAD = 32
#: The frame itself says whether it uses a tool.
_EACH = 2
#: The header that MP4 and Matroska keep is as long as this at the least.
_BEFORE_UNITS = 4


class _Av1:
    def __init__(self, form: tuple[int, ...] | None, size: Size) -> None:
        self._form, self._size = form, size
        #: The first sequence header, and the last.
        self._first: bytes | None = None
        self._now: bytes | None = None
        self._sequence: Sequence | None = None

    def change(self, packet: bytes) -> str | None:
        own_size = False
        for kind, body in av1_units(packet):
            if kind == SEQUENCE and body != self._now:
                self._now, self._sequence = body, av1_sequence(body)
                self._first = self._first or body
            elif kind in (FRAME, FRAME_HEADER) and self._sequence is not None:
                own_size |= has_own_size(body, self._sequence)
        if self._sequence is None:
            return None
        if own_size or self._sequence.size != self._size:
            return SIZE_CHANGES
        same = self._now == self._first and self._form in (None, self._sequence.form)
        return None if same else SETS_CHANGE


@dataclass(frozen=True)
class Sequence:
    """What a sequence header says, as far as it is needed to read sizes."""

    size: Size
    is_still: bool
    #: How many bits say when a frame is to be shown, and which it is; 0: none.
    time_bits: int
    id_bits: int
    screen_tools: int
    whole_vectors: int
    #: Its profile, and bits that say how deep its samples are and whether they have colours.
    form: tuple[int, ...]


def av1_units(data: bytes) -> Iterator[tuple[int, bytes]]:
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


def av1_form(extradata: bytes | None) -> tuple[int, ...] | None:
    """What the header of the track says of the samples, in the same way as a :class:`Sequence`.

    (The copy of the sequence header there is no measure: encoders write it before they decided on
    all tools.)
    """
    if not extradata or len(extradata) < _BEFORE_UNITS:
        return None
    kinds = extradata[2]
    return (extradata[1] >> 5, kinds >> 6 & 1, kinds >> 5 & 1, kinds >> 4 & 1)


def av1_sequence(body: bytes) -> Sequence:
    """Read a sequence header."""
    bits = Bits(body)
    profile, is_still = bits.u(3), bool(bits.u(2) & 1)
    time_bits = 0 if is_still else _skip_operation(bits)
    bits.u(5 if is_still else 0)
    wide, high = bits.u(4) + 1, bits.u(4) + 1
    size = (bits.u(wide) + 1, bits.u(high) + 1)
    has_ids = not is_still and bits.u(1)
    id_bits = bits.u(4) + 2 + bits.u(3) + 1 if has_ids else 0
    bits.u(3)
    screen = whole = _EACH
    if not is_still:
        bits.u(4)
        has_order = bits.u(1)
        bits.u(2 if has_order else 0)
        screen = _EACH if bits.u(1) else bits.u(1)
        if screen:
            whole = _EACH if bits.u(1) else bits.u(1)
        bits.u(3 if has_order else 0)
    bits.u(3)
    deep = bits.u(1)
    deepest = bits.u(1) if deep and profile == _PROFESSIONAL else 0
    grey = 0 if profile == _WITHOUT_GREY else bits.u(1)
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
        bits.skip_ue(is_even)
        if bits.u(1):
            delay_bits = bits.u(5) + 1
            bits.u(32 + 5)
            shown_bits = bits.u(5) + 1
            time_bits = 0 if is_even else shown_bits
    has_delays = bits.u(1)
    for _ in range(bits.u(5) + 1):
        bits.u(12)
        bits.u(1 if bits.u(5) > 7 else 0)
        bits.u(2 * delay_bits + 1 if delay_bits and bits.u(1) else 0)
        bits.u(4 if has_delays and bits.u(1) else 0)
    return time_bits


def has_own_size(frame: bytes, sequence: Sequence) -> bool:
    """Whether a frame says that it may be of another size than its sequence."""
    bits = Bits(frame[:_AV1_HEAD])
    if sequence.is_still or bits.u(1):  # one that was sent before
        return False
    kind, is_shown = bits.u(2), bits.u(1)
    bits.u(sequence.time_bits if is_shown else 1)
    bits.u(1 if kind == _SWITCH or (kind == _KEY and is_shown) else 2)
    screen = bits.u(1) if sequence.screen_tools == _EACH else sequence.screen_tools
    bits.u(1 if screen and sequence.whole_vectors == _EACH else 0)
    bits.u(sequence.id_bits)
    return kind == _SWITCH or bool(bits.u(1))
