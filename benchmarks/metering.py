"""What commands cost: processor time, elapsed time and memory of all processes that they start.

Processor time is what the system counts for the children that were waited for, and for theirs;
processes whose parent died are adopted and waited for, so that none is forgotten. Memory is
proportional set size: a page that five processes share is a fifth in each. It is sampled ten times
a second, or less often if looking would take more than a thirtieth of one core; a peak shorter than
that is not seen. Both need Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

PROC = Path("/proc")
#: Seconds between two samples, and how much of one core sampling may take.
INTERVAL, SHARE = 0.1, 1 / 30
#: How long a process may live on that no command waited for.
PATIENCE = 10.0
#: prctl(2): children of children that die become ours.
PR_SET_CHILD_SUBREAPER = 36

Command = Sequence[str]


class CommandFailed(Exception):
    """A command did not do what was to be measured; says which, how it ended and its last words."""


@dataclass(frozen=True)
class Cost:
    """What one run of some commands took."""

    cpu: float
    wall: float
    peak_mb: float
    cores: int
    #: Seconds until the first clip lay under its final name; none where nobody asked.
    first: float | None = None
    #: How many cores were busy in each second.
    timeline: tuple[float, ...] = ()
    #: Processor seconds that a virtual machine wanted meanwhile, and its host gave to others.
    stolen: float = 0.0

    @property
    def busy(self) -> float:
        """How much of what cores there were was used, from the first second to the last."""
        return self.cpu / max(self.cpu, self.wall * self.cores - self.stolen)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def adopt_orphans() -> None:
    """Have processes whose parent dies become children of this one, to be counted and buried."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def cost_of(commands: Sequence[Command], at_once: int = 1, clips: Path | None = None) -> Cost:
    """Run the commands, so many at once, and ask the system what they used.

    With ``clips``, a folder that is to be, the first ``.mp4`` in it is timed.
    """
    before = set(children_of(os.getpid(), processes()))
    used, robbed = _used(), stolen()
    began, clock = time.monotonic(), time.time()
    peak, samples = _watched(commands, at_once, before)
    wall, robbed = time.monotonic() - began, stolen() - robbed
    _bury(before)
    return Cost(
        cpu=_used() - used,
        wall=wall,
        peak_mb=peak / 1e6,
        cores=cores(),
        first=_first(clips, clock) if clips else None,
        timeline=by_second(samples),
        stolen=robbed,
    )


def spent(commands: Sequence[Command], at_once: int = 1) -> tuple[float, float]:
    """Run the commands unwatched; processor seconds, and when they ended."""
    before, used = set(children_of(os.getpid(), processes())), _used()
    try:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(_run, commands))
        ended = time.monotonic()
    finally:
        _bury(before)
    return _used() - used, ended


def _watched(
    commands: Sequence[Command], at_once: int, before: set[int]
) -> tuple[float, list[tuple[float, float]]]:
    """Run all; the most memory, and processor seconds at moments."""
    began, peak, samples = time.monotonic(), 0.0, [(0.0, 0.0)]
    with ThreadPoolExecutor(at_once) as pool:
        left: set[Future[None]] = {pool.submit(_run, command) for command in commands}
        base = _tree_cpu(before)
        pause = INTERVAL / 2
        try:
            while left:
                done, left = wait(left, timeout=pause)
                for future in done:
                    future.result()
                looked = time.thread_time()
                peak = max(peak, memory(below(os.getpid(), processes(), before)))
                samples.append((time.monotonic() - began, _tree_cpu(before) - base))
                pause = max(INTERVAL, (time.thread_time() - looked) / SHARE)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return peak, samples


def _run(command: Command) -> None:
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(
            command,
            # Not here: Python looks there first, and finds a folder called io.
            cwd=tempfile.gettempdir(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            said.seek(0)
            words = said.read().decode(errors="replace").strip()[-2000:]
            raise CommandFailed(f"{' '.join(command)[:400]} ended with {done.returncode}: {words}")


def _used() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def stolen() -> float:
    """Of the cores that this process may use, since the machine was started."""
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    lines = [line.split() for line in (PROC / "stat").read_text().splitlines()]
    ticks = sum(int(line[8]) for line in lines if line and line[0] in ours and len(line) > 8)
    return ticks / os.sysconf("SC_CLK_TCK")


def _first(folder: Path, clock: float) -> float | None:
    """When the first clip got its name: moving a file into place changes its inode, not its age."""
    return min((path.stat().st_ctime - clock for path in folder.rglob("*.mp4")), default=None)


# ── processes ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    #: Seconds that it used, and its children that it waited for.
    cpu: float


def processes() -> dict[int, Process]:
    """All there are now."""
    return {process.pid: process for process in _processes()}


def _processes() -> Iterator[Process]:
    tick = os.sysconf("SC_CLK_TCK")
    for place in PROC.iterdir():
        if place.name.isdigit():
            # One may end while it is looked at.
            with contextlib.suppress(OSError):
                # A name in brackets comes first, and may hold blanks and brackets itself.
                fields = (place / "stat").read_text().rpartition(")")[2].split()
                yield Process(int(place.name), int(fields[1]), sum(map(int, fields[11:15])) / tick)


def children_of(pid: int, known: dict[int, Process]) -> list[int]:
    return [process.pid for process in known.values() if process.parent == pid]


def below(root: int, known: dict[int, Process], without: set[int]) -> list[int]:
    """All descendants of a process, but for some of its children and theirs."""
    found = [pid for pid in children_of(root, known) if pid not in without]
    for pid in found:
        found.extend(children_of(pid, known))
    return found


def memory(pids: Sequence[int]) -> float:
    """Bytes that these processes hold together, shared pages counted once."""
    return sum(map(_proportional, pids))


def free_memory() -> int:
    """Bytes that there are for more processes."""
    for line in (PROC / "meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise LookupError("/proc/meminfo says nothing of MemAvailable, as Linux has done since 2014")


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _tree_cpu(without: set[int]) -> float:
    """Seconds used by all below this process, those that are over among them."""
    known = processes()
    return _used() + sum(known[pid].cpu for pid in below(os.getpid(), known, without))


def by_second(samples: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """How many cores were busy in each whole second, from processor seconds at moments.

    >>> by_second([(0.0, 0.0), (0.5, 0.5), (1.0, 1.5), (2.5, 3.0)])
    (1.5, 1.0)
    """
    lasts = [_at(samples, second) for second in range(int(samples[-1][0]) + 1)]
    return tuple(round(after - before, 2) for before, after in pairwise(lasts))


def _at(samples: Sequence[tuple[float, float]], moment: float) -> float:
    """Processor seconds at a moment between two samples, on the line between them."""
    for (before, low), (after, high) in pairwise(samples):
        if before <= moment <= after:
            return low + (high - low) * (moment - before) / max(after - before, 1e-9)
    return samples[-1][1]


def _bury(before: set[int]) -> None:
    """Wait for what commands left behind, and end what does not end by itself."""
    deadline = time.monotonic() + PATIENCE
    while left := set(children_of(os.getpid(), processes())) - before:
        for pid in left:
            with contextlib.suppress(ChildProcessError, ProcessLookupError):
                if time.monotonic() > deadline:
                    sys.stderr.write(f"bench: process {pid} was left behind and is ended\n")
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                else:
                    os.waitpid(pid, os.WNOHANG)
        time.sleep(INTERVAL / 2)
