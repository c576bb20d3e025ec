"""Object stores: what the shelf asks of one, and which is asked.

A store has objects and no folders, shows an object only when all of it is there, and cannot rename.
Every method is one attempt, and who calls it tries again (:mod:`retry`); those that ask many times
are told how (``patiently``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

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
        return _beams(uri)
    except ImportError as error:
        raise UnknownStore(
            f"{uri} lies on a store whose library is not installed ({error}): pip install "
            "'finecut[gcp]' has Google's"
        ) from error
    except ValueError as error:
        raise UnknownStore(
            f"{uri} lies on a store that is unknown here: write a folder of this machine, or gs://…"
        ) from error


def modules_behind(uris: Iterable[str]) -> tuple[str, ...]:
    """What opening these imports that is heavy: better once, and not in every child process."""
    beams = any("://" in uri and not uri.startswith(GOOGLE) for uri in uris)
    return ("finecut.io.storage.beam_stores",) if beams else ()


@cache
def _google() -> Store:
    from finecut.io.storage.gcs import GoogleStore

    return GoogleStore()


# Two processes on one connection would read each other's answers, and those that read clips for
# torch are forked from one that has looked at the output.
os.register_at_fork(after_in_child=_google.cache_clear)


def _beams(uri: str) -> Store:
    # Only now: who reads clips from a disk, to train on them, needs no Beam.
    from finecut.io.storage.beam_stores import BeamStore

    return BeamStore.knowing(uri)
