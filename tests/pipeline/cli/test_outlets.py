"""Standard output that is full, closed or left by its reader: the work counts, and nothing breaks.

The command is run as a shell runs it, in a process of its own, with these things at its other end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from finecut.io.media.testfilm.paint import paint

COMMAND = (sys.executable, "-m", "finecut.pipeline.cli.command")
FULL = "/dev/full"
LOST = "finecut: some output could not be written to standard output: "
WHY = {
    "full": "No space left on device",
    "closed": "it is closed",
    "left": "Broken pipe",
}
#: What is asked for is words, and nothing else.
WORDS = (
    ["--help"],
    ["--version"],
    ["curate", "--help"],
    ["describe", "--input", "films", "--output", "out"],
    ["completion", "bash"],
)

pytestmark = pytest.mark.skipif(not Path(FULL).exists(), reason="this system has no /dev/full")


def told(
    arguments: Sequence[str | Path], out: str, err: str = "", folder: Path | None = None
) -> tuple[int, str]:
    """The exit code, and what stands on standard error, with this at the other end."""
    shell = {"full": f">{FULL}", "closed": ">&-", "left": "", "": ""}[out]
    shell += {"full": f" 2>{FULL}", "closed": " 2>&-", "": ""}[err]
    reading, writing = os.pipe()
    os.close(reading)  # whoever would read what "left" writes has gone
    try:
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {shell}', "sh", *COMMAND, *map(str, arguments)],
            stdout=writing if out == "left" else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    paint(folder / "a.mp4", width=64, height=36, rate=10, seconds=2)
    return folder


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        *((words, "full") for words in WORDS),
        *((WORDS[0], out) for out in ("closed", "left")),
        pytest.param(WORDS[3], "closed", marks=pytest.mark.slow),
        pytest.param(WORDS[3], "left", marks=pytest.mark.slow),
    ],
)
def test_words_that_nobody_takes_cost_a_line(
    arguments: list[str], out: str, tmp_path: Path
) -> None:
    code, err = told(arguments, out, folder=tmp_path)
    assert err == f"{LOST}{WHY[out]}\n"
    # A file that holds half a description is not what was asked for. Who left has read enough.
    assert code == (0 if out == "left" else 1)


@pytest.mark.parametrize(
    "out",
    [
        pytest.param("full", marks=pytest.mark.slow),  # which tries other commands, too
        "left",
        pytest.param("closed", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_cannot_be_told_of_is_done(films: Path, out: str, tmp_path: Path) -> None:
    made: list[str | Path] = ["--input", films, "--output", tmp_path / "out", "--clip-length", "1"]
    made += ["--min-clip-length", "1", "--no-generate-embeddings"]
    code, err = told(["curate", *made, "--log-stats"], out)
    assert code == 0
    assert err.splitlines()[-1] == f"{LOST}{WHY[out]}"
    assert "Traceback" not in err
    assert len(list((tmp_path / "out/clips").iterdir())) == 2
    assert len(list((tmp_path / "out/processed_videos").iterdir())) == 1
    others: tuple[list[str | Path], ...] = (
        ["verify"],
        ["report"],
        ["shard", "--output", tmp_path / "shards"],
    )
    for command in others if out == "full" else ():
        code, err = told([command[0], tmp_path / "out", *command[1:]], out)
        assert (code, err.splitlines()[-1]) == (0, f"{LOST}{WHY[out]}"), command
        assert "Traceback" not in err


@pytest.mark.slow
def test_a_doctor_that_nobody_listens_to_comes_to_its_end() -> None:
    code, err = told(["doctor"], "left")
    assert (code, err) == (0, f"{LOST}{WHY['left']}\n")


@pytest.mark.parametrize("err", ["full", pytest.param("closed", marks=pytest.mark.slow)])
def test_progress_that_nobody_takes_holds_nothing_up(films: Path, err: str, tmp_path: Path) -> None:
    made: list[str | Path] = ["--input", films, "--output", tmp_path / "out", "--clip-length", "1"]
    made += ["--min-clip-length", "1", "--no-generate-embeddings"]
    code, _ = told(["curate", *made], "closed", err)
    assert code == 0
    # Nothing that was said stands in a file of ours that took the place of a closed descriptor.
    assert len(list((tmp_path / "out/clips").iterdir())) == 2
    assert told(["verify", tmp_path / "out"], "full", err)[0] == 0
    assert told(["curate"], "", err)[0] == 2


def test_a_name_that_the_terminal_cannot_spell_is_escaped(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    made: list[str | Path] = [
        "--input",
        films,
        "--output",
        tmp_path / "größe",
        "--clip-length",
        "1",
        "--min-clip-length",
        "1",
        "--no-generate-embeddings",
    ]
    done = subprocess.run(
        [*COMMAND, "curate", *map(str, made)],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert rb"gr\xf6\xdfe" in done.stdout
