"""One chunk: the unit of work. Its document, and everything that it promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from finecut.io.layout import chunk_id
from finecut.io.storage import files as shelf
from finecut.transforms.verify.checks import findings as kinds
from finecut.transforms.verify.checks import shapes
from finecut.transforms.verify.checks.artefacts import check_artefacts
from finecut.transforms.verify.checks.books import (
    ChunkFacts,
    wrong_in_captions,
    wrong_in_chunk,
    wrong_in_counts,
    wrong_in_ids,
)
from finecut.transforms.verify.checks.clips import Clip, check_clip
from finecut.transforms.verify.checks.findings import Checked, Finding
from finecut.transforms.verify.checks.shapes import Broken, Document, faults, parsed
from finecut.transforms.verify.checks.vectors import Signed, check_vectors
from finecut.transforms.verify.checks.verifying import Verifying

#: Anything that lies there of this owner belongs to it.
ANYTHING: Final = "*"
_NUMBERED = re.compile(r"(.*)_(\d+)\.json", re.DOTALL)


@dataclass(frozen=True)
class Claim:
    """Files that belong to a clip or chunk (its owner), as a document says."""

    owner: str
    by: str
    paths: tuple[str, ...]


Outcome = Finding | Checked | Claim | ChunkFacts | Signed


def named(name: str) -> tuple[str, int] | None:
    """The video and the number of a chunk, by the name of its document below their folder.

    >>> named("films/a.mp4_12.json")
    ('films/a.mp4', 12)
    """
    matched = _NUMBERED.fullmatch(name)
    return (matched[1], int(matched[2])) if matched else None


def check_chunk(path: str, verifying: Verifying) -> Iterator[Outcome]:
    """Everything there is to say of a chunk whose document lies there."""
    name = verifying.below(path)
    folder = verifying.below(verifying.layout.processed_clip_chunks()) + "/"
    which = named(name.removeprefix(folder))
    if which is None:
        should = "should be called VIDEO_NUMBER.json"
        yield Finding(kinds.ORPHAN, name, "is no document of a chunk", should)
        return
    relative, index = which
    data = shelf.read_if_there(path)
    if data is None:
        return  # listed a moment ago: somebody is at work, and its note says so
    try:
        document = parsed(data)
    except Broken as broken:
        should = "should be a document of a chunk"
        yield Finding(kinds.DOCUMENT_BROKEN, name, str(broken), should)
        yield ChunkFacts(name, index, None)
        return
    wrong = list(faults(document, shapes.CHUNK))
    for fault, should in wrong:
        yield Finding(kinds.DOCUMENT_BROKEN, name, fault, should)
    if wrong:
        yield from _anything(document, name)
        yield ChunkFacts(name, index, None)
        return
    listed = len(document["clips"]) + len(document["filtered_clips"])
    yield ChunkFacts(name, index, listed, document["video"])
    if relative in verifying.open_videos:
        yield from _anything(document, name)
        return
    yield Checked({"documents": 1, "chunks": 1})
    yield from wrong_in_chunk(name, index, document)
    if verifying.has_metas:
        yield from _check_clips(name, index, document, verifying)


def unreadable(path: str, error: OSError, verifying: Verifying) -> Finding:
    """A file that is there and cannot be read."""
    wrong = f"cannot be read ({error.strerror or error})"
    return Finding(kinds.UNREADABLE, verifying.below(path), wrong, "should be readable")


def _anything(document: Document, name: str) -> Iterator[Claim]:
    """Nobody can say what belongs to these clips."""
    for key in ("clips", "filtered_clips"):
        said = document.get(key)
        for id in said if isinstance(said, list) else ():
            if shapes.is_id(id):
                yield Claim(id, name, (ANYTHING,))
    index = document.get("clip_chunk_index")
    if type(index) is int:
        yield Claim(chunk_id(str(document.get("video")), index), name, (ANYTHING,))


def _check_clips(
    name: str, index: int, document: Document, verifying: Verifying
) -> Iterator[Outcome]:
    clips = [*_looked_at(document, verifying)]
    yield from check_artefacts(clips, verifying)
    for clip in clips:
        yield from clip.findings
        yield Checked(dict(clip.counts))
        paths = tuple(clip.claims) if clip.document is not None else (ANYTHING,)
        yield Claim(clip.id, name, paths)
    yield from wrong_in_ids(clips, verifying)
    yield from wrong_in_captions(name, document, clips)
    vectors = check_vectors(document["video"], index, clips, verifying)
    yield from vectors.findings
    yield from vectors.signed
    yield Checked({"vectors": vectors.count})
    for owner, path in vectors.claims:
        yield Claim(owner, name, (path,))
    yield from wrong_in_counts(name, document, clips, vectors.clips)


def _looked_at(document: Document, verifying: Verifying) -> Iterator[Clip]:
    """Each clip of the chunk, kept ones first."""
    ids = [(id, True) for id in document["clips"]]
    ids += [(id, False) for id in document["filtered_clips"]]
    yield from verifying.each(partial(_look, document["video"], verifying), ids)


def _look(video: str, verifying: Verifying, which: tuple[str, bool]) -> Clip:
    id, kept = which
    try:
        return check_clip(id, kept, video, verifying)
    except OSError as error:  # of one of its files; the others are looked at all the same
        clip = Clip(id, kept)
        path = error.filename if isinstance(error.filename, str) else verifying.layout.meta(id)
        clip.findings.append(unreadable(path, error, verifying))
        return clip
