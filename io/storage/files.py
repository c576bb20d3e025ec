"""Files on a local disk or in an object store: finding, listing and reading them.

Beside :mod:`parts` and :mod:`publishing`, the only file that knows the difference. Nothing that is
read leaves the folders that are fenced (see :mod:`fence`).

Everything here tries again for a while when a disk or a store is only busy or out of reach
(``retry.py``), and then fails with an ``OSError``.
"""

import contextlib
import errno
import glob
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, TypeVar, cast

from finecut.io.storage.addresses import container_of, is_read_only, path_of, public
from finecut.io.storage.archives.members import Clipped, address_of, archive_of
from finecut.io.storage.fence import leads_outside, refuse_outside
from finecut.io.storage.on_disk import NotAFile, OnDisk, without_waiting
from finecut.io.storage.retry import DEADLINE_SECONDS, PATIENCE, note_outlasted, retried, within
from finecut.io.storage.stores import MANY, Found, Opened, Page, RangedFile, store_for
from finecut.io.storage.web import urls

T = TypeVar("T")

#: How long passing trouble is waited out. A disk that is still in trouble then is no busy server.
DISK_SECONDS, STORE_SECONDS = 30.0, DEADLINE_SECONDS
#: How long trouble is waited out for what can be done without.
IN_PASSING_SECONDS = 5.0
#: What the system says of a name behind which there is no file: gone, or a link to nowhere.
NO_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES})
#: File systems that are reached like stores, and show a file while it is written.
GROWING: Final = ("hdfs://",)


def is_remote(uri: str) -> bool:
    return "://" in uri


def check_store(uri: str) -> None:
    """Raise :class:`UnknownStore` if there is no file system for this kind of path."""
    if is_remote(uri):
        store_for(uri)


def greet(uri: str) -> None:
    """Raise an ``OSError`` if this file cannot be read, within seconds."""
    looking = partial(retried, lambda: store_for(uri).look(uri), PATIENCE / 2)
    if within(2 * PATIENCE, looking) is None:
        raise FileNotFoundError(errno.ENOENT, "there is no such file", public(uri))


def store_of(uri: str) -> str:
    """The bucket a remote path lies in (``gs://bucket``), or nothing for the local disk. All web
    servers together are one.
    """
    address = address_of(uri)
    if address is not None:
        return store_of(address.archive)
    if urls.is_web(uri):
        return urls.WEB
    return "/".join(uri.split("/")[:3]) if is_remote(uri) else ""


def absolute(uri: str) -> str:
    """A local path made absolute, without ``.``, ``..`` and double slashes; a remote as it is."""
    if is_remote(uri):
        return uri if is_read_only(uri) else uri.rstrip("/")
    # Not Path.resolve(): sources keep the name of the link they were found by.
    return os.path.abspath(Path(uri).expanduser())  # noqa: PTH100


def identity(uri: str) -> str:
    """What two names of one file have in common: its path with every symlink resolved."""
    if is_read_only(uri):
        return path_of(uri)
    try:
        return uri if is_remote(uri) else os.path.realpath(uri)
    except (OSError, ValueError):  # no file has such a name
        return uri


def videos_in(
    uri: str, wanted: Callable[[str], bool], access: urls.Access
) -> list[tuple[str, str]]:
    """The members of this archive whose names are wanted, each with its path there."""
    from finecut.io.storage.archives import store as archives

    archive = archive_of(uri)
    return [] if archive is None else archives.videos_in(archive, wanted, access.most)


def beside_member(uri: str, extension: str) -> str | None:
    """The uri of what lies beside a member of an archive, with its name and this ending, if there
    is such a member.
    """
    if address_of(uri) is None:
        return None
    from finecut.io.storage.archives import store as archives

    return archives.beside(uri, extension)


def is_symlink(uri: str) -> bool:
    return not is_remote(uri) and os.path.islink(uri)  # noqa: PTH114 - is none for impossible names


def exists(uri: str) -> bool:
    """Whether there is a file or folder of this name (a remote prefix counts as a folder)."""
    if is_remote(uri):
        return _is_object(uri) or any(_below(uri, most=1))
    return not leads_outside(uri) and patiently(uri, Path(uri).exists)


def is_folder(uri: str) -> bool:
    here = not is_remote(uri)
    return (not leads_outside(uri) and Path(uri).is_dir()) if here else not _is_object(uri)


def is_file(uri: str) -> bool:
    """Whether this can be read twice and measured: no folder, pipe or device."""
    return is_remote(uri) or (not leads_outside(uri) and Path(uri).is_file())


def files_below(folder: str, folders_named: str = "") -> Iterator[str]:
    """Every file at any depth; symlinked files are listed, symlinked folders are not entered.

    On a disk also the folders whose names end as asked for, if that is asked for.
    """
    if is_remote(folder):
        yield from (one.uri for one in _below(folder))
    else:
        yield from patiently(folder, lambda: list(_walk(folder, folders_named)))


