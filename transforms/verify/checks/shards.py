"""Folders of shards: every archive against the index, byte by byte.

Archives are read twice: by the rules of WebDataset's own reader, or by that reader itself where the
package is installed; and member by member, for places and digests.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finecut.io.storage import files as shelf
from finecut.io.storage.fence import is_plain_name
from finecut.io.tables.shards import TAR, ShardFolder
from finecut.io.tables.tar import END, padding
from finecut.transforms.verify.checks import findings as kinds
from finecut.transforms.verify.checks.findings import Checked, Finding

COLUMNS: Final = ("id", "shard", "offset", "num_bytes", "sha256")
FILM: Final = "mp4"
PIECE: Final = 1 << 20
#: What reading an archive or a table may break with.
DAMAGED: Final = (tarfile.TarError, OSError, EOFError, ValueError, KeyError, pa.ArrowException)

Row = Mapping[str, Any]


def reader() -> str:
    """Who reads archives here."""
    return "webdataset" if importlib.util.find_spec("webdataset") else "its rules"


def shards_in(root: str) -> tuple[list[str], list[Finding]]:
    """The names of all shards of a folder, there or only spoken of; and what is wrong so far."""
    folder = ShardFolder(root)
    names, found = _shards_in(folder)
    return names, [*_wrong_in_note(folder), *found]


def _wrong_in_note(folder: ShardFolder) -> Iterator[Finding]:
    """Names in the note that lead elsewhere: nothing is removed by them."""
    try:
        said = folder.noted_by_anybody() or []
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        should = "should list the shards that lie here"
        yield Finding(kinds.NOTE_BROKEN, folder.note, f"cannot be read ({error})", should)
        return
    for name in said:
        if not is_plain_name(name):
            wrong = f"names {str(name)[:80]!r}"
            yield Finding(kinds.NOTE_BROKEN, folder.note, wrong, "should name shards below it")


def _shards_in(folder: ShardFolder) -> tuple[list[str], list[Finding]]:
    try:
        index = _rows(folder, ["id", "shard"])
    except FileNotFoundError:
        wrong = Finding(kinds.INDEX_BROKEN, folder.index, "is missing", "should list all clips")
        return folder.tars(), [wrong]
    except DAMAGED as error:
        wrong = Finding(
            kinds.INDEX_BROKEN,
            folder.index,
            f"cannot be read ({str(error)[:200]})",
            f"should be a table with the columns {', '.join(COLUMNS)}",
        )
        return folder.tars(), [wrong]
    ids = index.column("id").value_counts()
    twice = [str(each["values"]) for each in ids.to_pylist() if each["counts"] > 1]
    found = [
        Finding(kinds.INDEX_BROKEN, folder.index, f"lists {id} twice", "should list it once")
        for id in sorted(twice)
    ]
    said = {str(name).removesuffix(TAR) for name in index.column("shard").unique().to_pylist()}
    there = {*folder.tars()}
    for name in sorted(said - there):
        should = "the index speaks of it"
        found.append(Finding(kinds.SHARD_MISSING, folder.shard(name), "is missing", should))
    for name in sorted(there - said):
        should = "should have its clips in the index"
        found.append(
            Finding(kinds.SHARD_DIFFERS, folder.shard(name), "is not in the index", should)
        )
    return sorted(said & there), found


def check_shard(root: str, name: str) -> Iterator[Finding | Checked]:
    """An archive, and what the index says of it."""
    folder = ShardFolder(root)
    path = folder.shard(name)
    try:
        rows = {str(row["id"]): row for row in _rows_of(folder, name)}
    except DAMAGED:
        rows = None  # the index is named already
    try:
        with shelf.open_source(path) as source:
            yield from _check_archive(path, source, rows)
    except DAMAGED as error:
        should = "should be an archive that can be read to its end"
        yield Finding(kinds.SHARD_BROKEN, path, f"cannot be read ({str(error)[:200]})", should)


def _rows(folder: ShardFolder, columns: Sequence[str], **settings: Any) -> pa.Table:
    with shelf.open_source(folder.index) as file:
        return pq.read_table(file, columns=list(columns), partitioning=None, **settings)


def _rows_of(folder: ShardFolder, name: str) -> list[Row]:
    """The index's rows of one shard; groups of rows without any of it are not read."""
    table = _rows(folder, COLUMNS, filters=[("shard", "==", f"{name}{TAR}")])
    rows: list[Row] = table.to_pylist()
    return rows


