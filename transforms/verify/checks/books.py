"""The books: what a chunk's document counts and repeats, and what a video's document promises."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from finecut.io.storage import files as shelf
from finecut.transforms.verify.checks import findings as kinds
from finecut.transforms.verify.checks import shapes
from finecut.transforms.verify.checks.clips import Clip, id_fits
from finecut.transforms.verify.checks.findings import Finding
from finecut.transforms.verify.checks.shapes import Broken, faults, parsed
from finecut.transforms.verify.checks.verifying import Verifying

CAPTION, ENHANCED = "_caption", "_enhanced_caption"
#: Sums of floats depend on their order.
NEARLY: Final = 1e-6

Document = Mapping[str, Any]


@dataclass(frozen=True)
class ChunkFacts:
    """A chunk's document, as far as its video is concerned."""

    path: str
    index: int
    #: ``None`` where the document cannot be understood.
    num_clips: int | None
    video: str = ""


@dataclass(frozen=True)
class VideoFacts:
    """A video's document."""

    path: str
    num_chunks: int | None
    num_clips: int | None
    video: str = ""


# ── one chunk ────────────────────────────────────────────────────────────────────────────────────


def wrong_in_chunk(path: str, index: int, document: Document) -> Iterator[Finding]:
    """What a chunk's document says of itself that cannot be."""
    kept, rejected = document["clips"], document["filtered_clips"]
    if document["clip_chunk_index"] != index:
        yield Finding(
            kinds.DOCUMENT_DIFFERS,
            path,
            f"clip_chunk_index is {document['clip_chunk_index']}",
            f"should be {index}, as its name says",
        )
    for id in several(kept + rejected):
        yield Finding(kinds.LISTED_TWICE, path, f"lists {id} more than once", "should list it once")
    if document["num_clips_passed"] != len(kept):
        yield _count(path, "num_clips_passed", document, len(kept), "it lists so many clips")
    by_rules = (
        document["num_clips_filtered_by_motion"] + document["num_clips_filtered_by_aesthetic"]
    )
    if by_rules > len(rejected):
        yield Finding(
            kinds.COUNT,
            path,
            f"{by_rules} clips are filtered by motion and aesthetic",
            f"should be {len(rejected)} at the most: it lists so many filtered_clips",
        )
    for key in ("all_windows", "all_windows_enhanced_caption"):
        if set(document[key]) != set(kept):
            wrong = f"{key} has {len(document[key])} clips"
            should = f"should have its {len(kept)} kept clips, and no others"
            yield Finding(kinds.CAPTIONS, path, wrong, should)


def several(ids: Iterable[str]) -> list[str]:
    """Those that are there more than once.

    >>> several(["b", "a", "b"])
    ['b']
    """
    return sorted(id for id, number in Counter(ids).items() if number > 1)


def wrong_in_counts(
    path: str, document: Document, clips: Sequence[Clip], vectors: set[str] | None
) -> Iterator[Finding]:
    """The counts of a chunk's document against the documents and files of its clips."""
    known = [clip for clip in clips if clip.document is not None]
    if len(known) < len(clips):
        return  # what is missing is named already, and every count would be wrong
    said = [(clip.document or {}).get("filtered_by") for clip in known if not clip.kept]
    rules = [str(rule) for rule in said if rule is not None]
    if len(rules) == len(document["filtered_clips"]):
        for rule in ("motion", "aesthetic"):
            key = f"num_clips_filtered_by_{rule}"
            number = sum(name.startswith(rule) for name in rules)
            if document[key] != number:
                yield _count(path, key, document, number, "filtered_by says so")
    made = sum(clip.has_file for clip in known)
    if document["num_clips_transcoded"] != made:
        why = "so many documents of clips tell of a file"
        yield _count(path, "num_clips_transcoded", document, made, why)
    told = sum(clip.kept and any(_texts(clip, CAPTION)) for clip in known)
    if document["num_clips_with_caption"] != told:
        why = "so many documents of clips have a caption"
        yield _count(path, "num_clips_with_caption", document, told, why)
    spans = [clip.document["duration_span"] for clip in known if clip.document is not None]
    lengths = [end - start for start, end in spans]
    for key, seconds in (
        ("total_clip_duration", float(sum(lengths))),
        ("max_clip_duration", max(lengths, default=0.0)),
    ):
        if not math.isclose(document[key], seconds, rel_tol=NEARLY, abs_tol=NEARLY):
            yield _count(path, key, document, seconds, "so long are the spans of its clips")
    kept = [clip for clip in known if clip.kept]
    yield from _shortage(
        path,
        document,
        "num_clips_with_webp",
        [clip for clip in kept if clip.previews],
        [clip for clip in kept if not clip.previews and clip.windows and not _lacks(clip)],
        _without_preview,
    )
    if vectors is not None and document["num_clips_with_embeddings"] != len(vectors):
        why = "so many of its clips have a vector"
        yield _count(path, "num_clips_with_embeddings", document, len(vectors), why)


