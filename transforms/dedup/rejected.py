"""Rejected: clips that the dataset has rejected as duplicates, and that have no vectors any more.

    removed ──────────────┐
    the dataset's clips ──┼─▶ by id ─▶ met ─▶ by whom they went for ─▶ followed ─▶ … ─▶ listed
    who went for whom ────┘

They would come back if they left the list. They should, where a rule has rejected the clips that
they went for since. Who those went for, if they were rejected as duplicates themselves, is asked
one step further; the few chains that are longer than that are walked in one place.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import AsSingleton, TaggedOutput
from numpy.typing import NDArray

from finecut.io.layout import GROUPS, Layout
from finecut.io.storage import files as shelf
from finecut.io.tables.parted import files_of
from finecut.transforms.catalogue.reading import Slice, slices
from finecut.transforms.dedup.beside import Bucket, place_of
from finecut.transforms.dedup.by_key import Keyed, Part, Together, coded, lay, lay_here, rows_of
from finecut.transforms.dedup.clusters import Indices, Settled
from finecut.transforms.dedup.documents import FACTS, Documents, facts_in
from finecut.transforms.dedup.folder import KEEPER_SCHEMA, KEEPERS, Deduping, table_at
from finecut.transforms.dedup.near import GROUP_SCHEMA
from finecut.transforms.dedup.verdicts import IDS, REMOVED

#: Kinds of parts: facts of clips; who went for whom; rejected clips; who asks after whom; what
#: became known of whom; chains that lead on.
FACT, WENT, STATE, ASK, OUTCOME, LINK = "fact", "went", "state", "ask", "outcome", "link"
#: Tags: clips for the list, figures, and who goes for whom among those rejected.
LISTED, FIGURES = "listed", "figures"

#: Of several that say for whom a clip went, the one of the highest age counts.
WENT_FOR: Final = KEEPER_SCHEMA.append(pa.field("age", pa.int8()))
#: A rejected clip: whether as a duplicate, and of which clip if that is known.
STATES: Final = pa.schema(
    [("id", pa.string()), ("duplicate", pa.bool_()), ("kept_id", pa.string())]
)
#: A clip, and whom to ask about it; ``counts`` if the answer is for the list.
ASKS: Final = pa.schema([("id", pa.string()), ("at", pa.string()), ("counts", pa.bool_())])
OUTCOMES: Final = pa.schema([("id", pa.string()), ("goes", pa.bool_()), ("counts", pa.bool_())])


class Figures(NamedTuple):
    """What was counted in a bucket."""

    #: How long removed clips are together.
    seconds: float = 0.0
    carried: int = 0
    released: int = 0
    troubles: tuple[str, ...] = ()


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def facts(piece: Slice, layout: Layout, deduping: Deduping, settled: Settled) -> Iterator[Any]:
    """What the dataset says of the clips of a slice; troubles are figures, tagged."""
    table, troubles = facts_in(piece, layout)
    if troubles:
        yield TaggedOutput(FIGURES, Figures(troubles=troubles))
    named = piece.documents[0] if piece.bucket is None else str(piece.bucket)
    yield from lay(table, "id", FACT, place_of(f"facts/{_digest(named)}", deduping, settled))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:24]


def went(told: tuple[str, int], deduping: Deduping, settled: Settled) -> Iterator[Keyed]:
    """For whom clips went, as a table of an earlier run says."""
    path, age = told
    schema = GROUP_SCHEMA if age % 2 else KEEPER_SCHEMA
    table = (table_at(path, schema) or schema.empty_table()).select(KEEPER_SCHEMA.names)
    table = table.filter(pc.not_equal(table.column("id"), table.column("kept_id")))
    table = table.append_column("age", pa.array(np.full(len(table), age, np.int8)))
    place = place_of(f"went/{age}_{_digest(path)}", deduping, settled)
    yield from lay(table.cast(WENT_FOR), "id", WENT, place)


def _earlier(_settled: Settled, deduping: Deduping, layout: Layout) -> Iterator[tuple[str, int]]:
    """The tables that say so, and how late each is; the one in this folder counts most."""
    tables = (
        f"{root}/{name}"
        for root in (layout.dedup(), deduping.clustering.own.root)
        for name in (KEEPERS, GROUPS)
    )
    return ((file, age) for age, path in enumerate(tables) for file in files_of(path))


# ── meeting ──────────────────────────────────────────────────────────────────────────────────────


class Met(NamedTuple):
    """The clips of a bucket by number, and what is known of them."""

    names: pa.Array
    #: Numbers of clips: those that are removed now, and those that were rejected as duplicates.
    removed: Indices
    duplicates: Indices
    #: Numbers of all rejected clips, and whether each was as a duplicate.
    rejected: Indices
    as_duplicate: NDArray[np.bool_]
    #: Of each clip: for whom it went, or -1; how many seconds it takes, or none.
    keeper: Indices
    seconds: NDArray[np.float64]

    def ids(self, which: Indices) -> pa.Array:
        return self.names.take(pa.array(which))

    def kept_ids(self, which: Indices) -> pa.Array:
        kept = self.keeper[which]
        return self.names.take(pa.array(kept, mask=kept < 0))


def _met(removed: pa.Table, told: pa.Table, earlier: pa.Table) -> Met:
    columns = [removed["id"], told["id"], earlier["id"], earlier["kept_id"]]
    names, (goes, known, gone, kept) = coded(columns)
    keeper = np.full(len(names), -1)
    order = np.argsort(earlier["age"].to_numpy(), kind="stable")
    keeper[gone[order]] = kept[order]
    seconds = np.full(len(names), np.nan)
    seconds[known] = told["seconds"].to_numpy()
    rejected, duplicate = (told[name].to_numpy() for name in ("rejected", "duplicate"))
    by_id = np.argsort(known[rejected])
    return Met(
        names,
        removed=goes,
        duplicates=np.sort(known[duplicate]),
        rejected=known[rejected][by_id],
        as_duplicate=duplicate[rejected][by_id],
        keeper=keeper,
        seconds=seconds,
    )


def met(bucket: Bucket, layout: Layout, deduping: Deduping, settled: Settled) -> Iterator[Any]:
    """The clips of a bucket that go, and what is asked about those that were rejected before."""
    home, parts = bucket
    parts = list(parts)
    told, earlier = rows_of(parts, FACT, FACTS), rows_of(parts, WENT, WENT_FOR)
    here = _met(rows_of(parts, REMOVED, IDS), told, earlier)
    place = place_of(f"met/{home}", deduping, settled)
    state = [here.ids(here.rejected), pa.array(here.as_duplicate), here.kept_ids(here.rejected)]
    yield from lay_here(pa.table(state, schema=STATES), home, STATE, place)
    asking = here.duplicates[here.keeper[here.duplicates] >= 0]
    new = ~np.isin(asking, here.removed)
    asks = [here.ids(asking), here.kept_ids(asking), pa.array(new)]
    yield from lay(pa.table(asks, schema=ASKS), "at", ASK, place)
    noted = pa.table([here.ids(asking[new]), here.kept_ids(asking[new])], schema=KEEPER_SCHEMA)
    yield from (TaggedOutput(KEEPERS, part) for _, part in lay_here(noted, home, KEEPERS, place))
    # Of whom nobody knows for whom they went, they stay on the list.
    alone = np.setdiff1d(here.duplicates, np.append(asking, here.removed))
    yield from _listed(here.ids(np.sort(np.append(here.removed, alone))), home, place)
    documents = Documents(layout)
    lengths = documents.lengths(here.ids(here.removed).to_pylist(), here.seconds[here.removed])
    seconds = math.fsum(lengths)
    yield TaggedOutput(FIGURES, Figures(seconds, len(alone), troubles=documents.said()))


def _listed(ids: pa.Array, home: int, place: Any) -> Iterator[Any]:
    for _, part in lay_here(pa.table([ids], schema=IDS), home, LISTED, place):
        yield TaggedOutput(LISTED, part)


# ── following ────────────────────────────────────────────────────────────────────────────────────


def followed(bucket: Bucket, deduping: Deduping, settled: Settled) -> Iterator[Keyed]:
    """What became of those that clips of a bucket went for: answers, and chains that lead on."""
    home, parts = bucket
    parts = list(parts)
    asks, states = rows_of(parts, ASK, ASKS), rows_of(parts, STATE, STATES)
    names, (at, rejected) = coded([asks["at"], states["id"]])
    where = np.full(len(names), -1)
    where[rejected] = np.arange(len(rejected))
    row = where[at]
    # In a row of its own, whoever was not rejected.
    is_rejected, duplicate = row >= 0, np.append(states["duplicate"].to_numpy(), False)[row]
    leads_on = duplicate & np.append(states["kept_id"].is_valid().to_numpy(), False)[row]
    place = place_of(f"followed/{home}", deduping, settled)
    done = pa.array(~leads_on)
    goes = pa.array((~is_rejected | duplicate)[~leads_on])
    said = asks.filter(done)
    outcomes = pa.table([said["id"], goes, said["counts"]], schema=OUTCOMES)
    yield from lay(outcomes, "id", OUTCOME, place)
    yield from lay(asks.filter(pa.array(leads_on)), "at", LINK, place)


def told(bucket: Bucket, deduping: Deduping, settled: Settled) -> Iterator[Any]:
    """Whose fate is known; and chains that lead to them, or on, for the one place."""
    home, parts = bucket
    parts = list(parts)
    outcomes, links = rows_of(parts, OUTCOME, OUTCOMES), rows_of(parts, LINK, ASKS)
    place = place_of(f"told/{home}", deduping, settled)
    yield from _told(outcomes, home, place)
    asked = outcomes.filter(pc.is_in(outcomes["id"], value_set=links["at"].combine_chunks()))
    for kind, table in ((OUTCOME, asked), (LINK, links)):
        yield from lay_here(table, 0, kind, place)


def walked(bucket: Bucket, deduping: Deduping, settled: Settled) -> Iterator[Any]:
    """The chains that lead on, to their ends; in a circle nobody stays."""
    parts = list(bucket[1])
    outcomes, links = rows_of(parts, OUTCOME, OUTCOMES), rows_of(parts, LINK, ASKS)
    known = dict(zip(*(outcomes[name].to_pylist() for name in ("id", "goes")), strict=True))
    leads = dict(zip(*(links[name].to_pylist() for name in ("id", "at")), strict=True))
    goes = [ends_well(id, leads, known) for id in links["id"].to_pylist()]
    said = pa.table([links["id"], pa.array(goes, pa.bool_()), links["counts"]], schema=OUTCOMES)
    yield from _told(said, 0, place_of("walked", deduping, settled))


def ends_well(clip: str, leads: dict[str, str], known: dict[str, bool]) -> bool:
    """Whether the chain from this clip ends where somebody stays.

    >>> ends_well("a", {"a": "b", "b": "c"}, {"c": True}), ends_well("a", {"a": "b", "b": "a"}, {})
    (True, False)
    """
    met: set[str] = set()
    while clip in leads and clip not in met:
        met.add(clip)
        clip = leads[clip]
    return known.get(clip, False)


def _told(outcomes: pa.Table, home: int, place: Any) -> Iterator[Any]:
    """Of those that count: who goes on the list, and how many leave it."""
    counted = outcomes.filter(outcomes["counts"])
    stay = counted.filter(counted["goes"])
    yield from _listed(stay["id"].combine_chunks().sort(), home, place)
    figures = Figures(carried=len(stay), released=len(counted) - len(stay))
    yield TaggedOutput(FIGURES, figures)


class Listed(NamedTuple):
    """The clips for the list, and what was counted."""

    parts: beam.PCollection[Part]
    keepers: beam.PCollection[Part]
    figures: beam.PCollection[Figures]


class MeetRejected(beam.PTransform[Any, Any]):
    """Settled clusters, and parts by id of who is removed → :class:`Listed`."""

    def __init__(
        self, deduping: Deduping, layout: Layout, removed: beam.PCollection[Keyed]
    ) -> None:
        super().__init__()
        self.deduping, self.layout, self.removed = deduping, layout, removed

    def expand(self, settled: beam.PCollection[Settled]) -> Any:
        deduping, layout, side = self.deduping, self.layout, AsSingleton(settled)
        read = (
            settled
            | "Slices" >> beam.FlatMap(_slices, layout).with_output_types(Slice)
            | "Deal slices" >> beam.Reshuffle()
            | "Facts"
            >> beam.FlatMap(facts, layout, deduping, side).with_outputs(FIGURES, main=FACT)
        )
        before = (
            settled
            | "Earlier tables"
            >> beam.FlatMap(_earlier, deduping, layout).with_output_types(tuple[str, int])
            | "Deal earlier tables" >> beam.Reshuffle()
            | "Who went for whom" >> beam.FlatMap(went, deduping, side).with_output_types(Keyed)
        )
        here = (
            (self.removed, read[FACT], before)
            | "By id" >> Together()
            | "Meet"
            >> beam.FlatMap(met, layout, deduping, side).with_outputs(
                LISTED, FIGURES, KEEPERS, main=ASK
            )
        )
        on = ((here[ASK],) | "By keeper" >> Together()) | "Follow" >> beam.FlatMap(
            followed, deduping, side
        ).with_output_types(Keyed)
        answered = ((on,) | "By who asks" >> Together()) | "Tell" >> beam.FlatMap(
            told, deduping, side
        ).with_outputs(LISTED, FIGURES, main=LINK)
        ended = ((answered[LINK],) | "In one place" >> Together()) | "Walk" >> beam.FlatMap(
            walked, deduping, side
        ).with_outputs(LISTED, FIGURES)
        steps = (here, answered, ended)
        return Listed(
            [step[LISTED] for step in steps] | "Listed" >> beam.Flatten(),
            here[KEEPERS],
            [read[FIGURES], *(step[FIGURES] for step in steps)] | "Figures" >> beam.Flatten(),
        )


def _slices(_settled: Settled, layout: Layout) -> Iterable[Slice]:
    return slices(layout) if shelf.exists(layout.processed_clip_chunks()) else ()
