"""Outputs among inputs: what finecut made is never its own input, in this run or a later one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_store import FaultyStore

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.records import Source
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.commands.curate.launch import job
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
from finecut.transforms.find.inputs import Finding, find_sources
from finecut.transforms.find.lists import InputError
from finecut.transforms.find.notifications import noticed


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    (folder / "day").mkdir(parents=True)
    scene = Scene(velocity=(60.0, 40.0))
    paint(folder / "day/a.mp4", width=64, height=36, rate=10, seconds=2, scenes=[scene])
    return folder


def choices(films: Path | str, output: Path | str, **others: object) -> Options:
    return Options(
        input=(str(films),),
        output=str(output),
        clip_length=1.0,
        min_clip_length=0.5,
        workers=1,
        no_generate_embeddings=True,
        no_isolation=True,
        no_report=True,
        **others,  # type: ignore[arg-type]
    )


def names(sources: list[Source]) -> list[str]:
    return [source.relative for source in sources]


@pytest.mark.parametrize("reached", ["films", "link", "films/.", "films/day/.."])
def test_an_output_that_is_the_input_is_refused(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: str
) -> None:
    (tmp_path / "link").symlink_to(films)
    monkeypatch.chdir(tmp_path)
    for wanted in (choices(films, reached), choices(reached, films)):
        with pytest.raises(InputError, match="the folder of the source videos itself"):
            run(wanted)
        with pytest.raises(InputError, match="the folder of the source videos itself"):
            job(wanted)
    assert [path.name for path in films.iterdir()] == ["day"]


def test_an_output_of_a_store_that_is_the_input_is_refused() -> None:
    wanted = choices("gs://films/all/", "gs://films/all", runner="DirectRunner")
    with pytest.raises(InputError, match="the folder of the source videos itself"):
        job(wanted)


@pytest.mark.parametrize("below", ["clips", "clips/deeper", "filtered_clips/*.mp4"])
def test_clips_of_an_output_are_no_input_of_it(films: Path, tmp_path: Path, below: str) -> None:
    for folder in ("out/clips/deeper", "out/filtered_clips"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(InputError, match="contains clips of --output"):
        run(choices(tmp_path / "out" / below, tmp_path / "out"))


@pytest.mark.parametrize("spec", ["", "/**/*.mp4", "/*/*/*/*.mp4"])
def test_outputs_in_an_input_are_not_found_by_any_run(
    films: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, spec: str
) -> None:
    """Neither by the run that writes there, nor by another, nor by a link to it."""
    first = run(choices(films, films / "day/out")).summary
    assert (first.videos_found, first.shots_kept) == (1, 2)
    again = run(choices(films, films / "day/out")).summary
    assert (again.videos_found, again.videos_skipped) == (1, 1)
    (tmp_path / "link").symlink_to(films / "day/out")
    assert run(choices(films, tmp_path / "link")).summary.videos_found == 1
    caplog.clear()
    with caplog.at_level(logging.ERROR, "finecut"):
        found = find_sources(Finding((f"{films}{spec}",)))
    assert {Path(source.uri).name for source in found} <= {"a.mp4"}
    [told] = [record.getMessage() for record in caplog.records]
    assert f"{films}/day/out is a dataset written by finecut, so its 2 clips" in told


def test_what_a_killed_run_left_is_not_found(films: Path) -> None:
    for mark in (".finecut/open", "metas/v0", "processed_clip_chunks"):
        output = films / f"out {mark.partition('/')[0]}"
        for folder in (mark, "clips", ".staging/run/1", "filtered_clips/ab"):
            (output / folder).mkdir(parents=True)
            (output / folder / "x.mp4").write_bytes(b"a clip")
    assert {Path(source.uri).name for source in find_sources(Finding((str(films),)))} >= {"a.mp4"}
    relative = names(find_sources(Finding((str(films),))))
    assert [name for name in relative if "clips" in name or ".staging" in name] == []


def test_folders_that_are_called_like_ours_are_searched(films: Path) -> None:
    """A folder named clips is an output's only beside an output's other folders."""
    for folder in ("clips", "filtered_clips/x", "processed_videos", "previews"):
        (films / folder).mkdir(parents=True)
        (films / folder / "b.mp4").write_bytes(b"a film")
    relative = names(find_sources(Finding((str(films),))))
    assert relative == [
        "clips/b.mp4",
        "day/a.mp4",
        "filtered_clips/x/b.mp4",
        "previews/b.mp4",
        "processed_videos/b.mp4",
    ]


def test_clips_that_are_named_are_cut_again(films: Path, tmp_path: Path) -> None:
    run(choices(films, films / "out"))
    into = tmp_path / "again"
    assert run(choices(films / "out/clips", into)).summary.videos_found == 2
    [first, _] = sorted((films / "out/clips").iterdir())
    listed = tmp_path / "list.txt"
    listed.write_text(f"{first}\n")
    assert len(find_sources(Finding((str(listed),)))) == 1
    assert len(find_sources(Finding((f"{films}/out/clips/*.mp4",)))) == 2


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Films, and an output of an earlier run among them."""
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    root = "gs://bucket/films"
    own = Shelf(root, f"{root}/.staging/test")
    for name in ("a.mp4", "clips/c.mp4", "out/clips/b.mp4", "out/processed_clip_chunks/a_0.json"):
        own.write(f"{root}/{name}", b"something")
    yield root
    store.close()


def test_outputs_in_a_bucket_are_not_found(bucket: str) -> None:
    assert names(find_sources(Finding((bucket,)))) == ["a.mp4", "clips/c.mp4"]


def test_a_stream_takes_no_notice_of_clips(bucket: str) -> None:
    finding = Finding((bucket,), without=(f"{bucket}/other/clips",))
    told = {"eventType": "OBJECT_FINALIZE", "bucketId": "bucket"}
    for name, is_film in (
        ("a.mp4", True),
        ("clips/c.mp4", True),
        ("out/clips/b.mp4", False),
        ("other/clips/d.mp4", False),
    ):
        source = noticed({**told, "objectId": f"films/{name}"}, finding)
        assert (source is not None) == is_film, name
