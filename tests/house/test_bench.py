"""The benchmark: its arithmetic, what it compares, what it tells, and one small run of it all."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import av
import bench
import duplicates
import films
import judging
import metering
import plain
import planted
import pytest
import telling
import turns
import variants
from films import Film
from hypothesis import given
from hypothesis import strategies as st
from judging import Measured, Row
from metering import Cost
from painted import read_index
from turns import Entry, Spent

from finecut.io.media.testfilm.paint import paint

MACHINE = {"processor": "Abacus", "memory_gb": 8, "load": 0.1, "versions": {"Python": "3"}}


def row(cpu: float, wall: float = 10, peak: float = 500, **more: object) -> Row:
    usual = Row(cpu, wall, peak, busy=0.95, runs=3, ours=True, cpus=(cpu,) * 3, walls=(wall,) * 3)
    return replace(usual, **more)  # type: ignore[arg-type]


def measured(**changed: object) -> Measured:
    """A machine on which all aims are met, but for what is changed."""
    rows = {
        variants.START: row(2, 2.5, 200, first=2.0),
        variants.FFMPEG: row(100, 50, ours=False),
        variants.PLAIN: row(90, 45, ours=False),
        variants.CUT: row(104, 51, first=6.0),
        variants.ALL: row(130, 66, 900),
        variants.COPY: row(5),
        variants.COPY_LOOK: row(15),
        variants.SMART: row(25),
        variants.DECODE: row(48, ours=False),
        variants.FEW: row(5, peak=300),
        variants.FEW_PLAIN: row(2, ours=False),
        variants.MANY: row(50, peak=330),
        variants.MANY_PLAIN: row(20, ours=False),
        variants.SHORT: row(10),
        variants.SHORT_PLAIN: row(2, ours=False),
        variants.length_name(10): row(5, peak=400),
        variants.length_name(240): row(40, peak=420),
        variants.workers_name(1): row(92, 90),
        variants.workers_name(2): row(92, 50),
    }
    usual = Measured(
        rows=rows,
        cores=2,
        seconds=300,
        copied_seconds=1200,
        few=200,
        many=2000,
        short_clips=600,
        lengths=(10, 240),
        quick=False,
        painted_frames=9000,
        smart_frames=2000,
        films=("a.mp4",),
        machine=MACHINE,
    )
    return replace(usual, **changed)  # type: ignore[arg-type]


def with_row(name: str, value: Row) -> Measured:
    return measured(rows={**measured().rows, name: value})


def verdict_of(what: str, of: Measured) -> judging.Verdict:
    [found] = [verdict for verdict in judging.verdicts(of) if verdict.aim.what == what]
    return found


def test_a_row_is_of_the_runs_beside_others_and_else_of_the_one_alone() -> None:
    alone = Cost(7, 70, 100, cores=10, first=3.0)
    found = Row.of(alone, [Spent(1, 10, 0, 5, 8), Spent(9, 90, 0, 6, 7), Spent(2, 30, 0, 9, 9)])
    assert (found.cpu, found.wall, found.runs) == (2, 30, 3)
    assert (found.pace_cpu, found.pace_wall) == (6, 8)
    assert (found.cpus, found.walls) == ((1, 9, 2), (10, 90, 30))
    assert (found.peak_mb, found.first, found.busy) == (100, 3.0, 0.01)
    assert (found.alone_cpu, found.alone_wall) == (7, 70)
    single = Row.of(alone)
    assert (single.cpu, single.wall, single.runs, single.cpus) == (7, 70, 0, (7,))


def test_rounds_are_compared_one_by_one() -> None:
    """A machine that was slow in one round was slow for both."""
    ours = row(104, walls=(52, 104, 52), cpus=(100, 210, 104))
    limit = row(100, walls=(50, 100, 49), cpus=(100, 200, 100), ours=False)
    rows = {**measured().rows, variants.CUT: ours, variants.FFMPEG: limit}
    both = measured(rows=rows)
    assert judging.cutting_speed(both) == 50 / 52
    assert judging.cpu_of_limit(both, variants.CUT) == 1.04


def test_every_aim_is_met_where_all_is_well() -> None:
    assert [verdict for verdict in judging.verdicts(measured()) if not verdict.met] == []


@pytest.mark.parametrize(
    ("name", "value", "what", "figure"),
    [
        (variants.CUT, row(104, 60), "cutting: speed of (a), elapsed", 50 / 60),
        (variants.CUT, row(120), "cutting: CPU of (a)", 1.2),
        (variants.CUT, row(122), "cutting, without starting: CPU of (a)", 1.2),
        (variants.ALL, row(140), "everything: CPU of (a)", 1.4),
        (variants.MANY, row(95), "a one-second video: CPU beside its pictures", 40),
        (variants.SHORT, row(40), "a one-second clip: CPU beside its pictures", 60),
        (variants.ALL, row(130, 66, 1500), "peak memory per worker", 750),
        (variants.length_name(240), row(40, peak=800), "peak memory: longest film to shortest", 2),
        (variants.MANY, row(50, peak=600), "peak memory: many videos to a tenth of them", 2),
        (variants.START, row(2, first=4.0), "first clip on disk, of a short film", 4),
        (variants.COPY, row(12), "copy: real time per core, whole command", 100),
        (variants.SMART, row(65), "smart beyond copy: cost of its encoded frames", 3),
        (variants.COPY_LOOK, row(29), "looking at copies: full decoding costs", 2),
    ],
)
def test_an_aim_is_missed_by_what_it_is_about(
    name: str, value: Row, what: str, figure: float
) -> None:
    found = verdict_of(what, with_row(name, value))
    assert found.figure == pytest.approx(figure)
    assert found.met is False


def test_short_films_and_missing_rows_judge_nothing() -> None:
    assert verdict_of("cutting: CPU of (a)", measured(quick=True)).met is None
    rows = {name: row for name, row in measured().rows.items() if name != variants.SMART}
    missing = verdict_of("smart beyond copy: cost of its encoded frames", measured(rows=rows))
    assert (missing.figure, missing.met) == (None, None)
    assert verdict_of("cutting: CPU of (a)", measured(rows=rows)).met


def test_without_ffmpeg_the_plain_program_is_the_limit() -> None:
    rows = {name: row for name, row in measured().rows.items() if name != variants.FFMPEG}
    assert measured().limit == variants.FFMPEG
    assert measured(rows=rows).limit == variants.PLAIN


@given(st.lists(st.floats(0.1, 10), min_size=19, max_size=19))
def test_a_faster_machine_changes_no_ratio(speeds: list[float]) -> None:
    """Nor does one that is faster in one heat than in another: the yardstick was so, too."""
    rows = {
        name: replace(
            row,
            cpu=row.cpu / speed,
            wall=row.wall / speed / 2,
            pace_cpu=row.pace_cpu / speed,
            pace_wall=row.pace_wall / speed / 2,
        )
        for (name, row), speed in zip(measured().rows.items(), speeds, strict=True)
    }
    before = judging.ratios(measured(), variants.FFMPEG)
    after = judging.ratios(measured(rows=rows), variants.FFMPEG)
    both = [what for what in before if "pictures" not in what]
    assert [after[what] for what in both] == pytest.approx([before[what] for what in both])
    assert list(judging.worse(judging.changes(before, before))) == []


@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=3))
def test_of_small_ones_neither(speeds: list[float]) -> None:
    """All of a heat are as fast as their yardstick: (a), films, clips."""
    films = (variants.FEW, variants.FEW_PLAIN, variants.MANY, variants.MANY_PLAIN)
    clips = (variants.SHORT, variants.SHORT_PLAIN)
    rows = {}
    for name, row in measured().rows.items():
        speed = speeds[1 if name in films else 2 if name in clips else 0]
        rows[name] = replace(row, cpu=row.cpu / speed, pace_cpu=row.pace_cpu / speed)
    before = judging.ratios(measured(), variants.FFMPEG)
    after = judging.ratios(measured(rows=rows), variants.FFMPEG)
    both = [what for what in before if "pictures" in what]
    assert len(both) == 2
    assert [after[what] for what in both] == pytest.approx([before[what] for what in both])


def test_of_what_ran_alone_only_memory_is_compared_and_judged() -> None:
    for name in measured().rows:
        rows = {**measured().rows, name: replace(measured()[name], runs=0)}
        found = judging.ratios(measured(rows=rows), variants.FFMPEG)
        own = [what for what in found if what.startswith(f"{name}: ")]
        assert own in ([], [f"{name}: peak MB"])
    rows = {name: replace(row, runs=0) for name, row in measured().rows.items()}
    alone = measured(rows=rows)
    assert {what.split(": ")[1] for what in judging.ratios(alone, variants.FFMPEG)} == {"peak MB"}
    figures = {verdict.aim.what: verdict.figure for verdict in judging.verdicts(alone)}
    told = [what for what, figure in figures.items() if figure is not None]
    assert len(told) == 5  # memory thrice, how busy, the first clip
    page = telling.markdown(alone, judging.verdicts(alone), [], [])
    assert "with 2." not in page
    assert "| 51.00 | 500 | 95% | 6.00 |  |  | alone |" in page


def test_what_got_worse_is_named_the_worst_first() -> None:
    before = {"a": 1.0, "b": 1.0, "c": 1.0, "gone": 1.0}
    found = judging.changes({"a": 1.2, "b": 1.4, "c": 1.1, "new": 5.0}, before)
    assert [change.what for change in found] == ["b", "a", "c"]
    assert [change.what for change in judging.worse(found)] == ["b", "a"]


def test_only_what_is_the_same_is_compared() -> None:
    baseline = telling.document(measured(), [])
    assert judging.why_not_compared(measured(), baseline) is None
    assert "KEEP=1" in str(judging.why_not_compared(measured(), None))
    other = judging.why_not_compared(measured(films=("b.mp4",)), baseline)
    assert "a.mp4" in str(other)
    alone = {variants.PLAIN: row(1)}
    assert variants.FFMPEG in str(judging.why_not_compared(measured(rows=alone), baseline))
    kept = judging.on_other_cores(judging.ratios(measured(), variants.FFMPEG))
    assert kept
    assert all(what.endswith("of (a)") for what in kept)


def test_a_result_is_kept_and_the_next_is_held_against_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = tmp_path / "baseline.json"

    def tell(of: Measured, keep: bool = False) -> tuple[int, str]:
        code = bench.tell(of, bench.Book(), tmp_path / "out", baseline, keep=keep)
        page = capsys.readouterr().out
        assert (tmp_path / "out/table.md").read_text() == page
        return code, page

    code, page = tell(measured(), keep=True)
    assert (code, "no baseline" in page) == (0, True)
    assert json.loads(baseline.read_text())["full"]["aims"]["cutting: CPU of (a)"]["met"]
    code, page = tell(measured())
    assert (code, "none got worse" in page) == (0, True)
    code, page = tell(with_row(variants.COPY, row(6)))
    assert code == 1
    assert "- copy: CPU of (a): 0.06 instead of 0.05 (1.20 of it)" in page
    # The quick benchmark has a baseline of its own.
    assert "no baseline" in tell(measured(quick=True))[1]


def test_the_table_tells_all_rows_and_verdicts() -> None:
    page = telling.markdown(measured(), judging.verdicts(measured()), [], ["Something."])
    assert "| (a) one ffmpeg per film, all clips | 100.00 | 50.00 |" in page
    assert "| 6.00 | 1.04 | 1.02 | 3 |" in page
    assert "finecut, 2000 films of one second" in page
    assert "as multiples of one worker's speed: 1.80 with 2." in page
    assert page.count("| met |") == len(judging.AIMS)
    assert page.endswith("- Something.\n")


def test_what_a_host_took_was_not_idle() -> None:
    assert metering.stolen() >= 0
    assert metering.free_memory() > 1e8
    assert Cost(cpu=90, wall=50, peak_mb=0, cores=2).busy == 0.9
    assert Cost(cpu=90, wall=50, peak_mb=0, cores=2, stolen=10).busy == 1


def test_seconds_are_read_between_samples() -> None:
    assert metering.by_second([(0, 0), (0.5, 0.5), (1, 1.5), (2.5, 3)]) == (1.5, 1.0)
    assert metering.by_second([(0, 0), (0.2, 0.1)]) == ()


@given(st.integers(1, 400))
def test_powers_go_up_to_all(most: int) -> None:
    found = variants.powers(most)
    assert (found[0], found[-1]) == (1, most)
    assert found == sorted(set(found))


@given(st.floats(0, 1000))
def test_spans_are_those_of_a_fixed_stride(seconds: float) -> None:
    found = variants.spans(seconds)
    assert all(start % 10 == 0 and 2 <= end - start <= 10 for start, end in found)
    assert seconds - sum(end - start for start, end in found) < 2


def test_grandchildren_are_counted_and_failures_speak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second of work in a grandchild, and 200 MB that are held for a moment."""
    work = (
        "import time; held = b'x' * 200_000_000; until = time.process_time() + 1\n"
        "while time.process_time() < until: pass"
    )
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}], check=True)"
    monkeypatch.setattr(metering, "SHARE", 1)  # however much others leave for looking
    cost = metering.cost_of([[sys.executable, "-c", child]], clips=tmp_path)
    assert 1 < cost.cpu < 5
    assert cost.peak_mb > 150
    assert cost.first is None
    with pytest.raises(metering.CommandFailed, match="ended with 1: no"):
        metering.cost_of([[sys.executable, "-c", "import sys; sys.exit('no')"]])


