"""A clip that a chunk lists: its document, its file and its previews, against each other."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from finecut.io.layout import PREVIEWS, clip_id
from finecut.io.media.remux.copying import COPIED, SPLICED
from finecut.io.media.validate import Moving, Watched
from finecut.transforms.verify.checks import shapes
from finecut.transforms.verify.checks.decoding import Found, Trouble, clip_found, preview_found
from finecut.transforms.verify.checks.documents import document_in
from finecut.transforms.verify.checks.findings import Finding, KindName, Verifying
from finecut.transforms.verify.checks.shapes import Document

DIGEST: Final = "sha256"
#: NeMo Curator counts frames by duration times rate, cut off.
OFF_BY: Final = 1
#: Frames by which an id may be off where a video has no constant rate.
NEAR: Final = 8
#: How much the rates of video and clip may differ where the video has a constant rate.
SAME_RATE: Final = 1e-3
#: Of the rate at which a clip is shown; the container rounds it.
RATE: Final = 0.01
#: Frames of previews are not spread quite evenly, and have even sides.
ABOUT: Final = 0.1
#: A RIFF file begins with its name and its length, which count eight bytes.
RIFF: Final = 8


@dataclass
class Clip:
    """A clip that a chunk lists, and what was found of it."""

    id: str
    kept: bool
    #: Its document's path, below the root.
    name: str
    #: Empty if it is missing or cannot be understood.
    document: Document = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    #: Files that belong to it, below the root; those that do not exist do no harm.
    claims: list[str] = field(default_factory=list)
    #: Those that are there.
    there: list[str] = field(default_factory=list)

    def say(self, kind: KindName, path: str, wrong: str, should: str) -> None:
        self.findings.append(Finding(kind, path, wrong, should))

    @property
    def has_file(self) -> bool:
        return shapes.FILE_FACTS.keys() <= self.document.keys()

    @property
    def windows(self) -> list[Mapping[str, Any]]:
        return list(self.document.get("windows", ()))


@dataclass
class Chunk:
    """A chunk whose document can be understood."""

    #: Its document's path, below the root.
    path: str
    #: As its name says.
    index: int
    document: Document
    clips: list[Clip] = field(default_factory=list)
    #: Ids of clips that have a vector of any kind.
    with_vectors: set[str] = field(default_factory=set)
    #: Rows of its tables.
    num_vectors: int = 0


def frames_off(document: Document) -> int:
    """How far the document's number of frames may be off: a computed one may be one too few."""
    return 0 if DIGEST in document else OFF_BY


def read_clip(clip: Clip, video: str, verifying: Verifying) -> None:
    """Read the clip's document, and check what it says of itself."""
    clip.counts["clip documents"] += 1
    clip.claims.append(clip.name)
    data = verifying.files.read(clip.name, verifying.layout)
    if data is None:
        clip.say("document-missing", clip.name, "is missing", "its chunk's document lists it")
        return
    clip.counts["documents"] += 1
    clip.there.append(clip.name)
    document, wrong = document_in(data, clip.name, "a document of a clip", shapes.CLIP)
    clip.findings += wrong
    if not wrong:
        clip.document = document
        clip.findings += (
            Finding("document-differs", clip.name, *fault)
            for fault in _wrong_in_document(clip, video)
        )
        _check_windows(clip)


def _wrong_in_document(clip: Clip, video: str) -> Iterator[tuple[str, str]]:
    """What is wrong with what it says, and what it should say."""
    document = clip.document
    if document["span_uuid"] != clip.id:
        yield f"is about the clip {document['span_uuid']}", f"should be about {clip.id}"
    if document["source_video"] != video:
        yield (
            f"source_video is {document['source_video']!r}",
            f"should be {video!r}, as its chunk's document says",
        )
    folder = "clips" if clip.kept else "filtered_clips"
    tail = document["clip_location"].rsplit("/", 3)
    if tail[-1] != f"{clip.id}.mp4" or folder not in tail[:-1]:
        yield (
            f"clip_location is {document['clip_location']!r}",
            f"should end in {folder}/…{clip.id}.mp4, where its chunk's document puts it",
        )
    facts = [key for key in shapes.FILE_FACTS if key in document]
    if facts and not clip.has_file:
        missing = ", ".join(key for key in shapes.FILE_FACTS if key not in document)
        yield (
            f"has no {missing}, but {facts[0]}",
            "should have all properties of the file, or none",
        )
    # Only finecut says what follows, and its documents have a digest.
    if DIGEST in document or "filtered_by" in document:
        if clip.kept == ("filtered_by" in document):
            yield (
                f"filtered_by is {document.get('filtered_by')!r}",
                "no rule should reject a kept clip, and a rule should reject every other clip",
            )
        sound = clip.kept and clip.has_file and not document.get("errors")
        if document["valid"] != sound:
            yield (
                f"valid is {document['valid']}",
                f"should be {sound}: a clip is valid if it was kept, has a file, and has no errors",
            )


