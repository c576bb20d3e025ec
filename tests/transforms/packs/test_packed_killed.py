"""A run that packs may be killed anywhere: the next one leaves what none that was killed would."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import Runs, differences, staged, tree

from finecut.io.dataset.output import Output
from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.options import Options

NO_PREVIEWS = {
    "generate_previews": False,
    "preview_target_height": Options.preview_target_height,  # which does nothing without them
}
Kills = Callable[[list[str]], list[tuple[int, bool]]]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One film of three seconds: three clips, in two chunks."""
    folder = tmp_path_factory.mktemp("films")
    paint(folder / "a.mp4", width=64, height=36, rate=10, seconds=3)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with Runs(tmp_path_factory.mktemp("runs") / "log.json") as server:
        yield server


def choices(films: Path, **others: Any) -> dict[str, Any]:
    return {
        "input": (str(films),),
        "layout": "packed",
        "clip_length": 1.0,
        "min_clip_length": 0.5,
        "chunk_seconds": 2,
        "workers": 1,
        "generate_previews": True,
        "preview_target_height": 36,
        "no_generate_embeddings": True,
        # Changes that another process makes are not heard of, and starting one takes seconds.
        "no_isolation": True,
        **others,
    }


def torn_promises(root: Path) -> list[str]:
    """What documents of chunks promise, and cannot be read as they promise it."""
    wrong, seen = [], set[str]()
    output = Output.at(str(root), packs=True)
    for chunk in output.chunks():
        for entry in output.entries(chunk):
            if entry.id in seen:
                wrong.append(f"{entry.id} is in two chunks")
            seen.add(entry.id)
            if len(entry.film.read()) != entry.document["num_bytes"]:
                wrong.append(f"{entry.id} is torn")
            for path, place in entry.packed.items():
                if not place.read().startswith(b"RIFF"):
                    wrong.append(f"{path} is torn")
    return wrong


def killed_and_done_again(
    runs: Runs, first: dict[str, Any], last: dict[str, Any], output: Path, kills: Kills
) -> list[str]:
    """What is wrong after each of these kills of the first run, and after a second one."""
    points = runs.run(first, output)
    shutil.rmtree(output)
    runs.run(last, output)
    whole = tree(output)
    assert sum(name.startswith("packs/") for name in whole) >= 2
    shutil.rmtree(output)
    wrong = []
    for place, torn in kills(points):
        runs.run(first, output, kill_at=place, torn=torn)
        found = []
        if (output / "processed_clip_chunks").exists():
            found += torn_promises(output)
        runs.run(last, output)
        found += differences(tree(output), whole) + staged(output) + torn_promises(output)
        if found:
            wrong.append(f"{place}, about {[*points, 'the end'][place - 1]}: {found}")
        shutil.rmtree(output)
    return wrong


def around_packs(points: list[str]) -> list[int]:
    """The points at which something of the protocol is moved to its final name, and the next."""
    names = ("to packs/", "to .finecut/rows/", "to processed_", "remove .finecut/open")
    places = [n for n, point in enumerate(points, 1) if any(name in point for name in names)]
    return sorted({*places, *(place + 1 for place in places if place < len(points))})


@pytest.mark.xdist_group("faults")
@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 9])
def test_killed_at_every_write_of_the_protocol(
    every: int, runs: Runs, films: Path, tmp_path: Path
) -> None:
    def kills(points: list[str]) -> list[tuple[int, bool]]:
        places = around_packs(points)
        assert len(places) >= 9
        return [(place, False) for place in places[1::every]]

    options = choices(films)
    assert killed_and_done_again(runs, options, options, tmp_path / "out", kills) == []


@pytest.mark.slow
@pytest.mark.xdist_group("faults")
def test_killed_at_any_point(runs: Runs, films: Path, tmp_path: Path) -> None:
    def kills(points: list[str]) -> list[tuple[int, bool]]:
        moves = [n for n, point in enumerate(points, 1) if point.startswith("rename ")]
        everywhere = [(place, False) for place in range(1, len(points) + 4)]
        return everywhere + [(place, True) for place in moves]

    options = choices(films)
    assert killed_and_done_again(runs, options, options, tmp_path / "out", kills) == []


@pytest.mark.xdist_group("faults")
@pytest.mark.parametrize(
    "others",
    [
        {"clip_length": 1.5},
        pytest.param(NO_PREVIEWS, marks=pytest.mark.slow),
        pytest.param({"chunk_seconds": 8}, marks=pytest.mark.slow),
    ],
    ids=["clips", "previews", "chunks"],
)
def test_killed_and_done_again_with_other_options(
    others: dict[str, Any], runs: Runs, films: Path, tmp_path: Path
) -> None:
    """What the killed run has packed is another one's then."""

    def kills(points: list[str]) -> list[tuple[int, bool]]:
        return [(place, False) for place in around_packs(points)[3::9]]

    last = choices(films, **others)
    assert killed_and_done_again(runs, choices(films), last, tmp_path / "out", kills) == []


@pytest.mark.slow
@pytest.mark.xdist_group("faults")
def test_replacing_a_finished_video_may_be_killed(runs: Runs, films: Path, tmp_path: Path) -> None:
    """The archives get their final names again, with other bytes."""
    output, before, wanted = tmp_path / "out", choices(films), choices(films, crf=40)
    runs.run(wanted, output)
    whole = tree(output)
    shutil.rmtree(output)
    runs.run(before, output)
    shutil.copytree(output, tmp_path / "before")
    points = runs.run(wanted, output)
    for place in around_packs(points):
        shutil.rmtree(output)
        shutil.copytree(tmp_path / "before", output)
        assert runs.run(wanted, output, kill_at=place) == []
        said = f"{place}, about {points[place - 1]}"
        assert torn_promises(output) == [], said
        runs.run(wanted, output)
        assert differences(tree(output), whole) + staged(output) == [], said


@pytest.mark.xdist_group("faults")
@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 40])
def test_a_refiltering_may_be_killed_anywhere(
    every: int, runs: Runs, films: Path, tmp_path: Path
) -> None:
    """The table of a chunk is replaced in one step, and the same command does the rest."""
    output, before = tmp_path / "out", tmp_path / "before"
    runs.run(choices(films, motion_filter="score-only"), output)
    shutil.copytree(output, before)
    options = {"keep": ("motion>=1",), "yes": True, "quiet": True, "workers": 1}
    points = runs.refilter(options, output)
    whole = tree(output)
    wrong = []
    for place in range(1, len(points) + 1)[1::every]:
        shutil.rmtree(output)
        shutil.copytree(before, output)
        runs.refilter(options, output, place)
        found = torn_promises(output) if (output / "processed_clip_chunks").exists() else []
        runs.refilter(options, output)
        found += differences(tree(output), whole) + staged(output) + torn_promises(output)
        wrong += [f"{place}, about {points[place - 1]}: {found}"] if found else []
    assert wrong == []
