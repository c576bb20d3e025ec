"""From costs to verdicts: medians, what they say, whether aims are met, what got worse."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metering import Cost
from turns import Spent
from variants import (
    ALL,
    COPY,
    COPY_LOOK,
    CUT,
    DECODE,
    FEW,
    FEW_PLAIN,
    FFMPEG,
    MANY,
    MANY_PLAIN,
    PLAIN,
    SHORT,
    SHORT_PLAIN,
    SMART,
    START,
    length_name,
    workers_name,
)

#: What is so much larger than the baseline's got worse.
WORSE = 1.15
#: Memory that grows by less than this with length and number is called flat.
FLAT = 1.15


@dataclass(frozen=True)
class Row:
    """One variant: what it took, by the medians of its runs beside others."""

    cpu: float
    wall: float
    #: These three are of the run that it had for itself.
    peak_mb: float
    busy: float
    first: float | None = None
    #: How often it was run beside others.
    runs: int = 0
    #: What the yardstick took beside it.
    pace_cpu: float = 1.0
    pace_wall: float = 1.0
    #: finecut itself, and not what it is compared with.
    ours: bool = False
    #: Of each run beside others, in the order of the rounds, or of the one alone.
    cpus: tuple[float, ...] = ()
    walls: tuple[float, ...] = ()
    #: Of the run that it had for itself.
    alone_cpu: float = 0
    alone_wall: float = 0

    @classmethod
    def of(cls, alone: Cost, beside: Sequence[Spent] = (), ours: bool = False) -> Row:
        cpus = tuple(run.cpu for run in beside or (alone,))
        walls = tuple(run.wall for run in beside or (alone,))
        return cls(
            cpu=statistics.median(cpus),
            wall=statistics.median(walls),
            peak_mb=alone.peak_mb,
            busy=alone.busy,
            runs=len(beside),
            pace_cpu=statistics.median([run.pace_cpu for run in beside] or [1.0]),
            pace_wall=statistics.median([run.pace_wall for run in beside] or [1.0]),
            first=alone.first,
            ours=ours,
            cpus=cpus,
            walls=walls,
            alone_cpu=alone.cpu,
            alone_wall=alone.wall,
        )


@dataclass(frozen=True)
class Measured:
    """All rows, and the numbers that are needed to read them."""

    rows: Mapping[str, Row]
    cores: int
    #: Seconds of film of (a) to (d), and of what is copied.
    seconds: float
    copied_seconds: float
    few: int
    many: int
    short_clips: int
    lengths: tuple[int, ...]
    quick: bool
    #: How many frames the painted films of (a) have, and how many smart encoded of the copied one.
    painted_frames: int = 0
    smart_frames: int = 0
    #: Names of the films, so that nobody compares what was not the same.
    films: tuple[str, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def limit(self) -> str:
        """What (a) is here."""
        return FFMPEG if FFMPEG in self.rows else PLAIN

    def __getitem__(self, name: str) -> Row:
        return self.rows[name]

    def timed(self, name: str) -> Row:
        """A row whose times may be held against others': it was run beside others."""
        if not self[name].runs:
            raise KeyError(name)
        return self[name]

    def net(self, name: str) -> float:
        """Processor seconds without those that starting finecut takes, at the pace of that time."""
        row, start = self.timed(name), self.timed(START)
        return row.cpu - start.cpu * row.pace_cpu / start.pace_cpu


# ── what the rows say; each raises KeyError where a row is missing ───────────────────────────────


def beside(ones: Sequence[float], others: Sequence[float]) -> float:
    """The median of what is so many times the other in each round.

    Both were run side by side there, so a machine that slows down slows both. A round that was
    stopped before both were through does not count.

    >>> beside([10, 30, 11], [10, 20, 10])
    1.1
    """
    return statistics.median(one / other for one, other in zip(ones, others, strict=False))


def cutting_speed(measured: Measured) -> float:
    return beside(measured.timed(measured.limit).walls, measured.timed(CUT).walls)


