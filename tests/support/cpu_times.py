"""Which tests use the processors: `make test CPU=1` lists them, and the modules they are in.

Processor time, unlike time, is nearly the same on a busy machine. A child counts for the tests in
which it works, also one that a fork server has forked. Without /proc, for that in which it ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from finecut.io.process.processor_time import processor_seconds as used

LISTED = 40


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
