"""One chunk, the unit of work: its document, and everything that it promises.

Which clips have a file that a step made of them no document says. The clips of one chunk were made
together, so where one of them has it, all that are kept have it, but those that say that the step
broke down. Previews are looked at more closely, by :mod:`~.clips`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from finecut.io.held import SOURCE
from finecut.io.layout import (
    PREVIEWS,
    TABLES,
    VECTORS,
    Artefact,
    chunk_id,
    chunk_numbered,
    is_clip_id,
)
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.retry import pass_on_outlasted
from finecut.transforms.registry import ON_CLIPS
from finecut.transforms.step_base import StepOnClips
from finecut.transforms.verify.checks import shapes
from finecut.transforms.verify.checks.catalogue import told_in
from finecut.transforms.verify.checks.clips import (
    Chunk,
    Clip,
    check_file,
    check_previews,
    id_fits,
    read_clip,
)
from finecut.transforms.verify.checks.documents import Facts, document_in, listed
from finecut.transforms.verify.checks.findings import (
    ANYTHING,
    Checked,
    Claim,
    Finding,
    Told,
    Verifying,
    several,
)
from finecut.transforms.verify.checks.packs import Archive, check_packed, vectors_in_pack
from finecut.transforms.verify.checks.shapes import Document
from finecut.transforms.verify.checks.vectors import Signed, check_vectors

#: What a chunk's document lists: kept clips, and rejected ones.
LISTS: Final = ("clips", "filtered_clips")
CAPTION, ENHANCED = "_caption", "_enhanced_caption"
#: Where a chunk's document repeats captions, and how the keys of those in clips end.
TEXTS: Final = (("all_windows", CAPTION), ("all_windows_enhanced_caption", ENHANCED))
#: Steps whose rejections a chunk's document counts.
COUNTED: Final = ("motion", "aesthetic")
#: Sums of floats depend on their order.
NEARLY: Final = 1e-6
#: Files of clips that have a check of their own; and the others, with the steps that make them.
OTHERS: Final = (PREVIEWS, VECTORS, TABLES)
MADE: Final[tuple[tuple[Artefact, type[StepOnClips[Any]]], ...]] = tuple(
    (artefact, step) for step in ON_CLIPS for artefact in step.artefacts if artefact not in OTHERS
)

Outcome = Finding | Checked | Claim | Signed | Archive | tuple[str, Facts] | tuple[str, Told]


def check_chunk(path: str, verifying: Verifying) -> Iterator[Outcome]:
    """Everything there is to say of a chunk whose document lies there."""
    name = verifying.below(path)
    which = chunk_numbered(path.removeprefix(f"{verifying.layout.processed_clip_chunks()}/"))
    if which is None:
        yield Finding(
            "orphan", name, "is not the document of a chunk", "should be called VIDEO_NUMBER.json"
        )
        return
    relative, index = which
    data = shelf.read_if_there(path)
    if data is None:
        return  # listed a moment ago: somebody is at work, and its note says so
    document, wrong = document_in(data, name, "a document of a chunk", shapes.CHUNK)
    yield from wrong
    if wrong:
        yield from anything_in(document, name)
        yield relative, Facts(name, index)
        return
    yield relative, Facts(name, index, document["video"], sum(len(document[key]) for key in LISTS))
    if relative in verifying.open_videos:
        yield from anything_in(document, name)
        return
    yield Checked({"documents": 1, "chunks": 1})
    chunk = Chunk(name, index, document)
    yield from _wrong_in_chunk(chunk)
    if verifying.has_metas and verifying.layout.packed:
        yield from check_packed(chunk, relative, _check_clips, verifying)
    elif verifying.has_metas:
        yield from _check_clips(chunk, verifying)
        if verifying.has_catalogue:
            yield from told_in(chunk, relative, verifying)
    if verifying.has_metas:
        yield from _wrong_in_sources(chunk, verifying.layout.processed_video(relative), verifying)


def unreadable(path: str, error: OSError, verifying: Verifying) -> Finding:
    """A file that is there and cannot be read."""
    return Finding(
        "unreadable",
        verifying.below(path),
        f"cannot be read ({error.strerror or error})",
        "should be readable",
    )


def anything_in(document: Document, name: str) -> Iterator[Claim | Archive]:
    """Nobody can say what belongs to these clips."""
    ids = (id for key in LISTS for id in listed(document.get(key)) if is_clip_id(id))
    yield from (Claim(id, name, (ANYTHING,)) for id in ids)
    index = document.get("clip_chunk_index")
    if type(index) is int:
        key = chunk_id(str(document.get("video")), index)
        yield Claim(key, name, (ANYTHING,))
        yield from (Archive(f"packs/{key}{ending}", name) for ending in (".tar", ".parquet"))


def _check_clips(chunk: Chunk, verifying: Verifying) -> Iterator[Outcome]:
    ids = [(id, key == "clips") for key in LISTS for id in chunk.document[key]]
    chunk.clips.extend(verifying.each(partial(checked, chunk.document["video"], verifying), ids))
    yield from _wrong_in_artefacts(chunk.clips, verifying)
    for clip in chunk.clips:
        yield from clip.findings
        yield Checked(dict(clip.counts))
        yield claim_of(clip, chunk)
    yield from _wrong_in_ids(chunk)
    yield from _wrong_in_captions(chunk)
    vectors = vectors_in_pack if verifying.layout.packed else check_vectors
    yield from vectors(chunk, verifying)
    yield from _wrong_in_counts(chunk)


def claim_of(clip: Clip, chunk: Chunk) -> Claim:
    """What belongs to a clip; of one whose document cannot be understood nobody knows it."""
    if not clip.document:
        return Claim(clip.id, chunk.path, (ANYTHING,))
    return Claim(clip.id, chunk.path, tuple(clip.claims), tuple(clip.there))


def _wrong_in_sources(chunk: Chunk, path: str, verifying: Verifying) -> Iterator[Finding]:
    """Documents of clips that say something else of the source than that of their video: a run was
    killed while it told them anew.
    """
    video = usable_json(path)
    if video is None:
        return  # it is named when it is its turn
    for clip in chunk.clips:
        if clip.document and clip.document.get(SOURCE) != video.get(SOURCE):
            yield Finding(
                "document-differs",
                clip.name,
                f"source differs from that in {verifying.below(path)}",
                "should be the same; the last finecut curate command, run again, writes it",
            )


def checked(video: str, verifying: Verifying, listed: tuple[str, bool]) -> Clip:
    id, kept = listed
    path = verifying.layout.meta(id)
    clip = Clip(id, kept, verifying.below(path))
    try:
        read_clip(clip, video, verifying)
        check_file(clip, verifying)
        if kept:
            check_previews(clip, verifying)
    except OSError as error:  # of one of its files; the others are looked at all the same
        pass_on_outlasted(error)
        where = error.filename if isinstance(error.filename, str) else path
        return Clip(id, kept, clip.name, findings=[unreadable(where, error, verifying)])
    return clip


# ── the books: what its document counts, and what it repeats of its clips ────────────────────────


def _wrong_in_chunk(chunk: Chunk) -> Iterator[Finding]:
    """What a chunk's document says of itself that cannot be."""
    path, document = chunk.path, chunk.document
    kept, rejected = (document[key] for key in LISTS)
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
    yield from (
        Finding(
            "captions",
            path,
            f"{key} has {len(document[key])} clips",
            f"should have its {len(kept)} kept clips, and no others",
        )
        for key, _ in TEXTS
        if set(document[key]) != set(kept)
    )


