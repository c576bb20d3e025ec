"""Where clips lie that are to be looked at: by their ids, or, in packs, as the catalogue says.

slices of the catalogue ─▶ parts by clip ─┐
clips that are to be looked at ───────────┴▶ the same clips, each with its place
"""

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import AsSingleton

from finecut.io.dataset.places import NoDataset, Place
from finecut.io.layout import Layout
from finecut.transforms.catalogue.reading import Slice, rows_in, slices
from finecut.transforms.dedup.beside import place_of
from finecut.transforms.dedup.by_key import Keyed, Part, lay, rows_of
from finecut.transforms.dedup.clusters import Settled
from finecut.transforms.dedup.folder import Deduping

#: A kind of parts.
PLACES: Final = "places"
PLACE: Final = pa.schema(
    [("clip", pa.string()), ("pack", pa.string()), ("offset", pa.int64()), ("size", pa.int64())]
)
#: What of it the catalogue calls otherwise.
_COLUMNS: Final = ("id", "clip", "clip_offset", "num_bytes")


def places_in(piece: Slice, deduping: Deduping, settled: Settled) -> Iterator[Keyed]:
    """The places of the clips of a slice."""
    assert deduping.clips is not None
    rows = rows_in(piece, deduping.clips, _COLUMNS)
    rows = rows.filter(pc.is_valid(rows["clip_offset"])).rename_columns(PLACE.names)
    named = hashlib.sha256(str(piece).encode(errors="surrogatepass")).hexdigest()[:24]
    place = place_of(f"places/{named}", deduping, settled)
    yield from lay(rows.cast(PLACE).combine_chunks(), "clip", PLACES, place)


def with_places(clips: pa.Array, parts: list[Part]) -> pa.Table:
    """Clips, each once, with their places where these parts say any."""
    said = rows_of(parts, PLACES, PLACE)
    found = said.filter(pc.is_in(said.column("clip"), value_set=clips))
    rest = clips.filter(pc.invert(pc.is_in(clips, value_set=found.column("clip").combine_chunks())))
    nowhere = [pa.nulls(len(rest), field.type) for field in list(PLACE)[1:]]
    both = pa.concat_tables([found, pa.table([rest, *nowhere], schema=PLACE)])
    return both.sort_by("clip").combine_chunks()


def place_of_clip(row: dict[str, Any], layout: Layout) -> Place:
    """Where a clip lies, or :class:`NoDataset`."""
    if row["pack"] is not None:
        return Place(layout.below(row["pack"]), row["offset"], row["size"])
    if layout.packed:
        raise NoDataset(f"the catalogue does not say in which archive the clip {row['clip']} lies")
    return Place(layout.clip(row["clip"]))


class Places(beam.PTransform[Any, beam.PCollection[Keyed]]):
    """Settled clusters → the places of all clips, where not their ids say them."""

    def __init__(self, deduping: Deduping) -> None:
        super().__init__()
        self.deduping = deduping

    def expand(self, settled: beam.PCollection[Settled]) -> beam.PCollection[Keyed]:
        deduping, side = self.deduping, AsSingleton(settled)
        return (
            settled
            | "Slices" >> beam.FlatMap(_slices, deduping).with_output_types(Slice)
            | "Deal slices" >> beam.Reshuffle()
            | "Lie" >> beam.FlatMap(places_in, deduping, side).with_output_types(Keyed)
        )


def _slices(_settled: Settled, deduping: Deduping) -> Iterator[Slice]:
    clips = deduping.clips
    return slices(clips) if clips is not None and clips.packed else iter(())
