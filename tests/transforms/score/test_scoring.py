"""Scoring: what models say reaches the clips, and an accident costs a score and no clip."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from cutting_room import QUICK, planned_at, video_of
from numpy.typing import NDArray

from finecut.io.media.cutting import Recipe, cut
from finecut.io.media.frames.contact_sheet import SheetForm
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.records import Chunk, Clip
from finecut.io.storage.staging import Scratch
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
from finecut.transforms.measure.looking import Looking
from finecut.transforms.models.weights.folders import WeightsMissing
from finecut.transforms.score.clips import ScoreClips, Scoring, scored, scored_or_not

Frames = Sequence[NDArray[np.uint8]]


def brightness(frames: Frames) -> Mapping[str, float]:
    """A model: how bright a clip is, and of how many frames it was told."""
    return {"bright": float(np.mean(frames)), "frames": float(len(frames))}


def moody(frames: Frames) -> Mapping[str, float]:
    """A model that breaks down over dark clips."""
    scores = brightness(frames)
    if scores["bright"] < 100:
        raise RuntimeError("it is too dark")
    return scores


def load(model: Any) -> Any:
    return model


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """A dark one and a bright one, cut and staged."""
    folder = tmp_path_factory.mktemp("clips")
    film = paint(folder / "a.mp4", seconds=4, cuts=(2.0,), scenes=(Scene(4), Scene(3)))
    video = video_of(film)
    cuts = cut(film.path, video, planned_at((0.0, 2.0), (2.0, 4.0)), Recipe(folder, QUICK))
    return [
        Clip(video, Chunk("c", 0, 2, 1, 2), result.planned, result.file, str(result.path))
        for result in cuts
    ]


@pytest.fixture
def looking(tmp_path: Path) -> Looking:
    return Looking(sheet=SheetForm((2,), side=64), scratch=Scratch(1_000_000, str(tmp_path)))


def scoring_with(model: Any, looking: Looking, rate: float = 2.0) -> Scoring:
    return Scoring("mood", partial(load, model), partial(load, model), rate, looking, 64)


def test_a_clip_is_scored_by_its_own_frames(clips: list[Clip], looking: Looking) -> None:
    dark, bright = (scored(c, brightness, scoring_with(brightness, looking)) for c in clips)
    assert dark.scores["bright"] < 90
    assert bright.scores["bright"] > 150
    assert dark.scores["frames"] == 5  # at 0, ½, 1, 1½ s and the last one
    again = scored(clips[0], brightness, scoring_with(brightness, looking, rate=1.0))
    assert again.scores["frames"] == 3


def test_scores_are_added_to_those_there_are(clips: list[Clip], looking: Looking) -> None:
    clip = clips[0].replace(scores={"motion_global_mean": 0.5})
    assert set(scored(clip, brightness, scoring_with(brightness, looking)).scores) == {
        "motion_global_mean",
        "bright",
        "frames",
    }


def test_a_rejected_clip_is_not_looked_at(clips: list[Clip], looking: Looking) -> None:
    clip = clips[0].replace(rejected_by="motion")
    assert scored_or_not(clip, brightness, scoring_with(brightness, looking)) == clip


def test_an_accident_costs_the_score_only(clips: list[Clip], looking: Looking) -> None:
    dark, bright = (scored_or_not(c, moody, scoring_with(moody, looking)) for c in clips)
    assert dark.errors == {"mood": "RuntimeError: it is too dark"}
    assert "bright" not in dark.scores
    assert dark.kept
    assert bright.errors == {}
    assert bright.scores["bright"] > 100


def test_the_transform_says_what_the_function_says(clips: list[Clip], looking: Looking) -> None:
    scoring = scoring_with(moody, looking)
    plain = sorted((scored_or_not(c, moody, scoring) for c in clips), key=lambda c: c.id)

    def check(found: list[Clip]) -> None:
        assert [c.id for c in plain] == [c.id for c in sorted(found, key=lambda c: c.id)]
        for ours, theirs in zip(sorted(found, key=lambda c: c.id), plain, strict=True):
            assert ours.errors == theirs.errors
            assert ours.scores == pytest.approx(theirs.scores)

    with beam.Pipeline("FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create(clips) | ScoreClips(scoring), check)


# From the command's options to the documents.


def tiny_models(folder: Path) -> dict[str, str]:
    """A CLIP and a head of the real classes, with few and random weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    safetensors = pytest.importorskip("safetensors.torch")
    torch.manual_seed(0)
    tower: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    tower |= {"num_attention_heads": 4, "initializer_factor": 8.0}
    config = transformers.CLIPConfig(
        text_config={**tower, "vocab_size": 50, "max_position_embeddings": 8},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    transformers.CLIPModel(config).save_pretrained(folder / "openai/clip-vit-large-patch14")
    head = folder / "ttj/sac-logos-ava1-l14-linearMSE"
    head.mkdir(parents=True)
    widths = (16, 24, 12, 8, 4, 1)
    tensors = {}
    for place, before, after in zip((0, 2, 4, 6, 7), widths[:-1], widths[1:], strict=True):
        tensors[f"layers.{place}.weight"] = torch.randn(after, before) / before**0.5
        tensors[f"layers.{place}.bias"] = torch.randn(after)
    safetensors.save_file(tensors, head / "model.safetensors")
    return {"model_dir": str(folder)}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    paint(folder / "a.mp4", seconds=4, cuts=(2.0,), scenes=(Scene(4, (80, 30)), Scene(3, (50, 9))))
    return folder


def documents(output: Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (output / "metas/v0").iterdir()]
    return sorted(found, key=lambda meta: meta["duration_span"][0])


def options_for(films: Path, output: Path, **changes: Any) -> Options:
    return Options(
        input=(str(films),),
        output=str(output),
        clip_length=2.0,
        preset="ultrafast",
        no_generate_embeddings=True,
        **changes,
    )


def test_beauty_from_options_to_documents(films: Path, tmp_path: Path) -> None:
    models = tiny_models(tmp_path / "models")
    run(options_for(films, tmp_path / "one", aesthetic_filter="score-only", **models))
    scores = [meta["aesthetic_score"] for meta in documents(tmp_path / "one")]
    assert len(set(scores)) == 2
    between = sum(scores) / 2
    ran = run(options_for(films, tmp_path / "two", aesthetic_threshold=between, **models))
    assert ran.summary.rejected_by == {"aesthetic": 1}
    for meta, score in zip(documents(tmp_path / "two"), scores, strict=True):
        assert meta["aesthetic_score"] == pytest.approx(score, rel=1e-6)
        assert meta.get("filtered_by") == ("aesthetic" if score < between else None)
    chunk = json.loads(next((tmp_path / "two/processed_clip_chunks").iterdir()).read_text())
    assert chunk["num_clips_filtered_by_aesthetic"] == 1


def test_the_mean_of_the_frames_is_not_less_than_the_least(films: Path, tmp_path: Path) -> None:
    models = tiny_models(tmp_path / "models")
    found = {}
    for reduction in ("min", "mean"):
        output = tmp_path / reduction
        options = options_for(
            films,
            output,
            aesthetic_filter="score-only",
            aesthetic_reduction=reduction,
            aesthetic_target_fps=4.0,
            **models,
        )
        run(options)
        found[reduction] = [meta["aesthetic_score"] for meta in documents(output)]
    assert all(a > b for a, b in zip(found["mean"], found["min"], strict=True))


def test_text_and_unsafe_content_from_options_to_documents(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    changes = {"text_filter": "score-only", "keep": ("unsafe>=2",)}
    try:
        ran = run(options_for(films, tmp_path, **changes))
    except WeightsMissing as error:
        pytest.skip(str(error))
    assert ran.summary.rejected_by == {"unsafe>=2": 2}
    for meta in documents(tmp_path):
        assert set(meta["scores"]) == {"text_coverage", "text_max", "unsafe_max", "unsafe_mean"}
        assert 0 <= meta["scores"]["text_coverage"] <= meta["scores"]["text_max"] < 0.1
        assert 0 <= meta["scores"]["unsafe_mean"] <= meta["scores"]["unsafe_max"] < 0.8


def test_missing_models_are_known_before_any_work(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    changes = {"aesthetic_threshold": 4.0, "aesthetic_clip": str(tmp_path / "none")}
    with pytest.raises(WeightsMissing, match="no folder"):
        run(options_for(films, tmp_path / "out", **changes))
    assert not (tmp_path / "out/clips").exists()
