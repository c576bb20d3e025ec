"""Members of archives: how they are addressed, and what is known of where they are."""

import re
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from finecut.io.storage.stores import Opened, ShortRead
from finecut.io.storage.web.urls import escaped, extension_of, is_archive, is_web, public

T = TypeVar("T")

#: Compressed archives, which can only be read from their beginning.
COMPRESSED: Final = re.compile(
    r".*\.(?:tar\.\w{1,4}|tgz|tbz2?|txz|tzst|7z|rar|gz|bz2|xz|zst)", re.I
)
#: Bytes at both ends of a member of a tar, which has no checksum, that tell its version.
ENDS: Final = 4096

_ADDRESS: Final = re.compile(r"(tar|zip)://([^!]+)!/([^#]*)(?:#(.*))?", re.S)
_QUOTED: Final = re.compile(r"[%!#\x00-\x1f\x7f\udc80-\udcff]")


#: How a place begins that says what is wrong with a member.
WRONG: Final = "!"


class ArchiveError(OSError):
    """An archive, or a member, that cannot be used; the message says why."""


class Address(NamedTuple):
    """Where a member is."""

    kind: str
    archive: str
    member: str
    #: Where its bytes are, or what is wrong with it; nothing if that has to be looked for.
    place: str = ""

    def __str__(self) -> str:
        said = f"{self.kind}://{_quoted(self.archive)}!/{_quoted(self.member)}"
        return f"{said}#{self.place}" if self.place else said

    @property
    def named(self) -> str:
        """For messages."""
        archive = public(self.archive) if is_web(self.archive) else self.archive
        return f"{archive}!/{self.member}" if self.member else archive


def address_of(uri: str) -> Address | None:
    """The address of a member, if this is one.

    >>> address_of("tar:///films/a%21b.tar!/c.mp4#1+2").archive
    '/films/a!b.tar'
    """
    found = _ADDRESS.fullmatch(uri)
    if found is None:
        return None
    kind, archive, member, place = found.groups(default="")
    return Address(kind, _unquoted(archive), _unquoted(member), place)


def _quoted(text: str) -> str:
    return _QUOTED.sub(
        lambda sign: "".join(f"%{byte:02x}" for byte in sign[0].encode(errors="surrogateescape")),
        text,
    )


def _unquoted(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def archive_of(uri: str) -> Address | None:
    """The archive that this path names, if it names one."""
    address = address_of(uri)
    if address is not None:
        return None if address.member else address
    return Address(kind_of(uri), uri, "") if is_archive(uri) else None


def kind_of(archive: str) -> str:
    return extension_of(archive)[1:]


def is_compressed(path: str) -> bool:
    """Whether this is an archive of a kind that can only be read from its beginning.

    >>> is_compressed("shard.tar.gz"), is_compressed("shard.tar")
    (True, False)
    """
    return COMPRESSED.fullmatch(urlsplit(path).path if is_web(path) else path) is not None


def path_within(member: str) -> str:
    """The member as a path of documents.

    >>> path_within("./a//../b.mp4")
    'a/%-/%2e%2e/b.mp4'
    """
    return "/".join(map(escaped, named(member).split("/")))


def named(member: str) -> str:
    """The name of a member, as those who unpack it would see it."""
    return "/".join(part for part in member.split("/") if part != ".")


class Place(NamedTuple):
    """Where a member is in its archive."""

    start: int
    #: Its bytes, and those that they take in the archive.
    size: int
    stored: int
    #: The first of them.
    head: bytes
    #: When it was written, as the archive has it, and its checksum, if the archive has one.
    written: str = ""
    crc: int | None = None
    is_packed: bool = False


class Clipped:
    """A file of which no store is asked for more than there is: some refuse that."""

    def __init__(self, file: Opened) -> None:
        self._file, self.size = file, file.size

    def fetch(self, start: int, length: int) -> bytes:
        length = min(length, self.size - start)
        return self._file.fetch(start, length) if length > 0 else b""

    def close(self) -> None:
        self._file.close()


class Patiently(Protocol):
    """Does work on a file again and again until it succeeds."""

    def __call__(self, uri: str, work: Callable[[], T]) -> T: ...


class Sure:
    """An archive whose parts come whole, or not at all."""

    def __init__(
        self,
        uri: str,
        file: Opened,
        patiently: Patiently,
        most: int,
    ) -> None:
        self._uri, self._file, self._patiently = uri, file, patiently
        self.size = patiently(uri, self._sized)
        #: The most bytes that a member may have when it is unpacked.
        self.most = most

    def fetch(self, start: int, length: int) -> bytes:
        """A part; fewer bytes only where the archive ends."""
        length = max(0, min(length, self.size - start))
        return self._patiently(self._uri, partial(self._fetched, start, length))

    def _sized(self) -> int:
        return self._file.size

    def _fetched(self, start: int, length: int) -> bytes:
        data = self._file.fetch(start, length) if length else b""
        if len(data) != length:
            raise ShortRead(f"{self._uri}: {len(data)} of {length} bytes from {start}")
        return data