def _shortage(
    path: str,
    document: Document,
    key: str,
    have: Sequence[Clip],
    may: Sequence[Clip],
    named: Any,
) -> Iterator[Finding]:
    """A count that is higher than what there is: by name, where it is clear what is missing."""
    said = document[key]
    if said == len(have):
        return
    if said == len(have) + len(may):
        for clip in may:
            yield from named(clip)
    else:
        yield _count(path, key, document, len(have), "so many there are")


def _without_preview(clip: Clip) -> Iterator[Finding]:
    for window in clip.windows:
        path = f"previews/{clip.id}/{window['start_frame']}_{window['end_frame']}.webp"
        should = "its chunk's document counts it"
        yield Finding(kinds.PREVIEW_MISSING, path, "is missing", should)


def _lacks(clip: Clip) -> bool:
    """Whether its document says that there is no preview, and why."""
    return "preview" in ((clip.document or {}).get("errors") or ())


def wrong_in_captions(path: str, document: Document, clips: Sequence[Clip]) -> Iterator[Finding]:
    """Texts stand in the chunk's document and in those of its clips: they must be the same."""
    for clip in clips:
        if not clip.kept or clip.document is None:
            continue
        for key, ending in (("all_windows", CAPTION), ("all_windows_enhanced_caption", ENHANCED)):
            there, here = document[key].get(clip.id), dict(_texts(clip, ending))
            if there is None or there == here:
                continue
            window = sorted(set(there.items()) ^ set(here.items()))[0][0]
            yield Finding(
                kinds.CAPTIONS,
                path,
                f"{key} of {clip.id}, frames {window}, is {_short(there.get(window))}",
                f"metas/v0/{clip.id}.json says {_short(here.get(window))}",
            )


def _texts(clip: Clip, ending: str) -> Iterator[tuple[str, str]]:
    """The first model's text of each window that has one."""
    for window in clip.windows:
        for key, text in window.items():
            if _is_text(key, ending) and isinstance(text, str):
                yield f"{window['start_frame']}_{window['end_frame']}", text
                break


def _is_text(key: str, ending: str) -> bool:
    if ending == CAPTION:
        return key.endswith(CAPTION) and not key.endswith(ENHANCED)
    return key.endswith(ending)


def _short(text: str | None) -> str:
    if text is None:
        return "missing"
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


def wrong_in_ids(clips: Sequence[Clip], verifying: Verifying) -> Iterator[Finding]:
    """Clips whose id is not that of their name and span, where the ids of most others are."""
    fits = {clip.id: id_fits(clip.document) for clip in clips if clip.document is not None}
    computable = [said for said in fits.values() if said is not None]
    wrong = computable.count(False)
    # Who makes shots in a pipeline of their own may name them as they like.
    if not wrong or (len(computable) > 1 and 2 * wrong > len(computable)):
        return
    for clip in clips:
        if fits.get(clip.id) is False:
            assert clip.document is not None
            start, end = clip.document["duration_span"]
            yield Finding(
                kinds.ID,
                verifying.below(verifying.layout.meta(clip.id)),
                f"duration_span is {start:g} to {end:g}",
                "its id is made of the video's name and the frames of another span",
            )


