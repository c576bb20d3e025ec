"""Tables: what was found is written: what pictures said, who went for whom, groups, the list.

    parts ─▶ few rows: one file, in the order of all
             many rows: a folder of files, one for each part, on all workers

Who went for whom is written before the groups that said so until now are replaced.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsList

from finecut.io.layout import GROUPS
from finecut.io.tables.drops import DUPLICATES
from finecut.io.tables.parquet import PARQUET, tables_in, to_parquet
from finecut.io.tables.parted import part_of, remove
from finecut.transforms.dedup.by_key import Part, read
from finecut.transforms.dedup.clusters import Settled
from finecut.transforms.dedup.confirming import Seen
from finecut.transforms.dedup.folder import (
    KEEPER_SCHEMA,
    KEEPERS,
    LIKENESS,
    LIKENESS_SCHEMA,
    Deduping,
)
from finecut.transforms.dedup.near import RANKED_GROUPS, in_order
from finecut.transforms.dedup.verdicts import IDS

SCHEMAS = {
    LIKENESS: LIKENESS_SCHEMA,
    KEEPERS: KEEPER_SCHEMA,
    GROUPS: RANKED_GROUPS,
    DUPLICATES: IDS,
}


class Tables(NamedTuple):
    """The parts of each table."""

    told: beam.PCollection[Part]
    keepers: beam.PCollection[Part]
    groups: beam.PCollection[Part]
    listed: beam.PCollection[Part]


@dataclass(frozen=True)
class Large:
    """A part of a table that is too large for one file."""

    table: str
    path: str
    part: Part


def write_small(
    _done: int, name: str, deduping: Deduping, parts: Iterable[Part], seen: Seen
) -> Iterator[Large]:
    """Write a table if it fits into one file; else make room for its parts."""
    there = sorted(parts, key=lambda part: (part.path, part.offset))
    own, path = deduping.clustering.own, deduping.path(name)
    if seen.is_blind and name != LIKENESS:
        pass  # what was found before is not replaced by nothing
    elif sum(part.rows for part in there) > deduping.file_rows:
        files = _parts_of(name, len(there), deduping)
        _make_room(name, files, deduping)
        yield from (Large(name, *each) for each in zip(files, there, strict=True))
    elif name == KEEPERS and not there:
        remove(path, own)
    else:
        file = list_at(deduping) if name == DUPLICATES else path
        _make_room(name, [file], deduping)
        own.write(file, table_of(name, there, deduping))


def _parts_of(name: str, count: int, deduping: Deduping) -> list[str]:
    if name == DUPLICATES:
        stem = list_at(deduping).removesuffix(PARQUET)
        return [f"{stem}-{number:04}{PARQUET}" for number in range(count)]
    return [part_of(deduping.path(name), number) for number in range(count)]


def _make_room(name: str, files: Sequence[str], deduping: Deduping) -> None:
    """Remove what an earlier run wrote of a table and this one does not: what drops the listed
    clips reads all lists that lie there.
    """
    if name == DUPLICATES:
        deduping.remove_others(DUPLICATES, {*files})
    else:
        remove(deduping.path(name), deduping.clustering.own, but=files)


def write_part(large: Large, deduping: Deduping) -> str:
    deduping.clustering.own.write(large.path, table_of(large.table, [large.part], deduping))
    return large.path


def table_of(name: str, parts: Sequence[Part], deduping: Deduping) -> bytes:
    """The rows of these parts, in their order."""
    rows = pa.concat_tables([SCHEMAS[name].empty_table(), *map(read, parts)])
    if name == GROUPS:
        return to_parquet(in_order(rows, deduping.clustering))
    if name == LIKENESS:
        return to_parquet(rows.sort_by([("first", "ascending"), ("second", "ascending")]))
    rows = rows.sort_by("id")
    return to_parquet(rows, max(1, len(rows) // 10) if name == DUPLICATES else None)


def list_at(deduping: Deduping, rows: int = 0) -> str:
    """Where the list is: a file, or with so many rows a folder."""
    if rows > deduping.file_rows:
        return deduping.path(DUPLICATES)
    names = sorted(path.rsplit("/", 1)[-1] for path in tables_in(deduping.clustering.tables))
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return deduping.path(f"{DUPLICATES}/{digest[:12]}{PARQUET}")


@dataclass(eq=False, repr=False)
class Lay(beam.PTransform[Any, beam.PCollection[int]]):
    """Settled clusters → one number, when all tables are written."""

    deduping: Deduping
    tables: Tables
    seen: Any

    def expand(self, settled: beam.PCollection[Settled]) -> beam.PCollection[int]:
        deduping, tables = self.deduping, self.tables
        wanted = [(GROUPS, tables.groups), (DUPLICATES, tables.listed)]
        if deduping.dataset is not None:
            wanted.insert(0, (KEEPERS, tables.keepers))
        if deduping.clips is not None:
            wanted.insert(0, (LIKENESS, tables.told))
        done: beam.PCollection[int] = settled | "Begin" >> beam.Map(lambda _: 0)
        for name, parts in wanted:
            done = (
                done
                | f"Whole {name}"
                >> beam.FlatMap(
                    write_small, name, deduping, parts=AsList(parts), seen=self.seen
                ).with_output_types(Large)
                | f"Deal {name}" >> beam.Reshuffle()
                | f"Parts of {name}" >> beam.Map(write_part, deduping).with_output_types(str)
                | f"All of {name}" >> beam.combiners.Count.Globally()
            )
        return done
