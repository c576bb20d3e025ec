"""What the plan has to know of clips, as the catalogue tells it: no document is read.

A row says how large the clip's document is, and what its bytes are, by their digest. Of rows that
do not say all that there is to know, the document is asked (:func:`~listing.look_at`).
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.held import source_held
from finecut.io.records import Scores
from finecut.transforms.catalogue.fields import KEPT
from finecut.transforms.filter.rules import Rule
from finecut.transforms.registry import SCORES

#: Columns of which each row is looked at.
LOOKED_AT: Final = (
    *("id", "chunk", "video", "source_video", "start", "end", "valid", "width", "height"),
    *("num_bytes", "sha256", "clip", "meta_bytes", "meta_digest"),
)
#: Those that hold several values by name.
_LISTS: Final = ("windows", "other_scores", "labels")


def columns_for(rules: Iterable[Rule]) -> list[str]:
    """The columns that are read."""
    of_source = ["source"] if any(rule.of_source for rule in rules) else []
    return ["verdict", *LOOKED_AT, *of_source, *_LISTS, *SCORES]


@dataclass(frozen=True)
class RowsOfClips:
    """The kept clips of a table of the catalogue."""

    table: pa.Table
    values: Mapping[str, Sequence[Any]]
    #: Of what rules speak of: the values of all clips.
    known: Mapping[str, Sequence[Any]]
    #: By the places of clips: what captioners said, by their names.
    captions: Mapping[int, Mapping[str, str]]

    def known_of(self, place: int) -> Scores:
        return {
            name: value
            for name, values in self.known.items()
            if (value := values[place]) is not None
        }

    def names_of_scores(self, places: Sequence[int]) -> tuple[set[str], set[str]]:
        """The names of all scores that these clips have, and of those that are labels."""
        rows = self.table.take(pa.array(places, pa.int64()))
        scores = {name for name in SCORES if rows[name].null_count < len(rows)}
        labels = {name for name in scores if pa.types.is_string(rows[name].type)}
        labels |= _names_in(rows["labels"])
        return scores | labels | _names_in(rows["other_scores"]), labels


def kept_clips(table: pa.Table, rules: Iterable[Rule]) -> RowsOfClips:
    """The kept ones of these rows, chunk by chunk."""
    kept = table.filter(pc.equal(table["verdict"], KEPT)).combine_chunks()
    return RowsOfClips(
        kept,
        {name: kept[name].to_pylist() for name in LOOKED_AT},
        {rule.score: _values_of(kept, rule) for rule in rules},
        captions_in(kept["windows"]),
    )


def _values_of(kept: pa.Table, rule: Rule) -> Sequence[Any]:
    if rule.of_source:
        return [_source_held(said).get(rule.score) for said in kept["source"].to_pylist()]
    if rule.score in SCORES:
        return kept[rule.score].to_pylist()
    found: list[Any] = [None] * len(kept)
    for column in ("other_scores", "labels"):
        for place, name, value in _records_in(kept[column], "name", "value"):
            if name == rule.score:
                found[place] = value
    return found


@lru_cache(maxsize=1024)
def _source_held(said: str | None) -> Mapping[str, Any]:
    return source_held(json.loads(said)) if said else {}


def captions_in(windows: pa.ChunkedArray) -> dict[int, dict[str, str]]:
    """The texts of each captioner, windows joined by a blank, by the place of the clip."""
    flat = windows.combine_chunks()
    clips = pc.list_parent_indices(flat).to_pylist()
    said: dict[int, dict[str, list[str]]] = defaultdict(dict)
    captions = pc.struct_field(pc.list_flatten(flat), "captions")
    for window, name, text in _records_in(captions, "name", "text"):
        if text and name:
            said[clips[window]].setdefault(name, []).append(text)
    return {
        clip: {name: " ".join(texts) for name, texts in by_name.items()}
        for clip, by_name in said.items()
    }


def _records_in(lists: pa.Array | pa.ChunkedArray, *names: str) -> Iterator[tuple[Any, ...]]:
    """These fields of all records in lists, each with the place of its list."""
    flat = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    records = pc.list_flatten(flat)
    columns = [pc.struct_field(records, name).to_pylist() for name in names]
    return zip(pc.list_parent_indices(flat).to_pylist(), *columns, strict=True)


def _names_in(lists: pa.ChunkedArray) -> set[str]:
    records = pc.list_flatten(lists.combine_chunks())
    return {*filter(None, pc.struct_field(records, "name").unique().to_pylist())}
