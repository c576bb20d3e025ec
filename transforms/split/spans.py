"""Deciding: which spans of a video become clips, and which of them travel together.

    video   0────────────10────────────20──────23.5 s        fixed stride: length 10, minimum 2
    shots   [─────0──────)[─────1──────)[──2────)
    reels   └────── chunk 0: until 256 s are reached ──────┘└─ chunk 1 …

Spans come from a fixed stride, from a detector that watches the film (``scenes``) or from a list
somebody made. Ids, chunk borders and the handling of the last, shorter span are
those of the reference; a ``PlannedChunk`` is the unit of work and the key under which the vectors
of its clips are written.

Lists say the times of the cuts of each video; a person or a program wrote them.

As JSON, with one list for each video; single numbers are cuts, pairs are scenes::

    {"films/a.mp4": [3.5, 7.0, 9.25], "films/b.mp4": [[0.0, 4.0], [6.5, 12.0]]}

As CSV, with one line for each cut or scene (a first line of names is skipped)::

    video,time                      video,start,end
    films/a.mp4,3.5                 films/b.mp4,0.0,4.0

Videos are named by their path below the input, by their whole path, or by the file's name alone. A
video that is not listed is one scene.
"""

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Protocol

from finecut.io.errors import UserError
from finecut.io.layout import chunk_id, clip_id
from finecut.io.records import Chunk, PlannedChunk, PlannedClip, Source, Span, Video
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, BadList, csv_rows, list_text, parsed_text
from finecut.transforms.beam.weather import FAIR, Weather
from finecut.transforms.split.scenes import Piece, Trimming, trimmed

#: No film is as long, in seconds; Infinity and NaN are not below it either.
LONGEST = 1e9
WITHOUT_CROP = Trimming(crop=0.0)

#: What lists of cuts are called.
JSON, CSV = ".json", ".csv"
KINDS = "Give a list of cuts as .json or .csv: docs/cutting.md describes the format"
EXAMPLE = 'write {"a.mp4": [3.5, 7.0]}'

Times = tuple[tuple[float, float], ...] | tuple[float, ...]


class Cutter(Protocol):
    """Decides where a video is cut."""

    def prepare(self) -> None:
        """Load what is needed for it, or raise."""

    def pieces(self, video: Video) -> Iterable[Piece]:
        """The pieces of this video, in order."""


@dataclass(frozen=True)
class FixedStride:
    """Clips of one length at regular distances."""

    length: float = 10.0
    stride: float = 10.0
    least: float = 2.0

    def prepare(self) -> None:
        """Nothing has to be loaded."""

    def pieces(self, video: Video) -> Iterator[Piece]:
        rate = video.framerate
        for span in fixed_stride_spans(
            video.num_frames, rate, length=self.length, stride=self.stride, least=self.least
        ):
            yield Piece(int(span.start * rate), int(span.end * rate), span)


USUAL_CUTTER = FixedStride()


@dataclass(frozen=True)
class Splitting:
    """Where videos are cut, and how much of one travels together."""

    cutter: Cutter = USUAL_CUTTER
    #: Most clips of each video; 0 means all.
    limit: int = 0
    chunk_seconds: int = 256
    #: What is done about a store that is away, or a GPU that is dead.
    weather: Weather = FAIR


def fixed_stride_spans(
    num_frames: int, framerate: float, length: float, stride: float, least: float
) -> Iterator[Span]:
    """Spans of ``length`` every ``stride`` seconds; a shorter one at the end if it has ``least``.

    >>> [tuple(vars(s).values()) for s in fixed_stride_spans(705, 30.0, 10.0, 10.0, 2.0)]
    [(0.0, 10.0), (10.0, 20.0), (20.0, 23.5)]
    """
    duration = num_frames / framerate if framerate > 0 else -1.0
    start = 0.0
    while start < duration:
        end = min(start + length, duration)
        if end - start >= least:
            yield Span(start, end)
        # Added up, not multiplied: ids of long videos depend on these very floats.
        start += stride


