"""What ``finecut dedup`` found, without the clips of a source.

Who goes for a clip that is forgotten stays from now on: nothing would be left of them otherwise.
Groups of which only one clip is left are none. Clusters and pairs were made of vectors that are not
there any more, so the next search makes them anew, and they go. Of what remains, the list is
written before the groups that say why: whoever was killed in between finds out again.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from finecut.io.layout import GROUPS
from finecut.io.records import to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.tables.drops import DUPLICATES
from finecut.io.tables.parquet import PARQUET, from_parquet, to_parquet
from finecut.io.tables.parted import files_of
from finecut.transforms.dedup.clusters import CENTROIDS, CLUSTERS, PAIRS, PAIRWISE
from finecut.transforms.dedup.folder import (
    KEEPER_SCHEMA,
    KEEPERS,
    LIKENESS,
    OURS,
    STATE,
    SUMMARY,
    State,
    read_state,
)
from finecut.transforms.dedup.near import GROUP_SCHEMA
from finecut.transforms.forget.removing import Taking, speaks_of
from finecut.transforms.forget.tables import texts_of, without_rows
from finecut.transforms.write.documents import serialise

#: What the next search makes anew.
ANEW: Final = (CLUSTERS, PAIRS, PAIRWISE)

Row = dict[str, Any]


@dataclass(frozen=True)
class Released:
    """Clips that are no duplicates any more, since what they went for is gone."""

    #: They are kept, and no list names them now.
    kept: tuple[str, ...] = ()
    #: The dataset had rejected them.
    rejected: tuple[str, ...] = ()


def forget_in_dedup(root: str, taking: Taking) -> Released | None:
    """Take the clips out of all tables; ``None`` where none speaks of them."""
    paths = list(shelf.files_below(root)) if shelf.exists(root) else []
    if not any(speaks_of(path, taking.mentions) for path in paths):
        state = read_state(root)
        if state is not None and not state.digest:
            # Withdrawn by a run that was killed before it had removed what was made of it.
            _remove_made(root, paths, taking)
        return None
    # In a file of many there are whole groups.
    groups = {path: _rows(path) for path in files_of(f"{root}/{GROUPS}")}
    keepers = {path: _rows(path) for path in files_of(f"{root}/{KEEPERS}")}
    again = {path: regrouped(rows, taking.mentions.ids) for path, rows in groups.items()}
    kept = {id for _, ids in again.values() for id in ids}
    rejected = {
        row["id"]
        for rows in keepers.values()
        for row in rows
        if row["kept_id"] in taking.mentions.ids
    }
    rejected -= taking.mentions.ids
    gone = {*kept, *rejected, *taking.mentions.ids}
    lists = [path for path in paths if path.startswith(f"{root}/{DUPLICATES}/")]
    listed = sum(_relist(path, gone, taking) for path in lists if path.endswith(PARQUET))
    for path, rows in keepers.items():
        carried = [row for row in rows if not {row["id"], row["kept_id"]} & taking.mentions.ids]
        _put(path, carried, KEEPER_SCHEMA, taking)
    for path, (rows, _) in again.items():
        _put(path, rows, GROUP_SCHEMA, taking)
    left = [row for rows, _ in again.values() for row in rows]
    _count_again(root, left, listed, taking)
    _withdraw(root, paths, taking)
    return Released(tuple(sorted(kept)), tuple(sorted(rejected)))


def regrouped(rows: Sequence[Row], gone: frozenset[str]) -> tuple[list[Row], set[str]]:
    """The groups without these clips; and those that stay now, since they went for one of these.

    >>> a = {"group": "a", "id": "a", "kept": True, "kept_id": "a"}
    >>> b = {"group": "a", "id": "b", "kept": False, "kept_id": "a"}
    >>> c = {"group": "a", "id": "c", "kept": False, "kept_id": "a"}
    >>> regrouped([a, b, c], frozenset("b"))[0] == [a, c]
    True
    >>> regrouped([a, b, c], frozenset("a")) == ([], {"b", "c"})
    True
    """
    stay: dict[str, list[Row]] = defaultdict(list)
    bereft: set[str] = set()
    for row in rows:
        if row["id"] in gone:
            continue
        stays = row
        if not row["kept"] and row["kept_id"] in gone:
            bereft.add(row["id"])
            stays = {**row, "kept": True, "kept_id": row["id"], "cosine": 1.0}
        stay[row["group"]].append(stays)
    left: list[Row] = []
    for group in stay.values():
        # Of those that only have been alike with one that is gone, nobody knows whether they are.
        if any(not row["kept"] for row in group):
            kept = {row["kept_id"] for row in group if not row["kept"]}
            members = [row for row in group if not row["kept"] or row["id"] in kept]
            named = next(row["id"] for row in members if row["kept"])
            left += [{**row, "group": named} for row in members]
    return left, bereft


def _rows(path: str) -> list[Row]:
    data = shelf.read_if_there(path)
    return [] if data is None else from_parquet(data, partitioning=None).to_pylist()


def _relist(path: str, gone: set[str], taking: Taking) -> int:
    """Write a list without these; how many are left."""
    data = shelf.read(path)
    table = from_parquet(data, partitioning=None)
    ids = table.column("id").to_pylist()
    stay = [id for id in ids if id not in gone]
    if len(stay) < len(ids):
        made = pa.table({"id": pa.array(stay, pa.string())})
        taking.rewrite(path, to_parquet(made, max(1, len(stay) // 10)), data)
    return len(stay)


def _put(path: str, rows: Sequence[Row], schema: pa.Schema, taking: Taking) -> None:
    before = shelf.read_if_there(path)
    if before is not None:
        table = pa.Table.from_pylist(list(rows), schema)
        same = table.equals(from_parquet(before, partitioning=None))
        taking.rewrite(path, before if same else to_parquet(table), before)


def _count_again(root: str, left: Sequence[Row], listed: int, taking: Taking) -> None:
    """The figures that can be known without a search."""
    path = f"{root}/{SUMMARY}"
    said = usable_json(path)
    if said is None:
        return
    removed = sum(not row["kept"] for row in left)
    figures = {
        "groups": len({row["group"] for row in left}),
        "removed": removed,
        "carried": max(0, listed - removed),
        "seconds": None,
    }
    if items := _items(root, taking):
        figures["items"] = items
    said = taking.mentions.cleaned({**said, **figures})
    taking.rewrite(path, serialise(said), shelf.read(path))


def _items(root: str, taking: Taking) -> int:
    """How many vectors of others there were."""
    return sum(
        len(without_rows(texts_of(shelf.read(path)), taking.mentions))
        for path in _ours(CLUSTERS, root, shelf.files_below(root))
    )


def _withdraw(root: str, paths: Sequence[str], taking: Taking) -> None:
    """What was made of vectors that are gone: nobody uses it again."""
    state = f"{root}/{STATE}"
    if (before := shelf.read_if_there(state)) is not None:
        taking.rewrite(state, to_json(State("", 1.0)).encode(), before)
    _remove_made(root, paths, taking)


def _remove_made(root: str, paths: Sequence[str], taking: Taking) -> None:
    single = {f"{root}/{CENTROIDS}", *files_of(f"{root}/{LIKENESS}")} & {*paths}
    taking.remove([*sorted(single), *(p for name in ANEW for p in _ours(name, root, paths))])
    for folder in (f"{root}/{name}" for name in ANEW):
        inside = [*shelf.folders_in(folder), folder]
        taking.tidy(map(taking.layout.inside, inside))


def _ours(name: str, root: str, paths: Iterable[str]) -> Iterator[str]:
    """What dedup wrote in one of its folders."""
    folder = f"{root}/{name}/"
    return (
        path
        for path in paths
        if path.startswith(folder) and OURS[name].fullmatch(path[len(folder) :])
    )