def _walk(folder: str, folders_named: str) -> Iterator[str]:
    """A folder that cannot be read may hide videos: better to stop than to pretend it is empty."""
    waiting = [] if leads_outside(folder) else [folder]
    while waiting:
        here = waiting.pop()
        try:
            with _entries(here) as entries:
                found = sorted((e.name, _is(e.is_dir), e.is_symlink()) for e in entries)
        except FileNotFoundError:
            if here == folder:
                raise
            continue  # removed since it was listed: it hides nothing
        yield from (
            f"{here}/{name}"
            for name, is_folder, _ in found
            if not is_folder or (folders_named and name.endswith(folders_named))
        )
        deeper = [name for name, is_folder, is_link in found if is_folder and not is_link]
        waiting += [f"{here}/{name}" for name in reversed(deeper)]


@contextmanager
def _entries(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """What lies in a folder, without links that lead out of a fence."""
    with os.scandir(folder) as entries:
        yield (e for e in entries if not (e.is_symlink() and leads_outside(f"{folder}/{e.name}")))


def _is(kind: Callable[[], bool]) -> bool:
    """What an entry is asked to be. A link in a circle, or to where nobody may look, is neither."""
    with contextlib.suppress(OSError):
        return kind()
    return False


def some_file_in(folder: str, suffix: str) -> str | None:
    """Any one file of a folder whose name ends so, without listing them all."""
    if is_remote(folder):
        pattern = f"{glob.escape(folder)}/*{glob.escape(suffix)}"
        return next((one.uri for one in _listed(pattern, most=1)), None)
    if not is_folder(folder):
        return None
    with _entries(folder) as entries:
        named = (entry for entry in entries if entry.name.endswith(suffix))
        return next((entry.path for entry in named if _is(entry.is_file)), None)


def folders_in(folder: str) -> list[str]:
    """The folders in a folder, by their paths; none if there is no such folder."""
    return _inside(folder)[1]


def files_in(folder: str) -> list[str]:
    """The files in a folder, by their paths; none if there is no such folder."""
    return _inside(folder)[0]


def _inside(folder: str) -> tuple[list[str], list[str]]:
    """What lies in a folder itself: files, and folders."""
    if is_remote(folder):
        listed = list(pages(folder, lambda after: store_for(folder).inside(folder, after)))
        files = sorted(one.uri for page in listed for one in page.objects)
        return files, sorted({path for page in listed for path in page.folders})
    if not is_folder(folder):
        return [], []
    with _entries(folder) as entries:
        found = sorted((f"{folder}/{entry.name}", _is(entry.is_dir)) for entry in entries)
    return [path for path, is_dir in found if not is_dir], [
        path for path, is_dir in found if is_dir
    ]


def written_below(folder: str) -> Iterator[tuple[str, float]]:
    """Every object below a folder of a store, and when it was written."""
    return ((one.uri, one.written) for one in _below(folder))


def delete(objects: list[str]) -> None:
    """Remove objects of a store, many in one request."""
    for _, of_one in itertools.groupby(sorted(objects, key=store_of), store_of):
        uris = list(of_one)
        for start in range(0, len(uris), MANY):
            some = uris[start : start + MANY]
            patiently(some[0], partial(store_for(some[0]).delete_all, some))


def found_below(folder: str) -> Iterator[Found]:
    """Every file at any depth with its size, version and time, without a request for each."""
    return _below(folder) if is_remote(folder) else _seen(files_below(folder))


def found_matching(pattern: str) -> Iterator[Found]:
    """The same of the files that a glob names."""
    return _listed(pattern) if is_remote(pattern) else _seen(matching(pattern))


def _seen(paths: Iterable[str]) -> Iterator[Found]:
    """Files of a disk as they are; what has gone since it was listed, and what is no file, not."""
    for path in paths:
        try:
            said = patiently(path, partial(os.stat, path))
        except OSError as error:
            if error.errno not in NO_FILE:
                raise  # a disk in trouble has not lost its files
            continue
        if stat.S_ISREG(said.st_mode):
            yield _found(path, said)


def appears_whole(uri: str) -> bool:
    """Whether a file of this place is only seen when all of it is there."""
    return is_remote(uri) and not uri.startswith(GROWING)


def matching(pattern: str) -> list[str]:
    """The files a glob names; ``**`` stands for any depth, also none."""
    if is_remote(pattern):
        return [one.uri for one in _listed(pattern)]
    found = () if leads_outside(str(Path(pattern).parent)) else glob.glob(pattern, recursive=True)  # noqa: PTH207
    return [path for path in found if not Path(path).is_dir()]


def _below(folder: str, most: int | None = None) -> Iterator[Found]:
    """Every object in a folder of a store, at any depth."""
    return _listed(f"{glob.escape(folder.rstrip('/'))}/**", most)


def _listed(pattern: str, most: int | None = None) -> Iterator[Found]:
    """The objects that a glob names."""
    for page in pages(pattern, lambda after: store_for(pattern).matching(pattern, most, after)):
        yield from page.objects


def pages(uri: str, ask: Callable[[str | None], Page]) -> Iterator[Page]:
    """A listing page by page, so that trouble with one does not begin it anew."""
    page = patiently(uri, lambda: ask(None))
    yield page
    while page.after:
        page = patiently(uri, partial(ask, page.after))
        yield page


def size_of(uri: str) -> int:
    return _looked_at(uri).size


def version_of(uri: str) -> str:
    """What changes when the file is replaced: its size, and when it was written or which it is."""
    return _looked_at(uri).version


def _looked_at(uri: str) -> Found:
    if not is_remote(uri):
        refuse_outside(uri)
        return _found(uri, patiently(uri, Path(uri).stat))
    found = patiently(uri, lambda: store_for(uri).look(uri))
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "No such object", public(uri))
    return found


