"""Looking at clips on workers: what the plan has to know of them is put down, divided by range."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal
from uuid import uuid4

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from finecut.io.records import Failure, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.divided import divided
from finecut.io.tables.drops import drops_table
from finecut.transforms.beam.guard import FAILURES, guarded
from finecut.transforms.beam.metrics import count
from finecut.transforms.beam.weather import STRICT
from finecut.transforms.catalogue.reading import Slice, rows_in
from finecut.transforms.shard.from_rows import columns_for
from finecut.transforms.shard.listing import (
    STEP,
    Found,
    Listed,
    clips_of,
    look_at_chunk,
    look_at_rows,
)
from finecut.transforms.shard.material import Sharding
from finecut.transforms.shard.ranges import (
    Border,
    candidate_table,
    range_of,
    ranges_for,
    sample_of,
)

#: Clips that are put down together.
PART_ROWS: Final = 50_000
#: Clips of a chunk, about: for chunks of which nobody has counted them.
CHUNK_ROWS: Final = 20


@dataclass(frozen=True)
class Planning:
    """How shards are planned, and where workers put what they know."""

    sharding: Sharding
    tray: Shelf
    most_bytes: int
    most_clips: int
    #: Whether clips of all videos are mixed.
    mixed: bool = True
    #: Which clips duplicates went for, as a table, if somebody wants to know.
    keepers: str | None = None
    #: A list of clips that are counted among those that are taken.
    watched: str | None = None


@dataclass(frozen=True)
class Part:
    """What a worker put down of the clips it looked at."""

    path: str
    listed: int
    left_out: Mapping[str, int]
    #: The names of all scores and captions of the clips that stay.
    scores: tuple[str, ...]
    captions: tuple[str, ...]
    #: Those of the scores that are labels.
    labels: tuple[str, ...] = ()
    #: Clips that are on the lists, whatever else is true of them.
    on_lists: int = 0
    #: A list of those that would be taken if they were not on it, if anybody wants to know.
    fit: str | None = None
    #: Some places between sources, if these are to stay together.
    borders: tuple[Border, ...] = ()


def rows_about(piece: Slice) -> int:
    """How many clips a slice has, about."""
    if piece.bucket is None:
        return len(piece.documents) * CHUNK_ROWS
    paths = filter(None, (piece.bucket.file, *piece.bucket.ancestors))
    return len(piece.bucket.loose) * CHUNK_ROWS + sum(map(_rows_at, paths))


def _rows_at(path: str) -> int:
    with shelf.open_source(path) as file:
        return int(pq.ParquetFile(file).metadata.num_rows)


class LookAt(beam.DoFn):
    """Slices → ``parts`` (:class:`Part`), ``failures``: of chunks that could not be read."""

    def __init__(self, planning: Planning) -> None:
        super().__init__()
        self.planning, self._found, self._ranges = planning, Found(), 1

    def start_bundle(self) -> None:
        self._found = Found()

    def process(
        self, piece: Slice, rows: int
    ) -> Iterable[Part | TaggedOutput[Literal["failures"], Failure]]:
        sharding, self._ranges = self.planning.sharding, ranges_for(rows)
        if piece.bucket is not None:
            table = rows_in(piece, sharding.output.layout, columns_for(sharding.rules))
            look_at_rows(table, sharding, self._found)
            count("clips listed", len(table))
        for chunk in piece.documents:
            source = Source(chunk, chunk, chunk)
            listed = [
                *guarded(STEP, source, partial(clips_of, chunk, sharding.output), weather=STRICT)
            ]
            accidents = [one for one in listed if isinstance(one, Failure)]
            if accidents:
                for accident in accidents:
                    yield TaggedOutput(FAILURES, accident)
                continue
            look_at_chunk([one for one in listed if isinstance(one, Listed)], sharding, self._found)
            count("clips listed", len(listed))
        if len(self._found.rows) >= PART_ROWS:
            yield self._put_down()

    def finish_bundle(self) -> Iterable[Any]:
        if self._found.listed:
            yield GlobalWindows.windowed_value_at_end_of_window(self._put_down())

    def _put_down(self) -> Part:
        found, self._found = self._found, Found()
        tray, name = self.planning.tray, uuid4().hex
        path, fit = f"{tray.root}/parts/{name}.arrow", f"{tray.root}/fit/{name}.parquet"
        table = candidate_table(found.rows)
        orders = table["order"].to_numpy()
        tray.write(path, divided(table, range_of(orders, self._ranges), self._ranges))
        if found.missed:
            tray.write(fit, drops_table(found.missed))
        count("clips failed", len(table) - table["trouble"].null_count)
        return Part(
            path,
            found.listed,
            left_out=dict(sorted(found.left_out.items())),
            scores=tuple(sorted(found.scores)),
            captions=tuple(sorted(found.captions)),
            labels=tuple(sorted(found.labels)),
            on_lists=found.on_lists,
            fit=fit if found.missed else None,
            borders=() if self.planning.mixed else sample_of(table),
        )
