"""What ``finecut dedup`` wrote: whether its tables are whole, agree, and name clips that exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from finecut.io.layout import DEDUP, GROUPS
from finecut.io.storage import files as shelf
from finecut.io.tables.drops import DUPLICATES
from finecut.io.tables.parquet import PARQUET, from_parquet, tables_in
from finecut.transforms.verify.checks.documents import Wanted, document_in
from finecut.transforms.verify.checks.findings import Checked, Finding
from finecut.transforms.verify.checks.orphans import Mention, mentioned
from finecut.transforms.verify.checks.verifying import Verifying

#: Columns of ids, of any of its tables.
IDS: Final = ("id", "max_id", "kept_id", "first", "second")
#: What the table of groups has to have.
NEEDED: Final = ("group", "id", "kept")
SAID: Final = Wanted("should be the summary that finecut dedup wrote", kind="duplicates-broken")

Columns = Mapping[str, Sequence[Any]]


def check_duplicates(
    path: str, verifying: Verifying
) -> Iterator[Finding | Checked | tuple[str, Mention]]:
    """One file of the folder; of the groups, also against the list of those that are to go."""
    name = verifying.below(path)
    if path.endswith(".json"):
        yield from document_in(shelf.read(path), name, SAID)[1]
    if not path.endswith(PARQUET):
        return
    try:
        columns = _columns(path)
    except Unreadable as error:
        yield Finding("duplicates-broken", name, str(error), "should be a table that names clips")
        return
    yield Checked({"tables in dedup": 1})
    yield from mentioned({str(id) for key in IDS for id in columns.get(key, ())}, name)
    if name != f"{DEDUP}/{GROUPS}":
        return
    if missing := [key for key in NEEDED if key not in columns]:
        yield Finding(
            "duplicates-broken",
            name,
            f"has no column {', '.join(missing)}",
            "should have group, id, kept",
        )
    else:
        yield from _wrong_in_groups(name, columns)
    if not {"id", "kept"} & {*missing}:
        yield from _wrong_in_list(path, columns, verifying)


class Unreadable(ValueError):
    """A table that cannot be read; the message says why."""


def _columns(path: str) -> Columns:
    """The columns that are checked, as far as the table has them."""
    try:
        table = from_parquet(shelf.read(path), partitioning=None)
        names = {*IDS, *NEEDED} & {*table.column_names}
        return {key: table.column(key).to_pylist() for key in names}
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise Unreadable(f"cannot be read ({str(error)[:200]})") from error


def _wrong_in_groups(name: str, columns: Columns) -> Iterator[Finding]:
    """A clip is in one group, and goes for one that stays."""
    for id, number in sorted(Counter(columns["id"]).items()):
        if number > 1:
            yield Finding(
                "duplicates-differ",
                name,
                f"lists {id} {number} times",
                "should be in one group, once",
            )
    kept_groups = {g for g, stay in zip(columns["group"], columns["kept"], strict=True) if stay}
    for group in sorted({*columns["group"]} - kept_groups):
        yield Finding(
            "duplicates-differ",
            name,
            f"group {group} keeps none",
            "should keep at least one of its clips",
        )
    for id in sorted({*columns.get("kept_id", ())} - _those(columns, stay=True)):
        yield Finding("duplicates-differ", name, f"{id} does not stay", "others are removed for it")


def _those(columns: Columns, stay: bool) -> set[str]:
    pairs = zip(columns["id"], columns["kept"], strict=True)
    return {str(id) for id, kept in pairs if bool(kept) == stay}


def _wrong_in_list(path: str, columns: Columns, verifying: Verifying) -> Iterator[Finding]:
    """The list has all that do not stay; it may have others, of an earlier run."""
    folder = f"{path.rpartition('/')[0]}/{DUPLICATES}"
    try:
        listed = {str(id) for table in tables_in(folder) for id in _columns(table).get("id", ())}
    except Unreadable:
        return  # it is named when it is its turn
    for id in sorted(_those(columns, stay=False) - listed):
        should = f"{verifying.below(path)} says that it is removed"
        where = verifying.below(folder)
        yield Finding("duplicates-differ", where, f"does not list {id}", should)
