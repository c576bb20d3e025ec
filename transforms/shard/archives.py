"""Sharding: clips of a dataset become tar archives that training reads from beginning to end.

    chunks ─▶ ListClips ─▶ Part (light rows in files, counts)     what is known of each clip
                              │
                        transforms/shardplan                      in one place
                              ▼
    plans ─▶ WriteShards ─▶ Sharded (a receipt)                   films are read here, and once

In an archive a clip is a row of members with one key, its id: ``<id>.mp4``, ``.json`` (its
document), ``.txt`` (its caption) and ``.npy`` (its vector, float32), the last two where there are
such. This is the layout that WebDataset reads.

:class:`WriteShards` works on any PCollection of plans, wherever they come from::

    receipts = plans | WriteShards(sharding)
    receipts.written | ...      # Sharded
"""

import hashlib
import io
import json
import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, BinaryIO, Final, Literal, NamedTuple
from uuid import uuid4

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from finecut.io.dataset.output import (
    Entry,
    NoDataset,
    Output,
    chunk_named,
    clips_named,
    read_document,
)
from finecut.io.process.threads import in_order
from finecut.io.records import Failure, Scores, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.drops import drops_table, read_drops
from finecut.io.tables.parquet import rows_of
from finecut.io.tables.shards import VECTOR, ShardFolder, column_of, receipt_table, schema_of
from finecut.io.tables.tar import Tar, size_in_tar
from finecut.transforms.beam.guard import FAILURES, attempted, failure, guarded
from finecut.transforms.beam.metrics import count
from finecut.transforms.filter.rules import Rule, verdict
from finecut.transforms.shard.bins import Binning
from finecut.transforms.shard.plan import (
    DIGEST_BYTES,
    Candidate,
    PlannedClip,
    ShardPlan,
    candidate_table,
    digest_of,
    mixed_order,
    read_plans,
)

#: Why a clip is left out, besides the rules that it breaks.
REJECTED, DUPLICATE, INVALID = "rejected", "duplicate", "marked"
NO_FILE, NO_CAPTION, NO_VECTOR = "no file", "no caption", "no vector"
LISTED_TWICE: Final = "listed twice"
#: What may be asked of a clip besides a score.
CAPTION, VECTORS = NEEDS = ("caption", "vector")
#: Where one may be named: none of them.
NONE: Final = "none"

#: Rows that are put down together.
PART_ROWS: Final = 50_000
#: A film is read in pieces of so many bytes; one that is no larger is read ahead.
PIECE: Final = 16 << 20
#: Members are named by ids, and what follows the first dot is taken for the kind of member.
_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

Vector = np.ndarray[tuple[int], np.dtype[np.float32]]


class ClipChanged(Exception):
    """A clip is not what the dataset says, or said a moment ago."""


@dataclass(frozen=True)
class Sharding:
    """Which clips of which dataset are wanted, and where they go."""

    output: Output
    folder: ShardFolder
    shelf: Shelf
    rules: tuple[Rule, ...] = ()
    #: Clips without these are left out.
    needs: tuple[str, ...] = ()
    #: Take those that are marked, too.
    invalid: bool = False
    #: Which caption goes along: empty for the first that a clip has, or ``none``.
    caption: str = ""
    #: Whose vectors go along, if any.
    algorithm: str | None = None
    bins: Binning = field(default_factory=Binning)
    seed: int = 0
    #: A list of clips to leave out, as :mod:`finecut.io.tables.drops` reads them.
    drops: str | None = None
    #: Whether somebody wants to know which clips went for another one.
    grouped: bool = False
    threads: int = 6


@dataclass(frozen=True)
class Part:
    """What a worker put down of the clips it looked at."""

    path: str
    listed: int
    left_out: Mapping[str, int]
    #: The names of all scores and captions that those have who stay.
    scores: tuple[str, ...]
    captions: tuple[str, ...]
    #: Those of the scores that are labels.
    labels: tuple[str, ...] = ()
    #: Clips that are on the list, whatever else is true of them.
    on_lists: int = 0
    #: A list of those that would be taken if they were not on it, if anybody wants to know.
    fit: str | None = None


