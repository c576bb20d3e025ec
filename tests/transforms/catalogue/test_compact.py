"""Compaction on plain rows: what comes of it follows from what was written, and not from when."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finecut.io.layout import Layout
from finecut.io.storage.publishing import Shelf
from finecut.transforms.catalogue import reading
from finecut.transforms.catalogue.buckets import Files, buckets_of, children_of, path_of
from finecut.transforms.catalogue.chunks import drop_rows, enter, enter_table
from finecut.transforms.catalogue.columns import (
    SCHEMA,
    SCHEMA_VERSION,
    VERSION_KEY,
    CatalogueTooNew,
    from_bytes,
    table_of,
    to_bytes,
)
from finecut.transforms.catalogue.compact import compact, compact_bucket
from finecut.transforms.catalogue.fields import Row
from finecut.transforms.catalogue.reading import Slice

#: Chunks of a file in these tests.
MOST = 4


def chunk_named(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"chunk {number}"))


def rows_in(number: int, version: int = 0) -> list[Row]:
    """The rows of a chunk of one to three clips."""
    return [
        dict.fromkeys(SCHEMA.names)
        | {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"clip {number} {place}")),
            "chunk": chunk_named(number),
            "start": float(place),
            "end": float(place + 1),
            "verdict": "kept",
            "num_frames": version,
            "windows": [],
        }
        for place in range(1 + number % 3)
    ]


class Place:
    """A catalogue to write to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(str(root))
        self.own = Shelf(str(root), f"{root}/.staging/run")

    def enter(self, number: int, version: int = 0) -> None:
        enter(chunk_named(number), rows_in(number, version), self.layout, self.own)

    def stream(self, number: int, version: int = 0) -> None:
        enter_table(chunk_named(number), rows_in(number, version), self.layout, self.own)

    def drop(self, number: int) -> None:
        drop_rows([chunk_named(number)], self.layout, self.own)

    def compact(self, most: int = MOST) -> None:
        compact(self.layout, self.own, most)

    def files(self) -> dict[str, bytes]:
        folder = self.root / "catalogue"
        found = folder.rglob("*.parquet") if folder.exists() else ()
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    def rows(self) -> dict[str, int]:
        """Each clip with its version, from all files as any reader would read them."""
        found: dict[str, int] = {}
        for name, data in self.files().items():
            for row in from_bytes(data, name).to_pylist():
                assert row["id"] not in found, "a clip has two rows"
                found[row["id"]] = row["num_frames"]
        return found

    def seen(self) -> dict[str, int]:
        """The same as readers of slices see it."""
        found: dict[str, int] = {}
        for bucket in buckets_of(Files.of(self.layout), MOST):
            table = reading.rows_in(Slice(bucket), self.layout, ("num_frames", "id"))
            assert table.column_names == ["num_frames", "id"]
            for row in table.to_pylist():
                assert row["id"] not in found, "a clip is in two slices"
                found[row["id"]] = row["num_frames"]
        return found


def expected(versions: dict[int, int]) -> dict[str, int]:
    return {row["id"]: v for number, v in versions.items() for row in rows_in(number, v)}


Actions = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, 30)),
        st.tuples(st.just("stream"), st.integers(0, 30)),
        st.tuples(st.just("drop"), st.integers(0, 30)),
        st.tuples(st.just("compact"), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=12, deadline=None)
