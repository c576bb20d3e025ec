"""What all checks share: findings, claims, and what each check is told.

A finding says what is wrong with an output, and where. Its kind says once what usually causes such
findings and what to do. Kinds that are only worth knowing are notes: a video that is being worked
on is nothing wrong. A claim says which files belong to a clip or a chunk, their owner. Owners are
dealt to a number of *shares*, each looked at as one, so that no worker has to know all clips.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar

from finecut.io.layout import Layout, clip_path_is_sharded
from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.process.children import ChildLimits
from finecut.io.process.threads import in_order
from finecut.io.records import CODING
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import NO_FENCE, Fence
from finecut.transforms.forget.tombstones import Forgotten
from finecut.transforms.verify.checks.held import Files

R = TypeVar("R")

#: Reads of one chunk that wait together.
READ_AHEAD: Final = 8
#: Hexadecimal digits of an owner's share: 65,536 of them.
DIGITS: Final = 4
#: Paths or ids that travel together.
TOGETHER: Final = 500
#: Anything that lies there of this owner belongs to it.
ANYTHING: Final = "*"
AGAIN: Final = (
    "Remove the video's document under processed_videos/ and run the same finecut curate command "
    "again: it rewrites the complete files with identical content and adds the missing ones."
)
LOST: Final = "files were removed by hand, or a copy is not complete"
COPY: Final = "Copy the output again, or copy the file from where it was made."
DEDUP: Final = "Run finecut dedup again."
COMPACT: Final = (
    "If nothing else is wrong, run finecut compact --rebuild: it makes the catalogue from the "
    "documents."
)
SHARD: Final = "Run finecut shard again, with the same options as before."
ASK: Final = (
    "Nothing, unless no run is working on it any more: the next run finishes it or removes it."
)


@dataclass(frozen=True)
class Kind:
    """What findings of one kind have in common."""

    usually: str
    do: str
    #: What is not wrong is only worth knowing.
    wrong: bool = True


#: What a finding may be, for the type checker; a test holds it against the table.
KindName = Literal[
    "chunk-missing",
    "video-missing",
    "document-missing",
    "document-broken",
    "document-differs",
    "count",
    "id",
    "listed-twice",
    "unreadable",
    "clip-missing",
    "clip-twice",
    "clip-changed",
    "clip-broken",
    "clip-differs",
    "windows",
    "captions",
    "preview-missing",
    "preview-broken",
    "preview-differs",
    "artefact-missing",
    "artefact-broken",
    "vector-missing",
    "vector-broken",
    "vector-differs",
    "table-missing",
    "table-broken",
    "table-differs",
    "pack-broken",
    "pack-differs",
    "model",
    "orphan",
    "failures-broken",
    "run-broken",
    "duplicates-broken",
    "duplicates-differ",
    "catalogue-broken",
    "catalogue-differs",
    "index-broken",
    "shard-missing",
    "shard-broken",
    "shard-differs",
    "forgotten",
    "leads-outside",
    "note-broken",
    "unfinished",
    "leftover",
    "film-damaged",
    "not-read",
    "not-looked-at",
]

#: Every kind, in the order in which they are shown.
KINDS: Final[Mapping[KindName, Kind]] = {
    "chunk-missing": Kind(LOST, AGAIN),
    "video-missing": Kind(LOST, AGAIN),
    "document-missing": Kind(LOST, AGAIN),
    "document-broken": Kind("a copy was cut short, or the document was edited", AGAIN),
    "document-differs": Kind("a document was edited, or copied over another's name", AGAIN),
    "count": Kind(
        "a document was edited, or clips were added or removed without updating it", AGAIN
    ),
    "id": Kind(
        "the span, the name or the rate in a document was edited, or two were swapped", AGAIN
    ),
    "listed-twice": Kind("two outputs were copied into one folder", "Separate them again."),
    "unreadable": Kind(
        "its permissions forbid reading it, or a disk or a network is in trouble",
        "Check its permissions, and verify again; nothing that depends on it was checked.",
    ),
    "clip-missing": Kind(
        "files were removed by hand, a copy is not complete, or the last run over this video had "
        "--no-upload-clips",
        AGAIN,
    ),
    "clip-twice": Kind(
        "files were moved by hand between clips/ and filtered_clips/, or two outputs were copied "
        "into one folder",
        "Remove the one that is named here.",
    ),
    "clip-changed": Kind(
        "a copy was cut short, a disk lost data, or another program wrote to the file", COPY
    ),
    "clip-broken": Kind("a copy was cut short, or a disk or network lost data", AGAIN),
    "clip-differs": Kind(
        "clips were swapped or encoded again, or their documents were edited", AGAIN
    ),
    "windows": Kind("a document was edited", AGAIN),
    "captions": Kind("captions were edited in only one of the two places", AGAIN),
    "preview-missing": Kind(LOST, AGAIN),
    "preview-broken": Kind("a copy was cut short, or a disk or network lost data", AGAIN),
    "preview-differs": Kind("previews were swapped or made again", AGAIN),
    "artefact-missing": Kind(LOST, AGAIN),
    "artefact-broken": Kind("a copy was cut short, or a disk or network lost data", AGAIN),
    "vector-missing": Kind(LOST, AGAIN),
    "vector-broken": Kind(
        "a copy was cut short, or the embedder returned something else than numbers; a pickle "
        "that would call something was put there by somebody else",
        "Do not unpickle anything in this folder before you know where it comes from. " + AGAIN,
    ),
    "vector-differs": Kind("another program rewrote one of the two", AGAIN),
    "table-missing": Kind(LOST, AGAIN),
    "table-broken": Kind("a copy was cut short, or another program wrote the table", AGAIN),
    "table-differs": Kind("rows were removed by hand, or another program wrote the table", AGAIN),
    "pack-broken": Kind("a copy was cut short, or another program wrote to the file", COPY),
    "pack-differs": Kind("a copy is not complete, or an archive was replaced", COPY),
    "model": Kind(
        "vectors of two models were copied into one folder",
        "Do not compare these vectors with the others; remove both folders of vectors, and curate "
        "again with one model.",
    ),
    "orphan": Kind(
        "the documents that listed it were lost (then they are named above), or files were copied "
        "here",
        "Remove it, if no document is missing.",
    ),
    "failures-broken": Kind(
        "the list was edited, or a copy was cut short",
        "Run the same finecut curate command again: it rewrites the list.",
    ),
    "run-broken": Kind(
        "the document was edited, or a copy was cut short; sums that do not add up are a bug in "
        "finecut",
        "If sums do not add up and nobody edited the document, report it; the clips do not "
        "depend on it.",
    ),
    "duplicates-broken": Kind("a copy was cut short, or finecut dedup was killed", DEDUP),
    "duplicates-differ": Kind("videos were curated again after the search for duplicates", DEDUP),
    "catalogue-broken": Kind("a copy was cut short, or another program wrote the table", COMPACT),
    "catalogue-differs": Kind(
        "documents were edited, or files were removed by hand or by another program", COMPACT
    ),
    "index-broken": Kind("a copy was cut short, or another program wrote the table", SHARD),
    "shard-missing": Kind("a copy is not complete", SHARD),
    "shard-broken": Kind("a copy was cut short, or another program wrote to the file", SHARD),
    "shard-differs": Kind("shards of two runs are in one folder, or one was rewritten", SHARD),
    "forgotten": Kind(
        "finecut forget was stopped, or files of a source that was taken back were copied here "
        "again",
        "Run finecut forget again, with the same source.",
    ),
    "leads-outside": Kind(
        "somebody put a link there to save space, or to make finecut touch what it points to",
        "Remove the link, or replace it with what it points to; finecut never follows it.",
    ),
    "note-broken": Kind("somebody edited the note, or another program wrote it", SHARD),
    "unfinished": Kind("a run is working on it, or was killed", ASK, wrong=False),
    "leftover": Kind("a run is at work, or was killed", ASK, wrong=False),
    "film-damaged": Kind(
        "the source video is damaged there, and its packets were copied as they are",
        "Nothing, or curate the video with --transcode encode, which marks clips with frames "
        "that cannot be decoded.",
        wrong=False,
    ),
    "not-read": Kind(
        "NeMo Curator writes such documents for files that it could not read",
        "Look for the file in the input.",
        wrong=False,
    ),
    "not-looked-at": Kind("it is not part of an output", "Nothing.", wrong=False),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (or worth knowing), and where."""

    kind: KindName
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