@dataclass(frozen=True)
class Sharded:
    """A receipt: a shard is written."""

    name: str
    clips: int
    num_bytes: int
    digest: str


class Material(NamedTuple):
    """What a clip's members are made of; its film stays where it is."""

    entry: Entry
    document: bytes
    caption: str | None
    vector: Vector | None
    num_bytes: int
    #: What the document says of the film's bytes; or, if it says nothing, the file's version.
    film: str

    @property
    def small(self) -> dict[str, bytes]:
        """The members after the film."""
        id = self.entry.id
        members = {f"{id}.json": self.document}
        if self.caption is not None:
            members[f"{id}.txt"] = self.caption.encode()
        if self.vector is not None:
            members[f"{id}.npy"] = npy(self.vector)
        return members

    @property
    def size(self) -> int:
        """Bytes of all members in an archive."""
        sizes = {name: len(data) for name, data in self.small.items()}
        return size_in_tar({f"{self.entry.id}.mp4": self.num_bytes, **sizes})

    @property
    def digest(self) -> str:
        said = hashlib.sha256(f"{self.entry.id} {self.num_bytes} {self.film}".encode())
        for name, data in self.small.items():
            said.update(f" {name} {len(data)} ".encode())
            said.update(data)
        return said.hexdigest()[: 2 * DIGEST_BYTES]


def npy(vector: Vector) -> bytes:
    """A vector as a ``.npy`` file."""
    out = io.BytesIO()
    np.lib.format.write_array(out, vector, version=(1, 0), allow_pickle=False)
    return out.getvalue()


def caption_of(entry: Entry, wanted: str) -> str | None:
    """The text that goes along with a clip, if it has one."""
    said = {} if wanted == NONE else entry.captions
    if wanted:
        said = {name: said[name] for name in (wanted, f"{wanted}_caption") if name in said}
    return next(map(storable, said.values()), None)


def storable(text: object) -> str:
    r"""The text as UTF-8 can say it: names of files need not be, and models say what they like.

    >>> storable("a\udcff.mp4")
    'a\\udcff.mp4'
    """
    return str(text).encode(errors="backslashreplace").decode()


def _number(value: object) -> float | None:
    """A number of a document, which another program may have written."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


class Tables:
    """Vectors, by chunk; a table that was read is kept for the clips that follow."""

    KEPT: Final = 32

    def __init__(self, output: Output, algorithm: str | None) -> None:
        self._output, self._algorithm = output, algorithm
        self._read: dict[str, Mapping[str, Vector]] = {}
        #: Clips are fetched by several threads.
        self._lock = threading.Lock()

    def vector(self, clip: str, chunk: str) -> Vector | None:
        if self._algorithm is None:
            return None
        with self._lock:
            table = self._read.get(chunk)
        if table is None:
            table = _vectors_in(self._output.layout.embedding_parquet(self._algorithm, chunk))
            with self._lock:
                while len(self._read) >= self.KEPT:
                    del self._read[next(iter(self._read))]
                self._read[chunk] = table
        return table.get(clip)


def _vectors_in(path: str) -> dict[str, Vector]:
    data = shelf.read_if_there(path)
    if data is None:
        return {}
    try:
        rows = rows_of(data)
        return {id: np.asarray(v, np.float32) for id, v in rows if v}
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise NoDataset(
            f"{path} is no table of vectors ({error}). Usually a copy was cut short: finecut "
            "verify lists all that is wrong"
        ) from error


# Looking at clips.


class Listed(NamedTuple):
    """A clip as its chunk lists it."""

    id: str
    kept: bool
    chunk: str
    source: Source


def clips_of(chunk: str, output: Output) -> Iterator[Listed]:
    """The clips of a chunk's document, kept ones first."""
    said = read_document(chunk)
    key = chunk_named(said, chunk)
    video = str(said["video"])
    below = chunk[len(output.layout.processed_clip_chunks()) + 1 :]
    source = Source(video, video, below.rpartition("_")[0])
    for id, kept in clips_named(said, chunk):
        yield Listed(id, kept, key, source)


