"""What commands take for painted outputs, each as a process of its own, as users start it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow.parquet as pq
from metering import CommandFailed

from finecut.pipeline.commands.shard import ShardOptions
from scaling.painting import Painting
from scaling.run import STRICTER

#: Commands with findings end with it, and were at work even so.
FOUND: Final = 1


#: Starts a command from a small process: one that is started takes over the memory of who starts it
#: as the most that it ever had.
LAUNCHER: Final = """
import json, resource, subprocess, sys, time
began = time.monotonic()
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
wall = time.monotonic() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, wall, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


class Found(NamedTuple):
    """What dedup found of what was planted."""

    #: Clips that are to go, one of each group staying.
    planted: int
    gone: int
    #: Clips that go for one that is not like them.
    wrong: int

    @property
    def recall(self) -> float:
        return (self.gone - self.wrong) / self.planted if self.planted else 1.0


@dataclass(frozen=True)
class Taken:
    """What one command took for one output."""

    step: str
    rows: int
    #: Seconds.
    wall: float
    cpu: float
    #: Of its largest process.
    megabytes: float
    found: Found | None = None


@dataclass(frozen=True)
class Step:
    """A command: its words, for a painted output and a folder to write to."""

    name: str
    words: Callable[[Path, Path], Sequence[str]]
    #: Whether it needs clips, or documents of clips, too.
    of_clips: bool = False
    of_documents: bool = False
    codes: tuple[int, ...] = (0,)

    def suits(self, painting: Painting) -> bool:
        """Whether that output has what the command needs."""
        clips = painting.clips or not self.of_clips
        return clips and (painting.documents or not self.of_documents)


def _dedup(root: Path, _to: Path) -> list[str]:
    return ["dedup", str(root), "--no-confirm"]


def _like(root: Path, _to: Path) -> list[str]:
    clip = pq.ParquetFile(f"{root}-groups.parquet").read_row_group(0)["id"][0].as_py()
    return ["search", str(root), "--like", str(clip)]


def _shard(root: Path, to: Path) -> list[str]:
    return ["shard", str(root), "--output", f"{to}/shards"]


def _report(root: Path) -> list[str]:
    return ["report", str(root), "--into", f"{root.parent}/report"]


PLANS: Final = "dry_run" in {f.name for f in fields(ShardOptions)}
#: In this order: dedup writes into the output, and report into a folder of its own.
STEPS: Final = (
    Step("search, words", lambda root, _: ["search", str(root), "red boat ka*"]),
    Step("search, like", _like),
    Step("dedup", _dedup),
    *(
        [
            Step(
                "shard, plan",
                lambda root, to: ["shard", str(root), "--output", f"{to}/shards", "--dry-run"],
                of_clips=True,
            )
        ]
        if PLANS
        else []
    ),
    Step("shard", _shard, of_clips=True, of_documents=True),
    Step(
        "refilter, dry run",
        lambda root, _: ["refilter", str(root), "--keep", *STRICTER, "--dry-run"],
    ),
    Step(
        "verify, quick",
        lambda root, _: ["verify", str(root), "--quick"],
        of_clips=True,
        of_documents=True,
        codes=(0, FOUND),
    ),
    Step("report, no pictures", lambda root, _: [*_report(root), "--no-pictures"]),
    # Each clip is decoded: some milliseconds, however many there are.
    Step("report", lambda root, _: _report(root), of_clips=True, of_documents=True),
)


def measured(painting: Painting, steps: Sequence[Step], workers: int = 0) -> Iterator[Taken]:
    """What each of these commands takes for this output."""
    root = Path(painting.folder)
    for step in steps:
        if not step.suits(painting):
            continue
        with tempfile.TemporaryDirectory(prefix="finecut-bench-", dir=root.parent) as to:
            words = [*step.words(root, Path(to)), "--quiet"]
            if workers:
                words += ["--workers", str(workers)]
            taken = spent(step, words, painting.plan.rows)
        found = found_in(painting) if step.name == "dedup" else None
        yield Taken(*taken, found)


def spent(step: Step, words: Sequence[str], rows: int) -> tuple[str, int, float, float, float]:
    """Run a command; what it, and all that it started and waited for, took."""
    command = [sys.executable, "-m", "finecut.pipeline.cli.command", *words]
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command],
        # Not here: Python looks there first, and finds a folder called io.
        cwd=tempfile.gettempdir(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    code, wall, cpu, kilobytes = json.loads(done.stdout)
    if code not in step.codes:
        told = done.stderr.strip()[-500:]
        raise CommandFailed(f"finecut {' '.join(words)} ended with {code}: {told}")
    return step.name, rows, wall, cpu, kilobytes / 1024


def found_in(painting: Painting) -> Found:
    """What dedup's table says, beside the truth."""
    truth = pq.read_table(painting.truth)
    groups = dict(zip(truth["id"].to_pylist(), truth["group"].to_pylist(), strict=True))
    columns = ["id", "kept", "kept_id"]
    told = pq.read_table(f"{painting.folder}/dedup/groups.parquet", columns=columns)
    gone = [row for row in told.to_pylist() if not row["kept"]]
    wrong = [row for row in gone if groups.get(row["id"], -1) != groups.get(row["kept_id"], -2)]
    return Found(len(groups) - len({*groups.values()}), len(gone), len(wrong))


# ── what follows ─────────────────────────────────────────────────────────────────────────────────


def power(less: Taken, more: Taken, what: Callable[[Taken], float]) -> float:
    """With which power of the number of clips something grows."""
    return math.log(what(more) / what(less)) / math.log(more.rows / less.rows)


def by_step(taken: Sequence[Taken]) -> Mapping[str, list[Taken]]:
    """Each command's, the smallest output first."""
    found: dict[str, list[Taken]] = {}
    for one in sorted(taken, key=lambda each: each.rows):
        found.setdefault(one.step, []).append(one)
    return found


def foreseen(sizes: Sequence[Taken], rows: int) -> float:
    """Processor seconds for so many clips: in proportion, or more if it grew faster than that."""
    last = sizes[-1]
    grows = power(sizes[-2], last, lambda each: each.cpu) if len(sizes) > 1 else 1.0
    return float(last.cpu * (rows / last.rows) ** max(1.0, grows))


def memory_foreseen(sizes: Sequence[Taken], rows: int) -> float | None:
    """Megabytes for so many clips, if each further one takes what the last ones took; nothing is
    known of a single size.
    """
    if len(sizes) < 2:
        return None
    less, more = sizes[-2:]
    of_each = max(0.0, more.megabytes - less.megabytes) / (more.rows - less.rows)
    return more.megabytes + of_each * (rows - more.rows)
