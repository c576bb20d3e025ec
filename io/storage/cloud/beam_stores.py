"""Stores that Beam knows and nobody else here: Hadoop's."""

import glob
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from finecut.io.storage.stores import Found, Opened, Page


class BeamStore:
    """A store through Beam's file systems."""

    @classmethod
    def knowing(cls, uri: str) -> Self:
        """Itself, or a ``ValueError`` if Beam does not know this kind of store."""
        FileSystems.get_filesystem(uri)
        return cls()

    def look(self, uri: str) -> Found | None:
        system = FileSystems.get_filesystem(uri)
        if not system.exists(uri):
            return None
        return _found(uri, int(system.size(uri)), system.last_updated(uri))

    def matching(self, pattern: str, most: int | None, after: str | None) -> Page:
        [result] = FileSystems.match([pattern], limits=[most])
        found = [
            _found(one.path, one.size_in_bytes, one.last_updated_in_seconds)
            for one in result.metadata_list
        ]
        return Page(found, [])

    def inside(self, folder: str, after: str | None) -> Page:
        beginning = folder.rstrip("/") + "/"
        found = self.matching(f"{glob.escape(beginning)}**", None, after).objects
        parted = [(one, one.uri[len(beginning) :].partition("/")) for one in found]
        folders = {beginning + name for _, (name, slash, _) in parted if slash}
        return Page([one for one, (_, slash, _) in parted if not slash], sorted(folders))

    def read(self, uri: str) -> bytes:
        with _opened(uri) as file:
            return bytes(file.read())

    def open(self, uri: str) -> Opened:
        return _BeamFile(_opened(uri))

    def create(self, uri: str, data: bytes) -> None:
        with _created(uri) as out:
            out.write(data)

    def replace(self, uri: str, data: bytes, seen: Found | None) -> bool:
        self.create(uri, data) if data else self.delete(uri)
        return True

    def upload(self, uri: str, file: Path) -> None:
        with file.open("rb") as data, _created(uri) as out:
            shutil.copyfileobj(data, out, 1 << 20)

    def put(self, uri: str, file: Path, seen: Found | None) -> bool:
        self.upload(uri, file)
        return True

    def move(self, staged: str, final: str) -> None:
        _batched(lambda: FileSystems.rename([staged], [final]))

    def delete(self, uri: str) -> None:
        if FileSystems.exists(uri):
            # Beam takes names for patterns here: one with brackets would be another object's.
            _batched(lambda: FileSystems.delete([glob.escape(uri)]))

    def delete_all(self, uris: Sequence[str]) -> None:
        for uri in uris:
            self.delete(uri)


def _found(uri: str, size: int, written: float) -> Found:
    return Found(uri, size, f"{size} {written}", written)


class _BeamFile:
    """The object stays open, so that one that replaces it does not continue it."""

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


def _created(uri: str) -> Any:
    """A new object, of which there is none if it cannot be finished."""
    kind, compression = "application/octet-stream", CompressionTypes.UNCOMPRESSED
    return FileSystems.create(uri, kind, compression_type=compression)


def _batched(work: Callable[[], None]) -> None:
    try:
        work()
    except AttributeError as error:
        # Where a batch was refused until Beam gave up, it looks for the status of no answer.
        raise TimeoutError("the store did not answer one of the requests in a batch") from error
