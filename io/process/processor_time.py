"""Processor time: what this process and all that it began have used until now.

Unlike time, it is nearly the same on a busy machine. A child that ended counts, and so does one
that is at work, also one that a fork server has forked. Without /proc, a child counts when it has
ended.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path


def processor_seconds() -> float:
    """Seconds of processor time, of this process and all that it began."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    ended = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return ended + sum(_alive(Path("/proc/self"))) / os.sysconf("SC_CLK_TCK")


def _alive(process: Path) -> Iterator[int]:
    """Ticks of each descendant, with those that it has waited for."""
    for listed in _listed(process):
        for child in _text(listed).split():
            # utime, stime, cutime and cstime; the name, which comes before, may contain anything.
            _, _, told = _text(Path("/proc", child, "stat")).rpartition(")")
            yield from map(int, told.split()[11:15])
            yield from _alive(Path("/proc", child))


def _listed(process: Path) -> list[Path]:
    try:
        return [*process.glob("task/*/children")]
    except OSError:  # it has ended, or a test has files break
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""
