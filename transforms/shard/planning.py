"""Planning on workers: no process sees all clips.

    slices ──look──▶ parts ──sort──▶ ranges ──pack──▶ drafts ──compare──▶ planned shards
                                                │
                              by source, where clips of a video stay together

Sorting and looking go side by side. Packing is one worker's, since where a shard ends depends on
all before it; it reads eight bytes of each clip, range by range.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import AsList, AsSingleton

from finecut.io.layout import Layout, is_clip_id
from finecut.io.process.threads import in_order
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.divided import divided, gathered
from finecut.io.tables.drops import keepers_of, read_drops
from finecut.io.tables.ids import IdSet, Records, packed
from finecut.io.tables.shards import END, ShardFolder, read_receipt
from finecut.transforms.beam.guard import FAILURES
from finecut.transforms.catalogue.reading import Slice, slices
from finecut.transforms.shard.listing import (
    drops_in,
)
from finecut.transforms.shard.looking import LookAt, Part, Planning, rows_about
from finecut.transforms.shard.lost import NOTHING_LOST, Lost, put_down
from finecut.transforms.shard.plan import (
    Draft,
    Packer,
    Piece,
    ShardPlan,
    named,
    plan_of,
    without_holes,
)
from finecut.transforms.shard.ranges import (
    CANDIDATES,
    Section,
    borders_of,
    clips_in,
    in_order_of_bins,
    path_of,
    range_by_source,
    range_bytes,
    ranges_for,
    settled,
    sizes_in,
)

#: Ranges whose sizes are read ahead.
AHEAD: Final = 4


@dataclass(frozen=True)
class Sorted:
    """What became of the clips of a range."""

    number: int
    clips: int
    #: Listings of clips that are listed elsewhere, too.
    twice: int = 0
    lost: Lost = NOTHING_LOST
    #: Clips on the list that is watched.
    watched: int = 0
    #: Duplicates that would be taken otherwise, and for how many of them a clip of this range is.
    bereft: int = 0
    consoled: int = 0
    #: Where its bins are; or the file of what is divided by source.
    sections: tuple[Section, ...] = ()
    path: str = ""


@dataclass(frozen=True)
class Planned:
    """A shard of the plan."""

    name: str
    digest: str
    clips: int
    #: The size of its archive.
    num_bytes: int
    pieces: tuple[Piece, ...]
    #: Whether it lies there as it should be.
    current: bool

    def plan(self, tray: Shelf) -> ShardPlan:
        return plan_of(self.name, clips_in(self.pieces, tray))


# ── sorting ──────────────────────────────────────────────────────────────────────────────────────


def sort_range(number: int, parts: Sequence[Part], planning: Planning, ranges: int) -> Sorted:
    """Bring together what all workers saw of a range, each clip once."""
    tray = planning.tray
    clips, failed, twice = settled(
        gathered(sorted(part.path for part in parts), number, CANDIDATES)
    )
    found = Sorted(
        number,
        len(clips),
        twice,
        put_down(f"{tray.root}/lost/range-{number:06d}.jsonl", failed, tray),
        watched=_among(clips, drops_in(planning.watched)) if planning.watched else 0,
    )
    if planning.keepers:
        found = _with_keepers(found, clips, _wanted(planning, parts))
    if planning.mixed:
        return replace(found, sections=_write_range(number, clips, planning))
    borders = borders_of((border for part in parts for border in part.borders), ranges)
    path = f"{tray.root}/by source/{number:06d}.arrow"
    tray.write(path, divided(clips, range_by_source(clips, borders), ranges))
    return replace(found, path=path)


def sort_by_source(number: int, found: Iterable[Sorted], planning: Planning) -> Sorted:
    """Bring together what is of a range of sources."""
    paths = [one.path for one in sorted(found, key=lambda one: one.number)]
    clips = gathered(paths, number, CANDIDATES)
    sections = _write_range(number, clips, planning)
    return Sorted(number, len(clips), sections=sections)


def _write_range(number: int, clips: pa.Table, planning: Planning) -> tuple[Section, ...]:
    rows, sections = in_order_of_bins(clips, planning.mixed)
    planning.tray.write(path_of(planning.tray, number), range_bytes(rows))
    return sections


def _among(clips: pa.Table, ids: IdSet) -> int:
    return sum(id in ids for id in clips["id"].to_pylist())


def _wanted(planning: Planning, parts: Iterable[Part]) -> Records:
    """For each duplicate that would be taken otherwise: the clip that stays in its place."""
    fit = tuple(sorted(part.fit for part in parts if part.fit))
    return _keepers_of(str(planning.keepers), fit)


@lru_cache(maxsize=1)
def _keepers_of(folder: str, fit: tuple[str, ...]) -> Records:
    keepers = keepers_of((folder,))
    return packed(keepers[id] for id in read_drops(fit) if id in keepers)


def _with_keepers(found: Sorted, clips: pa.Table, wanted: Records) -> Sorted:
    there = packed(filter(is_clip_id, clips["id"].to_pylist()))
    consoled = int(np.isin(wanted, there).sum())
    # Each duplicate is counted once.
    return replace(found, bereft=0 if found.number else len(wanted), consoled=consoled)


# ── packing ──────────────────────────────────────────────────────────────────────────────────────


def pack(
    ranges: Iterable[Sorted], planning: Planning, holes: Sequence[Piece] = ()
) -> Iterator[Draft]:
    """The shards of all clips, without those in the holes."""
    packers: dict[str, Packer] = {}
    gone: dict[int, list[Piece]] = defaultdict(list)
    for hole in holes:
        gone[hole.range].append(hole)
    found = [one for one in sorted(ranges, key=lambda one: one.number) if one.sections]
    paths = [path_of(planning.tray, one.number) for one in found]
    for one, sizes in zip(found, in_order(sizes_in, paths, AHEAD), strict=True):
        for section in one.sections:
            whole = Piece(one.number, section.start, section.end)
            packer = packers.setdefault(
                section.bin, Packer(planning.most_bytes, planning.most_clips)
            )
            for piece in without_holes([whole], gone[one.number]):
                packer.add(one.number, piece.start, sizes[piece.start : piece.end])
    return named({bin: packer.shards() for bin, packer in packers.items()})


def compared(draft: Draft, planning: Planning) -> Planned:
    """The shard that is planned, and whether it lies there."""
    plan = plan_of(draft.name, clips_in(draft.pieces, planning.tray))
    current = digest_of_whole(planning.sharding.folder, draft.name) == plan.digest
    return Planned(
        draft.name,
        plan.digest,
        len(plan.clips),
        num_bytes=draft.num_bytes + len(END),
        pieces=draft.pieces,
        current=current,
    )


def digest_of_whole(folder: ShardFolder, name: str) -> str | None:
    """The digest on a shard's receipt, if the shard is there and as long as the receipt says."""
    receipt = read_receipt(folder, name)
    if receipt is None:
        return None
    try:
        return receipt[0] if shelf.size_of(folder.shard(name)) == receipt[1] else None
    except FileNotFoundError:
        return None


