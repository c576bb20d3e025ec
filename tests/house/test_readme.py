"""What the docs show can be copied, and where they point there is something.

Commands are parsed, those of README run one after the other, Python runs, links and anchors lead
to a page, and paths of the house to a file.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.pipeline.cli.command import parser_of
from finecut.pipeline.cli.flags import parse_options
from finecut.pipeline.commands.base import all_commands
from finecut.pipeline.options import Options
from finecut.transforms.registry import SCORING

README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
SCORES_PAGE = ROOT / "docs" / "scores.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]
#: Pages that are for people who change finecut.
HOUSE = [CONTRIBUTING, *sorted((DOCS / "design").glob("*.md"))]
CLOUD = ROOT / "templates/README.md"
LINKED = [*PAGES, CONTRIBUTING, CLOUD, ROOT / "CHANGELOG.md"]
ROOMS = ("front", "io", "pipeline", "transforms", "benchmarks", "constraints", "templates", "tests")
#: What a command in a text may have that cannot be run here: another machine, or models to fetch.
ELSEWHERE = ("gs://", "--runner", "http://", "--model-dir", "…", "LIST", "failures/")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Every finecut command line in a page, as a shell would split it."""
    shown = "\n".join(blocks(page, "sh") + blocks(page, "bash")).replace("\\\n", " ")
    shown = shown.replace("$SLURM_ARRAY_TASK_ID", "1")  # which Slurm says
    lines = (shlex.split(line, comments=True) for line in shown.splitlines())
    return [words for words in lines if words[:1] == ["finecut"]]


ALL = [
    pytest.param(words, id=f"{name_of(page)}: {' '.join(words)[:60]}")
    for page in PAGES
    for words in commands(page)
]
PYTHON = [
    pytest.param(block, id=f"{name_of(page)} {number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "python"))
]


# ── where they point ─────────────────────────────────────────────────────────────────────────────
def prose(page: Path) -> str:
    """A page without its examples."""
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    return re.sub(r"`[^`\n]*`", lambda code: code[0] if "](" not in code[0] else "", text)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and the site give to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_each_page_is_in_the_site() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r": (\S+\.md)$", text, re.MULTILINE)
    outside = {"index.md", "contributing.md", "changelog.md", "google-cloud.md"}
    inside = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert sorted(listed) == sorted(outside | inside)


@pytest.mark.parametrize("page", [*HOUSE, CLOUD, DOCS / "benchmarks.md"], ids=name_of)
def test_paths_of_the_house_exist(page: Path) -> None:
    for path in re.findall(r"`((?:[a-z_]+/)+[\w.]*)`", page.read_text(encoding="utf-8")):
        if path.split("/")[0] in ROOMS and not (page == CONTRIBUTING and path.startswith("x/")):
            assert (ROOT / path).exists(), path


def test_each_room_has_its_line() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    for init in (init for room in ROOMS[1:4] for init in (ROOT / room).rglob("__init__.py")):
        room = init.parent
        has_line = f"`{name_of(room)}/`" in text or f"`{room.name}/`" in text
        assert has_line, f"{name_of(room)}/ has no line in CONTRIBUTING's rooms"


def test_each_score_has_its_row() -> None:
    text = SCORES_PAGE.read_text(encoding="utf-8")
    for step in SCORING:
        assert f"`{step.flag()}`" in text, f"{step.name} has no row in docs/scores.md"
        for score in step.scores:
            named = f"`{score.name}`" in text
            assert named, f"the score {score.name} has no row in docs/scores.md"


def test_each_command_is_named() -> None:
    text = README.read_text(encoding="utf-8")
    for name in all_commands():
        assert f"`finecut {name}" in text, f"finecut {name} has no row in README"


def test_the_first_pages_are_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 250
    assert len(CONTRIBUTING.read_text(encoding="utf-8").splitlines()) <= 400


# ── what they show ───────────────────────────────────────────────────────────────────────────────
def test_there_are_examples() -> None:
    assert len(ALL) > 15
    assert len(blocks(README, "python")) == 2


@pytest.mark.parametrize("block", PYTHON)
def test_its_imports_exist(block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("finecut"):
            names = dir(importlib.import_module(str(node.module)))
            assert {alias.name for alias in node.names} <= set(names)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_its_json_is_json(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block)


@pytest.mark.parametrize("words", ALL)
def test_a_command_is_understood(words: list[str]) -> None:
    _, name, *others = (word for word in words if word != "…")
    kind, rest = all_commands()[name].meant(others)
    given = kind.Options is not Options or {"--input", "--output"} <= {*rest}
    whole = kind.whole and given
    parse_options(parser_of(kind), [*kind.typed(rest)], kind.Options, whole)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader may have it: a few videos in videos/."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "videos").mkdir()
    scenes = [Scene(palette, (40.0, 30.0), 25.0, 20) for palette in (0, 3)]
    for name in "ab":
        film = folder / "videos" / f"{name}.mp4"
        paint(film, width=160, height=90, rate=10, seconds=10, cuts=(5,), scenes=scenes)
    return folder


def surroundings() -> dict[str, str]:
    """With the finecut of these tests first among what can be called."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_its_python_runs(place: Path) -> None:
    """One block after the other, as a reader would: the last reads what the first wrote."""
    library, reading = blocks(README, "python")
    step, words = blocks(DOCS / "custom-steps.md", "python")
    (place / "colours.py").write_text(step, encoding="utf-8")
    (place / "cameras.py").write_text(words, encoding="utf-8")
    program = f"{library}\nimport cameras, colours\n{reading}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, capture_output=True, text=True, check=False
    )
    if "torch" in done.stderr and "No module" in done.stderr:
        pytest.skip("torch is not installed")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d clips, \d+\.\d seconds$", done.stdout, re.MULTILINE)
    assert "torch.Size([8, 64, 64, 3])" in done.stdout


@pytest.mark.slow
def test_commands_run_one_after_the_other(place: Path) -> None:
    """Those of README, of a custom step, and then the Python that reads what they wrote."""
    step, training = DOCS / "custom-steps.md", DOCS / "training.md"
    (place / "colours.py").write_text(blocks(step, "python")[0], encoding="utf-8")
    ran = 0
    for words in commands(README) + commands(step):
        if any(sign in word for word in words for sign in ELSEWHERE):
            continue
        done = subprocess.run(
            words, cwd=place, env=surroundings(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"
        ran += 1
    assert ran >= 8
    assert (place / "shards" / "index.parquet").exists()
    assert (place / "dataset" / "report" / "index.html").exists()
    for block in blocks(DOCS / "shards.md", "python") + blocks(training, "python"):
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=place, capture_output=True, text=True, check=False
        )
        if not re.search("No module named '(torch|torchdata)", done.stderr):
            assert done.returncode == 0, f"{block}\n{done.stderr}"
