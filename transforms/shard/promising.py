"""What says that shards are there: card, tables, summary, and the index last.

It is withdrawn before a shard is written, and promised again when all of them are there.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.process.threads import in_order
from finecut.io.records import to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.shards import (
    DIGEST,
    VECTOR,
    ShardFolder,
    digest_of_index,
    for_unpacked,
    grouped,
    named_files,
    read_receipt,
    remove_folder,
    rows_of,
    schema_of,
    write_lance,
    write_table,
)
from finecut.transforms.shard.books import MARK, Books, card
from finecut.transforms.shard.material import Sharding
from finecut.transforms.shard.plan import FORMAT, Shards
from finecut.transforms.write.documents import serialise

#: Receipts that are read at the same time.
READERS: Final = 16


def withdraw(sharding: Sharding) -> None:
    folder, own = sharding.folder, sharding.shelf
    for path in (folder.index, folder.metadata, folder.summary, folder.failures):
        own.remove(path)
    _remove_lance(sharding)


def _remove_lance(sharding: Sharding) -> None:
    sharding.shelf.remove(sharding.folder.lance_note)
    remove_folder(sharding.shelf, sharding.folder.lance, first="_versions")


def promise(
    sharding: Sharding, books: Books, shards: Shards, *, summary: dict[str, Any], lance: bool
) -> None:
    """Write what says that the shards are there; the index goes last."""
    folder, own = sharding.folder, sharding.shelf
    schema = schema_of(books.scores, books.captions, books.labels)
    digest = _digest_of_all(folder, shards, schema)
    schema = schema.with_metadata({DIGEST: digest})
    if (folder.noted() or []) != sorted(shards.names):
        folder.write_note(own, shards.names)
    there = shelf.read_if_there(folder.card)
    if there is None or MARK.encode() in there:
        _put(own, folder.card, card(books).encode())
    failures = "".join(sorted(f"{to_json(one)}\n" for one in books.failures.values()))
    _put(own, folder.failures, failures.encode(errors="surrogateescape"))
    _put(own, folder.summary, serialise(summary))
    # The table has vectors that the index has not: it is written on its own account.
    if lance and (usable_json(folder.lance_note) or {}).get("digest") != digest:
        _write_lance(sharding, books.dimensions - {None}, shards, schema)
    if digest_of_index(folder.index) == digest and shelf.exists(folder.metadata):
        return
    own.remove(folder.index)
    unpacked, names = for_unpacked(schema), map(named_files, _tables(folder, shards))
    write_table(own, folder.metadata, grouped(names, unpacked), unpacked)
    write_table(own, folder.index, grouped(_tables(folder, shards), schema), schema)


def _tables(folder: ShardFolder, shards: Shards) -> Iterator[pa.Table]:
    """The rows of all shards, in order."""
    return in_order(partial(rows_of, folder), shards.names, READERS)


def add_up(folder: ShardFolder, shards: Shards, books: Books) -> None:
    """Enter what was written into the books."""
    receipts = in_order(partial(read_receipt, folder), shards.names, READERS)
    for name, receipt, rows in zip(shards.names, receipts, _tables(folder, shards), strict=True):
        size = receipt[1] if receipt else 0
        books.written += len(rows)
        books.shards += 1
        books.num_bytes += size
        books.seconds += pc.sum(pc.subtract(rows["end"], rows["start"])).as_py() or 0.0
        books.texts += len(rows) - rows["caption"].null_count
        books.vectors += len(rows) - rows[VECTOR].null_count
        books.dimensions.update(pc.unique(pc.list_value_length(rows[VECTOR])).to_pylist())
        bin = books.bins.setdefault(name.rpartition("/")[0], Counter())
        bin.update({"clips": len(rows), "shards": 1, "bytes": size})


def _digest_of_all(folder: ShardFolder, shards: Shards, schema: pa.Schema) -> str:
    """Stands for an index: what shards it speaks of, and in which columns."""
    digest = hashlib.sha256(FORMAT + str(schema).encode())
    receipts = in_order(partial(read_receipt, folder), shards.names, READERS)
    for name, receipt in zip(shards.names, receipts, strict=True):
        digest.update(f" {name} {receipt}".encode())
    return digest.hexdigest()


def _write_lance(
    sharding: Sharding, dimensions: set[int], shards: Shards, schema: pa.Schema
) -> None:
    folder, own = sharding.folder, sharding.shelf
    _remove_lance(sharding)
    wide = schema.remove_metadata()
    if dimensions:
        # Lance searches among vectors of one size.
        kind = pa.list_(pa.float32(), *(dimensions if len(dimensions) == 1 else ()))
        wide = wide.append(pa.field(VECTOR, kind))
    write_lance(own, folder.lance, grouped(_tables(folder, shards), wide))
    digest = schema.metadata[DIGEST.encode()].decode()
    own.write(folder.lance_note, json.dumps({"digest": digest}).encode())


def _put(own: Shelf, path: str, data: bytes) -> None:
    """Write a file that is not there yet like this; none at all for nothing."""
    there = shelf.read_if_there(path)
    if not data:
        if there is not None:
            own.remove(path)
    elif there != data:
        own.write(path, data)
