"""The shelf: local disk or object store. The only file that knows the difference.

Whatever is written under a final name is whole: bytes are first put under the run's own staging
folder and then moved into place in one step (local disk), or written by an upload that appears
when it is complete (object store). Two attempts at the same work may both write; names are
deterministic, so either result is the result.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

IN_USE = ".in-use"

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
    return uri if is_remote(uri) else os.path.realpath(uri)


def is_symlink(uri: str) -> bool:
    return not is_remote(uri) and Path(uri).is_symlink()


def exists(uri: str) -> bool:
    """Whether there is a file or folder of this name (a remote prefix counts as a folder)."""
    if is_remote(uri):
        return bool(FileSystems.exists(uri) or next(files_below(uri), None))
    return Path(uri).exists()


def is_folder(uri: str) -> bool:
    if is_remote(uri):
        return not FileSystems.exists(uri)
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
        [result] = FileSystems.match([folder.rstrip("/") + "/**"])
        yield from (found.path for found in result.metadata_list)
        return
    for here, folders, files in os.walk(folder, onerror=_refuse):
        folders.sort()
        yield from (f"{here}/{name}" for name in sorted(files))


def some_file_in(folder: str, suffix: str) -> str | None:
    """Any one file of a folder whose name ends so, without listing them all."""
    if is_remote(folder):
        [result] = FileSystems.match([f"{folder}/*{suffix}"], limits=[1])
        return next((found.path for found in result.metadata_list), None)
    if not Path(folder).is_dir():
        return None
    with os.scandir(folder) as entries:
        named = (entry for entry in entries if entry.name.endswith(suffix))
        return next((entry.path for entry in named if entry.is_file()), None)


def matching(pattern: str) -> list[str]:
    """The files a glob names; ``**`` stands for any depth, also none."""
    if not is_remote(pattern):
        return [path for path in glob.glob(pattern, recursive=True) if not Path(path).is_dir()]  # noqa: PTH207
    [result] = FileSystems.match([pattern])
    return [found.path for found in result.metadata_list]


def size_of(uri: str) -> int:
    if is_remote(uri):
        return int(FileSystems.get_filesystem(uri).size(uri))
    return Path(uri).stat().st_size


def version_of(uri: str) -> str:
    """What changes when the file is replaced: its size, and when it was written."""
    if is_remote(uri):
        return f"{size_of(uri)} {FileSystems.get_filesystem(uri).last_updated(uri)}"
    found = Path(uri).stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def read(uri: str) -> bytes:
    with FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read()


@contextmanager
def open_source(uri: str) -> Iterator[str | BinaryIO]:
    """What the decoder reads from: a path where there is one, else ranged reads of the object."""
    if not is_remote(uri):
        yield uri
        return
    with FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        yield file


@dataclass(frozen=True)
class Shelf:
    """Where one run writes. ``staging`` is the folder only this run uses."""

    root: str
    staging: str

    def write(self, path: str, data: bytes) -> int:
        """Write a whole file under its final name; the number of bytes comes back."""
        if is_remote(path):
            _create(path, data)
        else:
            part = self._unique()
            _create(part, data)
            _move(part, path)
        return len(data)

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
        with path.open("rb") as file, _writer(staged) as out:
            shutil.copyfileobj(file, out, 1 << 20)
        path.unlink()
        return staged

    def publish(self, staged: str, final: str, num_bytes: int | None = None) -> int:
        """Move a staged file to its final name, in one step; doing it twice is doing it once."""
        try:
            if is_remote(final):
                FileSystems.rename([staged], [final])
            else:
                _move(staged, final)
                _remove_empty(Path(staged).parent)
        except OSError:
            # A replayed publication finds the file moved already; everything else is an accident.
            published = not exists(staged) and exists(final) and not is_folder(final)
            if not published or (num_bytes is not None and size_of(final) != num_bytes):
                raise
        return size_of(final) if num_bytes is None else num_bytes

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone is removed."""
        if is_remote(path):
            if FileSystems.exists(path):
                FileSystems.delete([path])
        else:
            Path(path).unlink(missing_ok=True)
            if path.startswith(self.staging):
                _remove_empty(Path(path).parent)

    def prepare(self) -> None:
        """Write and remove a file, so that an output that cannot be written to is known at once."""
        probe = f"{self.staging}/can-write"
        _create(probe, b"")
        self.remove(probe)

    def sweep(self) -> None:
        """Remove what this run staged, and the common staging folder when nobody else uses it."""
        if is_remote(self.root):
            leftover = list(files_below(self.staging))
            if leftover:
                FileSystems.delete(leftover)
            return
        shutil.rmtree(self.staging, ignore_errors=True)
        _remove_empty(Path(self.staging).parent)

    def _unique(self) -> str:
        if STOPPING.is_set():
            raise OSError("the run is being stopped")
        return f"{self.staging}/{uuid.uuid4().hex}"


def _create(path: str, data: bytes) -> None:
    with _writer(path) as out:
        out.write(data)


def _writer(path: str) -> BinaryIO:
    return FileSystems.create(
        path, "application/octet-stream", compression_type=CompressionTypes.UNCOMPRESSED
    )


def _move(part: str, final: str) -> None:
    Path(final).parent.mkdir(parents=True, exist_ok=True)
    Path(part).replace(final)


def _remove_empty(folder: Path) -> None:
    """Remove a folder unless something lies in it (still, or again)."""
    with contextlib.suppress(OSError):
        folder.rmdir()
