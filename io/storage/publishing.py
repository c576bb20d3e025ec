"""Writing files, on a local disk or to an object store.

Whatever is written under a final name is whole: bytes are first put under the run's own staging
folder and then moved into place in one step (local disk), or written by an upload that appears
when it is complete (object store). Two attempts at the same work may both write; names are
deterministic, so either result is the result.

A file that is made on this machine goes to a store once, under its final name. Only where another
machine may publish it, it is staged on the store, and copied there.

Nothing that is written, listed for removal or removed leaves its :class:`Shelf`'s root, but for
files of this machine that are about to be published to a store. Trouble is waited out as in
:mod:`files`.
"""

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from finecut.io.storage.fence import NO_FENCE, Fence, is_halted, is_straight, refuse_behind_link
from finecut.io.storage.files import (
    appears_whole,
    delete,
    exists,
    files_below,
    is_folder,
    is_remote,
    patiently,
    read_if_there,
    size_of,
)
from finecut.io.storage.on_disk import NotAFile
from finecut.io.storage.retry import is_passing
from finecut.io.storage.stores import LOOKS, replaced_again, store_for

IN_USE = ".in-use"
#: Lies in a run's staging folder, and is locked, as long as the run lives (see :mod:`staging`).
ALIVE = "alive"
#: How files beside those folders are called by which runs take turns.
LOCK = ("finecut-", ".lock")


