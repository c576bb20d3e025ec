"""A run as a whole: the same command gives the same tree, however the work is dealt out.

The films are tiny, but of several reels each: clips of 2 seconds, chunks of 4.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

import finecut.pipeline
from finecut.io.media.testfilm.paint import Painting, paint
from finecut.io.records import Clip, Source
from finecut.io.storage.staging import Running
from finecut.io.summary import Summary
from finecut.pipeline.curation import curate
from finecut.pipeline.options import Options
from finecut.pipeline.planning import plan
from finecut.pipeline.running import run
from finecut.transforms.catalogue.compact import compact
from finecut.transforms.cut.chunk import cut_chunk
from finecut.transforms.find.inputs import find_sources
from finecut.transforms.find.probe import probe_source
from finecut.transforms.resume.begin import begin
from finecut.transforms.resume.note import open_video
from finecut.transforms.split.spans import chunks_of
from finecut.transforms.write.close import ChunkClosed, Seen, close_planned
from finecut.transforms.write.commit import close, outcome_of, write_clip
from finecut.transforms.write.writing import Outcome


class Films(NamedTuple):
    """A folder of films and what is true of them."""

    folder: Path
    truths: tuple[Painting, ...]


class Dataset(NamedTuple):
    """What a run wrote, and what it said."""

    output: Path
    summary: Summary


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    """Films of 3, 2, 2 and 0 clips, in 2, 1, 1 and 0 chunks."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "sub").mkdir()
    return Films(
        folder,
        (
            paint(folder / "long.mp4", width=160, height=90, rate=15, seconds=6, sound="aac"),
            paint(folder / "sub" / "other.mkv", width=192, height=108, rate=24, seconds=5),
            paint(folder / "sub" / "third.mp4", width=160, height=90, rate=30, seconds=4),
            paint(folder / "short.mp4", width=160, height=90, rate=15, seconds=1),
        ),
    )


def options_for(films: Films, output: Path, workers: int = 2, overwrite: bool = False) -> Options:
    return Options(
        overwrite=overwrite,
        input=(str(films.folder),),
        output=str(output),
        clip_length=2.0,
        chunk_seconds=4,
        workers=workers,
    )


