"""Rows that wait for being compacted: files of chunks, read together."""

from collections.abc import Iterable, Sequence
from typing import Final

import pyarrow as pa

from finecut.io.process.threads import in_order
from finecut.io.storage import files as shelf
from finecut.transforms.catalogue.buckets import LINES, chunk_of
from finecut.transforms.catalogue.columns import EMPTY, from_bytes, from_lines, to_bytes
from finecut.transforms.catalogue.fields import lines_of

#: Files that are read at the same time.
READERS: Final = 8


def read_loose(paths: Iterable[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows in these files of chunks, with these columns or all; of two files of a chunk, those
    in the last one.
    """
    latest = {chunk_of(path): path for path in paths}
    lines, tables = [], [_only(EMPTY, columns)]
    for path, data in in_order(_read, latest.values(), READERS):
        if path.endswith(LINES):
            lines.append(data)
        elif data:
            tables.append(from_bytes(data, path, columns))
    return pa.concat_tables([_only(from_lines(b"".join(lines)), columns), *tables])


def read_rows(data: bytes, path: str) -> pa.Table:
    """The rows of any file of the catalogue."""
    return from_lines(data) if path.endswith(LINES) else from_bytes(data, path)


def written_as(table: pa.Table, path: str) -> bytes:
    """A file with these rows, of the kind that its path says."""
    return lines_of(table.to_pylist()) if path.endswith(LINES) else to_bytes(table)


def _read(path: str) -> tuple[str, bytes]:
    return path, shelf.read_if_there(path) or b""


def _only(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    return table if columns is None else table.select(list(columns))
