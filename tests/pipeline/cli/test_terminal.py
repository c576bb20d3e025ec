"""What a terminal shows while a run goes on, and what a pipe gets instead."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from pseudo_terminal import COMMAND, recorded

from finecut.io.media.testfilm.paint import paint

#: Long enough for the line to move a few times.
FILM = {"width": 640, "height": 360, "rate": 25, "seconds": 24}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    paint(folder / "a.mp4", **FILM)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As long, and sooner done."""
    folder = tmp_path_factory.mktemp("small")
    paint(folder / "a.mp4", width=128, height=72, rate=10, seconds=24)
    return folder


def test_a_terminal_sees_it_move_and_end(films: Path, tmp_path: Path) -> None:
    code, shown = recorded(films, tmp_path / "out", "--preset", "slow")
    assert code == 0
    live, _, words = shown.partition("videos   1 found")
    states = live.replace("\r\n", "\n").split("\r")
    shares = [int(found[1]) for state in states if (found := re.search(r" (\d+)%,", state))]
    assert len(set(shares)) > 1, shares
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert states[-1].startswith("done ")
    # One line, written over; nothing else in between.
    assert live.count("\n") == 1
    assert "\x1b" not in shown
    assert "see " in words


def test_a_narrow_terminal_is_not_wrapped(small: Path, tmp_path: Path) -> None:
    _, shown = recorded(small, tmp_path / "out", "--preset", "ultrafast", columns=30)
    live = shown.partition("videos   1 found")[0].replace("\r\n", "")
    assert max(map(len, live.split("\r"))) < 30


def test_a_quiet_run_says_nothing(small: Path, tmp_path: Path) -> None:
    code, shown = recorded(small, tmp_path / "out", "--preset", "ultrafast", "--quiet")
    assert (code, shown) == (0, "")
    assert list((tmp_path / "out" / "clips").iterdir())


def test_a_pipe_gets_plain_lines(small: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "--input", str(small), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, check=True)
    for text in (done.stdout, done.stderr):
        assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", text), text
    *before, last = done.stderr.decode().splitlines()
    assert re.match(r"done +3 clips, 1 of 1 video probed, 100%, \d+\.\dx real time", last)
    assert all(re.match(r"(finding|probing|cutting) ", line) for line in before), before
