"""The shelf: local disk or object store. The only file that knows the difference.

Whatever is written under a final name is whole: bytes are first put under the run's own staging
folder and then moved into place in one step (local disk), or written by an upload that appears
when it is complete (object store). Two attempts at the same work may both write; names are
deterministic, so either result is the result.

Everything here tries again for a while when a disk or a store is only busy or out of reach
(``retry.py``), and then fails with an ``OSError``.
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeVar, cast

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from finecut.io.retry import DEADLINE_SECONDS, ShortRead, is_passing, retried

T = TypeVar("T")

#: How long passing trouble is waited out. A disk that is still in trouble then is no busy server.
DISK_SECONDS, STORE_SECONDS = 30.0, DEADLINE_SECONDS

#: Where Google's library looks for a stand-in of its store.
EMULATOR = "STORAGE_EMULATOR_HOST"

IN_USE = ".in-use"
#: Lies in a run's staging folder, and is locked, as long as the run lives (see :mod:`staging`).
ALIVE = "alive"

#: Set when the process is about to end: nothing new is staged from then on.
STOPPING = threading.Event()


def is_remote(uri: str) -> bool:
    return "://" in uri


def is_reachable(uri: str) -> bool:
    """Whether there is a file system for this kind of path."""
    try:
        FileSystems.get_filesystem(uri)
    except ValueError:
        return False
    return True


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
        return _is_object(uri) or next(files_below(uri), None) is not None
    return _patiently(uri, Path(uri).exists)


def is_folder(uri: str) -> bool:
    if is_remote(uri):
        return not _is_object(uri)
    return Path(uri).is_dir()


def is_file(uri: str) -> bool:
    """Whether this can be read twice and measured: no folder, pipe or device."""
    return is_remote(uri) or Path(uri).is_file()


def _refuse(error: OSError) -> None:
    """A folder that cannot be read may hide videos: better to stop than to pretend it is empty."""
    raise error


def files_below(folder: str) -> Iterator[str]:
    """Every file at any depth; symlinked files are listed, symlinked folders are not entered."""
    if is_remote(folder):
        yield from (found.path for found in _listed(_below(folder)))
    else:
        yield from _patiently(folder, lambda: list(_walk(folder)))


def _walk(folder: str) -> Iterator[str]:
    for here, folders, files in os.walk(folder, onerror=_refuse):
        folders.sort()
        yield from (f"{here}/{name}" for name in sorted(files))


def some_file_in(folder: str, suffix: str) -> str | None:
    """Any one file of a folder whose name ends so, without listing them all."""
    if is_remote(folder):
        found = _listed(f"{glob.escape(folder)}/*{suffix}", limit=1)
        return next((file.path for file in found), None)
    if not Path(folder).is_dir():
        return None
    with os.scandir(folder) as entries:
        named = (entry for entry in entries if entry.name.endswith(suffix))
        return next((entry.path for entry in named if entry.is_file()), None)


def folders_in(folder: str) -> list[str]:
    """The folders in a folder, by their paths; none if there is no such folder."""
    if is_remote(folder):
        beginning = folder.rstrip("/") + "/"
        below = (path[len(beginning) :] for path in files_below(folder))
        return sorted({beginning + rest.split("/")[0] for rest in below if "/" in rest})
    if not Path(folder).is_dir():
        return []
    return sorted(f"{folder}/{entry.name}" for entry in os.scandir(folder) if entry.is_dir())


def files_in(folder: str) -> list[str]:
    """The files in a folder, by their paths; none if there is no such folder."""
    if is_remote(folder):
        return sorted(found.path for found in _listed(_below(folder, "*")))
    if not Path(folder).is_dir():
        return []
    return sorted(f"{folder}/{entry.name}" for entry in os.scandir(folder) if not entry.is_dir())


def written_below(folder: str) -> Iterator[tuple[str, float]]:
    """Every object below a folder of a store, and when it was written."""
    yield from ((found.path, found.last_updated_in_seconds) for found in _listed(_below(folder)))


def delete(objects: list[str]) -> None:
    """Remove objects of a store."""
    # Beam takes names for patterns here: one with brackets would be another object's.
    names = [glob.escape(name) for name in objects]
    _patiently(objects[0], lambda: _batched(lambda: FileSystems.delete(names)))


def matching(pattern: str) -> list[str]:
    """The files a glob names; ``**`` stands for any depth, also none."""
    if not is_remote(pattern):
        return [path for path in glob.glob(pattern, recursive=True) if not Path(path).is_dir()]  # noqa: PTH207
    return [found.path for found in _listed(pattern)]


def size_of(uri: str) -> int:
    if is_remote(uri):
        return _patiently(uri, lambda: int(FileSystems.get_filesystem(uri).size(uri)))
    return _patiently(uri, Path(uri).stat).st_size


def version_of(uri: str) -> str:
    """What changes when the file is replaced: its size, and when it was written."""
    if is_remote(uri):
        store = FileSystems.get_filesystem(uri)
        return f"{size_of(uri)} {_patiently(uri, lambda: store.last_updated(uri))}"
    found = _patiently(uri, Path(uri).stat)
    return f"{found.st_size} {found.st_mtime_ns}"


def read(uri: str) -> bytes:
    if not is_remote(uri):
        return _patiently(uri, Path(uri).read_bytes)
    with _opened(uri) as file:
        return file.read()


@contextmanager
def open_source(uri: str) -> Iterator[str | BinaryIO]:
    """What the decoder reads from: a path where there is one, else ranged reads of the object."""
    if not is_remote(uri):
        yield uri
        return
    with _opened(uri) as file:
        yield file


def _opened(uri: str) -> BinaryIO:
    return cast(BinaryIO, _Steady(uri, _patiently(uri, lambda: _open(uri))))


def _open(uri: str) -> BinaryIO:
    return FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)


class _Steady(io.RawIOBase):
    """An object that is read in ranges, each again when it broke off or came short.

    A decoder takes an early end for the end of the film. So what is missing is an error here, and
    PyAV hands it on as it is. The object stays open: one that replaced it shall not continue it.
    """

    def __init__(self, uri: str, file: BinaryIO) -> None:
        super().__init__()
        self._uri, self._file = uri, file
        self._size = file.seek(0, os.SEEK_END)
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._place)
        wanted = left if size is None or size < 0 else min(size, left)
        data = _patiently(self._uri, lambda: self._range(wanted)) if wanted else b""
        self._place += len(data)
        return data

    def _range(self, wanted: int) -> bytes:
        self._file.seek(self._place)
        data = self._file.read(wanted)
        if len(data) < wanted:
            raise ShortRead(
                f"{self._uri} gave {len(data)} of the {wanted} bytes from {self._place} on, of "
                f"{self._size} altogether. Usually the store or the way to it is overloaded; run "
                "the same command again."
            )
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(frozen=True)
class Shelf:
    """Where one run writes. ``staging`` is the folder only this run uses."""

    root: str
    staging: str

    def write(self, path: str, data: bytes) -> int:
        """Write a whole file under its final name; the number of bytes comes back."""
        if is_remote(path):
            _patiently(path, lambda: _create(path, data))
        else:
            _patiently(path, lambda: self._replace(path, data))
        return len(data)

    def _replace(self, path: str, data: bytes) -> None:
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
            with TemporaryDirectory(prefix="finecut-") as folder:
                yield Path(folder)
        else:
            bench = Path(self._unique())
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
        _patiently(staged, lambda: _upload(path, staged))
        path.unlink()
        return staged

    def publish(self, staged: str, final: str, num_bytes: int | None = None) -> int:
        """Move a staged file to its final name, in one step; doing it twice is doing it once."""
        try:
            if is_remote(final):
                _patiently(final, lambda: _batched(lambda: FileSystems.rename([staged], [final])))
            else:
                _patiently(final, lambda: _move(staged, final))
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
            if _is_object(path):
                delete([path])
        else:
            _patiently(path, lambda: Path(path).unlink(missing_ok=True))
            if path.startswith(self.staging):
                _remove_empty(Path(path).parent)

    def prepare(self) -> None:
        """Write and remove a file, so that an output that cannot be written to is known at once."""
        probe = f"{self.staging}/can-write"
        _patiently(probe, lambda: _create(probe, b""))
        self.remove(probe)

    def sweep(self) -> None:
        """Remove what this run staged, and the common staging folder when nobody else uses it."""
        if is_remote(self.root):
            leftover = list(files_below(self.staging))
            if leftover:
                delete(leftover)
            return
        staging = Path(self.staging)
        for path in sorted(staging.glob("*"), key=lambda path: path.name == ALIVE):
            # The mark goes last: killed in between, what is left is known to be nobody's.
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                path.unlink()
        shutil.rmtree(staging, ignore_errors=True)
        _remove_empty(staging.parent)

    def _unique(self) -> str:
        if STOPPING.is_set():
            raise OSError("the run is being stopped")
        return f"{self.staging}/{uuid.uuid4().hex}"


def _patiently(uri: str, work: Callable[[], T]) -> T:
    """What ``work`` on this file gives, however often it takes within its time."""
    if is_remote(uri):
        _stay_anonymous()
    return retried(work, STORE_SECONDS if is_remote(uri) else DISK_SECONDS)


def _batched(work: Callable[[], None]) -> None:
    try:
        work()
    except AttributeError as error:
        # Where a batch was refused until Beam gave up, it looks for the status of no answer.
        raise TimeoutError("the store answered no request of a batch") from error


@cache
def _stay_anonymous() -> None:
    """A stand-in of Google's store knows nobody, and looking for credentials takes 20 to 40 s."""
    if EMULATOR in os.environ:
        from apache_beam.internal.gcp import auth

        def nobody(pipeline_options: Any) -> None:
            pass

        auth.get_service_credentials = nobody


