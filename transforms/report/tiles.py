"""Tiles: the clips of a part, as the scripts that a page loads when it needs them.

    clips    numbers of up to 8,192 clips, as columns in base64
    score..  one score of up to 65,536 clips
    texts    what was said of some thousand clips, and where their pictures are
    sources  what became of up to 2,048 source videos

Rows are counted from the beginning of the part, which does not know how many there are before it:
the page adds that.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finecut.io.layout import PREVIEWS
from finecut.transforms.catalogue.columns import texts as texts_array
from finecut.transforms.catalogue.rows import CAPTION
from finecut.transforms.registry import SCORES
from finecut.transforms.report.columns import (
    MISSING,
    NUMBERS,
    fitted,
    ids_of,
    packed,
    short,
)
from finecut.transforms.report.counting import (
    is_marked,
    lengths,
    numbers,
    reason_of,
    span_of,
)
from finecut.transforms.report.pictures import Sprite, part_of

#: Rows of one tile.
ROWS_OF_NUMBERS: Final = 8192
ROWS_OF_SCORES: Final = 65_536
ROWS_OF_TEXTS: Final = 1024

Tile = tuple[str, int, dict[str, Any]]


@dataclass(frozen=True)
class Words:
    """The words that numbers stand for."""

    #: What rejected clips were rejected by; the first stands for none, the last for all others.
    reasons: tuple[str, ...]
    scores: tuple[str, ...]


def tiles_of_clips(
    clips: pa.Table, source: NDArray[np.int64], words: Words
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Tiles of numbers, each with its first row; ``source`` is which source each clip is of."""
    columns = {**_numbers(clips, words), "source": source}
    ids = ids_of(clips.column("id"))
    for start in range(0, clips.num_rows, ROWS_OF_NUMBERS):
        part = slice(start, start + ROWS_OF_NUMBERS)
        tile: dict[str, Any] = {"count": len(ids[part]), "id": packed(ids[part])}
        for name, kind in NUMBERS.items():
            tile[name] = packed(fitted(columns[name][part], kind))
        yield start, tile


def tiles_of_scores(clips: pa.Table, words: Words) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Tiles of one score each, with their kinds and first rows: most pages need few of them."""
    for place, name in enumerate(words.scores):
        values = fitted(_score(clips, name), "f4")
        for start in range(0, clips.num_rows, ROWS_OF_SCORES):
            tile = {"values": packed(values[start : start + ROWS_OF_SCORES])}
            yield kind_of_score(place), start, tile


def kind_of_score(place: int) -> str:
    """What tiles of a score are called, by its place among all; the page knows this, too.

    >>> kind_of_score(0), kind_of_score(27)
    ('scoreaa', 'scorebb')
    """
    return "score" + "".join(chr(ord("a") + digit) for digit in divmod(place, 26))


def tiles_of_texts(
    clips: pa.Table, sprites: Sequence[Sprite]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Tiles of texts, each with its first row: they end where a sprite ends, so that a clip that
    comes or goes changes few of them.
    """
    marked = is_marked(clips)
    start, held = 0, list[Sprite]()
    for place, sprite in enumerate(sprites):
        held.append(sprite)
        count = sum(each.clips for each in held)
        if count >= ROWS_OF_TEXTS or place == len(sprites) - 1:
            part = clips.slice(start, count)
            tile = _texts(part, marked[start : start + count])
            tile["pictures"] = [[each.name, each.clips] for each in held]
            yield start, tile
            start, held = start + count, []


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────


def _numbers(clips: pa.Table, words: Words) -> dict[str, NDArray[Any]]:
    start, end = span_of(clips)
    first, last = _previews(clips)
    return {
        "start": start,
        "end": end,
        "duration": end - start,
        "reason": _reasons(clips, words.reasons),
        "width": numbers(clips, "width"),
        "height": numbers(clips, "height"),
        "rate": numbers(clips, "framerate"),
        "frames": numbers(clips, "num_frames"),
        "bytes": numbers(clips, "num_bytes"),
        "first": first,
        "last": last,
        "marked": is_marked(clips),
    }


def _reasons(clips: pa.Table, reasons: Sequence[str]) -> NDArray[np.int64]:
    coded = reason_of(clips).combine_chunks().dictionary_encode()
    places = {reason: place for place, reason in enumerate(reasons)}
    last = len(reasons) - 1
    known = [places.get(short(name), last) for name in coded.dictionary.to_pylist()]
    return np.asarray(known, np.int64)[np.asarray(coded.indices)]