def _check_archive(
    path: str, source: str | BinaryIO, rows: Mapping[str, Row] | None
) -> Iterator[Finding | Checked]:
    if isinstance(source, str):
        with open(source, "rb") as file:  # noqa: PTH123
            yield from _check_archive(path, file, rows)
        return
    keys: list[str] = []
    with tarfile.open(fileobj=source, mode="r:") as archive:
        end = 0
        for member in archive:
            end = member.offset_data + member.size + padding(member.size)
            key, _, kind = member.name.rpartition("/")[2].partition(".")
            if not keys or keys[-1] != key:
                keys.append(key)
            for wrong, should in _wrong_with_member(source, member, key, kind, rows):
                yield Finding(kinds.SHARD_BROKEN, path, f"{member.name} {wrong}", should)
    yield from _wrong_at_the_end(path, source, end)
    yield from _wrong_with_keys(path, keys, rows)
    source.seek(0)
    read = samples_of(source)
    if read != keys:
        yield Finding(
            kinds.SHARD_BROKEN,
            path,
            f"is read as {len(read)} samples by {reader()}",
            f"should be {len(keys)}",
        )
    yield Checked({"shards": 1, "clips in shards": len(keys)})


def _wrong_with_member(
    source: BinaryIO, member: tarfile.TarInfo, key: str, kind: str, rows: Mapping[str, Row] | None
) -> Iterator[tuple[str, str]]:
    if kind == FILM:
        row = (rows or {}).get(key)
        digest = _digest(source, member)
        if row is None:
            return
        for what, found in (
            ("offset", member.offset_data),
            ("num_bytes", member.size),
            ("sha256", digest),
        ):
            if row[what] != found:
                yield f"has the {what} {found}", f"should be {row[what]}, as the index says"
        return
    source.seek(member.offset_data)
    data = source.read(member.size)
    if kind == "json":
        said = _document(data)
        if said is None or said.get("span_uuid") != key:
            yield "is no document of this clip", f"should be about {key}"
    elif kind == "npy" and not _is_vector(data):
        yield "is no vector of finite numbers", "should be one"


def _digest(source: BinaryIO, member: tarfile.TarInfo) -> str:
    source.seek(member.offset_data)
    digest, left = hashlib.sha256(), member.size
    while left and (piece := source.read(min(PIECE, left))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _document(data: bytes) -> Mapping[str, Any] | None:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _is_vector(data: bytes) -> bool:
    try:
        vector = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError):
        return False
    return bool(np.issubdtype(vector.dtype, np.floating) and np.isfinite(vector).all())


def _wrong_at_the_end(path: str, source: BinaryIO, end: int) -> Iterator[Finding]:
    """Readers stop at what they do not understand, and say nothing."""
    source.seek(end)
    rest = source.read(len(END))
    if len(rest) < len(END) or any(rest):
        more = "something else" if any(rest) else f"{len(rest)} bytes"
        should = f"should have {len(END)} zeros"
        wrong = f"has {more} behind its last member, at {end}"
        yield Finding(kinds.SHARD_BROKEN, path, wrong, should)


def _wrong_with_keys(
    path: str, keys: Sequence[str], rows: Mapping[str, Row] | None
) -> Iterator[Finding]:
    for key, number in sorted(Counter(keys).items()):
        if number > 1:
            wrong = f"has members of {key} in {number} places"
            yield Finding(kinds.SHARD_BROKEN, path, wrong, "members of a clip lie side by side")
    if rows is None:
        return
    for key in sorted({*rows} - {*keys}):
        should = "the index says that it lies there"
        yield Finding(kinds.SHARD_BROKEN, path, f"has no {key}", should)
    for key in sorted({*keys} - {*rows}):
        yield Finding(kinds.SHARD_DIFFERS, path, f"has {key}", "the index does not know it there")


def samples_of(source: BinaryIO) -> list[str]:
    """The keys of an archive's samples, in order, as training reads them."""
    if reader() == "webdataset":
        tars = importlib.import_module("webdataset.tariterators")
        members = tars.tar_file_iterator(source)
        samples = tars.group_by_keys({**each, "__url__": ""} for each in members)
        return [str(sample["__key__"]).rpartition("/")[2] for sample in samples]
    return list(_by_rules(source))


def _by_rules(source: BinaryIO) -> Iterator[str]:
    """A sample ends where the next key begins; what follows the first dot is the kind."""
    last = None
    with tarfile.open(fileobj=source, mode="r|*") as archive:
        for member in archive:
            key = member.name.rpartition("/")[2].partition(".")[0]
            if member.isfile() and key != last:
                yield key
                last = key
