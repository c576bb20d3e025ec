"""What ``finecut dedup`` finds and costs, by the number of vectors and of workers.

    make bench-dedup                          20,000 and 200,000 of 256 numbers (five minutes)
    make bench-dedup VECTORS='1000 30000'     so many instead

Every fifth vector has a near copy. What is found is held against all near pairs there are, by
comparing each vector with each; what several workers write, against what one writes, byte by byte.
Ends with 1 if less than 99 % of the pairs are found, anything that is no pair is, or bytes differ.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from metering import Cost, adopt_orphans, cores, cost_of
from planted import Pair, by_brute_force, planted, told, write_tables

COUNTS, SIZE, EPS = (20_000, 200_000), 256, 0.1
#: So much of all near pairs is to be found.
RECALL = 0.99
#: As many tables as a larger run of curate would have written.
TABLES = 20


@dataclass(frozen=True)
class Run:
    """So many vectors, deduplicated once."""

    count: int
    workers: int
    cost: Cost
    found: int
    there: int
    wrong: int
    #: Of everything that was written.
    digest: str

    @property
    def recall(self) -> float:
        return self.found / self.there if self.there else 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vectors", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--size", type=int, default=SIZE, help="how many numbers a vector has")
    given = parser.parse_args(arguments)
    adopt_orphans()
    counts = sorted({max(1, count) for count in given.vectors})
    runs = [run for count in counts for run in measured(count, given.size)]
    sys.stdout.write("\n".join(table(runs)) + "\n")
    return int(not sound(runs))


def measured(count: int, size: int) -> Iterator[Run]:
    """With all cores as workers, and with one."""
    with tempfile.TemporaryDirectory(prefix="finecut-bench-") as place:
        _say(f"{count:,} vectors: comparing each with each")
        ids, vectors, _ = planted(count, size)
        write_tables(Path(place) / "tables", ids, vectors, TABLES)
        there = by_brute_force(ids, vectors, 1 - EPS)
        del ids, vectors
        for workers in sorted({cores(), 1}, reverse=True):
            yield _deduplicated(Path(place), count, workers, there)


def _deduplicated(place: Path, count: int, workers: int, there: set[Pair]) -> Run:
    root = place / f"by-{workers}"
    root.mkdir()
    command = [sys.executable, "-m", "finecut.pipeline.cli.command", "dedup", str(root), "--quiet"]
    command += ["--embeddings", str(place / "tables"), "--eps", str(EPS)]
    cost = cost_of([[*command, "--workers", str(workers)]])
    found = told(root / "dedup" / "groups.parquet")
    _say(f"{count:,} vectors, workers: {workers}: {cost.cpu:.1f} s CPU, {cost.wall:.1f} s")
    return Run(
        count, workers, cost, len(found & there), len(there), len(found - there), digest(root)
    )


def digest(root: Path) -> str:
    """Of all files below a folder, their names and what is in them."""
    found = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def table(runs: Sequence[Run]) -> Iterator[str]:
    yield "| vectors | workers | CPU s | elapsed s | peak MB | near pairs | found | wrong | files |"
    yield "| --: | --: | --: | --: | --: | --: | --: | --: | --- |"
    for run in runs:
        cost = f"{run.cost.cpu:.1f} | {run.cost.wall:.1f} | {run.cost.peak_mb:.0f}"
        yield (
            f"| {run.count:,} | {run.workers} | {cost} | {run.there:,} | {run.recall:.2%} "
            f"| {run.wrong} | {_beside(run, runs)} |"
        )
    most = runs[-1]
    fewest = next(run for run in runs if run.workers == most.workers)
    if fewest.count < most.count:
        more = most.count / fewest.count
        power = math.log(most.cost.cpu / fewest.cost.cpu) / math.log(more)
        yield ""
        yield f"{more:g} times the vectors take {more:g}^{power:.2f} times the processor time."


def _beside(run: Run, runs: Sequence[Run]) -> str:
    """What its files are beside those of others with as many vectors."""
    others = [other for other in runs if other.count == run.count and other is not run]
    if not others:
        return "alone"
    return "same" if {other.digest for other in others} == {run.digest} else "**others**"


def sound(runs: Sequence[Run]) -> bool:
    """Whether enough was found, nothing else was, and workers make no difference."""
    return all(
        run.recall >= RECALL and not run.wrong and "*" not in _beside(run, runs) for run in runs
    )


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