def _previews(clips: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The frames of each clip's first window, by which its preview is named; -1 without one."""
    made, windows = clips.column("artefacts").combine_chunks(), clips.column("windows")
    kinds = pc.struct_field(pc.list_flatten(made), "kind")
    seen = np.zeros(clips.num_rows, np.bool_)
    parents = np.asarray(pc.list_parent_indices(made))
    seen[parents[np.asarray(pc.fill_null(pc.equal(kinds, PREVIEWS.folder), False))]] = True
    seen &= lengths(windows) > 0
    found = []
    flat = windows.combine_chunks()
    # The first of each list: where the one before it ends.
    firsts = (np.cumsum(lengths(windows)) - lengths(windows))[seen]
    for name in ("start_frame", "end_frame"):
        values = np.asarray(pc.fill_null(pc.struct_field(pc.list_flatten(flat), name), -1))
        column = np.full(clips.num_rows, -1, np.int64)
        column[seen] = values[firsts]
        found.append(column)
    return found[0], found[1]


def _score(clips: pa.Table, name: str) -> NDArray[np.float64]:
    if name in SCORES:
        return numbers(clips, name, MISSING)
    others = clips.column("other_scores").combine_chunks()
    flat = pc.list_flatten(others)
    wanted = np.asarray(pc.is_in(pc.struct_field(flat, "name"), value_set=texts_array([name])))
    column = np.full(clips.num_rows, MISSING)
    values = np.asarray(pc.fill_null(pc.struct_field(flat, "value"), MISSING))
    column[np.asarray(pc.list_parent_indices(others))[wanted]] = values[wanted]
    return column


# ── texts ────────────────────────────────────────────────────────────────────────────────────────


def _texts(clips: pa.Table, marked: NDArray[np.bool_]) -> dict[str, list[Any]]:
    def column(name: str) -> list[Any]:
        found: list[Any] = clips.column(name).to_pylist()
        return found

    made = clips.select(
        ["transcode", "transcode_reason", "frames_encoded", "copied_start", "copied_end"]
    )
    rare: dict[str, list[Any]] = {
        "errors": [
            _errors(errors or (), bool(is_so))
            for errors, is_so in zip(column("errors"), marked, strict=True)
        ],
        "codec": [short(codec) for codec in column("video_codec")],
        "models": [[*map(_model, models or ())] for models in column("models")],
        "made": [_made(row) for row in made.to_pylist()],
        "labels": [
            [[short(one["name"], 200), short(one["value"])] for one in labels or ()]
            for labels in column("labels")
        ],
    }
    captions = [_captions(windows or ()) for windows in column("windows")]
    pooled = {name: _pooled(values) for name, values in rare.items()}
    return {"captions": captions, **pooled, **_lying(clips)}


def _lying(clips: pa.Table) -> dict[str, list[Any]]:
    """Of clips in archives: in which one each lies, and from where to where it and its preview do.
    Nothing of files, whose paths the page knows.
    """
    offsets = clips.column("clip_offset").to_pylist()
    if all(offset is None for offset in offsets):
        return {}
    sizes, made = clips.column("num_bytes").to_pylist(), clips.column("artefacts").to_pylist()
    parts = [
        [offset, size, *(part_of(PREVIEWS.folder, artefacts) or ())]
        for offset, size, artefacts in zip(offsets, sizes, made, strict=True)
    ]
    return {"archive": _pooled(clips.column("clip").to_pylist()), "parts": parts}


def _pooled(values: Sequence[Any]) -> list[list[Any]]:
    """Each value once, and which one each clip has: most clips have the same.

    >>> _pooled(["a", ["b"], "a"])
    [['a', ['b']], [0, 1, 0]]
    """
    places: dict[str, int] = {}
    which = [places.setdefault(json.dumps(value), len(places)) for value in values]
    return [[json.loads(value) for value in places], which]


def _captions(windows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The texts of each captioner, windows joined by a blank."""
    texts: dict[str, list[str]] = {}
    for window in windows:
        for caption in window["captions"] or ():
            if caption["text"]:
                name = caption["name"].removesuffix(CAPTION)
                texts.setdefault(name, []).append(caption["text"])
    return [[short(name, 200), short(" ".join(parts))] for name, parts in texts.items()]


def _errors(errors: Sequence[Mapping[str, Any]], marked: bool) -> list[list[str]]:
    found = [[short(error["step"], 200), short(error["message"])] for error in errors]
    if marked and not found:
        return [["valid", "its document says that the clip is invalid, but not why"]]
    return found


def _model(used: Mapping[str, Any]) -> list[str]:
    revision = f"@{used['revision']}" if used["revision"] else ""
    return [short(used["name"], 200), short(f"{used['model']}{revision}")]


def _made(row: Mapping[str, Any]) -> list[Any]:
    """How its pictures came of the film: how, why, how many were encoded, and from where to where.

    Nothing where nobody says so: then all of it was encoded.
    """
    if row["transcode"] is None:
        return []
    span = [row["copied_start"], row["copied_end"]]
    return [
        short(row["transcode"], 200),
        short(row["transcode_reason"]),
        row["frames_encoded"] or 0,
        None if None in span else span,
    ]
