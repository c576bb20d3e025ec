"""Looking from end to end: rules, reasons, windows and previews in what a run writes."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from cutting_room import frames_of, freeze, join, turned_over
from painted import read_index

from finecut.io.media.frames.contact_sheet import Sheet
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.records import Window
from finecut.pipeline.cli.command import main
from finecut.pipeline.cli.final_words import final_words
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.running import run
from finecut.transforms.steps.preview import frames_of_window

OPTIONS = Options(input=("films",), output="out")
MOVING = (Scene(0, (60, 0), 120, texture=20),)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds that move, three that stand still."""
    folder = tmp_path_factory.mktemp("films")
    moving = paint(tmp_path_factory.mktemp("half") / "moving.mp4", seconds=3, scenes=MOVING)
    freeze(moving.path, folder / "half.mp4", 90)
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of three seconds."""
    folder = tmp_path_factory.mktemp("scenes")
    paint(folder / "half.mp4", seconds=6, cuts=(3.0,), sound="aac")
    return folder


def options_for(films: Path, output: Path, **changes: Any) -> Options:
    plain = Options(
        input=(str(films),),
        output=str(output),
        clip_length=3.0,
        preset="ultrafast",
        no_generate_embeddings=True,
        workers=1,
    )
    return replace(plain, **changes)


def metas(output: Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (output / "metas/v0").iterdir()]
    return sorted(found, key=lambda meta: meta["duration_span"][0])


def test_the_still_half_is_rejected_and_says_why(films: Path, tmp_path: Path) -> None:
    ran = run(options_for(films, tmp_path, motion_filter="enable"))
    moving, still = metas(tmp_path)
    assert moving["motion_score"]["global_mean"] > 0.001
    assert still["motion_score"]["global_mean"] < 1e-5
    assert "filtered_by" not in moving
    assert still["filtered_by"] == "motion"
    assert Path(moving["clip_location"]).parent.name == "clips"
    assert Path(still["clip_location"]).parent.name == "filtered_clips"
    assert Path(still["clip_location"]).exists()
    assert ran.summary.rejected_by == {"motion": 1}
    assert ran.summary.shots_kept == ran.summary.shots_rejected == 1
    chunk = json.loads(next((tmp_path / "processed_clip_chunks").iterdir()).read_text())
    assert chunk["num_clips_filtered_by_motion"] == 1
    assert chunk["num_clips_passed"] == 1
    assert chunk["filtered_clips"] == [still["span_uuid"]]


def test_score_only_measures_and_keeps(films: Path, tmp_path: Path) -> None:
    changes = {"motion_filter": "score-only", "quality_filter": "score-only"}
    ran = run(options_for(films, tmp_path, **changes))
    assert ran.summary.shots_kept == 2
    for meta in metas(tmp_path):
        assert set(meta["motion_score"]) == {"global_mean", "per_patch_min_256"}
        assert {"sharpness", "exposure", "blackness", "frozen"} <= set(meta["scores"])


def test_a_rule_switches_on_what_it_needs(films: Path, tmp_path: Path) -> None:
    ran = run(options_for(films, tmp_path, keep=("frozen<0.5",)))
    moving, still = metas(tmp_path)
    assert ran.summary.rejected_by == {"frozen<0.5": 1}
    assert still["filtered_by"] == "frozen<0.5"
    assert still["scores"]["frozen"] == 1.0
    assert moving["scores"]["frozen"] == 0.0
    assert "motion_score" not in moving


def test_nothing_is_measured_unless_asked_for(films: Path, tmp_path: Path) -> None:
    run(options_for(films, tmp_path))
    for meta in metas(tmp_path):
        assert not {"motion_score", "scores", "aesthetic_score"} & set(meta)
        assert meta["windows"] == [{"start_frame": 0, "end_frame": 89}]
    assert not (tmp_path / "previews").exists()


def previews(output: Path) -> Mapping[str, list[av.VideoFrame]]:
    return {
        str(path.relative_to(output / "previews")): list(webp_frames(path))
        for path in sorted((output / "previews").rglob("*.webp"))
    }


def webp_frames(path: Path) -> list[av.VideoFrame]:
    """The pictures of an animated WebP (which FFmpeg only writes)."""
    image = pytest.importorskip("PIL.Image")
    frames = []
    with image.open(path) as picture:
        assert picture.n_frames == 1 or picture.info["loop"] == 0
        for number in range(picture.n_frames):
            picture.seek(number)
            array = np.asarray(picture.convert("RGB"))
            frames.append(av.VideoFrame.from_ndarray(array, format="rgb24"))
    return frames


WINDOWED = {
    "generate_previews": True,
    "preview_target_fps": 2.0,
    "preview_target_height": 180,
    "preview_quality": 90,
    "window_size": 40,
    "window_remainder": 8,
}


def test_previews_show_their_windows(scenes: Path, tmp_path: Path) -> None:
    run(options_for(scenes, tmp_path, **WINDOWED))
    made = previews(tmp_path)
    [first, second] = [meta["span_uuid"] for meta in metas(tmp_path)]
    windows = ("0_39", "40_79", "80_89")
    assert set(made) == {f"{clip}/{w}.webp" for clip in (first, second) for w in windows}
    for clip, begin in ((first, 0), (second, 90)):
        for window in windows:
            start, end = map(int, window.split("_"))
            frames = made[f"{clip}/{window}.webp"]
            numbers = [read_index(f.reformat(format="yuv420p")) - begin for f in frames]
            assert numbers == [n for n in (0, 15, 30, 45, 60, 75, 89) if start <= n <= end]


def test_rejected_clips_have_no_previews(films: Path, tmp_path: Path) -> None:
    ran = run(options_for(films, tmp_path, motion_filter="enable", **WINDOWED))
    moving, still = metas(tmp_path)
    assert {name.split("/")[0] for name in previews(tmp_path)} == {moving["span_uuid"]}
    assert len(still["windows"]) == 3
    assert ran.summary.shots_rejected == 1


def test_without_room_for_sheets_the_same_is_made(scenes: Path, tmp_path: Path) -> None:
    roomy, tight = tmp_path / "roomy", tmp_path / "tight"
    scratch = tmp_path / "scratch"
    run(options_for(scenes, roomy, scratch=str(scratch), **WINDOWED))
    [own] = scratch.iterdir()
    assert list(own.iterdir()) == []  # put away when nobody needed them any more
    run(options_for(scenes, tight, scratch=str(scratch), scratch_mb=0, **WINDOWED))
    one, other = previews(roomy), previews(tight)
    assert set(one) == set(other)
    for name, frames in one.items():
        assert [read_index(f.reformat(format="yuv420p")) for f in frames] == [
            read_index(f.reformat(format="yuv420p")) for f in other[name]
        ]


def test_a_window_between_two_frames_of_the_sheet_still_gets_one() -> None:
    zeros = np.zeros((3, 2), np.uint8)
    sheet = Sheet(2, 2, 2, (0, 30, 60), (0.0, 1.0, 2.0), (zeros,) * 3)
    assert frames_of_window(sheet, Window(31, 44), 1.0) == [1]
    assert frames_of_window(sheet, Window(0, 59), 1.0) == [0, 1]
    assert frames_of_window(sheet, Window(0, 89), 0.5) == [0, 2]


def test_scenes_by_content_and_by_a_list(scenes: Path, tmp_path: Path) -> None:
    detects = {"splitting_algorithm": "content", "clip_length": 10.0, "crop": 0.0}
    run(options_for(scenes, tmp_path / "found", min_clip_length=1.0, **detects))
    spans = [meta["duration_span"] for meta in metas(tmp_path / "found")]
    # The frame before the cut belongs to neither, as in the reference; so does the very last one.
    assert spans == [[0.0, 89 / 30], [3.0, 179 / 30]]
    cuts = tmp_path / "cuts.csv"
    cuts.write_text("half.mp4,3\n")
    changes = {"cuts": str(cuts), "min_clip_length": 1.0, "clip_length": 10.0}
    run(options_for(scenes, tmp_path / "given", **changes))
    spans = [meta["duration_span"] for meta in metas(tmp_path / "given")]
    assert spans == [[0.0, 3.0], [3.0, 6.0]]
    for meta, frames in zip(metas(tmp_path / "given"), (range(90), range(90, 180)), strict=True):
        path = Path(meta["clip_location"])
        assert [read_index(frame) for frame in frames_of(path)] == list(frames)


def test_a_clip_that_is_judged_otherwise_is_not_in_both_places(films: Path, tmp_path: Path) -> None:
    where = []
    for keep in ((), ("frozen<0.5",), ()):
        run(options_for(films, tmp_path, keep=keep, generate_previews=True))
        folders = [p.parent.name for p in sorted(tmp_path.rglob("*.mp4"))]
        previewed = len(list(tmp_path.rglob("previews/**/*.webp")))
        where.append((folders.count("clips"), folders.count("filtered_clips"), previewed))
    assert where == [(2, 0, 2), (1, 1, 1), (2, 0, 2)]
    run(options_for(films, tmp_path, keep=("frozen<0.5",), no_upload_clips=True))
    assert len(list(tmp_path.rglob("*.mp4"))) == 1


@pytest.mark.parametrize(
    ("rate", "fps"),
    [
        (30, 7.0),
        (5, 20.0),
        *(
            pytest.param(rate, fps, marks=pytest.mark.slow)
            for rate, fps in ((30, 4.0), (24, 10.0), (60, 8.0))
        ),
    ],
)
def test_a_preview_is_as_long_as_its_clip(rate: int, fps: float, tmp_path: Path) -> None:
    """All pictures there are, at the pace of the film, whatever the two rates."""
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "films").mkdir()
    paint(tmp_path / "films/a.mp4", seconds=3, rate=rate)
    changes = {"generate_previews": True, "preview_target_fps": fps, "window_size": 1000}
    run(options_for(tmp_path / "films", tmp_path / "out", **changes))
    [path] = tmp_path.rglob("previews/**/*.webp")
    with image.open(path) as picture:
        lengths = []
        for number in range(picture.n_frames):
            picture.seek(number)
            picture.load()
            lengths.append(picture.info["duration"])
    assert len(lengths) == pytest.approx(3 * min(fps, rate), abs=1)
    assert sum(lengths) == pytest.approx(3000, abs=1000 / min(fps, rate) + 2)


def test_an_upside_down_film_is_measured_like_any_other(tmp_path: Path) -> None:
    """Its rows lie in memory from below; and what breaks in looking is said."""
    (tmp_path / "films").mkdir()
    painting = paint(tmp_path / "a.mp4", seconds=3)
    turned_over(painting.path, tmp_path / "films/a.mp4")
    ran = run(options_for(tmp_path / "films", tmp_path / "out", quality_filter="enable"))
    [meta] = metas(tmp_path / "out")
    assert "errors" not in meta
    assert meta["scores"]["sharpness"] > 0.3
    assert ran.summary.marked == {}


def test_what_breaks_in_making_a_preview_is_said(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finecut.io.media.frames.small_pictures.TICKS", 0)
    ran = run(options_for(films, tmp_path, generate_previews=True))
    for meta in metas(tmp_path):
        assert meta["errors"] == ["preview"]
        assert meta["error_messages"]["preview"]
        assert not meta["valid"]
    assert ran.summary.marked == {"preview": 2}
    assert "marked   2 clips: 2 with preview" in final_words(OPTIONS, ran.summary, 1.0, "")


MEASURES = {"motion_filter": "score-only", "quality_filter": "score-only"}
LOOKS: dict[str, Any] = {
    "motion_filter": "score-only",
    "quality_filter": "enable",
    "generate_previews": True,
    "preview_target_fps": 5.0,
    "clip_stride": 1.0,
    "no_generate_embeddings": False,
}


def test_looking_writes_the_same_with_any_number_of_workers(films: Path, tmp_path: Path) -> None:
    trees = []
    for workers in (1, 3):
        output = tmp_path / "out"
        run(options_for(films, output, workers=workers, **LOOKS))
        for told in ("runs", "report"):  # what they say of themselves has times in it
            shutil.rmtree(output / told)
        files = sorted(path for path in output.rglob("*") if path.is_file())
        assert len(files) >= 15
        trees.append({str(path): path.read_bytes() for path in files})
        shutil.rmtree(output)
    assert trees[0] == trees[1]


def test_a_list_of_cuts_for_other_films_is_a_mistake(films: Path, tmp_path: Path) -> None:
    cuts = tmp_path / "cuts.csv"
    cuts.write_text("other.mp4,3\n")
    options = options_for(films, tmp_path / "out", cuts=str(cuts), clip_length=10.0)
    with pytest.raises(
        OptionError, match=r"none of the 1 videos that were found.*such as half.mp4"
    ):
        run(options)


def test_a_scratch_folder_that_cannot_be_is_refused(films: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (str(tmp_path / "file"), "gs://bucket/sheets"):
        with pytest.raises(OptionError, match="cannot be written to"):
            run(options_for(films, tmp_path / "out", scratch=place, generate_previews=True))
    assert not Path("gs:").exists()  # as a place on a disk it would be one below this folder


def test_a_films_pictures_may_change_their_size(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    parts = [
        paint(
            tmp_path / f"{n}.mp4", width=w, height=h, seconds=2, codec="mjpeg", pix_fmt="yuvj420p"
        )
        for n, (w, h) in enumerate(((320, 180), (160, 90), (320, 180)))
    ]
    join([part.path for part in parts], tmp_path / "films/a.avi")
    run(options_for(tmp_path / "films", tmp_path / "out", clip_length=6.0, **MEASURES))
    meta, *others = metas(tmp_path / "out")
    assert "errors" not in meta
    assert meta["motion_score"]["global_mean"] > 0
    assert meta["num_frames"] == 180
    # The header promises 23 seconds, as of a film that ends on a still.
    assert {said["filtered_by"] for said in others} == {"no_frames"}


def test_verbose_is_heard_also_after_a_quiet_run(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    words = ["curate", "--input", str(films), "--output", str(tmp_path / "out"), "--no-report"]
    for more, heard in (["--quiet"], False), (["--verbose"], True), (["--quiet"], False):
        assert main([*words, "--no-generate-embeddings", *more]) == 0
        assert ("it is finished" in capsys.readouterr().err) == heard
