"""What a row of the catalogue says of a clip: the names of its columns, their kinds and meanings.

There is one for each score that a built-in step gives, under the name that rules use. Scores of
custom steps are in ``other_scores`` and ``labels``. Lists and structs are used, and no maps, which
some readers of Parquet do not know.

Needs no Arrow, which only those need that read or write tables: a run writes rows from its first
clip on, and makes tables of them at its end.
"""

import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, TypeAlias

from finecut.transforms.registry import SCORES

KEPT, REJECTED, FAILED = "kept", "rejected", "failed"

Row = dict[str, Any]


class Records(NamedTuple):
    """A list of records with these fields."""

    fields: tuple[tuple[str, "Kind"], ...]


#: What Arrow calls it, or records.
Kind: TypeAlias = str | Records
_TEXT, _NUMBER, _WHOLE, _FLAG = "string", "double", "int64", "bool"


class Column(NamedTuple):
    """A column, and what it means."""

    name: str
    kind: Kind
    meaning: str


def _records(**fields: Kind) -> Records:
    return Records(tuple(fields.items()))


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
    Column("valid", _FLAG, "kept, with a complete file, and without errors"),
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
    Column(
        "clip",
        _TEXT,
        "path of the clip file below the dataset, or of the pack that it lies in; none if there is "
        "none",
    ),
    Column(
        "clip_offset",
        _WHOLE,
        "first byte of the clip file in its pack (it has `num_bytes`); none for a file of its own",
    ),
    Column("meta", _TEXT, "path of its document, or of the table that has it"),
    Column("meta_bytes", _WHOLE, "size of its document, without the place of the dataset"),
    Column("meta_digest", _TEXT, "first 32 digits of the SHA-256 of the same"),
    Column(
        "artefacts",
        _records(kind=_TEXT, path=_TEXT, offset=_WHOLE, size=_WHOLE),
        "other files made of it (previews, thumbnails, vectors) by their folders; in a pack, with "
        "their first bytes and sizes there",
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
NAMES: Final = tuple(column.name for column in COLUMNS)


def lines_of(rows: Iterable[Row]) -> bytes:
    """The rows as JSON, one a line."""
    return "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows).encode()
