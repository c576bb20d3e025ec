"""The books of shards: what became of each clip that a dataset lists, counted on workers.

receipts ──each shard──▶ Sums ──added up──▶ Books
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import fsum
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.held import SOURCE
from finecut.io.records import Failure
from finecut.io.tables.shards import VECTOR, ShardFolder, read_receipt, rows_of
from finecut.transforms.shard.lost import Lost, first_of
from finecut.transforms.shard.source_fields import SourceFields, merged_values

#: Failures that are shown; all of them are in the list.
SHOWN_FAILURES: Final = 5
#: Receipts that are read at the same time.
READERS: Final = 16
#: Times are added up in whole numbers, so that it does not matter which comes first.
NANO: Final = 10**9


@dataclass(frozen=True)
class Receipt:
    """What a shard's receipt says of it; no digest where there is none."""

    name: str
    digest: str | None
    num_bytes: int = 0


@dataclass(frozen=True)
class Sums:
    """What is in some shards. Sums do not depend on what is added first."""

    written: int = 0
    shards: int = 0
    num_bytes: int = 0
    nanoseconds: int = 0
    texts: int = 0
    vectors: int = 0
    dimensions: tuple[int, ...] = ()
    #: By bin: its clips, shards and bytes.
    bins: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    #: Of what is known of sources: for how many clips, of which kinds, and how many have which
    #: values.
    source_clips: int = 0
    kinds: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __add__(self, other: "Sums") -> "Sums":
        counts = {
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
            if f.type is int
        }
        return Sums(
            **counts,
            dimensions=tuple(sorted({*self.dimensions, *other.dimensions})),
            bins={
                bin: dict(Counter(self.bins.get(bin, {})) + Counter(other.bins.get(bin, {})))
                for bin in sorted({*self.bins, *other.bins})
            },
            kinds=SourceFields.joined(self.kinds, other.kinds),
            values=merged_values(self.values, other.values),
        )


def sums_of(folder: ShardFolder, name: str) -> Sums:
    """What is in a shard, as its receipt says."""
    receipt = read_receipt(folder, name)
    wanted = ["start", "end", SOURCE, "caption", VECTOR]
    rows, size = rows_of(folder, name, wanted), receipt[1] if receipt else 0
    sources = SourceFields()
    for metadata, clips in _sources_in(rows):
        sources.add_counted(metadata, clips)
    times = pc.subtract(rows["end"], rows["start"]).drop_null().to_pylist()
    lengths = pc.list_value_length(rows[VECTOR]).drop_null()
    return Sums(
        written=len(rows),
        shards=1,
        num_bytes=size,
        nanoseconds=round(fsum(times) * NANO),
        texts=len(rows) - rows["caption"].null_count,
        vectors=len(lengths),
        dimensions=tuple(sorted(np.unique(lengths.to_numpy()).tolist())),
        bins={name.rpartition("/")[0]: {"clips": len(rows), "shards": 1, "bytes": size}},
        source_clips=sources.clips,
        kinds=sources.known,
        values=sources.counts,
    )


def _sources_in(rows: pa.Table) -> Iterable[tuple[Mapping[str, Any], int]]:
    """What is known of sources, each with the number of clips that it is known of."""
    if SOURCE not in rows.column_names:
        return [({}, len(rows))]
    counted = pc.value_counts(rows[SOURCE].combine_chunks()).to_pylist()
    return [(json.loads(one["values"]) if one["values"] else {}, one["counts"]) for one in counted]


@dataclass
class Books:
    """What became of the clips that the dataset lists."""

    listed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    #: The files of what failed.
    lost: list[Lost] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)
    #: Shards of this plan that lay there already.
    kept: int = 0
    scores: set[str] = field(default_factory=set)
    captions: set[str] = field(default_factory=set)
    #: Those of the scores that are labels.
    labels: set[str] = field(default_factory=set)
    #: Ids on the lists that were given, and clips of the dataset that have one of them.
    drops: int = 0
    on_lists: int = 0
    #: Duplicates that went for a clip that is left out itself.
    bereft: int = 0
    #: Clips in the shards that dedup listed, and nobody left out.
    not_left_out: int = 0
    #: How readers name the shards, if their numbers do not say it.
    example: str = ""

    @property
    def written(self) -> int:
        return self.sums.written

    @property
    def shards(self) -> int:
        return self.sums.shards

    @property
    def num_bytes(self) -> int:
        return self.sums.num_bytes

    @property
    def seconds(self) -> float:
        return self.sums.nanoseconds / NANO

    @property
    def texts(self) -> int:
        return self.sums.texts

    @property
    def vectors(self) -> int:
        return self.sums.vectors

    @property
    def bins(self) -> Mapping[str, Mapping[str, int]]:
        return self.sums.bins

    @property
    def sources(self) -> SourceFields:
        """What is known of the sources of the clips that are written."""
        return SourceFields.of(self.sums.kinds, self.sums.values, self.sums.source_clips)

    @property
    def failed(self) -> int:
        return sum(one.clips for one in self.lost)

    @property
    def num_failures(self) -> int:
        return sum(one.failures for one in self.lost)

    @property
    def failures(self) -> dict[str, Failure]:
        """The first ones by the clip, or by what was to be read where it is not known which clips
        that cost.
        """
        return {" ".join(one.lost_shots) or one.source.name: one for one in self.first_failures}

    @property
    def first_failures(self) -> tuple[Failure, ...]:
        return first_of(failure for one in self.lost for failure in one.first)

    @property
    def sentence(self) -> str:
        left_out = sum(self.left_out.values())
        return (
            f"{self.listed} listed = {self.written} written + {left_out} left out + "
            f"{self.failed} failed"
        )

    @property
    def reasons(self) -> str:
        """Why clips were left out, the most frequent reason first."""
        return ", ".join(
            f"{count} {reason}"
            for reason, count in sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        )

    @property
    def why_failed(self) -> str:
        return "; ".join(self.failure_lines) or "No reason was given"

    @property
    def failure_lines(self) -> list[str]:
        lines = [
            f"{' '.join(one.lost_shots[:1]) or one.source.name}: {one.message}"
            for one in self.first_failures[:SHOWN_FAILURES]
        ]
        more = self.num_failures - len(lines)
        return [*lines, f"… and {more} more"] if more else lines

    def imbalance(self) -> str | None:
        """What is wrong with the sums, if anything is."""
        left_out = sum(self.left_out.values())
        became = self.written + left_out + self.failed
        if became == self.listed:
            return None
        return (
            f"{self.listed} clips were listed, but {self.written} written + {left_out} left out + "
            f"{self.failed} failed = {became}"
        )