def planned_clips(video: Video, pieces: Iterable[Piece], limit: int = 0) -> list[PlannedClip]:
    """The planned clips of a video. Pieces that begin and end with the same frames are one."""
    clips: dict[str, PlannedClip] = {}
    for piece in pieces:
        if limit and len(clips) == limit:
            break
        identifier = clip_id(video.name, piece.first, piece.end)
        clips.setdefault(identifier, PlannedClip(identifier, len(clips), piece.span))
    return list(clips.values())


def chunked(clips: Sequence[PlannedClip], seconds: int) -> list[list[PlannedClip]]:
    """Consecutive clips; a chunk closes when the whole seconds of its clips reach ``seconds``."""
    chunks: list[list[PlannedClip]] = []
    filled = seconds
    for clip in clips:
        if filled >= seconds:
            chunks.append([])
            filled = 0
        chunks[-1].append(clip)
        filled += int(clip.span.length)
    return chunks


def chunks_of(
    video: Video, splitting: Splitting, pieces: Iterable[Piece] | None = None
) -> list[PlannedChunk]:
    """The chunks of a video; one without planned clips when nothing of it becomes a clip.

    ``pieces``, if they are known already.
    """
    pieces = splitting.cutter.pieces(video) if pieces is None else pieces
    clips = planned_clips(video, pieces, splitting.limit)
    chunks = chunked(clips, splitting.chunk_seconds)
    return [
        PlannedChunk(
            video,
            Chunk(
                id=chunk_id(video.name, index),
                index=index,
                num_clips=len(chunk),
                num_chunks=len(chunks),
                num_total_clips=len(clips),
            ),
            tuple(chunk),
        )
        for index, chunk in enumerate(chunks or [[]])
    ]


# ── cuts that are given ──────────────────────────────────────────────────────────────────────────


class CutsError(UserError, ValueError):
    """A list of cuts that cannot be understood; the message says where and what to write."""


@dataclass(frozen=True, eq=False)
class CutList(Mapping[str, Times]):
    """What a list says: a pipeline carries where it lies and what tells it from others; the times,
    of a million videos maybe, are read once in each process that asks for them.
    """

    path: str
    digest: str

    @classmethod
    def at(cls, path: str) -> "CutList":
        return cls(shelf.absolute(path), digest_of_cuts(path))

    def __getitem__(self, name: str) -> Times:
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)

    @property
    def _read(self) -> Mapping[str, Times]:
        with _READING:
            return _cuts_on(self.path, self.digest)


#: One thread of a process reads; the others wait for what it read.
_READING: Final = threading.Lock()


@lru_cache(maxsize=2)
def _cuts_on(path: str, digest: str) -> Mapping[str, Times]:
    cuts = read_cuts(path)
    if _digest(path) != digest:
        raise CutsError(
            f"--cuts {path} has other content than when the run began. Usually it was edited "
            "meanwhile: start the run again"
        )
    return cuts


@dataclass(frozen=True)
class GivenCuts:
    """Clips between cuts that were given."""

    #: By the name of the video: cuts, or scenes with a start and an end, in seconds.
    cuts: Mapping[str, Times]
    trimming: Trimming = WITHOUT_CROP

    def prepare(self) -> None:
        """Read the list."""
        len(self.cuts)

    def listed(self, source: Source) -> str | None:
        """The name under which the list has this video."""
        names = (source.relative, source.name, source.uri, source.relative.rsplit("/", 1)[-1])
        return next((name for name in names if name in self.cuts), None)

    def pieces(self, video: Video) -> Iterator[Piece]:
        name = self.listed(video.source)
        yield from given_pieces(self.cuts[name] if name is not None else (), video, self.trimming)


