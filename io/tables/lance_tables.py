"""What a Lance table of clips has beside its rows: an index of the vectors, and the clips' files.

Few vectors are compared one by one, which is exact, and fast enough. Of many, an index (IVF_PQ)
says which are worth comparing: they lie in parts of some thousand near ones, each rounded to a few
bytes. Either answers the same query::

    table.to_table(nearest={"column": "vector", "q": vector, "k": 10, "metric": "cosine",
                            "nprobes": 20, "refine_factor": 10})

A clip's file is a blob: rows are read without it, and it is read in parts
(``table.take_blobs("clip_file", indices=[7])``).
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa

from finecut.io.storage import files as shelf

VECTOR: Final = "vector"
#: The column with the files of clips.
CLIP_FILE: Final = "clip_file"
#: Vectors that are worth an index, and how many lie in one part of it.
LEAST, OF_PART = 65_536, 4096
#: Numbers of a vector that are rounded together.
TOGETHER: Final = 8
#: Where a clip's file lies.
PLACE: Final = ("shard", "offset", "num_bytes")
#: Bytes of clips that are in memory at once.
BYTES: Final = 64 << 20
#: How Lance knows a column whose values are read on their own account.
_BLOB: Final = {"lance-encoding:blob": "true"}


def index_vectors(path: str, least: int = LEAST) -> bool:
    """Make an index of the vectors of the Lance table that lies there, if there are so many."""
    import lance

    table = lance.dataset(path)
    dimension = _dimension(table.schema)
    if dimension is None or (groups := groups_of(dimension)) is None:
        return False
    there = table.count_rows(f"{VECTOR} IS NOT NULL")
    if there < least:
        return False
    parts = max(1, there // OF_PART)
    table.create_index(
        VECTOR, "IVF_PQ", metric="cosine", num_partitions=parts, num_sub_vectors=groups
    )
    return True


def _dimension(schema: Any) -> int | None:
    """How long the vectors are, if all are of one length."""
    if VECTOR not in schema.names:
        return None
    kind = schema.field(VECTOR).type
    return kind.list_size if pa.types.is_fixed_size_list(kind) else None


def groups_of(dimension: int) -> int | None:
    """In how many equal groups the numbers of a vector are rounded: of eight each, or more where
    eight do not divide it; none where nothing does.

    >>> groups_of(256), groups_of(300), groups_of(17), groups_of(4)
    (32, 30, None, None)
    """
    size = next((size for size in range(TOGETHER, dimension // 2 + 1) if dimension % size == 0), 0)
    return dimension // size if size else None


def with_clips(groups: Iterable[pa.Table], root: str) -> Iterator[pa.Table]:
    """The rows of an index with their clips' files, out of the shards below ``root``; some at a
    time, so that few of them are in memory.
    """
    field = pa.field(CLIP_FILE, pa.large_binary(), metadata=_BLOB)
    for group in groups:
        for rows in _in_parts(group):
            places = zip(*(rows[name].to_pylist() for name in PLACE), strict=True)
            files = [shelf.read_part(f"{root}/{shard}", *at) for shard, *at in places]
            yield rows.append_column(field, pa.array(files, pa.large_binary()))


def _in_parts(group: pa.Table) -> Iterator[pa.Table]:
    """Rows whose clips have so many bytes together, or a single one."""
    ends = np.cumsum(group["num_bytes"].to_numpy())
    first = 0
    while first < len(group):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + BYTES, side="right")))
        yield group.slice(first, last - first)
        first = last