# ── turns ────────────────────────────────────────────────────────────────────────────────────────

#: Works in a process below that has a session of its own, and writes down when: until it was told
#: to go on so many times, or for half a minute if nobody ever stops it.
WORK = """
import signal, subprocess, sys, time
times, path, *below = sys.argv[1:]
if not below:
    again = [sys.executable, __file__, times, path, "below"]
    subprocess.run(again, check=True, start_new_session=True)
    sys.exit()
told = []
signal.signal(signal.SIGCONT, lambda *_: told.append(1))
with open(path, "w") as book:
    while len(told) < int(times) and time.process_time() < 30:
        print(time.monotonic(), file=book, flush=True)
"""


def test_who_takes_longer_has_longer_turns() -> None:
    assert [turns.turn_of(seconds, 60) for seconds in (0, 2, 30, 60)] == [0.1, 0.1, 0.5, 1]


def test_only_one_has_the_machine_at_a_time(tmp_path: Path) -> None:
    """Also of those whose processes left their group; what counts is the time that each had."""
    work = tmp_path / "work.py"
    work.write_text(WORK)
    books = {name: tmp_path / name for name in "abc"}
    entries = {
        name: Entry([[sys.executable, str(work), "5", str(book)]], turn=turn)
        for (name, book), turn in zip(books.items(), (0.1, 0.1, 0.2), strict=True)
    }
    began = time.monotonic()
    found = dict(turns.in_turns(entries))
    took = time.monotonic() - began
    assert sorted(found) == ["a", "b", "c"]
    stamps = sorted(
        (float(line), name) for name, book in books.items() for line in book.read_text().split()
    )
    blocks = [list(block) for _, block in groupby(stamps, lambda stamp: stamp[1])]
    # Not one after the other, and not all at once: then it would change thousands of times.
    assert 3 * len(books) < len(blocks) < 8 * len(books) < len(stamps)
    for name in books:
        one = found[name]
        assert isinstance(one, Spent)
        seen = {
            mine: sum(
                block[-1][0] - block[0][0] for block in blocks if (block[0][1] == name) == mine
            )
            for mine in (True, False)
        }
        # Of each core the host may have taken a part.
        assert seen[True] < one.wall + one.stolen < took - seen[False]


