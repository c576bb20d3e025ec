"""What can go wrong while files are written, made to happen on purpose.

Run as a program, this is a server that runs finecut in forks of itself, so that a run costs half a
second and not the three that importing takes. A fork counts its *write points*, the moments before
something below the output changes, and can be killed at any of them::

    with Runs(log) as runs:
        points = runs.run(options, output)          # ["open .staging/…/can-write", …]
        runs.run(options, output, kill_at=7)        # SIGKILL before the seventh

The runs are of curate, or of the command that is named (``Runs(log, "shard")``).

The moment after a change is the moment before the next one. What lies between, a file that is half
written, is made of the file that is about to be moved (``torn``).
"""

from __future__ import annotations

import functools
import importlib
import io
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from http.server import HTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from finecut.io.storage.retry import retried

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
    kill_at: int | None = None
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
        with self._lock:
            self._hear(event, _whole(os.fsdecode(path), folder))

    def _hear(self, event: str, path: str) -> None:
        if not path.startswith(f"{self.root}/"):
            return
        self.seen.append(f"{event.removeprefix('os.')} {path[len(self.root) + 1 :]}")
        # Threads take turns as they like: the file to be torn may be moved a little later.
        # (What lies under a final name already is moved, too, and is whole.)
        unfinished = path.startswith(f"{self.root}/{STAGING}/")
        late = self.torn and event == "os.rename" and unfinished
        if self.kill_at is None or len(self.seen) < self.kill_at or late != self.torn:
            return
        if self.torn:
            os.truncate(path, os.stat(path).st_size // 2)  # noqa: PTH116
        os.kill(os.getpid(), signal.SIGKILL)


class NoDisk(Exception):
    """No disk of its own can be mounted here: usually only root may."""


@contextmanager
def small_disk(folder: Path, num_bytes: int) -> Iterator[Path]:
    """A disk of so many bytes, in memory."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={num_bytes // 4096 * 4096}", "finecut", str(folder))
    try:
        yield folder
    finally:
        # Lazily: an error that is still being looked at may hold a file open.
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a disk: ``size=64m``, or ``ro``, after which nothing can be written."""
    _mount("-o", f"remount,{options}", str(folder))


def _mount(*arguments: str) -> None:
    if shutil.which("mount") is None:
        raise NoDisk("there is no program called mount")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoDisk(done.stderr)


def _whole(path: str, folder: int) -> str:
    """The path made absolute; names are told relative to an open folder when trees are removed."""
    if folder >= 0 and not path.startswith("/"):
        path = f"{os.readlink(f'/proc/self/fd/{folder}')}/{path}"  # noqa: PTH115
    return os.path.abspath(path)  # noqa: PTH100


class Clock:
    """A clock that is put forward by those who wait, so that nobody does."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)

    def retried(self, work: Callable[[], T], deadline_seconds: float = 120.0) -> T:
        return retried(work, deadline_seconds, clock=self.monotonic, sleep=self.sleep)


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
        kill_at: int | None = None,
        torn: bool = False,
    ) -> list[str]:
        """The write points of a run that ended well, or none of one that was killed."""
        return self.ask(self.command, {**options, "output": str(output)}, output, kill_at, torn)

    def refilter(
        self,
        options: dict[str, Any],
        output: Path,
        kill_at: int | None = None,
        torn: bool = False,
    ) -> list[str]:
        """The same of ``finecut refilter``, which a server of curate can do, too."""
        return self.ask("refilter", {**options, "dataset": str(output)}, output, kill_at, torn)

    def ask(
        self,
        command: str,
        options: dict[str, Any],
        output: Path,
        kill_at: int | None = None,
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


class Spoiled(Protocol):
    """Says what becomes of a request: nothing, or one of the troubles of :class:`FaultyStore`."""

    def __call__(self, method: str, path: str) -> str: ...


def now_and_then(seed: int, often: float) -> Spoiled:
    """Spoil so many of the requests, in a row that is always the same."""
    chance = random.Random(seed)

    def spoiled(method: str, path: str) -> str:
        if chance.random() >= often:
            return ""
        return chance.choice(("429", "503", "reset", "cut", "short"))

    return spoiled


class FaultyStore:
    """A stand-in of Google's store on this machine, with trouble in front of it.

    A number refuses with that status, ``reset`` closes the connection before anything is said,
    ``cut`` in the middle of the answer. ``short`` answers a read with fewer bytes than asked, and
    says so: nobody who does not count them will notice.
    """

    def __init__(self) -> None:
        # By its name: it is not installed everywhere, and its types are unknown.
        emulator: Any = importlib.import_module("gcp_storage_emulator.server")
        logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
        self._emulator = emulator.create_server(
            "127.0.0.1", 0, in_memory=True, default_bucket="bucket"
        )
        self.spoiled: Spoiled = lambda method, path: ""
        self.asked: list[tuple[str, str, str]] = []
        #: Bytes of objects that were read.
        self.sent = 0
        store = self

        class Handler(emulator.RequestHandler):  # type: ignore[misc]
            wfile: Any

            def do_GET(self) -> None:
                self.spoil(super().do_GET)

            def do_POST(self) -> None:
                self.spoil(super().do_POST)

            def do_PUT(self) -> None:
                self.spoil(super().do_PUT)

            def do_DELETE(self) -> None:
                self.spoil(super().do_DELETE)

            def spoil(self, answer: Callable[[], None]) -> None:
                trouble = store.spoiled(self.command, self.path)
                store.asked.append((self.command, self.path, trouble))
                if trouble.isdigit():
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    self.send_error(int(trouble))
                    return
                if trouble == "reset":
                    self.close_connection = True
                    return
                if not self.as_expected():
                    self.send_error(412)
                    return
                wire, self.wfile = self.wfile, io.BytesIO()
                answer()
                said = self.wfile.getvalue()
                self.wfile = wire
                if trouble == "short" and "alt=media" in self.path:
                    said = _shortened(said)
                elif trouble == "cut":
                    said = _cut(said)
                self.wfile.write(said)
                if "alt=media" in self.path:
                    store.sent += len(said)

            def as_expected(self) -> bool:
                """Whether objects are of the generations asked for: the stand-in does not look."""
                url = urlsplit(self.path)
                asked = {name: values[0] for name, values in parse_qs(url.query).items()}
                source, _, target = url.path.partition("/rewriteTo/")
                generation, replaced = store.generation(source), store.generation(target or source)
                return all(
                    asked.get(name, found) == found
                    for name, found in (
                        ("ifSourceGenerationMatch", generation),
                        ("ifGenerationMatch", replaced),
                        ("generation", generation),
                    )
                )

        self._server = HTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, self._emulator._storage)
        )
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def generation(self, path: str) -> str:
        """Of the object at the end of this path; 0 if there is none."""
        bucket, _, name = path.rpartition("b/")[2].partition("/o/")
        found = self._emulator._storage.objects.get(bucket, {}).get(unquote(name))
        return str(found["generation"]) if found else "0"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _cut(answer: bytes) -> bytes:
    """An answer whose connection broke in the middle of the body."""
    head, body = answer.split(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n" + body[: len(body) // 2]


def _shortened(answer: bytes) -> bytes:
    """An honest answer with half of the body, as a proxy gives it that lost its own connection."""
    head, body = answer.split(b"\r\n\r\n", 1)
    half = body[: len(body) // 2]
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*kept, b"Content-Length: %d" % len(half)]) + b"\r\n\r\n" + half


def _serve(command: str) -> None:
    # Imported before the forks; no thread may have been started by then.
    importlib.import_module(
        f"finecut.pipeline.{'running' if command == CURATE else f'commands.{command}'}"
    )
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
    from finecut.pipeline.cli.shell import perform
    from finecut.pipeline.commands.registry import all_commands

    kind = all_commands()[command]
    told = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
    with redirect_stdout(io.StringIO()):  # the server's own says how runs end
        return bool(perform(kind(kind.Options(**told))))


if __name__ == "__main__":
    _serve(sys.argv[1])
