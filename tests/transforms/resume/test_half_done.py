"""A video half done is gone on with: chunks that an earlier run closed are not cut again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faults import Runs, differences, tree

from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

#: Three chunks of two clips.
CLIPS, IN_A_CHUNK = 6, 2


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    paint(folder / "a.mp4", width=64, height=36, rate=10, seconds=CLIPS)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with Runs(tmp_path_factory.mktemp("log") / "log.txt") as runs:
        yield runs


def choices(films: Path, **more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "input": (str(films),),
        "clip_length": 1.0,
        "min_clip_length": 1.0,
        "chunk_seconds": IN_A_CHUNK,
        "workers": 1,
        "write_threads": 1,
        "no_generate_embeddings": True,
    }
    return usual | more


def options(films: Path, output: Path, **more: Any) -> Options:
    return Options(output=str(output), **choices(films, **more))


@pytest.fixture(scope="module")
def whole(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole") / "out"
    run(options(films, output))
    return output


@pytest.fixture(scope="module")
def halves(films: Path, runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Outputs of runs that were killed when one, two and three chunks were closed."""
    folder = tmp_path_factory.mktemp("halves")
    killed = []
    for chunks in (1, 2, 3):
        output = folder / f"killed {chunks}" / "out"
        runs.run(
            choices(films), output, kill_at=f" to processed_clip_chunks/a.mp4_{chunks - 1}.json"
        )
        assert len([*(output / "processed_clip_chunks").iterdir()]) == chunks
        assert not [*(output / "processed_videos").glob("*")]
        killed.append(output)
    return killed


@pytest.fixture(params=[1, 2, 3])
def half(request: pytest.FixtureRequest, halves: list[Path]) -> tuple[Path, int]:
    output = halves[request.param - 1]
    kept = output.with_name("kept")
    if kept.exists():
        shutil.rmtree(output)
        shutil.copytree(kept, output)
    else:
        shutil.copytree(output, kept)
    return output, request.param


def test_chunks_that_were_closed_are_not_cut_again(
    half: tuple[Path, int], films: Path, whole: Path
) -> None:
    output, chunks = half
    before = {path: path.stat().st_mtime_ns for path in (output / "clips").iterdir()}
    summary = run(options(films, output)).summary
    assert summary.imbalances() == []
    assert summary.shots_resumed == chunks * IN_A_CHUNK
    assert summary.shots_planned == summary.shots_kept == CLIPS - chunks * IN_A_CHUNK
    assert (summary.videos_done, summary.seconds_found) == (1, CLIPS)
    assert differences(tree(output), tree(whole)) == []
    stayed = [path for path, when in before.items() if path.stat().st_mtime_ns == when]
    assert len(stayed) >= chunks * IN_A_CHUNK
    again = run(options(films, output)).summary
    assert again.videos_skipped == 1


@pytest.mark.parametrize("more", [{"crf": 40}, {"overwrite": True}, {"clip_length": 2.0}], ids=str)
def test_what_was_made_otherwise_is_made_again(
    more: dict[str, Any], half: tuple[Path, int], films: Path, tmp_path: Path
) -> None:
    output, _ = half
    summary = run(options(films, output, **more)).summary
    assert (summary.shots_resumed, summary.videos_done) == (0, 1)
    fresh = tmp_path / "fresh"
    run(options(films, fresh, **more))
    assert differences(tree(output), tree(fresh)) == []


def test_a_source_that_was_replaced_is_cut_anew(
    half: tuple[Path, int], films: Path, tmp_path: Path
) -> None:
    output, _ = half
    other = Path(shutil.copytree(films, tmp_path / "films"))
    (other / "a.mp4").touch()
    named = {"named_as": str(films)}
    summary = run(options(other, output, **named)).summary
    assert (summary.shots_resumed, summary.shots_planned) == (0, CLIPS)


def test_what_is_said_of_it_now_is_said_of_all_clips(
    half: tuple[Path, int], films: Path, tmp_path: Path
) -> None:
    output, _ = half
    told = tmp_path / "list.csv"
    told.write_text(f"path,license\n{films}/a.mp4,CC0\n")
    summary = run(replace(options(films, output), input=(str(told),))).summary
    assert summary.shots_resumed == 0
    documents = [json.loads(path.read_text()) for path in (output / "metas/v0").iterdir()]
    assert [document["source"] for document in documents] == CLIPS * [{"license": "CC0"}]


@pytest.mark.parametrize("spoilt", [b"", b"{}", b'{"video": "x", "clips": ["../../x"]}'])
def test_a_document_that_is_none_is_written_again(
    spoilt: bytes, half: tuple[Path, int], films: Path, whole: Path
) -> None:
    output, chunks = half
    (output / "processed_clip_chunks/a.mp4_0.json").write_bytes(spoilt)
    if b"x" in spoilt:
        return
    summary = run(options(films, output)).summary
    assert summary.shots_resumed == (chunks - 1) * IN_A_CHUNK
    assert differences(tree(output), tree(whole)) == []


def test_what_was_known_of_a_source_outlives_the_document_that_said_it(
    films: Path, runs: Runs, tmp_path: Path
) -> None:
    """A folder says nothing of its videos: then what an earlier run knew stays, also when one that
    was killed in between has withdrawn the document.
    """
    output, told = tmp_path / "out", tmp_path / "list.csv"
    told.write_text(f"path,license\n{films}/a.mp4,CC0\n")
    usual: dict[str, Any] = {"no_isolation": True, "limit_clips": 1, "motion_filter": "score-only"}
    runs.run(choices(films, input=(str(told),), **usual), output)
    other = choices(films, crf=40, **usual)
    refiltering: dict[str, Any] = {"keep": ("motion<0",), "yes": True, "workers": 1}
    withdrawn = "remove processed_videos/a.mp4.json"
    for kill, told_it in ((runs.run, other), (runs.refilter, refiltering)):
        assert kill(told_it, output, kill_at=withdrawn) == []
        assert not (output / "processed_videos/a.mp4.json").exists()
        runs.run(other, output)
        documents = [*(output / "metas/v0").iterdir(), *(output / "processed_videos").iterdir()]
        said = [json.loads(path.read_text())["source"] for path in documents]
        assert said == 2 * [{"license": "CC0"}]


@pytest.mark.slow
def test_previews_of_other_windows_go_wherever_a_run_is_killed(
    films: Path, runs: Runs, tmp_path: Path
) -> None:
    """A finished video's documents tell of its windows; of a killed run nobody does."""
    usual = {"no_isolation": True, "generate_previews": True, "preview_target_height": 36}
    finished, other, last = (choices(films, window_size=size, **usual) for size in (4, 5, 7))
    runs.run(last, tmp_path / "fresh")
    points = runs.run(finished, tmp_path / "counted") and runs.run(other, tmp_path / "counted")
    wrong = {}
    for place in range(2, len(points), len(points) // 8):
        output = tmp_path / f"out{place}"
        runs.run(finished, output)
        assert runs.run(other, output, kill_at=place) == []
        runs.run(last, output)
        if found := differences(tree(output), tree(tmp_path / "fresh")):
            wrong[points[place - 1]] = found
    assert wrong == {}
