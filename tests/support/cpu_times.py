"""Which tests use the processors: `make test CPU=1` lists them, and the modules they are in.

Processor time, unlike time, is nearly the same on a busy machine. A child counts for the test in
which it ends.
"""

from __future__ import annotations

import resource
from collections import Counter
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
        self.of_tests: Counter[str] = Counter()
        self.collecting = 0.0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.before = self.collecting = used()
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["collecting"] = self.collecting

    def pytest_testnodedown(self, node: Any) -> None:
        self.collecting += node.workeroutput["collecting"]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Any:
        report = yield
        now = used()
        report.cpu, self.before = now - self.before, now
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.of_tests[report.nodeid] += report.cpu

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        modules: Counter[str] = Counter()
        for test, seconds in self.of_tests.items():
            modules[test.partition("::")[0]] += seconds
        modules["(collecting)"] = self.collecting
        terminalreporter.section(f"processor time: {modules.total() / 60:.1f} minutes")
        for times, count in ((modules, None), (self.of_tests, LISTED)):
            for name, seconds in times.most_common(count):
                terminalreporter.write_line(f"{seconds:7.1f} s  {name}")
            terminalreporter.write_line("")
