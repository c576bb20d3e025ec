"""Staging: who is at work is known also where the file system has no locks."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finecut.io.storage import staging
from finecut.io.storage.publishing import ALIVE, Shelf
from finecut.io.storage.remains import LONG_AGO
from finecut.io.storage.staging import (
    BEAT_SECONDS,
    SILENT_SECONDS,
    Running,
    alive,
    sweep_dead,
)

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO)
ELSEWHERE = "a machine that is not this one"


def shelf_of(root: Path, run: str) -> Shelf:
    return Shelf(str(root), f"{root}/.staging/{run}")


@pytest.fixture(params=WITHOUT_LOCKS, ids=lambda number: errno.errorcode[number])
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The system says so, as it does on many network and FUSE file systems; how often it was asked.

    One that is asked again and again ends the test instead of never ending.
    """
    asked: list[int] = []

    def flock(_file: object, operation: int) -> None:
        asked.append(operation)
        if len(asked) > 50:
            raise AssertionError("it is asked again and again")
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)
    return asked


def marked(root: Path, run: str, age: float, **others: object) -> Path:
    """The staging folder of a run that renewed its mark so long ago, and a file in it."""
    folder = root / ".staging" / run
    folder.mkdir(parents=True)
    (folder / "half.mp4").write_bytes(b"half")
    said = {"host": ELSEWHERE, "process": 1, "configuration": "c", "beats": True, **others}
    (folder / ALIVE).write_text(json.dumps(said))
    os.utime(folder / ALIVE, (time.time() - age,) * 2)
    return folder


def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_a_run_without_locks_says_so_once_and_is_known_to_others(
    no_locks: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = shelf_of(tmp_path, "one"), shelf_of(tmp_path, "other")
    with caplog.at_level(logging.ERROR, "finecut"), alive(one, "c"):
        [warning] = [record.getMessage() for record in caplog.records]
        assert str(tmp_path) in warning
        assert "locks" in warning
        [running] = sweep_dead(other)
        assert (running.process, running.configuration, running.beats) == (os.getpid(), "c", True)
        assert Path(one.staging, ALIVE).exists()
    assert not Path(one.staging).exists()
    assert len(no_locks) <= 3


def test_where_no_folder_can_be_made_nobody_waits_for_one() -> None:
    with (
        pytest.raises(FileNotFoundError, match="/proc/output"),
        alive(shelf_of(Path("/proc/output"), "one"), "c"),
    ):
        pytest.fail("there can be no such folder")


def test_a_mark_is_renewed_until_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / ALIVE
    mark.write_bytes(b"")
    os.utime(mark, (0, 0))
    monkeypatch.setattr(staging, "BEAT_SECONDS", 0.001)
    with staging._beating(mark, Running("", 0, "", beats=True)):
        ends = time.monotonic() + 30
        while mark.stat().st_mtime == 0 and time.monotonic() < ends:
            pass
        assert mark.stat().st_mtime > 0
    os.utime(mark, (0, 0))
    assert mark.stat().st_mtime == 0


@pytest.mark.parametrize(
    ("age", "others", "lives"),
    [
        (0, {}, True),
        (SILENT_SECONDS - 5, {}, True),
        (SILENT_SECONDS + 5, {}, False),
        (SILENT_SECONDS - 5, {"host": None, "process": "own"}, True),
        (SILENT_SECONDS + 5, {"host": None, "process": "own"}, False),
        (BEAT_SECONDS, {"host": None, "process": "gone"}, True),
        (2 * BEAT_SECONDS + 5, {"host": None, "process": "gone"}, False),
        # A run that could lock its mark renews it not, and this machine cannot ask for the lock.
        (SILENT_SECONDS + 5, {"beats": False}, True),
        (LONG_AGO + 5, {"beats": False}, False),
        (5, {"beats": False, "host": None, "process": "gone"}, False),
    ],
)
@pytest.mark.parametrize("no_locks", [errno.ENOLCK], indirect=True)
def test_without_locks_a_mark_that_is_renewed_lives(
    no_locks: list[int], tmp_path: Path, age: float, others: dict[str, object], lives: bool
) -> None:
    said = dict(others)
    if "host" in said:
        said["host"] = os.uname().nodename
        said["process"] = os.getpid() if said["process"] == "own" else gone()
    folder = marked(tmp_path, "one", age, **said)
    assert bool(sweep_dead(shelf_of(tmp_path, "other"))) == lives
    assert folder.exists() == lives
    assert no_locks


def test_with_locks_here_a_run_without_them_elsewhere_lives(tmp_path: Path) -> None:
    marked(tmp_path, "one", 5)
    [running] = sweep_dead(shelf_of(tmp_path, "other"))
    assert running.host == ELSEWHERE


def test_a_lock_that_is_not_passed_on_from_another_machine_is_not_believed(tmp_path: Path) -> None:
    folder = marked(tmp_path, "one", 5, beats=False, spread=True)
    other = shelf_of(tmp_path, "other")
    [running] = sweep_dead(other)
    assert running.host == ELSEWHERE
    sweep_dead(other, now=time.time() + SILENT_SECONDS)
    assert not folder.exists()
    # On this machine the lock is known.
    folder = marked(tmp_path, "one", 5, beats=False, spread=True, host=os.uname().nodename)
    assert sweep_dead(other) == []
    assert not folder.exists()


def test_a_mark_that_was_made_a_moment_ago_is_let_be(tmp_path: Path) -> None:
    folder = marked(tmp_path, "one", 0)
    (folder / ALIVE).write_bytes(b"")
    other = shelf_of(tmp_path, "other")
    assert sweep_dead(other) == []
    assert folder.exists()
    sweep_dead(other, now=time.time() + 2 * BEAT_SECONDS)
    assert not folder.exists()


def test_a_mark_that_somebody_holds_is_let_be_whatever_it_says(tmp_path: Path) -> None:
    folder = marked(tmp_path, "one", 2 * BEAT_SECONDS)
    with (folder / ALIVE).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.truncate()
        os.utime(folder / ALIVE, (0, 0))
        assert sweep_dead(shelf_of(tmp_path, "other")) == []
        assert folder.exists()
    sweep_dead(shelf_of(tmp_path, "other"))
    assert not folder.exists()