def cpu_of_limit(measured: Measured, name: str) -> float:
    return beside(measured.timed(name).cpus, measured.timed(measured.limit).cpus)


def overhead_per_video(measured: Measured) -> float:
    """Milliseconds for each further one-second film, beside decoding and encoding it."""
    ours = measured.timed(MANY).cpu - measured.timed(FEW).cpu
    theirs = measured.timed(MANY_PLAIN).cpu - measured.timed(FEW_PLAIN).cpu
    return 1000 * (ours - theirs) / max(1, measured.many - measured.few)


def overhead_per_clip(measured: Measured) -> float:
    """Milliseconds for each clip of one second, beside decoding and encoding it."""
    return 1000 * (measured.net(SHORT) - measured.timed(SHORT_PLAIN).cpu) / measured.short_clips


def memory_by_length(measured: Measured) -> float:
    """The peak with the longest film, as a multiple of that with the shortest."""
    peaks = [measured[length_name(minutes)].peak_mb for minutes in measured.lengths]
    return peaks[-1] / peaks[0]


def memory_by_number(measured: Measured) -> float:
    return measured[MANY].peak_mb / measured[FEW].peak_mb


def memory_per_worker(measured: Measured) -> float:
    return max(measured[name].peak_mb for name in (CUT, ALL)) / measured.cores


def copy_speed(measured: Measured) -> float:
    """Seconds of film for each processor second of the whole command."""
    return measured.copied_seconds / measured.timed(COPY).cpu


def smart_speed(measured: Measured) -> float:
    return measured.copied_seconds / measured[SMART].cpu


def smart_price(measured: Measured) -> float:
    """What smart costs beyond copying, as a multiple of what as many frames cost when all are cut.

    The film that is copied is made of the same pictures as the painted ones.
    """
    price = measured.net(workers_name(measured.cores)) / measured.painted_frames
    extra = measured.timed(SMART).cpu - measured.timed(COPY).cpu
    return extra / (measured.smart_frames * price)


def cheaper_looks(measured: Measured) -> float:
    """Decoding everything, as a multiple of what looking costs a copy.

    Motion is nearly all decoding. Quality is mostly arithmetic, which no decoder saves.
    """
    looks = zip(measured.timed(COPY_LOOK).cpus, measured.timed(COPY).cpus, strict=False)
    return beside(measured.timed(DECODE).cpus, [looking - copying for looking, copying in looks])


@dataclass(frozen=True)
class Aim:
    """What should be: a figure, and where it should lie."""

    what: str
    of: Callable[[Measured], float | None]
    least: float | None = None
    most: float | None = None
    unit: str = ""
    #: Short films say nothing of it: starting is most of what they cost.
    needs_length: bool = False

    def met(self, figure: float) -> bool:
        return (self.least is None or figure >= self.least) and (
            self.most is None or figure <= self.most
        )

    @property
    def wanted(self) -> str:
        bound = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        return f"{bound} {self.unit}".rstrip()


