"""Totals of clips, counted slice by slice and added up: small, however many clips there are.

    Told, Told, …  ─▶ Totals, Totals, … ─▶ Totals ─▶ which sources a page shows, and in which parts

Adding up gives the same in any order, so it does not matter which worker counted what.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from os.path import commonprefix
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finecut.io.layout import chunk_id
from finecut.transforms.catalogue.fields import KEPT
from finecut.transforms.registry import SCORES
from finecut.transforms.report.columns import REJECTED, short
from finecut.transforms.report.reading import Told
from finecut.transforms.report.sources import MOST_CHOICES, told_in

#: Reasons, scores and fields of sources that are told apart; those beyond are counted together, or
#: left out.
MOST_REASONS: Final = 1_000
MOST_SCORES: Final = 64
MOST_FIELDS: Final = 200
#: Letters in the name of a score; longer ones are left out.
LONGEST_SCORE: Final = 80
#: Sources by which clips are shared out.
SAMPLE: Final = 4096
MOST_BAD: Final = 1_000

_ORDER: Final = {name: place for place, name in enumerate(SCORES)}

Booleans = NDArray[np.bool_]


@dataclass
class Totals:
    """What there is of a dataset, in numbers."""

    clips: int = 0
    #: Sources, each counted with its first chunk.
    sources: int = 0
    #: Clips and milliseconds by reason; kept ones have none.
    reasons: dict[str, list[int]] = field(default_factory=dict)
    bytes: int = 0
    #: How many have a caption, and how many exist although a step failed in them.
    captioned: int = 0
    marked: int = 0
    #: Names of scores.
    scores: list[str] = field(default_factory=list)
    #: What is known of sources: how many clips each value has, unless they are too many.
    fields: dict[str, dict[str, int] | None] = field(default_factory=dict)
    #: What the names of all sources begin with.
    folder: str | None = None
    #: The sources with the smallest digests, and how many clips each has.
    sample: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    bad: list[str] = field(default_factory=list)

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            clips=self.clips + other.clips,
            sources=self.sources + other.sources,
            reasons=_added(self.reasons, other.reasons),
            bytes=self.bytes + other.bytes,
            captioned=self.captioned + other.captioned,
            marked=self.marked + other.marked,
            scores=sorted({*self.scores, *other.scores}, key=_place)[:MOST_SCORES],
            fields=_fields(self.fields, other.fields),
            folder=_common(self.folder, other.folder),
            sample=_least(Counter(self.sample) + Counter(other.sample)),
            unreadable=self.unreadable + other.unreadable,
            bad=sorted(self.bad + other.bad)[:MOST_BAD],
        )


def totals_of(told: Told) -> Totals:
    """What a slice has."""
    clips = told.clips
    names, videos = clips.column("source_video"), clips.column("video")
    counted = videos.value_counts().to_pylist()
    return Totals(
        clips=clips.num_rows,
        sources=sum(_first_chunks(clips)),
        reasons=_reasons(clips),
        bytes=int(pc.sum(clips.column("num_bytes")).as_py() or 0),
        captioned=int(np.count_nonzero(has_caption(clips))),
        marked=int(np.count_nonzero(is_marked(clips))),
        scores=sorted(_scores(clips), key=_place)[:MOST_SCORES],
        fields=_fields_of(clips.column("source")),
        folder=common_folder(names.unique().to_pylist()) if clips.num_rows else None,
        sample=_least({one["values"]: one["counts"] for one in counted}),
        unreadable=told.unreadable,
        bad=sorted(told.bad)[:MOST_BAD],
    )


def digest_of(video: str) -> int:
    """A number of eight bytes, by which sources are chosen evenly."""
    return int.from_bytes(blake2b(video.encode(), digest_size=8).digest(), "big")


# ── what a column says ───────────────────────────────────────────────────────────────────────────


def reason_of(clips: pa.Table) -> pa.ChunkedArray:
    """What each clip was rejected by; an empty text for a clip that is kept."""
    kept = pc.equal(clips.column("verdict"), KEPT)
    reason = pc.coalesce(clips.column("reason"), pa.scalar(""))
    named = pc.if_else(pc.equal(reason, ""), REJECTED, reason)
    return pc.if_else(kept, "", named)


def span_of(clips: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Begin and end of each; a span that makes no sense is empty."""
    start = np.maximum(0.0, numbers(clips, "start"))
    return start, np.maximum(start, numbers(clips, "end"))


def numbers(clips: pa.Table, name: str, missing: float = 0.0) -> NDArray[np.float64]:
    column = clips.column(name).cast(pa.float64(), safe=False)
    found = pc.fill_null(column, missing).to_numpy()
    return np.asarray(found, np.float64)


