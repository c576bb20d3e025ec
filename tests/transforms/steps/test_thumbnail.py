"""Thumbnails: the best frame of each kept clip, made, judged anew, verified and cleaned."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import Runs, differences, tree
from painted import read_index
from performing import performed, verify
from PIL import Image

from finecut.io.dataset.output import Output
from finecut.io.media.frames.contact_sheet import Sheet
from finecut.io.media.testfilm.paint import Flash, Scene, paint
from finecut.pipeline.commands.refilter import RefilterOptions
from finecut.pipeline.commands.report import ReportOptions
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
from finecut.transforms.steps.thumbnail import Thumbnail, best_frame

RATE = 10
#: The only frame of those sampled that is no flash of white, in each clip of three seconds.
BEST = (20, 40)
USUAL: dict[str, Any] = {
    "clip_length": 3.0,
    "min_clip_length": 1.0,
    "chunk_seconds": 6,
    "motion_filter": "score-only",
    "no_generate_embeddings": True,
    "generate_thumbnails": True,
    "no_isolation": True,
    "no_report": True,
    "workers": 1,
}

BARE: dict[str, Any] = {"generate_thumbnails": False}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips: each is white where it is sampled, but for one frame; the second stands still."""
    folder = tmp_path_factory.mktemp("films")
    paint(
        folder / "a.mp4",
        width=320,
        height=180,
        rate=RATE,
        seconds=6,
        scenes=[Scene(velocity=(90.0, 60.0), pan=90.0), Scene()],
        cuts=(3,),
        flashes=[Flash(at, 3) for at in (0, 0.9, 2.7, 3, 4.9, 5.7)],
    )
    return folder


@pytest.fixture(scope="module")
def made(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return curated(films, tmp_path_factory.mktemp("made") / "out")


def curated(films: Path, output: Path, **others: Any) -> Path:
    summary = run(Options((str(films),), output=str(output), **{**USUAL, **others})).summary
    assert summary.imbalances() == []
    return output


def thumbnails(output: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (output / "thumbnails").glob("*")}


def wrong(output: Path) -> set[tuple[str, str]]:
    found = verify(VerifyOptions(dataset=str(output), workers=1, quick=True)).findings
    return {(finding.kind, finding.path.partition("/")[0]) for finding in found}


def test_the_sharpest_well_lit_frame_is_best() -> None:
    rows, columns = np.mgrid[:64, :64]
    checks = (((rows // 8 + columns // 8) % 2) * 120 + 70).astype(np.uint8)
    slope = (columns * 2 + 60).astype(np.uint8)
    lumas = [np.full((64, 64), 16), slope, checks, checks // 3, np.full((64, 64), 235)]
    chroma = np.full((32, 64), 128)
    frames = tuple(np.concatenate([luma, chroma]).astype(np.uint8) for luma in lumas)
    places = tuple(range(len(lumas)))
    assert best_frame(Sheet(64, 64, 1, places, tuple(map(float, places)), frames)) == 2


def test_each_kept_clip_has_its_best_frame(made: Path) -> None:
    output = Output.at(str(made))
    entries = {entry.id: entry for chunk in output.chunks() for entry in output.entries(chunk)}
    pictures = {clip: Image.open(io.BytesIO(data)) for clip, data in thumbnails(made).items()}
    assert pictures.keys() == entries.keys()
    seen = [
        read_index(np.asarray(pictures[clip]))
        for clip in sorted(entries, key=lambda clip: entries[clip].span)
    ]
    assert seen == [*BEST]
    assert {picture.size for picture in pictures.values()} == {(320, 180)}
    assert {picture.format for picture in pictures.values()} == {"JPEG"}


def test_size_and_quality_are_asked_for(films: Path, made: Path, tmp_path: Path) -> None:
    small = thumbnails(curated(films, tmp_path / "small", thumbnail_side=90))
    rough = thumbnails(curated(films, tmp_path / "rough", thumbnail_quality=10))
    assert {Image.open(io.BytesIO(data)).size for data in small.values()} == {(160, 90)}
    assert all(len(rough[clip]) < len(data) for clip, data in thumbnails(made).items())


def test_a_rejected_clip_has_none_and_refiltering_removes_it(
    films: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, dropped = sorted(thumbnails(made))
    (tmp_path / "list.txt").write_text(dropped)
    drop = (str(tmp_path / "list.txt"),)
    assert [*thumbnails(curated(films, tmp_path / "anew", drop=drop))] == [kept]
    judged = curated(films, tmp_path / "judged")
    usual: dict[str, Any] = {"dataset": str(judged), "workers": 1, "yes": True}
    assert performed(RefilterOptions(**usual, drop=drop).check()) == 0
    assert [*thumbnails(judged)] == [kept]
    assert wrong(judged) == set()
    # Only curation can make one: what would be kept without is left as it is.
    capsys.readouterr()
    performed(RefilterOptions(**usual, drop=("",)).check())
    assert "would be kept under the new rules, but without thumbnail" in capsys.readouterr().out
    assert [*thumbnails(judged)] == [kept]


def test_a_run_without_them_removes_those_of_an_earlier_one(films: Path, tmp_path: Path) -> None:
    output = curated(films, tmp_path / "out")
    assert thumbnails(output)
    curated(films, output, **BARE)
    assert not thumbnails(output)
    assert wrong(output) == set()


@pytest.mark.slow
def test_a_killed_run_is_finished_by_the_next(films: Path, tmp_path: Path) -> None:
    options = {**USUAL, "input": (str(films),)}
    with Runs(tmp_path / "log") as runs:
        points = runs.run(options, tmp_path / "whole")
        place = next(
            n for n, point in enumerate(points, 1) if point.endswith(".jpg") and "rename" in point
        )
        assert not runs.run(options, tmp_path / "killed", kill_at=place + 1)
        runs.run(options, tmp_path / "killed")
    whole, again = tree(tmp_path / "whole"), tree(tmp_path / "killed")
    assert differences(whole, again) == []
    assert sum(name.startswith("thumbnails/") for name in again) == 2


def test_the_report_shows_them(made: Path, films: Path, tmp_path: Path) -> None:
    for output, there in ((made, "true"), (curated(films, tmp_path / "out", **BARE), "false")):
        assert performed(ReportOptions(dataset=str(output))) == 0
        page = (output / "report" / "index.html").read_text(encoding="utf-8")
        assert f'"thumbnails":{there}' in page


def test_damage_is_found(made: Path, films: Path, tmp_path: Path) -> None:
    assert wrong(made) == set()
    output = curated(films, tmp_path / "out")
    one, other = sorted((output / "thumbnails").iterdir())
    whole = one.read_bytes()
    one.write_bytes(whole[: len(whole) // 2])
    assert wrong(output) == {("artefact-broken", "thumbnails")}
    one.unlink()
    assert wrong(output) == {("artefact-missing", "thumbnails")}
    one.write_bytes(whole)
    (output / "thumbnails" / "stranger.jpg").write_bytes(whole)
    assert wrong(output) == {("orphan", "thumbnails")}
    assert Thumbnail.damage(b"GIF89a") == "has 6 bytes and does not begin as a JPEG does"
    assert other.read_bytes().startswith(b"\xff\xd8")
