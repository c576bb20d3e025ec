"""Which tests use the processors: `make test CPU=1` lists them, and the modules they are in.

Processor time, unlike time, is nearly the same on a busy machine. A child counts for the test in
which it ends.
"""

from __future__ import annotations

import resource
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

LISTED = 40


def used() -> float:
    """Seconds of processor time, of this process and its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


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