@pytest.fixture(scope="module")
def dataset(films: Films, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """What two workers made."""
    output = tmp_path_factory.mktemp("dataset") / "output"
    return Dataset(output, run(options_for(films, output)).summary)


def tree(output: Path) -> dict[str, bytes]:
    """Every file, staged ones too; the name of the output itself stands in documents as OUTPUT.

    What runs say of themselves differs by the time they took, and is left out.
    """
    return {
        path.relative_to(output).as_posix(): path.read_bytes().replace(bytes(output), b"OUTPUT")
        for path in output.rglob("*")
        if not path.is_dir() and path.relative_to(output).parts[0] not in ("runs", "report")
    }


def test_the_summary_is_what_is_true_of_the_films(dataset: Dataset, films: Films) -> None:
    summary = dataset.summary
    assert summary.imbalances() == []
    assert summary.failures == ()
    assert (summary.videos_found, summary.videos_done, summary.videos_empty) == (4, 3, 1)
    assert (summary.shots_planned, summary.shots_kept) == (7, 7)
    seconds = [2 * (film.duration // 2) for film in films.truths]
    assert summary.seconds_kept == sum(seconds) == 14
    found = float(sum(film.duration for film in films.truths))
    assert summary.seconds_found == pytest.approx(found, abs=0.01)
    assert summary.frames == sum(
        len(film.indices_between(0, kept)) for film, kept in zip(films.truths, seconds, strict=True)
    )
    clips = list((dataset.output / "clips").iterdir())
    assert len(clips) == 7
    assert summary.clip_bytes == sum(clip.stat().st_size for clip in clips)


def test_the_same_command_gives_the_same_tree(
    dataset: Dataset, films: Films, tmp_path: Path
) -> None:
    before = dataset.output.rename(tmp_path / "before")
    try:
        assert run(options_for(films, dataset.output)).summary == dataset.summary
        again = {name: (dataset.output / name).read_bytes() for name in tree(dataset.output)}
        assert again == {name: (before / name).read_bytes() for name in tree(before)}
    finally:
        if not dataset.output.exists():
            before.rename(dataset.output)


def test_the_same_command_on_top_of_its_own_output_changes_nothing(
    dataset: Dataset, films: Films
) -> None:
    before = tree(dataset.output)
    again = run(options_for(films, dataset.output)).summary
    assert (again.videos_found, again.videos_skipped, again.shots_planned) == (4, 4, 0)
    assert again.imbalances() == []
    assert run(options_for(films, dataset.output, overwrite=True)).summary == dataset.summary
    assert tree(dataset.output) == before


def test_one_worker_writes_what_two_write(dataset: Dataset, films: Films, tmp_path: Path) -> None:
    assert run(options_for(films, tmp_path / "one", workers=1)).summary == dataset.summary
    assert tree(tmp_path / "one") == tree(dataset.output)


@pytest.mark.slow
def test_a_runner_that_repeats_every_bundle_writes_the_same(
    dataset: Dataset, films: Films, tmp_path: Path
) -> None:
    output = tmp_path / "repeated"
    with beam.Pipeline(runner=FnApiRunner(bundle_repeat=2)) as pipeline:
        curated = curate(pipeline, options_for(films, output))
        assert_that(curated.summary, equal_to([dataset.summary]))
    assert tree(output) == tree(dataset.output)
    assert not (output / ".staging").exists()


def test_batches_add_up_to_the_whole(
    films: Films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(films.folder, tmp_path / "films")
    for name in ("a.mp4", "z.mp4"):
        (tmp_path / "films" / name).write_text("This is not a film.\n", encoding="utf-8")
    mixed = Films(tmp_path / "films", films.truths)

    def options(name: str) -> Options:
        return replace(options_for(mixed, tmp_path / name), no_generate_embeddings=True)

    whole = run(options("whole"))
    monkeypatch.setattr(importlib.import_module("finecut.pipeline.running"), "BATCH_VIDEOS", 2)
    parts = run(options("parts"))
    assert parts.summary == whole.summary
    assert (parts.summary.videos_found, parts.summary.videos_failed) == (6, 2)
    assert parts.summary.imbalances() == []
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")


def test_the_pipeline_is_the_plain_program(dataset: Dataset, films: Films, tmp_path: Path) -> None:
    """The same functions, called one after the other, without Beam."""
    output = tmp_path / "plain"
    steps = plan(options_for(films, output), run="plain")
    embed = steps.works["embed"]
    model, seen = embed.load(), Seen()
    for found in find_sources(steps.finding):
        [source] = begin(found, steps.writing, steps.again)
        assert isinstance(source, Source)
        video = probe_source(source)
        chunks: list[ChunkClosed] = []
        for planned in open_video(chunks_of(video, steps.splitting), steps.writing, steps.again):
            outcomes: list[Outcome] = []
            for clip in cut_chunk(planned, steps.cutting):
                assert isinstance(clip, Clip)
                [known] = embed.run([clip], model)
                outcomes.append(outcome_of(known, write_clip(known, steps.writing)))
            if outcomes:
                [*_, last] = close(outcomes, steps.writing, seen)
                [closed] = last.results
                assert isinstance(closed, ChunkClosed)
                chunks.append(closed)
            else:
                assert len(list(close_planned(planned, steps.writing))) == 1
        # Whoever closes the last chunk closes the video.
        assert [chunk.finished is not None for chunk in chunks][-1:] in ([], [True])
    compact(steps.writing.layout, steps.writing.shelf)
    steps.writing.shelf.sweep()
    assert tree(output) == tree(dataset.output)


@pytest.mark.parametrize("name", finecut.pipeline.__all__)
def test_the_front_door_leads_to_functions_and_classes(name: str) -> None:
    assert not isinstance(getattr(finecut.pipeline, name), ModuleType)


def test_everything_a_run_makes_can_be_used_further(films: Films, tmp_path: Path) -> None:
    options = options_for(films, tmp_path / "output")
    killed = tmp_path / "output/.staging/killed"
    killed.mkdir(parents=True)
    (killed / "alive").write_text(json.dumps(asdict(Running("here", 1, "another"))))
    with beam.Pipeline("FnApiRunner") as pipeline:
        curated = curate(pipeline, options)
        counts = {
            "sources": (curated.sources, 4),
            "videos": (curated.videos, 4),
            "reels": (curated.chunks, 5),
            "clips": (curated.clips, 7),
            "written clips": (curated.written.clips, 7),
            "written metas": (curated.written.metas, 7),
            "written chunks": (curated.written.chunks, 4),
            "written videos": (curated.written.videos, 3),
            "failures": (curated.failures, 0),
            "summary": (curated.summary, 1),
        }
        for name, (collection, count) in counts.items():
            counted = collection | f"Count {name}" >> beam.combiners.Count.Globally()
            assert_that(counted, equal_to([count]), label=f"Check {name}")
        lengths = curated.clips | "Length" >> beam.Map(lambda clip: clip.planned.span.length)
        assert_that(lengths, equal_to([2.0] * 7), label="Check lengths")
    assert not (tmp_path / "output/.staging").exists()


# Figures: slow, because they take films of some length.

MEASURE = """
import json, os, resource, subprocess, sys, time
cores = sorted(os.sched_getaffinity(0))[:2]
os.sched_setaffinity(0, cores)
def idle():
    rows = [line.split() for line in open("/proc/stat")]
    ticks = [int(row[4]) + int(row[5]) for row in rows if row[0] in [f"cpu{n}" for n in cores]]
    return sum(ticks) / os.sysconf("SC_CLK_TCK")
began, idle_before = time.perf_counter(), idle()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "seconds": seconds,
    "cpu": used.ru_utime + used.ru_stime,
    "idle": (idle() - idle_before) / len(cores) / seconds,
    "megabytes": used.ru_maxrss / 1024,
}))
"""
HD: dict[str, Any] = {"width": 1280, "height": 720, "codec_options": {"preset": "ultrafast"}}


def measured(*arguments: str | Path) -> dict[str, float]:
    """What a whole ``finecut curate`` with two workers takes of two cores and of memory.

    Measured from a small process of its own: a child counts the memory it was forked with.
    """
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("measured with two cores of a Linux machine")
    command = [sys.executable, "-m", "finecut.pipeline.cli.command", "curate", "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *command, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@pytest.mark.slow
@pytest.mark.parametrize(
    ("film", "clips", "megabytes"),
    [
        ({**HD, "rate": 10, "seconds": 1800, "sound": "aac"}, 180, 700),
        ({**HD, "width": 3840, "height": 2160, "seconds": 20}, 2, 1500),
    ],
    ids=["half an hour", "4K"],
)
def test_films_long_or_large_fit_into_little_memory(
    film: dict[str, Any], clips: int, megabytes: int, tmp_path: Path
) -> None:
    paint(tmp_path / "film.mp4", **film)
    figures = measured("--input", tmp_path / "film.mp4", "--output", tmp_path / "output")
    assert len(list((tmp_path / "output/clips").iterdir())) == clips
    assert figures["megabytes"] < megabytes, figures


@pytest.mark.slow
def test_one_film_much_longer_than_the_rest_leaves_no_core_idle(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    paint(films / "long.mp4", **HD, seconds=60)
    for number in range(10):
        paint(films / f"{number}.mp4", **HD, seconds=2)
    figures = measured("--input", films, "--output", tmp_path / "output")
    # The last reel, alone, keeps 1.4 of 2 cores busy, and starting is part of the time too.
    assert figures["idle"] < 0.35, figures
