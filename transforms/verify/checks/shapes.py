"""Shapes: the keys that documents must have, and of what type they are."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from finecut.io.layout import is_clip_id
from finecut.transforms.find.metadata import plain
from finecut.transforms.registry import HEADS
from finecut.transforms.registry import SCORES as KNOWN

Document = Mapping[str, Any]
Fits = Callable[[Any], bool]


class Shape(NamedTuple):
    """What a value must be: a test, and the words for it."""

    fits: Fits
    words: str
    #: Whether the key may be missing.
    optional: bool = False


def faults(document: Document, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
    """What is wrong with the document, and what should be: one pair for each key."""
    for key, shape in shapes.items():
        if key not in document:
            if not shape.optional:
                yield f"has no {key}", f"should have {shape.words}"
        elif not shape.fits(document[key]):
            yield f"{key} is {_short(document[key])}", f"should be {shape.words}"


def misfit(path: str, document: Document, shapes: Mapping[str, Shape]) -> str | None:
    """Of which other kinds values are in a document that lies there, in one sentence.

    What is not said at all is no fault here: other programs say less.
    """
    said = {key: shape for key, shape in shapes.items() if key in document}
    found = [f"{fault}, but {should}" for fault, should in faults(document, said)]
    more = f" (and {len(found) - 1} more of its values are of another kind)" * (len(found) > 1)
    return f"{path}: {found[0]}{more}" if found else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def list_of(fits: Fits) -> Fits:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def by_name(fits: Fits) -> Fits:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def either(one: Fits, other: Fits) -> Fits:
    return lambda value: one(value) or other(value)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def is_span(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(map(is_number, value))
        and 0 <= value[0] < value[1]
    )


def is_window(value: Any) -> bool:
    return isinstance(value, dict) and all(
        is_count(value.get(key)) for key in ("start_frame", "end_frame")
    )


def are_counts(value: Any) -> bool:
    """Numbers by name, some of them by two names."""
    return by_name(either(is_number, are_counts))(value)


def are_scores(value: Any) -> bool:
    """The same where some may be labels: those that are not known to be numbers."""
    return isinstance(value, dict) and all(
        each is None
        or is_number(each)
        or (is_text(each) and (name not in KNOWN or KNOWN[name].labels))
        for name, each in value.items()
    )


def is_source(value: Any) -> bool:
    """Metadata as it may travel: it is none other after it was made plain."""
    return isinstance(value, dict) and plain(value).said == value


def is_null(value: Any) -> bool:
    return value is None


def _or_null(shape: Shape) -> Shape:
    return Shape(either(is_null, shape.fits), f"{shape.words} or null")


def _maybe(shape: Shape) -> Shape:
    return shape._replace(optional=True)


ID = Shape(is_clip_id, "an id of a clip")
TEXT = Shape(is_text, "a text")
COUNT = Shape(is_count, "a whole number of 0 or more")
NUMBER = Shape(is_number, "a number")
BOOL = Shape(lambda value: isinstance(value, bool), "true or false")
SPAN = Shape(is_span, "two seconds, the first below the second")
IDS = Shape(list_of(is_clip_id), "a list of ids of clips")
TEXTS = Shape(list_of(is_text), "a list of texts")
CAPTIONS = Shape(by_name(by_name(is_text)), "texts by window, by clip")
#: Some scores could not be measured.
NUMBERS = Shape(by_name(either(is_null, is_number)), "numbers by name")
COUNTS = Shape(are_counts, "numbers by name, or by two names")
#: Scores that stand under keys of their own.
HEADED: Final[Mapping[str, Shape]] = {
    key: NUMBERS if all(held.values()) else _or_null(NUMBER) for key, held in HEADS.items()
}
MAPPING = Shape(lambda value: isinstance(value, dict), "a mapping")

SOURCED = Shape(is_source, "values by name, as finecut curate writes them")

#: Facts of a clip's file: all of them, or none where there is no file.
FILE_FACTS: Final[Mapping[str, Shape]] = {
    "width": COUNT,
    "height": COUNT,
    "framerate": NUMBER,
    "num_frames": COUNT,
    "video_codec": TEXT,
    "num_bytes": COUNT,
}
CLIP: Final[Mapping[str, Shape]] = {
    "span_uuid": ID,
    "source_video": TEXT,
    "source": _maybe(SOURCED),
    "duration_span": SPAN,
    "width_source": _or_null(COUNT),
    "height_source": _or_null(COUNT),
    "framerate_source": _or_null(NUMBER),
    "clip_location": TEXT,
    **{key: _maybe(shape) for key, shape in FILE_FACTS.items()},
    "sha256": _maybe(TEXT),
    "transcode": _maybe(TEXT),
    "copied_span": _maybe(SPAN),
    "sound": _maybe(TEXT),
    **{key: _maybe(shape) for key, shape in HEADED.items()},
    "scores": _maybe(Shape(are_scores, "numbers by name, or texts where scores are labels")),
    "filtered_by": _maybe(TEXT),
    "errors": _maybe(TEXTS),
    "error_messages": _maybe(MAPPING),
    "models": _maybe(MAPPING),
    "windows": Shape(list_of(is_window), "a list of windows with start_frame and end_frame"),
    "valid": BOOL,
}
CHUNK: Final[Mapping[str, Shape]] = {
    "video": TEXT,
    "clip_chunk_index": COUNT,
    "num_clips_filtered_by_motion": COUNT,
    "num_clips_filtered_by_aesthetic": COUNT,
    "num_clips_passed": COUNT,
    "num_clips_transcoded": COUNT,
    "num_clips_with_embeddings": COUNT,
    "num_clips_with_caption": COUNT,
    "num_clips_with_webp": COUNT,
    "total_clip_duration": NUMBER,
    "max_clip_duration": NUMBER,
    "clips": IDS,
    "filtered_clips": IDS,
    "all_windows": CAPTIONS,
    "all_windows_enhanced_caption": CAPTIONS,
}
VIDEO: Final[Mapping[str, Shape]] = {
    "video": TEXT,
    "height": _or_null(COUNT),
    "width": _or_null(COUNT),
    "framerate": _or_null(NUMBER),
    "num_frames": _or_null(COUNT),
    "duration": _or_null(NUMBER),
    "video_codec": _or_null(TEXT),
    "pixel_format": _or_null(TEXT),
    "audio_format": _or_null(TEXT),
    "num_total_clips": COUNT,
    "num_clip_chunks": COUNT,
    "source": _maybe(SOURCED),
}
#: What a run says of itself, finished or begun.
RUN: Final[Mapping[str, Shape]] = {
    "started": TEXT,
    "seconds": NUMBER,
    "balanced": BOOL,
    "videos": COUNTS,
    "clips": COUNTS,
    "film_seconds": COUNTS,
    "options": MAPPING,
    "configuration": MAPPING,
}
