"""A clip's file and its previews, against the clip's document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from finecut.io.media.remux.copying import COPIED, SPLICED
from finecut.io.media.validate import Moving
from finecut.io.storage import files as shelf
from finecut.transforms.verify.checks.clips import DIGEST, Clip, frames_off
from finecut.transforms.verify.checks.decoding import Found, Trouble, clip_found, preview_found
from finecut.transforms.verify.checks.documents import Document
from finecut.transforms.verify.checks.findings import KindName
from finecut.transforms.verify.checks.verifying import Verifying

#: Of the rate at which a clip is shown; the container rounds it.
RATE: Final = 0.01
#: Frames of previews are not spread quite evenly, and have even sides.
ABOUT: Final = 0.1
#: A RIFF file begins with its name and its length, which count eight bytes.
RIFF: Final = 8


# ── the file ─────────────────────────────────────────────────────────────────────────────────────


def check_file(clip: Clip, verifying: Verifying) -> None:
    """The clip's file, if its document says that there is one."""
    if not clip.has_file:
        return
    path = verifying.clip(clip.id, clip.kept, clip.document["clip_location"])
    name = verifying.below(path)
    clip.claims.append(name)
    if not verifying.has_clips:
        return
    found = clip_found(path, clip.document.get(DIGEST), verifying)
    if found is None:
        clip.say("clip-missing", name, "is missing", "its document says where it is")
        return
    clip.count("clips")
    clip.count("bytes", found.num_bytes)
    if DIGEST not in clip.document:
        clip.count("clips without digest")
    if found.watched is not None:
        clip.count("clips decoded")
        clip.count("frames", found.watched.num_frames)
        if found.watched.framerate:
            clip.count("seconds", found.watched.num_frames / found.watched.framerate)
    for kind, wrong, should in wrong_with(found, clip.document):
        clip.say(kind, name, wrong, should)


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
    else:
        for what, is_, said in _differences(found, document):
            yield "clip-differs", f"{what}: {is_}", f"should be {said}, as its document says"


def _was_copied(document: Document) -> bool:
    return document.get("transcode") in (COPIED, SPLICED)


def _trouble(found: Found) -> str:
    if found.trouble:
        return f"cannot be decoded: {found.trouble}"
    watched, parts = found.watched, []
    if watched is not None and watched.damaged:
        parts.append(f"{watched.damaged} frames")
    if watched is not None and watched.damaged_sound:
        parts.append(f"{watched.damaged_sound} packets of sound")
    return f"has damaged {' and '.join(parts)}" if parts else ""


def _differences(found: Found, document: Document) -> Iterator[tuple[str, object, object]]:
    """What was watched, and what the document says of it, where they differ."""
    watched = found.watched
    if watched is None:
        return
    if abs(watched.num_frames - document["num_frames"]) > frames_off(document):
        yield "frames", watched.num_frames, document["num_frames"]
    # A player may turn a clip that was copied: then its sides are the other way round.
    sides = (document["width"], document["height"])
    turned = "transcode" in document and (watched.height, watched.width) == sides
    for key in ("video_codec",) if turned else ("width", "height", "video_codec"):
        if getattr(watched, key) != document[key]:
            yield key.replace("_", " "), getattr(watched, key), document[key]
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
        data = shelf.read_if_there(path) if verifying.has_previews else None
        if data is None:
            missing.append(name)
            continue
        clip.previews += 1
        clip.count("previews")
        for kind, wrong, should in _wrong_with_preview(data, window, clip, verifying):
            clip.say(kind, name, wrong, should)
    # Where only some are there, the others were, too.
    for name in missing if clip.previews else ():
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
    clip.count("previews shown")
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
