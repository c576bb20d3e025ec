"""How tests refilter: a small output to curate, the command, and what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from performing import performed

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.summary import Summary
from finecut.pipeline.commands.refilter import RefilterOptions
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

#: Between what moves and what stands still, and between the two things that move.
LOW, HIGH = 0.0005, 0.005
USUAL: dict[str, Any] = {
    "clip_length": 1.0,
    "min_clip_length": 0.5,
    "chunk_seconds": 2,
    "workers": 1,
    "motion_filter": "score-only",
    "no_generate_embeddings": True,
    "no_isolation": True,
    "no_report": True,
}


def choices(films: Path, **others: Any) -> dict[str, Any]:
    return {"input": (str(films),), **USUAL, **others}


def curated(films: Path, output: Path, **others: Any) -> Summary:
    summary = run(Options(output=str(output), **choices(films, **others))).summary
    assert summary.imbalances() == []
    return summary


def refiltered(output: Path, yes: bool = True, **given: Any) -> int:
    return performed(RefilterOptions(dataset=str(output), workers=1, yes=yes, **given).check())


def tree(output: Path, *others: Path) -> dict[str, bytes]:
    """Every file but what runs say of themselves; roots that documents name stand as ROOT."""
    found = {}
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output).as_posix()
        if path.is_file() and not name.startswith(("runs/", "report/", ".staging/")):
            data = path.read_bytes()
            for root in (output, *others):
                data = data.replace(bytes(root), b"ROOT")
            found[name] = data
    return found


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of a second: two that pan, one that stands; two with a number that counts; none."""
    folder = tmp_path_factory.mktemp("films")
    panned = Scene(velocity=(60.0, 40.0), pan=40.0)
    size: dict[str, Any] = {"width": 96, "height": 54, "rate": 10}
    paint(folder / "a.mp4", seconds=3, scenes=[panned, Scene()], cuts=(2,), **size)
    paint(folder / "b.mp4", seconds=2, **size)
    paint(folder / "short.mp4", seconds=0.3, **size)
    return folder


@pytest.fixture(scope="module")
def scored(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output in which nothing was rejected, and nothing made for the kept."""
    output = tmp_path_factory.mktemp("scored") / "output"
    assert curated(films, output).shots_kept == 5
    return output
