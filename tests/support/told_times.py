"""What a run shows of the time that is left, recorded while it works, beside what it has counted.

    python tests/support/told_times.py NAME [FILE]     records one of RUNS: a trace

On a machine that others use, too, nobody can know what is left in seconds of the wall's clock. The
processor time that the run has taken, divided by its workers, is nearly the same on any day, so
each row has both.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import apache_beam as beam

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.process.processor_time import processor_seconds
from finecut.pipeline import running
from finecut.pipeline.cli.progress import FEW, WRITTEN, Line
from finecut.pipeline.cli.time_left import TimeLeft
from finecut.pipeline.cli.usual_costs import UsualCosts
from finecut.pipeline.curation import build
from finecut.pipeline.options import Options
from finecut.pipeline.planning import plan
from finecut.transforms.beam.lines import WriteLines
from finecut.transforms.beam.metrics import BOARD
from finecut.transforms.find.videos import FindVideos

Counts = Mapping[str, int]
#: Seconds between two looks.
EVERY = 0.25
#: What is counted and says nothing of the time that is left.
OTHERS = ("microseconds", "/bytes", "frames", "milliseconds cut", "milliseconds watched")


class Row(NamedTuple):
    """What was counted after so many seconds, on both clocks."""

    wall: float
    processor: float
    counts: dict[str, int]


class Told(NamedTuple):
    """What is told when this share of a run has passed, and the truth."""

    share: float
    rest: float
    left: float | None
    counts: Counts

    @property
    def is_shown(self) -> bool:
        """As a number, and not as a few seconds."""
        return self.left is not None and self.left >= FEW

    @property
    def off(self) -> float:
        return 0.0 if self.left is None else self.left / max(1e-3, self.rest) - 1


@dataclass
class Trace:
    """A run, as its line of progress saw it."""

    rows: list[Row] = field(default_factory=list)

    def told(self, usual: UsualCosts, slower: float = 1.0) -> Iterator[Told]:
        """What is told at each look, on the clock of the processors; as if all took so many times
        longer, which short runs need to be told anything.
        """
        time_left = TimeLeft(usual, WRITTEN)
        factor = slower / usual.workers
        ended = self.rows[-1].processor * factor
        for row in self.rows[:-1]:
            seconds = row.processor * factor
            left = time_left(row.counts, seconds).left
            yield Told(seconds / ended, ended - seconds, left, row.counts)

    def saved(self, path: Path, **more: Any) -> None:
        names = {name for row in self.rows for name in row.counts}
        kept = sorted(n for n in names if not any(other in n for other in OTHERS))
        last = len(self.rows) - 1
        rows = [
            [round(row.wall, 2), round(row.processor, 2), *(row.counts.get(n, 0) for n in kept)]
            for row in self.rows
        ]
        changed = [row for n, row in enumerate(rows) if n in (0, last) or row != rows[n - 1]]
        lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in changed)
        head = json.dumps({**more, "counts": kept})[:-1]
        path.write_text(f'{head},\n"rows": [\n{lines}\n]}}\n')


def loaded(path: Path) -> tuple[Trace, Options]:
    """A run that was recorded, and its options."""
    said = json.loads(path.read_text())
    rows = [Row(r[0], r[1], dict(zip(said["counts"], r[2:], strict=True))) for r in said["rows"]]
    return Trace(rows), Options(input=("films",), output="out", **said["options"])


@contextmanager
def recorded(read: Callable[[], Counts], every: float = EVERY) -> Iterator[Trace]:
    """What is counted within."""
    trace, ended = Trace(), threading.Event()
    began, before = time.monotonic(), processor_seconds()

    def look() -> None:
        now, used = time.monotonic() - began, processor_seconds() - before
        trace.rows.append(Row(now, used, dict(read())))

    def watch() -> None:
        while not ended.wait(every):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield trace
    finally:
        ended.set()
        thread.join()
        look()


def traced(options: Options) -> Trace:
    """A run of these, as its line of progress saw it: this takes the line's place."""
    traces: list[Trace] = []

    @contextmanager
    def progress(_wanted: bool, line: Line, read: Callable[[], Counts]) -> Iterator[None]:
        del line
        with recorded(read) as trace:
            traces.append(trace)
            yield

    shown: Any = running
    before, shown.Progress = shown.Progress, progress
    try:
        running.run(options)
    finally:
        shown.Progress = before
    return traces[0]


