"""The time left is right: on runs that are simulated, and on runs that were recorded."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
from told_times import FEW_FILMS, RUNS, Trace, loaded, painted, traced

from finecut.pipeline.batches import first_batch
from finecut.pipeline.cli.progress import SHORT, in_words
from finecut.pipeline.cli.time_left import UNKNOWN, Outlook, TimeLeft, rounded
from finecut.pipeline.cli.usual_costs import CUT, PROBE, SKIP, WATCH, WRITE, UsualCosts, usual_costs
from finecut.pipeline.options import Options

Row = tuple[float, Mapping[str, int]]

#: How far it may be off, from when on.
WITHIN, FROM = 0.30, 0.1
#: By then it is told: where scenes are detected first, when clips are cut.
BY, BY_WITH_SCENES = 0.2, 0.6
WORKERS = 2
WRITTEN = "PublishClips/items"


# ── runs that are simulated ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Film:
    milliseconds: int
    work: int
    bytes: int
    #: Of each of its clips.
    clips: tuple[int, ...]
    finished: bool = False


@dataclass(frozen=True)
class Machine:
    """What work costs on it, in seconds."""

    start: float = 2.0
    skip: float = 0.002
    probe: float = 0.03
    watch: float = 2e-6
    cut: float = 4e-6
    write: float = 0.05
    #: How much a film or a clip is off.
    uneven: float = 0.3


@dataclass(frozen=True)
class Run:
    """How a run goes about it."""

    films: Sequence[Film]
    machine: Machine = Machine()
    batch: int = 1000
    watches: bool = True
    #: On an engine, nothing is known ahead, and clips may be written after all were cut.
    engine: bool = False
    writes_later: bool = False

    def rows(self) -> Iterator[Row]:
        """What it counts, and when."""
        counts, now = Counter[str](), 0.0
        chance = random.Random(1)

        def spent(seconds: float, **more: int) -> Row:
            nonlocal now
            now += seconds * chance.uniform(1 - self.machine.uneven, 1 + self.machine.uneven)
            counts.update({name.replace("_", " "): number for name, number in more.items()})
            return now, dict(counts)

        counts["videos found"] = len(self.films)
        if not self.engine:
            to_do = [film for film in self.films if not film.finished]
            counts["videos weighed"] = len(self.films)
            counts["videos to do"] = len(to_do)
            counts["bytes to do"] = sum(film.bytes for film in to_do)
        yield spent(self.machine.start)
        size = len(self.films) if self.engine else self.batch
        small = first_batch(len(self.films), WORKERS) if self.watches and not self.engine else 0
        yield from self._of(self.films[:small], spent, counts)
        for first in range(small, len(self.films), size):
            yield from self._of(self.films[first : first + size], spent, counts)

    def _of(
        self, batch: Sequence[Film], spent: Callable[..., Row], counts: Counter[str]
    ) -> Iterator[Row]:
        of = self.machine
        films = [film for film in batch if not film.finished]
        for _ in range(len(batch) - len(films)):
            yield spent(of.skip, videos_skipped=1)
        for film in films:
            counts["probe/items"] += 1
            work = {"work_probed": film.work, "work_to_watch": film.work}
            counts["milliseconds probed"] += film.milliseconds
            yield spent(of.probe, bytes_probed=film.bytes, **work)
        for film in films:
            for part in _parts(film.work):
                if self.watches:
                    yield spent(part * of.watch, work_watched=part)
            planned = {"work_planned": sum(film.clips), "shots_planned": len(film.clips)}
            counts["milliseconds split"] += film.milliseconds
            yield spent(0, work_split=film.work, **planned)
        clips = [clip for film in films for clip in film.clips]
        for clip in clips:
            yield spent(clip * of.cut, work_cut=clip, clips_cut=1)
            if not self.writes_later:
                counts[WRITTEN] += 1
                yield spent(of.write)
        if self.writes_later:
            for _ in clips:
                counts[WRITTEN] += 1
                yield spent(of.write)


def _parts(whole: int, number: int = 20) -> list[int]:
    ends = [whole * n // number for n in range(number + 1)]
    return [end - begin for begin, end in pairwise(ends)]


def films(number: int, *, small: float = 0.5, kept: float = 0.8, seed: int = 0) -> list[Film]:
    """Of very unequal lengths and sizes, whose bytes do not say exactly how much work they are."""
    chance = random.Random(seed)
    made = []
    for _ in range(number):
        seconds = chance.lognormvariate(3.5, 0.8)
        in_a_second = 2_500 if chance.random() < small else 30_000
        clips, left = [], seconds * chance.uniform(kept - 0.15, min(1.0, kept + 0.15))
        while left > 2:
            clips.append(min(left, chance.uniform(2, 10)))
            left -= clips[-1]
        work = int(seconds * in_a_second)
        spans = tuple(int(clip * in_a_second) for clip in clips)
        made.append(Film(int(1000 * seconds), work, int(work * chance.uniform(2, 5)), spans))
    return made


USUAL = UsualCosts(
    {SKIP: 0.005, PROBE: 0.05, WATCH: 4e-6, CUT: 8e-6, WRITE: 0.1}, 0.8, 2e-4, WORKERS
)
LOCAL = Run(films(60))
SIMULATED = {
    "one batch": LOCAL,
    "many batches": replace(LOCAL, films=films(300), batch=20),
    "many batches, the small videos first": replace(
        LOCAL, films=sorted(films(300), key=lambda film: film.work), batch=30
    ),
    "three of four are finished": replace(
        LOCAL, films=[replace(f, finished=n < 300) for n, f in enumerate(films(400))], batch=110
    ),
    "nothing is watched": replace(LOCAL, watches=False, batch=20),
    "cutting is twice as dear as usual": replace(LOCAL, machine=Machine(cut=8e-6)),
    "cutting is half as dear as usual": replace(LOCAL, machine=Machine(cut=2e-6)),
    "a slow machine": replace(LOCAL, machine=Machine(20, 0.1, 0.3, 2e-5, 4e-5, 0.5)),
    "models are dear, and that is not usual": replace(
        LOCAL, watches=False, machine=Machine(write=1.0)
    ),
    "an engine": replace(LOCAL, engine=True),
    "two pools": replace(LOCAL, engine=True, writes_later=True),
}


def errors(rows: Sequence[Row], usual: UsualCosts) -> dict[float, float]:
    """How far it was off when it was told, by the share of the time that had passed."""
    time_left, ended = TimeLeft(usual, WRITTEN), rows[-1][0]
    wrong = {}
    for seconds, counts in rows[:-1]:
        told = time_left(counts, seconds).left
        if told is not None:
            wrong[seconds / ended] = told / max(1e-3, ended - seconds) - 1
    return wrong


def every(rows: Sequence[Row], seconds: float) -> list[Row]:
    """The rows as somebody sees them who looks so often."""
    seen, looks = [], 0.0
    for before, row in pairwise(rows):
        while looks < row[0]:
            seen.append((looks, before[1]))
            looks += seconds
    return [*seen, rows[-1]]


@pytest.mark.parametrize("run", SIMULATED.values(), ids=SIMULATED)
def test_it_is_right_after_the_first_tenth(run: Run) -> None:
    rows = every([*run.rows()], 0.5)
    usual = USUAL
    if not run.watches:
        usual = USUAL._replace(costs={k: v for k, v in USUAL.costs.items() if k != WATCH})
    wrong = {at: off for at, off in errors(rows, usual).items() if FROM <= at <= 0.95}
    worst = max(wrong, key=lambda at: abs(wrong[at]))
    assert min(wrong) < (BY_WITH_SCENES if run.watches else BY)
    assert abs(wrong[worst]) <= WITHIN, f"{wrong[worst]:+.0%} at {worst:.0%} of {rows[-1][0]:.0f} s"


# ── runs that were recorded ──────────────────────────────────────────────────────────────────────

TRACES = Path(__file__).parent / "traces"
#: Those traces are of runs of seconds; larger pictures take as many times longer.
SLOWER = 8.0


def check(trace: Trace, options: Options) -> None:
    """What is told after the first tenth is right."""
    told = [one for one in trace.told(usual_costs(options), SLOWER) if one.share >= FROM]
    shown = [one for one in told if one.is_shown]
    worst = max(shown, key=lambda one: abs(one.off))
    assert abs(worst.off) <= WITHIN, f"{worst.off:+.0%} at {worst.share:.0%}, {worst.counts}"
    by = BY_WITH_SCENES if WATCH in usual_costs(options).costs else BY
    assert shown[0].share < by
    assert all(one.rest < SHORT for one in told if one.left is not None and not one.is_shown)


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.json")), ids=lambda path: path.stem)
def test_it_is_right_about_runs_that_were_recorded(path: Path) -> None:
    trace, options = loaded(path)
    check(trace, options)


def test_runs_of_several_engines_were_recorded() -> None:
    names = {path.stem for path in TRACES.glob("*.json")}
    assert names <= {name.replace(", ", "-").replace(" ", "-") for name in RUNS}
    assert any(name.startswith("prism") for name in names)
    assert any(not name.startswith("prism") for name in names)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["stride"],
)
def test_it_is_right_about_a_run(name: str, tmp_path: Path) -> None:
    _, given, _ = RUNS[name]
    films = painted(tmp_path / "films", FEW_FILMS)
    options = Options(input=(str(films),), output=str(tmp_path / "out"), **given)
    check(traced(options), options)


# ── what is shown ────────────────────────────────────────────────────────────────────────────────


def test_what_is_shown_moves_evenly() -> None:
    run = replace(LOCAL, films=films(300), batch=20)
    time_left, shown = TimeLeft(USUAL, WRITTEN), []
    rows = every([*run.rows()], 0.5)
    ended = rows[-1][0]
    for seconds, counts in rows:
        outlook = time_left(counts, seconds)
        if outlook.left is not None and seconds > FROM * ended:
            shown.append(outlook)
    steps = [after.left - before.left for before, after in pairwise(shown)]  # type: ignore[operator]
    assert max(map(abs, steps)) < 0.01 * ended
    assert all(after.share >= before.share for before, after in pairwise(shown))


def test_nothing_is_told_before_anything_is_known() -> None:
    time_left = TimeLeft(USUAL, WRITTEN)
    assert time_left({}, 5.0).left is None
    assert time_left({"videos found": 9, "probe/items": 0}, 9.0).left is None


def test_a_run_that_only_skips_tells_its_time_too() -> None:
    time_left, counts = TimeLeft(USUAL, WRITTEN), {"videos found": 1000, "videos weighed": 1000}
    for done in range(0, 501, 10):
        left = time_left({**counts, "videos skipped": done}, done / 50).left
    assert left == pytest.approx(10.0, rel=0.1)


def test_of_what_is_soon_over_no_number_is_told() -> None:
    assert in_words(Outlook(0.5, 9.9), 60.0) == "a few seconds left"
    assert in_words(Outlook(0.5, 10.2), 60.0) == "0:10 left"
    assert in_words(Outlook(0.1, 17.0), 2.0) == "a few seconds left"
    assert in_words(Outlook(0.1, 17.0), 3.5) == "0:17 left"
    assert in_words(UNKNOWN, 3.5) == ""


def test_the_time_is_rounded() -> None:
    assert [rounded(seconds) for seconds in (0.4, 59.4, 61, 599, 3500, 7000)] == [
        0,
        59,
        60,
        600,
        3480,
        6900,
    ]
