"""Confirming: the pictures of near pairs are compared, unless an earlier run has done so.

    wanted, known ─▶ asked ─▶ clips by id ─▶ look ─┐ tiny pictures, each clip once
                       └────▶ batches of pairs ────┴▶ compare ─▶ answers ─┐
    near, known ──────────────────────────────────────────────────────────┴▶ judged ─▶ same

Pairs are where their first id belongs, and so is what is known of them.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import AsSingleton, TaggedOutput
from numpy.typing import NDArray

from finecut.io.media.frames.small_pictures import thumbnails
from finecut.io.storage import files as shelf
from finecut.io.tables.parted import files_of
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.metrics import LOG, count
from finecut.transforms.beam.weather import STRICT
from finecut.transforms.dedup.beside import NEAR, WANTED, Beside, Bucket, both_ways, place_of
from finecut.transforms.dedup.by_key import (
    Keyed,
    Part,
    Together,
    coded,
    lay,
    lay_here,
    lay_slices,
    read,
    rows_of,
)
from finecut.transforms.dedup.clusters import PAIR_SCHEMA, Floats, Indices, Settled
from finecut.transforms.dedup.descriptors import (
    ALIKE,
    agreement,
    described,
    describer_at,
    rows_in,
)
from finecut.transforms.dedup.folder import LIKENESS, LIKENESS_SCHEMA, Deduping, table_at
from finecut.transforms.dedup.pictures import (
    MOST,
    RATE,
    SIDE,
    UNLIKE,
    Likeness,
    Thumbnails,
    likeness,
)
from finecut.transforms.dedup.places import Places, place_of_clip, with_places

#: Pairs that are compared in one go, and clips that are looked at.
PAIRS_AT_ONCE, CLIPS_AT_ONCE = 2000, 100
#: Clips whose pictures a process remembers: a hundred kilobytes each, and a megabyte of views.
REMEMBERED: Final = 128
#: Kinds of parts: what earlier runs know, clips, pairs to compare, what comparing them said, pairs
#: that are the same (at both of their ends), and all that is known now.
KNOWN, CLIPS, BATCH, ANSWER, SAME = "known", "clips", "batch", "answer", "same"
#: Tags of judged pairs.
SEEN, TOLD = "seen", "told"

ASKED: Final = pa.schema([("first", pa.string()), ("second", pa.string())])
CLIP: Final = pa.schema([("clip", pa.string())])


class Seen(NamedTuple):
    """How many pairs were compared, are the same, and could not be looked at."""

    compared: int = 0
    same: int = 0
    unseen: int = 0

    @property
    def is_blind(self) -> bool:
        """Whether not one pair could be looked at."""
        return self.compared > 0 and self.compared == self.unseen


# ── what is asked ────────────────────────────────────────────────────────────────────────────────


def known(path: str, deduping: Deduping, settled: Settled) -> Iterator[Keyed]:
    """What a file of an earlier run says of the same clips; what it could not see, or saw in
    another way, is looked at again.
    """
    table = table_at(path, LIKENESS_SCHEMA) or LIKENESS_SCHEMA.empty_table()
    said = table.filter(pc.is_valid(pc.field("same")) & (pc.field("by") == deduping.by))
    name = path.rsplit("/", 1)[-1]
    yield from lay(said, "first", KNOWN, place_of(f"known/{name}", deduping, settled))


def asked(bucket: Bucket, deduping: Deduping, settled: Settled) -> Iterator[Any]:
    """The batches of pairs whose pictures were not compared yet; and the clips in them, tagged."""
    number, parts = bucket
    parts = list(parts)
    pairs = _unanswered(
        rows_of(parts, WANTED, ASKED), rows_of(parts, KNOWN, LIKENESS_SCHEMA).select(ASKED.names)
    )
    count("pairs to compare", len(pairs))
    place = place_of(f"asked/{number}", deduping, settled)
    yield from ((number, part) for part in lay_slices(pairs, PAIRS_AT_ONCE, BATCH, place))
    if len(pairs):
        both = pa.chunked_array([pairs.column("first").chunk(0), pairs.column("second").chunk(0)])
        clips = pa.table([both.unique()], schema=CLIP)
        yield from (TaggedOutput(CLIPS, keyed) for keyed in lay(clips, "clip", CLIPS, place))


def _unanswered(wanted: pa.Table, answered: pa.Table) -> pa.Table:
    """The wanted pairs without those that are answered, each once, in order."""
    both = _keys_of(wanted, answered)
    keys, once = np.unique(both[: len(wanted)], return_index=True)
    new = once[~np.isin(keys, both[len(wanted) :])]
    return wanted.take(pa.array(new)).combine_chunks()


def _keys_of(*pairs: pa.Table) -> Indices:
    """One number for each pair of these tables, in the order of their ids."""
    columns = [table.column(name) for name in ASKED.names for table in pairs]
    names, codes = coded(columns)
    first, second = (np.concatenate(some) for some in (codes[: len(pairs)], codes[len(pairs) :]))
    return first * len(names) + second


def clips_in(bucket: Bucket, deduping: Deduping, settled: Settled) -> Iterator[Part]:
    """The clips of a bucket, each once, some at a time."""
    number, parts = bucket
    parts = list(parts)
    clips = rows_of(parts, CLIPS, CLIP).column("clip").unique().sort()
    table = with_places(clips, parts)
    place = place_of(f"clips/{number}", deduping, settled)
    yield from lay_slices(table, CLIPS_AT_ONCE, CLIPS, place)


# ── looking and comparing ────────────────────────────────────────────────────────────────────────


def look(clips: Part, deduping: Deduping) -> int:
    """Lay down the clips' tiny pictures; how many clips have some."""
    seen = sum(_look(clip, deduping) for clip in read(clips).to_pylist())
    count("clips looked at", seen)
    return seen