def several(ids: Iterable[str]) -> list[str]:
    """Those that are there more than once.

    >>> several(["b", "a", "b"])
    ['b']
    """
    return sorted(id for id, number in Counter(ids).items() if number > 1)


# ── what belongs to whom ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Claim:
    """Files that belong to a clip or chunk (its owner), as a document says."""

    owner: str
    by: str
    paths: tuple[str, ...]
    #: Those that are there.
    there: tuple[str, ...] = ()


@dataclass(frozen=True)
class There:
    """Files that lie in an output."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class Mention:
    """Clips that a table speaks of, and that have to exist."""

    path: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """What a clip's row in the catalogue has to be, as its document says: digests."""

    owner: str
    by: str
    row: str
    #: Of what the video's document says; empty if there is none.
    facts: str


@dataclass(frozen=True)
class Entered:
    """A clip's row in the catalogue: digests, and the files that it names (of none that failed)."""

    owner: str
    path: str
    row: str
    facts: str
    files: tuple[str, ...] | None


Entry = Claim | There | Mention | Told | Entered


def digest_of_owner(owner: str) -> bytes:
    return hashlib.md5(owner.encode(*CODING), usedforsecurity=False).digest()


def share_of(owner: str) -> str:
    return digest_of_owner(owner).hex()[:DIGITS]


