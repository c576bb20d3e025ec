"""One clip: its document, its file and its previews, each against the others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from finecut.io.layout import clip_id
from finecut.io.media.frames.webp import Moving
from finecut.io.media.remux.copying import COPIED, SPLICED
from finecut.io.storage import files as shelf
from finecut.transforms.verify.checks import findings as kinds
from finecut.transforms.verify.checks import shapes
from finecut.transforms.verify.checks.decoding import Found, Trouble, clip_found, preview_found
from finecut.transforms.verify.checks.findings import Finding
from finecut.transforms.verify.checks.shapes import Broken, faults, parsed
from finecut.transforms.verify.checks.verifying import Verifying

DIGEST: Final = "sha256"
#: NeMo Curator counts frames by duration times rate, cut off.
OFF_BY: Final = 1
#: Of the rate at which a clip is shown; the container rounds it.
RATE: Final = 0.01
#: Frames of previews are not spread quite evenly, and have even sides.
ABOUT: Final = 0.1
#: A RIFF file begins with its name and its length, which count eight bytes.
RIFF: Final = 8

Document = Mapping[str, Any]


@dataclass
class Clip:
    """A clip that a chunk lists, and what was found of it."""

    id: str
    kept: bool
    #: ``None`` where there is none that can be understood.
    document: Document | None = None
    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=dict)
    #: Files that belong to it, below the root; those that do not exist do no harm.
    claims: list[str] = field(default_factory=list)
    #: Windows that have a preview, and windows that should have one too.
    previews: int = 0

    def say(self, kind: str, path: str, wrong: str, should: str) -> None:
        self.findings.append(Finding(kind, path, wrong, should))

    def count(self, what: str, number: float = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

    @property
    def has_file(self) -> bool:
        return self.document is not None and shapes.FILE_FACTS.keys() <= self.document.keys()

    @property
    def windows(self) -> list[Mapping[str, Any]]:
        return [] if self.document is None else list(self.document["windows"])


def check_clip(id: str, kept: bool, video: str, verifying: Verifying) -> Clip:
    """Everything that one clip's own files say, besides its vectors."""
    clip = Clip(id, kept)
    clip.count("clip documents")
    path = verifying.layout.meta(id)
    name = verifying.below(path)
    clip.claims.append(name)
    data = shelf.read_if_there(path)
    if data is None:
        clip.say(kinds.DOCUMENT_MISSING, name, "is missing", "its chunk's document lists it")
        return clip
    clip.count("documents")
    try:
        document = parsed(data)
    except Broken as broken:
        clip.say(kinds.DOCUMENT_BROKEN, name, str(broken), "should be a document of a clip")
        return clip
    wrong = list(faults(document, shapes.CLIP))
    for fault, should in wrong:
        clip.say(kinds.DOCUMENT_BROKEN, name, fault, should)
    if wrong:
        return clip
    clip.document = document
    _check_document(clip, name, video)
    _check_file(clip, verifying)
    if kept:
        _check_previews(clip, verifying)
    return clip


# ── the document ─────────────────────────────────────────────────────────────────────────────────


def _check_document(clip: Clip, name: str, video: str) -> None:
    document = clip.document
    assert document is not None

    def differs(wrong: str, should: str) -> None:
        clip.say(kinds.DOCUMENT_DIFFERS, name, wrong, should)

    if document["span_uuid"] != clip.id:
        differs(f"is about the clip {document['span_uuid']}", f"should be about {clip.id}")
    if document["source_video"] != video:
        differs(
            f"source_video is {document['source_video']!r}",
            f"should be {video!r}, as its chunk's document says",
        )
    folder = "clips" if clip.kept else "filtered_clips"
    tail = document["clip_location"].rsplit("/", 3)
    if tail[-1] != f"{clip.id}.mp4" or folder not in tail[:-1]:
        differs(
            f"clip_location is {document['clip_location']!r}",
            f"should end in {folder}/…{clip.id}.mp4, where its chunk's document puts it",
        )
    facts = [key for key in shapes.FILE_FACTS if key in document]
    if facts and len(facts) < len(shapes.FILE_FACTS):
        missing = ", ".join(key for key in shapes.FILE_FACTS if key not in document)
        differs(f"has no {missing}, but {facts[0]}", "should have all facts of the file, or none")
    # What follows is said by finecut only, whose documents have a digest.
    if DIGEST in document or "filtered_by" in document:
        if clip.kept == ("filtered_by" in document):
            said = f"filtered_by is {document.get('filtered_by')!r}"
            differs(said, "a clip that is kept was rejected by nothing, and others by a rule")
        sound = clip.kept and clip.has_file and not document.get("errors")
        if document["valid"] != sound:
            differs(
                f"valid is {document['valid']}",
                f"should be {sound}: a clip is valid that is kept, has a file and no errors",
            )
    _check_windows(clip, name)