def _check_windows(clip: Clip) -> None:
    """Windows lie within the clip, one behind the other."""
    last = -1
    most = clip.document.get("num_frames", 0) - 1
    for window in clip.windows:
        start, end = window["start_frame"], window["end_frame"]
        if not last < start <= end or end > most + frames_off(clip.document):
            clip.say(
                "windows",
                clip.name,
                f"has a window of the frames {start} to {end}",
                f"should lie behind frame {last} and end at {most}, the clip's last, or before",
            )
        last = max(last, end)


def id_fits(document: Document) -> bool | None:
    """Whether a clip's id is that of its name and span; ``None`` where that cannot be computed.

    Frames of videos without a constant rate are counted, and their numbers follow from no span.
    """
    rate, own = document["framerate_source"], document.get("framerate")
    if not rate or not own:
        return None
    constant = abs(own - rate) <= SAME_RATE * rate
    return _has_id(document, rate, 1) or (_has_id(document, rate, NEAR) if constant else None)


def _has_id(document: Document, rate: float, reach: int) -> bool:
    """Whether the id is made of frames that are no farther than this from the span's."""
    start, end = (int(second * rate) for second in document["duration_span"])
    steps = range(-reach, reach + 1)
    return any(
        clip_id(document["source_video"], start + one, end + other) == document["span_uuid"]
        for one, other in itertools.product(steps, steps)
    )


# ── the file ─────────────────────────────────────────────────────────────────────────────────────


def check_file(clip: Clip, verifying: Verifying) -> None:
    """The clip's file, if its document says that there is one."""
    if not clip.has_file:
        return
    name = verifying.below(verifying.clip(clip.id, clip.kept, clip.document["clip_location"]))
    clip.claims.append(name)
    if not verifying.has_clips:
        return
    film = verifying.files.place(name, verifying.layout)
    if film is None and not clip.kept:
        return  # finecut repack leaves no films of rejected clips
    found = film and clip_found(film, clip.document.get(DIGEST), verifying)
    if found is None:
        clip.say("clip-missing", name, "is missing", "its document says where it is")
        return
    clip.there.append(name)
    clip.counts["clips"] += 1
    clip.counts["bytes"] += found.num_bytes
    if DIGEST not in clip.document:
        clip.counts["clips without digest"] += 1
    if watched := found.watched:
        clip.counts["clips decoded"] += 1
        clip.counts["frames"] += watched.num_frames
        if watched.framerate:
            clip.counts["seconds"] += watched.num_frames / watched.framerate
    clip.findings += (
        Finding(kind, name, wrong, should)
        for kind, wrong, should in wrong_with(found, clip.document)
    )


def wrong_with(found: Found, document: Document) -> Iterator[tuple[KindName, str, str]]:
    """Kind, what is wrong and what should be: of a clip's file, as its document tells of it."""
    trouble = _trouble(found)
    also = f", and {trouble}" if trouble else ""
    if found.num_bytes != document["num_bytes"]:
        yield (
            "clip-changed",
            f"has {found.num_bytes:,} bytes{also}",
            f"should have {document['num_bytes']:,}, as its document says",
        )
    elif found.sha256 != document.get(DIGEST, found.sha256):
        yield (
            "clip-changed",
            f"has the sha256 {found.sha256[:12]}…{also}",
            f"should have {document[DIGEST][:12]}…, as its document says",
        )
    elif trouble and _was_copied(document) and DIGEST in document and not found.trouble:
        # The clip is as it was written, of packets that nobody decoded.
        yield "film-damaged", trouble, "its bytes are those that were copied from its source video"
    elif trouble:
        yield "clip-broken", trouble, "should decode completely"
    elif found.watched:
        for what, is_, said in _differences(found.watched, document):
            yield "clip-differs", f"{what}: {is_}", f"should be {said}, as its document says"


