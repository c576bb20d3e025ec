"""The rows of painted clips, as the catalogue has them, and their vectors: column by column."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finecut.io.layout import embedding_folder
from finecut.io.records import ModelUsed
from finecut.transforms.catalogue.columns import SCHEMA, texts
from finecut.transforms.catalogue.fields import KEPT
from finecut.transforms.catalogue.fields import REJECTED as FALLEN
from finecut.transforms.embed.one_model import vector_key
from scaling.plan import RATE, REJECTED, SECONDS, Numbers, Plan, clip_ids, name_of, relative_of
from scaling.plan import texts_of as lines_of
from scaling.words import captions, title

ALGORITHM: Final = "cosmos-embed1-224p"
DIMENSION: Final = 256
MODEL: Final = ModelUsed("painted", "0", DIMENSION)
CAPTIONER: Final = "qwen_caption"
#: Videos are about so many things, and a clip is so much like what its video is about.
THEMES, LIKENESS = 2000, 0.4
#: Near-duplicates have a cosine of about 1 / (1 + this).
DIFFERENCE: Final = 0.02
WIDTH, HEIGHT = 64, 36
#: How large documents are, about.
DOCUMENT_BYTES: Final = 1400

Floats = NDArray[np.float32]


class Film(NamedTuple):
    """The file that all clips are."""

    path: str
    num_bytes: int
    sha256: str


class Painted(NamedTuple):
    """Some clips: their numbers, rows, and the vectors of those that are kept."""

    rows: Numbers
    table: pa.Table
    kept: NDArray[np.bool_]
    vectors: Floats


def painted(plan: Plan, chunks: Numbers, film: Film, part: int) -> Painted:
    """The clips of these chunks, which are the part of that number; without artefacts."""
    rows, dice = plan.rows_of(chunks), plan.dice(3, part)
    reasons = plan.reasons[rows]
    columns = _of_sources(plan, rows) | _of_files(plan, rows, film, reasons)
    columns |= _scores(reasons, dice) | _said(reasons, dice)
    given = [columns.get(name) for name in SCHEMA.names]
    arrays = [
        pa.nulls(len(rows), field.type) if column is None else column
        for field, column in zip(SCHEMA, given, strict=True)
    ]
    kept = reasons == 0
    return Painted(rows, pa.table(arrays, SCHEMA), kept, vectors(plan, rows[kept], dice))


# ── columns ──────────────────────────────────────────────────────────────────────────────────────


def _of_sources(plan: Plan, rows: Numbers) -> dict[str, Any]:
    videos, places = np.divmod(rows, plan.clips_of_video)
    different, which = np.unique(videos, return_inverse=True)
    at = pa.array(which)
    numbers = different.tolist()
    lengths = np.minimum(plan.rows - different * plan.clips_of_video, plan.clips_of_video) * SECONDS
    chunks, ofs = np.unique(rows // plan.clips_of_chunk, return_inverse=True)
    ids = plan.chunk_ids[chunks]
    return {
        "video": texts(map(relative_of, numbers)).take(at),
        "source_video": texts(map(name_of, numbers)).take(at),
        "source": texts(map(source_of, numbers)).take(at),
        "chunk": lines_of(ids.view(np.uint8).reshape(-1, 36)).take(pa.array(ofs)),
        "start": pa.array((places * SECONDS).astype(np.float64)),
        "end": pa.array(((places + 1) * SECONDS).astype(np.float64)),
        **_same(len(rows), width_source=WIDTH, height_source=HEIGHT, framerate_source=float(RATE)),
        **_same(len(rows), source_video_codec="h264", source_pixel_format="yuv420p"),
        "source_duration": pa.array(lengths.astype(np.float64)).take(at),
        "source_num_frames": pa.array(lengths * RATE).take(at),
    }


def metadata_of(video: int) -> dict[str, Any]:
    """What is known of a video besides."""
    licences = ("cc0", "cc-by", "none")
    return {
        "channel": f"channel-{video % 97}",
        "license": licences[video % len(licences)],
        "title": title(video),
    }


def source_of(video: int) -> str:
    return json.dumps(metadata_of(video), sort_keys=True, separators=(",", ":"))


def _of_files(plan: Plan, rows: Numbers, film: Film, reasons: NDArray[Any]) -> dict[str, Any]:
    lines = clip_ids(plan, rows)
    ids, kept = lines_of(lines), pa.array(reasons == 0)
    folders = pc.if_else(kept, "clips/", "filtered_clips/")
    within = pc.binary_join_element_wise(lines_of(lines[:, :2]), ids, "/")
    return {
        "id": ids,
        "verdict": pc.if_else(kept, KEPT, FALLEN),
        "reason": texts(REJECTED).take(pa.array([None, *range(len(REJECTED))]).take(reasons)),
        "valid": kept,
        **_same(len(rows), width=WIDTH, height=HEIGHT, framerate=float(RATE), video_codec="h264"),
        **_same(len(rows), num_frames=SECONDS * RATE),
        **_same(len(rows), num_bytes=film.num_bytes, sha256=film.sha256),
        "clip": pc.binary_join_element_wise(folders, within, ".mp4", ""),
        "meta": pc.binary_join_element_wise("metas/v0/", ids, ".json", ""),
        # As a document would have it, which are not always written.
        **_same(len(rows), meta_bytes=DOCUMENT_BYTES),
        "meta_digest": pc.replace_substring(ids, "-", ""),
    }


def _same(count: int, **values: Any) -> dict[str, pa.Array]:
    """Columns in which each row says the same."""
    return {name: pa.repeat(pa.scalar(said), count) for name, said in values.items()}


def _scores(reasons: NDArray[Any], dice: np.random.Generator) -> dict[str, Any]:
    """Some score of each kind; those that a rule rejects lie below its limit."""
    count = len(reasons)
    names = [field.name for field in SCHEMA if field.type == pa.float64()]
    first = names.index("motion_global_mean")
    found = {name: dice.random(count) for name in names[first:]}
    found["aesthetic_score"] *= 10
    found["motion_global_mean"] = 0.005 * np.where(
        reasons == 1, found["motion_global_mean"], 1 + 9 * found["motion_global_mean"]
    )
    found["sharpness"] = np.where(
        reasons == 2, 0.1 * found["sharpness"], 0.1 + 0.9 * found["sharpness"]
    )
    return {name: pa.array(values) for name, values in found.items()}


def _said(reasons: NDArray[Any], dice: np.random.Generator) -> dict[str, Any]:
    """Captions and models, of kept clips; and lists in which there is nothing."""
    count, kept = len(reasons), reasons == 0
    each = np.arange(count + 1, dtype=np.int32)
    ends = np.concatenate([[0], np.cumsum(kept)]).astype(np.int32)
    said = captions(int(kept.sum()), dice)
    window = SCHEMA.field("windows").type.value_type
    made = {"name": CAPTIONER, "text": said}
    windows = {
        "start_frame": pa.array(np.zeros(count, np.int64)),
        "end_frame": pa.array(np.full(count, SECONDS * RATE - 1)),
        "captions": pa.ListArray.from_arrays(
            pa.array(ends), _records(window.field("captions").type.value_type, len(said), made)
        ),
    }
    models = {
        "name": vector_key(ALGORITHM),
        "model": MODEL.name,
        "revision": MODEL.revision,
        "dimension": DIMENSION,
    }
    kind = SCHEMA.field("models").type
    positions = np.where(kept, ends[:-1], 0)
    empty = pa.array(np.zeros(count + 1, np.int32))
    return {
        "caption": pc.if_else(pa.array(kept), said.take(pa.array(positions)), None)
        if len(said)
        else pa.nulls(count, pa.string()),
        "windows": pa.ListArray.from_arrays(pa.array(each), _records(window, count, windows)),
        "models": pa.ListArray.from_arrays(
            pa.array(ends), _records(kind.value_type, len(said), models)
        ),
        **{
            name: pa.ListArray.from_arrays(
                empty, _records(SCHEMA.field(name).type.value_type, 0, {})
            )
            for name in ("errors", "artefacts", "other_scores", "labels")
        },
    }


def _records(kind: pa.StructType, count: int, said: dict[str, Any]) -> pa.StructArray:
    """So many records: of each field an array, one value for all, or nothing."""
    fields = [kind.field(place) for place in range(kind.num_fields)]
    arrays = []
    for field in fields:
        value = said.get(field.name)
        if not isinstance(value, pa.Array):
            value = pa.repeat(pa.scalar(value, field.type), count)
        arrays.append(value.cast(field.type))
    return pa.StructArray.from_arrays(arrays, fields=fields)


def with_pickles(table: pa.Table) -> pa.Table:
    """The same rows, where each vector also has a file of its own."""
    kept = pc.equal(table["verdict"], KEPT).combine_chunks()
    folder = embedding_folder(ALGORITHM)
    paths = pc.binary_join_element_wise(f"{folder}/", table["id"].filter(kept), ".pickle", "")
    ends = np.concatenate([[0], np.cumsum(kept.to_numpy(zero_copy_only=False))]).astype(np.int32)
    place = table.column_names.index("artefacts")
    field = table.schema.field(place)
    made = {"kind": folder, "path": paths.combine_chunks()}
    files = _records(field.type.value_type, len(paths), made)
    return table.set_column(place, field, pa.ListArray.from_arrays(pa.array(ends), files))


# ── vectors ──────────────────────────────────────────────────────────────────────────────────────


def vectors(plan: Plan, rows: Numbers, dice: np.random.Generator) -> Floats:
    """A vector of each row: near what its video is about; those of a group are nearly the same."""
    made = _of_unit_length(dice.standard_normal((len(rows), DIMENSION), np.float32))
    groups = plan.groups[rows]
    about = themes(plan)
    videos = rows // plan.clips_of_video
    alone = groups < 0
    made[alone] *= np.float32((1 - LIKENESS) ** 0.5)
    made[alone] += np.float32(LIKENESS**0.5) * about[_theme_of(videos[alone])]
    made[~alone] *= np.float32(DIFFERENCE**0.5)
    made[~alone] += centres(plan, groups[~alone])
    return _of_unit_length(made)


def themes(plan: Plan) -> Floats:
    return _of_unit_length(plan.dice(4).standard_normal((THEMES, DIMENSION), np.float32))


def centres(plan: Plan, groups: Iterable[int]) -> Floats:
    """What the members of each of these groups are near to, drawn with the group's own dice."""
    different, which = np.unique(np.asarray(groups), return_inverse=True)
    found = np.empty((len(different), DIMENSION), np.float32)
    for place, group in enumerate(different.tolist()):
        found[place] = plan.dice(5, group).standard_normal(DIMENSION, np.float32)
    made = _of_unit_length(found) * np.float32((1 - LIKENESS) ** 0.5)
    made += np.float32(LIKENESS**0.5) * themes(plan)[_theme_of(different)]
    return _of_unit_length(made)[which]


def _theme_of(numbers: Numbers) -> Numbers:
    """Some themes have far more than others: the n-th is about n times rarer than the first."""
    drawn = (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)) / 2**24
    return np.asarray(THEMES**drawn, np.int64) - 1


def _of_unit_length(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