class Looked(NamedTuple):
    """What the plan has to know of a clip, and the names of its scores and captions."""

    candidate: Candidate
    scores: frozenset[str]
    captions: frozenset[str]
    #: Those of the scores that are labels.
    labels: frozenset[str]


def look_at(
    clip: Listed, sharding: Sharding, tables: Tables, drops: frozenset[str] = frozenset()
) -> Looked | str:
    """What the plan has to know of a clip, and the names of its scores and captions; or why it is
    left out."""
    if not clip.kept:
        return REJECTED
    if clip.id in drops:
        return DUPLICATE
    entry = _entry(clip.id, clip.chunk, sharding.output)
    unfit = _unfit(entry, sharding, tables)
    if unfit is not None:
        return unfit
    material = _material(entry, sharding, tables)
    start, end = entry.span
    said = entry.document
    candidate = Candidate(
        id=clip.id,
        chunk=clip.chunk,
        source=storable(clip.source.name),
        start=start,
        bin=sharding.bins.bin_of(said.get("width"), said.get("height"), end - start),
        size=material.size,
        order=mixed_order(clip.id, sharding.seed),
        digest=material.digest,
    )
    scores = entry.scores
    return Looked(
        candidate, frozenset(scores), frozenset(entry.captions), frozenset(labels_in(scores))
    )


def labels_in(scores: Scores) -> Iterator[str]:
    """The names of those scores that are labels and no numbers."""
    return (name for name, value in scores.items() if isinstance(value, str))


def _unfit(entry: Entry, sharding: Sharding, tables: Tables) -> str | None:
    """Why a clip that was kept is not wanted, if it is not."""
    if not entry.document.get("valid") and not sharding.invalid:
        return INVALID
    broken = verdict(entry.scores, sharding.rules)
    if broken is not None:
        return broken
    if CAPTION in sharding.needs and caption_of(entry, sharding.caption) is None:
        return NO_CAPTION
    if VECTORS in sharding.needs and tables.vector(entry.id, entry.chunk) is None:
        return NO_VECTOR
    if "num_bytes" not in entry.document and not shelf.exists(entry.path):
        return NO_FILE
    return None


def _is_fit(clip: Listed, sharding: Sharding, tables: Tables) -> bool:
    """Whether a clip would be taken, were it not on a list."""

    def look() -> bool:
        entry = _entry(clip.id, clip.chunk, sharding.output)
        return _unfit(entry, sharding, tables) is None

    # It is left out anyway, so what is wrong with it is no failure.
    return attempted(look) is True


def _entry(clip: str, chunk: str, output: Output) -> Entry:
    if not _KEY.fullmatch(clip):
        raise NoDataset(
            f"{clip!r} is no name for the files of a clip: ids are letters, digits, - and _. "
            "Usually the document that lists it was not written by a curation"
        )
    return output.entry(clip, True, chunk)


def _material(entry: Entry, sharding: Sharding, tables: Tables) -> Material:
    said = entry.document
    try:
        size = shelf.size_of(entry.path)
        film = str(said.get("sha256") or shelf.version_of(entry.path))
    except FileNotFoundError as error:
        raise ClipChanged(
            f"{entry.path} is missing, though its document says that it exists. Usually files were "
            "removed by hand, or a copy is not complete: copy it again, or curate its video again"
        ) from error
    if size != said.get("num_bytes", size):
        raise ClipChanged(
            f"{entry.path} has {size} bytes and not the {said['num_bytes']} that its document "
            "speaks of. Usually a copy was cut short: copy it again, or curate its video again"
        )
    return Material(
        entry=entry,
        # Not by serialise(): documents of others may hold numbers that ours must not.
        document=json.dumps(dict(said), indent=4).encode("ascii"),
        caption=caption_of(entry, sharding.caption),
        vector=tables.vector(entry.id, entry.chunk),
        num_bytes=size,
        film=film,
    )


# Writing shards.


