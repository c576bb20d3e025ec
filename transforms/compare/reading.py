"""The rows of an output with their vectors, slice by slice."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from finecut.io.dataset.output import Output
from finecut.io.tables.packs import Floats
from finecut.transforms.catalogue.fields import Row
from finecut.transforms.catalogue.reading import failed_rows, rows_in
from finecut.transforms.compare.pairs import COLUMNS, VECTORS
from finecut.transforms.report.here import slices_there


def rows_of(output: Output, algorithms: Sequence[str]) -> Iterator[Row]:
    """All clips of an output: first those that failed, because one may have been made later."""
    yield from failed_rows(output.layout, COLUMNS).to_pylist()
    for piece in slices_there(output):
        rows: list[dict[str, Any]] = rows_in(piece, output.layout, COLUMNS).to_pylist()
        yield from _with_vectors(rows, output, algorithms) if algorithms else rows


def _with_vectors(rows: list[Row], output: Output, algorithms: Sequence[str]) -> Iterator[Row]:
    """Chunk by chunk, since vectors lie in a table of each."""
    chunks = defaultdict(list)
    for row in rows:
        chunks[row["chunk"]].append(row)
    for chunk, clips in chunks.items():
        there = {name: output.vectors(name, chunk) for name in algorithms}
        for row in clips:
            mine = {name: found[row["id"]] for name, found in there.items() if row["id"] in found}
            yield row | {VECTORS: {name: _as_bytes(vector) for name, vector in mine.items()}}


def _as_bytes(vector: Floats) -> bytes:
    return np.asarray(vector, np.float32).tobytes()
