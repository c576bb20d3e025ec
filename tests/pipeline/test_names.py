"""Awkward names: written under the output's root or refused with a reason, and never a command."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from finecut.io.layout import LONGEST_NAME, check_length
from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Failure, Source, from_json
from finecut.io.summary import Summary
from finecut.pipeline.cli.final_words import final_words
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

NAMES = (
    "-rf.mp4",
    "--output.mp4",
    " leading and trailing .mp4",
    "a..mp4",
    "..a.mp4",
    "a..b/..c.mp4",
    "%s%n%00%2e%2e%2f.mp4",
    "'; touch CANARY; '.mp4",
    '"$(touch CANARY)".mp4',
    "`touch CANARY`.mp4",
    "a|b&c>d<e.mp4",
    "[abc]*?{x,y}.mp4",
    "~root.mp4",
    "new\nline\ttab\r.mp4",
    "\x1b[2J\x07.mp4",
    "back\\slash.mp4",
    "<img src=x onerror=alert(1)>.mp4",
    "été 映画 🎬 \u202e4pm.mp4",
    "twin.mp4",
    "Twin.mp4",
    "TWIN.MP4",
    "con.mp4",
    "a.mp4_0.json.mp4",
    "x" * (LONGEST_NAME - 4) + ".mp4",
    "gs:/bucket/a.mp4",
)
TOO_LONG = "y" * 251 + ".mp4"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Summary]:
    root = tmp_path_factory.mktemp("names")
    film = paint(root / "one.mp4", width=64, height=36, rate=10, seconds=1).path
    folder = root / "films"
    for name in (*NAMES, TOO_LONG):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(film, folder / name)
    output = root / "out" / "dataset"
    options = Options(
        input=(str(folder),),
        output=str(output),
        clip_length=1.0,
        min_clip_length=0.5,
        no_generate_embeddings=True,
    )
    return folder, output, run(options).summary


def test_all_but_the_longest_are_done(outcome: tuple[Path, Path, Summary]) -> None:
    _, _, summary = outcome
    assert summary.imbalances() == []
    assert (summary.videos_done, summary.videos_failed) == (len(NAMES), 1)
    [failure] = summary.failures
    assert failure.source.relative == TOO_LONG
    assert "shorten it to 243 bytes" in failure.message


def test_names_come_back_from_the_documents(outcome: tuple[Path, Path, Summary]) -> None:
    folder, output, _ = outcome
    metas = [json.loads(path.read_bytes()) for path in (output / "metas/v0").iterdir()]
    assert sorted(meta["source_video"] for meta in metas) == sorted(
        f"{folder}/{name}" for name in NAMES
    )
    for name in NAMES:
        document = output / "processed_videos" / f"{name}.json"
        assert json.loads(document.read_bytes())["video"] == f"{folder}/{name}"
        assert document.read_bytes().isascii()


def test_nothing_is_written_elsewhere(outcome: tuple[Path, Path, Summary]) -> None:
    folder, output, _ = outcome
    beside = {path.name for path in output.parent.parent.iterdir()}
    assert beside == {"one.mp4", "films", "out"}
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    inputs = {path for path in folder.rglob("*") if path.is_file()}
    assert inputs == {folder / name for name in (*NAMES, TOO_LONG)}
    for place in (Path.cwd(), folder, output):
        assert not (place / "CANARY").exists()


def test_a_list_of_failures_brings_the_name_back(outcome: tuple[Path, Path, Summary]) -> None:
    _, output, summary = outcome
    [path] = (output / "failures").iterdir()
    [line] = path.read_text(encoding="utf-8").split("\n")[:-1]
    assert from_json(Failure, line) == summary.failures[0]


def test_a_terminal_is_not_commanded() -> None:
    name = "/films/\x1b[2J\x07\u202e.mp4"
    failure = Failure("probe", Source(name, name, "x.mp4"), "FilmError", "bad\x1b[31m news")
    summary = Summary(1, 0, 0, 1, failures=(failure,), num_failures=1)
    words = final_words(Options(input=("a",), output="b"), summary, 1.0, "b/failures/x.jsonl")
    assert not {"\x1b", "\x07", "\u202e"} & set(words)


@pytest.mark.parametrize("relative", ["a" * 300, "folder/" + "é" * 125 + ".mp4"])
def test_names_that_documents_cannot_have_are_refused(relative: str) -> None:
    with pytest.raises(ValueError, match="shorten it"):
        check_length(relative)
