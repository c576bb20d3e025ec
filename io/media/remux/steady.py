"""Steadiness: whether all packets of a track are as its header says, judged by their bytes.

A track has one header, and so has a clip that is made of its packets. What changes on the way in
the packets themselves (another size, other parameter sets) would make the clip other than it says,
and what changed once is in force until it changes again. Nothing is decoded here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from finecut.io.media.limits import FilmError
from finecut.io.media.remux import av1, h264, vp9
from finecut.io.media.remux.bits import BadUnits

SETS_CHANGE = "its parameter sets change partway"
SIZE_CHANGES = "its frames change their size partway"
UNREADABLE = "one of its packets does not say how to decode it"

#: Kinds of units of HEVC that are parameter sets, and where the header says how many it has.
HEVC_SETS = frozenset({32, 33, 34})
_HEVC_LENGTHS, _HEVC_ARRAYS = 21, 22
#: How descriptions of MPEG-4 pictures begin.
_LAYERS = range(0x20, 0x30)


#: Is shown every packet of pictures in turn; why they are not what the header says, or nothing.
Steady = Callable[[bytes], str | None]


def steady(codec: str, extradata: bytes | None, size: tuple[int, int]) -> Steady | None:
    """What watches a track of this codec whose header says this; raises what it cannot be."""
    if codec == "h264":
        found = h264.header(extradata)
        kinds = frozenset({h264.SPS, h264.PPS})
        return _Sets(found.sets, found.length_size, h264.kind, kinds).change
    if codec == "hevc":
        known, length_size = hevc_sets(extradata or b"")
        return _Sets(known, length_size, hevc_kind, HEVC_SETS).change
    if codec == "vp9":
        return _Vp9(size).change
    if codec == "av1":
        return _Av1(av1.form_in(extradata), size).change
    if codec == "mpeg4":
        return _Mpeg4(extradata or b"").change
    return None


def hevc_kind(unit: bytes) -> int:
    return unit[0] >> 1 & 63


def hevc_sets(extradata: bytes) -> tuple[frozenset[bytes], int | None]:
    """The parameter sets of an HEVC track, and how long the lengths before its units are."""
    if extradata[:1] != b"\x01":
        found = h264.units(extradata, None)
        return frozenset(unit for unit in found if hevc_kind(unit) in HEVC_SETS), None
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


class _Sets:
    """H.264 and HEVC: sets in packets are those of the header, or all that follows is another's."""

    def __init__(
        self,
        known: frozenset[bytes],
        length_size: int | None,
        kind: Callable[[bytes], int],
        kinds: frozenset[int],
    ) -> None:
        self._known, self._length_size, self._kind, self._kinds = known, length_size, kind, kinds
        self._changed = False

    def change(self, packet: bytes) -> str | None:
        if not self._changed:
            try:
                units = h264.units(packet, self._length_size)
            except FilmError as error:
                return str(error)
            self._changed = any(
                self._kind(unit) in self._kinds and unit not in self._known for unit in units
            )
        return SETS_CHANGE if self._changed else None


class _Vp9:
    def __init__(self, size: tuple[int, int]) -> None:
        self._size, self._sizes = size, vp9.Sizes()

    def change(self, packet: bytes) -> str | None:
        try:
            shown = self._sizes.shown(packet)
        except FilmError:
            return UNREADABLE
        return SIZE_CHANGES if any(size != self._size for size in shown) else None


class _Av1:
    def __init__(self, form: tuple[int, ...] | None, size: tuple[int, int]) -> None:
        self._form, self._size = form, size
        #: The first sequence header, and the last.
        self._first: bytes | None = None
        self._now: bytes | None = None
        self._sequence: av1.Sequence | None = None

    def change(self, packet: bytes) -> str | None:
        try:
            return self._read(packet)
        except FilmError:
            return UNREADABLE

    def _read(self, packet: bytes) -> str | None:
        own_size = False
        for kind, body in av1.units(packet):
            if kind == av1.SEQUENCE and body != self._now:
                self._now, self._sequence = body, av1.read_sequence(body)
                self._first = self._first or body
            elif kind in (av1.FRAME, av1.FRAME_HEADER) and self._sequence is not None:
                own_size |= av1.has_own_size(body, self._sequence)
        if self._sequence is None:
            return None
        if own_size or self._sequence.size != self._size:
            return SIZE_CHANGES
        same = self._now == self._first and self._form in (None, self._sequence.form)
        return None if same else SETS_CHANGE


class _Mpeg4:
    def __init__(self, extradata: bytes) -> None:
        self._known = set(mpeg4_layers(extradata))
        self._changed = False

    def change(self, packet: bytes) -> str | None:
        for layer in mpeg4_layers(packet):
            self._changed = layer not in self._known
        return SETS_CHANGE if self._changed else None


def mpeg4_layers(data: bytes) -> Iterator[bytes]:
    """What MPEG-4 says of the pictures that follow, wherever it says it."""
    return (unit for unit in h264.units(data, None) if unit[0] in _LAYERS)
