"""A command that watches, as a process of its own: what it says, line by line, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

COMMAND = (sys.executable, "-m", "finecut", "curate")
#: Seconds between two looks, and what makes small clips without models.
EVERY = 0.2
USUAL = (
    *("--clip-length", "0.5", "--min-clip-length", "0.5"),
    *("--workers", "1", "--no-generate-embeddings", "--no-report"),
)
#: Seconds in which anything happens that is waited for.
PATIENCE = 60.0


def until(holds: Callable[[], object], said: Callable[[], str] = str, patience: float = 0) -> None:
    """Wait until this holds; what was ``said`` is shown if it never does."""
    ends = time.monotonic() + (patience or PATIENCE)
    while not holds():
        assert time.monotonic() < ends, said()
        time.sleep(0.02)


class Daemon:
    """A process of ``finecut curate --watch``."""

    def __init__(self, inputs: Path, output: Path, *more: str, every: float = EVERY) -> None:
        words = ["--input", str(inputs), "--output", str(output), "--watch", str(every)]
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.process = subprocess.Popen(
            [*COMMAND, *words, *USUAL, *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            self._reading(self.process.stdout, self.lines),
            self._reading(self.process.stderr, self.errors),
        ]

    def _reading(self, said: IO[str], lines: list[str]) -> threading.Thread:
        def read() -> None:
            for line in said:
                lines.append(line.rstrip("\n"))  # noqa: PERF401 - others look at them meanwhile

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        return reader

    def said(self) -> str:
        return "\n".join([*self.lines, *self.errors, f"exit code {self.process.poll()}"])

    def until_said(self, *beginnings: str) -> None:
        """Wait until a line begins with each of these (or an error holds it)."""
        for text in beginnings:
            until(lambda text=text: self.has_said(text), self.said)  # type: ignore[misc]

    def has_said(self, text: str) -> bool:
        return any(line.startswith(text) for line in self.lines) or any(
            text in line for line in self.errors
        )

    def told(self, text: str) -> int:
        """How many lines begin so."""
        return sum(line.startswith(text) for line in self.lines)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)


def drop(film: Path, place: Path) -> None:
    """Put a copy of a film there, in one step."""
    part = place.with_name(f".{place.name}.part")
    shutil.copy(film, part)
    part.replace(place)