def write_shard(plan: ShardPlan, sharding: Sharding) -> Iterator[Sharded | Failure]:
    """Write the archive of a plan and its receipt. A clip that cannot be written costs itself; a
    shard of which nothing is left is not written."""
    own, folder = sharding.shelf, sharding.folder
    with own.bench() as bench:
        path = bench / "shard.tar"
        with path.open("wb") as file:
            tar = Tar(file)
            rows, digests = [], []
            for planned, outcome in _added(plan, tar, sharding):
                if isinstance(outcome, Failure):
                    yield outcome
                else:
                    rows.append(outcome)
                    digests.append(planned.digest)
            size = tar.close()
        if not rows:
            path.unlink()
            return
        own.publish(own.stage(path), folder.shard(plan.name), size)
    digest = digest_of(plan.name, digests)
    own.write(folder.receipt(plan.name), _receipt(rows, digest, size))
    yield Sharded(plan.name, len(rows), size, digest)


def _receipt(rows: list[dict[str, Any]], digest: str, size: int) -> bytes:
    scores = {name for row in rows for name in row["scores"]}
    labels = {name for row in rows for name in labels_in(row["scores"])}
    captions = {name for row in rows for name in row["captions"]}
    flat = [
        {key: value for key, value in row.items() if key not in ("scores", "captions")}
        | {column_of(name): value for name, value in row["captions"].items()}
        | {
            column_of(name): storable(str(value)) if name in labels else value
            for name, value in row["scores"].items()
        }
        for row in rows
    ]
    return receipt_table(flat, schema_of(scores, captions, labels), digest, size)


def _added(
    plan: ShardPlan, tar: Tar, sharding: Sharding
) -> Iterator[tuple[PlannedClip, dict[str, Any] | Failure]]:
    """Each clip of a plan, and what the index says of it, or why it is not in the archive."""
    fetch = partial(_fetched, sharding=sharding, tables=Tables(sharding.output, sharding.algorithm))
    for planned, fetched in in_order(fetch, plan.clips, sharding.threads):
        before = tar.size
        source = _source_of(planned, fetched)
        add = partial(_add, tar, fetched, plan.name)
        [outcome] = guarded("WriteShard", source, add, partial(tuple, [planned.id]))
        if tar.broken is not None:
            raise tar.broken  # the archive's disk is in trouble, and not the clip
        if isinstance(outcome, Failure):
            tar.rewind(before)
        yield planned, outcome


class Fetched(NamedTuple):
    material: Material
    #: The whole film, if it is small.
    film: bytes | None


def _fetched(
    planned: PlannedClip, sharding: Sharding, tables: Tables
) -> tuple[PlannedClip, Fetched | Exception]:
    """A clip's material, read ahead of its turn; what goes wrong is said when its turn comes."""
    return planned, attempted(partial(_fetch, planned, sharding, tables))


def _fetch(planned: PlannedClip, sharding: Sharding, tables: Tables) -> Fetched:
    entry = _entry(planned.id, planned.chunk, sharding.output)
    material = _material(entry, sharding, tables)
    if material.digest != planned.digest:
        raise ClipChanged(
            f"the document, vector or file of {planned.id} was changed while shards were planned: "
            "run the same command again when nobody writes to the dataset any more"
        )
    film = b"".join(pieces_of(entry.path)) if material.num_bytes <= PIECE else None
    return Fetched(material, film)


def pieces_of(path: str) -> Iterator[bytes]:
    """A file piece by piece."""
    with shelf.open_source(path) as source:
        if isinstance(source, str):
            with open(source, "rb") as file:  # noqa: PTH123
                yield from _pieces(file)
        else:
            yield from _pieces(source)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


def _source_of(planned: PlannedClip, fetched: Fetched | Exception) -> Source:
    """The video of a clip, or the clip itself where not even that can be read."""
    if isinstance(fetched, Exception):
        return Source(planned.id, planned.id, planned.id)
    video = str(fetched.material.entry.document.get("source_video", planned.id))
    return Source(video, video, planned.id)


