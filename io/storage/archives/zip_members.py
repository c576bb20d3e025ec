"""What a zip holds, read from the directory at its end."""

import io
import os
import struct
import zipfile
from collections.abc import Iterator
from typing import Final

from finecut.io.storage.archives.members import ArchiveError, Place, Sure
from finecut.io.storage.stores import FIRST_LOOK, Opened

#: A directory of a million members is smaller.
LONGEST_DIRECTORY: Final = 256 << 20
#: How a member's own header begins, and the directory.
HEADER: Final = struct.Struct("<4sHHHHHIIIHH")
SIGN: Final = b"PK\x03\x04"
#: What its flags say: encrypted, its checksum behind it, encrypted strongly.
ENCRYPTED: Final = 0x1
BEHIND: Final = 0x8
STRONGLY: Final = 0x40
#: Of a member's own header, what the directory does not tell.
LITTLE_MORE: Final = 128


class _Reader(io.RawIOBase):
    """An archive for Python's reader of directories, which takes their sizes for granted."""

    def __init__(self, file: Sure) -> None:
        self._file, self._place = file, 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._file.size}
        if starts[whence] + offset < 0:
            raise OSError("before the beginning")
        self._place = starts[whence] + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._file.size - self._place)
        size = left if size is None or size < 0 else min(size, left)
        if size > LONGEST_DIRECTORY:
            raise ArchiveError(
                f"its directory has {size:,} bytes; the limit is {LONGEST_DIRECTORY:,}. Divide it "
                "into smaller archives"
            )
        data = self._file.fetch(self._place, size)
        self._place += len(data)
        return data


def members(archive: Sure) -> Iterator[tuple[str, str]]:
    """The name of each file in it, and where it is."""
    try:
        with zipfile.ZipFile(_Reader(archive)) as file:
            entries = file.infolist()
    except ArchiveError:
        raise
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ArchiveError(
            f"it has no directory that can be read ({error}). Usually it was not copied "
            "completely, or is not a zip: copy it again"
        ) from error
    trouble = {id(entry): _wrong(entry, archive.size, archive.most) for entry in entries}
    shared = _overlapping([entry for entry in entries if not trouble[id(entry)]])
    for entry in entries:
        if not entry.is_dir():
            wrong = "overlap" if id(entry) in shared else trouble[id(entry)]
            yield _name(entry), f"!{wrong}" if wrong else _place(entry)


def _name(entry: zipfile.ZipInfo) -> str:
    return entry.orig_filename


def _place(entry: zipfile.ZipInfo) -> str:
    parts = (entry.header_offset, entry.compress_size, entry.file_size, entry.compress_type)
    return "+".join(map(str, (*parts, entry.CRC, len(_raw_name(entry)))))


def _raw_name(entry: zipfile.ZipInfo) -> bytes:
    """The name as it stands in the archive."""
    coding = "utf-8" if entry.flag_bits & 0x800 else "cp437"
    return entry.orig_filename.encode(coding, "surrogatepass")


def _wrong(entry: zipfile.ZipInfo, size: int, most: int) -> str:
    if entry.flag_bits & (ENCRYPTED | STRONGLY):
        return "encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "method"
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        return "size"
    if entry.header_offset < 0 or entry.header_offset + entry.compress_size > size:
        return "cut"
    return "large" if entry.compress_type and entry.file_size > most else ""


def _overlapping(entries: list[zipfile.ZipInfo]) -> set[int]:
    """Members that share bytes with others, by their identity."""
    shared: set[int] = set()
    furthest, end = None, -1
    for entry in sorted(entries, key=lambda one: (one.header_offset, one.compress_size)):
        if furthest is not None and entry.header_offset < end:
            shared |= {id(furthest), id(entry)}
        behind = entry.header_offset + HEADER.size + entry.compress_size
        if behind > end:
            furthest, end = entry, behind
    return shared


# ── one of them ──────────────────────────────────────────────────────────────────────────────────


def found(file: Opened, place: str, first: int) -> Place | None:
    """A member where it was, if its own header is still there."""
    offset, stored, size, method, crc, name = map(int, place.split("+"))
    data = file.fetch(offset, HEADER.size + name + LITTLE_MORE + min(stored, first or FIRST_LOOK))
    if len(data) < HEADER.size or data[:4] != SIGN:
        return None
    _, _, flags, packed, _, _, own_crc, _, _, own_name, more = HEADER.unpack(data[: HEADER.size])
    behind = bool(flags & BEHIND)
    if (packed, own_name) != (method, name) or not (behind or own_crc == crc):
        return None
    begins = HEADER.size + own_name + more
    start = offset + begins
    if behind and crc not in _crcs(file.fetch(start + stored, 8)):
        return None
    head = data[begins : begins + stored] if method == zipfile.ZIP_STORED else b""
    return Place(start, size, stored, head, crc=crc, is_packed=method != zipfile.ZIP_STORED)


def _crcs(data: bytes) -> tuple[int, ...]:
    """What the checksum may be that stands behind a member, with a mark before it or without."""
    return int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")


def version(_file: Opened, place: Place) -> str:
    """The checksum tells the bytes."""
    return f"{place.size} {place.crc:08x}"
