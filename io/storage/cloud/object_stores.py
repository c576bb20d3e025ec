"""S3, Azure and all that speak like them, through obstore.

Nothing here tries again by itself, so that no two ladders of attempts stand on each other, but
where one attempt takes many requests: the parts of a large upload, the pages of a folder.

An object is read and replaced by its ETag: what is opened is that version or nothing, and what is
published replaces the version that was seen. Uploads appear whole, and leave no parts if they fail.
A copy cannot name what it replaces, so of two that publish the same name the last one wins.
"""

import contextlib
import errno
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from finecut.io.storage.cloud.names import glob_of, kind_of, translated
from finecut.io.storage.cloud.obstore_clients import Place, client, place_of, sign_in
from finecut.io.storage.cloud.obstore_errors import SAY_WHO, is_condition, plainly, said_by
from finecut.io.storage.cloud.obstore_here import library
from finecut.io.storage.cloud.obstore_names import UnusableName, check, named, parted, root_of
from finecut.io.storage.stores import MANY, Found, Opened, Page, Span, replaced

LOG = logging.getLogger("finecut")

#: Bytes of a part; more of very large files, of which there may be 10,000 parts.
PART, MOST_PARTS = 8 << 20, 9_000
#: Parts of a file that are on their way at the same time.
AT_ONCE: Final = 4
#: What is larger is sent in parts, which no condition can be set on.
ONE_REQUEST: Final = 16 << 20
#: What is larger cannot be copied in one request.
COPIED: Final = 5 << 30
#: Listings that wait for being continued.
WAITING: Final = 64
NOT_IMPLEMENTED: Final = 501
CANNOT_KNOW: Final = (
    "cannot replace an object only if nobody else has changed it: what two runs add to one list at "
    "the same moment may be lost, so let one run at a time write there"
)
#: Of which that was said.
_UNCONDITIONAL: Final[set[Place]] = set()
#: What servers say who do not know how to remove many objects at once.
ONE_BY_ONE: Final = frozenset({400, 405, 411, 501})