def mentioned(ids: Iterable[str], path: str) -> Iterator[tuple[str, Mention]]:
    """Clips that a table speaks of, by their shares."""
    shares = by_share((id, id) for id in ids)
    return ((share, Mention(path, together)) for share, together in shares)


def by_share(owned: Iterable[tuple[str, str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    waiting: dict[str, list[str]] = defaultdict(list)
    for owner, item in owned:
        share = share_of(owner)
        waiting[share].append(item)
        if len(waiting[share]) == TOGETHER:
            yield share, tuple(waiting.pop(share))
    yield from ((share, tuple(together)) for share, together in waiting.items())


# ── what each check is told ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Verifying:
    """One verification. Paths in findings are below ``layout.root``."""

    layout: Layout
    #: Decode nothing.
    quick: bool = False
    #: What one clip may ask for.
    film: Limits = USUAL_LIMITS
    #: What the child that decodes it may take; ``None``: decode here.
    limits: ChildLimits | None = None
    #: A dry run wrote no documents of clips, ``--no-upload-clips`` no files.
    has_metas: bool = True
    has_clips: bool = True
    #: The output's folders.
    folders: frozenset[str] = frozenset()
    #: Whether each clip has to have a row in the catalogue.
    has_catalogue: bool = False
    #: Videos that are being worked on, by their paths below the input.
    open_videos: frozenset[str] = frozenset()
    #: Folders of vectors (``ce1_embd``), and what the note of each says.
    vectors: tuple[str, ...] = ()
    notes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: What is not left by any link.
    fence: Fence = NO_FENCE
    #: What was taken back.
    forgotten: Forgotten = field(default_factory=Forgotten)
    #: How many digits of names tell parts of a folder from each other.
    digits: int = 0
    #: A number that nobody knows who made the files.
    secret: bytes = b""
    #: Whether others speak of clips than documents of chunks: dedup, and the clips that failed.
    names_clips: bool = True
    #: Where files of clips lie: in a packed dataset, those of the chunk that is looked at.
    files: Files = field(default_factory=Files)

    def each(self, work: Callable[[Any], R], items: Iterable[Any]) -> Iterator[R]:
        """As ``map``; side by side where reading means waiting for a network."""
        remote = shelf.is_remote(self.layout.root)
        return in_order(work, items, READ_AHEAD) if remote else map(work, items)

    def below(self, path: str) -> str:
        """The path as findings name it."""
        return self.layout.inside(path)

    def clip(self, id: str, kept: bool, location: str) -> str:
        """Where a clip lies, in an output that is sharded as its document's location is."""
        sharded = not self.layout.packed and clip_path_is_sharded(location)
        return replace(self.layout, shard_prefix=sharded).clip(id, kept)