def _found(path: str, said: os.stat_result) -> Found:
    return Found(path, said.st_size, f"{said.st_size} {said.st_mtime_ns}", written=said.st_mtime)


def read(uri: str, most: int | None = None) -> bytes:
    """The whole file; of a local one no more than ``most`` bytes, if it may not be longer."""
    if is_remote(uri):
        return patiently(uri, lambda: store_for(uri).read(uri))
    refuse_outside(uri)
    return patiently(uri, lambda: _whole(uri, most))


def _whole(path: str, most: int | None) -> bytes:
    with open(path, "rb", opener=without_waiting) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise NotAFile(errno.EINVAL, "is a pipe or device, not a file", path)
        if most is not None and found.st_size > most:
            raise NotAFile(errno.EFBIG, f"has {found.st_size:,} bytes; the limit is {most:,}", path)
        return file.read()


def read_if_there(uri: str) -> bytes | None:
    """The file, or ``None`` if there is none: one request where asking first would be two."""
    with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None if "\0" in uri else read(uri)  # no file has such a name
    return None


def read_part(uri: str, start: int, length: int) -> bytes:
    """A file's bytes from ``start`` on; fewer than ``length`` where it ends before."""
    return patiently(uri, lambda: _part(uri, start, length))[1]


def beginning_of(uri: str, length: int) -> tuple[int, bytes]:
    """How large a file is and how it begins, for what is said in passing: not waited for."""
    return retried(lambda: _part(uri, 0, length), IN_PASSING_SECONDS)


def _part(uri: str, start: int, length: int) -> tuple[int, bytes]:
    """How large a file is, and a part of it."""
    if not is_remote(uri):
        refuse_outside(uri)
        with Path(uri).open("rb") as file:
            file.seek(start)
            return os.fstat(file.fileno()).st_size, file.read(length)
    with contextlib.closing(store_for(uri).open(uri)) as opened:
        return opened.size, opened.fetch(start, max(0, min(length, opened.size - start)))


@contextmanager
def open_source(uri: str) -> Iterator[str | BinaryIO]:
    """What the decoder reads from: a path where there is one, else ranged reads of the object."""
    if not is_remote(uri):
        refuse_outside(uri)
        yield uri
        return
    file = patiently(uri, lambda: store_for(uri).open(uri))
    with RangedFile(public(uri), file, partial(patiently, uri)) as ranged:
        ranged.is_near = not is_remote(container_of(uri))
        yield cast(BinaryIO, ranged)


def opened(uri: str) -> Opened:
    """A file to be read in ranges, wherever it lies; a web server is not asked before that."""
    if urls.is_web(uri):
        from finecut.io.storage.web.store import WebFile

        return WebFile(uri, is_whole=False)
    if is_remote(uri):
        return Clipped(store_for(uri).open(uri))
    refuse_outside(uri)
    return OnDisk(uri)


@contextmanager
def open_file(uri: str) -> Iterator[BinaryIO]:
    """The same as a file that is read, wherever it lies."""
    with (
        open_source(uri) as source,
        Path(source).open("rb") if isinstance(source, str) else source as file,
    ):
        yield file


def patiently(uri: str, work: Callable[[], T]) -> T:
    """What ``work`` on this file gives, however often it takes within its time."""
    try:
        return retried(work, STORE_SECONDS if is_remote(uri) else DISK_SECONDS)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = public(uri)  # an error of an open file does not name it
        note_outlasted(error, "" if store_of(uri) in ("", urls.WEB) else public(uri))
        raise


def _is_object(uri: str) -> bool:
    return patiently(uri, lambda: store_for(uri).look(uri)) is not None
