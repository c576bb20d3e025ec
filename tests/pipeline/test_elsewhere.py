"""Engines that give up: one sentence with their reason, and nothing of three programs' stacks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from beam_workers import free_port, pool_in
from faults import staged

from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.cli.command import main
from finecut.pipeline.engine import reason_of

START = "import sys; from finecut.pipeline import engine; engine.NO_WORKER = {}; "
START += "from finecut.pipeline.cli.command import main; sys.exit(main())"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    paint(folder / "a.mp4", width=320, height=180, rate=15, seconds=60)
    return folder


@contextmanager
def job(
    films: Path, output: Path, *more: str, patience: float = 45
) -> Iterator[subprocess.Popen[str]]:
    given = ["curate", "--input", str(films), "--output", str(output), "--quiet"]
    given += ["--clip-length", "1"]
    given += ["--min-clip-length", "1", "--preset", "placebo", "--runner", "PortableRunner", *more]
    with subprocess.Popen(
        [sys.executable, "-c", START.format(patience), *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_an_endpoint_that_nobody_answers_at_is_named(films: Path, tmp_path: Path) -> None:
    endpoint = f"--job_endpoint=127.0.0.1:{free_port()}"
    with job(films, tmp_path / "out", endpoint, "--job_server_timeout=2") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    [said] = err.splitlines()
    assert said.startswith("finecut: --runner PortableRunner did not accept the job (no answer in")


def told_by(*words: str) -> subprocess.CompletedProcess[str]:
    """What a command says that hands its job to Beam's own engine of this kind."""
    given = [sys.executable, "-c", START.format(45), *words, "--runner", "PortableRunner"]
    return subprocess.run(given, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_job_that_is_launched_where_nobody_is_costs_a_sentence(
    films: Path, tmp_path: Path
) -> None:
    where = ("--input", str(films), "--output", str(tmp_path / "out"))
    engine = (f"--job_endpoint=127.0.0.1:{free_port()}", "--job_server_timeout=2")
    ended = told_by("launch", *where, *engine)
    assert (ended.returncode, ended.stdout) == (1, "")
    [said] = ended.stderr.splitlines()
    assert said.startswith("finecut: --runner PortableRunner did not accept the job (no answer in")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("curated")
    (home / "films").mkdir()
    paint(home / "films/a.mp4", width=64, height=36, rate=10, seconds=2)
    words = ["curate", "--input", str(home / "films"), "--output", str(home / "out"), "--quiet"]
    assert main([*words, "--clip-length", "1", "--min-clip-length", "1", "--no-isolation"]) == 0
    return home / "out"


@pytest.mark.parametrize("command", ["dedup", pytest.param("shard", marks=pytest.mark.slow)])
def test_a_command_whose_job_is_given_up_leaves_nothing_staged(
    command: str, output: Path, tmp_path: Path
) -> None:
    into, folder = ("--into", output / "dedup"), output / "dedup"
    if command == "shard":
        into, folder = ("--output", tmp_path / "shards"), tmp_path / "shards"
    # The engine is in the command's own process; where it looks for workers there are none.
    engine = ["--job_endpoint=embed", "--environment_type=EXTERNAL"]
    engine.append(f"--environment_config=127.0.0.1:{free_port()}")
    ended = told_by(command, str(output), *map(str, into), "--quiet", *engine)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    [said] = ended.stderr.splitlines()
    assert said.startswith("finecut: --runner PortableRunner gave up on the job (failed to connect")
    assert folder.is_dir()
    assert staged(folder) == []


def workers_of(pool: str) -> list[int]:
    """The processes whose command line says that they work for this pool's jobs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
            home = os.readlink(path.with_name("cwd"))  # noqa: PTH115
        except OSError:
            continue
        if b"-c" in words and any(b"sdk_worker" in word for word in words) and home == pool:
            found.append(int(path.parent.name))
    return found


def test_a_worker_that_is_killed_costs_a_sentence(films: Path, tmp_path: Path) -> None:
    home, output = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    with pool_in(home, Path(sys.executable)) as address:
        more = ("--job_endpoint=embed", "--environment_type=EXTERNAL")
        with job(films, output, *more, f"--environment_config={address}") as process:
            deadline = time.monotonic() + 120
            while not (output / "clips").is_dir():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            workers = workers_of(str(home))
            assert workers
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
            out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, ""), err
    assert err.count("\n") == 1, err
    [said] = err.splitlines()
    assert said.startswith("finecut: --runner PortableRunner gave up on the job (")
    assert (
        "Every file that was written is complete and stays; run the same command again to continue"
    ) in said
    assert staged(output) == []
    assert list((output / "clips").iterdir())


def test_workers_that_do_not_come_are_missed(films: Path, tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        more = ("--job_endpoint=embed", "--environment_type=EXTERNAL")
        where = f"--environment_config={address}"
        with job(films, tmp_path / "out", *more, where, patience=2) as process:
            late = threading.Timer(120, process.kill)
            late.start()
            assert process.stderr is not None
            said = process.stderr.readline()
            late.cancel()
            assert said.startswith("finecut: --runner PortableRunner has the job, but no worker")
            assert "no worker has started" in said
            assert process.poll() is None  # it waits on
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RuntimeError("failed in state FAILED: Traceback:\n  File\nValueError: no.\n"),
            "ValueError: no",
        ),
        (RuntimeError(""), "RuntimeError"),
        (TimeoutError(), "no answer in time"),
        (RuntimeError('<_Rendezvous:\n\tdetails = "no \\"a\\"."\n>'), 'no "a"'),
        (OSError('403, <{\n  "error": {\n   "message": "may not",\n   "code": 7}\n}>'), "may not"),
    ],
)
def test_the_reason_is_the_last_line(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
