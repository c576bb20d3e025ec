"""What ``finecut dedup`` wrote: whether its tables are whole, agree, and name clips that exist."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from finecut.io.storage import files as shelf
from finecut.io.tables.drops import DUPLICATES, PARQUET
from finecut.transforms.verify.checks import findings as kinds
from finecut.transforms.verify.checks.findings import Checked, Finding
from finecut.transforms.verify.checks.orphans import Mention, mentioned
from finecut.transforms.verify.checks.shapes import Broken, parsed
from finecut.transforms.verify.checks.verifying import Verifying

FOLDER: Final = "dedup"
GROUPS: Final = "groups.parquet"
#: Written last: who finds none has found what a run left that was killed, or is at work.
SUMMARY: Final = "summary.json"
#: Columns of ids, of any of its tables.
IDS: Final = ("id", "max_id", "kept_id", "first", "second")

Columns = Mapping[str, Sequence[Any]]


def check_duplicates(
    path: str, verifying: Verifying
) -> Iterator[Finding | Checked | tuple[str, Mention]]:
    """One file of the folder; of the groups, also against the list of those that are to go."""
    name = verifying.below(path)
    if path.endswith(".json"):
        try:
            parsed(shelf.read(path))
        except Broken as broken:
            should = "should be what finecut dedup says of its run"
            yield Finding(kinds.DUPLICATES_BROKEN, name, str(broken), should)
        return
    if not path.endswith(PARQUET):
        return
    groups = name == f"{FOLDER}/{GROUPS}"
    try:
        columns = _columns(path, (*IDS, "group", "kept") if groups else IDS)
    except Unreadable as error:
        should = "should be a table that names clips"
        yield Finding(kinds.DUPLICATES_BROKEN, name, str(error), should)
        return
    yield Checked({"tables in dedup": 1})
    yield from mentioned({str(id) for key in IDS for id in columns.get(key, ())}, name)
    if groups:
        yield from _wrong_in_groups(name, columns)
        yield from _wrong_in_list(path, name, columns, verifying)


class Unreadable(ValueError):
    """A table that cannot be read; the message says why."""


def _columns(path: str, names: Sequence[str]) -> Columns:
    """Those of these columns that the table has."""
    try:
        table = pq.read_table(io.BytesIO(shelf.read(path)), partitioning=None)
        return {key: table.column(key).to_pylist() for key in names if key in table.column_names}
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise Unreadable(f"cannot be read ({str(error)[:200]})") from error


def _wrong_in_groups(name: str, columns: Columns) -> Iterator[Finding]:
    """A clip is in one group, and goes for one that stays."""
    missing = [key for key in ("group", "id", "kept") if key not in columns]
    if missing:
        wrong = f"has no column {', '.join(missing)}"
        yield Finding(kinds.DUPLICATES_BROKEN, name, wrong, "should have group, id, kept")
        return
    for id, number in sorted(Counter(columns["id"]).items()):
        if number > 1:
            wrong = f"has {id} {number} times"
            yield Finding(kinds.DUPLICATES_DIFFER, name, wrong, "should be in one group, once")
    stays = _those(columns, stay=True)
    kept_groups = {g for g, stay in zip(columns["group"], columns["kept"], strict=True) if stay}
    for group in sorted({*columns["group"]} - kept_groups):
        should = "should keep one of its clips at the least"
        yield Finding(kinds.DUPLICATES_DIFFER, name, f"group {group} keeps none", should)
    for id in sorted({*columns.get("kept_id", ())} - stays):
        should = "others go for it"
        yield Finding(kinds.DUPLICATES_DIFFER, name, f"{id} does not stay", should)


def _those(columns: Columns, stay: bool) -> set[str]:
    pairs = zip(columns["id"], columns["kept"], strict=True)
    return {str(id) for id, kept in pairs if bool(kept) == stay}


def _wrong_in_list(
    path: str, name: str, columns: Columns, verifying: Verifying
) -> Iterator[Finding]:
    """The list has all that do not stay; it may have others, of an earlier run."""
    if "id" not in columns or "kept" not in columns:
        return
    folder = f"{path.rpartition('/')[0]}/{DUPLICATES}"
    listed: set[str] = set()
    for table in shelf.files_in(folder):
        if not table.endswith(PARQUET):
            continue
        try:
            listed.update(map(str, _columns(table, ["id"]).get("id", ())))
        except Unreadable:
            return  # it is named when it is its turn
    where = verifying.below(folder)
    for id in sorted(_those(columns, stay=False) - listed):
        should = f"{name} says that it goes"
        yield Finding(kinds.DUPLICATES_DIFFER, where, f"does not list {id}", should)
