"""The columns of the catalogue: what a row says of a clip, in a form that every reader of Parquet
understands.

The columns are the same in all files, so that they can be read together: those below, and one for
each score that a built-in step gives, under the name that rules use. Scores of custom steps are in
``other_scores`` and ``labels``. Lists and structs are used, and no maps, which some readers do not
know.
"""

import io
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from finecut.io.errors import UserError
from finecut.transforms.registry import SCORES

#: Counts up when a column is removed or means something else. Columns may be added.
SCHEMA_VERSION: Final = 1
#: Where a file says which version it is of.
VERSION_KEY: Final = b"finecut.catalogue"
#: Rows that readers get or leave together.
ROWS_OF_GROUP: Final = 64 * 1024

KEPT, REJECTED, FAILED = "kept", "rejected", "failed"

Row = dict[str, Any]

_TEXT, _NUMBER, _WHOLE = pa.string(), pa.float64(), pa.int64()


class CatalogueTooNew(UserError, ValueError):
    """A catalogue was written by a later version of finecut."""


class Column(NamedTuple):
    """A column, and what it means."""

    name: str
    kind: pa.DataType
    meaning: str


def _records(**fields: pa.DataType) -> pa.DataType:
    return pa.list_(pa.struct([*fields.items()]))


CAPTIONS: Final = _records(
    name=_TEXT, text=_TEXT, status=_TEXT, prompt_tokens=_WHOLE, output_tokens=_WHOLE
)
FIXED: Final = (
    Column("id", _TEXT, "the clip's id"),
    Column("video", _TEXT, "path of the source video below the input"),
    Column("chunk", _TEXT, "the chunk that the clip was written with; none for a failed clip"),
    Column("source_video", _TEXT, "name of the source video, as documents have it"),
    Column("source", _TEXT, "metadata of the source video, as JSON"),
    Column("start", _NUMBER, "beginning of the planned span, in seconds of the source video"),
    Column("end", _NUMBER, "end of the planned span"),
    Column("verdict", _TEXT, f"{KEPT}, {REJECTED} or {FAILED}"),
    Column(
        "reason",
        _TEXT,
        "the rule that rejected it, or step and error of its failure",
    ),
    Column("valid", pa.bool_(), "kept, with a complete file, and without errors"),
    Column("width", _WHOLE, "of the clip file, in pixels"),
    Column("height", _WHOLE, "of the clip file"),
    Column("framerate", _NUMBER, "frames per second of the clip file"),
    Column("num_frames", _WHOLE, "of the clip file"),
    Column("video_codec", _TEXT, "of the clip file"),
    Column("num_bytes", _WHOLE, "size of the clip file"),
    Column("sha256", _TEXT, "digest of the clip file"),
    Column("sound", _TEXT, "what the clip's sound lost, and why"),
    Column("transcode", _TEXT, "how the clip was made, if not simply encoded"),
    Column("transcode_reason", _TEXT, "why a clip that was to be copied is encoded"),
    Column("frames_encoded", _WHOLE, "of a clip of which some frames were copied"),
    Column("copied_start", _NUMBER, "beginning of what a copied clip shows"),
    Column("copied_end", _NUMBER, "its end"),
    Column("width_source", _WHOLE, "of the source video"),
    Column("height_source", _WHOLE, "of the source video"),
    Column("framerate_source", _NUMBER, "of the source video"),
    Column("source_duration", _NUMBER, "length of the source video, in seconds"),
    Column("source_num_frames", _WHOLE, "of the source video"),
    Column("source_video_codec", _TEXT, "of the source video"),
    Column("source_pixel_format", _TEXT, "of the source video"),
    Column("source_audio_format", _TEXT, "codec of its sound; none if it has no sound"),
    Column("caption", _TEXT, "text of the first captioner, windows joined by a blank"),
    Column(
        "windows",
        _records(start_frame=_WHOLE, end_frame=_WHOLE, captions=CAPTIONS),
        "windows of the clip with their captions, named as in its document",
    ),
    Column("errors", _records(step=_TEXT, message=_TEXT), "steps that failed for the clip"),
    Column(
        "models",
        _records(name=_TEXT, model=_TEXT, revision=_TEXT, dimension=_WHOLE),
        "models that made scores, vectors and captions",
    ),
    Column("clip", _TEXT, "path of the clip file below the dataset; none if there is none"),
    Column("meta", _TEXT, "path of its document"),
    Column("meta_bytes", _WHOLE, "size of its document, without the place of the dataset"),
    Column("meta_digest", _TEXT, "first 32 digits of the SHA-256 of the same"),
    Column(
        "artefacts",
        _records(kind=_TEXT, path=_TEXT),
        "other files made of it (previews, thumbnails, vectors) by their folders",
    ),
    Column("other_scores", _records(name=_TEXT, value=_NUMBER), "scores of custom steps"),
    Column("labels", _records(name=_TEXT, value=_TEXT), "scores that are words"),
)
COLUMNS: Final = (
    *FIXED[:-2],
    *(
        Column(score.name, _TEXT if score.labels else _NUMBER, score.title or score.name)
        for score in SCORES.values()
    ),
    *FIXED[-2:],
)
SCHEMA: Final = pa.schema([(column.name, column.kind) for column in COLUMNS])
EMPTY: Final = pa.Table.from_batches([], SCHEMA)


