"""What a tar holds, read from its headers alone.

    header │ film …………………………………… │ header │ text │ header │ film ………………

Headers lie between the films, each says how far it is to the next. At each new place little is
read, and more and more where one header follows the other closely. So listing 1,000 films of a tar
far away takes 1,000 small requests, or half of them where a text lies between, and not the films.

Python's own reader takes what a header says for granted: sizes below zero, headers of gigabytes.
Here a header that cannot be is the end of what is known, with a sentence.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from finecut.io.storage.archives.members import ENDS, ArchiveError, Place, Sure
from finecut.io.storage.stores import Opened, ShortRead

BLOCK: Final = 512
#: Bytes read at a new place, and the most that are read ahead.
LITTLE: Final = 4 << 10
MUCH: Final = 1 << 20
#: A long name, or the extended header of one member.
LONGEST_HEADER: Final = 1 << 20
MOST_HEADERS: Final = 20_000_000

FILES: Final = (b"0", b"\0", b"7")
SPARSE: Final = b"S"
#: Where a member is whose archive ends before it does.
TORN: Final = "!torn"
#: Links, devices and folders, behind which no bytes are, whatever their size says.
NO_BYTES: Final = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
_RECORD: Final = re.compile(rb"(\d{1,9}) ([^=]+)=")


class _Header(NamedTuple):
    name: bytes
    size: int
    written: int
    kind: bytes


class _Headers:
    """The bytes of an archive, for who skips from one place to the next."""

    def __init__(self, file: Sure) -> None:
        self._file, self.size = file, file.size
        self._start, self._data = 0, b""

    def read(self, start: int, length: int) -> bytes:
        end = self._start + len(self._data)
        if not (self._start <= start and start + length <= end):
            near = self._start <= start <= end + len(self._data)
            ahead = min(2 * len(self._data), MUCH) if near and self._data else LITTLE
            self._start = start
            self._data = self._file.fetch(start, max(length, ahead))
        data = self._data[start - self._start : start - self._start + length]
        if len(data) != length:
            raise ArchiveError(
                f"it ends in the middle of a header, at byte {self.size:,}. Usually it was not "
                "copied completely: copy it again"
            )
        return data


def members(archive: Sure) -> Iterator[tuple[str, str]]:
    """The name of each file in it, and where it is."""
    headers = _Headers(archive)
    place = 0
    said: dict[bytes, bytes] = {}
    for _ in range(MOST_HEADERS):
        if place >= headers.size:
            break
        block = headers.read(place, BLOCK)
        if not any(block):
            break
        header = _header(block, place)
        start = place + BLOCK
        if header.kind in (b"L", b"K", b"x", b"g"):
            said |= _more(headers, header, start)
            place = _behind(start, header.size)
            continue
        size = _number(said[b"size"], place) if b"size" in said else header.size
        if header.kind in NO_BYTES:
            size = 0
        if header.kind == SPARSE:
            start = _behind_map(headers, block, start)
        place = _behind(start, size)
        if header.kind in FILES or header.kind == SPARSE:
            name = said.get(b"path", header.name).split(b"\0")[0]
            is_sparse = header.kind == SPARSE or any(key.startswith(b"GNU.sparse") for key in said)
            name = said.get(b"GNU.sparse.name", name)
            if not name.endswith(b"/"):
                wrong = "!sparse" if is_sparse else TORN if start + size > headers.size else ""
                yield _text(name), wrong or f"{start}+{size}+{_digest(block)}"
        said = {}


def _behind(start: int, size: int) -> int:
    """Where the next header is."""
    return start + -(-size // BLOCK) * BLOCK


def _header(block: bytes, place: int) -> _Header:
    stated = block[148:156]
    unsigned = sum(block) - sum(stated) + 8 * ord(" ")
    signed = unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
    if _octal(stated) not in (unsigned, signed):
        raise ArchiveError(
            f"what is at byte {place:,} is no header, so what follows there is not known. Usually "
            "it is damaged, or is not a tar: pack it again"
        )
    name = block[:100].split(b"\0")[0]
    prefix = block[345:500].split(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return _Header(
        prefix + b"/" + name if prefix else name,
        _number(block[124:136], place),
        max(0, _octal(block[136:148]) or 0),
        block[156:157],
    )


def _octal(field: bytes) -> int | None:
    text = field.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        return None


def _number(field: bytes, place: int) -> int:
    """A size: octal digits, or more than eleven of them can say."""
    number: int | None
    if field[:1] == b"\x80":
        number = int.from_bytes(field[1:])
    elif len(field) == 12:
        number = _octal(field)
    else:  # of an extended header
        number = int(field) if field.isdigit() and len(field) < 20 else None
    if number is None or number < 0 or number >= 1 << 62:
        raise ArchiveError(
            f"the header at byte {place:,} has a size that cannot be. Usually it is damaged: pack "
            "it again"
        )
    return number


def _more(headers: _Headers, header: _Header, start: int) -> dict[bytes, bytes]:
    """What stands before a header and says more of its member than fits there."""
    if header.size > LONGEST_HEADER:
        raise ArchiveError(
            f"the header at byte {start:,} has {header.size:,} bytes, more than any name needs. "
            "Usually it is damaged, or was made to exhaust memory: leave it out"
        )
    data = headers.read(start, header.size)
    if header.kind == b"L":
        return {b"path": data.split(b"\0")[0]}
    return _records(data) if header.kind == b"x" else {}


def _records(data: bytes) -> dict[bytes, bytes]:
    said, place = {}, 0
    while found := _RECORD.match(data, place):
        length = int(found[1])
        value = data[found.end() : place + length - 1]
        if length <= found.end() - place or place + length > len(data):
            break
        said[found[2]] = value
        place += length
    return said


def _behind_map(headers: _Headers, block: bytes, start: int) -> int:
    """Behind the blocks that say where the holes of a file are."""
    goes_on = block[482]
    while goes_on:
        goes_on = headers.read(start, BLOCK)[504]
        start += BLOCK
    return start


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def _digest(block: bytes) -> str:
    return hashlib.sha256(block).hexdigest()[:16]


# ── one of them ──────────────────────────────────────────────────────────────────────────────────


def found(file: Opened, place: str, first: int) -> Place | None:
    """A member where it was, if its header is still there."""
    start, size, digest = place.split("+")
    data = file.fetch(int(start) - BLOCK, BLOCK + min(int(size), first))
    if len(data) < BLOCK or _digest(data[:BLOCK]) != digest:
        return None
    if len(data) != BLOCK + min(int(size), first):
        raise ShortRead(f"only {len(data)} bytes came from byte {start} of the archive")
    written = str(_header(data[:BLOCK], 0).written)
    return Place(int(start), int(size), int(size), data[BLOCK:], written=written)


def version(file: Opened, place: Place) -> str:
    """A tar has no checksum of its members: their ends stand for them."""
    ends = place.head[:ENDS]
    if place.size > ENDS:
        tail = min(ENDS, place.size - ENDS)
        data = file.fetch(place.start + place.size - tail, tail)
        if len(data) != tail:
            raise ShortRead(f"only {len(data)} bytes came from the end of a member")
        ends += data
    return f"{place.size} {place.written} {hashlib.sha256(ends).hexdigest()[:16]}"
