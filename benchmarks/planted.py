"""Vectors among which the near pairs are known, as tables that ``finecut dedup`` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from finecut.transforms.dedup.clusters import Floats, normalised

#: Of two ids, the lesser first.
Pair = tuple[str, str]
#: Vectors that are compared with all at once: with 200,000 that takes 800 MB.
BLOCK = 1000


def identifier(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


def planted(count: int, size: int, seed: int = 0) -> tuple[list[str], Floats, set[Pair]]:
    """Vectors without much order among them, a near copy of every fifth, and which are the pairs.

    In any order, and the ids say nothing.
    """
    dice = np.random.default_rng(seed)
    base = dice.normal(size=(count * 5 // 6, size))
    copies = base[::5] + 0.25 * dice.normal(size=base[::5].shape)
    vectors = normalised(np.concatenate([base, copies]))
    order = dice.permutation(len(vectors))
    ids = [identifier(number) for number in dice.permutation(len(vectors))]
    pairs = {paired(ids[5 * i], ids[len(base) + i]) for i in range(len(copies))}
    return [ids[i] for i in order], vectors[order], pairs


def paired(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


def write_tables(folder: Path, ids: list[str], vectors: NDArray[Any], number: int) -> None:
    """So many tables of id and embedding."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in enumerate(np.array_split(np.arange(len(ids)), number)):
        columns = {
            "id": [ids[row] for row in rows],
            "embedding": pa.array([*vectors[rows]], pa.list_(pa.float32())),
        }
        pq.write_table(pa.table(columns), folder / f"{part:04}.parquet")


def by_brute_force(ids: list[str], vectors: Floats, floor: float) -> set[Pair]:
    """All pairs whose cosine is no less, found by comparing each with each."""
    found = set()
    for start in range(0, len(vectors), BLOCK):
        # Those before were compared with these already.
        near = np.nonzero(vectors[start : start + BLOCK] @ vectors[start:].T >= floor)
        found |= {
            paired(ids[start + one], ids[start + other])
            for one, other in zip(*near, strict=True)
            if one < other
        }
    return found


def told(groups: Path) -> set[Pair]:
    """The pairs that a table of duplicate groups tells: who goes, and for whom.

    All there are only if no group is larger than a pair.
    """
    rows = pq.read_table(groups).to_pylist()
    return {paired(row["id"], row["kept_id"]) for row in rows if not row["kept"]}