def traced_on_two_kinds(options: Options) -> Trace:
    """A run on machines of two kinds, one after the other: all is cut before any clip is written.

    Bundles are dealt here, as in ``test_two_kinds.py``.
    """
    steps = plan(replace(options, runner="prism", right_fitting=True).check())
    shelf = steps.writing.shelf
    with recorded(BOARD.since()) as trace, beam.Pipeline("FnApiRunner") as pipeline:
        sources = pipeline | "FindVideos" >> FindVideos(steps.finding)
        build(sources, steps, 0, WriteLines(shelf, f"{shelf.staging}/failures.jsonl"))
    shelf.sweep()
    return trace


# ── what is recorded ─────────────────────────────────────────────────────────────────────────────

Films = tuple[tuple[int, int, int, int], ...]
#: Width, height, frames a second, seconds.
MIXED: Final[Films] = (
    (320, 180, 15, 40), (320, 180, 25, 20), (640, 360, 25, 30), (640, 360, 25, 12),
    (1280, 720, 25, 12), (1280, 720, 30, 6), (160, 90, 10, 60), (480, 270, 25, 20),
    (854, 480, 25, 15), (320, 180, 30, 8), (640, 360, 30, 40), (1920, 1080, 25, 5),
)  # fmt: skip
#: One that is long, among many that are short.
UNEQUAL: Final[Films] = ((640, 360, 25, 150), *((320, 180, 25, 6 + n % 5) for n in range(24)))
#: Of tests that have little time.
FEW_FILMS: Final[Films] = MIXED[2:5] + MIXED[7:9]

SCENES: Final = {"splitting_algorithm": "content", "no_generate_embeddings": True}
STRIDE: Final = {"clip_length": 5.0, "no_generate_embeddings": True}
#: Films, options, and whether machines of two kinds do it.
RUNS: Final[dict[str, tuple[Films, dict[str, Any], bool]]] = {
    "scenes, one worker": (MIXED, SCENES | {"workers": 1, "motion_filter": "score-only"}, False),
    "scenes, scored": (
        MIXED,
        SCENES | {"workers": 2, "motion_filter": "score-only", "quality_filter": "score-only"},
        False,
    ),
    "stride": (MIXED, STRIDE | {"workers": 2}, False),
    "stride, previews": (MIXED, STRIDE | {"workers": 1, "generate_previews": True}, False),
    "stride, embedded": (MIXED, STRIDE | {"workers": 2, "no_generate_embeddings": False}, False),
    "unequal, scenes": (UNEQUAL, SCENES | {"workers": 2}, False),
    "unequal, stride": (UNEQUAL, STRIDE | {"workers": 2}, False),
    "prism, scenes": (MIXED, SCENES | {"runner": "prism", "motion_filter": "score-only"}, False),
    "prism, stride": (MIXED, STRIDE | {"runner": "prism", "generate_previews": True}, False),
    "prism, unequal": (UNEQUAL, STRIDE | {"runner": "prism"}, False),
    "two pools, scenes": (
        MIXED,
        SCENES | {"motion_filter": "score-only", "generate_previews": True, "workers": 2},
        True,
    ),
    "two pools, embedded": (
        MIXED,
        STRIDE | {"no_generate_embeddings": False, "generate_previews": True, "workers": 2},
        True,
    ),
}


def painted(folder: Path, films: Films) -> Path:
    """Films of these sizes, with a new scene every three to seven seconds."""
    folder.mkdir(parents=True)
    for number, (width, height, rate, seconds) in enumerate(films):
        cuts, at = list[int](), 3 + number % 4
        while at < seconds - 2:
            cuts.append(at)
            at += 3 + (number + len(cuts)) % 5
        paint(
            folder / f"{number:02d}.mp4",
            width=width,
            height=height,
            rate=rate,
            seconds=seconds,
            cuts=cuts,
            scenes=[Scene(n, velocity=(60.0, 40.0), pan=30.0) for n in range(len(cuts) + 1)],
        )
    return folder


def main(name: str, path: str) -> None:
    films, given, two = RUNS[name]
    with tempfile.TemporaryDirectory() as folder:
        source = painted(Path(folder, "films"), films)
        options = Options(input=(str(source),), output=f"{folder}/out", **given)
        trace = traced_on_two_kinds(options) if two else traced(options)
    trace.saved(Path(path), options=given)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if sys.argv[2:] else f"{sys.argv[1]}.json")