def _wrong_in_counts(chunk: Chunk) -> Iterator[Finding]:
    """The counts of a chunk's document against the documents and files of its clips."""
    clips = chunk.clips
    if not all(clip.document for clip in clips):
        return  # what is missing is named already, and every count would be wrong
    kept = [clip for clip in clips if clip.kept]
    lengths = [end - start for start, end in (clip.document["duration_span"] for clip in clips)]
    made = sum(clip.has_file for clip in clips)
    captioned = sum(bool(_texts(clip, CAPTION)) for clip in kept)
    vectors = len(chunk.with_vectors)
    counts: list[tuple[str, float, str]] = [
        ("num_clips_transcoded", made, "that many documents of clips tell of a file"),
        ("num_clips_with_caption", captioned, "that many documents of clips have a caption"),
        ("total_clip_duration", float(sum(lengths)), "the spans of its clips are that long"),
        ("max_clip_duration", max(lengths, default=0.0), "the spans of its clips are that long"),
        ("num_clips_with_embeddings", vectors, "that many of its clips have a vector"),
    ]
    rules = [clip.document.get("filtered_by") for clip in clips if not clip.kept]
    for rule in COUNTED if None not in rules else ():
        by_rule = sum(str(each).startswith(rule) for each in rules)
        counts.append((f"num_clips_filtered_by_{rule}", by_rule, "filtered_by says so"))
    have = sum("previews" in clip.counts for clip in kept)
    # A document may say that there is no preview, and why.
    lacking = [
        clip
        for clip in kept
        if not clip.counts.get("previews")
        and clip.windows
        and "preview" not in clip.document.get("errors", ())
    ]
    if chunk.document["num_clips_with_webp"] != have + len(lacking):
        counts.append(("num_clips_with_webp", have, "that many clips have previews"))
        lacking = []
    for clip in lacking:
        for window in clip.windows:
            path = f"previews/{clip.id}/{window['start_frame']}_{window['end_frame']}.webp"
            yield Finding("preview-missing", path, "is missing", "its chunk's document counts it")
    yield from _miscounted(chunk, counts)