def _count(path: str, key: str, document: Document, number: float, why: str) -> Finding:
    return Finding(kinds.COUNT, path, f"{key} is {document[key]}", f"should be {number}: {why}")


# ── one video ────────────────────────────────────────────────────────────────────────────────────


def video_facts(path: str, verifying: Verifying) -> tuple[VideoFacts, list[Finding]]:
    """What a video's document says, and what is wrong with it by itself."""
    name = verifying.below(path)
    try:
        document = parsed(shelf.read(path))
    except Broken as broken:
        should = "should be a document of a video"
        return VideoFacts(name, None, None), [
            Finding(kinds.DOCUMENT_BROKEN, name, str(broken), should)
        ]
    except FileNotFoundError:  # listed a moment ago: somebody is at work
        return VideoFacts(name, None, None), []
    wrong = [
        Finding(kinds.DOCUMENT_BROKEN, name, fault, should)
        for fault, should in faults(document, shapes.VIDEO)
    ]
    if wrong:
        return VideoFacts(name, None, None), wrong
    facts = VideoFacts(
        name, document["num_clip_chunks"], document["num_total_clips"], document["video"]
    )
    if document["duration"] is None and document["width"] is None:
        return facts, [
            Finding(kinds.NOT_READ, name, "says nothing of the video", "it could not be read")
        ]
    return facts, []


def wrong_in_video(
    relative: str, video: VideoFacts | None, chunks: Iterable[ChunkFacts], verifying: Verifying
) -> Iterator[Finding]:
    """A video's document against those of its chunks."""
    chunks = sorted(chunks, key=lambda chunk: chunk.index)
    if relative in verifying.open_videos:
        yield Finding(
            kinds.UNFINISHED,
            f".finecut/open/{relative}.json",
            "notes that the video is worked on",
            "its clips are not looked at",
        )
        return
    if video is None:
        path = verifying.below(verifying.layout.processed_videos()) + f"/{relative}.json"
        yield Finding(
            kinds.VIDEO_MISSING, path, "is missing", f"{chunks[0].path} is a chunk of that video"
        )
        return
    if video.num_chunks is None or video.num_clips is None:
        return
    yield from _wrong_in_names(video, chunks)
    folder = verifying.below(verifying.layout.processed_clip_chunks())
    # A video without clips has its first chunk's document too, and needs no other.
    expected = range(max(1, video.num_chunks))
    for index in sorted({*expected} - {chunk.index for chunk in chunks}):
        yield Finding(
            kinds.CHUNK_MISSING,
            f"{folder}/{relative}_{index}.json",
            "is missing",
            f"{video.path} says that there are {video.num_chunks} chunks",
        )
    for chunk in chunks:
        if chunk.index not in expected:
            should = f"{video.path} says that there are {video.num_chunks} chunks"
            yield Finding(kinds.ORPHAN, chunk.path, "belongs to no video", should)
    counted = [chunk.num_clips for chunk in chunks if chunk.index in expected]
    numbers = [number for number in counted if number is not None]
    if len(numbers) == len(expected) and sum(numbers) != video.num_clips:
        yield Finding(
            kinds.COUNT,
            video.path,
            f"num_total_clips is {video.num_clips}",
            f"should be {sum(numbers)}: its chunks list so many",
        )


def _wrong_in_names(video: VideoFacts, chunks: Iterable[ChunkFacts]) -> Iterator[Finding]:
    for chunk in chunks:
        if chunk.num_clips is not None and chunk.video != video.video:
            yield Finding(
                kinds.DOCUMENT_DIFFERS,
                chunk.path,
                f"is about {chunk.video!r}",
                f"should be about {video.video!r}, as {video.path} says",
            )
