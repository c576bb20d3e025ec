"""The books of a chunk: what its document counts, and what it repeats of its clips."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from finecut.transforms.verify.checks.clips import Chunk, Clip, id_fits
from finecut.transforms.verify.checks.findings import Finding

CAPTION, ENHANCED = "_caption", "_enhanced_caption"
#: Where a chunk's document repeats captions, and how the keys of those in clips end.
TEXTS: Final = (("all_windows", CAPTION), ("all_windows_enhanced_caption", ENHANCED))
#: Steps whose rejections a chunk's document counts.
COUNTED: Final = ("motion", "aesthetic")
#: Sums of floats depend on their order.
NEARLY: Final = 1e-6

#: A key of a document, what it should count, and why.
Count = tuple[str, float, str]


def wrong_in_chunk(chunk: Chunk) -> Iterator[Finding]:
    """What a chunk's document says of itself that cannot be."""
    path, document = chunk.path, chunk.document
    kept, rejected = document["clips"], document["filtered_clips"]
    if document["clip_chunk_index"] != chunk.index:
        yield Finding(
            "document-differs",
            path,
            f"clip_chunk_index is {document['clip_chunk_index']}",
            f"should be {chunk.index}, as its name says",
        )
    for id in several(kept + rejected):
        yield Finding("listed-twice", path, f"lists {id} more than once", "should list it once")
    yield from _miscounted(chunk, [("num_clips_passed", len(kept), "it lists that many clips")])
    by_rules = sum(document[f"num_clips_filtered_by_{rule}"] for rule in COUNTED)
    if by_rules > len(rejected):
        yield Finding(
            "count",
            path,
            f"{by_rules} clips are filtered by motion and aesthetic",
            f"should be {len(rejected)} at most: it lists that many filtered_clips",
        )
    for key, _ in TEXTS:
        if set(document[key]) != set(kept):
            yield Finding(
                "captions",
                path,
                f"{key} has {len(document[key])} clips",
                f"should have its {len(kept)} kept clips, and no others",
            )


def several(ids: Iterable[str]) -> list[str]:
    """Those that are there more than once.

    >>> several(["b", "a", "b"])
    ['b']
    """
    return sorted(id for id, number in Counter(ids).items() if number > 1)


def wrong_in_counts(chunk: Chunk) -> Iterator[Finding]:
    """The counts of a chunk's document against the documents and files of its clips."""
    document, clips = chunk.document, chunk.clips
    if not all(clip.document for clip in clips):
        return  # what is missing is named already, and every count would be wrong
    kept = [clip for clip in clips if clip.kept]
    lengths = [end - start for start, end in (clip.document["duration_span"] for clip in clips)]
    made = sum(clip.has_file for clip in clips)
    captioned = sum(bool(_texts(clip, CAPTION)) for clip in kept)
    counts: list[Count] = [
        ("num_clips_transcoded", made, "that many documents of clips tell of a file"),
        ("num_clips_with_caption", captioned, "that many documents of clips have a caption"),
        ("total_clip_duration", float(sum(lengths)), "the spans of its clips are that long"),
        ("max_clip_duration", max(lengths, default=0.0), "the spans of its clips are that long"),
        (
            "num_clips_with_embeddings",
            len(chunk.with_vectors),
            "that many of its clips have a vector",
        ),
    ]
    rules = [clip.document.get("filtered_by") for clip in clips if not clip.kept]
    if None not in rules:
        for rule in COUNTED:
            number = sum(str(each).startswith(rule) for each in rules)
            counts.append((f"num_clips_filtered_by_{rule}", number, "filtered_by says so"))
    have = sum(bool(clip.previews) for clip in kept)
    lacking = [clip for clip in kept if not clip.previews and clip.windows and not _says_why(clip)]
    if document["num_clips_with_webp"] == have + len(lacking):
        for clip in lacking:
            yield from _without_preview(clip)
    else:
        counts.append(("num_clips_with_webp", have, "that many clips have previews"))
    yield from _miscounted(chunk, counts)


def _miscounted(chunk: Chunk, counts: Iterable[Count]) -> Iterator[Finding]:
    for key, number, why in counts:
        said = chunk.document[key]
        if not math.isclose(said, number, rel_tol=NEARLY, abs_tol=NEARLY):
            yield Finding("count", chunk.path, f"{key} is {said}", f"should be {number}: {why}")


def _without_preview(clip: Clip) -> Iterator[Finding]:
    for window in clip.windows:
        path = f"previews/{clip.id}/{window['start_frame']}_{window['end_frame']}.webp"
        yield Finding("preview-missing", path, "is missing", "its chunk's document counts it")


def _says_why(clip: Clip) -> bool:
    """Whether its document says that there is no preview, and why."""
    return "preview" in clip.document.get("errors", ())


def wrong_in_captions(chunk: Chunk) -> Iterator[Finding]:
    """Texts stand in the chunk's document and in those of its clips: they must be the same."""
    for clip in chunk.clips:
        for key, ending in TEXTS if clip.kept and clip.document else ():
            there, here = chunk.document[key].get(clip.id), _texts(clip, ending)
            if there is None or there == here:
                continue
            window = min(set(there.items()) ^ set(here.items()))[0]
            yield Finding(
                "captions",
                chunk.path,
                f"{key} of {clip.id}, frames {window}, is {_short(there.get(window))}",
                f"{clip.name} says {_short(here.get(window))}",
            )


def _texts(clip: Clip, ending: str) -> dict[str, str]:
    """The first model's text of each window that has one."""
    texts: dict[str, str] = {}
    for window in clip.windows:
        frames = f"{window['start_frame']}_{window['end_frame']}"
        for key, text in window.items():
            enhanced = key.endswith(ENHANCED) and ending == CAPTION
            if key.endswith(ending) and not enhanced and isinstance(text, str):
                texts.setdefault(frames, text)
    return texts


def _short(text: str | None) -> str:
    if text is None:
        return "missing"
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


def wrong_in_ids(chunk: Chunk) -> Iterator[Finding]:
    """Clips whose id is not that of their name and span, where the ids of most others are."""
    fits = [(clip, id_fits(clip.document)) for clip in chunk.clips if clip.document]
    computable = [fit for _, fit in fits if fit is not None]
    # Pipelines of others may name clips as they like.
    if len(computable) > 1 and 2 * computable.count(False) > len(computable):
        return
    for clip, fit in fits:
        if fit is False:
            start, end = clip.document["duration_span"]
            yield Finding(
                "id",
                clip.name,
                f"duration_span is {start:g} to {end:g}",
                "its id belongs to the video's name and the frames of another span",
            )
