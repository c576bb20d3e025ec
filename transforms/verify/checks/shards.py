"""Folders of shards: every archive against the index, byte by byte.

Archives are read twice: by the rules of WebDataset's own reader, or by that reader itself where the
package is installed; and member by member, for places and digests.
"""

import hashlib
import importlib
import importlib.util
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finecut.io.storage import files as shelf
from finecut.io.storage.fence import is_plain_name
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.tables.shards import END, TAR, ShardFolder, padding
from finecut.transforms.forget.tombstones import NOTHING_FORGOTTEN, Forgotten
from finecut.transforms.verify.checks.findings import Checked, Finding, several
from finecut.transforms.verify.checks.forgotten import left_in_shard

COLUMNS: Final = ("id", "shard", "offset", "num_bytes", "sha256")
#: Whose samples they are; tables of other programs need not say it.
SOURCE: Final = "source_video"
#: What reading an archive or a table may break with.
DAMAGED: Final = (tarfile.TarError, OSError, EOFError, ValueError, KeyError, pa.ArrowException)

#: The index's rows of a shard, by the ids of clips.
Rows = Mapping[str, Mapping[str, Any]]


def reader() -> str:
    """What reads archives here."""
    return "webdataset" if importlib.util.find_spec("webdataset") else "its rules"


def _wrong_in_note(folder: ShardFolder) -> Iterator[Finding]:
    """Names in the note that lead elsewhere: nothing is removed by them."""
    try:
        said = folder.noted_by_anybody() or []
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        yield Finding(
            "note-broken",
            folder.note,
            f"cannot be read ({error})",
            "should list the shards that lie here",
        )
        return
    yield from (
        Finding(
            "note-broken",
            folder.note,
            f"names {str(name)[:80]!r}",
            "should name shards below it",
        )
        for name in said
        if not is_plain_name(name)
    )


def shards_in(root: str) -> tuple[list[str], list[Finding]]:
    """The names of all shards of a folder, there or only spoken of; and what is wrong so far."""
    folder = ShardFolder(root)
    found = list(_wrong_in_note(folder))
    try:
        index = _rows(folder, ["id", "shard"])
    except DAMAGED as error:
        pass_on_outlasted(error)
        missing = isinstance(error, FileNotFoundError)
        broken = Finding(
            "index-broken",
            folder.index,
            "is missing" if missing else f"cannot be read ({str(error)[:200]})",
            f"should be a table with the columns {', '.join(COLUMNS)}",
        )
        return folder.tars(), [*found, broken]
    said = {str(name).removesuffix(TAR) for name in index.column("shard").unique().to_pylist()}
    there = {*folder.tars()}
    found += [
        *(
            Finding("index-broken", folder.index, f"lists {id} twice", "should list it once")
            for id in several(map(str, index.column("id").to_pylist()))
        ),
        *(
            Finding("shard-missing", folder.shard(name), "is missing", "the index names it")
            for name in said - there
        ),
        *(
            Finding(
                "shard-differs",
                folder.shard(name),
                "is not in the index",
                "should have its clips in the index",
            )
            for name in there - said
        ),
    ]
    return sorted(said & there), found


def check_shard(
    root: str, name: str, forgotten: Forgotten = NOTHING_FORGOTTEN
) -> Iterator[Finding | Checked]:
    """An archive, and what the index says of it."""
    folder = ShardFolder(root)
    path = folder.shard(name)
    if forgotten.stones:
        yield from left_in_shard(path, _sources(folder, name), forgotten)
    try:
        # Groups of rows without any of this shard are not read.
        table = _rows(folder, COLUMNS, filters=[("shard", "==", f"{name}{TAR}")]).to_pylist()
        rows = {str(row["id"]): row for row in table}
    except DAMAGED as error:
        pass_on_outlasted(error)
        rows = None  # the index is named already
    try:
        with shelf.open_file(path) as source:
            yield from _check_archive(path, source, rows)
    except DAMAGED as error:
        pass_on_outlasted(error)
        yield Finding(
            "shard-broken",
            path,
            f"cannot be read ({str(error)[:200]})",
            "should be an archive that can be read to its end",
        )