def _miscounted(chunk: Chunk, counts: Iterable[tuple[str, float, str]]) -> Iterator[Finding]:
    """Keys of a document, what each should count, and why, where it says something else."""
    for key, number, why in counts:
        said = chunk.document[key]
        if not math.isclose(said, number, rel_tol=NEARLY, abs_tol=NEARLY):
            yield Finding("count", chunk.path, f"{key} is {said}", f"should be {number}: {why}")


def _wrong_in_captions(chunk: Chunk) -> Iterator[Finding]:
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
            other = key.endswith(ENHANCED) and ending == CAPTION
            if key.endswith(ending) and not other and isinstance(text, str):
                texts.setdefault(frames, text)
    return texts


def _short(text: str | None) -> str:
    return "missing" if text is None else repr(text if len(text) <= 40 else f"{text[:39]}…")


def _wrong_in_ids(chunk: Chunk) -> Iterator[Finding]:
    """Clips whose id is not that of their name and span, where the ids of most others are."""
    fits = [(clip, id_fits(clip.document)) for clip in chunk.clips if clip.document]
    wrong = [clip for clip, fit in fits if fit is False]
    computable = sum(fit is not None for _, fit in fits)
    # Pipelines of others may name clips as they like.
    if computable > 1 and 2 * len(wrong) > computable:
        return
    for clip in wrong:
        start, end = clip.document["duration_span"]
        yield Finding(
            "id",
            clip.name,
            f"duration_span is {start:g} to {end:g}",
            "its id belongs to the video's name and the frames of another span",
        )


# ── files that steps made of its clips ───────────────────────────────────────────────────────────


def _made(artefact: Artefact, clips: Iterable[Clip]) -> list[tuple[Clip, str]]:
    """The files of this kind that may be there, and whose they are."""
    kept = (clip for clip in clips if clip.kept and clip.document)
    return [(clip, path) for clip in kept for path in artefact.paths(clip.document)]


def claim_artefacts(clips: Sequence[Clip]) -> None:
    """What steps made of clips, if they did, belongs to them."""
    for artefact, _ in MADE:
        for clip, path in _made(artefact, clips):
            clip.claims.append(path)


def _wrong_in_artefacts(clips: Sequence[Clip], verifying: Verifying) -> Iterator[Finding]:
    """Whether each is there that was made, and whole; what belongs to a clip is claimed."""
    claim_artefacts(clips)
    for artefact, step in MADE:
        if not verifying.files.may_have(artefact.folder, verifying.folders):
            continue
        owned = _made(artefact, clips)
        read_one = partial(verifying.files.read, layout=verifying.layout)
        read = verifying.each(read_one, [path for _, path in owned])
        missing = []
        for (clip, path), data in zip(owned, read, strict=True):
            if data is not None:
                clip.there.append(path)
                clip.counts[f"{step.gives}s"] += 1
                if damage := step.damage(data):
                    should = f"should be a whole {artefact.suffix.lstrip('.')}"
                    yield Finding("artefact-broken", path, damage, should)
            elif clip.has_file and step.marks() not in (clip.document.get("errors") or ()):
                missing.append(path)
        for path in missing if len(missing) < len(owned) else ():
            yield Finding(
                "artefact-missing", path, "is missing", "other clips of its chunk have theirs"
            )
