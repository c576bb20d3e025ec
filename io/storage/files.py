"""The shelf: local disk or object store. The only file that knows the difference.

Whatever is written under a final name is whole: bytes are first put under the run's own staging
folder and then moved into place in one step (local disk), or written by an upload that appears
when it is complete (object store). Two attempts at the same work may both write; names are
deterministic, so either result is the result.

Nothing that is written, listed for removal or removed leaves its :class:`Shelf`'s root, and nothing
that is read the folders that are fenced (see :mod:`fence`).

Everything here tries again for a while when a disk or a store is only busy or out of reach
(``retry.py``), and then fails with an ``OSError``.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from finecut.io.storage.fence import (
    NO_FENCE,
    Fence,
    is_straight,
    is_within,
    leads_outside,
    refuse_behind_link,
    refuse_outside,
)
from finecut.io.storage.halting import is_halted
from finecut.io.storage.ranges import RangedFile
from finecut.io.storage.retry import DEADLINE_SECONDS, is_passing, retried
from finecut.io.storage.stores import Found, store_for

T = TypeVar("T")

#: How long passing trouble is waited out. A disk that is still in trouble then is no busy server.
DISK_SECONDS, STORE_SECONDS = 30.0, DEADLINE_SECONDS
#: How long trouble is waited out for what can be done without.
IN_PASSING_SECONDS = 5.0

IN_USE = ".in-use"
#: Lies in a run's staging folder, and is locked, as long as the run lives (see :mod:`staging`).
ALIVE = "alive"


class NotAFile(OSError):
    """Something of that name is there, and is no file whose bytes could be read."""


def is_remote(uri: str) -> bool:
    return "://" in uri


def check_store(uri: str) -> None:
    """Raise :class:`UnknownStore` if there is no file system for this kind of path."""
    if is_remote(uri):
        store_for(uri)


def store_of(uri: str) -> str:
    """The bucket a remote path lies in (``gs://bucket``), or nothing for the local disk."""
    return "/".join(uri.split("/")[:3]) if is_remote(uri) else ""


def absolute(uri: str) -> str:
    """A local path made absolute, without ``.``, ``..`` and double slashes; a remote as it is."""
    if is_remote(uri):
        return uri.rstrip("/")
    # Not Path.resolve(): sources keep the name of the link they were found by.
    return os.path.abspath(Path(uri).expanduser())  # noqa: PTH100


def identity(uri: str) -> str:
    """What two names of one file have in common: its path with every symlink resolved."""
    try:
        return uri if is_remote(uri) else os.path.realpath(uri)
    except (OSError, ValueError):  # no file has such a name
        return uri


def is_symlink(uri: str) -> bool:
    return not is_remote(uri) and os.path.islink(uri)  # noqa: PTH114 - is none for impossible names


def exists(uri: str) -> bool:
    """Whether there is a file or folder of this name (a remote prefix counts as a folder)."""
    if is_remote(uri):
        return _is_object(uri) or bool(store_for(uri).below(uri, partial(_patiently, uri), limit=1))
    return not leads_outside(uri) and _patiently(uri, Path(uri).exists)


def is_folder(uri: str) -> bool:
    if is_remote(uri):
        return not _is_object(uri)
    return not leads_outside(uri) and Path(uri).is_dir()


def is_file(uri: str) -> bool:
    """Whether this can be read twice and measured: no folder, pipe or device."""
    return is_remote(uri) or (not leads_outside(uri) and Path(uri).is_file())


def files_below(folder: str, folders_named: str = "") -> Iterator[str]:
    """Every file at any depth; symlinked files are listed, symlinked folders are not entered.

    On a disk also the folders whose names end as asked for, if that is asked for.
    """
    if is_remote(folder):
        yield from (one.uri for one in store_for(folder).below(folder, partial(_patiently, folder)))
    else:
        yield from _patiently(folder, lambda: list(_walk(folder, folders_named)))


def _walk(folder: str, folders_named: str) -> Iterator[str]:
    """A folder that cannot be read may hide videos: better to stop than to pretend it is empty."""
    waiting = [] if leads_outside(folder) else [folder]
    while waiting:
        here = waiting.pop()
        with _entries(here) as entries:
            found = sorted(
                (entry.name, _leads_to_folder(entry), entry.is_symlink()) for entry in entries
            )
        for name, is_folder, _ in found:
            if not is_folder or (folders_named and name.endswith(folders_named)):
                yield f"{here}/{name}"
        deeper = [name for name, is_folder, is_link in found if is_folder and not is_link]
        waiting += [f"{here}/{name}" for name in reversed(deeper)]


def links_out_of(root: str) -> list[tuple[str, str]]:
    """The links at any depth of a folder that lead out of it, and where to."""
    found: list[tuple[str, str]] = []
    waiting = [] if is_remote(root) else [root]
    real = identity(root)
    while waiting:
        here = waiting.pop()
        # What cannot be looked into, or is gone, is for who reads it to tell.
        with contextlib.suppress(OSError), os.scandir(here) as entries:
            for entry in entries:
                path = f"{here}/{entry.name}"
                if entry.is_symlink():
                    found.append((path, identity(path)))
                elif entry.is_dir():
                    waiting.append(path)
    return sorted((path, place) for path, place in found if not is_within(place, real))


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or to where nobody may look
        return False


@contextmanager
def _entries(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """What lies in a folder, without links that lead out of a fence."""
    with os.scandir(folder) as entries:
        yield (e for e in entries if not (e.is_symlink() and leads_outside(f"{folder}/{e.name}")))


def _is(kind: Callable[[], bool]) -> bool:
    """What an entry is asked to be; a link that leads in a circle is neither file nor folder."""
    try:
        return kind()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def some_file_in(folder: str, suffix: str) -> str | None:
    """Any one file of a folder whose name ends so, without listing them all."""
    if is_remote(folder):
        return store_for(folder).some(folder, suffix, partial(_patiently, folder))
    if not is_folder(folder):
        return None
    with _entries(folder) as entries:
        named = (entry for entry in entries if entry.name.endswith(suffix))
        return next((entry.path for entry in named if _is(entry.is_file)), None)


def folders_in(folder: str) -> list[str]:
    """The folders in a folder, by their paths; none if there is no such folder."""
    if is_remote(folder):
        return store_for(folder).inside(folder, partial(_patiently, folder))[1]
    if not is_folder(folder):
        return []
    with _entries(folder) as entries:
        return sorted(f"{folder}/{entry.name}" for entry in entries if _is(entry.is_dir))


def files_in(folder: str) -> list[str]:
    """The files in a folder, by their paths; none if there is no such folder."""
    if is_remote(folder):
        return sorted(store_for(folder).inside(folder, partial(_patiently, folder))[0])
    if not is_folder(folder):
        return []
    with _entries(folder) as entries:
        return sorted(f"{folder}/{entry.name}" for entry in entries if not _is(entry.is_dir))


def written_below(folder: str) -> Iterator[tuple[str, float]]:
    """Every object below a folder of a store, and when it was written."""
    found = store_for(folder).below(folder, partial(_patiently, folder))
    yield from ((one.uri, one.written) for one in found)


def delete(objects: list[str]) -> None:
    """Remove objects of a store."""
    store_for(objects[0]).delete(objects, partial(_patiently, objects[0]))


def matching(pattern: str) -> list[str]:
    """The files a glob names; ``**`` stands for any depth, also none."""
    if not is_remote(pattern):
        return [path for path in glob.glob(pattern, recursive=True) if not Path(path).is_dir()]  # noqa: PTH207
    return [one.uri for one in store_for(pattern).matching(pattern, partial(_patiently, pattern))]


def size_of(uri: str) -> int:
    if is_remote(uri):
        return _looked_at(uri).size
    refuse_outside(uri)
    return _patiently(uri, Path(uri).stat).st_size


def version_of(uri: str) -> str:
    """What changes when the file is replaced: its size, and when it was written or which it is."""
    if is_remote(uri):
        return _looked_at(uri).version
    refuse_outside(uri)
    found = _patiently(uri, Path(uri).stat)
    return f"{found.st_size} {found.st_mtime_ns}"


def read(uri: str, most: int | None = None) -> bytes:
    """The whole file; of a local one no more than ``most`` bytes, if it may not be longer."""
    if is_remote(uri):
        return _patiently(uri, lambda: store_for(uri).read(uri))
    refuse_outside(uri)
    return _patiently(uri, lambda: _whole(uri, most))


def _whole(path: str, most: int | None) -> bytes:
    """Without waiting: who opens a pipe as usual waits until somebody writes to it."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(opened)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder", path)
        if not stat.S_ISREG(found.st_mode):
            raise NotAFile(errno.EINVAL, "is a pipe or device, and no file", path)
        if most is not None and found.st_size > most:
            raise NotAFile(errno.EFBIG, f"has {found.st_size:,} bytes, and may have {most:,}", path)
        with os.fdopen(opened, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(opened)


def read_if_there(uri: str) -> bytes | None:
    """The file, or ``None`` if there is none: one request where asking first would be two."""
    if "\0" in uri:
        return None  # no file has such a name
    try:
        return read(uri)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def read_part(uri: str, start: int, length: int) -> bytes:
    """So many bytes of a file from this place on; fewer where it ends before."""
    return _patiently(uri, lambda: _part(uri, start, length))


def _part(uri: str, start: int, length: int) -> bytes:
    if not is_remote(uri):
        refuse_outside(uri)
        with Path(uri).open("rb") as file:
            file.seek(start)
            return file.read(length)
    opened = store_for(uri).open(uri)
    try:
        return opened.fetch(start, max(0, min(length, opened.size - start)))
    finally:
        opened.close()


def beginning_of(uri: str, length: int) -> tuple[int, bytes]:
    """How large a file is and how it begins, for who would say so in passing: not waited for."""
    if not is_remote(uri):
        return size_of(uri), _part(uri, 0, length)

    def asked() -> tuple[int, bytes]:
        opened = store_for(uri).open(uri)
        try:
            return opened.size, opened.fetch(0, min(length, opened.size))
        finally:
            opened.close()

    return retried(asked, IN_PASSING_SECONDS)


@contextmanager
def open_source(uri: str) -> Iterator[str | BinaryIO]:
    """What the decoder reads from: a path where there is one, else ranged reads of the object."""
    if not is_remote(uri):
        refuse_outside(uri)
        yield uri
        return
    opened = _patiently(uri, lambda: store_for(uri).open(uri))
    with RangedFile(uri, opened, partial(_patiently, uri)) as file:
        yield cast(BinaryIO, file)


@contextmanager
def open_file(uri: str) -> Iterator[BinaryIO]:
    """The same as a file that is read, wherever it lies."""
    with open_source(uri) as source:
        if isinstance(source, str):
            with Path(source).open("rb") as file:
                yield file
        else:
            yield source


@dataclass(frozen=True)
class Shelf:
    """Where one run writes. ``staging`` is the folder only this run uses."""

    root: str
    staging: str
    #: What else is not left, wherever this arrives (see :mod:`fence`).
    fence: Fence = NO_FENCE

    def check(self, path: str) -> None:
        """Raise :class:`LeadsOutside` for a path that is not really below the root."""
        if not is_remote(path):
            refuse_behind_link(path, self.root)

    def write(self, path: str, data: bytes) -> int:
        """Write a whole file under its final name; the number of bytes comes back."""
        self._check_going()
        if is_remote(path):
            _patiently(path, lambda: store_for(path).create(path, data))
        else:
            _patiently(path, lambda: self._replace(path, data))
        return len(data)

    def _replace(self, path: str, data: bytes) -> None:
        self.check(path)
        part = self._unique()
        with _removed_unless_whole(part):
            _create(part, data)
            _move(part, path)

    @contextmanager
    def bench(self) -> Iterator[Path]:
        """A local folder to make files in, before :meth:`stage` puts them on the shelf.

        On a local shelf it lies in the staging folder, so that staging copies nothing.
        """
        if is_remote(self.root):
            from finecut.io.storage.temporary import temporary_folder  # which is made of shelves

            with temporary_folder(sweeping=False) as folder:
                yield Path(folder)
        else:
            bench = Path(self._unique())
            self.check(f"{bench}/{IN_USE}")
            bench.mkdir(parents=True)
            # While this lies here, publishing the bench's last file does not remove the bench.
            (bench / IN_USE).touch()
            try:
                yield bench
            finally:
                (bench / IN_USE).unlink(missing_ok=True)
                _remove_empty(bench)

    def stage(self, path: Path) -> str:
        """Put a finished file where any worker can publish it from, under a unique name."""
        if not is_remote(self.root):
            return str(path)
        staged = f"{self._unique()}/{path.name}"
        _patiently(staged, lambda: store_for(staged).upload(staged, path))
        path.unlink()
        return staged

    def publish(self, staged: str, final: str, num_bytes: int | None = None) -> int:
        """Move a staged file to its final name, in one step; doing it twice is doing it once."""
        self._check_going()
        self.check(staged)
        self.check(final)
        try:
            if is_remote(final):
                _patiently(final, lambda: store_for(final).move(staged, final))
            else:
                _patiently(final, lambda: _move(staged, final))
                if staged.startswith(self.staging):
                    _remove_empty(Path(staged).parent)
        except OSError as error:
            if is_passing(error):  # and still is: the questions below would take as long again
                raise
            # A replayed publication finds the file moved already; everything else is an accident.
            published = not exists(staged) and exists(final) and not is_folder(final)
            if not published or (num_bytes is not None and size_of(final) != num_bytes):
                raise
        return size_of(final) if num_bytes is None else num_bytes

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone is removed."""
        if is_remote(path):
            delete([path])
        else:
            self.check(path)
            _patiently(path, lambda: Path(path).unlink(missing_ok=True))
            if path.startswith(self.staging):
                _remove_empty(Path(path).parent)

    def prepare(self) -> None:
        """Write and remove a file, so that an output that cannot be written to is known at once."""
        probe = f"{self.staging}/can-write"
        if is_remote(probe):
            self.write(probe, b"")
        else:
            self.check(probe)
            _patiently(probe, lambda: _create(probe, b""))
        self.remove(probe)

    def sweep(self) -> None:
        """Remove what this run staged, and the common staging folder when nobody else uses it."""
        if is_remote(self.root):
            leftover = list(files_below(self.staging))
            if leftover:
                delete(leftover)
            return
        if not is_straight(self.staging, self.root):
            return  # behind a link nothing is ours
        staging = Path(self.staging)
        for path in sorted(staging.glob("*"), key=lambda path: path.name == ALIVE):
            # The mark goes last: killed in between, what is left is known to be nobody's.
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                path.unlink()
        shutil.rmtree(staging, ignore_errors=True)
        _remove_empty(staging.parent)

    def _check_going(self) -> None:
        """Nothing new is staged, published or written by a run that was given up."""
        if is_halted(self.staging):
            raise OSError("the run is being stopped")

    def _unique(self) -> str:
        self._check_going()
        return f"{self.staging}/{uuid.uuid4().hex}"


def _patiently(uri: str, work: Callable[[], T]) -> T:
    """What ``work`` on this file gives, however often it takes within its time."""
    try:
        return retried(work, STORE_SECONDS if is_remote(uri) else DISK_SECONDS)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = uri  # who writes to an open file is not told which one it is
        raise


def _looked_at(uri: str) -> Found:
    found = _patiently(uri, lambda: store_for(uri).look(uri))
    if found is None:
        raise FileNotFoundError(errno.ENOENT, "No such object", uri)
    return found


def _is_object(uri: str) -> bool:
    return _patiently(uri, lambda: store_for(uri).look(uri)) is not None


def _create(path: str, data: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)


@contextmanager
def _removed_unless_whole(part: str) -> Iterator[None]:
    """A file that could not be finished is in the way of others, on a full disk most of all."""
    whole = False
    try:
        yield
        whole = True
    finally:
        if not whole:
            with contextlib.suppress(OSError):
                Path(part).unlink()


def _move(part: str, final: str) -> None:
    Path(final).parent.mkdir(parents=True, exist_ok=True)
    Path(part).replace(final)


def _remove_empty(folder: Path) -> None:
    """Remove a folder unless something lies in it (still, or again)."""
    with contextlib.suppress(OSError):
        folder.rmdir()
