"""Stores that are away for long, GPUs that die, steps that are broken: no clip is lost by them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import dying
import pytest
from away import DEADLINE, Away, wait_shorter
from dying import MARK, Dying
from faulty_store import FaultyStore
from on_prism import command, needs_prism, pool
from retrying import IN_PROCESSES, RetryingRunner
from trees import tree

from finecut.io.errors import RunError
from finecut.io.media.testfilm.paint import paint
from finecut.io.process import children as child
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.curation import curate
from finecut.pipeline.options import Options
from finecut.pipeline.planning import plan
from finecut.pipeline.running import run
from finecut.transforms.beam.weather import DEAD_DEVICE

FILMS, OUTPUT = "gs://bucket/films", "gs://bucket/out"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name in ("a", "b"):
        paint(folder / f"{name}.mp4", width=64, height=36, rate=10, seconds=4)
    return folder


def options(films: str, output: str, **more: Any) -> Options:
    usual: dict[str, Any] = {"clip_length": 1.0, "min_clip_length": 0.5, "chunk_seconds": 2}
    usual |= {"no_generate_embeddings": True, "no_report": True, "workers": 1}
    return Options(input=(films,), output=output, named_as=FILMS, **usual | more)


# ── a store that is away ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def store(films: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    wait_shorter(monkeypatch)
    child.kill_all()
    own = Shelf(OUTPUT, f"{OUTPUT}/.staging/test")
    for path in films.iterdir():
        own.write(f"{FILMS}/{path.name}", path.read_bytes())
    yield store
    store.close()
    child.kill_all()


def written(store: FaultyStore) -> dict[str, bytes]:
    return tree(shelf.files_below(OUTPUT), OUTPUT, FILMS)


@pytest.fixture(scope="module")
def usual(films: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run on this disk writes."""
    output = str(tmp_path_factory.mktemp("usual") / "out")
    assert run(options(str(films), output)).summary.videos_done == 2
    return tree(shelf.files_below(output), output, str(films), FILMS)


QUICK = "publishing a clip"
KINDS = {
    "looking at a film": "GET .*films%2Fa",
    "staging a clip": "POST /upload",
    QUICK: "POST .*rewriteTo.*clips%2F",
    "looking for another chunk": "GET [^?]*clip_chunks%2F",
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, id=name, marks=[pytest.mark.slow] if name != QUICK else [])
        for name, kind in KINDS.items()
    ],
)
def test_a_store_that_is_away_for_three_deadlines_costs_no_clip(
    store: FaultyStore, usual: dict[str, bytes], kind: str
) -> None:
    """By a runner that does bundles again, wherever it begins."""
    runner, away = RetryingRunner(attempts=4), Away(kind, 3 * DEADLINE)
    store.spoiled = away
    # (Decoders in children would wait for two minutes.)
    with beam.Pipeline(runner=runner) as pipeline:
        curate(pipeline, options(FILMS, OUTPUT, no_isolation=True))
    assert away.refused
    assert runner.failed
    assert all("a store was still busy" in said for said in runner.failed)
    assert written(store) == usual


@pytest.mark.slow
def test_nor_before_clips_are_handed_over_to_other_machines(
    store: FaultyStore, usual: dict[str, bytes]
) -> None:
    wanted = options(FILMS, OUTPUT, no_isolation=True)
    runner, away = RetryingRunner(attempts=4), Away(KINDS[QUICK], 3 * DEADLINE, only=True)
    steps = plan(replace(wanted, runner=type(runner).__name__))
    steps = steps._replace(writing=replace(steps.writing, hands_over=True))
    store.spoiled = away
    with beam.Pipeline(runner=runner) as pipeline:
        curate(pipeline, wanted, steps)
    assert runner.failed
    assert all("PublishClips was working on" in said for said in runner.failed)
    assert written(store) == usual


