"""What is promised of shards: all that says that they are there is withdrawn before one is written,
and written again when all of them are, the index last.

Tables are written by workers, shard by shard, in memory that does not grow with them.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pyarrow as pa

from finecut.io.held import SOURCE
from finecut.io.process.threads import in_order
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.lance_tables import with_clips
from finecut.io.tables.shards import (
    DIGEST,
    VECTOR,
    ShardFolder,
    digest_of_index,
    for_unpacked,
    grouped,
    named_files,
    remove_folder,
    rows_of,
    schema_of,
    write_lance,
    write_table,
)
from finecut.transforms.shard.books import READERS, Books, Receipt
from finecut.transforms.shard.card import MARK, card
from finecut.transforms.shard.material import Sharding
from finecut.transforms.shard.plan import FORMAT
from finecut.transforms.write.documents import serialise

LANCE, METADATA, INDEX = "lance", "metadata", "index"
#: Receipts with vectors that are read at the same time.
VECTOR_READERS: Final = 4


@dataclass(frozen=True)
class Table:
    """A table that is to be written: one of those above."""

    kind: str
    schema: pa.Schema
    #: Of a Lance table: whether it has the files of clips.
    clips: bool = False

    @property
    def note(self) -> dict[str, Any]:
        """What is said of a Lance table when it is whole."""
        said = {"digest": (self.schema.metadata or {})[DIGEST.encode()].decode()}
        return said | ({"clips": True} if self.clips else {})


def withdraw(sharding: Sharding) -> None:
    folder, own = sharding.folder, sharding.shelf
    own.remove(folder.index)  # what promises the others goes first
    own.remove(folder.metadata, folder.summary, folder.failures)
    _remove_lance(folder, own)


def _remove_lance(folder: ShardFolder, own: Shelf) -> None:
    own.remove(folder.lance_note)
    remove_folder(own, folder.lance, first="_versions")


def promise(
    sharding: Sharding,
    books: Books,
    receipts: Sequence[Receipt],
    *,
    summary: dict[str, Any],
    write: Callable[[Sequence[Table]], object],
    lance: bool,
    lance_clips: bool = False,
) -> None:
    """Write what says that the shards are there; tables, of which the index is the last, are handed
    to ``write``.
    """
    folder, own = sharding.folder, sharding.shelf
    schema = schema_of(books.scores, books.captions, books.labels)
    for column in books.sources.columns():
        schema = schema.append(column)
    digest = _digest_of_all(receipts, schema)
    schema = schema.with_metadata({DIGEST: digest})
    names = sorted(receipt.name for receipt in receipts)
    if (folder.noted() or []) != names:
        folder.write_note(own, names)
    there = shelf.read_if_there(folder.card)
    if there is None or MARK.encode() in there:
        _put(own, folder.card, card(books).encode())
    _put(own, folder.summary, serialise(summary))
    wanted = []
    # The table has vectors that the index has not: it is written on its own account.
    table = Table(LANCE, _with_vectors(schema, books), lance_clips)
    if lance and usable_json(folder.lance_note) != table.note:
        _remove_lance(folder, own)
        wanted.append(table)
    if digest_of_index(folder.index) != digest or not shelf.exists(folder.metadata):
        own.remove(folder.index)
        wanted += [Table(METADATA, for_unpacked(schema)), Table(INDEX, schema)]
    if wanted:
        write(wanted)


def _with_vectors(schema: pa.Schema, books: Books) -> pa.Schema:
    dimensions = books.sums.dimensions
    if not dimensions:
        return schema
    # Lance searches among vectors of one size.
    kind = pa.list_(pa.float32(), *(dimensions if len(dimensions) == 1 else ()))
    return schema.append(pa.field(VECTOR, kind))


def write_one(table: Table, names: Sequence[str], folder: ShardFolder, own: Shelf) -> None:
    """Write a table of what receipts of these shards say, in their order."""
    if table.kind == METADATA:
        tables = map(named_files, _tables(folder, names, table.schema))
        write_table(own, folder.metadata, grouped(tables, table.schema), table.schema)
    elif table.kind == INDEX:
        rows = _tables(folder, names, table.schema)
        write_table(own, folder.index, grouped(rows, table.schema), table.schema)
    else:
        plain = table.schema.remove_metadata()
        rows = _tables(folder, names, table.schema, VECTOR_READERS)
        groups = grouped(rows, plain)
        write_lance(own, folder.lance, with_clips(groups, folder.root) if table.clips else groups)
        own.write(folder.lance_note, json.dumps(table.note).encode())


def _tables(
    folder: ShardFolder, names: Sequence[str], schema: pa.Schema, readers: int = READERS
) -> Iterator[pa.Table]:
    """The rows of all shards, in order, with what these columns are made of."""
    columns = frozenset([*schema.names, SOURCE])
    return in_order(partial(rows_of, folder, columns=columns), names, readers)


def _digest_of_all(receipts: Sequence[Receipt], schema: pa.Schema) -> str:
    """Stands for an index: what shards it speaks of, and in which columns."""
    digest = hashlib.sha256(FORMAT + str(schema).encode())
    for one in receipts:
        digest.update(f" {one.name} {(one.digest, one.num_bytes)}".encode())
    return digest.hexdigest()


def _put(own: Shelf, path: str, data: bytes) -> None:
    """Write a file that is not there yet like this."""
    if shelf.read_if_there(path) != data:
        own.write(path, data)
