"""Object stores: what is asked of one, which is asked, and how a film is read out of one.

A store has objects and no folders, shows an object only when all of it is there, and cannot rename.
Every method is one attempt, which the caller repeats (:mod:`retry`); listings come in pages for
that, each an attempt of its own.

A decoder reads a few thousand bytes at a time, some of them here (pictures), some there (sound),
and skips from the index at the end of a film to the second it is to show. So :class:`RangedFile`
fetches little at the first look at a place; whoever reads on from where a look ended is given twice
as much each time. The last few places stay in memory.
"""

import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol, runtime_checkable

from finecut.io.process.child import beat
from finecut.io.storage.web.urls import is_archive, is_web

GOOGLE: Final = "gs://"
S3: Final = "s3://"
#: Azure's, as its own tools, Hadoop's and Beam's spell them.
AZURE: Final = ("az://", "abfs://", "abfss://")
#: A folder of this machine that counts what it is asked (:mod:`counted`).
COUNTED: Final = "counted://"
#: The extra that brings the library of a store, by how its paths begin.
EXTRAS: Final = {GOOGLE: "gcp", S3: "s3", **dict.fromkeys(AZURE, "azure")}
#: So many objects are listed or removed in one request.
MANY: Final = 1_000
#: How the addresses of members of archives begin.
MEMBERS: Final = ("tar://", "zip://")
#: How often an object is looked at again that others replace, too.
LOOKS: Final = 5
#: Bytes fetched at a place nobody has read yet, and the most that are fetched at once.
FIRST_LOOK, LONGEST_LOOK = 64 << 10, 4 << 20
#: So many places are kept in mind: pictures, sound and the index, of two readers.
PLACES: Final = 6


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


class Span(NamedTuple):
    """Names that follow ``first`` and do not follow ``last``; where that is empty, to the end.

    >>> "4a.mp4" in Span("4", "8"), "4" in Span("4", "8"), "8" in Span("4", "8"), "z" in Span("f")
    (True, False, True, True)
    """

    first: str = ""
    last: str = ""

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        return self.first < name and (not self.last or name <= self.last)

    def holds_some_below(self, folder: str) -> bool:
        """Whether names of what lies in this folder may be among them."""
        return not (self.last and f"{folder}/" > self.last) and f"{folder}/\U0010ffff" > self.first


ALL: Final = Span()


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

    def replace(self, uri: str, data: bytes, seen: Found | None) -> bool:
        """Write an object, or remove it if there is no data, if it is still what was seen there
        (``None``: nothing); whether it was. A store that cannot know says that it was.
        """

    def upload(self, uri: str, file: Path) -> None:
        """Write an object from a file."""

    def put(self, uri: str, file: Path, seen: Found | None) -> bool:
        """The same, if it is still what was seen there (``None``: nothing); whether it was. A store
        that cannot know says that it was.
        """

    def move(self, staged: str, final: str) -> None:
        """Give an object its final name, in place of what was there when this began."""

    def delete(self, uri: str) -> None:
        """Remove an object; one that is gone is removed."""

    def delete_all(self, uris: Sequence[str]) -> None:
        """Remove objects of one bucket, :data:`MANY` at most and in any order."""


@runtime_checkable
class Greeted(Protocol):
    """A store that is asked before the work whether it is there (:func:`retry.greet`)."""

    def sign_in(self, uri: str) -> None:
        """Have credentials, or know that there are none."""

    def inside(self, folder: str, after: str | None) -> Page:
        """The question that is asked."""

    def look(self, uri: str) -> Found | None:
        """Another one, if the answer was nothing."""

    def unreachable(self, bucket: str, why: str, signed_in: bool) -> str:
        """What to say of a bucket that gave no answer."""


@runtime_checkable
class Sorted(Protocol):
    """A store that may list a part of what lies below a folder without listing the rest."""

    def divides(self, uri: str) -> bool:
        """Whether it does, or lists all for each part."""

    def between(self, folder: str, span: Span, after: str | None) -> Page:
        """The objects at any depth whose names below the folder are within the span; others may be
        among them.
        """


class UnknownStore(OSError):
    """A path on a store that cannot be spoken to from here; the message says what is missing."""