def _look(row: dict[str, Any], deduping: Deduping) -> bool:
    layout, clip = deduping.clips, str(row["clip"])
    assert layout is not None
    if "/" in clip:
        return False  # no id of ours: it would lead elsewhere

    # What is wrong with the model is not the clip's fault.
    describer = describer_at(deduping.model, deduping.model_digest) if deduping.model else None

    def seen() -> list[bytes]:
        place = place_of_clip(row, layout)
        with place.source() as file:
            found = [thumbnails(file, RATE, MOST, SIDE).tobytes()]
        if describer is not None:
            with place.source() as file:
                found.append(described(file, describer))
        return found

    data = attempted(seen)
    if isinstance(data, Exception):
        STRICT.pass_on(data, f"dedup was looking at {clip}")
        LOG.info("not looked at: %s (%s)", clip, data)
        return False
    for place, part in zip((_thumbnails_path, _rows_path), data, strict=False):
        deduping.clustering.own.write(place(clip, deduping), part)
    return True


def _thumbnails_path(clip: str, deduping: Deduping) -> str:
    return deduping.clustering.staged(f"looks/{clip[:2]}/{clip}")


def _rows_path(clip: str, deduping: Deduping) -> str:
    return f"{_thumbnails_path(clip, deduping)}.npy"


@lru_cache(maxsize=REMEMBERED)
def _rows(path: str) -> Floats:
    return rows_in(shelf.read(path))


def _compared(found: Likeness, first: str, second: str, deduping: Deduping) -> dict[str, Any]:
    """What is written down of two clips whose pictures are as alike as that."""
    same, how, said = found.same, found.how, None
    if deduping.model and not found.calm.still and found != UNLIKE:
        one, other = (_rows(_rows_path(clip, deduping)) for clip in (first, second))
        said = agreement(one, other)
        if not same and said >= ALIKE:
            same, how = True, ("model",)
    row = {"same": same, "shown": found.shown, "changes": found.changes, "model": said}
    return row | {"how": ", ".join(how) if same else None}


@lru_cache(maxsize=REMEMBERED)
def _thumbnails(path: str) -> Thumbnails | None:
    data = shelf.read_if_there(path)
    if data is None:
        return None
    return Thumbnails(np.frombuffer(data, np.uint8).reshape(-1, SIDE, SIDE))


def compare(batch: Keyed, deduping: Deduping, settled: Settled) -> Iterator[Keyed]:
    """Compare the pictures of each pair of a batch; what they say is laid down."""
    bucket, part = batch
    table, rows = read(part), []
    names = (table.column(name).to_pylist() for name in ASKED.names)
    for first, second in zip(*names, strict=True):
        one, other = (_thumbnails(_thumbnails_path(clip, deduping)) for clip in (first, second))
        count("pairs compared")
        row: dict[str, Any] = {"first": first, "second": second, "by": deduping.by}
        if one is not None and other is not None:
            row |= _compared(likeness(one, other), first, second, deduping)
        rows.append(row)
    place = place_of(f"likeness/{bucket}_{part.offset}", deduping, settled)
    yield from lay_here(pa.Table.from_pylist(rows, LIKENESS_SCHEMA), bucket, ANSWER, place)


