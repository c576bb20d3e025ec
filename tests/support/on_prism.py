"""Jobs on Prism: the program, pools of workers for it, and what dies while it works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from beam_workers import pool_in
from metering import below, processes

from finecut.pipeline.engines.prism import located
from finecut.pipeline.options import OptionError

try:
    PROGRAM = located()
except OptionError as error:
    PROGRAM, WHY = "", str(error)
else:
    WHY = ""

needs_prism = pytest.mark.skipif(not PROGRAM, reason=WHY)
FINECUT = str(Path(sys.executable).with_name("finecut"))


#: All processes that begin here inherit it: others may try the same at the same time.
OURS, MARK = "FINECUT_TESTS", uuid.uuid4().hex
os.environ[OURS] = MARK


def command(films: Path, output: Path, *more: str) -> list[str]:
    """Curating these films in clips of two seconds, with Prism unless it is said otherwise."""
    runner = [] if "--runner" in more else ["--runner", "prism"]
    given = ["--input", str(films), "--output", str(output), "--clip-length", "2"]
    given += ["--min-clip-length", "1", "--generate-previews", "--preview-target-fps", "2"]
    return [FINECUT, "curate", *given, "--no-generate-embeddings", *runner, *more]


@contextmanager
def pool(home: Path) -> Iterator[list[str]]:
    """A pool of worker processes, and the options that send a job there."""
    home.mkdir(exist_ok=True)
    with pool_in(home, Path(sys.executable)) as address:
        yield ["--environment_type=EXTERNAL", f"--environment_config={address}"]


def started(words: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=env)


def workers_of_pools() -> list[int]:
    """Every worker process that a pool of this process started."""
    parents = processes()
    ours = below(os.getpid(), parents, set())
    # What a worker starts is called like it.
    return [
        pid
        for pid in ours
        if _is(pid, "import SdkHarness") and _is(parents[pid].parent, "worker_pool_main")
    ]


def _is(pid: int, program: str) -> bool:
    return any(program in word for word in _words_of(pid))


def prisms() -> list[int]:
    """Every Prism that a process of ours started, also when nobody is left who did."""
    running = (pid for pid in processes() if _words_of(pid)[:1] == [PROGRAM])
    return [pid for pid in running if f"{OURS}={MARK}" in _words_of(pid, "environ")]


def _words_of(pid: int, of: str = "cmdline") -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{of}").read_text(errors="replace").split("\0")
    return []


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
