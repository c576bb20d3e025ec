"""Rules by share: "the sharpest 80 %" becomes a limit, found in the scores of the dataset.

    sharpness top 80%    ─▶  sharpness>=0.0731
    motion bottom 25%    ─▶  motion<=0.0042

The share is one of the clips that have the score, kept ones and rejected ones, so it means the same
whatever the rules were before. What is written down is the limit: as the dataset grows, it stays.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finecut.io.layout import Layout
from finecut.transforms.catalogue.reading import rows_in, slices
from finecut.transforms.filter.shares import Share
from finecut.transforms.registry import SCORES, SHORT

#: Of more clips than twice this, only some are looked at: those whose ids begin with low numbers,
#: which are as good as drawn by lot, and the same ones each time.
MOST: Final = 500_000
#: What ids begin with, as a number.
KEYS: Final = 1 << 32

Floats = NDArray[np.float64]


def rule_of(share: Share, values: Floats) -> str:
    """The rule that lets this share through: at least one clip, and all that equal the last one.

    >>> rule_of(Share("motion", True, 50), np.array([0.1, 0.4, 0.3, 0.2]))
    'motion>=0.3'
    """
    ordered = np.sort(values)
    through = max(1, round(share.percent / 100 * len(ordered)))
    limit = float(ordered[-through] if share.top else ordered[through - 1])
    return f"{share.score}{'>=' if share.top else '<='}{limit!r}"


def rule_in(share: Share, layout: Layout) -> str:
    """The same of the scores of a dataset; or a ``ValueError`` where no clip has such a score."""
    name = SHORT.get(share.score, share.score).replace("-", "_")
    values = few_of(_scores_in(layout, name))
    if not len(values):
        raise ValueError(
            f"no clip of {layout.root} has the score {share.score}, so no share can be taken by "
            "it: finecut summary lists the scores that there are"
        )
    return rule_of(share, values)


def few_of(parts: Iterable[tuple[NDArray[np.int64], Floats]], most: int = MOST) -> Floats:
    """The values of clips with the lowest keys: all of them, if they are not too many. Which ones
    does not depend on the order or size of the parts.
    """
    below, keys, values = KEYS, np.zeros(0, np.int64), np.zeros(0)
    for more_keys, more in parts:
        low = more_keys < below
        keys, values = np.append(keys, more_keys[low]), np.append(values, more[low])
        while len(keys) > 2 * most:
            below //= 2
            low = keys < below
            keys, values = keys[low], values[low]
    return values


def _scores_in(layout: Layout, name: str) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    column = name if name in SCORES else "other_scores"
    for piece in slices(layout):
        rows = rows_in(piece, layout, ("id", column))
        places, values = _values_of(rows[column].combine_chunks(), name)
        there = np.isfinite(values)
        ids = rows["id"].take(pa.array(places[there])).to_pylist()
        yield np.array([int(id[:8], 16) for id in ids], np.int64), values[there]


def _values_of(column: pa.Array, name: str) -> tuple[NDArray[np.int64], Floats]:
    """Which rows have the score, and what it is."""
    if name in SCORES:
        if not pa.types.is_floating(column.type) and not pa.types.is_integer(column.type):
            return np.zeros(0, np.int64), np.zeros(0)
        values = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
        return np.arange(len(values)), values
    flat, parents = pc.list_flatten(column), pc.list_parent_indices(column)
    wanted = pc.equal(pc.struct_field(flat, "name"), name)
    values = pc.struct_field(flat.filter(wanted), "value").cast(pa.float64())
    numbers = pc.fill_null(values, float("nan")).to_numpy(zero_copy_only=False)
    return np.asarray(parents.filter(wanted).to_numpy()), numbers