def _add(tar: Tar, fetched: Fetched | Exception, shard: str) -> Iterable[dict[str, Any]]:
    """Add a clip's members; what the index says of it comes back."""
    if isinstance(fetched, Exception):
        raise fetched
    material, film = fetched
    entry = material.entry
    pieces = pieces_of(entry.path) if film is None else (film,)
    hashed = hashlib.sha256()
    offset = tar.add_pieces(f"{entry.id}.mp4", material.num_bytes, _seen(pieces, hashed.update))
    said = entry.document.get("sha256")
    if said and hashed.hexdigest() != said:
        raise ClipChanged(
            f"{entry.path} has other bytes than its document speaks of (SHA-256 "
            f"{hashed.hexdigest()[:12]}… and not {said[:12]}…). Usually a copy or a disk is "
            "damaged: copy it again, or curate its video again"
        )
    for name, data in material.small.items():
        tar.add(name, data)
    return (_row(material, shard, offset, hashed.hexdigest()),)


def _seen(pieces: Iterable[bytes], see: Callable[[bytes], None]) -> Iterator[bytes]:
    for piece in pieces:
        see(piece)
        yield piece


def _row(material: Material, shard: str, offset: int, sha256: str) -> dict[str, Any]:
    """What the index says of a clip."""
    entry, said = material.entry, material.entry.document
    start, end = entry.span
    return {
        "id": entry.id,
        "source_video": storable(said.get("source_video", "")),
        "start": start,
        "end": end,
        "framerate": _number(said.get("framerate")),
        **{name: _whole(said.get(name)) for name in ("width", "height", "num_frames")},
        "video_codec": storable(said["video_codec"]) if said.get("video_codec") else None,
        "bin": shard.rpartition("/")[0],
        "shard": f"{shard}.tar",
        "offset": offset,
        "num_bytes": material.num_bytes,
        "sha256": sha256,
        "caption": material.caption,
        "scores": entry.scores,
        "captions": {name: storable(text) for name, text in entry.captions.items()},
        VECTOR: None if material.vector is None else material.vector.tolist(),
    }


# The transforms.


class ListClips(beam.PTransform[beam.PCollection[str], Any]):
    """Documents of chunks → ``parts`` (:class:`Part`), ``failures``."""

    def __init__(self, sharding: Sharding, tray: Shelf) -> None:
        super().__init__()
        self.sharding, self.tray = sharding, tray

    def expand(self, chunks: beam.PCollection[str]) -> Any:
        return chunks | "Look" >> beam.ParDo(_ListClips(self.sharding, self.tray)).with_outputs(
            FAILURES, main="parts"
        )


class WriteShards(beam.PTransform[beam.PCollection[ShardPlan], Any]):
    """Plans → ``written`` (:class:`Sharded`), ``failures``."""

    def __init__(self, sharding: Sharding) -> None:
        super().__init__()
        self.sharding = sharding

    def expand(self, plans: beam.PCollection[ShardPlan]) -> Any:
        return plans | "Write" >> beam.ParDo(_WriteShards(self.sharding)).with_outputs(
            FAILURES, main="written"
        )


class ReadPlans(beam.PTransform[beam.PCollection[str], beam.PCollection[ShardPlan]]):
    """Files of plans → plans, dealt out anew: one file holds many."""

    def expand(self, paths: beam.PCollection[str]) -> beam.PCollection[ShardPlan]:
        return (
            paths
            | "Read" >> beam.FlatMap(_plans_in).with_output_types(ShardPlan)
            | "Deal" >> beam.Reshuffle()
        )


class ReadChunks(beam.PTransform[beam.PCollection[Output], beam.PCollection[str]]):
    """Outputs → the documents of their chunks, dealt out."""

    def expand(self, outputs: beam.PCollection[Output]) -> beam.PCollection[str]:
        return (
            outputs
            | "List" >> beam.FlatMap(_chunks_of).with_output_types(str)
            | "Deal" >> beam.Reshuffle()
        )


def _plans_in(path: str) -> Iterator[ShardPlan]:
    yield from read_plans(shelf.read(path))


def _chunks_of(output: Output) -> Iterator[str]:
    yield from output.chunks()


@lru_cache(maxsize=1)
def _drops_in(path: str) -> frozenset[str]:
    """The list of a run, once a process: its path is of this run and no other."""
    return read_drops((path,))


