"""Programs of others that tests start, in finecut's cache folder: fetched on first need, once.

``make servers`` fetches them before anybody needs them. Where that cannot be done, tests skip, and
say why.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from beam_workers import free_port

#: Seconds that fetching may take.
FETCHING: Final = 600
ENDS_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finecut"


class NotFetched(Exception):
    """A program that is not there, and why it could not be fetched."""


@dataclass(frozen=True)
class Fetched:
    """A program in a version, and how to come by it."""

    name: str
    version: str
    #: Where it lies in its folder.
    path: str
    #: What has to be on the PATH, and where to get it.
    tool: str
    source: str
    #: The command that fetches this version into a folder.
    command: Callable[[Path, str], list[str]]

    @property
    def program(self) -> Path:
        return CACHE / f"{self.name}-{self.version}" / self.path

    def found(self) -> Path:
        """The program; fetched, if it is not there yet. ``NotFetched`` if it cannot be."""
        if not self.program.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            with (CACHE / f".{self.name}.lock").open("a") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                if not self.program.exists():
                    self._fetch()
        return self.program

    def _fetch(self) -> None:
        if shutil.which(self.tool) is None:
            raise NotFetched(
                f"{self.name} is not in {CACHE}, and no program called {self.tool} is on the PATH "
                f"to fetch it with: install it ({self.source}), then make servers"
            )
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=f".{self.name}-") as folder:
            new = Path(folder) / "new"
            new.mkdir()
            self._work(new)
            new.rename(CACHE / f"{self.name}-{self.version}")

    def _work(self, folder: Path) -> None:
        told = os.environ | {"GOBIN": str(folder)}
        try:
            done = subprocess.run(
                self.command(folder, self.version),
                env=told,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=FETCHING,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NotFetched(f"{self.name} was not fetched within {FETCHING} s") from error
        if done.returncode or not (folder / self.path).exists():
            [last] = done.stderr.strip().splitlines()[-1:] or ["it says nothing"]
            raise NotFetched(f"{self.name} could not be fetched by {self.tool}: {last}")


AZURITE: Final = Fetched(
    *("azurite", "3.37.0", "node_modules/azurite/dist/src/blob/main.js"),
    *("npm", "https://nodejs.org, 20 or newer"),
    lambda folder, version: [
        *("npm", "install", "--no-fund", "--no-audit", "--loglevel=error"),
        *("--prefix", str(folder), f"azurite@{version}"),
    ],
)
FAKE_GCS: Final = Fetched(
    *("fake-gcs-server", "1.52.3", "fake-gcs-server"),
    *("go", "https://go.dev/dl, 1.24 or newer"),
    lambda _, version: ["go", "install", f"github.com/fsouza/fake-gcs-server@v{version}"],
)


@contextmanager
def serving(command: Callable[[int], list[str]], ready: str) -> Iterator[int]:
    """The port at which a program listens that says so, in these words, as soon as it does."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="finecut-server-") as folder:
        server = subprocess.Popen(
            command(port),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - what it does is one call of the system
        )
        assert server.stdout is not None
        with server.stdout as says:
            try:
                _wait(says, ready)
                # Whoever does not listen to it stops it.
                threading.Thread(target=deque, args=(says, 0), daemon=True).start()
                yield port
            finally:
                server.kill()
                server.wait()


def _wait(says: IO[str], ready: str) -> None:
    heard: list[str] = []
    for line in says:
        heard.append(line)
        if ready in line:
            return
    raise RuntimeError(f"a server did not start: {''.join(heard)[-2000:]}")


def _end_with_parent() -> None:
    """Tests that are killed leave no server behind."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(ENDS_WITH_PARENT, signal.SIGKILL)


def main() -> int:
    """Fetch all of them; how many could not be."""
    missing = 0
    for one in (AZURITE, FAKE_GCS):
        try:
            print(f"servers: {one.found()}")
        except NotFetched as error:
            missing += 1
            print(f"servers: {error}", file=sys.stderr)
    return min(missing, 1)


if __name__ == "__main__":
    raise SystemExit(main())
