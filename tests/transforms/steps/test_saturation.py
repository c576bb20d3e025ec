"""Saturation: grey has none, pure colours have all of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
from finecut.transforms.steps.saturation import Saturation, SaturationOptions, saturation_of


def plain(*colour: int) -> np.ndarray:
    return np.full((8, 8, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("colour", "saturation"),
    [((90, 90, 90), 0.0), ((255, 0, 0), 1.0), ((200, 100, 100), 0.5), ((0, 12, 0), 0.0)],
)
def test_saturation_of_a_plain_picture(colour: tuple[int, int, int], saturation: float) -> None:
    assert saturation_of(plain(*colour)) == pytest.approx(saturation)


def test_a_clip_has_the_mean_of_its_frames() -> None:
    step = Saturation(SaturationOptions())
    assert step.load()([plain(255, 0, 0), plain(9, 9, 9)]) == {"saturation": pytest.approx(0.5)}
    assert step.load()([]) == {}


def test_grey_clips_are_rejected_and_others_kept(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    film = paint(tmp_path / "films" / "a.mp4", width=96, height=54, seconds=2)
    options = Options(
        input=(str(film.path),),
        output=str(tmp_path / "out"),
        saturation_filter="enable",
        no_generate_embeddings=True,
        clip_length=1.0,
        min_clip_length=1.0,
        keep=("saturation<=0.9999",),
    )
    summary = run(options).summary
    documents = [json.loads(path.read_text()) for path in (tmp_path / "out/metas/v0").iterdir()]
    assert len(documents) == summary.shots_kept + summary.shots_rejected == 2
    for document in documents:
        saturation = document["scores"]["saturation"]
        assert 0 <= saturation <= 1
        rejected_by = None if saturation >= 0.05 else "saturation"
        assert document.get("filtered_by") == rejected_by