# ── judging ──────────────────────────────────────────────────────────────────────────────────────


def judged(bucket: Bucket, deduping: Deduping, settled: Settled) -> Iterator[Any]:
    """The pairs whose pictures are the same, at both of their ends; all that is known, tagged."""
    number, parts = bucket
    parts = list(parts)
    near = rows_of(parts, NEAR, PAIR_SCHEMA)
    answers = pa.concat_tables([rows_of(parts, kind, LIKENESS_SCHEMA) for kind in (KNOWN, ANSWER)])
    both = _keys_of(near, answers.select(ASKED.names))
    keys, once = np.unique(both[len(near) :], return_index=True)
    answers = answers.take(pa.array(once)).combine_chunks()
    place = place_of(f"judged/{number}", deduping, settled)
    for _, part in lay_here(answers, number, LIKENESS, place):
        yield TaggedOutput(TOLD, part)
    if len(answers) and len(near):
        seen, same = _same(keys, both[: len(near)], answers.column("same"))
        yield TaggedOutput(SEEN, seen)
        yield from lay(both_ways(near.filter(pa.array(same))), "first", SAME, place)


def _same(keys: Indices, near: Indices, said: pa.ChunkedArray) -> tuple[Seen, NDArray[np.bool_]]:
    """Which of the near pairs are the same, by what was said of those with these keys."""
    where = np.minimum(np.searchsorted(keys, near), len(keys) - 1)
    compared = keys[where] == near
    same = compared & said.fill_null(False).to_numpy()[where]
    unseen = compared & said.is_null().to_numpy()[where]
    return Seen(int(compared.sum()), int(same.sum()), int(unseen.sum())), same


class Confirmed(NamedTuple):
    """What looking at pictures came to."""

    #: Parts by item: pairs at both of their ends.
    same: beam.PCollection[Keyed]
    seen: beam.PCollection[Seen]
    #: Parts with all that is known of the pictures of pairs.
    told: beam.PCollection[Part]


class Confirm(beam.PTransform[Any, Any]):
    """Settled clusters, and what is near each other in them → :class:`Confirmed`."""

    def __init__(self, deduping: Deduping, beside: Beside) -> None:
        super().__init__()
        self.deduping, self.beside = deduping, beside

    def expand(self, settled: beam.PCollection[Settled]) -> Any:
        deduping, side = self.deduping, AsSingleton(settled)
        before = (
            settled
            | "Known files" >> beam.FlatMap(_known_files, deduping).with_output_types(str)
            | "Deal files" >> beam.Reshuffle()
            | "Known" >> beam.FlatMap(known, deduping, side).with_output_types(Keyed)
        )
        to_ask = (
            (self.beside.wanted, before)
            | "By first" >> Together()
            | "Candidates" >> beam.FlatMap(asked, deduping, side).with_outputs(CLIPS, main=BATCH)
        )
        looked = (
            (to_ask[CLIPS], settled | "Places" >> Places(deduping))
            | "By clip" >> Together()
            | "Clips" >> beam.FlatMap(clips_in, deduping, side).with_output_types(Part)
            | "Deal clips" >> beam.Reshuffle()
            | "Look" >> beam.Map(look, deduping).with_output_types(int)
            | "Looked" >> beam.CombineGlobally(sum)
        )
        answers = (
            to_ask[BATCH]
            | "Deal batches" >> beam.Reshuffle()
            # Only when all clips were looked at.
            | "Compare"
            >> beam.FlatMap(_compare_then, deduping, side, AsSingleton(looked)).with_output_types(
                Keyed
            )
        )
        found = (
            (self.beside.near, before, answers)
            | "With answers" >> Together()
            | "Judge" >> beam.FlatMap(judged, deduping, side).with_outputs(SEEN, TOLD, main=SAME)
        )
        return Confirmed(found[SAME], found[SEEN], found[TOLD])


def _compare_then(
    batch: Keyed, deduping: Deduping, settled: Settled, _looked: int
) -> Iterable[Keyed]:
    return compare(batch, deduping, settled)


def _known_files(_settled: Settled, deduping: Deduping) -> list[str]:
    return files_of(deduping.path(LIKENESS)) if deduping.again else []
