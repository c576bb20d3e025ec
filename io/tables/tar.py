"""Tar archives whose bytes depend on nothing but what is put in: no dates, no owners, no padding
to a tape's record.

    with open("00000.tar", "wb") as file:
        tar = Tar(file)
        tar.add("clip.json", b"{}")
        place = tar.add_pieces("clip.mp4", size, pieces)    # where its first byte lies
        tar.close()

A member is a header (512 bytes; more where a size or a name asks for it), its bytes, and zeros up
to the next 512.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Mapping
from typing import BinaryIO, Final

BLOCK: Final = 512
#: What an archive ends with.
END: Final = bytes(2 * BLOCK)


def header(name: str, size: int) -> bytes:
    """What stands before a member's bytes: plain ustar, and pax only where that cannot say it."""
    said = tarfile.TarInfo(name)
    said.size, said.mode, said.mtime = size, 0o644, 0
    return said.tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> int:
    """How many zeros follow ``size`` bytes.

    >>> padding(1), padding(512)
    (511, 0)
    """
    return -size % BLOCK


def size_in_tar(members: Mapping[str, int]) -> int:
    """The bytes that members of these names and sizes take in an archive."""
    return sum(len(header(name, size)) + size + padding(size) for name, size in members.items())


class Tar:
    """An archive that is being written. What was begun can be taken back (``rewind``)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = 0
        #: Why the archive could not be written to, if that happened.
        self.broken: OSError | None = None

    @property
    def size(self) -> int:
        """Bytes so far: where the next member begins."""
        return self._size

    def add(self, name: str, data: bytes) -> int:
        """Add a member; the place of its first byte comes back."""
        return self.add_pieces(name, len(data), (data,))

    def add_pieces(self, name: str, size: int, pieces: Iterable[bytes]) -> int:
        """The same, piece by piece. They have to be of that size altogether: who finds out that
        they are not rewinds."""
        self._write(header(name, size))
        place, written = self._size, 0
        for piece in pieces:
            self._write(piece)
            written += len(piece)
        if written != size:
            raise ValueError(
                f"{name} has {written} bytes instead of the {size} that were announced"
            )
        self._write(bytes(padding(size)))
        return place

    def rewind(self, size: int) -> None:
        """Forget everything from this place on."""
        self._file.seek(size)
        self._file.truncate()
        self._size = size

    def close(self) -> int:
        """End the archive; its size comes back."""
        self._write(END)
        return self._size

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            self.broken = error
            raise
        self._size += len(data)
