"""Object stores: what the shelf asks of one, and how any that Beam knows answers.

A store has objects and no folders, shows an object only when all of it is there, and cannot rename.
Every method is one attempt, and who calls it tries again (:mod:`retry`); those that ask many times
are told how (``patiently``).
"""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

T = TypeVar("T")

GOOGLE = "gs://"


@dataclass(frozen=True)
class Found:
    """An object, as a store speaks of it."""

    uri: str
    size: int
    #: What changes when it is replaced.
    version: str
    #: When it was written, in seconds since 1970.
    written: float


class Opened(Protocol):
    """One version of an object, to be read in ranges."""

    @property
    def size(self) -> int: ...

    def fetch(self, start: int, length: int) -> bytes: ...

    def close(self) -> None: ...


class Patiently(Protocol):
    """Does something until it is done, or until its time is over."""

    def __call__(self, work: Callable[[], T], /) -> T: ...


def at_once(work: Callable[[], T], /) -> T:
    """The same without patience."""
    return work()


class Store(Protocol):
    """What can be asked of a store. A missing object is a ``FileNotFoundError``."""

    def look(self, uri: str) -> Found | None: ...

    def below(
        self, folder: str, patiently: Patiently = at_once, limit: int | None = None
    ) -> list[Found]:
        """Every object in a folder, at any depth, by name."""

    def inside(self, folder: str, patiently: Patiently = at_once) -> tuple[list[str], list[str]]:
        """The objects that lie in a folder itself, and the folders."""

    def some(self, folder: str, suffix: str, patiently: Patiently = at_once) -> str | None:
        """Any one object of a folder whose name ends so, without listing them all."""

    def matching(self, pattern: str, patiently: Patiently = at_once) -> list[Found]: ...

    def read(self, uri: str) -> bytes: ...

    def open(self, uri: str) -> Opened: ...

    def create(self, uri: str, data: bytes) -> None: ...

    def upload(self, uri: str, file: Path) -> None: ...

    def move(self, staged: str, final: str) -> None: ...

    def delete(self, uris: list[str], patiently: Patiently = at_once) -> None:
        """Remove objects; those that are gone are removed."""


class UnknownStore(OSError):
    """A path on a store that cannot be spoken to from here; the message says what is missing."""


def store_for(uri: str) -> Store:
    """The store in which this lies."""
    try:
        if uri.startswith(GOOGLE):
            return _google()
        FileSystems.get_filesystem(uri)
    except ImportError as error:
        raise UnknownStore(
            f"{uri} lies on a store whose library is not installed ({error}): pip install "
            "'finecut[gcp]' has Google's"
        ) from error
    except ValueError as error:
        raise UnknownStore(
            f"{uri} lies on a store that is unknown here: write a folder of this machine, or gs://…"
        ) from error
    return BeamStore()


@cache
def _google() -> Store:
    from finecut.io.gcs import GoogleStore

    return GoogleStore()


class BeamStore:
    """A store through Beam's file systems: Amazon's, Azure's, Hadoop's."""

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
