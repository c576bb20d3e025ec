"""H.264 as bytes: its units, what parameter sets say, and how two kinds of pictures share a track.

A packet is a row of *units* (NAL units): slices of the picture, remarks about it, and sometimes the
*parameter sets* that say how slices are to be read. MP4 keeps those apart, in the track's header::

    avcC   SPS 0 (the source's)  PPS 0     SPS 1 (ours)  PPS 1
    track  ▕ IDR → PPS 1 → SPS 1 ▏ IDR → PPS 0 → SPS 0  …  ▏

Every slice names its PPS, and every PPS its SPS, by number. So pictures of two encoders may follow
each other in one track if their sets have different numbers and each change falls on an *IDR*, the
kind of key frame before which nothing is remembered.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from finecut.io.media.limits import FilmError

SLICE, IDR, REMARK, SPS, PPS, DELIMITER = 1, 5, 6, 7, 8, 9
#: What a track of MP4 has in its header, or not at all.
SETS = frozenset({SPS, PPS, DELIMITER})
#: Bytes of the lengths before units.
LENGTH_SIZE = 4
#: The number of the remark that decoding may begin here.
RECOVERY_POINT = 6
#: Numbers of parameter sets go up to this.
MOST_SETS = 32
#: Profiles whose sets say more: colours, depths, scaling.
_LONG_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
#: Those for which the header of the track says no more either.
_SHORT_HEADERS = frozenset({66, 77, 88})
_SHAPE_IN_NUMBERS = 255
_PLAIN_420 = 1
#: Zeros before a number that says how long it is; more are beyond reason.
MOST_ZEROS = 32


class BadUnits(FilmError):
    """Bytes that are not what their codec writes."""


class Bits:
    """Reads numbers of some bits, and those whose length says how large they are (ue, se)."""

    def __init__(self, data: bytes) -> None:
        self._value, self._size = int.from_bytes(data, "big"), 8 * len(data)
        self.at = 0

    def u(self, count: int) -> int:
        if self.at + count > self._size:
            raise BadUnits("an H.264 parameter set is shorter than it claims")
        self.at += count
        return (self._value >> (self._size - self.at)) & ((1 << count) - 1)

    def ue(self) -> int:
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > MOST_ZEROS:
                raise BadUnits("an H.264 parameter set contains an absurdly large number")
        return (1 << zeros) - 1 + self.u(zeros)

    def skip_ue(self, count: int) -> None:
        for _ in range(count):
            self.ue()

    def se(self) -> int:
        number = self.ue()
        return (number + 1) // 2 if number % 2 else -(number // 2)

    def before(self) -> str:
        """All bits that were read, as text."""
        return f"{self._value >> (self._size - self.at):0{self.at}b}"


def units(data: bytes, length_size: int | None) -> list[bytes]:
    """The units of a packet: behind their lengths, or (``None``) behind start codes."""
    if length_size is None:
        parts = (part.rstrip(b"\x00") for part in data.split(b"\x00\x00\x01")[1:])
        return [part for part in parts if part]
    found, at = [], 0
    while at + length_size <= len(data):
        length = int.from_bytes(data[at : at + length_size], "big")
        at += length_size
        if not length or at + length > len(data):
            raise BadUnits("an H.264 packet claims to be longer than it is")
        found.append(data[at : at + length])
        at += length
    return found


def packed(parts: Iterable[bytes], length_size: int = LENGTH_SIZE) -> bytes:
    """Units as MP4 holds them: each behind its length."""
    return b"".join(len(part).to_bytes(length_size, "big") + part for part in parts)


def kind(unit: bytes) -> int:
    return unit[0] & 31


def shows(unit: bytes) -> bool:
    """Whether it is a part of the picture; 2 to 4 are slices in parts."""
    return SLICE <= kind(unit) <= IDR


def is_set(unit: bytes) -> bool:
    """Whether it says how slices are to be read."""
    return kind(unit) in (SPS, PPS)


def is_reference(parts: Iterable[bytes]) -> bool:
    """Whether other pictures may need this one."""
    return any(shows(part) and part[0] >> 5 for part in parts)


def begins_anew(parts: Iterable[bytes]) -> bool:
    """Whether nothing before this picture is needed from here on: an IDR."""
    return any(kind(part) == IDR for part in parts)


def may_begin(parts: Iterable[bytes]) -> bool:
    """Whether a decoder that begins here shows whole pictures at once: an IDR, or an open GOP."""
    return any(
        kind(part) == IDR or (kind(part) == REMARK and _recovers_at_once(part)) for part in parts
    )


def _recovers_at_once(unit: bytes) -> bool:
    body, at = _plain(unit)[1:], 0
    while at + 2 < len(body):
        what, at = _summed(body, at)
        size, at = _summed(body, at)
        if what == RECOVERY_POINT:
            return Bits(body[at : at + size]).ue() == 0
        at += size
    return False


def _summed(body: bytes, at: int) -> tuple[int, int]:
    """A number that is written as a row of 255s and a rest."""
    total = 0
    while at < len(body) and body[at] == _SHAPE_IN_NUMBERS:
        total, at = total + _SHAPE_IN_NUMBERS, at + 1
    return (total + body[at], at + 1) if at < len(body) else (total, at)


def _bits_of(unit: bytes) -> Bits:
    """Those of a set, behind the byte that says what it is."""
    return Bits(_plain(unit)[1:])


def _plain(unit: bytes) -> bytes:
    """Without the bytes that keep start codes from arising by chance."""
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")


def _protected(plain: bytes) -> bytes:
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", plain)


def _ue(number: int) -> str:
    return f"{number + 1:0{2 * (number + 1).bit_length() - 1}b}"


@dataclass(frozen=True)
class PictureSet:
    """What an SPS says, as far as it matters here."""

    number: int
    profile: int
    level: int
    chroma: int
    depth: int
    size: tuple[int, int]
    whole_frames: bool
    references: int
    #: How many pictures wait to be shown in order, and how many are kept; ``None``: unknown.
    reorder: int | None = None
    kept: int | None = None
    #: All bits before those two; ``None``: nothing about how it is shown.
    head: str | None = None


def picture_set(unit: bytes) -> PictureSet:
    """Read an SPS."""
    bits = _bits_of(unit)
    profile, _, level, number = bits.u(8), bits.u(8), bits.u(8), bits.ue()
    chroma, depth = _read_depth(bits) if profile in _LONG_PROFILES else (_PLAIN_420, 8)
    bits.ue()  # frame numbers
    _skip_order(bits)
    references = bits.ue()
    bits.u(1)
    size = (bits.ue() + 1, bits.ue() + 1)
    whole_frames = bool(bits.u(1))
    bits.u(1 if whole_frames else 2)
    bits.skip_ue(4 if bits.u(1) else 0)  # cropped
    reorder = kept = head = None
    if bits.u(1):
        _skip_remarks(bits)
        head = bits.before()
        if bits.u(1):
            bits.u(1)
            bits.skip_ue(4)
            reorder, kept = bits.ue(), bits.ue()
    return PictureSet(
        number=number,
        profile=profile,
        level=level,
        chroma=chroma,
        depth=depth,
        size=size,
        whole_frames=whole_frames,
        references=references,
        reorder=reorder,
        kept=kept,
        head=head,
    )


def _read_depth(bits: Bits) -> tuple[int, int]:
    chroma = bits.ue()
    bits.u(1 if chroma == 3 else 0)
    depth = max(bits.ue(), bits.ue()) + 8
    bits.u(1)
    if bits.u(1):
        for number in range(8 if chroma != 3 else 12):
            if bits.u(1):
                _skip_scaling(bits, 16 if number < 6 else 64)
    return chroma, depth


def _skip_scaling(bits: Bits, count: int) -> None:
    last = following = 8
    for _ in range(count):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _skip_order(bits: Bits) -> None:
    kind_of_order = bits.ue()
    if kind_of_order == 0:
        bits.ue()
    elif kind_of_order == 1:
        bits.u(1)
        bits.skip_ue(2)  # as long with a sign
        bits.skip_ue(min(bits.ue(), 255))


def _skip_remarks(bits: Bits) -> None:
    bits.u(32 if bits.u(1) and bits.u(8) == _SHAPE_IN_NUMBERS else 0)
    bits.u(bits.u(1))
    if bits.u(1):
        bits.u(4)
        bits.u(24 if bits.u(1) else 0)
    bits.skip_ue(2 if bits.u(1) else 0)
    bits.u(65 if bits.u(1) else 0)
    bits.u(2 if _skip_rates(bits) | _skip_rates(bits) else 1)


def _skip_rates(bits: Bits) -> bool:
    if not bits.u(1):
        return False
    count = bits.ue() + 1
    bits.u(8)
    for _ in range(min(count, MOST_SETS)):
        bits.skip_ue(2)
        bits.u(1)
    bits.u(20)
    return True


def with_order(unit: bytes, reorder: int, kept: int) -> bytes:
    """The same SPS (one that has remarks), saying how many pictures wait and how many are kept.

    Decoders set themselves up by these two numbers. Where they change in the middle of a track, a
    decoder may throw away what it has not shown yet.
    """
    head = picture_set(unit).head
    if head is None:
        raise BadUnits("a parameter set of H.264 has no place for the order of pictures")
    # No limit but those of the level: 1, 2, 1, 16, 16 is what an SPS means that does not say.
    bits = head + "11" + "".join(map(_ue, (0, 0, 16, 16, reorder, kept))) + "1"
    bits += "0" * (-len(bits) % 8)
    return unit[:1] + _protected(int(bits, 2).to_bytes(len(bits) // 8, "big"))


@dataclass(frozen=True)
class Header:
    """The parameter sets of a track, and how long the lengths before its units are."""

    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    #: ``None``: start codes instead of lengths.
    length_size: int | None

    @property
    def sets(self) -> frozenset[bytes]:
        return frozenset((*self.sps, *self.pps))

    def free_number(self) -> int | None:
        """A number that no set of the track has."""
        taken = {picture_set(unit).number for unit in self.sps}
        for bits in map(_bits_of, self.pps):
            taken |= {bits.ue(), bits.ue()}
        return next((number for number in range(MOST_SETS) if number not in taken), None)

    def joined(self, other: "Header") -> bytes:
        """The header of a track that has the sets of both, as MP4 writes it."""
        first = picture_set(self.sps[0])
        sps, pps = self.sps + other.sps, self.pps + other.pps
        level, depth = max(unit[3] for unit in sps), 0xF8 | (first.depth - 8)
        about = bytes((1, *sps[0][1:3], level, 0xFC | (LENGTH_SIZE - 1), 0xE0 | len(sps)))
        sets = about + packed(sps, 2) + bytes((len(pps),)) + packed(pps, 2)
        if first.profile in _SHORT_HEADERS:
            return sets
        return sets + bytes((0xFC | first.chroma, depth, depth, 0))


def header(extradata: bytes | None) -> Header:
    """Read the header of a track: as MP4 writes it, or sets behind start codes."""
    data = extradata or b""
    if data[:1] == b"\x01":
        found = _avcc(data)
    else:
        parts = units(data, None)
        sps, pps = (tuple(part for part in parts if kind(part) == which) for which in (SPS, PPS))
        found = Header(sps, pps, None)
    if not (found.sps and found.pps):
        raise BadUnits("the parameter sets of the video are not in its header")
    return found


def _avcc(data: bytes) -> Header:
    try:
        sps, at = row(data, 6, data[5] & 31)
        pps, _ = row(data, at + 1, data[at])
        return Header(sps, pps, (data[4] & 3) + 1)
    except IndexError as error:
        raise BadUnits("the header of the H.264 track is cut off") from error


def row(data: bytes, at: int, count: int) -> tuple[tuple[bytes, ...], int]:
    """This many units behind lengths of two bytes, and where they end."""
    found = []
    for _ in range(count):
        length = int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : at + 2 + length])
        at += 2 + length
        if not length or at > len(data):
            raise BadUnits("the header of the track is cut off")
    return tuple(found), at
