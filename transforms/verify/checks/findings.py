"""Findings: what is wrong with an output, where, and what one does about it.

A kind says once what usually causes its findings and what to do; a finding says where and what.
Kinds that are only worth knowing are notes: a video that is being worked on is nothing wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

AGAIN: Final = (
    "Remove the video's document under processed_videos/ and run the same finecut curate again: "
    "what is whole is replaced by the same, and what is missing comes back."
)
COPY: Final = "Copy the output again, or take the file from where it was made."
DEDUP: Final = "Run finecut dedup again."
SHARD: Final = "Run finecut shard again, with the options it had."
ASK: Final = "Nothing, unless nobody is at work on it any more: the next run finishes or sweeps it."


@dataclass(frozen=True)
class Kind:
    """What findings of one kind have in common."""

    name: str
    usually: str
    do: str
    #: What is not wrong is only worth knowing.
    wrong: bool = True


#: Every kind, in the order in which they are shown.
KINDS: dict[str, Kind] = {}


def _kind(name: str, usually: str, do: str, wrong: bool = True) -> str:
    KINDS[name] = Kind(name, usually, do, wrong)
    return name


CHUNK_MISSING: Final = _kind(
    "chunk-missing", "files were removed by hand, or a copy is not complete", AGAIN
)
VIDEO_MISSING: Final = _kind(
    "video-missing", "files were removed by hand, or a copy is not complete", AGAIN
)
DOCUMENT_MISSING: Final = _kind(
    "document-missing", "files were removed by hand, or a copy is not complete", AGAIN
)
DOCUMENT_BROKEN: Final = _kind(
    "document-broken", "a copy was cut short, or the document was edited", AGAIN
)
DOCUMENT_DIFFERS: Final = _kind(
    "document-differs", "a document was edited, or copied over another's name", AGAIN
)
COUNT: Final = _kind(
    "count", "a document was edited, or clips were added or removed without telling it", AGAIN
)
ID: Final = _kind(
    "id",
    "the span, the name or the rate in a document was edited, or two were swapped",
    AGAIN,
)
LISTED_TWICE: Final = _kind(
    "listed-twice", "two outputs were copied into one folder", "Take them apart again."
)
UNREADABLE: Final = _kind(
    "unreadable",
    "it may not be read by who verifies, or a disk or a network is in trouble",
    "See who may read it, and verify again; nothing that depends on it was looked at.",
)
CLIP_MISSING: Final = _kind(
    "clip-missing",
    "files were removed by hand, a copy is not complete, or the last run over this video had "
    "--no-upload-clips",
    AGAIN,
)
CLIP_TWICE: Final = _kind(
    "clip-twice",
    "files were moved by hand between clips/ and filtered_clips/, or two outputs were copied into "
    "one folder",
    "Remove the one that is named here.",
)
CLIP_CHANGED: Final = _kind(
    "clip-changed",
    "a copy was cut short, a disk lost something, or another program wrote to the file",
    COPY,
)
CLIP_BROKEN: Final = _kind(
    "clip-broken", "a copy was cut short, or a disk or a network lost something", AGAIN
)
CLIP_DIFFERS: Final = _kind(
    "clip-differs", "clips were swapped or encoded again, or their documents were edited", AGAIN
)
WINDOWS: Final = _kind("windows", "a document was edited", AGAIN)
CAPTIONS: Final = _kind("captions", "captions were edited in one of the two places only", AGAIN)
PREVIEW_MISSING: Final = _kind(
    "preview-missing", "files were removed by hand, or a copy is not complete", AGAIN
)
PREVIEW_BROKEN: Final = _kind(
    "preview-broken", "a copy was cut short, or a disk or a network lost something", AGAIN
)
PREVIEW_DIFFERS: Final = _kind("preview-differs", "previews were swapped or made again", AGAIN)
VECTOR_MISSING: Final = _kind(
    "vector-missing", "files were removed by hand, or a copy is not complete", AGAIN
)
VECTOR_BROKEN: Final = _kind(
    "vector-broken",
    "a copy was cut short, or the embedder gave no number; a pickle that would call something was "
    "put there by somebody else",
    "Unpickle nothing of this folder before you know where it comes from. " + AGAIN,
)
VECTOR_DIFFERS: Final = _kind(
    "vector-differs", "one of the two was written again by another program", AGAIN
)
TABLE_MISSING: Final = _kind(
    "table-missing", "files were removed by hand, or a copy is not complete", AGAIN
)
TABLE_BROKEN: Final = _kind(
    "table-broken", "a copy was cut short, or another program wrote the table", AGAIN
)
TABLE_DIFFERS: Final = _kind(
    "table-differs", "rows were removed by hand, or another program wrote the table", AGAIN
)
MODEL: Final = _kind(
    "model",
    "vectors of two models were copied into one folder",
    "Do not compare these vectors with the others; remove both folders of vectors, and curate "
    "again with one model.",
)
ORPHAN: Final = _kind(
    "orphan",
    "the documents that listed it were lost (then they are named above), or files were copied here",
    "Remove it, if no document is missing.",
)
FAILURES_BROKEN: Final = _kind(
    "failures-broken",
    "the list was edited, or a copy was cut short",
    "Run the same finecut curate again: it writes the list anew.",
)
RUN_BROKEN: Final = _kind(
    "run-broken",
    "the document was edited, or a copy was cut short; sums that differ are an error in finecut",
    "If sums differ, and nobody edited it, report it; nothing of the clips depends on it.",
)
DUPLICATES_BROKEN: Final = _kind(
    "duplicates-broken", "a copy was cut short, or finecut dedup was killed", DEDUP
)
DUPLICATES_DIFFER: Final = _kind(
    "duplicates-differ", "videos were curated again since duplicates were searched", DEDUP
)
INDEX_BROKEN: Final = _kind(
    "index-broken", "a copy was cut short, or the table is of another program", SHARD
)
SHARD_MISSING: Final = _kind("shard-missing", "a copy is not complete", SHARD)
SHARD_BROKEN: Final = _kind(
    "shard-broken", "a copy was cut short, or another program wrote to the file", SHARD
)
SHARD_DIFFERS: Final = _kind(
    "shard-differs", "shards of two runs lie in one folder, or one was written again", SHARD
)
LEADS_OUTSIDE: Final = _kind(
    "leads-outside",
    "somebody put a link there to save room, or to have finecut touch what it leads to",
    "Remove the link, or put in its place what it leads to; finecut follows it nowhere.",
)
NOTE_BROKEN: Final = _kind(
    "note-broken", "somebody edited the note, or another program wrote it", SHARD
)

UNFINISHED: Final = _kind(
    "unfinished", "it is being worked on, or a run was killed", ASK, wrong=False
)
LEFTOVER: Final = _kind("leftover", "a run is at work, or was killed", ASK, wrong=False)
FILM_DAMAGED: Final = _kind(
    "film-damaged",
    "the film is damaged there, and its packets were copied as they are",
    "Nothing, or curate the film with --transcode encode, which marks what cannot be decoded.",
    wrong=False,
)
NOT_READ: Final = _kind(
    "not-read",
    "NeMo Curator writes such documents of files that it could not read",
    "Look for the file in the input.",
    wrong=False,
)
NOT_LOOKED_AT: Final = _kind("not-looked-at", "it is no part of an output", "Nothing.", wrong=False)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (or worth knowing), and where."""

    kind: str
    #: Below the output, or where else it lies.
    path: str
    wrong: str
    #: What it should be, as "… should be 3".
    should: str

    @property
    def line(self) -> str:
        return f"{self.path}: {self.wrong}; {self.should}"


@dataclass(frozen=True)
class Checked:
    """How much was looked at, by the names of what was."""

    counts: Mapping[str, float] = field(default_factory=dict)


def together(several: Iterable[Checked]) -> Checked:
    """The sum of these.

    >>> together([Checked({"clips": 2}), Checked({"clips": 1, "frames": 3})]).counts
    {'clips': 3, 'frames': 3}
    """
    sums: dict[str, float] = {}
    for name, number in (each for checked in several for each in checked.counts.items()):
        sums[name] = sums.get(name, 0) + number
    return Checked(dict(sorted(sums.items())))