def test_who_fails_in_a_turn_speaks_and_others_go_on(tmp_path: Path) -> None:
    dead = tmp_path / "dead.py"
    dead.write_text("import os, time; os.kill(os.getppid(), 9); time.sleep(600)")
    entries = {
        "bad": Entry([[sys.executable, "-c", "import sys; sys.exit('no')"]]),
        "dead": Entry([[sys.executable, str(dead)]]),
        "good": Entry([[sys.executable, "-c", ""]] * 2, at_once=2),
    }
    metering.adopt_orphans()
    found = dict(turns.in_turns(entries))
    assert not running_with(str(dead))
    assert "ended with 1: no" in str(found["bad"])
    assert "ended with -9" in str(found["dead"])
    assert isinstance(found["good"], Spent)


def running_with(word: str) -> list[str]:
    """Command lines of processes, also of those that have lost their parents."""
    found = []
    for pid in metering.processes():
        with contextlib.suppress(OSError):
            found.append(Path(f"/proc/{pid}/cmdline").read_text(errors="replace"))
    return [line for line in found if word in line]


def test_nothing_is_left_of_turns_that_were_stopped(tmp_path: Path) -> None:
    work = tmp_path / "work.py"
    work.write_text(WORK)
    entries = {
        "long": Entry([[sys.executable, str(work), "600", str(tmp_path / "book")]]),
        "short": Entry([[sys.executable, "-c", ""]]),
    }
    running = turns.in_turns(entries)
    assert next(running)[0] == "short"
    assert running_with(str(work))
    running.close()
    assert not running_with(str(work))