def store_for(uri: str) -> Store:
    """The store in which this lies."""
    try:
        # Only now: reading clips from a disk, to train on them, needs none.
        if uri.startswith(GOOGLE):
            from finecut.io.storage.cloud.gcs import GoogleStore

            return GoogleStore()
        if is_obstores(uri):
            from finecut.io.storage.cloud.object_stores import ObjectStore

            return ObjectStore()
        if is_web(uri):
            from finecut.io.storage.web.store import WebStore

            return WebStore()
        if uri.startswith(MEMBERS):
            from finecut.io.storage.archives.store import ArchiveStore

            return ArchiveStore()
        if uri.startswith(COUNTED):
            from finecut.io.storage.counted import CountedStore

            return CountedStore()
        from finecut.io.storage.cloud.beam_stores import BeamStore

        return BeamStore.knowing(uri)
    except ImportError as error:
        extra = EXTRAS.get(f"{uri.partition('://')[0]}://", "gcp")
        raise UnknownStore(
            f"{uri} is on a store whose library is not installed ({error}): run "
            f"pip install 'finecut[{extra}]'"
        ) from error
    except ValueError as error:
        known = ", ".join(f"{beginning}…" for beginning in EXTRAS)
        raise UnknownStore(
            f"{uri} is on an unknown kind of store: give a folder on this machine, or one of "
            f"{known}, hdfs://…; as an input also https://…"
        ) from error


def is_obstores(uri: str) -> bool:
    """Whether obstore speaks to the store in which this lies."""
    return uri.startswith((S3, *AZURE))


def is_greeted(uri: str) -> bool:
    """Whether this lies in a store over a network, which may not answer."""
    return uri.startswith(tuple(EXTRAS))


def modules_behind(uris: Iterable[str]) -> tuple[str, ...]:
    """What opening these imports that is heavy: better once, and not in every child process."""
    found = set()
    for uri in uris:
        packed = uri.startswith(MEMBERS)
        inner = uri[len(MEMBERS[0]) :] if packed else uri
        found |= {"archives.store"} if packed or is_archive(uri) else set()
        found |= {"web.store"} if is_web(inner) else set()
        found |= {"cloud.object_stores"} if is_obstores(inner) else set()
        others = "://" in inner and not (is_web(inner) or inner.startswith(tuple(EXTRAS)))
        found |= {"cloud.beam_stores"} if others else set()
    return tuple(f"finecut.io.storage.{name}" for name in sorted(found))


def replaced(uri: str) -> OSError:
    """What to raise where another version is found than the one that was opened."""
    return OSError(
        f"{uri} was replaced by another version while it was read. Usually somebody is still "
        "uploading it: wait until they have finished, and run the same command again"
    )


def replaced_again(uri: str) -> OSError:
    """What to raise where others write whenever we are about to."""
    return TimeoutError(
        f"{uri} keeps being replaced by others. Usually two runs write to the same output. "
        "Wait until the other has ended, and run the same command again."
    )


class ShortRead(OSError):
    """A read that gave fewer bytes than there are."""


class RangedFile(io.RawIOBase):
    """An object as a file, read in ranges, each again when it broke off or came short.

    A decoder takes an early end for the end of the film. So what is missing is an error here, and
    PyAV hands it on as it is.
    """

    def __init__(
        self, uri: str, opened: Opened, patiently: Callable[[Callable[[], bytes]], bytes]
    ) -> None:
        super().__init__()
        #: Whether reading all of it costs nearly nothing.
        self.is_near = False
        self._uri, self._opened, self._patiently = uri, opened, patiently
        self._place = 0
        #: What was fetched, the most recently used last: where it starts, and the bytes.
        self._looks: list[tuple[int, bytes]] = []

    @property
    def is_copied(self) -> bool:
        """Whether it could not be read in parts, and was copied."""
        return getattr(self._opened, "is_copied", False)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._opened.size}
        self._place = max(0, starts[whence] + offset)
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._opened.size - self._place)
        wanted = left if size is None or size < 0 else min(size, left)
        parts = []
        while wanted:
            start, data = self._look(wanted)
            part = data[self._place - start : self._place - start + wanted]
            parts.append(part)
            self._place += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def _look(self, wanted: int) -> tuple[int, bytes]:
        """A look that holds the byte at this place."""
        length = FIRST_LOOK
        for index, (start, data) in enumerate(self._looks):
            if start <= self._place < start + len(data):
                self._looks.append(self._looks.pop(index))
                return self._looks[-1]
            if self._place == start + len(data):  # whoever read it reads on
                del self._looks[index]
                length = min(max(2 * len(data), FIRST_LOOK), LONGEST_LOOK)
                break
        length = min(max(length, wanted), self._opened.size - self._place)
        self._looks.append((self._place, self._patiently(lambda: self._fetched(length))))
        del self._looks[:-PLACES]
        return self._looks[-1]

    def _fetched(self, length: int) -> bytes:
        beat()  # waiting for a store is not standing still
        data = self._opened.fetch(self._place, length)
        if len(data) != length:
            raise ShortRead(
                f"{self._uri} returned only {len(data)} of the {length} bytes from position "
                f"{self._place} (of {self._opened.size} bytes in all). Usually the store or the "
                "network is overloaded. Run the same command again."
            )
        return data

    def close(self) -> None:
        self._opened.close()
        super().close()
