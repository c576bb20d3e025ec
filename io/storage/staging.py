"""Staging: which run works in which folder under ``.staging/``, and which of them are left over.

    .staging/1f3a…/alive     locked by the process that runs; the system lets go of the lock when
                             the process ends, however it ends
    .staging/77b0…/alive     not locked: its run was killed; swept by the next one

Locks are known on one machine, or wherever the file system passes them on. Where it has none, the
mark's time says it: a run renews it twice a minute, and one that was silent for ten is dead, or for
one, if its process is gone from this machine. Runs on clusters, on
stores and in pipelines of one's own lock nothing: what they left is swept when nothing in it is
younger than a week. The mark is the first file of a folder and the last to go.

Temporary folders of this machine are marked in the same way, so they do not outlive the process
that made them::

    TMPDIR/finecut-work-1000/1f3a…/alive

A folder of ``tempfile`` stays for ever when its process is killed. These lie together in one folder
that only their user can write to, so nobody else's are looked at, and nobody can plant any.

Scratch is a machine-local place for what can be made again, with a limit on its bytes::

    scratch = Scratch(budget=1 << 30)
    scratch.put("sheet-1", [head, data])
    scratch.get("sheet-1")       # the data, or None: it may have had to make room

Nothing may depend on finding something here. All processes of one user on one machine share the
folder and the budget, and files older than ten minutes make room for new ones; so what a killed run
left behind goes by itself, and no run takes another's away while it is needed. It is a folder of
its own wherever it lies (``finecut-<user>``, for its owner only), and nothing else is ever touched.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import stat
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias

from finecut.io.storage import files as shelf
from finecut.io.storage.fence import LOG, is_straight
from finecut.io.storage.publishing import ALIVE, Shelf
from finecut.io.storage.remains import LONG_AGO, sweep_store

#: What a command that writes no clips says it makes.
MAKES_NO_CLIPS: Final = ""
#: Where there are no locks: how often a mark is renewed, and after how long a silence it is dead.
BEAT_SECONDS: Final = 30.0
SILENT_SECONDS: Final = 600.0
#: How often, and how many seconds apart, a mark is read that its owner has not written yet.
READ_TRIES: Final = 50
READ_PAUSE: Final = 0.01
#: What a file system says of a file that somebody else has locked. Whatever else it says (ENOLCK,
#: ENOSYS, EOPNOTSUPP …), it has no locks, or no server for them.
HELD: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES})

#: Keeps the common folder: one that goes and comes again could be made by somebody else meanwhile.
KEEP: Final = "keep"
#: What the marks of these folders say they are for; they are never shared, so it is no more.
TEMPORARY: Final = "temporary"
#: Bytes, or anything whose memory can be read as such.
Buffer: TypeAlias = Any

PART = ".part"
#: Seconds for which a file is let alone: somebody may be about to need it.
FRESH = 600
#: Names are made of these and of letters and digits, so that none leaves the folder.
PLAIN = "-_."


@dataclass(frozen=True)
class Running:
    """The run that works in a folder."""

    host: str
    process: int
    configuration: str
    #: The work is done elsewhere, and may go on when this process has ended.
    elsewhere: bool = False
    #: There are no locks: its mark is renewed as long as it lives.
    beats: bool = False
    #: Others work beside it on other machines, to which locks may not be passed on. It is renewed,
    #: too, and they believe that more than a lock that they get.
    spread: bool = False
    #: What it waits for without end; nothing of a run that ends by itself.
    watches: str = ""


@contextmanager
def alive(
    own: Shelf, configuration: str, elsewhere: bool = False, spread: bool = False, watches: str = ""
) -> Iterator[None]:
    """Within, others see that the run's staging folder is in use."""
    if shelf.is_remote(own.root):
        yield
        return
    own.check(f"{own.staging}/{ALIVE}")
    # Where even this cannot be made (``/proc``), waiting for the folder below would have no end.
    Path(own.root).mkdir(parents=True, exist_ok=True)
    file, locked = _marked(Path(own.staging))
    host, process = socket.gethostname(), os.getpid()
    running = Running(host, process, configuration, elsewhere)
    running = replace(running, beats=not locked, spread=spread, watches=watches)
    with file, _beating(Path(own.staging) / ALIVE, running):
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
        # Whoever ends removes the common folder, if it is empty at that moment.
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / ALIVE).open("a+")
            locked = _lock(file)
            there = os.path.samestat(os.fstat(file.fileno()), (folder / ALIVE).stat())
            if there and locked is not False:
                return file, locked is True
            file.close()


