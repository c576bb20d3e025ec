"""Tables of any length: a file or, where there are too many rows for one, a folder of such files.

groups.parquet              up to a million rows
groups.parquet/0007.parquet each a part of them; readers of Parquet take the folder for one
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.parquet import PARQUET, from_parquet, tables_in

#: More rows than this do not go into one file.
MOST_ROWS = 1_000_000


def files_of(path: str) -> list[str]:
    """The files that a table of this name consists of; none where there is no such table."""
    return tables_in(path) or ([path] if shelf.exists(path) and not shelf.is_folder(path) else [])


def tables_of(path: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of each of these files; what is damaged is an error of Arrow, or an ``OSError``."""
    wanted = None if columns is None else list(columns)
    # Where it lies says nothing of its rows, so no column is made of folders' names.
    return (
        from_parquet(shelf.read(file), columns=wanted, partitioning=None) for file in files_of(path)
    )


def part_of(path: str, number: int) -> str:
    """Where a part of a large table lies.

    >>> part_of("dedup/groups.parquet", 7)
    'dedup/groups.parquet/0007.parquet'
    """
    return f"{path}/{number:04}{PARQUET}"


def remove(path: str, own: Shelf, but: Sequence[str] = ()) -> None:
    """Remove a table, whatever it consists of, except for these files."""
    own.remove(*sorted({*files_of(path)} - {*but}))
    if not shelf.is_remote(path) and shelf.is_folder(path):
        own.check(path)
        # It goes if nobody else has put anything there.
        with suppress(OSError):
            Path(path).rmdir()
