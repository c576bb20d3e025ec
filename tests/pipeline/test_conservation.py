"""The law of conservation: whatever comes in, each video and each shot ends in one state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finecut.io.media.testfilm.paint import paint
from finecut.io.summary import Summary
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

#: What a video can be, and how it ends; those that are done already are told by the run before.
GOOD, EMPTY, BROKEN, TORN = "good", "empty", "broken", "torn"
KINDS = (GOOD, EMPTY, BROKEN, TORN)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("stock")
    films = {
        GOOD: paint(folder / "good.mp4", width=64, height=36, rate=10, seconds=2).path,
        EMPTY: paint(folder / "empty.mp4", width=64, height=36, rate=10, seconds=0.3).path,
    }
    whole = {kind: Path(path).read_bytes() for kind, path in films.items()}
    long = paint(folder / "long.mkv", width=64, height=36, rate=10, seconds=4).path
    data = Path(long).read_bytes()
    return whole | {BROKEN: b"this is no film", TORN: data[: len(data) * 6 // 10]}


def options(films: Path, output: Path) -> Options:
    return Options(
        input=(str(films),),
        output=str(output),
        clip_length=1.0,
        min_clip_length=0.9,
        chunk_seconds=2,
        no_generate_embeddings=True,
        max_attempts=0,
    )


def ended(summary: Summary) -> int:
    s = summary
    return s.videos_done + s.videos_empty + s.videos_failed + s.videos_skipped


def obey(before: list[str], after: list[str], stock: dict[str, bytes], home: Path) -> None:
    """A run over some videos, then one over these and more: the books balance in both."""
    films, output = home / "films", home / "out"
    films.mkdir()
    finished = 0
    for kinds in (before, after):
        for index, kind in enumerate(kinds, start=len(list(films.iterdir()))):
            suffix = "mkv" if kind == TORN else "mp4"
            (films / f"{index}_{kind}.{suffix}").write_bytes(stock[kind])
        summary = run(options(films, output)).summary
        here = [path.stem.split("_")[1] for path in films.iterdir()]
        assert summary.imbalances() == []
        assert summary.videos_found == len(here) == ended(summary)
        assert summary.videos_skipped == finished
        assert summary.videos_failed == here.count(BROKEN) + here.count(TORN)
        finished += summary.videos_done + summary.videos_empty
        assert finished == here.count(GOOD) + here.count(EMPTY)
        clips = len(list((output / "clips").iterdir())) if (output / "clips").exists() else 0
        assert clips >= 2 * here.count(GOOD)
        documents = list((output / "metas").rglob("*.json"))
        assert len(documents) == clips
        listed = [
            json.loads(line)["source"]["name"]
            for path in (output / "failures").glob("*.jsonl")
            for line in path.read_text().splitlines()
        ]
        assert len(set(listed)) == summary.videos_failed


mixes = st.lists(st.sampled_from(KINDS), max_size=4)


@settings(
    max_examples=3, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=mixes, after=mixes)
def test_books_balance_for_any_mix(
    before: list[str],
    after: list[str],
    stock: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    obey(before, after, stock, tmp_path_factory.mktemp("mix"))


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=mixes, after=mixes)
def test_books_balance_for_many_mixes(
    before: list[str],
    after: list[str],
    stock: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    obey(before, after, stock, tmp_path_factory.mktemp("mix"))


@pytest.mark.slow
def test_two_runs_side_by_side_write_what_one_writes(
    stock: dict[str, bytes], tmp_path: Path
) -> None:
    """The same command twice at once, on one output."""
    films = tmp_path / "films"
    films.mkdir()
    for index in range(4):
        (films / f"{index}.mp4").write_bytes(stock[GOOD])
    command = [
        sys.executable,
        "-m",
        "finecut.pipeline.cli.command",
        "curate",
        "--input",
        str(films),
    ]
    command += [
        "--clip-length",
        "1",
        "--min-clip-length",
        "1",
        "--chunk-seconds",
        "1",
        "--no-generate-embeddings",
    ]
    command += ["--workers", "1", "--output"]
    codes: list[int] = []
    said: list[str] = []

    def work(output: str) -> None:
        done = subprocess.run([*command, output], capture_output=True, check=False)
        codes.append(done.returncode)
        said.append(done.stderr.decode())

    output = str(tmp_path / "out")
    threads = [threading.Thread(target=work, args=(output,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0], said
    together = tree(Path(output))
    assert not any(name.startswith(".") for name in together)
    Path(output).rename(tmp_path / "together")
    work(output)
    assert together == tree(Path(output))


def tree(output: Path) -> dict[str, bytes]:
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file() and path.relative_to(output).parts[0] not in ("runs", "report")
    }


#: Runs a command, and says how much memory it holds, how late it is, and what it and its children
#: that are over have used, whenever so many more videos are through.
MEASURED = """
import os, sys, threading, time
from pathlib import Path
from finecut.pipeline.cli.command import main
from finecut.transforms.beam.metrics import BOARD

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def watch():
    mark = step = int(sys.argv[1])
    while True:
        counts = BOARD.read()
        through = counts.get("clips written", 0) + counts.get("videos failed", 0)
        if through >= mark:
            used = sum(os.times()[:4])
            print("held", int(through), resident(), time.monotonic(), used, flush=True)
            mark += step
        time.sleep(0.05)

threading.Thread(target=watch, daemon=True).start()
sys.exit(main(sys.argv[2:]))
"""
#: Megabytes by which the second half of a long run may hold more than the first.
GROWTH = 40


@pytest.mark.slow
def test_ten_thousand_videos_take_the_time_of_each_and_the_memory_of_a_few(
    stock: dict[str, bytes], tmp_path: Path
) -> None:
    """5,000 that fail and 5,000 that do not."""
    films = tmp_path / "films"
    films.mkdir()
    for kind in (GOOD, BROKEN):
        (tmp_path / kind).write_bytes(stock[kind] if kind == BROKEN else short(tmp_path))
        for index in range(5000):
            os.link(tmp_path / kind, films / f"{index:04}_{kind}.mp4")
    command = ["curate", "--input", str(films), "--output", str(tmp_path / "out")]
    command += ["--clip-length", "0.5", "--min-clip-length", "0.5", "--no-generate-embeddings"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "500", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("held")]
    through, held, moments, used = np.array(lines, dtype=float).T
    assert len(lines) >= 19, lines
    early, late = np.searchsorted(through, [3000, 9000])
    assert held[late] - held[early] < GROWTH * 1_000_000, lines
    assert np.corrcoef(through, moments)[0, 1] ** 2 >= 0.99, lines
    # A slope that grows does little to that figure. What is used says less of who else is here.
    middle = len(lines) // 2
    halves = [
        np.polyfit(through[part], used[part], 1)[0] for part in (np.s_[:middle], np.s_[middle:])
    ]
    assert halves[1] <= 1.25 * halves[0], lines


def short(folder: Path) -> bytes:
    film = paint(folder / "short.mp4", width=32, height=18, rate=10, seconds=0.5)
    return Path(film.path).read_bytes()
