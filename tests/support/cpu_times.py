"""Which tests use the processors: `make test CPU=1` lists them, and the modules they are in.

Processor time, unlike time, is nearly the same on a busy machine. A child counts for the tests in
which it works, also one that a fork server has forked. Without /proc, for that in which it ends.
"""

from __future__ import annotations

import os
import resource
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

LISTED = 40


def used() -> float:
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


class CpuTimes:
    """A plugin for pytest. With xdist, its workers measure and its controller sums up."""

    def __init__(self) -> None:
        self.before = 0.0
        self.tests: dict[str, float] = defaultdict(float)
        self.modules: dict[str, float] = defaultdict(float)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.before = used()
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["collecting"] = self.before
        else:
            self.modules["(collecting)"] = self.before

    def pytest_testnodedown(self, node: Any) -> None:
        output = getattr(node, "workeroutput", {})  # a worker that crashed has none
        self.modules["(collecting)"] += output.get("collecting", 0.0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Any:
        report = yield
        now = used()
        report.cpu, self.before = now - self.before, now
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.tests[report.nodeid] += report.cpu
        self.modules[report.nodeid.partition("::")[0]] += report.cpu

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        minutes = sum(self.modules.values()) / 60
        terminalreporter.section(f"processor time: {minutes:.1f} minutes")
        for line in (*_most(self.modules), "", *_most(self.tests)[:LISTED], ""):
            terminalreporter.write_line(line)


def _most(times: Mapping[str, float]) -> list[str]:
    ranked = sorted(times, key=lambda name: -times[name])
    return [f"{times[name]:7.1f} s  {name[:150]}" for name in ranked]
