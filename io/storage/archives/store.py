"""Films inside archives: members of ``.tar`` and ``.zip`` files, wherever these lie.

    tar:///films/shard-000.tar!/a/b.mp4#1536+345678+0f3a…
        the archive, the member, and where its bytes are: behind the header of this digest

Nothing is unpacked. A member that is stored as it is, is read by its range, and only one that is
compressed becomes a copy (``copies.py``). Where the bytes are is part of the address, so that a
child that opens a member reads its header and its bytes, and not the archive's index. If another
header is there by now, the archive was replaced, and the member is looked for again by its name.

What is wrong with one member is part of its address, too (``#!encrypted``), and is said when it is
opened: the others are found. An archive without a member (``tar://x.tar!/``) is one that could not
be read to its end.
"""

import contextlib
import errno
import posixpath
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import BinaryIO, Final, NoReturn

from finecut.io.storage import files as shelf
from finecut.io.storage.archives import tar_members, zip_members
from finecut.io.storage.archives.members import (
    ENDS,
    Address,
    ArchiveError,
    Place,
    Sure,
    address_of,
    named,
    path_within,
)
from finecut.io.storage.archives.tar_members import TORN
from finecut.io.storage.copies import Copy, TooLarge, copy_of, poured
from finecut.io.storage.read_only import ReadOnlyStore
from finecut.io.storage.retry import is_passing, pass_on_outlasted
from finecut.io.storage.stores import FIRST_LOOK, LONGEST_LOOK, Found, Opened, Page, ShortRead
from finecut.io.storage.web.urls import MOST_MB

#: Files beside a video that say something about it.
BESIDE: Final = (".json", ".txt")
#: Members of one archive that are kept in mind, and archives.
MOST_MEMBERS: Final = 2_000_000
MOST_INDEXES: Final = 16
#: What is read whole, and what is unpacked at once.
MOST_READ: Final = 64 << 20
PIECE: Final = 1 << 20

NOT_WHOLE: Final = "Usually it was not copied completely: copy it again"
#: What is wrong with a member, by the word that its address has for it.
TROUBLES: Final = {
    "cut": f"the archive ends before this member does. {NOT_WHOLE}",
    TORN[1:]: "the archive ends before this member does, so what came behind it is missing, too. "
    + NOT_WHOLE,
    "sparse": "this member was stored with its holes left out (sparse), so its bytes are not in "
    "one piece. Pack it again without --sparse",
    "encrypted": "this member is encrypted, and finecut has no passwords. Pack it again without",
    "method": "this member is compressed in a way that finecut does not know. Pack it again, "
    "stored: videos do not get smaller",
    "overlap": "this member shares its bytes with another. Usually the archive was made to exhaust "
    "whoever unpacks it; leave it out",
    "size": "the archive says two different sizes for this member. Usually it is damaged: pack it "
    "again",
    "header": "what stands in front of this member is not what the archive's directory says of it. "
    "Usually it is damaged: pack it again",
    "large": "this member is larger than --max-download-mb when it is unpacked. Leave it out, or "
    "raise the limit",
}


# ── the index ────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Index:
    """The members of an archive that matter."""

    #: Where each is, or what is wrong with it, by its name; of one name, the last.
    places: dict[str, str] = field(default_factory=dict)
    #: Why it is not known whether these are all.
    trouble: OSError | None = None