AIMS = (
    Aim("cutting: speed of (a), elapsed", cutting_speed, least=0.95, needs_length=True),
    Aim("cutting: CPU of (a)", lambda m: cpu_of_limit(m, CUT), most=1.10, needs_length=True),
    Aim("cutting, without starting: CPU of (a)", lambda m: m.net(CUT) / m.timed(m.limit).cpu,
        most=1.10),
    Aim("everything: CPU of (a)", lambda m: cpu_of_limit(m, ALL), most=1.35, needs_length=True),
    Aim("cutting: all cores busy, first to last second", lambda m: 100 * m[CUT].busy, least=90,
        unit="%", needs_length=True),
    Aim("a one-second video: CPU beside its pictures", overhead_per_video, most=30, unit="ms"),
    Aim("a one-second clip: CPU beside its pictures", overhead_per_clip, most=30, unit="ms"),
    Aim("peak memory per worker", memory_per_worker, most=700, unit="MB"),
    Aim("peak memory: longest film to shortest", memory_by_length, most=FLAT, unit="×"),
    Aim("peak memory: many videos to a tenth of them", memory_by_number, most=FLAT, unit="×",
        needs_length=True),
    Aim("first clip on disk, of a short film", lambda m: m[START].first, most=3, unit="s"),
    Aim("copy: real time per core, whole command", copy_speed, least=200, unit="×",
        needs_length=True),
    Aim("smart beyond copy: cost of its encoded frames", smart_price, most=1.25, unit="×",
        needs_length=True),
    Aim("looking at copies: full decoding costs", cheaper_looks, least=3, unit="×",
        needs_length=True),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    aim: Aim
    #: None where what it needs was not measured.
    figure: float | None
    #: None where the films were too short to say.
    met: bool | None


def verdicts(measured: Measured) -> list[Verdict]:
    """Every aim, and whether it is met."""
    return [_verdict(aim, measured) for aim in AIMS]


def _verdict(aim: Aim, measured: Measured) -> Verdict:
    try:
        figure = aim.of(measured)
    except (KeyError, ZeroDivisionError):
        figure = None
    if figure is None or (measured.quick and aim.needs_length):
        return Verdict(aim, figure, None)
    return Verdict(aim, figure, aim.met(figure))


# ── compared with a baseline ─────────────────────────────────────────────────────────────────────


def ratios(measured: Measured, to: str) -> dict[str, float]:
    """What machines can be compared by: time as multiples of (a)'s, and memory; less is better.

    Where (a) was not run beside something, the yardstick was run beside both.
    """
    found = {f"{name}: peak MB": row.peak_mb for name, row in measured.rows.items() if row.ours}
    limit = measured[to]
    if not limit.runs:
        return found
    for name, row in measured.rows.items():
        if row.ours and row.runs:
            cpu, wall = row.cpu / limit.cpu, row.wall / limit.wall
            found[f"{name}: CPU of (a)"] = cpu * limit.pace_cpu / row.pace_cpu
            found[f"{name}: elapsed, (a) is 1"] = wall * limit.pace_wall / row.pace_wall
    # Of the milliseconds only their size beside (a)'s second of film means something elsewhere.
    second = 1000 * limit.cpu / measured.seconds
    for what, name, overhead in (
        ("video", MANY, overhead_per_video),
        ("clip", SHORT, overhead_per_clip),
    ):
        with contextlib.suppress(KeyError):
            beside_it = overhead(measured) / second * limit.pace_cpu / measured[name].pace_cpu
            found[f"beside a {what}'s pictures: seconds of (a)"] = beside_it
    return found


def why_not_compared(measured: Measured, baseline: Mapping[str, Any] | None) -> str | None:
    """``None`` if figures may be held against the baseline's."""
    if baseline is None:
        return "there is no baseline of this size: make bench KEEP=1 makes these figures one"
    if baseline["limit"] not in measured.rows:
        return f"the baseline's (a) is {baseline['limit']}, which was not measured here"
    if tuple(baseline["films"]) != measured.films:
        return (
            f"the baseline was measured with other films: {', '.join(baseline['films'])}. "
            "Real films are looked for in ../shared/videos or $FINECUT_SHARED/videos"
        )
    return None


@dataclass(frozen=True)
class Change:
    what: str
    before: float
    now: float

    @property
    def ratio(self) -> float:
        return self.now / self.before


def on_other_cores(figures: Mapping[str, float]) -> dict[str, float]:
    """What can be compared also between machines with more cores and with fewer."""
    return {what: figure for what, figure in figures.items() if what.endswith("of (a)")}


def changes(now: Mapping[str, float], before: Mapping[str, float]) -> list[Change]:
    """What both have, the worst first."""
    both = [Change(what, before[what], now[what]) for what in now if before.get(what, 0) > 0]
    return sorted(both, key=lambda change: -change.ratio)


def worse(found: Sequence[Change]) -> Iterator[Change]:
    return (change for change in found if change.ratio > WORSE)