def lengths(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """How many there are in each list."""
    return np.asarray(pc.fill_null(pc.list_value_length(column), 0).to_numpy(), np.int64)


def is_marked(clips: pa.Table) -> Booleans:
    """As the final message of a run counts them: clips that exist, kept or rejected."""
    kept = pc.equal(clips.column("verdict"), KEPT).to_numpy()
    there = kept | pc.is_valid(clips.column("clip")).to_numpy()
    invalid = ~pc.fill_null(clips.column("valid"), False).to_numpy()
    return np.asarray(there & ((lengths(clips.column("errors")) > 0) | (kept & invalid)))


def has_caption(clips: pa.Table) -> Booleans:
    found = np.zeros(clips.num_rows, np.bool_)
    windows = clips.column("windows").combine_chunks()
    parents = np.asarray(pc.list_parent_indices(windows))
    captions = pc.struct_field(pc.list_flatten(windows), "captions")
    inner = np.asarray(pc.list_parent_indices(captions))
    texts = pc.struct_field(pc.list_flatten(captions), "text")
    said = np.asarray(pc.greater(pc.fill_null(pc.binary_length(texts), 0), 0))
    found[parents[inner[said]]] = True
    return found


def _scores(clips: pa.Table) -> Iterator[str]:
    for name in SCORES:
        column = clips.column(name)
        if pa.types.is_floating(column.type) and column.null_count < len(column):
            yield name
    others = pc.list_flatten(clips.column("other_scores"))
    named = pc.struct_field(others.combine_chunks(), "name").unique().to_pylist()
    yield from (name for name in named if len(name) <= LONGEST_SCORE)


def _reasons(clips: pa.Table) -> dict[str, list[int]]:
    coded = reason_of(clips).combine_chunks().dictionary_encode()
    codes, size = np.asarray(coded.indices), len(coded.dictionary)
    start, end = span_of(clips)
    # Whole numbers: their sums are the same in any order.
    lasting = np.rint((end - start) * 1000)
    counts, sums = np.bincount(codes, minlength=size), np.bincount(codes, lasting, size)
    found: dict[str, list[int]] = {}
    for name, count, total in zip(coded.dictionary.to_pylist(), counts, sums, strict=True):
        found = _added(found, {short(name): [int(count), int(total)]})
    return found


def _first_chunks(clips: pa.Table) -> Iterator[bool]:
    pairs = clips.select(["source_video", "chunk"]).group_by(["source_video", "chunk"])
    for pair in pairs.aggregate([]).to_pylist():
        yield pair["chunk"] == chunk_id(pair["source_video"], 0)


def _fields_of(sources: pa.ChunkedArray) -> dict[str, dict[str, int] | None]:
    counts: dict[str, Counter[str]] = {}
    for one in sources.value_counts().to_pylist():
        for name, text in told_in(one["values"]):
            counts.setdefault(name, Counter())[text] += one["counts"]
    return _fields({}, counts)


# ── adding up ────────────────────────────────────────────────────────────────────────────────────


def _place(score: str) -> tuple[int, str]:
    """Built-in scores stand first, in their order."""
    return _ORDER.get(score, len(_ORDER)), score


def _added(one: Mapping[str, list[int]], other: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """The sums of those whose names come first, which are the same in whatever order."""
    names = sorted({*one, *other})[:MOST_REASONS]
    zero = [0, 0]
    return {
        name: [a + b for a, b in zip(one.get(name, zero), other.get(name, zero), strict=True)]
        for name in names
    }


def _fields(
    one: Mapping[str, Mapping[str, int] | None], other: Mapping[str, Mapping[str, int] | None]
) -> dict[str, dict[str, int] | None]:
    return {
        name: _values(one.get(name, {}), other.get(name, {}))
        for name in sorted({*one, *other})[:MOST_FIELDS]
    }


def _values(
    one: Mapping[str, int] | None, other: Mapping[str, int] | None
) -> dict[str, int] | None:
    if one is None or other is None or len({*one, *other}) > MOST_CHOICES:
        return None
    return dict(Counter(one) + Counter(other))


def _least(counts: Mapping[str, int]) -> dict[str, int]:
    if len(counts) <= SAMPLE:
        return dict(counts)
    return {name: counts[name] for name in sorted(counts, key=digest_of)[:SAMPLE]}


def _common(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return one if other is None else other
    return common_folder([one, other])


def common_folder(names: list[str]) -> str:
    """The folders that all of these lie in, with the slash at the end.

    >>> common_folder(["gs://b/films/a.mp4", "gs://b/films/x/b.mp4"])
    'gs://b/films/'
    """
    same = commonprefix(names)  # noqa: RUF071 (by characters)
    return same[: same.rfind("/") + 1]


def to_json(totals: Totals) -> dict[str, Any]:
    return dict(vars(totals))


def from_json(said: Mapping[str, Any]) -> Totals:
    return Totals(**said)