def table_of(rows: Iterable[Row]) -> pa.Table:
    """The rows as a table: chunk by chunk, and those of a chunk in the order of the video.

    By way of JSON: Arrow asks of values in Python whether they are pandas', and imports that.
    """
    lines = "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows).encode()
    if not lines:
        return EMPTY
    table = pj.read_json(
        io.BytesIO(lines),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        parse_options=pj.ParseOptions(explicit_schema=SCHEMA),
    )
    return in_order(table.select(SCHEMA.names))


def texts(values: Iterable[str]) -> pa.Array:
    """An array of texts, without asking whether they are pandas'."""
    data = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, data)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(data), pa.py_buffer(ends), pa.py_buffer(b"".join(data)))


def in_order(table: pa.Table) -> pa.Table:
    keys = [(name, "ascending") for name in ("chunk", "start", "end", "id")]
    return table if table.num_rows < 2 else table.sort_by(keys)


def to_bytes(table: pa.Table) -> bytes:
    """A file of the catalogue."""
    said = {VERSION_KEY: str(SCHEMA_VERSION).encode()}
    out = io.BytesIO()
    pq.write_table(
        table.combine_chunks().replace_schema_metadata(said),
        out,
        compression="zstd" if table.num_rows > ROWS_OF_GROUP // 64 else "snappy",
        row_group_size=ROWS_OF_GROUP,
    )
    return out.getvalue()


def from_bytes(data: bytes, path: str, columns: Iterable[str] | None = None) -> pa.Table:
    """The rows of a file of the catalogue, with these columns or all; those that an older version
    did not have are empty.
    """
    file = pq.ParquetFile(io.BytesIO(data))
    refuse_newer(file.schema_arrow.metadata, path)
    wanted = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
    there = [name for name in wanted.names if name in file.schema_arrow.names]
    table = file.read(columns=there, use_threads=False)
    found = [
        table.column(field.name).cast(field.type)
        if field.name in there
        else pa.nulls(table.num_rows, field.type)
        for field in wanted
    ]
    return pa.table(found, schema=wanted)


def refuse_newer(metadata: Mapping[bytes, bytes] | None, path: str) -> None:
    version = int((metadata or {}).get(VERSION_KEY, b"1"))
    if version > SCHEMA_VERSION:
        raise CatalogueTooNew(
            f"{path} is of version {version} of the catalogue, and this finecut knows version "
            f"{SCHEMA_VERSION}. Usually the dataset was written by a later version: install that "
            "one"
        )
