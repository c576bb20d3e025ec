"""Object stores: what is asked of one, and which is asked.

A store has objects and no folders, shows an object only when all of it is there, and cannot rename.
Every method is one attempt, which the caller repeats (:mod:`retry`); listings come in pages for
that, each an attempt of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

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


class Page(NamedTuple):
    """A part of a listing."""

    objects: list[Found]
    folders: list[str]
    #: What the next part begins with; nothing after the last one.
    after: str | None = None


class Opened(Protocol):
    """One version of an object, to be read in ranges."""

    @property
    def size(self) -> int:
        """Its bytes."""

    def fetch(self, start: int, length: int) -> bytes:
        """A part of it."""

    def close(self) -> None:
        """Let go of it."""


class Store(Protocol):
    """What can be asked of a store. A missing object is a ``FileNotFoundError``."""

    def look(self, uri: str) -> Found | None:
        """The object of this name, if there is one."""

    def matching(self, pattern: str, most: int | None, after: str | None) -> Page:
        """The objects that a glob names, by name, and no folders.

        ``*`` stays within a folder, ``**`` is any depth. No more than ``most`` need to be listed.
        """

    def inside(self, folder: str, after: str | None) -> Page:
        """The objects that lie in a folder itself, and the folders."""

    def read(self, uri: str) -> bytes:
        """All of an object."""

    def open(self, uri: str) -> Opened:
        """An object, to be read in ranges."""

    def create(self, uri: str, data: bytes) -> None:
        """Write an object; of two writers the last one wins."""

    def upload(self, uri: str, file: Path) -> None:
        """Write an object from a file."""

    def move(self, staged: str, final: str) -> None:
        """Give an object its final name, in place of what was there when this began."""

    def delete(self, uri: str) -> None:
        """Remove an object; one that is gone is removed."""


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
            f"{uri} is on a store whose library is not installed ({error}): for Google's, run "
            "pip install 'finecut[gcp]'"
        ) from error
    except ValueError as error:
        raise UnknownStore(
            f"{uri} is on an unknown kind of store: give a folder on this machine, or gs://…"
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
    # Only now: reading clips from a disk, to train on them, needs no Beam.
    from finecut.io.storage.beam_stores import BeamStore

    return BeamStore.knowing(uri)
