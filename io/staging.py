"""Staging: who works in which folder under ``.staging/``, and which of them are left over.

    .staging/1f3a…/alive     locked by the process that runs; the system lets go of the lock when
                             the process ends, however it ends
    .staging/77b0…/alive     not locked: its run was killed; swept by the next one

Locks are known on one machine, or wherever the file system passes them on. Runs on clusters, on
stores and in pipelines of one's own lock nothing: what they left is swept when nothing in it is
younger than a week. The mark is the first file of a folder and the last to go.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TextIO

from finecut.io import shelf
from finecut.io.shelf import ALIVE, Shelf

LONG_AGO: Final = 7 * 86400.0


@dataclass(frozen=True)
class Running:
    """Who works in a folder."""

    host: str
    process: int
    configuration: str
    #: The work is done elsewhere, and may go on when this process has ended.
    elsewhere: bool = False


@contextmanager
def alive(own: Shelf, configuration: str, elsewhere: bool = False) -> Iterator[None]:
    """Within, others see that the run's staging folder is in use."""
    if shelf.is_remote(own.root):
        yield
        return
    running = Running(socket.gethostname(), os.getpid(), configuration, elsewhere)
    with _marked(Path(own.staging)) as file:
        json.dump(asdict(running), file)
        file.flush()
        try:
            yield
        finally:
            if not elsewhere:
                own.sweep()


def _marked(folder: Path) -> TextIO:
    """The locked mark of a folder: made again if somebody took the new folder for a dead one."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = (folder / ALIVE).open("a+")
            if _lock(file) and os.path.samestat(os.fstat(file.fileno()), (folder / ALIVE).stat()):
                return file
        except FileNotFoundError:
            continue
        file.close()


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
        if folder == own.staging:
            continue
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
        locked = not _lock(file)
        running = Running(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None
    if locked or (running.elsewhere and now - _youngest(folder) < LONG_AGO):
        return running
    return None


def _may_live(folder: Path, now: float) -> bool:
    """Whether it may be of a run that marks nothing: pipelines of one's own, workers elsewhere."""
    if (folder / ALIVE).exists():
        return False
    holds = any(files for _, _, files in os.walk(folder))
    return holds and now - _youngest(folder) < LONG_AGO


def _lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
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
