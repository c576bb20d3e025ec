"""A decoder that crashes, hangs or wants too much costs its film, and nothing else of the run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from finecut.io.media.testfilm.paint import paint
from finecut.io.process.children import possible
from finecut.io.records import Failure
from finecut.io.summary import Summary
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

pytestmark = pytest.mark.skipif(not possible(), reason="children need Linux")

FAST = {"preset": "ultrafast"}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short films, and between them one of which decoding takes long enough to be hit."""
    folder = tmp_path_factory.mktemp("films")
    paint(folder / "a.mp4", width=64, height=36, rate=10, seconds=2)
    paint(folder / "b.mp4", width=1280, height=720, rate=30, seconds=4, codec_options=FAST)
    paint(folder / "c.mp4", width=64, height=36, rate=10, seconds=2)
    return folder


@contextmanager
def struck(film: Path, number: int) -> Iterator[list[int]]:
    """Every child process that has this film open gets a signal; whom it hit."""
    hit: list[int] = []
    over = threading.Event()

    def strike() -> None:
        while not over.wait(0.002):
            for pid in children_reading(film):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
                    hit.append(pid)

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield hit
    finally:
        over.set()
        thread.join()


def children_reading(film: Path) -> Iterator[int]:
    for process in Path("/proc").iterdir():
        # Processes come and go, and those of others are not ours to look into.
        with suppress(OSError):
            if process.name.isdigit() and (process / "comm").read_text() == "finecut-child\n":
                files = [file.readlink() for file in (process / "fd").iterdir()]
                if film in files:
                    yield int(process.name)


def curated(films: Path, output: Path, **others: Any) -> Summary:
    return run(
        Options(
            input=(str(films),),
            output=str(output),
            clip_length=2.0,
            workers=2,
            no_generate_embeddings=True,
            **others,
        )
    ).summary


def only_that_film(summary: Summary, output: Path) -> Failure:
    """The first failure of a run in which b.mp4 failed, and nothing else did."""
    assert summary.imbalances() == []
    assert (summary.videos_found, summary.videos_done, summary.videos_failed) == (3, 2, 1)
    assert {failure.source.relative for failure in summary.failures} == {"b.mp4"}
    done = {path.name for path in (output / "processed_videos").iterdir()}
    assert done == {"a.mp4.json", "c.mp4.json"}
    assert not (output / ".staging").exists()
    return summary.failures[0]


def test_a_decoder_that_crashes_costs_its_film(films: Path, tmp_path: Path) -> None:
    with struck(films / "b.mp4", signal.SIGSEGV) as hit:
        summary = curated(films, tmp_path / "output")
    failure = only_that_film(summary, tmp_path / "output")
    assert hit
    assert (failure.error, failure.attempts) == ("ChildDied", 1)
    assert "crashed (SIGSEGV)" in failure.message


def test_a_decoder_that_hangs_costs_its_film(films: Path, tmp_path: Path) -> None:
    with struck(films / "b.mp4", signal.SIGSTOP) as hit:
        summary = curated(films, tmp_path / "output", max_stall_seconds=2)
    failure = only_that_film(summary, tmp_path / "output")
    assert hit
    assert "made no progress for 2 s" in failure.message


@pytest.fixture(scope="module")
def huge(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but for pictures that need a gigabyte, and seconds to be encoded."""
    folder = tmp_path_factory.mktemp("huge")
    paint(folder / "b.mp4", width=3840, height=2160, rate=10, seconds=2, codec_options=FAST)
    for name in ("a.mp4", "c.mp4"):
        (folder / name).symlink_to(films / name)
    return folder


def test_a_film_that_wants_too_much_memory_costs_itself(huge: Path, tmp_path: Path) -> None:
    summary = curated(huge, tmp_path / "output", max_memory_mb=512)
    failure = only_that_film(summary, tmp_path / "output")
    assert "memory" in failure.message


def test_a_film_that_takes_too_long_costs_itself(huge: Path, tmp_path: Path) -> None:
    summary = curated(huge, tmp_path / "output", max_cpu_seconds=1, preset="placebo")
    failure = only_that_film(summary, tmp_path / "output")
    assert "more than 1 s of processor time" in failure.message