class ObjectStore:
    """``s3://bucket/object``, ``az://container/object``."""

    def look(self, uri: str) -> Found | None:
        place, name = parted(uri)
        if not name:
            return None  # a bucket is no object
        try:
            with plainly(uri):
                return _found(place, library().head(client(place), name))
        except FileNotFoundError:
            return None
        except PermissionError:
            # To this request nobody says why; to one for the object itself they do.
            with plainly(uri):
                library().get(client(place), name, options={"range": (0, 1)})
            raise

    def matching(self, pattern: str, most: int | None, after: str | None) -> Page:
        place, name = parted(pattern, is_pattern=True)
        glob, fitting = glob_of(name), re.compile(translated(pattern))
        folder = glob.prefix.rpartition("/")[0]
        if glob.deep or most is not None:
            page = _listed(place, folder, after)
        else:
            page = self.inside(f"{place.root}/{folder}", after)
        return Page([one for one in page.objects if fitting.fullmatch(one.uri)], [], page.after)

    def inside(self, folder: str, after: str | None) -> Page:
        place, name = parted(folder.rstrip("/"))
        with plainly(folder), _only_usable_names(folder):
            said = library().list_with_delimiter(client(place, patient=True), name or None)
        # Some tools write an empty object of such a name where people make a folder.
        objects = [_found(place, one) for one in said["objects"] if one["path"] != name]
        return Page(objects, [f"{place.root}/{path}" for path in said["common_prefixes"]])

    def divides(self, uri: str) -> bool:
        """Amazon's does. Servers that speak like it leave out folders, and Azure's cannot."""
        place = parted(uri)[0]
        return place.is_s3 and "endpoint" not in client(place).config

    def between(self, folder: str, span: Span, after: str | None) -> Page:
        place, name = parted(folder.rstrip("/"))
        if not self.divides(folder):
            return _listed(place, name, after)
        page = _listed(place, name, after or (f"{name}/{span.first}" if span.first else None))
        ends = span.last and page.after and page.after > f"{name}/{span.last}"
        return page._replace(after=None) if ends else page

    def read(self, uri: str) -> bytes:
        place, name = named(uri)
        with plainly(uri):
            return bytes(library().get(client(place), name).bytes())

    def open(self, uri: str) -> Opened:
        found = self.look(uri)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "No such object", uri)
        return _Version(found)

    def create(self, uri: str, data: bytes) -> None:
        _put(uri, data, None)

    def replace(self, uri: str, data: bytes, seen: Found | None) -> bool:
        if not data:
            return seen is None or self._remove(uri, seen)
        return _put_as_seen(uri, data, seen)

    def _remove(self, uri: str, seen: Found) -> bool:
        """Only what is replaced between these two requests is not noticed."""
        there = self.look(uri)
        if there is not None and there.version != seen.version:
            return False
        self.delete(uri)
        return True

    def upload(self, uri: str, file: Path) -> None:
        place, name = named(uri)
        part = max(PART, -(-file.stat().st_size // MOST_PARTS))
        with plainly(uri):
            library().put(
                client(place, patient=True),
                name,
                file,
                attributes=_attributes(uri),
                chunk_size=part,
                max_concurrency=AT_ONCE,
            )

    def put(self, uri: str, file: Path, seen: Found | None) -> bool:
        if file.stat().st_size > ONE_REQUEST:
            self.upload(uri, file)
            return True
        return _put_as_seen(uri, file.read_bytes(), seen)

    def move(self, staged: str, final: str) -> None:
        """The copy appears whole. Done again after an answer was lost, it is the same copy."""
        (place, old), (there, new) = named(staged), named(final)
        if place != there:
            raise ValueError(f"{staged} cannot be moved to another bucket: {final}")
        try:
            with plainly(staged):
                library().copy(client(place), old, new)
        except OSError as error:
            found = self.look(staged) if _is_refusal(error) else None
            if found is None or found.size <= COPIED:
                raise
            self._copy_through_here(found, final)
        self.delete(staged)

    def _copy_through_here(self, found: Found, final: str) -> None:
        place, name = named(final)
        opened, part = _Version(found), max(PART, -(-found.size // MOST_PARTS))
        # Another thread: this one may not wait for obstore while obstore waits for it.
        with ThreadPoolExecutor(1) as reading, plainly(final):
            library().put(
                client(place, patient=True),
                name,
                (
                    reading.submit(opened.fetch, at, min(part, found.size - at)).result()
                    for at in range(0, found.size, part)
                ),
                attributes=_attributes(final),
                chunk_size=part,
                max_concurrency=1,
            )

    def delete(self, uri: str) -> None:
        self.delete_all([uri])

    def delete_all(self, uris: Sequence[str]) -> None:
        place, names = named(uris[0])[0], [named(uri)[1] for uri in uris]
        with contextlib.suppress(FileNotFoundError), plainly(uris[0]):
            try:
                library().delete(client(place), names if len(names) > 1 else names[0])
                return
            except library().exceptions.BaseError as error:
                if len(names) == 1 or said_by(error).status not in ONE_BY_ONE:
                    raise
            except FileNotFoundError:
                pass  # one was gone, and what came after it may be there still
        for uri in uris if len(names) > 1 else ():
            self.delete(uri)

    def sign_in(self, uri: str) -> None:
        """Have credentials, or know that there are none."""
        sign_in(place_of(root_of(uri)))

    def unreachable(self, bucket: str, why: str, signed_in: bool) -> str:
        """What to say of a bucket that gave no answer."""
        place = place_of(root_of(bucket))
        if not signed_in:
            return (
                f"{bucket} was not accessed, because there are no credentials ({why}): "
                f"{SAY_WHO[place.is_s3]}"
            )
        variable = "AWS_ENDPOINT_URL" if place.is_s3 else "AZURE_STORAGE_ENDPOINT"
        where = dict(client(place).config).get("endpoint")
        at, why = f" at {where}" if where else "", why.removeprefix(f"{bucket}: ")
        return (
            f"{bucket} cannot be reached{at} ({why}). Usually this machine has no network, a "
            f"proxy or firewall blocks the store, or {variable} is wrong: fix that. If the bucket "
            f"is not public, also {SAY_WHO[place.is_s3]}"
        )


class _Overtaken(Exception):
    """Somebody else was faster."""


def _put_as_seen(uri: str, data: bytes, seen: Found | None) -> bool:
    try:
        _put(uri, data, "create" if seen is None else {"e_tag": _e_tag(seen)})
    except _Overtaken:
        return False
    return True


def _put(uri: str, data: bytes, mode: object) -> None:
    place, name = named(uri)
    with plainly(uri):
        try:
            library().put(
                client(place),
                name,
                data,
                attributes=_attributes(uri),
                mode=mode or "overwrite",
                use_multipart=False,
            )
        except library().exceptions.BaseError as error:
            if mode and is_condition(error):
                raise _Overtaken from error
            if not (mode and said_by(error).status == NOT_IMPLEMENTED):
                raise
            _put(uri, data, None)
            if place not in _UNCONDITIONAL:
                _UNCONDITIONAL.add(place)
                LOG.error("%s %s", place.root, CANNOT_KNOW)


class _Version:
    """One version of an object: what replaced it is another one."""

    def __init__(self, found: Found) -> None:
        self._found, self.size = found, found.size
        self._e_tag = _e_tag(found)

    def fetch(self, start: int, length: int) -> bytes:
        uri = self._found.uri
        place, name = named(uri)
        if not length:
            return b""
        options = {"range": (start, start + length), "if_match": self._e_tag}
        with plainly(uri):
            try:
                answer = library().get(client(place), name, options=options)
                # Some servers do not look at what is asked for.
                if _plain(answer.meta["e_tag"]) != _plain(self._e_tag):
                    raise replaced(uri)
                return bytes(answer.bytes())
            except library().exceptions.PreconditionError as error:
                raise replaced(uri) from error

    def close(self) -> None:
        """Nothing is held open."""


def _attributes(uri: str) -> Mapping[str, str]:
    return {"Content-Type": kind_of(uri)}


def _is_refusal(error: OSError) -> bool:
    passing = ConnectionError | TimeoutError
    return not isinstance(error, FileNotFoundError | PermissionError | passing)


# ── versions ─────────────────────────────────────────────────────────────────────────────────────


def _found(place: Place, said: Mapping[str, Any]) -> Found:
    tag, kept = _plain(said["e_tag"]), said.get("version")
    version = f"{said['size']} {tag}" + (f" {kept}" if kept and kept != "null" else "")
    uri = f"{place.root}/{said['path']}"
    return Found(uri, int(said["size"]), version, said["last_modified"].timestamp())


def _plain(e_tag: str | None) -> str:
    """As it stands in documents: without quotes."""
    return (e_tag or "").replace('"', "")


def _e_tag(found: Found) -> str | None:
    """As requests name it; nothing if the store has none."""
    _, weak, tag = found.version.split(" ")[1].rpartition("W/")
    return f'{weak}"{tag}"' if tag else None


# ── listings ─────────────────────────────────────────────────────────────────────────────────────


class _Waiting:
    """Listings that were begun: going on with one is cheaper than asking for what follows a name,
    which not all stores can tell without counting from the beginning.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.streams: dict[tuple[object, ...], Iterator[Sequence[Mapping[str, Any]]]] = {}

    def pop(self, key: tuple[object, ...]) -> Iterator[Sequence[Mapping[str, Any]]] | None:
        with self.lock:
            return self.streams.pop(key, None)

    def keep(self, key: tuple[object, ...], stream: Iterator[Sequence[Mapping[str, Any]]]) -> None:
        with self.lock:
            self.streams[key] = stream
            while len(self.streams) > WAITING:
                del self.streams[next(iter(self.streams))]


_WAITING: Final = _Waiting()


def _listed(place: Place, folder: str, after: str | None) -> Page:
    """A part of everything below a folder."""
    here, uri = client(place), f"{place.root}/{folder}"
    check(folder, uri)
    with plainly(uri), _only_usable_names(uri):
        stream = _WAITING.pop((os.getpid(), id(here), folder, after)) or iter(
            library().list(here, folder or None, offset=after, chunk_size=MANY)
        )
        said: Sequence[Mapping[str, Any]] = next(stream, [])
    last = said[-1]["path"] if len(said) == MANY else None
    if last is not None:
        _WAITING.keep((os.getpid(), id(here), folder, last), stream)
    objects = [_found(place, one) for one in said if one["size"] or _is_object(place, one)]
    return Page(objects, [], last)


def _is_object(place: Place, said: Mapping[str, Any]) -> bool:
    """Whether something empty is no sign of a folder (``name/``), from whose name obstore takes the
    slash.
    """
    return ObjectStore().look(f"{place.root}/{said['path']}") is not None


@contextlib.contextmanager
def _only_usable_names(uri: str) -> Iterator[None]:
    """One name that obstore refuses spoils the whole listing."""
    try:
        yield
    except (ValueError, library().exceptions.InvalidPathError) as error:
        raise UnusableName(
            f"{uri} cannot be listed, because there is an object in it whose name obstore does not "
            f"accept ({said_by(error).text}). Rename or remove it, or name another folder"
        ) from error
