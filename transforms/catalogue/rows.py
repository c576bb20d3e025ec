"""A clip's row in the catalogue, from its document: the same whether the clip was just made, or its
documents are read years later.

Documents may be anybody's. A value of another kind than it should be counts as missing.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from finecut.io.held import SOURCE, scores_held
from finecut.io.records import Failure
from finecut.transforms.catalogue.fields import COLUMNS, FAILED, KEPT, NAMES, REJECTED, Row
from finecut.transforms.registry import SCORES
from finecut.transforms.write.documents import told_of_document

#: What a row has of the document of the video, under which names.
OF_VIDEO: Final = {
    "source_duration": "duration",
    "source_num_frames": "num_frames",
    "source_video_codec": "video_codec",
    "source_pixel_format": "pixel_format",
    "source_audio_format": "audio_format",
}
#: What a row has of the clip's document, under the same names.
OF_CLIP: Final = (
    *("source_video", "width_source", "height_source", "framerate_source"),
    *("width", "height", "framerate", "num_frames", "video_codec", "num_bytes", "sha256"),
    *("sound", "transcode", "transcode_reason", "frames_encoded"),
)
CAPTION: Final = "_caption"
_LARGEST: Final = 2**63 - 1


class Made(NamedTuple):
    """A file that was made of a clip: its folder, its path, and where in a pack it lies."""

    kind: str
    path: str
    offset: int | None = None
    size: int | None = None


def made_file(path: str) -> Made:
    """A file of its own, at this path.

    >>> made_file("thumbnails/a.jpg")
    Made(kind='thumbnails', path='thumbnails/a.jpg', offset=None, size=None)
    """
    return Made(path.partition("/")[0], path)


@dataclass(frozen=True)
class Whereabouts:
    """Where a clip belongs, and which files there are of it; paths are below the dataset."""

    video: str
    chunk: str
    kept: bool
    clip: str | None = None
    meta: str = ""
    artefacts: tuple[Made, ...] = ()
    #: Where it begins, if the clip's file is part of a pack.
    clip_offset: int | None = None


def row_of(
    document: Mapping[str, Any], where: Whereabouts, video: Mapping[str, Any], id: str = ""
) -> Row:
    """What is known of a clip; ``video`` is the document of its video, or what would be in it.

    ``id`` is the clip's by what lists it, of a document that may say anything.
    """
    size, digest = told_of_document(document)
    row: Row = dict.fromkeys(NAMES)
    row |= {name: _fitting(name, document.get(name)) for name in OF_CLIP}
    row |= {name: _fitting(name, video.get(key)) for name, key in OF_VIDEO.items()}
    row |= _scores(document)
    row["start"], row["end"] = _pair(document.get("duration_span"))
    row["copied_start"], row["copied_end"] = _pair(document.get("copied_span"))
    windows = _windows(document)
    row |= {
        "id": text(id or document.get("span_uuid")),
        "video": text(where.video),
        "chunk": where.chunk,
        "source": _as_json(document.get(SOURCE)),
        "verdict": KEPT if where.kept else REJECTED,
        "reason": None if where.kept else text(document.get("filtered_by")),
        "valid": document.get("valid") is True,
        "caption": _caption(windows),
        "windows": windows,
        "errors": _errors(document),
        "models": _models(document.get("models")),
        "clip": where.clip,
        "clip_offset": where.clip_offset,
        "meta": where.meta,
        "meta_bytes": size,
        "meta_digest": digest,
        "artefacts": [
            each._asdict()
            for each in sorted(where.artefacts, key=lambda made: (made.path, made.offset or 0))
        ],
    }
    return row


def rows_of_failure(failure: Failure) -> Iterator[Row]:
    """A row for each planned clip that a failure cost.

    What exactly happened is in the list of failures: messages name temporary files, and rows are to
    be the same wherever they are made.
    """
    spans = failure.lost_spans or (None,) * len(failure.lost_shots)
    for id, span in zip(failure.lost_shots, spans, strict=False):
        yield dict.fromkeys(NAMES) | {
            "id": text(id),
            "start": span and number(span.start),
            "end": span and number(span.end),
            "video": text(failure.source.relative),
            "source_video": text(failure.source.name),
            "source": _as_json(dict(failure.source.metadata)),
            "verdict": FAILED,
            "reason": text(f"{failure.step}: {failure.error}"),
            "valid": False,
            "windows": [],
            "errors": [],
            "models": [],
            "artefacts": [],
            "other_scores": [],
            "labels": [],
        }


# ── values of documents ──────────────────────────────────────────────────────────────────────────


def text(value: object) -> str | None:
    """The value if it is a text, and as UTF-8 can have it."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else None


