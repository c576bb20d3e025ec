"""Runs that are killed while they write, and how their trees differ.

Run as a program, this is a server that runs finecut in forks of itself, so that a run costs half a
second and not the three that importing takes. A fork counts its *write points*, the moments before
something below the output changes, and can be killed at any of them::

    with Runs(log) as runs:
        points = runs.run(options, output)          # ["open .staging/…/can-write", …]
        runs.run(options, output, kill_at=7)        # SIGKILL before the seventh
    runs.run(options, output, kill_at="a.mp4_0.json")   # after the first that tells of this

The runs are of curate, or of the command that is named (``Runs(log, "shard")``).

The moment after a change is the moment before the next one. What lies between, a file that is half
written, is made of the file that is about to be moved (``torn``).
"""

from __future__ import annotations

import functools
import gc
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from quick_beam import remember_arguments

T = TypeVar("T")

STAGING = ".staging"
CURATE = "curate"
#: What Python tells its auditors before it does it, and which argument is the folder's handle.
CHANGES = {"os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.mkdir": 2, "os.link": 2}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def tree(output: Path) -> dict[str, bytes]:
    """Every file that is there to stay; the name of the output itself stands as OUTPUT."""
    return {
        name: path.read_bytes().replace(bytes(output), b"OUTPUT")
        for path in sorted(output.rglob("*"))
        if not path.is_dir()
        for name in [path.relative_to(output).as_posix()]
        if not name.startswith((f"{STAGING}/", "runs/", "report/"))
    }


def staged(output: Path) -> list[str]:
    """What lies in the common staging folder: nothing, when no run is under way."""
    return sorted(str(path.relative_to(output)) for path in (output / STAGING).rglob("*"))


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """The names of files that are only in one of two trees, or not the same in both."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


@dataclass
class WritePoints:
    """Hears of every change below a folder before it is made, and ends the process at one."""

    root: str
    kill_at: int | str | None = None
    torn: bool = False
    seen: list[str] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            folder = -1
            if not isinstance(flags, int) or not flags & WRITES:
                return
        elif event in CHANGES:
            path, folder = arguments[0], arguments[CHANGES[event]]
        else:
            return
        if isinstance(path, int):
            return
        # What is moved is told with its new name.
        new = os.fsdecode(arguments[1]) if event == "os.rename" else ""
        with self._lock:
            self._hear(event, _whole(os.fsdecode(path), folder), new)

    def _hear(self, event: str, path: str, new: str) -> None:
        if not path.startswith(f"{self.root}/"):
            return
        to = f" to {new.removeprefix(f'{self.root}/')}" if new else ""
        if isinstance(self.kill_at, str) and any(self.kill_at in point for point in self.seen):
            self.kill_at = 0
        self.seen.append(f"{event.removeprefix('os.')} {path[len(self.root) + 1 :]}{to}")
        # Threads take turns as they like: the file to be torn may be moved a little later.
        # (What lies under a final name already is moved, too, and is whole.)
        unfinished = path.startswith(f"{self.root}/{STAGING}/")
        late = self.torn and event == "os.rename" and unfinished
        if not isinstance(self.kill_at, int) or len(self.seen) < self.kill_at:
            return
        if late != self.torn:
            return
        if self.torn:
            os.truncate(path, os.stat(path).st_size // 2)  # noqa: PTH116
        os.kill(os.getpid(), signal.SIGKILL)


def _whole(path: str, folder: int) -> str:
    """The path made absolute; names are told relative to an open folder when trees are removed."""
    if folder >= 0 and not path.startswith("/"):
        path = f"{os.readlink(f'/proc/self/fd/{folder}')}/{path}"  # noqa: PTH115
    return os.path.abspath(path)  # noqa: PTH100


class Runs:
    """A server of runs: warm, and each run in a process of its own."""

    def __init__(self, log: Path, command: str = CURATE) -> None:
        self.log, self.command = log, command
        # Its errors and those of its forks: what a killed run said is of no interest.
        self._said = log.with_suffix(".txt").open("wb")
        self._server = subprocess.Popen(
            [sys.executable, __file__, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def run(
        self,
        options: dict[str, Any],
        output: Path,
        kill_at: int | str | None = None,
        torn: bool = False,
    ) -> list[str]:
        """The write points of a run that ended well, or none of one that was killed."""
        return self.ask(self.command, {**options, "output": str(output)}, output, kill_at, torn)

    def refilter(
        self,
        options: dict[str, Any],
        output: Path,
        kill_at: int | str | None = None,
        torn: bool = False,
    ) -> list[str]:
        """The same of ``finecut refilter``, which a server of curate can do, too."""
        return self.ask("refilter", {**options, "dataset": str(output)}, output, kill_at, torn)

    def ask(
        self,
        command: str,
        options: dict[str, Any],
        output: Path,
        kill_at: int | str | None = None,
        torn: bool = False,
    ) -> list[str]:
        """The same of any command; write points are those below ``output``."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        task = {
            "command": command,
            "options": options,
            "points": {"root": str(output), "kill_at": kill_at, "torn": torn},
            "log": str(self.log),
        }
        self._server.stdin.write(json.dumps(task) + "\n")
        self._server.stdin.flush()
        status = int(self._server.stdout.readline())
        if kill_at is not None and status == -signal.SIGKILL:
            return []
        if status != 0:
            raise AssertionError(f"a run ended with {status}: {self.said()}")
        points: list[str] = json.loads(self.log.read_text())
        return points

    def said(self) -> str:
        return self.log.with_suffix(".txt").read_text(errors="replace")[-2000:]

    def __enter__(self) -> Runs:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=60)
        self._said.close()


def _serve(command: str) -> None:
    # Imported before the forks; no thread may have been started by then. Nothing of it is garbage.
    gc.disable()
    importlib.import_module(
        f"finecut.pipeline.{'running' if command == CURATE else f'commands.{command}'}"
    )
    gc.freeze()
    gc.enable()
    remember_arguments()
    assert threading.active_count() == 1
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(task: dict[str, Any]) -> None:
    command = task["command"]
    work = _curated if command == CURATE else functools.partial(_done_after, command)
    points = WritePoints(**task["points"])
    sys.addaudithook(points)
    status = 1
    try:
        wrong = work(task["options"])
        Path(task["log"]).write_text(json.dumps(points.seen), encoding="utf-8")
        status = 2 if wrong else 0
    finally:
        if status == 1:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(status)


def _curated(options: dict[str, Any]) -> bool:
    from finecut.pipeline.options import Options
    from finecut.pipeline.running import run

    options["input"] = tuple(options["input"])
    return bool(run(Options(**options)).summary.failures)


def _done_after(command: str, options: dict[str, Any]) -> bool:
    from finecut.pipeline.cli.command import perform
    from finecut.pipeline.commands.base import all_commands

    kind = all_commands()[command]
    told = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
    with redirect_stdout(io.StringIO()):  # the server's own says how runs end
        return bool(perform(kind(kind.Options(**told))))


def failing(error: OSError, times: int, work: Callable[..., Any]) -> Callable[..., Any]:
    """The work, which breaks so many times before it is done."""
    left = iter(range(times))

    def attempt(*arguments: Any, **named: Any) -> Any:
        if next(left, None) is not None:
            raise error
        return work(*arguments, **named)

    return attempt


if __name__ == "__main__":
    _serve(sys.argv[1])
