"""Object stores that Beam knows: Amazon's, Azure's, Hadoop's."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from finecut.io.storage.stores import Found, Opened, Patiently, at_once


class BeamStore:
    """A store through Beam's file systems."""

    @classmethod
    def knowing(cls, uri: str) -> BeamStore:
        """Itself, or a ``ValueError`` if Beam does not know this kind of store."""
        FileSystems.get_filesystem(uri)
        return cls()

    def look(self, uri: str) -> Found | None:
        system = FileSystems.get_filesystem(uri)
        if not system.exists(uri):
            return None
        size, written = int(system.size(uri)), system.last_updated(uri)
        return Found(uri, size, f"{size} {written}", written)

    def below(
        self, folder: str, patiently: Patiently = at_once, limit: int | None = None
    ) -> list[Found]:
        pattern = f"{glob.escape(folder.rstrip('/'))}/**"
        return patiently(lambda: self._match(pattern, limit))

    def inside(self, folder: str, patiently: Patiently = at_once) -> tuple[list[str], list[str]]:
        beginning = folder.rstrip("/") + "/"
        found = self.below(folder, patiently)
        parted = [one.uri[len(beginning) :].partition("/") for one in found]
        objects = [beginning + name for name, slash, _ in parted if not slash]
        return objects, sorted({beginning + name for name, slash, _ in parted if slash})

    def some(self, folder: str, suffix: str, patiently: Patiently = at_once) -> str | None:
        found = patiently(lambda: self._match(f"{glob.escape(folder)}/*{suffix}", limit=1))
        return next((one.uri for one in found), None)

    def matching(self, pattern: str, patiently: Patiently = at_once) -> list[Found]:
        return patiently(lambda: self._match(pattern))

    def read(self, uri: str) -> bytes:
        with _opened(uri) as file:
            return bytes(file.read())

    def open(self, uri: str) -> Opened:
        return _BeamFile(_opened(uri))

    def create(self, uri: str, data: bytes) -> None:
        with writer(uri) as out:
            out.write(data)

    def upload(self, uri: str, file: Path) -> None:
        with file.open("rb") as data, writer(uri) as out:
            shutil.copyfileobj(data, out, 1 << 20)

    def move(self, staged: str, final: str) -> None:
        _batched(lambda: FileSystems.rename([staged], [final]))

    def delete(self, uris: list[str], patiently: Patiently = at_once) -> None:
        patiently(lambda: self._delete(uris))

    def _delete(self, uris: list[str]) -> None:
        # Beam takes names for patterns here: one with brackets would be another object's.
        there = [glob.escape(uri) for uri in uris if FileSystems.exists(uri)]
        if there:
            _batched(lambda: FileSystems.delete(there))

    def _match(self, pattern: str, limit: int | None = None) -> list[Found]:
        [result] = FileSystems.match([pattern], limits=[limit])
        return [
            Found(
                found.path,
                found.size_in_bytes,
                f"{found.size_in_bytes} {found.last_updated_in_seconds}",
                found.last_updated_in_seconds,
            )
            for found in result.metadata_list
        ]


class _BeamFile:
    """The object stays open: one that replaced it shall not continue it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)

    def fetch(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        return self._file.read(length)

    def close(self) -> None:
        self._file.close()


def _opened(uri: str) -> Any:
    return FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)


@contextmanager
def writer(path: str) -> Iterator[BinaryIO]:
    """A new file. If it cannot be finished, a store has none of it, and a disk a part."""
    with FileSystems.create(
        path, "application/octet-stream", compression_type=CompressionTypes.UNCOMPRESSED
    ) as out:
        yield out


def _batched(work: Callable[[], None]) -> None:
    try:
        work()
    except AttributeError as error:
        # Where a batch was refused until Beam gave up, it looks for the status of no answer.
        raise TimeoutError("the store answered no request of a batch") from error