@given(st.lists(st.floats(0, 9), min_size=2, max_size=9, unique=True), st.floats(0, 9))
def test_what_one_had_is_what_the_clock_says_within_its_turns(ends: list[float], at: float) -> None:
    ends.sort()
    had = list(zip(ends[::2], ends[1::2], strict=False))
    steps = [step / 100 for step in range(900)]
    counted = sum(any(begin <= step < end for begin, end in had) for step in steps if step < at)
    assert turns.had(had, at) == pytest.approx(counted / 100, abs=0.1)


def test_a_film_is_lengthened_by_its_packets_and_cut_by_the_plain_program(tmp_path: Path) -> None:
    painting = paint(tmp_path / "a.mp4", width=160, height=90, seconds=2, sound="aac", b_frames=2)
    twice = films.lengthened(Path(painting.path), tmp_path / "b.mp4", 2)
    assert plain.decode(str(twice)) == 2 * len(painting.times)
    assert films.films_in(tmp_path) == []  # some seconds are not worth a process
    settings = plain.Settings("libx264", {"preset": "ultrafast", "crf": "18"}, 1, 1)
    plain.cut(settings, tmp_path / "clips", 1, str(twice))
    clips = sorted((tmp_path / "clips").iterdir())
    assert [plain.decode(str(clip)) for clip in clips] == [30, 30, 30, 30]
    plain.one(settings, tmp_path / "alone.mp4", 1.5, 2, painting.path)
    with av.open(str(tmp_path / "alone.mp4")) as alone:
        frames = list(alone.decode(video=0))
    assert [read_index(frame.to_ndarray(format="gray")) for frame in frames] == list(range(45, 60))
    assert frames[0].time == 0