class _Indexes:
    """Those of this process, the most recently used last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.known: OrderedDict[str, Index] = OrderedDict()


_HERE: Final = _Indexes()


def videos_in(archive: Address, wanted: Callable[[str], bool], most: int) -> list[tuple[str, str]]:
    """The uri of each member whose name is wanted, and its path; sorted by it. An archive that
    cannot be read to its end is one of them, with an empty path.
    """
    index = _read_index(archive, wanted, most)
    found = {
        path_within(name): str(archive._replace(member=name, place=place))
        for name, place in index.places.items()
        if wanted(name)
    }
    if index.trouble is not None:
        found[""] = str(archive)
    return [(found[path], path) for path in sorted(found)]


def _any(_name: str) -> bool:
    return True


def index_of(archive: Address) -> Index:
    """The index that this process knows; read, if it knows none."""
    known = _HERE.known.get(archive.archive)
    return _read_index(archive, _any, 1 << 62) if known is None else known


def _read_index(archive: Address, wanted: Callable[[str], bool], most: int) -> Index:
    index = Index()
    try:
        opening = shelf.patiently(archive.archive, partial(shelf.opened, archive.archive))
        with contextlib.closing(opening) as file:
            sure = Sure(archive.archive, file, shelf.patiently, most)
            for name, place in _kind(archive).members(sure):
                plain = named(name)
                if wanted(plain) or posixpath.splitext(plain)[1].lower() in BESIDE:
                    index.places[plain] = place
                if place == TORN:
                    # The member may be no video, of which nobody would hear; and more is missing.
                    index.trouble = ArchiveError(f"it ends before {plain} does. {NOT_WHOLE}")
                if len(index.places) > MOST_MEMBERS:
                    raise ArchiveError(
                        f"it has more than {MOST_MEMBERS:,} members that matter. Divide it into "
                        "smaller archives"
                    )
    except OSError as error:
        pass_on_outlasted(error)  # it may be whole: nobody has seen
        # What came before is found; whoever opens the archive as such gets to know what this was.
        index.trouble = error
    with _HERE.lock:
        _HERE.known[archive.archive] = index
        while len(_HERE.known) > MOST_INDEXES:
            _HERE.known.popitem(last=False)
    return index


def _kind(address: Address) -> ModuleType:
    return tar_members if address.kind == "tar" else zip_members


def beside(uri: str, extension: str) -> str | None:
    """The uri of the file beside a member whose name ends so instead, if the archive has one.

    The index has just been read where this is asked, so that costs nothing.
    """
    address = address_of(uri)
    if address is None:
        return None
    stem = posixpath.splitext(address.member)[0]
    folder, slash, name = stem.rpartition("/")
    # In WebDataset a sample is called what stands before the first dot: a.left.mp4, a.json.
    for member in (stem + extension, folder + slash + name.split(".")[0] + extension):
        place = index_of(address).places.get(member)
        if place is not None:
            return str(address._replace(member=member, place=place))
    return None


# ── the store ────────────────────────────────────────────────────────────────────────────────────


class ArchiveStore(ReadOnlyStore):
    """What can be read from archives. Nothing can be written there."""

    def look(self, uri: str) -> Found | None:
        try:
            address, file, place = _placed(uri, ENDS)
        except FileNotFoundError:
            return None
        with contextlib.closing(file):
            return Found(uri, place.size, _kind(address).version(file, place), 0.0)

    def matching(self, pattern: str, most: int | None, after: str | None) -> Page:
        return Page([], [])

    def inside(self, folder: str, after: str | None) -> Page:
        return Page([], [])

    def read(self, uri: str) -> bytes:
        with contextlib.closing(self.open(uri)) as file:
            if file.size > MOST_READ:
                raise ArchiveError(f"{_known(uri).named} is too large to be read whole")
            return file.fetch(0, file.size)

    def open(self, uri: str) -> Opened:
        address, file, place = _placed(uri, FIRST_LOOK)
        if not place.is_packed:
            return MemberFile(file, place)
        with contextlib.closing(file):
            return _unpacked(address, file, place)

    def _refuse(self, uri: str) -> NoReturn:
        raise ArchiveError(f"{_known(uri).named} is in an archive, which finecut only reads from")


class MemberFile:
    """A member that is stored as it is: a part of its archive."""

    def __init__(self, file: Opened, place: Place) -> None:
        self._file, self._place = file, place
        self.size = place.size

    def fetch(self, start: int, length: int) -> bytes:
        length = max(0, min(length, self.size - start))
        if start + length <= len(self._place.head):
            return self._place.head[start : start + length]
        return self._file.fetch(self._place.start + start, length)

    def close(self) -> None:
        self._file.close()


def _known(uri: str) -> Address:
    address = address_of(uri)
    if address is None:
        raise ArchiveError(
            f"{uri} names no member of an archive: write tar://ARCHIVE!/MEMBER or zip://…"
        )
    return address


def _placed(uri: str, first: int) -> tuple[Address, Opened, Place]:
    """A member, its archive, open, and where in it the member is; its first bytes come with it."""
    address = _known(uri)
    if address.place.startswith("!"):
        said = TROUBLES.get(address.place[1:], "this member cannot be read")
        raise ArchiveError(f"{address.named}: {said}")
    if not address.member:
        raise _trouble_of(address)
    with contextlib.ExitStack() as opening:
        file = opening.enter_context(contextlib.closing(shelf.opened(address.archive)))
        place = _where_it_was(address, file, first)
        if place is None:
            place = _looked_for(address, file, first)
        opening.pop_all()
        return address, file, place


def _where_it_was(address: Address, file: Opened, first: int) -> Place | None:
    place: Place | None = None
    try:
        place = _kind(address).found(file, address.place, first) if address.place else None
    except OSError as error:
        # An archive that is shorter now has nothing at that place.
        if is_passing(error):
            raise
    except ValueError as error:
        raise ArchiveError(f"{address.named}: its address is damaged") from error
    return place


def _trouble_of(archive: Address) -> OSError:
    """Why an archive as such is among the videos."""
    trouble = _read_index(archive, _any, 1 << 62).trouble
    return _as_such(archive, trouble or OSError("it can be read now: name it as an input"))


def _as_such(archive: Address, trouble: OSError) -> OSError:
    if isinstance(trouble, FileNotFoundError | PermissionError):
        return trouble
    return ArchiveError(f"the archive {archive._replace(member='').named}: {trouble}")


def _looked_for(address: Address, file: Opened, first: int) -> Place:
    """A member that is not where it was: its archive was replaced, or nobody knew."""
    member = named(address.member)
    index = _read_index(address, lambda name: name == member, 1 << 62)
    found = index.places.get(member, "")
    if found.startswith("!"):
        raise ArchiveError(f"{address.named}: {TROUBLES[found[1:]]}")
    place: Place | None = _kind(address).found(file, found, first) if found else None
    if place is None:
        if found:
            raise ArchiveError(f"{address.named}: {TROUBLES['header']}")
        if index.trouble is not None:
            raise _as_such(address, index.trouble)
        raise FileNotFoundError(errno.ENOENT, "the archive has no such member", address.named)
    return place


def _unpacked(address: Address, file: Opened, place: Place) -> Copy:
    """A copy of a member that is compressed."""

    def fill(out: BinaryIO) -> None:
        seen = Checked(_inflated(file, place))
        try:
            written = poured(iter(seen), out, place.size, address.named)
        except (TooLarge, zlib.error) as error:
            raise ArchiveError(f"{address.named}: {TROUBLES['size']}") from error
        if (written, seen.crc) != (place.size, place.crc):
            raise ArchiveError(f"{address.named}: {TROUBLES['size']}")

    what, version = str(address._replace(place="")), f"{place.size} {place.crc}"
    most = max(place.size, MOST_MB * 1_000_000)
    return copy_of(what, version, fill, size=place.size, most=most)


class Checked:
    """Bytes, and the checksum of those that have gone by."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self.crc = pieces, 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.crc = zlib.crc32(piece, self.crc)
            yield piece


def _inflated(file: Opened, place: Place) -> Iterator[bytes]:
    work = zlib.decompressobj(-zlib.MAX_WBITS)
    at, end = place.start, place.start + place.stored
    while at < end and not work.eof:
        packed = file.fetch(at, min(LONGEST_LOOK, end - at))
        if not packed:
            raise ShortRead("the archive ended early")
        at += len(packed)
        while data := work.decompress(packed, PIECE):
            yield data
            packed = work.unconsumed_tail