@pytest.mark.slow
def test_where_nothing_is_tried_again_a_video_is_listed_and_done_by_the_next_run(
    store: FaultyStore, usual: dict[str, bytes]
) -> None:
    store.spoiled = away = Away(KINDS["looking for another chunk"], DEADLINE * 1.5)
    wanted = options(FILMS, OUTPUT, no_isolation=True)
    first = run(wanted).summary
    assert away.refused
    assert first.failures
    assert first.videos_done < 2
    time.sleep(max(0.0, (away.began or 0.0) + away.seconds - time.monotonic()))
    second = run(wanted).summary
    assert (second.videos_done + second.videos_skipped, second.failures) == (2, ())
    assert {name: written(store).get(name) for name in usual} == usual


# ── a GPU that dies ──────────────────────────────────────────────────────────────────────────────


def marked(output: Path) -> list[str]:
    """The clips whose documents tell of errors."""
    documents = [json.loads(path.read_text()) for path in output.glob("metas/**/*.json")]
    assert documents
    return [document["span_uuid"] for document in documents if document.get("error_messages")]


def test_a_gpu_that_dies_here_stops_the_run_and_marks_nothing(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, str(tmp_path / "died"))
    output = tmp_path / "out"
    wanted = options(str(films), str(output), step=("dying:Dying",))
    for name, value in (("asked", 0), ("dead", False)):
        monkeypatch.setattr(Dying, name, value)
    with pytest.raises(RunError, match=r"^Dying was working on .*unspecified launch failure\)\. "):
        run(wanted)
    assert marked(output) == []
    monkeypatch.setattr(Dying, "dead", False)  # as in another process
    summary = run(wanted).summary
    assert (summary.videos_done + summary.videos_skipped, summary.shots_failed) == (2, 0)
    assert marked(output) == []
    assert len(list(output.glob("clips/*.mp4"))) == 8


@needs_prism
@pytest.mark.slow
def test_a_gpu_that_dies_in_a_worker_ends_it_and_the_next_does_the_clips(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prism makes one attempt, so the next worker is that of the next run."""
    died, output = tmp_path / "died", tmp_path / "out"
    monkeypatch.setenv(MARK, str(died))
    monkeypatch.setenv("PYTHONPATH", str(Path(dying.__file__).parent))
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(dying.__file__, home)
    with pool(home) as where:
        words = command(films, output, *where, "--step", "dying:Dying", "--quiet", "--no-report")
        first = subprocess.run(words, capture_output=True, text=True, check=False)
        assert died.exists()
        assert first.returncode == 1
        assert first.stderr.startswith("finecut: --runner prism gave up on the job (")
        assert "SDK worker disconnected" in first.stderr
        second = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stderr) == (0, "")
    assert marked(output) == []
    assert len(list(output.glob("clips/*.mp4"))) == 4


@pytest.mark.slow
def test_where_the_runner_starts_another_worker_one_run_does_all_clips(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died, output = tmp_path / "died", tmp_path / "out"
    monkeypatch.setenv(MARK, str(died))
    monkeypatch.setenv("PYTHONPATH", str(Path(dying.__file__).parent))
    where = ["--runner", "retrying.RestartingRunner", *IN_PROCESSES]
    words = command(films, output, *where, "--step", "dying:Dying", "--quiet", "--no-report")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert died.exists()
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the process ends, and the runner starts another") == 1
    assert f"exited with return code {DEAD_DEVICE}" in done.stderr
    assert marked(output) == []
    assert len(list(output.glob("clips/*.mp4"))) == 4
    assert not list(output.glob("failures/*"))


# ── a step that is broken ────────────────────────────────────────────────────────────────────────


def test_a_step_that_marks_clip_after_clip_stops_the_run(films: Path, tmp_path: Path) -> None:
    wanted = options(str(films), str(tmp_path / "out"), step=("dying:Broken",), max_marked=3)
    with pytest.raises(RunError, match=r"^Broken marked 3 clips in a row .*KeyError: 'glow'"):
        run(wanted)
    summary = run(replace(wanted, max_marked=0)).summary
    assert summary.videos_done == 2
    assert len(marked(tmp_path / "out")) == 8