def test_a_round_counts_if_its_yardstick_does(tmp_path: Path) -> None:
    def of(name: str, program: str = "") -> variants.Variant:
        return variants.Variant(name, lambda output: [[sys.executable, "-c", program]])

    book = bench.Book(alone={name: Cost(1, 1, 1, 2) for name in ("one", "two", "bad", "yard")})
    failing = of("bad", "import sys; sys.exit('no')")
    heat = variants.Heat("some", (of("one"), failing, of("two")))
    bench._side_by_side(heat, of("yard"), tmp_path, book)
    assert {name: len(runs) for name, runs in book.beside.items()} == {"one": 1, "two": 1}
    assert all(runs[0].pace_cpu < 1 for runs in book.beside.values())
    assert "bad" not in book.alone
    bench._side_by_side(heat, of("yard", "import sys; sys.exit('no')"), tmp_path, book)
    assert {name: len(runs) for name, runs in book.beside.items()} == {"one": 1, "two": 1}
    assert [remark.split(" ")[0] for remark in book.remarks] == ["bad", "yard"]
    assert list(tmp_path.iterdir()) == []
    book.alone["one"] = Cost(1, 1, 1e9, 2)
    bench._side_by_side(heat, of("yard"), tmp_path, book)
    assert book.remarks[-1].startswith(
        "some could not be run side by side: they need 1000000001 MB"
    )


