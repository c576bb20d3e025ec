"""Nearest vectors: clips that look like one, by the vectors of an embedder.

tables of vectors ─▶ some at a time ─▶ their cosines with one vector ─▶ the best of each
the best of all ─▶ their rows in the catalogue ─▶ hits
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from finecut.io.dataset.output import Output
from finecut.io.layout import Layout
from finecut.io.tables.parquet import PARQUET
from finecut.io.tables.piles import read_vectors
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.catalogue.columns import texts
from finecut.transforms.catalogue.reading import Slice, rows_in, slices
from finecut.transforms.search.hits import TOLD, Hit

#: Counts vectors, for progress.
COMPARED = "search/vectors"

Vector = NDArray[np.float32]


class Near(NamedTuple):
    """A clip, the chunk of its vector, and how much it is like the one that was asked for."""

    score: float
    id: str
    chunk: str

    @property
    def rank(self) -> tuple[float, str]:
        return -self.score, self.id


def chunk_with(clip: str, layout: Layout) -> str | None:
    """The chunk that this clip belongs to, if there is such a clip."""
    for piece in slices(layout):
        table = rows_in(piece, layout, ("id", "chunk"))
        found = table.filter(pc.equal(table["id"], clip))["chunk"]
        if len(found):
            return str(found[0].as_py())
    return None


def vector_of(clip: str, chunk: str, algorithm: str, output: Output) -> Vector | None:
    """The vector of a clip, of length 1; none if it has none."""
    vector = output.vectors(algorithm, chunk).get(clip)
    length = 0.0 if vector is None else float(np.linalg.norm(vector))
    return None if vector is None or not length else np.asarray(vector / length, np.float32)


@dataclass(frozen=True)
class Alike:
    """What is searched for: clips with vectors like this one, of length 1, and not its own."""

    clip: str
    vector: Vector
    algorithm: str
    limit: int


def nearest_in(paths: Iterable[str], wanted: Alike, layout: Layout) -> list[Near]:
    """The most alike in these tables, without the clip itself."""
    limit, clip = wanted.limit, wanted.clip
    found: list[Near] = []
    for path in paths:
        chunk = path.rsplit("/", 1)[-1].removesuffix(PARQUET)
        floor = found[-1].score if len(found) == limit else -1.0
        try:
            for ids, vectors in _vectors_at(path, chunk, wanted.algorithm, layout):
                count(COMPARED, len(ids))
                cosines = cosines_with(wanted.vector, vectors)
                found += [
                    Near(float(cosines[place]), ids[place], chunk)
                    for place in np.nonzero(cosines >= floor)[0].tolist()
                    if ids[place] != clip
                ]
        except ValueError as error:
            LOG.error("%s: it is left out", error)
            count("tables left out")
        found = nearest([found], limit)
    return found


def _vectors_at(
    path: str, chunk: str, algorithm: str, layout: Layout
) -> Iterator[tuple[Sequence[str], Vector]]:
    if not layout.packed:
        yield from read_vectors(path)
    elif found := Output(layout).vectors(algorithm, chunk):
        yield list(found), np.stack([*found.values()])


def cosines_with(wanted: Vector, vectors: Vector) -> NDArray[np.float64]:
    """How much each vector is like this one, which has the length 1; not a number of those that
    point nowhere, or are another model's.

    To six digits: behind those it says in how many parts the sums were made.
    """
    if vectors.shape[1] != len(wanted):
        return np.full(len(vectors), np.nan)
    lengths = np.linalg.norm(vectors, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.round((vectors.astype(np.float64) @ wanted) / lengths, 6)


def nearest(lists: Iterable[Sequence[Near]], limit: int) -> list[Near]:
    """The most alike of all."""
    return heapq.nsmallest(limit, (near for each in lists for near in each), key=lambda n: n.rank)


def hits_of(found: Sequence[Near], layout: Layout) -> list[Hit]:
    """What the catalogue says of these; of clips that it does not know, nothing."""
    wanted = {near.id: near for near in found}
    chunks = sorted({near.chunk for near in found})
    hits: list[Hit] = []
    for piece in slices(layout) if found else ():
        if _may_have(piece, chunks):
            table = rows_in(piece, layout, TOLD)
            rows = table.filter(pc.is_in(table["id"], value_set=texts(wanted))).to_pylist()
            hits += [Hit(wanted[row["id"]].score, **row) for row in rows]
    return sorted(hits, key=lambda hit: hit.rank)


def _may_have(piece: Slice, chunks: Sequence[str]) -> bool:
    if piece.bucket is None:
        return True
    return any(chunk.startswith(piece.bucket.prefix) for chunk in chunks)
