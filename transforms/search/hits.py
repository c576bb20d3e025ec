"""Hits: clips that were found, the best ones first."""

import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

#: What is read of a clip to tell of it.
TOLD: Final = ("id", "verdict", "video", "start", "end", "clip", "caption")
#: Verdicts that may be asked for, besides that of any clip.
ANY: Final = "any"


@dataclass(frozen=True)
class Hit:
    """A clip that was found, and what the catalogue says of it."""

    score: float
    id: str
    verdict: str
    video: str
    start: float | None
    end: float | None
    #: Path of its file below the dataset.
    clip: str | None
    caption: str | None

    @property
    def rank(self) -> tuple[float, str]:
        """The best one is the least; of equal ones the one with the lesser id."""
        return -self.score, self.id


def with_verdict(table: pa.Table, verdict: str) -> pa.Table:
    """The rows with this verdict."""
    if verdict == ANY:
        return table
    return table.filter(pc.equal(table["verdict"], verdict))


def best_rows(
    table: pa.Table, scores: NDArray[np.floating[Any]], limit: int, least: float
) -> list[Hit]:
    """The best of these rows, each with a score; none that is worth nothing, or less than wanted.

    ``least`` is the lowest score that is wanted.
    """
    [places] = np.nonzero((scores > 0) & (scores >= least))
    if len(places) > limit:
        # Of equal ones all remain, and ids decide.
        edge = np.partition(scores[places], -limit)[-limit]
        places = places[scores[places] >= edge]
    rows = table.select(TOLD).take(pa.array(places)).to_pylist()
    found = [Hit(float(scores[at]), **row) for at, row in zip(places, rows, strict=True)]
    return best([found], limit)


def best(lists: Iterable[Sequence[Hit]], limit: int) -> list[Hit]:
    """The best of all."""
    return heapq.nsmallest(limit, (hit for each in lists for hit in each), key=lambda h: h.rank)


def to_lines(hits: Iterable[Hit]) -> bytes:
    """A line of JSON for each."""
    return "".join(f"{json.dumps(asdict(hit))}\n" for hit in hits).encode()


def from_lines(data: bytes) -> list[Hit]:
    return [Hit(**json.loads(line)) for line in data.splitlines()]