class _ListClips(beam.DoFn):
    def __init__(self, sharding: Sharding, tray: Shelf) -> None:
        super().__init__()
        self.sharding, self.tray = sharding, tray
        self._begin()

    def _begin(self) -> None:
        self._rows: list[Candidate] = []
        self._left_out: Counter[str] = Counter()
        self._listed = 0
        self._scores: set[str] = set()
        self._captions: set[str] = set()
        self._labels: set[str] = set()
        self._on_lists = 0
        self._fit: list[str] = []

    def start_bundle(self) -> None:
        self._begin()

    def process(self, chunk: str) -> Iterable[Part | TaggedOutput[Literal["failures"], Failure]]:
        output = self.sharding.output
        source = Source(chunk, chunk, chunk)
        listed = list(guarded("ListClips", source, lambda: list(clips_of(chunk, output))))
        clips = [one for one in listed if isinstance(one, Listed)]
        failed = [one for one in listed if isinstance(one, Failure)]
        for accident in (*failed, *self._look_at(clips)):
            yield TaggedOutput(FAILURES, accident)
        if len(self._rows) >= PART_ROWS:
            yield self._part()
            self._begin()

    def finish_bundle(self) -> Iterable[Any]:
        if self._listed:
            window = GlobalWindow()
            yield WindowedValue(self._part(), window.max_timestamp(), (window,))

    def _look_at(self, clips: list[Listed]) -> Iterator[Failure]:
        drops = _drops_in(self.sharding.drops) if self.sharding.drops else frozenset()
        tables = Tables(self.sharding.output, self.sharding.algorithm)
        look = partial(look_at, sharding=self.sharding, tables=tables, drops=drops)
        trying = partial(_try, look)
        self._listed += len(clips)
        self._on_lists += sum(clip.id in drops for clip in clips)
        count("clips listed", len(clips))
        duplicates: list[Listed] = []
        for clip, looked in in_order(trying, clips, self.sharding.threads):
            if isinstance(looked, Exception):
                count("clips failed")
                yield failure("ListClips", clip.source, looked, (clip.id,))
            elif isinstance(looked, str):
                self._left_out[looked] += 1
                if looked == DUPLICATE and self.sharding.grouped:
                    duplicates.append(clip)
            else:
                self._rows.append(looked.candidate)
                self._scores |= looked.scores
                self._captions |= looked.captions
                self._labels |= looked.labels
        is_fit = partial(_is_fit, sharding=self.sharding, tables=tables)
        fits = in_order(is_fit, duplicates, self.sharding.threads)
        self._fit += [clip.id for clip, fit in zip(duplicates, fits, strict=True) if fit]

    def _part(self) -> Part:
        path = f"{self.tray.root}/parts/{uuid4().hex}.parquet"
        self.tray.write(path, candidate_table(self._rows))
        fit = None
        if self._fit:
            fit = f"{self.tray.root}/fit/{uuid4().hex}.parquet"
            self.tray.write(fit, drops_table(self._fit))
        return Part(
            path,
            self._listed,
            dict(sorted(self._left_out.items())),
            tuple(sorted(self._scores)),
            tuple(sorted(self._captions)),
            tuple(sorted(self._labels)),
            self._on_lists,
            fit,
        )


def _try(
    look: Callable[[Listed], Looked | str], clip: Listed
) -> tuple[Listed, Looked | str | Exception]:
    return clip, attempted(lambda: look(clip))


class _WriteShards(beam.DoFn):
    def __init__(self, sharding: Sharding) -> None:
        super().__init__()
        self.sharding = sharding

    def process(
        self, plan: ShardPlan
    ) -> Iterable[Sharded | TaggedOutput[Literal["failures"], Failure]]:
        source = Source(plan.name, plan.name, plan.name)
        write = partial(write_shard, plan, self.sharding)
        for outcome in guarded("WriteShards", source, write):
            if isinstance(outcome, Failure):
                count("clips failed", len(outcome.lost_shots))
                yield TaggedOutput(FAILURES, outcome)
            else:
                count("shards/items")
                count("clips sharded", outcome.clips)
                count("shards/bytes", outcome.num_bytes)
                yield outcome