# ── the transforms ───────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False, repr=False)
class SortClips(beam.PTransform[beam.PCollection[Any], Any]):
    """One element → ``parts`` (:class:`Part`), ``failures``, ``sorted`` (what became of the clips,
    range by range), ``ranges`` (where they are; the same, unless clips stay with their videos)."""

    planning: Planning

    def expand(self, once: beam.PCollection[Any]) -> Any:
        planning, layout = self.planning, self.planning.sharding.output.layout
        pieces = once | "Slices" >> beam.FlatMap(_slices, layout).with_output_types(Slice)
        rows = AsSingleton(
            pieces
            | "Share out counting" >> beam.Reshuffle()
            | "Rows about" >> beam.Map(rows_about).with_output_types(int)
            | "All rows" >> beam.CombineGlobally(sum)
        )
        looked = (
            pieces
            | "Share out slices" >> beam.Reshuffle()
            | "Look" >> beam.ParDo(LookAt(planning), rows).with_outputs(FAILURES, main="parts")
        )
        found = self._numbers(once, rows, "ranges") | "Sort" >> beam.Map(
            lambda number, parts, rows: sort_range(number, parts, planning, ranges_for(rows)),
            AsList(looked.parts),
            rows,
        ).with_output_types(Sorted)
        told = {"parts": looked.parts, "failures": looked.failures, "sorted": found}
        if planning.mixed:
            return {**told, "ranges": found}
        by_source = self._numbers(once, rows, "sources") | "Sort by source" >> beam.Map(
            lambda number, found: sort_by_source(number, found, planning), AsList(found)
        ).with_output_types(Sorted)
        return {**told, "ranges": by_source}

    def _numbers(self, once: beam.PCollection[Any], rows: Any, of: str) -> beam.PCollection[int]:
        return (
            once
            | f"Numbers of {of}"
            >> beam.FlatMap(lambda _, rows: range(ranges_for(rows)), rows).with_output_types(int)
            | f"Share out {of}" >> beam.Reshuffle()
        )


def _slices(_once: Any, layout: Layout) -> Iterator[Slice]:
    return slices(layout)


@dataclass(eq=False, repr=False)
class PackShards(beam.PTransform[beam.PCollection[Any], beam.PCollection[Planned]]):
    """One element → the shards of the plan, when all ranges are sorted.

    ``ranges`` are a side input of :class:`Sorted`.
    """

    planning: Planning
    ranges: Any
    holes: Sequence[Piece] = ()

    def expand(self, once: beam.PCollection[Any]) -> beam.PCollection[Planned]:
        planning, holes = self.planning, self.holes
        return (
            once
            | "Pack"
            >> beam.FlatMap(
                lambda _, ranges: pack(ranges, planning, holes), self.ranges
            ).with_output_types(Draft)
            | "Share out shards" >> beam.Reshuffle()
            | "Compare"
            >> beam.Map(lambda draft: compared(draft, planning)).with_output_types(Planned)
        )
