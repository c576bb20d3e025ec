"""What README shows can be copied: its commands are run, its Python is executed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.pipeline.cli.command import parsers
from finecut.pipeline.cli.flags import parse_after, parse_options
from finecut.pipeline.commands.options import COMMANDS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What a command in a text may have that cannot be run here: another machine, or models to fetch.
ELSEWHERE = ("gs://", "--runner", "http://", "--model-dir", "…", "LIST", "failures/")


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Every finecut command line in a page, as a shell would split it."""
    shown = "\n".join(blocks(page, "sh") + blocks(page, "bash")).replace("\\\n", " ")
    lines = (shlex.split(line, comments=True) for line in shown.splitlines())
    return [words for words in lines if words[:1] == ["finecut"]]


ALL = [
    pytest.param(words, id=f"{page.name}: {' '.join(words)[:60]}")
    for page in PAGES
    for words in commands(page)
]


def test_there_are_examples() -> None:
    assert len(ALL) > 15
    assert len(blocks(PAGES[0], "python")) == 3


@pytest.mark.parametrize("words", ALL)
def test_a_command_is_understood(words: list[str]) -> None:
    _, name, *rest = (word for word in words if word != "…")
    parser = parsers()[1][name]
    if name in COMMANDS:
        parse_after(parser, rest, COMMANDS[name])
    elif name in ("demo", "completion"):
        parser.parse_args(rest)
    else:
        whole = "--input" in rest and "--output" in rest
        parse_options(parser, rest, whole=whole and name != "doctor")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader may have it: a few films in films/."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "films").mkdir()
    scenes = [Scene(palette, (40.0, 30.0), 25.0, 20) for palette in (0, 3)]
    for name in "ab":
        film = folder / "films" / f"{name}.mp4"
        paint(film, width=160, height=90, rate=10, seconds=10, cuts=(5,), scenes=scenes)
    return folder


def surroundings() -> dict[str, str]:
    """With the finecut of these tests first among what can be called."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_its_python_runs(place: Path) -> None:
    """One block after the other, as a reader would: the last reads what the first wrote."""
    library, step, reading = blocks(PAGES[0], "python")
    (place / "colours.py").write_text(step, encoding="utf-8")
    program = f"{library}\nimport colours\n{reading}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, capture_output=True, text=True, check=False
    )
    if "torch" in done.stderr and "No module" in done.stderr:
        pytest.skip("torch is not installed")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d clips, \d+\.\d seconds$", done.stdout, re.MULTILINE)
    assert "torch.Size([8, 64, 64, 3])" in done.stdout


@pytest.mark.slow
def test_its_commands_run_one_after_the_other(place: Path) -> None:
    [step] = [block for block in blocks(PAGES[0], "python") if "EachClip" in block]
    (place / "colours.py").write_text(step, encoding="utf-8")
    ran = 0
    for words in commands(PAGES[0]):
        if any(sign in word for word in words for sign in ELSEWHERE):
            continue
        done = subprocess.run(
            words, cwd=place, env=surroundings(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"
        ran += 1
    assert ran >= 6
    assert (place / "shards" / "index.parquet").exists()
    assert (place / "dataset" / "report" / "index.html").exists()
