"""What is said at the end is true: of what lies there, of how many, and in the same words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from places import ROOT
from pseudo_terminal import recorded

from finecut.io.media.testfilm.paint import paint
from finecut.io.summary import Summary
from finecut.pipeline.cli.final_words import final_words
from finecut.pipeline.cli.progress import fitting
from finecut.pipeline.options import Options
from finecut.pipeline.running import Ran, run

PAGE = ROOT / "pipeline" / "page"


def curated(films: Path, output: Path, **others: Any) -> tuple[Ran, Options]:
    settings: dict[str, Any] = {
        "clip_length": 1.0,
        "min_clip_length": 0.5,
        "no_generate_embeddings": True,
        "no_isolation": True,
        "workers": 1,
        **others,
    }
    options = Options((str(films),), output=str(output), **settings)
    return run(options), options


def said(ran: Ran, options: Options) -> str:
    return final_words(options, ran.summary, ran.seconds, "failures.jsonl")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    paint(folder / "a.mp4", width=64, height=36, rate=10, seconds=3)
    return folder


# Terminals that do not say how wide they are.


def test_a_line_fits_however_wide_the_terminal_says_it_is() -> None:
    line = "cutting    2 clips, 4 of 4 videos probed"
    assert fitting(line, 0) == line
    assert fitting("x" * 300, 0) == "x" * 79
    assert fitting(line, 1) == ""
    assert fitting(line, 8) == "cutting"
    assert fitting(line, 200) == line


def test_a_terminal_of_no_width_sees_whole_lines(films: Path, tmp_path: Path) -> None:
    code, shown = recorded(films, tmp_path / "out", "--min-clip-length", "1", columns=0)
    assert code == 0
    last = shown.partition("videos   1 found")[0].replace("\r\n", "").split("\r")[-1]
    assert re.match(
        r"done +1 clip, 1 of 1 video probed, 100%, \d+\.\dx real time, \d:\d\d *$", last
    )


# Where to look.


def test_nobody_is_sent_where_nothing_lies(films: Path, tmp_path: Path) -> None:
    def folders(words: str) -> set[str]:
        [line] = [line for line in words.splitlines() if "see " in line]
        return set(re.findall(r"[\w/-]+/(?=,| and |$)", line.partition(": ")[2]))

    everything = said(*curated(films, tmp_path / "all", generate_previews=True))
    assert folders(everything) == {"clips/", "previews/", "metas/v0/", "processed_videos/"}
    none = said(*curated(films, tmp_path / "none", keep=("motion>9",), no_upload_clips=True))
    assert folders(none) == {"metas/v0/", "processed_videos/"}
    rejected = said(*curated(films, tmp_path / "rejected", keep=("motion>9",)))
    assert folders(rejected) == {"filtered_clips/", "metas/v0/", "processed_videos/"}
    # What an earlier run made is there, too.
    again, options = curated(films, tmp_path / "all", generate_previews=True)
    assert again.summary.videos_skipped == 1
    assert folders(said(again, options)) == folders(everything)
    short = said(*curated(films, tmp_path / "short", min_clip_length=5.0, clip_length=5.0))
    assert folders(short) == {"processed_videos/"}


def test_where_all_failed_nobody_is_sent_anywhere(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_text("no film", encoding="utf-8")
    words = said(*curated(tmp_path / "films", tmp_path / "out"))
    assert "see " not in words
    assert "1 failure, listed in failures.jsonl" in words


def test_a_dry_run_sends_where_documents_lie(films: Path, tmp_path: Path) -> None:
    words = said(*curated(films, tmp_path / "out", dry_run=True))
    assert "dry run: no clip was written; see" in words
    assert words.endswith("processed_videos/ and processed_clip_chunks/")
    assert "failures/" not in words.splitlines()[-1]


# How many.


def test_a_clip_is_counted_once_however_much_broke_down() -> None:
    summary = Summary(1, 1, 0, 0, 3, 3, marked={"decode": 2, "preview": 1}, num_marked=2)
    words = final_words(Options(("a",), output="nowhere"), summary, 1.0, "")
    assert "marked   2 clips: 2 with decode, 1 with preview; see errors in metas/v0/" in words
    summary = Summary(1, 1, 0, 0, 3, 3, marked={"decode": 1}, num_marked=1)
    assert "marked   1 clip: 1 with decode" in final_words(
        Options(("a",), output="nowhere"), summary, 1.0, ""
    )


STEPS = """
from finecut.transforms.step import EachClip


class Breaks(EachClip):
    place = "cut"

    def look(self, clip, frames):
        if clip.planned.index < 2:
            raise ValueError("broken")
        return {}


class BreaksToo(EachClip):
    place = "cut"

    def look(self, clip, frames):
        if clip.planned.index == 0:
            raise ValueError("broken, too")
        return clip.replace(rejected_by="taste") if clip.planned.index == 1 else clip
"""


def test_terminal_documents_and_report_count_alike(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clip with two errors, one that is rejected with one, one without any."""
    (tmp_path / "breaking_steps_of_somebody.py").write_text(STEPS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    steps = tuple(f"breaking_steps_of_somebody:{name}" for name in ("Breaks", "BreaksToo"))
    ran, options = curated(films, tmp_path / "out", step=steps)
    assert ran.summary.shots_kept == 2
    assert "marked   2 clips: 2 with Breaks, 1 with BreaksToo" in said(ran, options)
    [summary] = (tmp_path / "out").glob("runs/*/summary.json")
    assert json.loads(summary.read_bytes())["clips"]["num_marked"] == 2
    page = (tmp_path / "out/report/index.html").read_text(encoding="utf-8")
    assert re.findall(r'"marked": ?(\d+)', page) == ["2"]


def test_there_is_one_word_for_it() -> None:
    """``marked``, and not ``marked with errors``, ``not valid`` or ``invalid``."""
    parts = [path.read_text(encoding="utf-8") for path in sorted(PAGE.glob("*.*s"))]
    root = PAGE.parents[1]
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    for text in (*parts, *(page.read_text(encoding="utf-8") for page in pages)):
        assert not re.search(r"marked with errors|not valid|marked as (not )?(in)?valid", text)