@given(actions=Actions)
def test_rows_are_those_that_were_written_last(
    actions: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = Place(tmp_path_factory.mktemp("catalogue"))
    versions: dict[int, int] = {}
    for version, (action, number) in enumerate(actions):
        if action == "enter":
            place.enter(number, version)
            versions[number] = version
        elif action == "stream":
            place.stream(number, version)
            versions[number] = version
        elif action == "drop":
            place.drop(number)
            versions.pop(number, None)
        else:
            place.compact()
        # Also of what a compaction has not merged yet, a reader sees each clip once.
        assert place.seen() == expected(versions)
    place.compact()
    assert place.rows() == expected(versions)
    assert not Files.of(place.layout).loose


def test_order_and_number_of_compactions_change_no_byte(tmp_path: Path) -> None:
    once, often = Place(tmp_path / "once"), Place(tmp_path / "often")
    numbers = list(range(100))
    for number in numbers:
        once.enter(number)
    once.compact()
    random.Random(7).shuffle(numbers)
    for place, number in enumerate(numbers):
        often.enter(number)
        if place % 9 == 0:
            often.compact()
    often.compact()
    assert once.files() == often.files()
    # So many chunks are in several files, each of at most so many.
    assert len(once.files()) > 16
    for name, data in once.files().items():
        assert len(from_bytes(data, name).column("chunk").unique()) <= MOST


def test_a_compaction_that_was_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    whole = Place(tmp_path / "whole")
    for number in range(40):
        whole.enter(number)
    whole.compact()
    for done in range(len(list(buckets_of(Files.of(whole.layout), MOST)))):
        place = Place(tmp_path / f"killed-{done}")
        for number in range(40):
            place.enter(number)
            if number == 20:
                place.compact(100)  # one file, which will be too large
        buckets = list(buckets_of(Files.of(place.layout), MOST))
        for bucket in buckets[:done]:
            compact_bucket(bucket, place.layout, place.own, MOST)
        place.compact()
        assert place.files() == whole.files()


def test_a_file_that_was_being_divided_is_divided(tmp_path: Path) -> None:
    whole, killed = Place(tmp_path / "whole"), Place(tmp_path / "killed")
    for number in range(MOST + 3):
        whole.enter(number)
        killed.enter(number)
    whole.compact()
    killed.compact(100)
    # A part of it lies beside it already, and in that one a chunk is newer.
    parts = {name: data for name, data in whole.files().items() if name != "clips.parquet"}
    name, data = sorted(parts.items())[0]
    (killed.root / "catalogue" / name).write_bytes(data)
    assert "clips.parquet" in killed.files()
    killed.compact()
    assert killed.files() == whole.files()
    assert not (killed.root / "catalogue/clips.parquet").exists()


def test_nothing_is_written_where_nothing_is_new(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for number in range(20):
        place.enter(number)
    place.compact()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    place.compact()
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}


def test_only_files_with_news_are_written(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for number in range(60):
        place.enter(number)
    place.compact()
    before = place.files()
    place.enter(3, version=1)
    place.compact()
    changed = {name for name, data in place.files().items() if before[name] != data}
    assert len(changed) == 1


def test_columns_that_an_older_version_did_not_have_are_empty(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.enter(0)
    place.compact()
    path = tmp_path / "catalogue/clips.parquet"
    table = pq.read_table(path).drop_columns(["labels", "sharpness"])
    pq.write_table(table, path)
    place.enter(1)
    place.compact()
    assert place.rows() == expected({0: 0, 1: 0})
    assert pq.read_schema(path).names == SCHEMA.names


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.enter(0)
    place.compact()
    path = tmp_path / "catalogue/clips.parquet"
    said = {VERSION_KEY: str(SCHEMA_VERSION + 1).encode()}
    pq.write_table(pq.read_table(path).replace_schema_metadata(said), path)
    place.enter(1)
    before = place.files()
    with pytest.raises(CatalogueTooNew, match="install that one"):
        place.compact()
    assert place.files() == before


def test_an_empty_chunk_leaves_no_file(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.enter(0)
    place.compact()
    place.drop(0)
    place.compact()
    assert place.files() == {}


def test_rows_stand_in_order() -> None:
    rows = [row for number in (5, 2, 8) for row in reversed(rows_in(number))]
    said = from_bytes(to_bytes(table_of(rows)), "x").to_pylist()
    assert said == sorted(rows, key=lambda row: (row["chunk"], row["start"]))


def test_children_divide_their_parent() -> None:
    assert [*children_of("a")] == [f"a{digit}" for digit in "0123456789abcdef"]
    assert path_of("a", Layout("/out")) == "/out/catalogue/clips-a.parquet"