def given_pieces(times: Times, video: Video, trimming: Trimming) -> Iterator[Piece]:
    """The pieces of a video whose cuts (or scenes) are given."""
    rate = video.framerate
    exact: dict[int, float] = {}
    for start, end in scenes_between(times, video.num_frames / rate if rate > 0 else 0.0):
        scene = (round(start * rate), round(end * rate))
        exact |= {scene[0]: start, scene[1]: end}
        for first, last in trimmed(scene, rate, trimming):
            # A border that was given stays what it is; the others lie on the grid of frames.
            span = Span(exact.get(first, first / rate), exact.get(last, last / rate))
            yield Piece(first, last, span)


def scenes_between(times: Times, duration: float) -> list[tuple[float, float]]:
    """Start and end of the scenes these cuts make, or of those that were given as such."""
    scenes = [time for time in times if isinstance(time, tuple)]
    if scenes:
        return [(start, min(end, duration)) for start, end in scenes if start < duration]
    cuts = [time for time in times if isinstance(time, float) and 0 < time < duration]
    return list(pairwise((0.0, *cuts, duration))) if duration > 0 else []


def read_cuts(path: str) -> dict[str, Times]:
    """The list in this file (``.json`` or ``.csv``)."""
    try:
        text = list_text(shelf.absolute(path))
    except BadList as error:
        raise CutsError(f"--cuts {path}: {error}. {KINDS}") from error
    lists = _from_json(path, text) if is_json(path) else _from_csv(path, text)
    return {name.removeprefix("./"): _checked(path, name, times) for name, times in lists.items()}


def is_json(path: str) -> bool:
    """Whether this is a list of the one kind; others are of the other."""
    return path.lower().endswith(JSON)


def digest_of_cuts(path: str) -> str:
    """What distinguishes lists of cuts; what is no such list is refused."""
    read_cuts(path)
    return _digest(path)


def _digest(path: str) -> str:
    return hashlib.sha256(shelf.read(shelf.absolute(path))).hexdigest()


def _from_json(path: str, text: str) -> dict[str, list[Any]]:
    try:
        lists = parsed_text(text)
    except BadDocument as error:
        raise CutsError(f"{path} {error}: {EXAMPLE}") from error
    if not isinstance(lists, dict) or not all(isinstance(v, list) for v in lists.values()):
        raise CutsError(f"{path} does not contain a list for each video: {EXAMPLE}")
    return lists


def _from_csv(path: str, text: str) -> dict[str, list[Any]]:
    lists: dict[str, list[Any]] = {}
    try:
        rows = csv_rows(text)
    except BadList as error:
        raise CutsError(f"--cuts {path}: {error}: give lines of video,time") from error
    for number, row in enumerate(rows, start=1):
        if not row or (number == 1 and row[0].strip().lower() == "video"):
            continue
        try:
            times = [float(cell) for cell in row[1:]]
        except ValueError:
            times = []
        if len(times) not in (1, 2):
            raise CutsError(
                f"{path}, line {number}: {','.join(row)[:80]!r} is neither 'video,time' nor "
                "'video,start,end' with times in seconds"
            )
        lists.setdefault(row[0].strip(), []).append(times[0] if len(times) == 1 else times)
    return lists


def _checked(path: str, name: str, times: list[Any]) -> Times:
    pairs = [
        (float(time[0]), float(time[1]))
        for time in times
        if isinstance(time, list) and len(time) == 2 and all(map(_is_number, time))
    ]
    if all(map(_is_number, times)) and sorted(set(times)) == times:
        return tuple(map(float, times))
    if len(pairs) == len(times) and all(start < end for start, end in pairs):
        return tuple(sorted(pairs))
    raise CutsError(
        f"{path}: the times of {name[:80]} are neither cuts in ascending order ([3.5, 7]) nor "
        "scenes with a start before their end ([[0, 3.5], [4, 7]]), in seconds"
    )


def _is_number(value: Any) -> bool:
    """A time there can be; JSON also reads true, NaN and Infinity."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and 0 <= value < LONGEST
