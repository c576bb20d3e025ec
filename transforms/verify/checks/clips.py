"""Clips of a chunk, and what their documents say, by themselves and against the chunk's."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from finecut.io.layout import clip_id
from finecut.io.storage import files as shelf
from finecut.transforms.verify.checks import shapes
from finecut.transforms.verify.checks.documents import CLIP, Document, document_in
from finecut.transforms.verify.checks.findings import Finding, KindName

DIGEST: Final = "sha256"
#: NeMo Curator counts frames by duration times rate, cut off.
OFF_BY: Final = 1
#: Frames by which an id may be off where a video has no constant rate.
NEAR: Final = 8
#: How much the rates of video and clip may differ where the video has a constant rate.
SAME_RATE: Final = 1e-3


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
    counts: dict[str, float] = field(default_factory=dict)
    #: Files that belong to it, below the root; those that do not exist do no harm.
    claims: list[str] = field(default_factory=list)
    #: Windows that have a preview.
    previews: int = 0

    def say(self, kind: KindName, path: str, wrong: str, should: str) -> None:
        self.findings.append(Finding(kind, path, wrong, should))

    def count(self, what: str, number: float = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number

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


def read_clip(clip: Clip, path: str, video: str) -> None:
    """Read the clip's document, which lies there, and check what it says of itself."""
    clip.count("clip documents")
    clip.claims.append(clip.name)
    data = shelf.read_if_there(path)
    if data is None:
        clip.say("document-missing", clip.name, "is missing", "its chunk's document lists it")
        return
    clip.count("documents")
    document, wrong = document_in(data, clip.name, CLIP)
    clip.findings += wrong
    if not wrong:
        clip.document = document
        _check_document(clip, video)
        _check_windows(clip)


def _check_document(clip: Clip, video: str) -> None:
    document = clip.document

    def differs(wrong: str, should: str) -> None:
        clip.say("document-differs", clip.name, wrong, should)

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
    if facts and not clip.has_file:
        missing = ", ".join(key for key in shapes.FILE_FACTS if key not in document)
        differs(
            f"has no {missing}, but {facts[0]}", "should have all properties of the file, or none"
        )
    # Only finecut says what follows, and its documents have a digest.
    if DIGEST in document or "filtered_by" in document:
        if clip.kept == ("filtered_by" in document):
            wrong = f"filtered_by is {document.get('filtered_by')!r}"
            differs(
                wrong,
                "no rule should reject a kept clip, and a rule should reject every other clip",
            )
        sound = clip.kept and clip.has_file and not document.get("errors")
        if document["valid"] != sound:
            differs(
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
    if _has_id(document, rate, 1):
        return True
    if abs(own - rate) > SAME_RATE * rate:
        return None
    return _has_id(document, rate, NEAR)


def _has_id(document: Document, rate: float, reach: int) -> bool:
    """Whether the id is made of frames that are no farther than this from the span's."""
    start, end = (int(second * rate) for second in document["duration_span"])
    steps = range(-reach, reach + 1)
    return any(
        clip_id(document["source_video"], start + one, end + other) == document["span_uuid"]
        for one, other in itertools.product(steps, steps)
    )