def _was_copied(document: Document) -> bool:
    return document.get("transcode") in (COPIED, SPLICED)


def _trouble(found: Found) -> str:
    if found.trouble:
        return f"cannot be decoded: {found.trouble}"
    if found.watched is None:
        return ""
    damaged = {"frames": found.watched.damaged, "packets of sound": found.watched.damaged_sound}
    parts = [f"{number} {what}" for what, number in damaged.items() if number]
    return f"has damaged {' and '.join(parts)}" if parts else ""


def _differences(watched: Watched, document: Document) -> Iterator[tuple[str, object, object]]:
    """What was watched, and what the document says of it, where they differ."""
    if abs(watched.num_frames - document["num_frames"]) > frames_off(document):
        yield "frames", watched.num_frames, document["num_frames"]
    # A player may turn a clip that was copied: then its sides are the other way round.
    sides = (document["height"], document["width"])
    turned = "transcode" in document and (watched.width, watched.height) == sides
    yield from (
        (key.replace("_", " "), getattr(watched, key), document[key])
        for key in (("video_codec",) if turned else ("width", "height", "video_codec"))
        if getattr(watched, key) != document[key]
    )
    rate = document["framerate"]
    if watched.num_frames > 1 and abs(watched.framerate - rate) > RATE * max(rate, 1e-9):
        yield "frames a second", f"{watched.framerate:.3f}", f"{rate:.3f}"


# ── previews ─────────────────────────────────────────────────────────────────────────────────────


def check_previews(clip: Clip, verifying: Verifying) -> None:
    """The previews of a kept clip: one for each window, or none."""
    missing = []
    for window in clip.windows:
        path = verifying.layout.preview(clip.id, window["start_frame"], window["end_frame"])
        name = verifying.below(path)
        clip.claims.append(name)
        has_some = verifying.files.may_have(PREVIEWS.folder, verifying.folders)
        data = verifying.files.read(name, verifying.layout) if has_some else None
        if data is None:
            missing.append(name)
            continue
        clip.counts["previews"] += 1
        clip.there.append(name)
        clip.findings += (
            Finding(kind, name, wrong, should)
            for kind, wrong, should in _wrong_with_preview(data, window, clip, verifying)
        )
    # Where only some are there, the others were, too.
    for name in missing if "previews" in clip.counts else ():
        clip.say("preview-missing", name, "is missing", "other windows of the clip have theirs")


def _wrong_with_preview(
    data: bytes, window: Mapping[str, Any], clip: Clip, verifying: Verifying
) -> Iterator[tuple[KindName, str, str]]:
    length = RIFF + int.from_bytes(data[4:RIFF], "little")
    if data[:4] != b"RIFF" or len(data) < length:
        yield (
            "preview-broken",
            f"has {len(data):,} bytes" if data[:4] == b"RIFF" else "is not a WebP",
            f"should be a WebP of {length:,} bytes",
        )
        return
    if verifying.quick:
        return
    try:
        shown = preview_found(data, verifying.limits)
    except Trouble as trouble:
        yield "preview-broken", f"cannot be shown: {trouble}", "should be a WebP"
        return
    clip.counts["previews shown"] += 1
    if clip.document.get("framerate"):
        for wrong, should in _differences_of_preview(shown, window, clip.document):
            yield "preview-differs", wrong, should


def _differences_of_preview(
    shown: Moving, window: Mapping[str, Any], document: Document
) -> Iterator[tuple[str, str]]:
    wanted = (window["end_frame"] - window["start_frame"] + 1) / document["framerate"]
    # Of clips that were copied, frames are taken where they are cheap to have, and not evenly.
    if shown.num_frames > 1 and not _was_copied(document):
        # Each frame is shown until the next, the last one as long as the others: from the first to
        # the last is a part of the window, and one more at each end would be too long for it.
        each = shown.seconds / shown.num_frames
        inside, around = (shown.num_frames - 1) * each, (shown.num_frames + 1) * each
        if not (1 - ABOUT) * inside <= wanted <= (1 + ABOUT) * around:
            yield (
                f"has {shown.num_frames} frames in {shown.seconds:.2f} s",
                f"should last as long as its window, {wanted:.2f} s",
            )
    ratio = shown.width / max(1, shown.height)
    form = document["width"] / max(1, document["height"])
    if abs(ratio - form) > ABOUT * form:
        yield (
            f"is {ratio:.2f} times as wide as high",
            f"should be {form:.2f} times, as its clip is",
        )
