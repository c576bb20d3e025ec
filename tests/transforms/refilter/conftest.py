"""What tests of refiltering begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from refiltering import curated

from finecut.io.media.testfilm.paint import Scene, paint


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
