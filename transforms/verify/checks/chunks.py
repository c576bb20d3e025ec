"""One chunk: the unit of work. Its document, and everything that it promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from finecut.io.layout import chunk_id, is_clip_id
from finecut.io.storage import files as shelf
from finecut.transforms.verify.checks import documents
from finecut.transforms.verify.checks.artefacts import check_artefacts
from finecut.transforms.verify.checks.books import (
    wrong_in_captions,
    wrong_in_chunk,
    wrong_in_counts,
    wrong_in_ids,
)
from finecut.transforms.verify.checks.clip_files import check_file, check_previews
from finecut.transforms.verify.checks.clips import Chunk, Clip, read_clip
from finecut.transforms.verify.checks.documents import Document, document_in
from finecut.transforms.verify.checks.findings import Checked, Finding
from finecut.transforms.verify.checks.orphans import ANYTHING, Claim
from finecut.transforms.verify.checks.vectors import Signed, check_vectors
from finecut.transforms.verify.checks.verifying import Verifying
from finecut.transforms.verify.checks.videos import ChunkFacts

_NUMBERED = re.compile(r"(.*)_(\d+)\.json", re.DOTALL)

Outcome = Finding | Checked | Claim | Signed | tuple[str, ChunkFacts]


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
    folder = verifying.below(verifying.layout.processed_clip_chunks())
    which = named(name.removeprefix(f"{folder}/"))
    if which is None:
        yield Finding(
            "orphan", name, "is not the document of a chunk", "should be called VIDEO_NUMBER.json"
        )
        return
    relative, index = which
    data = shelf.read_if_there(path)
    if data is None:
        return  # listed a moment ago: somebody is at work, and its note says so
    document, wrong = document_in(data, name, documents.CHUNK)
    yield from wrong
    if wrong:
        yield from _anything(document, name)
        yield relative, ChunkFacts(name, index, None)
        return
    listed = len(document["clips"]) + len(document["filtered_clips"])
    yield relative, ChunkFacts(name, index, listed, document["video"])
    if relative in verifying.open_videos:
        yield from _anything(document, name)
        return
    yield Checked({"documents": 1, "chunks": 1})
    chunk = Chunk(name, index, document)
    yield from wrong_in_chunk(chunk)
    if verifying.has_metas:
        yield from _check_clips(chunk, verifying)


def unreadable(path: str, error: OSError, verifying: Verifying) -> Finding:
    """A file that is there and cannot be read."""
    return Finding(
        "unreadable",
        verifying.below(path),
        f"cannot be read ({error.strerror or error})",
        "should be readable",
    )


def _anything(document: Document, name: str) -> Iterator[Claim]:
    """Nobody can say what belongs to these clips."""
    for key in ("clips", "filtered_clips"):
        ids = document.get(key)
        for id in filter(is_clip_id, ids if isinstance(ids, list) else ()):
            yield Claim(id, name, (ANYTHING,))
    index = document.get("clip_chunk_index")
    if type(index) is int:
        yield Claim(chunk_id(str(document.get("video")), index), name, (ANYTHING,))


def _check_clips(chunk: Chunk, verifying: Verifying) -> Iterator[Outcome]:
    listed = [(id, True) for id in chunk.document["clips"]]
    listed += [(id, False) for id in chunk.document["filtered_clips"]]
    check = partial(_checked, chunk.document["video"], verifying)
    chunk.clips.extend(verifying.each(check, listed))
    yield from check_artefacts(chunk.clips, verifying)
    for clip in chunk.clips:
        yield from clip.findings
        yield Checked(dict(clip.counts))
        yield Claim(clip.id, chunk.path, tuple(clip.claims) if clip.document else (ANYTHING,))
    yield from wrong_in_ids(chunk)
    yield from wrong_in_captions(chunk)
    yield from check_vectors(chunk, verifying)
    yield from wrong_in_counts(chunk)


def _checked(video: str, verifying: Verifying, listed: tuple[str, bool]) -> Clip:
    id, kept = listed
    path = verifying.layout.meta(id)
    clip = Clip(id, kept, verifying.below(path))
    try:
        read_clip(clip, path, video)
        check_file(clip, verifying)
        if kept:
            check_previews(clip, verifying)
    except OSError as error:  # of one of its files; the others are looked at all the same
        clip = Clip(id, kept, clip.name)
        where = error.filename if isinstance(error.filename, str) else path
        clip.findings.append(unreadable(where, error, verifying))
    return clip