def _rows(folder: ShardFolder, columns: Sequence[str], **settings: Any) -> pa.Table:
    with shelf.open_source(folder.index) as file:
        return pq.read_table(file, columns=list(columns), partitioning=None, **settings)


def _check_archive(path: str, source: BinaryIO, rows: Rows | None) -> Iterator[Finding | Checked]:
    keys: list[str] = []
    with tarfile.open(fileobj=source, mode="r:") as archive:
        end = 0
        for member in archive:
            end = member.offset_data + member.size + padding(member.size)
            key = _named(member)[0]
            if keys[-1:] != [key]:
                keys.append(key)
            yield from (
                Finding("shard-broken", path, f"{member.name} {wrong}", should)
                for wrong, should in _wrong_with_member(archive, member, rows or {})
            )
    source.seek(end)
    rest = source.read(len(END))
    # Readers stop at what they do not understand, and say nothing.
    if len(rest) < len(END) or any(rest):
        more = "something else" if any(rest) else f"{len(rest)} bytes"
        yield Finding(
            "shard-broken",
            path,
            f"has {more} after its last member, at {end}",
            f"should have {len(END)} zeros",
        )
    yield from _wrong_with_keys(path, keys, rows)
    source.seek(0)
    read = samples_of(source)
    if read != keys:
        yield Finding(
            "shard-broken",
            path,
            f"is read as {len(read)} samples by {reader()}",
            f"should be {len(keys)}",
        )
    yield Checked({"shards": 1, "clips in shards": len(keys)})


def _sources(folder: ShardFolder, name: str) -> list[Any]:
    """Of which sources the index says that a shard has samples."""
    try:
        rows = _rows(folder, [SOURCE], filters=[("shard", "==", f"{name}{TAR}")])
    except DAMAGED as error:
        pass_on_outlasted(error)
        return []
    sources: list[Any] = rows.column(SOURCE).unique().to_pylist()
    return sources


def _named(member: tarfile.TarInfo) -> tuple[str, str]:
    """The clip that a member is of, and which of its members it is: what follows the first dot."""
    key, _, kind = member.name.rpartition("/")[2].partition(".")
    return key, kind


def _wrong_with_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, rows: Rows
) -> Iterator[tuple[str, str]]:
    key, kind = _named(member)
    file = archive.fileobject(archive, member)
    match kind:
        case "mp4" if key in rows:
            found = {
                "offset": member.offset_data,
                "num_bytes": member.size,
                "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            }
            yield from (
                (f"has the {what} {value}", f"should be {rows[key][what]}, as the index says")
                for what, value in found.items()
                if rows[key][what] != value
            )
        case "json" if not _is_about(key, file.read()):
            yield "is not the document of this clip", f"should be about {key}"
        case "npy" if not _is_vector(file.read()):
            yield "is not a vector of finite numbers", "should be one"


def _is_about(key: str, data: bytes) -> bool:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("span_uuid") == key


def _is_vector(data: bytes) -> bool:
    try:
        vector = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError):
        return False
    return bool(np.issubdtype(vector.dtype, np.floating) and np.isfinite(vector).all())


def _wrong_with_keys(path: str, keys: Sequence[str], rows: Rows | None) -> Iterator[Finding]:
    for key in several(keys):
        yield Finding(
            "shard-broken",
            path,
            f"has members of {key} in {keys.count(key)} places",
            "members of a clip should be next to each other",
        )
    listed = {*(keys if rows is None else rows)}
    for key in sorted(listed - {*keys}):
        yield Finding("shard-broken", path, f"has no {key}", "the index says that it is there")
    for key in sorted({*keys} - listed):
        yield Finding("shard-differs", path, f"has {key}", "the index does not list it there")


def samples_of(source: BinaryIO) -> list[str]:
    """The keys of an archive's samples, in order, as training reads them."""
    if reader() == "webdataset":
        tars = importlib.import_module("webdataset.tariterators")
        members = ({**each, "__url__": ""} for each in tars.tar_file_iterator(source))
        return [str(one["__key__"]).rpartition("/")[2] for one in tars.group_by_keys(members)]
    # By its rules a sample ends where the next key begins.
    with tarfile.open(fileobj=source, mode="r|*") as archive:
        return [key for key, _ in groupby(_named(m)[0] for m in archive if m.isfile())]