@pytest.mark.slow
def test_all_of_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every variant with films of seconds; the peer is a Python that has none."""
    monkeypatch.setattr(bench, "QUICK", variants.Sizes(1, 6, 3, 10, 0.3, 4, (1, 2), shared=False))
    baseline = tmp_path / "baseline.json"
    arguments = ["--quick", "--out", str(tmp_path), "--baseline", str(baseline)]
    assert bench.main([*arguments, "--peer", sys.executable]) == 1
    found = json.loads((tmp_path / "figures.json").read_text())
    assert {variants.CUT, variants.ALL, variants.PLAIN, variants.SMART} <= set(found["rows"])
    assert found["rows"][variants.CUT]["first"] > 0
    assert found["rows"][variants.CUT]["cpu"] > found["rows"][variants.START]["cpu"]
    alone = {name for name, row in found["rows"].items() if not row["runs"]}
    assert alone == {variants.length_name(1), variants.length_name(2)}
    assert all(aim["figure"] is not None for aim in found["aims"].values())
    assert "NeMo Curator was not measured" in capsys.readouterr().out


def test_films_that_ffmpeg_would_cut_otherwise_are_left_out(tmp_path: Path) -> None:
    for name, more in (("square", {}), ("turned", {"rotation": 90}), ("short", {"seconds": 3})):
        settings = {"width": 64, "height": 64, "rate": 10, "seconds": 10, **more}
        paint(tmp_path / f"{name}.mp4", **settings)  # type: ignore[arg-type]
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    assert films.films_in(tmp_path) == [Film(tmp_path / "square.mp4", 10.0)]


# ── duplicates ───────────────────────────────────────────────────────────────────────────────────


def deduplicated(count: int, cpu: float, **more: Any) -> duplicates.Run:
    cost = Cost(cpu=cpu, wall=cpu, peak_mb=500, cores=2)
    usual = duplicates.Run(count, 2, cost, found=990, there=1000, wrong=0, digest="a" * 64)
    return replace(usual, **more)


def test_what_dedup_found_is_told_and_how_its_cost_grows() -> None:
    runs = [deduplicated(20_000, 8), deduplicated(20_000, 9, workers=1)]
    more = [deduplicated(200_000, 80), deduplicated(200_000, 90, workers=1)]
    told = list(duplicates.table([*runs, *more]))
    assert told[2] == "| 20,000 | 2 | 8.0 | 8.0 | 500 | 1,000 | 99.00% | 0 | same |"
    # Both with one worker.
    assert told[-1] == "10 times the vectors take 10^1.00 times the processor time."
    assert list(duplicates.table(runs[:1]))[2:] == [told[2].replace("same", "alone")]
    other = replace(runs[1], digest="b" * 64)
    assert all("**others**" in row for row in list(duplicates.table([runs[0], other]))[2:])


@pytest.mark.parametrize("wrong", [{"found": 989}, {"wrong": 1}, {"digest": "b" * 64}])
def test_what_dedup_should_not_do_is_no_success(wrong: dict[str, Any]) -> None:
    runs = [deduplicated(200, 8), deduplicated(200, 9, workers=1)]
    assert duplicates.sound(runs)
    assert not duplicates.sound([runs[0], replace(runs[1], **wrong)])


def test_where_there_is_nothing_to_find_nothing_was_missed() -> None:
    assert duplicates.sound([deduplicated(1, 8, found=0, there=0)])


def test_pairs_are_known_beforehand() -> None:
    ids, vectors, pairs = planted.planted(600, 32)
    assert len(pairs) == 100
    assert planted.by_brute_force(ids, vectors, 0.9) == pairs


@pytest.mark.slow
def test_the_benchmark_of_dedup_measures(capsys: pytest.CaptureFixture[str]) -> None:
    assert duplicates.main(["--vectors", "300", "--size", "32"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["| 300"] * len(rows)
    assert {row[6] for row in rows} == {"100.00%"}
    assert {row[-1] for row in rows} in ({"same |"}, {"alone |"})
