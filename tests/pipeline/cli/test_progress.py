"""What a user is shown while waiting, and at the end."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

from finecut.io.records import Failure, Source
from finecut.io.summary import Summary
from finecut.pipeline.batches import batches_of, first_batch, weighed
from finecut.pipeline.cli.final_words import final_words, problems, stats_table
from finecut.pipeline.cli.progress import Progress, progress_line, run_line
from finecut.pipeline.cli.time_left import ENDED, Outlook
from finecut.pipeline.cli.usual_costs import usual_costs
from finecut.pipeline.options import Options
from finecut.pipeline.planning import plan
from finecut.transforms.beam.metrics import BOARD

OPTIONS = Options(input=("films",), output="out")


def test_the_line_moves_from_finding_to_the_end() -> None:
    counts = {"videos found": 4}
    assert progress_line({}, 0.1) == "finding    videos"
    assert progress_line(counts, 0.1) == "probing    0 of 4 videos"
    counts |= {"probe/items": 3, "videos failed": 1, "shots planned": 10}
    counts |= {"milliseconds planned": 100_000, "milliseconds cut": 25_000, "clips cut": 2}
    assert (
        progress_line(counts, 10.0, Outlook(0.25, 30.2))
        == "cutting    2 clips, 4 of 4 videos probed, 25%, 2.5x real time, 0:30 left, 1 failed"
    )
    assert "%" not in progress_line(counts, 10.0)
    counts |= {"milliseconds cut": 100_000, "clips cut": 10}
    assert progress_line(counts, 40.0, ENDED).endswith("100%, 2.5x real time, 0:40, 1 failed")


def test_watching_for_shots_is_shown_until_the_first_clip() -> None:
    counts = {"videos found": 2, "probe/items": 2, "milliseconds watched": 90_000}
    assert (
        progress_line(counts, 3.0) == "detecting  scenes in 1:30 of video, 0 clips, 30.0x real time"
    )
    counts |= {"shots planned": 7, "split/items": 1, "videos not split": 1}
    assert (
        progress_line(counts, 3.0, Outlook(0.05, 754.0))
        == "detecting  scenes in 1:30 of video, 7 clips, 5%, 30.0x real time, 13:00 left, 1 failed"
    )
    assert progress_line({**counts, "clips cut": 1}, 3.0).startswith("cutting")


def test_the_line_of_a_run_says_more_as_it_sees_more() -> None:
    line = run_line(usual_costs(OPTIONS))
    counts = {"videos found": 1, "probe/items": 1, "work probed": 100, "milliseconds probed": 100}
    counts |= {"work split": 100, "milliseconds split": 100, "work planned": 100}
    counts |= {"shots planned": 10, "clips cut": 1, "work cut": 10, "milliseconds cut": 10}
    assert "left" not in line(counts, 5.0, False)
    more = counts | {"clips cut": 5, "work cut": 50, "milliseconds cut": 50}
    # What was done in the first five seconds may have taken any part of them.
    assert re.search(r"5[56]%, 0.0x real time, 0:1[01] left", line(more, 13.0, False))
    assert "100%" in line(more, 23.0, True)


def test_without_a_terminal_lines_are_plain() -> None:
    out = io.StringIO()
    BOARD.forget()
    with Progress(out=out):
        BOARD.add("videos found", 2)
    assert out.getvalue() == "probing    0 of 2 videos\n"
    BOARD.forget()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return -1  # it does not say how wide it is


def test_of_a_line_in_passing_nothing_stays() -> None:
    nowhere, terminal = io.StringIO(), Terminal()
    with Progress(out=nowhere, line=lambda *_: "5 s", passing=True):
        pass
    assert nowhere.getvalue() == ""
    with Progress(out=terminal, line=lambda *_: "5 s", passing=True) as progress:
        progress._show()
    assert terminal.getvalue() == "\r5 s\r   \r"


def test_quiet_progress_says_nothing() -> None:
    out = io.StringIO()
    with Progress(wanted=False, out=out):
        pass
    assert out.getvalue() == ""


def test_final_words_name_what_failed_and_where_to_look() -> None:
    source = Source("/in/a.mp4", "/in/a.mp4", "a.mp4")
    failures = tuple(Failure("probe", source, "FilmError", f"reason {i}") for i in range(7))
    summary = Summary(9, 1, 1, 7, 5, 4, 1, 0, 90.0, 45.0, 2_500_000, 1200, failures, 7)
    summary = replace(summary, rejected_by={"motion": 1}, seconds_cut=60.0)
    words = final_words(OPTIONS, summary, 10.0, "out/failures/x.jsonl")
    assert "rejected 1 by motion" in words
    assert "9 found = 1 done + 1 empty + 7 failed + 0 skipped" in words
    assert "5 planned = 4 kept + 1 rejected + 0 failed" in words
    assert "1:30 in, 45.0 s kept, 1200 frames, 2.5 MB" in words
    assert "6.0x real time" in words
    assert "7 failures, listed in out/failures/x.jsonl" in words
    assert "reason 4" in words
    assert "reason 5" not in words
    assert "and 2 more" in words


def test_problems_are_what_the_exit_code_says() -> None:
    assert problems(OPTIONS, Summary(1, 1, 0, 0, 1, 1)) == []
    assert "no videos found in films" in problems(OPTIONS, Summary())[0]
    assert "no clips were made" in problems(OPTIONS, Summary(1, 0, 1))[0]
    assert "do not add up" in problems(OPTIONS, Summary(2, 1, 0, 0, 1, 1))[0]


def test_stats_show_a_row_for_each_step() -> None:
    table = stats_table({"cut/items": 3, "cut/microseconds": 1_500_000, "cut/bytes": 9, "clips": 1})
    assert table.splitlines()[1].split() == ["cut", "3", "1.50", "9"]
    assert len(table.splitlines()) == 2


def test_batches_close_by_number_and_by_size(tmp_path: Path) -> None:
    sources = []
    for index in range(7):
        path = tmp_path / f"{index}.mp4"
        path.write_bytes(bytes(100 if index < 2 else 10))
        sources.append(Source(str(path), str(path), path.name))
    files = [(source, 1.0, 100 if index < 2 else 10) for index, source in enumerate(sources)]
    assert [len(batch) for batch in batches_of(files, 3, 10_000)] == [3, 3, 1]
    assert [len(batch) for batch in batches_of(files, 3, 100)] == [1, 1, 3, 2]
    assert [source for batch in batches_of(files, 3, 100) for source in batch] == sources
    assert list(batches_of([], 3, 100)) == []
    finished = [(source, 0.5, 0) for source in sources]
    assert [len(batch) for batch in batches_of(finished, 3, 100)] == [6, 1]
    assert [len(batch) for batch in batches_of(finished, 3, 100, 1)] == [2, 5]


def test_the_first_batch_is_small_only_among_many_videos() -> None:
    assert [first_batch(videos, 2) for videos in (14, 48, 49, 10_000)] == [0, 0, 4, 4]
    assert first_batch(10_000, 100) == 0


def test_a_missing_file_belongs_to_a_batch_too() -> None:
    gone = Source("/nowhere/a.mp4", "/nowhere/a.mp4", "a.mp4")
    steps = plan(OPTIONS)
    assert list(batches_of(weighed([gone], steps), 3, 100)) == [[gone]]