def _is_object(uri: str) -> bool:
    return _patiently(uri, lambda: bool(FileSystems.exists(uri)))


def _below(folder: str, names: str = "**") -> str:
    """The pattern of what lies in a folder of a store, whatever the folder is called."""
    return f"{glob.escape(folder.rstrip('/'))}/{names}"


def _listed(pattern: str, limit: int | None = None) -> list[Any]:
    """What a store says of the objects that a pattern names."""
    [result] = _patiently(pattern, lambda: FileSystems.match([pattern], limits=[limit]))
    return list(result.metadata_list)


def _create(path: str, data: bytes) -> None:
    with _writer(path) as out:
        out.write(data)


def _upload(file: Path, path: str) -> None:
    with file.open("rb") as data, _writer(path) as out:
        shutil.copyfileobj(data, out, 1 << 20)


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


@contextmanager
def _writer(path: str) -> Iterator[BinaryIO]:
    """A new file. If it cannot be finished, a store has none of it, and a disk a part."""
    out = FileSystems.create(
        path, "application/octet-stream", compression_type=CompressionTypes.UNCOMPRESSED
    )
    whole = False
    try:
        with out:
            yield out
        whole = True
    finally:
        # Google's writer begins to upload again when it is collected, for minutes, unless there is
        # nothing to upload.
        left = None if whole else getattr(out, "_buffer", None)
        if left is not None:
            left.close()


def _move(part: str, final: str) -> None:
    Path(final).parent.mkdir(parents=True, exist_ok=True)
    Path(part).replace(final)


def _remove_empty(folder: Path) -> None:
    """Remove a folder unless something lies in it (still, or again)."""
    with contextlib.suppress(OSError):
        folder.rmdir()
