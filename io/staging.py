"""Staging: who works in which folder under ``.staging/``, and which of them are left over.

    .staging/1f3a…/alive     locked by the process that runs; the system lets go of the lock when
                             the process ends, however it ends
    .staging/77b0…/alive     not locked: its run was killed; swept by the next one

Locks are known on one machine, or wherever the file system passes them on. Where it has none, the
mark's time says it: a run renews it twice a minute, and one that was silent for ten is dead, or for
one, if its process is gone from this machine. Runs on clusters, on
stores and in pipelines of one's own lock nothing: what they left is swept when nothing in it is
younger than a week. The mark is the first file of a folder and the last to go.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TextIO

from finecut.io import shelf
from finecut.io.fence import is_straight
from finecut.io.shelf import ALIVE, Shelf

LOG = logging.getLogger("finecut")

LONG_AGO: Final = 7 * 86400.0
#: Where there are no locks: how often a mark is renewed, and after how long a silence it is dead.
BEAT_SECONDS: Final = 30.0
SILENT_SECONDS: Final = 600.0
#: What a file system says of a file that somebody else has locked. Whatever else it says (ENOLCK,
#: ENOSYS, EOPNOTSUPP …), it has no locks, or no server for them.
HELD: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES})


@dataclass(frozen=True)
class Running:
    """Who works in a folder."""

    host: str
    process: int
    configuration: str
    #: The work is done elsewhere, and may go on when this process has ended.
    elsewhere: bool = False
    #: There are no locks: its mark is renewed as long as it lives.
    beats: bool = False


@contextmanager
def alive(own: Shelf, configuration: str, elsewhere: bool = False) -> Iterator[None]:
    """Within, others see that the run's staging folder is in use."""
    if shelf.is_remote(own.root):
        yield
        return
    own.check(f"{own.staging}/{ALIVE}")
    file, locked = _marked(Path(own.staging))
    running = Running(socket.gethostname(), os.getpid(), configuration, elsewhere, beats=not locked)
    with file, _beating(Path(own.staging) / ALIVE, running.beats):
        json.dump(asdict(running), file)
        file.flush()
        try:
            yield
        finally:
            if not elsewhere:
                own.sweep()


def _marked(folder: Path) -> tuple[TextIO, bool]:
    """The mark of a folder, and whether it is locked: made again if somebody took the new folder
    for a dead one.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = (folder / ALIVE).open("a+")
            locked = _lock(file)
            there = os.path.samestat(os.fstat(file.fileno()), (folder / ALIVE).stat())
            if there and locked is not False:
                return file, locked is True
        except FileNotFoundError:
            continue
        file.close()


@contextmanager
def _beating(mark: Path, beats: bool) -> Iterator[None]:
    """Within, the mark is renewed again and again, where no lock says that its run lives."""
    if not beats:
        yield
        return
    LOG.error(
        "there are no locks where %s lies, so finecut keeps a mark there up to date instead. "
        "Before you start a run there after one that was killed, wait %.0f minutes",
        mark.parent.parent,
        SILENT_SECONDS / 60,
    )
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(mark)

    heart = threading.Thread(target=beat, name="finecut-mark", daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()


def sweep_dead(own: Shelf, now: float | None = None, only_marked: bool = False) -> list[Running]:
    """Remove what runs that ended left in staging; who is still at work comes back.

    ``only_marked``: of a folder that need not be finecut's, where ``.staging`` may be somebody's.
    """
    now = time.time() if now is None else now
    staging = own.staging.rpartition("/")[0]
    if shelf.is_remote(staging):
        if not only_marked:
            _sweep_store(staging, now)
        return []
    at_work = []
    for folder in shelf.folders_in(staging):
        if folder == own.staging or not is_straight(folder, own.root):
            continue  # behind a link nothing was staged
        # Its lock is held until it is gone: who has just made it would take it otherwise.
        with contextlib.ExitStack() as held:
            running = _at_work(Path(folder), now, held)
            if running is not None:
                at_work.append(running)
            elif only_marked and not (Path(folder) / ALIVE).exists():
                continue
            elif not _may_live(Path(folder), now):
                Shelf(own.root, folder).sweep()
    return at_work


def _at_work(folder: Path, now: float, held: contextlib.ExitStack) -> Running | None:
    """Who works there, if anybody does; the lock of who does not is held by whoever asked."""
    try:
        file = held.enter_context((folder / ALIVE).open())
        locked = _lock(file)
        silence = now - os.fstat(file.fileno()).st_mtime
        running = Running(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None
    lives = locked is False or (running.beats and _is_heard(running, silence))
    if locked is None and not running.beats:  # it has locks, and they cannot be asked for here
        lives = silence < LONG_AGO and not _is_gone(running)
    if lives or (running.elsewhere and now - _youngest(folder) < LONG_AGO):
        return running
    return None


def _is_heard(running: Running, silence: float) -> bool:
    """Whether a run lives that renews its mark. One that is not seen may be in a container."""
    return silence < (2 * BEAT_SECONDS if _is_gone(running) else SILENT_SECONDS)


def _is_gone(running: Running) -> bool:
    """Whether its process was one of this machine, and is no more."""
    if running.host != socket.gethostname():
        return False
    try:
        os.kill(running.process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError, TypeError):  # somebody else's, or the mark is none of ours
        return False
    return False


def _may_live(folder: Path, now: float) -> bool:
    """Whether it may be of a run that marks nothing: pipelines of one's own, workers elsewhere."""
    with contextlib.suppress(FileNotFoundError):
        mark = (folder / ALIVE).stat()
        # Made a moment ago, its run has not said yet who it is.
        return not mark.st_size and now - mark.st_mtime < BEAT_SECONDS
    holds = any(files for _, _, files in os.walk(folder))
    return holds and now - _youngest(folder) < LONG_AGO


def _lock(file: TextIO) -> bool | None:
    """Whether the file is locked by us now; ``None`` where there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in HELD else None
    return True


def _youngest(folder: Path) -> float:
    """When anything in it was written last."""
    times = [0.0]
    for here, _, files in os.walk(folder):
        for path in (here, *(f"{here}/{name}" for name in files)):
            with contextlib.suppress(OSError):
                times.append(Path(path).stat().st_mtime)
    return max(times)


def _sweep_store(staging: str, now: float) -> None:
    """Remove the objects of runs that wrote nothing for a week."""
    runs: dict[str, list[tuple[str, float]]] = {}
    for path, written in shelf.written_below(staging):
        runs.setdefault(path[len(staging) + 1 :].split("/")[0], []).append((path, written))
    for found in runs.values():
        if now - max(written for _, written in found) > LONG_AGO:
            shelf.delete([path for path, _ in found])