def _check_windows(clip: Clip, name: str) -> None:
    """Windows lie within the clip, one behind the other."""
    document = clip.document
    assert document is not None
    last = -1
    for window in clip.windows:
        start, end = window["start_frame"], window["end_frame"]
        most = document.get("num_frames", 0) - 1
        # A number of frames that was computed may be one too few.
        slack = 0 if DIGEST in document else OFF_BY
        if not last < start <= end or end > most + slack:
            clip.say(
                kinds.WINDOWS,
                name,
                f"has a window of the frames {start} to {end}",
                f"should lie behind frame {last} and end at {most}, the clip's last, or before",
            )
        last = max(last, end)


#: Frames by which an id may be off where a film has no constant rate.
NEAR: Final = 8
#: So much may the rates of film and clip differ where the film has a constant rate.
SAME_RATE: Final = 1e-3


def id_fits(document: Document) -> bool | None:
    """Whether a clip's id is that of its name and span; ``None`` where that cannot be computed.

    Frames of films without a constant rate are counted, and their numbers follow from no span.
    """
    rate, own = document["framerate_source"], document.get("framerate")
    if not rate or not own:
        return None
    start, end = document["duration_span"]
    id, name = document["span_uuid"], document["source_video"]
    if _any_id(id, name, start * rate, end * rate, 1):
        return True
    if abs(own - rate) > SAME_RATE * rate:
        return None
    return _any_id(id, name, start * rate, end * rate, NEAR)


def _any_id(id: str, name: str, start: float, end: float, reach: int) -> bool:
    steps = range(-reach, reach + 1)
    return any(
        clip_id(name, int(start) + one, int(end) + other) == id
        for one, other in itertools.product(steps, steps)
    )


# ── the file ─────────────────────────────────────────────────────────────────────────────────────


def _check_file(clip: Clip, verifying: Verifying) -> None:
    document = clip.document
    assert document is not None
    if not clip.has_file:
        return
    path = verifying.clip(clip.id, clip.kept, document["clip_location"])
    name = verifying.below(path)
    clip.claims.append(name)
    if not verifying.has_clips:
        return
    digest = document.get(DIGEST)
    found = clip_found(path, digest, verifying.film, verifying.limits, verifying.quick)
    if found is None:
        clip.say(kinds.CLIP_MISSING, name, "is missing", "its document says where it lies")
        return
    clip.count("clips")
    clip.count("bytes", found.num_bytes)
    if digest is None:
        clip.count("clips without digest")
    if found.watched is not None:
        clip.count("clips decoded")
        clip.count("frames", found.watched.num_frames)
        if found.watched.framerate:
            clip.count("seconds", found.watched.num_frames / found.watched.framerate)
    for kind, wrong, should in wrong_with(found, document):
        clip.say(kind, name, wrong, should)


def wrong_with(found: Found, document: Document) -> Iterator[tuple[str, str, str]]:
    """Kind, what is wrong and what should be: of a clip's file, as its document tells of it."""
    trouble = _trouble(found)
    if found.num_bytes != document["num_bytes"]:
        yield (
            kinds.CLIP_CHANGED,
            f"has {found.num_bytes:,} bytes{_and(trouble)}",
            f"should have {document['num_bytes']:,}, as its document says",
        )
        return
    if DIGEST in document and found.sha256 != document[DIGEST]:
        yield (
            kinds.CLIP_CHANGED,
            f"has the sha256 {found.sha256[:12]}…{_and(trouble)}",
            f"should have {document[DIGEST][:12]}…, as its document says",
        )
        return
    if trouble and _is_of_film(found, document):
        yield kinds.FILM_DAMAGED, trouble, "its bytes are those that were copied from its film"
        return
    if trouble:
        yield kinds.CLIP_BROKEN, trouble, "should decode to its end"
        return
    if found.watched is not None:
        yield from _differences(found, document)


def _is_of_film(found: Found, document: Document) -> bool:
    """Whether the damage was copied: the clip is as it was written, of packets nobody decoded."""
    copied = document.get("transcode") in (COPIED, SPLICED)
    return copied and found.sha256 == document.get(DIGEST) and not found.trouble


def _trouble(found: Found) -> str:
    if found.trouble:
        return f"cannot be decoded: {found.trouble}"
    watched = found.watched
    if watched is None:
        return ""
    parts = []
    if watched.damaged:
        parts.append(f"{watched.damaged} pictures")
    if watched.damaged_sound:
        parts.append(f"{watched.damaged_sound} packets of sound")
    return f"has damaged {' and '.join(parts)}" if parts else ""