@dataclass(frozen=True)
class Shelf:
    """Where one run writes. ``staging`` is the folder only this run uses."""

    root: str
    staging: str
    #: What else is not left, wherever this arrives (see :mod:`fence`).
    fence: Fence = NO_FENCE
    #: On a store: whoever makes files publishes them, too, so that they wait on this machine.
    keeps: bool = False
    #: Where on this machine; each process finds its own (see :mod:`kept`).
    kept_in: str = ""

    def check(self, path: str) -> None:
        """Raise :class:`LeadsOutside` for a path that is not really below the root."""
        if not is_remote(path):
            refuse_behind_link(path, self.root)

    def write(self, path: str, data: bytes) -> int:
        """Write a whole file under its final name; the number of bytes comes back."""
        self._check_going()
        if is_remote(path):
            patiently(path, lambda: store_for(path).create(path, data))
        else:
            patiently(path, lambda: self._replace(path, data))
        return len(data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a file if there is none; whether nobody else has. On a disk that is not known, so
        nothing is written.
        """
        self._check_going()
        if not appears_whole(path):
            return False
        return patiently(path, lambda: store_for(path).replace(path, data, None))

    def _replace(self, path: str, data: bytes) -> None:
        self.check(path)
        part = self._unique()
        try:
            _create(part, data)
            _move(part, path)
        finally:
            # What could not be finished is in the way of others, on a full disk most of all.
            with contextlib.suppress(OSError):
                Path(part).unlink()

    def update(self, path: str, change: Callable[[bytes], bytes]) -> int:
        """Write what ``change`` makes of the file as it is (nothing, if there is none), or remove
        it if that is nothing; the number of bytes comes back.

        What others make of it at the same time is not lost: they take turns on a disk, and look
        again on a store.
        """
        self._check_going()
        if is_remote(path):
            return patiently(path, lambda: self._update_there(path, change))
        with self.alone("update"):
            there = b""
            with contextlib.suppress(NotAFile):
                there = read_if_there(path) or b""
            data = change(there)
            if not data:
                self.remove(path)
            elif data != there:
                self.write(path, data)
        return len(data)

    def _update_there(self, path: str, change: Callable[[bytes], bytes]) -> int:
        store = store_for(path)
        seen = store.look(path)
        there = b"" if seen is None else store.read(path)
        data = change(there)
        if data != there and not store.replace(path, data, seen):
            raise TimeoutError(f"{path} was changed by another run at the same moment")
        return len(data)

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Within, nobody else below this root does the same; others wait for their turn.

        On a store, and where a file system has no locks, nobody waits.
        """
        if is_remote(self.root):
            yield
            return
        path = Path(self.staging).with_name(f"{LOCK[0]}{what}{LOCK[1]}")
        self.check(str(path))
        file = _locked(path)
        try:
            yield
        finally:
            # Whoever waits for it sees that it is gone, and makes another.
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)  # a copy of this process may hold it open
            os.close(file)
        _remove_empty(path.parent)

    def sweep_locks(self) -> None:
        """Remove those that killed runs left; whoever waits for one makes another."""
        for path in Path(self.staging).parent.glob("*".join(LOCK)):
            with contextlib.suppress(OSError):
                self.check(str(path))
                file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(file)

    @contextmanager
    def bench(self) -> Iterator[Path]:
        """A local folder to make files in, before :meth:`stage` puts them on the shelf.

        On a local shelf it lies in the staging folder, so that staging copies nothing.
        """
        if is_remote(self.root) and not self.kept_in:
            from finecut.io.storage.staging import temporary_folder  # which is made of shelves

            with temporary_folder(sweeping=False) as folder:
                yield Path(folder)
        else:
            bench = Path(self._unique(self.kept_in))
            if not self.kept_in:
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
        """Put a finished file where any worker can publish it from, under a unique name; or leave
        it where it is, if this one does.
        """
        if self.kept_in or not is_remote(self.root):
            return str(path)
        return self.share(path)

    def share(self, path: Path) -> str:
        """Put a file of this machine where any can publish it from, under a unique name."""
        staged = f"{self._unique()}/{path.name}"
        patiently(staged, lambda: store_for(staged).upload(staged, path))
        path.unlink()
        return staged

    def publish(self, staged: str, final: str, num_bytes: int | None = None) -> int:
        """Move a staged file to its final name, in one step; doing it twice is doing it once.

        A file of this machine is sent to a store, and removed.
        """
        self._check_going()
        for path in (staged, final):
            if not self.waits_here(path):
                self.check(path)
        try:
            if self.waits_here(staged):
                num_bytes = self._publish_from_here(Path(staged), final)
            elif is_remote(final):
                patiently(final, lambda: store_for(final).move(staged, final))
            else:
                patiently(final, lambda: _move(staged, final))
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

    def waits_here(self, path: str) -> bool:
        """Whether this is a file of this machine that is to go to a store."""
        return is_remote(self.root) and not is_remote(path)

    def _publish_from_here(self, file: Path, final: str) -> int:
        num_bytes = file.stat().st_size
        if appears_whole(final):
            patiently(final, lambda: _send(file, final))
            file.unlink()
        else:
            staged = self.share(file)
            patiently(final, lambda: store_for(final).move(staged, final))
        _remove_empty(file.parent)
        return num_bytes

    def remove(self, *paths: str) -> None:
        """Remove files, in any order; one that is gone is removed."""
        delete([path for path in paths if is_remote(path)])
        for path in paths:
            if is_remote(path):
                continue
            waits = self.waits_here(path)
            if not waits:
                self.check(path)
            patiently(path, partial(Path(path).unlink, missing_ok=True))
            if waits or path.startswith(self.staging):
                _remove_empty(Path(path).parent)

    def remove_emptied(self, folder: str) -> None:
        """Remove a folder if nothing lies in it, and those around it; what lies in the root itself
        stays.
        """
        here, root = Path(folder), Path(self.root)
        while not is_remote(folder) and root in here.parent.parents:
            self.check(str(here))
            _remove_empty(here)
            here = here.parent

    def prepare(self) -> None:
        """Write and remove a file, so that an output that cannot be written to is known at once."""
        probe = f"{self.staging}/can-write"
        self.write(probe, b"")
        self.remove(probe)

    def sweep(self) -> None:
        """Remove what this run staged, and the common staging folder when nobody else uses it."""
        if is_remote(self.root):
            from finecut.io.storage.kept import sweep_kept  # which is made of shelves

            sweep_kept(self.staging)
            delete(list(files_below(self.staging)))
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

    def _unique(self, folder: str = "") -> str:
        self._check_going()
        return f"{folder or self.staging}/{uuid.uuid4().hex}"


def _send(file: Path, final: str) -> None:
    """Write an object from a file, in place of what was there when this began."""
    store, seen = store_for(final), None
    for _ in range(LOOKS):
        # Usually nothing is there; that need not be asked first.
        if store.put(final, file, seen):
            return
        seen = store.look(final)
    raise replaced_again(final)


def _locked(path: Path) -> int:
    """The file of this name, locked; made again if whoever had it has removed it."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(path)):  # noqa: PTH116
                    return file
            os.close(file)


def _create(path: str, data: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)


def _move(part: str, final: str) -> None:
    Path(final).parent.mkdir(parents=True, exist_ok=True)
    Path(part).replace(final)


def _remove_empty(folder: Path) -> None:
    """Remove a folder unless something lies in it (still, or again)."""
    with contextlib.suppress(OSError):
        folder.rmdir()