def number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < math.inf else None


def whole(value: object) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST
    return int(value) if fits else None  # type: ignore[call-overload]


_FITTING: Final = {"string": text, "double": number, "int64": whole}
_KINDS: Final = {column.name: column.kind for column in COLUMNS}


def _fitting(name: str, value: object) -> Any:
    """The value if it is of the kind of this column."""
    return _FITTING[str(_KINDS[name])](value)


def _pair(value: object) -> tuple[float | None, float | None]:
    if isinstance(value, list | tuple) and len(value) == 2:
        return number(value[0]), number(value[1])
    return None, None


def _as_json(value: object) -> str | None:
    """One text for all readers, whatever the metadata are."""
    if not isinstance(value, Mapping) or not value:
        return None
    return text(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")))


def _scores(document: Mapping[str, Any]) -> Row:
    row: Row = {"other_scores": [], "labels": []}
    held = document.get("scores")
    usable = {**document, "scores": held if isinstance(held, Mapping) else {}}
    for name, value in sorted(scores_held(usable).items()):
        if name in SCORES:
            row[name] = _fitting(name, value)
        elif isinstance(value, str):
            row["labels"].append({"name": text(name), "value": text(value)})
        elif (found := number(value)) is not None:
            row["other_scores"].append({"name": text(name), "value": found})
    return row


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _windows(document: Mapping[str, Any]) -> list[Row]:
    listed = document.get("windows")
    return [
        {
            "start_frame": whole(window.get("start_frame")),
            "end_frame": whole(window.get("end_frame")),
            "captions": [*_captions(window)],
        }
        for window in (listed if isinstance(listed, list | tuple) else ())
        if isinstance(window, Mapping)
    ]


def _captions(window: Mapping[str, Any]) -> Iterator[Row]:
    """What each captioner said, and what became of those that said nothing."""
    names = (key.removesuffix("_status").removesuffix("_tokens") for key in window)
    for name in sorted({name for name in names if name.endswith(CAPTION)}):
        tokens = _mapping(window.get(f"{name}_tokens"))
        yield {
            "name": text(name),
            "text": text(window.get(name)),
            "status": text(window.get(f"{name}_status")),
            "prompt_tokens": whole(tokens.get("prompt")),
            "output_tokens": whole(tokens.get("output")),
        }


def _caption(windows: Iterable[Row]) -> str | None:
    """What the first captioner said, of all windows."""
    said: dict[str, list[str]] = {}
    for window in windows:
        for caption in window["captions"]:
            if caption["text"]:
                said.setdefault(caption["name"], []).append(caption["text"])
    return " ".join(said[min(said)]) if said else None


def _errors(document: Mapping[str, Any]) -> list[Row]:
    messages, listed = _mapping(document.get("error_messages")), document.get("errors")
    steps = [*messages, *(listed if isinstance(listed, list) else ())]
    named = sorted({step for step in steps if isinstance(step, str)})
    return [{"step": text(step), "message": text(messages.get(step)) or ""} for step in named]


def _models(value: object) -> list[Row]:
    return [
        {
            "name": text(name),
            "model": text(used.get("model")),
            "revision": text(used.get("revision")),
            "dimension": whole(used.get("dimension")),
        }
        for name, used in sorted(_mapping(value).items())
        if isinstance(used, Mapping)
    ]