@contextmanager
def _beating(mark: Path, running: Running) -> Iterator[None]:
    """Within, the mark is renewed again and again, where no lock says that its run lives."""
    if not (running.beats or running.spread):
        yield
        return
    if running.beats:
        LOG.error(
            "the file system of %s has no locks, so finecut keeps a time stamp there up to date "
            "instead. If a run there was killed, wait %.0f minutes before you start the next one",
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
    """Remove what runs that ended left in staging; those still at work are returned.

    ``only_marked``: of a folder that need not be finecut's, where ``.staging`` may be somebody's.
    """
    now = time.time() if now is None else now
    staging = own.staging.rpartition("/")[0]
    if shelf.is_remote(staging):
        if not only_marked:
            sweep_store(staging, own.staging, now)
        return []
    own.sweep_locks()
    at_work = []
    for folder in shelf.folders_in(staging):
        if folder == own.staging or not is_straight(folder, own.root):
            continue  # behind a link nothing was staged
        # Its lock is held until it is gone: a run that has just made it would take it otherwise.
        with contextlib.ExitStack() as held:
            found = _marked_by(Path(folder), held, now)
            if found is not None and found[0]:
                at_work += [] if found[1] is None else [found[1]]
            elif found is not None or not (only_marked or _may_live(Path(folder), now)):
                Shelf(own.root, folder).sweep()
    return at_work


def _marked_by(
    folder: Path, held: contextlib.ExitStack, now: float
) -> tuple[bool, Running | None] | None:
    """Whether the run is at work whose mark lies there, and the run, if the mark could be read. If
    nobody has the mark's lock, whoever asked has it from now on.
    """
    try:
        file = held.enter_context((folder / ALIVE).open())
        locked = _lock(file)
        running, silence = _read(file, locked is False), now - os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    if locked is False:
        return True, running
    if running is None:  # it may have just begun, and not written its mark yet
        return silence < BEAT_SECONDS, None
    if running.beats or (running.spread and running.host != socket.gethostname()):
        # One that is not seen may be in a container.
        lives = silence < (2 * BEAT_SECONDS if _is_gone(running) else SILENT_SECONDS)
    else:  # it has locks; where they cannot be asked for, only time tells
        lives = locked is None and silence < LONG_AGO and not _is_gone(running)
    return lives or (running.elsewhere and now - _youngest(folder) < LONG_AGO), running


def _read(file: TextIO, held_elsewhere: bool) -> Running | None:
    """What a mark says. A run that just locked it writes it a moment later: it is waited for."""
    for _ in range(READ_TRIES if held_elsewhere else 1):
        file.seek(0)
        with contextlib.suppress(ValueError, TypeError):
            return Running(**json.load(file))
        if held_elsewhere:
            time.sleep(READ_PAUSE)
    return None


def _is_gone(running: Running) -> bool:
    """Whether its process was one of this machine, and is no more."""
    try:
        os.kill(running.process, 0)
    except ProcessLookupError:
        return running.host == socket.gethostname()
    except (OSError, OverflowError, TypeError):  # somebody else's, or the mark is none of ours
        return False
    return False


def _may_live(folder: Path, now: float) -> bool:
    """Whether it may be of a run that marks nothing: pipelines of one's own, workers elsewhere."""
    return any(files for _, _, files in os.walk(folder)) and now - _youngest(folder) < LONG_AGO


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


@contextmanager
def temporary_folder(sweeping: bool = True) -> Iterator[str]:
    """A new folder for this process alone; when it is made, those of killed ones are swept.

    ``sweeping``: not where one is made for every clip, or whoever works here looks at all others.
    """
    own = _new()
    with alive(own, TEMPORARY):
        if sweeping:
            sweep_dead(own)
        inside = f"{own.staging}/work"
        Path(inside).mkdir()
        yield inside


def sweep_temporary() -> None:
    """Remove what killed processes of this user left; trouble with that is nobody's trouble."""
    with contextlib.suppress(OSError):
        sweep_dead(_new())


def _new() -> Shelf:
    place = _own_folder(tempfile.gettempdir(), "finecut-work")
    (place / KEEP).touch()
    return Shelf(str(place), f"{place}/{uuid.uuid4().hex}")


@dataclass(frozen=True)
class Scratch:
    """``place``: where its folder lies, if not where the machine has temporary files."""

    budget: int
    place: str = ""

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """Keep these bytes, one after the other, if there is room; whether they were kept."""
        needed = sum(memoryview(part).nbytes for part in parts)
        # A full disk is no accident here: what is not found later is made again.
        with contextlib.suppress(OSError):
            folder = _own_folder(self.place, "finecut")
            if needed > self.budget or not _make_room(folder, self.budget - needed):
                return False
            _write(folder / _checked(name), parts)
            return True
        return False

    def is_usable(self) -> bool:
        """Whether anything can be written there at all, be it full or not."""
        with contextlib.suppress(OSError):
            path = _own_folder(self.place, "finecut") / f"try-{uuid.uuid4().hex}"
            _write(path, [])
            path.unlink()
            return True
        return False

    def get(self, name: str) -> bytes | None:
        try:
            return (_own_folder(self.place, "finecut") / _checked(name)).read_bytes()
        except OSError:
            return None

    def drop(self, name: str) -> None:
        """What is not needed any more need not wait until something else needs its room."""
        with contextlib.suppress(OSError):
            (_own_folder(self.place, "finecut") / _checked(name)).unlink()

    def sweep(self, beginning: str) -> None:
        """Drop everything whose name begins so."""
        with contextlib.suppress(OSError):
            for path in list(_own_folder(self.place, "finecut").glob(f"{beginning}*")):
                path.unlink(missing_ok=True)


def _write(path: Path, parts: Sequence[Buffer]) -> None:
    """Whole or not at all; the part is called like the whole, so that it is swept with it."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PART}")
    try:
        with part.open("wb") as file:
            file.writelines(parts)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _checked(name: str) -> str:
    if not name or name.startswith(".") or not all(c.isalnum() or c in PLAIN for c in name):
        raise ValueError(f"{name!r} is not a valid name for a file in the scratch folder")
    return name


def _make_room(folder: Path, left: int) -> bool:
    """Remove the oldest files until at most ``left`` bytes are left, if they are old enough."""
    files = sorted(_files(folder))
    held = sum(size for _, size, _ in files)
    for written, size, path in files:
        if held <= left or time.time_ns() - written < FRESH * 10**9:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            held -= size
    return held <= left


def _files(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """Age, size and path of what lies here; others add and remove at the same time."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                yield found.st_mtime_ns, found.st_size, Path(entry.path)


def _own_folder(root: str, name: str) -> Path:
    """A folder only this user can look into; an error if it is somebody else's."""
    folder = Path(root or tempfile.gettempdir()) / f"{name}-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(
            f"{folder} belongs to another user, so finecut writes nothing there: remove it, or "
            "set TMPDIR to another folder for temporary files"
        )
    folder.chmod(0o700)
    return folder