def _and(trouble: str) -> str:
    return f", and {trouble}" if trouble else ""


def _differences(found: Found, document: Document) -> Iterator[tuple[str, str, str]]:
    watched = found.watched
    assert watched is not None
    # NeMo Curator computes the number of frames, and may be one off.
    slack = 0 if DIGEST in document else OFF_BY
    if abs(watched.num_frames - document["num_frames"]) > slack:
        yield _other("frames", watched.num_frames, document["num_frames"])
    # A clip that was copied may be turned by who shows it: then its sides are the other way round.
    turned = "transcode" in document and (watched.height, watched.width) == (
        document["width"],
        document["height"],
    )
    for key in ("video_codec",) if turned else ("width", "height", "video_codec"):
        if getattr(watched, key) != document[key]:
            yield _other(key.replace("_", " "), getattr(watched, key), document[key])
    rate = document["framerate"]
    if watched.num_frames > 1 and abs(watched.framerate - rate) > RATE * max(rate, 1e-9):
        yield _other("frames a second", f"{watched.framerate:.3f}", f"{rate:.3f}")


def _other(what: str, found: object, said: object) -> tuple[str, str, str]:
    return kinds.CLIP_DIFFERS, f"{what}: {found}", f"should be {said}, as its document says"


# ── previews ─────────────────────────────────────────────────────────────────────────────────────


def _check_previews(clip: Clip, verifying: Verifying) -> None:
    missing = []
    for window in clip.windows:
        path = verifying.layout.preview(clip.id, window["start_frame"], window["end_frame"])
        name = verifying.below(path)
        clip.claims.append(name)
        data = shelf.read_if_there(path) if verifying.has_previews else None
        if data is None:
            missing.append(name)
            continue
        clip.previews += 1
        clip.count("previews")
        _check_preview(clip, window, name, data, verifying)
    # Where only some are there, the others were, too.
    for name in missing if clip.previews else ():
        clip.say(kinds.PREVIEW_MISSING, name, "is missing", "other windows of the clip have theirs")


def _check_preview(
    clip: Clip, window: Mapping[str, Any], name: str, data: bytes, verifying: Verifying
) -> None:
    length = RIFF + int.from_bytes(data[4:RIFF], "little")
    if data[:4] != b"RIFF" or len(data) < length:
        wrong = f"has {len(data):,} bytes" if data[:4] == b"RIFF" else "is no WebP"
        clip.say(kinds.PREVIEW_BROKEN, name, wrong, f"should be a WebP of {length:,} bytes")
        return
    if verifying.quick:
        return
    try:
        shown = preview_found(data, verifying.limits)
    except Trouble as trouble:
        clip.say(kinds.PREVIEW_BROKEN, name, f"cannot be shown: {trouble}", "should be a WebP")
        return
    clip.count("previews shown")
    document = clip.document
    assert document is not None
    if not document.get("framerate"):
        return
    if document.get("transcode") not in (COPIED, SPLICED):
        _check_length(clip, window, name, shown)
    _check_form(clip, name, shown.width / max(1, shown.height))


def _check_length(clip: Clip, window: Mapping[str, Any], name: str, shown: Moving) -> None:
    """Not of clips that were copied: there, frames are looked at where they are cheap to have, so
    they are not spread evenly.
    """
    document = clip.document
    assert document is not None
    wanted = (window["end_frame"] - window["start_frame"] + 1) / document["framerate"]
    # Each frame is shown until the next, the last one as long as the others are: from the first to
    # the last is a part of the window, and one more at each end would be too long for it.
    if shown.num_frames > 1:
        each = shown.seconds / shown.num_frames
        inside, around = (shown.num_frames - 1) * each, (shown.num_frames + 1) * each
        if not (1 - ABOUT) * inside <= wanted <= (1 + ABOUT) * around:
            clip.say(
                kinds.PREVIEW_DIFFERS,
                name,
                f"has {shown.num_frames} frames in {shown.seconds:.2f} s",
                f"should last as long as its window, {wanted:.2f} s",
            )


def _check_form(clip: Clip, name: str, ratio: float) -> None:
    """Previews have even sides, so their form is nearly the clip's."""
    document = clip.document
    assert document is not None
    wanted = document["width"] / max(1, document["height"])
    if abs(ratio - wanted) > ABOUT * wanted:
        clip.say(
            kinds.PREVIEW_DIFFERS,
            name,
            f"is {ratio:.2f} times as wide as high",
            f"should be {wanted:.2f} times, as its clip is",
        )
