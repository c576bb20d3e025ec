"""Clips as the catalogue tells of them: enough of their documents to be judged anew, and no more.

What a document says of a clip's files, its frames and its models stays there: it is read when it is
to be written anew.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from finecut.io.dataset.output import Entry
from finecut.io.held import SCORES as HELD
from finecut.io.held import SOURCE
from finecut.io.layout import Layout
from finecut.transforms.catalogue.fields import FAILED, KEPT
from finecut.transforms.registry import SCORES

COLUMNS: Final = (
    *("id", "video", "chunk", "start", "end", "verdict", "reason", "num_bytes", "source"),
    *("windows", "errors", "models", "other_scores", "labels", *SCORES),
)
_PLAIN: Final = ("id", "start", "end", "verdict", "reason", "num_bytes", "source")
#: In place of the captions of a clip.
SAID: Final = {"_caption": "said"}


class ChunkOfRows(NamedTuple):
    """The clips of a chunk, in the order of the video."""

    video: str
    chunk: str
    entries: list[Entry]


def chunks_in(table: pa.Table, layout: Layout) -> Iterator[ChunkOfRows]:
    """The chunks of these rows."""
    rows = table.filter(pc.not_equal(table["verdict"], FAILED))
    keys = [(name, "ascending") for name in ("chunk", "start", "end", "id")]
    rows = rows.sort_by(keys).combine_chunks()
    clips = _Clips(rows, layout)
    chunks, videos = rows["chunk"].to_pylist(), rows["video"].to_pylist()
    for chunk, places in groupby(range(len(rows)), chunks.__getitem__):
        entries = [clips.entry(place, chunk) for place in places]
        yield ChunkOfRows(videos[chunks.index(chunk)], chunk, entries)


class _Clips:
    """Rows, column by column."""

    def __init__(self, rows: pa.Table, layout: Layout) -> None:
        self._layout = layout
        self._values = {name: rows[name].to_pylist() for name in _PLAIN}
        self._scores = {
            name: rows[name].to_pylist() for name in SCORES if rows[name].null_count < len(rows)
        }
        self._others = [_by_row(rows[name], "name", "value") for name in ("other_scores", "labels")]
        self._errors = _by_row(rows["errors"], "step", "step")
        self._models = _by_row(rows["models"], "name", "name")
        self._windows = pc.list_value_length(rows["windows"]).fill_null(0).to_pylist()
        self._captions = _with_captions(rows["windows"])

    def entry(self, place: int, chunk: str) -> Entry:
        values = {name: column[place] for name, column in self._values.items()}
        kept, id = values["verdict"] == KEPT, str(values["id"])
        path = self._layout.clip(id, kept)
        scores = {name: column[place] for name, column in self._scores.items()}
        for others in self._others:
            scores |= others.get(place, {})
        document: dict[str, Any] = {
            "duration_span": [values["start"], values["end"]],
            "clip_location": path,
            HELD: {name: value for name, value in scores.items() if value is not None},
        }
        if values["num_bytes"] is not None:
            document["num_bytes"] = values["num_bytes"]
        if values["source"]:
            document[SOURCE] = _source(values["source"])
        if not kept:
            document["filtered_by"] = values["reason"]
        if errors := self._errors.get(place):
            document["errors"] = [*errors]
        if models := self._models.get(place):
            document["models"] = dict(models)
        window = {"start_frame": 0, "end_frame": 0}
        said = window | SAID if place in self._captions else window
        document["windows"] = [said, *[window] * (self._windows[place] - 1)][: self._windows[place]]
        document["valid"] = kept and "num_bytes" in document and not errors
        return Entry(id, kept, path, chunk=chunk, document=document)


@lru_cache(maxsize=1024)
def _source(said: str) -> Any:
    return json.loads(said)


def _by_row(lists: pa.ChunkedArray, key: str, value: str) -> dict[int, dict[str, Any]]:
    """The records of a column of lists, by the places of their rows."""
    flat = lists.combine_chunks()
    records = pc.list_flatten(flat)
    columns: Sequence[list[Any]] = [
        pc.list_parent_indices(flat).to_pylist(),
        *(pc.struct_field(records, name).to_pylist() for name in (key, value)),
    ]
    found: dict[int, dict[str, Any]] = {}
    for place, name, said in zip(*columns, strict=True):
        found.setdefault(place, {})[name] = said
    return found


def _with_captions(windows: pa.ChunkedArray) -> frozenset[int]:
    """The rows of which any window has a text."""
    flat = windows.combine_chunks()
    clips = pc.list_parent_indices(flat).to_numpy()
    captions = pc.struct_field(pc.list_flatten(flat), "captions")
    texts = pc.struct_field(pc.list_flatten(captions), "text")
    said = pc.greater(pc.utf8_length(texts).fill_null(0), 0).to_numpy(zero_copy_only=False)
    held = clips[pc.list_parent_indices(captions).to_numpy()[said]]
    return frozenset(np.unique(held).tolist())
