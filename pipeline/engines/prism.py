"""Prism, Beam's own portable runner: a program beside this process, started and ended with the job.

    finecut ──starts──▶ prism ──hands out bundles──▶ workers: threads of this process (LOOPBACK),
       ▲                  │                          or a pool of processes (EXTERNAL)
       └──── job API ─────┘

Beam would start it, too (``--runner PrismRunner --prism_location=…``); started here, it ends with
this process however that ends, and what it writes down can be read when a job is given up.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from apache_beam.version import __version__ as beam_version

from finecut.io.errors import RunError
from finecut.io.storage.staging import temporary_folder
from finecut.pipeline.engines import ENVIRONMENT, LOOPBACK, PRISM, value_of
from finecut.pipeline.options import OptionError

NAME, RUNNER = PRISM
LOCATION: Final = "--prism_location"
PROCESS: Final = "PROCESS"
#: Dies with the one who started it; the rest of the command line is the program.
_WITH_PARENT: Final = (
    "import ctypes, os, sys; "
    "sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)
#: Seconds in which it has to listen, and between two looks whether it does.
TO_START, LOOK = 30.0, 0.02
#: How many of the last lines of its log are looked at.
LAST_LINES: Final = 400
#: How Prism marks what a worker logged.
OF_WORKER: Final = "[SDK] "
#: What Beam's boot program says last, whatever it was that ended it.
FAREWELL: Final = "Completing background processes"
#: How a program in Go says that it breaks down.
PANIC: Final = "panic: "


def cache() -> Path:
    """Where ``make prism`` puts it."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "finecut" / f"beam-{beam_version}" / NAME


def located(arguments: Sequence[str] = ()) -> str:
    """The program: the one named, else where ``make prism`` or Go puts it, else on the PATH."""
    if (named := value_of(arguments, LOCATION)) is not None:
        if not os.access(named, os.X_OK):
            raise OptionError(f"{LOCATION} {named} is not a program: give the path of Beam's Prism")
        return named
    go = Path(os.environ.get("GOBIN") or Path.home() / "go/bin") / NAME
    # The PATH comes last: others call their programs so, too.
    for place in (cache(), go, shutil.which(NAME)):
        if place is not None and os.access(place, os.X_OK):
            return str(place)
    raise OptionError(
        f"--runner {NAME} needs Beam's Prism, and this machine has none on the PATH, at {cache()} "
        f"or at {go}: run make {NAME} in a clone of finecut, or go install github.com/apache/beam/"
        f"sdks/v2/go/cmd/prism@v{beam_version}, or name one with {LOCATION}=PATH"
    )


#: Seconds. Beam takes what it waits for an answer (five minutes) for the length of the job, too,
#: where a job has its name before it begins, as here.
FOR_EVER: Final = 10 * 365 * 24 * 3600


class Prism:
    """An engine that is up: how a job gets there, and what it wrote down."""

    def __init__(self, arguments: Sequence[str], port: int, log: str) -> None:
        self._log = log
        own = [] if value_of(arguments, ENVIRONMENT) else [f"{ENVIRONMENT}={LOOPBACK}"]
        #: Beam's own for a job on it.
        self.arguments = [
            f"--runner={RUNNER}",
            f"--job_endpoint=localhost:{port}",
            f"--job_server_timeout={FOR_EVER}",
            *own,
            *arguments,
        ]

    def last_words(self) -> str:
        """What its log blames."""
        with Path(self._log).open(encoding="utf-8", errors="replace") as log:
            return reason_in(deque(log, LAST_LINES))


def reason_in(lines: Iterable[str]) -> str:
    """What the last lines of the log blame: the engine's last error, and a worker's.

    >>> reason_in(['{"level":"ERROR","msg":"[SDK] no room"}', '{"level":"ERROR","msg":"failed"}'])
    'failed; the last error of a worker: no room'
    >>> reason_in(["panic: unable to start sdk worker", "goroutine 1 [running]:"])
    'unable to start sdk worker'
    """
    engine, workers = "", deque[str](maxlen=1)
    for line in lines:
        message = _error_in(line)
        if message.startswith(OF_WORKER):
            if FAREWELL not in message:
                workers.append(message.removeprefix(OF_WORKER))
        elif message:
            engine = message
            if line.startswith(PANIC):
                break
    told = [f"the last error of a worker: {in_one_line(worker)}" for worker in workers]
    return "; ".join([in_one_line(engine), *told] if engine else told)


def _error_in(line: str) -> str:
    """The message of a line of the log that tells of an error."""
    if line.startswith(PANIC):
        return line.removeprefix(PANIC)
    with suppress(ValueError):
        entry = json.loads(line)
        if isinstance(entry, dict) and str(entry.get("level")).startswith("ERROR"):
            return str(entry.get("error") or entry.get("msg", ""))
    return ""


def in_one_line(text: str, most: int = 300) -> str:
    """The end of a text, where tracebacks name their cause.

    >>> in_one_line("a   b ")
    'a b'
    """
    return " ".join(text.replace("\\n", " ").split())[-most:].strip('" ')


def refuse_processes(arguments: Sequence[str]) -> None:
    """Refuse the kind of workers that never come: this Prism puts the quotes around a worker's
    name into the name (``processEnvironment`` in its ``environments.go``).
    """
    if value_of(arguments, ENVIRONMENT) == PROCESS:
        raise OptionError(
            f"{ENVIRONMENT}={PROCESS} does not work with --runner {NAME}: Prism {beam_version} "
            "passes quotes to Beam's boot program as a part of the worker's name, so the worker "
            f"cannot register and the job waits for ever. Leave it out ({LOOPBACK}: threads of "
            "this process), or start a pool of workers and give "
            f"{ENVIRONMENT}=EXTERNAL --environment_config=HOST:PORT"
        )


@contextmanager
def at_work(arguments: Sequence[str]) -> Iterator[Prism]:
    """Prism, for as long as the block lasts."""
    refuse_processes(arguments)
    program = located(arguments)
    with temporary_folder() as folder:
        path = f"{folder}/prism.log"
        with Path(path).open("wb") as log:
            port = _free_port()
            engine = _started(program, port, log)
        there = Prism(arguments, port, path)
        try:
            if not _answers(engine, port):
                raise RunError(
                    f"--runner {NAME}: {program} does not work ({there.last_words() or 'silent'}). "
                    "Usually it is another program of this name, or for another kind of machine: "
                    f"run make {NAME} in a clone of finecut, or name Beam's with {LOCATION}=PATH"
                )
            yield there
        finally:
            engine.kill()
            engine.wait()


def _started(program: str, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    own = [f"--job_port={port}", "--serve_http=false", "--log_kind=json", "--log_level=info"]
    words = [sys.executable, "-I", "-S", "-c", _WITH_PARENT, str(os.getpid()), program, *own]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _answers(engine: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it listens, as soon as that is known."""
    until = time.monotonic() + TO_START
    while engine.poll() is None and time.monotonic() < until:
        with socket.socket() as door:
            if not door.connect_ex(("localhost", port)):
                return True
        time.sleep(LOOK)
    return False


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("localhost", 0))
        port: int = door.getsockname()[1]
        return port
