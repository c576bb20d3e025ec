"""The nouns: what travels between the rooms.

Every record is frozen, typed and light (a few kilobytes at the most), goes to JSON and comes back
equal::

    >>> span = Span(0.0, 10.0)
    >>> from_json(Span, to_json(span)) == span
    True

``Records travel, bytes rest``: frames, encoded files and open containers have no field here. A
record may say *where* bytes rest (``Clip.staged``), never hold them.

    Video ──▶ PlannedChunk (consecutive PlannedClips of one Video) ──▶ Clip
                        every step that touches pixels ──▶ Failure
"""

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: What is known of a clip: numbers, and labels (words out of a few), by name. Which of the two a
#: score is, its reader knows and the type checker does not.
if typing.TYPE_CHECKING:
    Scores = Mapping[str, Any]
    Metadata = Mapping[str, Any]
else:
    Scores = Mapping[str, float | str]
    #: What is said of a source: plain values, and lists and objects of them, of limited size.
    Metadata = Mapping[str, bool | int | float | str | tuple[str, ...] | Mapping[str, str]]


@dataclass(frozen=True, order=True)
class Span:
    """``[start, end)`` in seconds, counted from the moment the video's first frame is shown."""

    start: float
    end: float

    @property
    def length(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Source:
    """A file that was found: where to open it, and how it is called.

    ``uri`` opens it here and now. ``name`` is what ids are made of and what documents say; it
    differs from ``uri`` when sources are named as they lie somewhere else (``--named-as``).
    ``relative`` is the path below the input's root, the name of the video's own documents.
    """

    uri: str
    name: str
    relative: str
    #: What changes when the file is replaced; empty until it was looked at.
    version: str = ""
    #: How often it failed before, and why it did the last time.
    attempts: int = 0
    trouble: str = ""
    #: What else somebody says of it, by plain names.
    metadata: Metadata = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Skipped:
    """A video that was not touched: an earlier run wrote all of it, from the same bytes, or it was
    taken back.
    """

    source: Source
    num_clips: int
    seconds: float
    #: Its documents were brought up to date, because its metadata is other now.
    retold: bool = False
    #: There is nothing of it, and there will not be: it was taken back.
    forgotten: bool = False


@dataclass(frozen=True)
class Video:
    """A source that exists and was probed. Numbers describe the stream that is cut."""

    source: Source
    size: int
    stream_index: int
    width: int
    height: int
    framerate: float
    num_frames: int
    duration: float
    video_codec: str
    pixel_format: str
    audio_codec: str | None
    bit_rate_k: int
    #: Timestamp of the first frame that is shown, in ticks of the stream: where second 0 lies.
    first_pts: int
    #: Its pictures keep no constant rate, although its header may promise one.
    uneven: bool = False

    @property
    def name(self) -> str:
        return self.source.name


@dataclass(frozen=True)
class PlannedClip:
    """A decision: this span of that video. ``index`` counts those of the whole video."""

    id: str
    index: int
    span: Span


@dataclass(frozen=True)
class Chunk:
    """Which part of which video a clip belongs to, and how much makes it complete."""

    id: str
    index: int
    num_clips: int
    num_chunks: int
    num_total_clips: int
    #: An earlier run wrote of this video, so files of it may lie where now none belongs.
    again: bool = False
    #: That run finished the video: each clip's document says what there is of it.
    told: bool = False
    #: Nothing was known of this video when this run began it: only it may have left anything.
    first: bool = False
    #: How many chunks of the video an earlier run closed; this run does not touch them.
    num_done: int = 0


@dataclass(frozen=True)
class PlannedChunk:
    """Consecutive planned clips of one video: the unit of work. A video without any has one, and so
    has one of which an earlier run closed all chunks.
    """

    video: Video
    chunk: Chunk
    clips: tuple[PlannedClip, ...]
    #: Clips of the chunks that an earlier run closed; the first chunk that is left tells of them.
    num_done: int = 0


@dataclass(frozen=True)
class Segment:
    """A part of a video that is watched by itself. Frames are counted from the video's first.

    The only segment of a video is all of it.
    """

    video: Video
    number: int = 0
    #: Into how many the video is divided.
    count: int = 1
    #: Its own frames begin here and end before ``end``; ``None``: with the video.
    start: int = 0
    end: int | None = None
    #: What lies around them has a say in what they are: so many frames before and after.
    lead: int = 0
    tail: int = 0
    #: When the first frame is shown that is watched, in seconds.
    at: float = 0.0
    #: Why a long video is not divided.
    note: str = ""

    @property
    def first(self) -> int:
        """The first frame that is watched."""
        return max(self.start - self.lead, 0)

    @property
    def until(self) -> int | None:
        """The frame before which watching ends."""
        return None if self.end is None else self.end + self.tail


@dataclass(frozen=True)
class Watched:
    """What was seen of a segment."""

    segment: Segment
    #: When its frames are shown, packed.
    times: str = ""
    #: The first and the last frame of each transition, in turn.
    marks: tuple[int, ...] = ()
    #: Frames before this one are in a transition, too, if the segment begins within one that is
    #: black; and whether the next segment begins so (``None``: if this one does).
    black_until: int = 0
    leaves_black: bool | None = False
    #: Digests of what it shares with the segments before and after it.
    opening: str = ""
    closing: str = ""
    #: How long the track claims to be, if it does.
    promised: tuple[float, ...] = ()
    #: Why it cannot be put together with the others.
    odd: str = ""
    failure: "Failure | None" = None


@dataclass(frozen=True)
class Transcoded:
    """How the pictures of a clip came of its source, where they might have been copied."""

    #: ``copied``, ``smart`` (copied but for the pictures at both ends), or ``encoded``.
    how: str
    #: Why all of it was encoded although it was to be copied.
    reason: str = ""
    frames_encoded: int = 0
    #: What a copied clip really shows, from key frame to key frame, in seconds of the film.
    span: Span | None = None


@dataclass(frozen=True)
class ClipFile:
    """Facts of an encoded clip, as the cut saw them; nobody probes a clip again."""

    width: int
    height: int
    framerate: float
    num_frames: int
    video_codec: str
    num_bytes: int
    sha256: str
    #: ``None``: all of it was encoded, as usual.
    transcoded: Transcoded | None = None
    #: What the film's sound lost on its way into the clip, and why; empty: nothing.
    sound: str = ""


@dataclass(frozen=True)
class ModelUsed:
    """Which model said something, of which revision, and how long its vectors are."""

    name: str
    revision: str | None = None
    dimension: int | None = None


@dataclass(frozen=True)
class TextOutcome:
    """How a text came about: what became of it, and how many tokens went in and came out."""

    status: str
    prompt_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True)
class Window:
    """Frames ``start_frame`` to ``end_frame`` (inclusive) of a clip, and what was said of them."""

    start_frame: int
    end_frame: int
    captions: Mapping[str, str] = field(default_factory=dict)
    enhanced_captions: Mapping[str, str] = field(default_factory=dict)
    #: How captions came about, and enhanced ones, by the same names; also where there is no text.
    outcomes: Mapping[str, TextOutcome] = field(default_factory=dict)
    enhanced_outcomes: Mapping[str, TextOutcome] = field(default_factory=dict)


@dataclass(frozen=True)
class Clip:
    """A planned clip that exists as a file, and what is known of it."""

    video: Video
    chunk: Chunk
    planned: PlannedClip
    #: ``None`` when nothing could be encoded; ``errors`` then says why.
    file: ClipFile | None
    #: Where the encoded file rests until it is published.
    staged: str | None = None
    scores: Scores = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    vectors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    #: Where files that were made of it (previews, say) rest until they are published, by the paths
    #: below the output's root that they will have.
    artefacts: Mapping[str, str] = field(default_factory=dict)
    #: Which models said what is known, by the names of scores, vectors and captions.
    models: Mapping[str, ModelUsed] = field(default_factory=dict)
    #: Name of the rule that rejected the clip; ``None`` for a clip that is kept.
    rejected_by: str | None = None
    errors: Mapping[str, str] = field(default_factory=dict)
    #: Its files, if all of them were written before it was handed over to another machine.
    written: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.planned.id

    @property
    def kept(self) -> bool:
        return self.rejected_by is None

    def replace(self, **changes: Any) -> typing.Self:
        """A copy with these fields changed: how a step adds what it found out."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class Failure:
    """An accident: what broke, in which step, and which planned clips were lost with it."""

    step: str
    source: Source
    error: str
    message: str
    evidence: str = ""
    #: Ids of the planned clips that will not become clips; empty when the whole video failed.
    lost_shots: tuple[str, ...] = ()
    #: How often this source has failed by now.
    attempts: int = 1
    #: It was not tried again, because it failed so often.
    set_aside: bool = False
    #: Where the lost clips would have been, in their order; none where it is not known.
    lost_spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Lost:
    """Clips of a chunk that will not come, by the failures that cost them."""

    video: Video
    chunk: Chunk
    failures: tuple[Failure, ...]

    @property
    def clips(self) -> set[str]:
        return {id for failure in self.failures for id in failure.lost_shots}


@dataclass(frozen=True)
class Written:
    """A receipt: this artefact of that clip (or chunk, or video) rests at ``path`` now."""

    kind: str
    owner: str
    chunk: str
    path: str
    num_bytes: int


#: How such JSON becomes bytes: names and captions are not always good text.
CODING: Final = ("utf-8", "surrogatepass")


def to_json(record: Any) -> str:
    """One line of JSON, keys in field order, readable back by :func:`from_json`."""
    return json.dumps(record, ensure_ascii=False, default=_plain)


def from_json(kind: type[T], text: str) -> T:
    """The record of this kind that :func:`to_json` wrote."""
    return typing.cast(T, _builder(kind)(json.loads(text)))  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    """A record's fields; the numbers of what NumPy made."""
    if isinstance(value, Source) and not value.metadata:
        # As it was written before there was any.
        return {name: said for name, said in vars(value).items() if name != "metadata"}
    return value.tolist() if hasattr(value, "tolist") else vars(value)


def _same(value: Any) -> Any:
    return value


@cache
def _builder(kind: Any) -> Callable[[Any], Any]:
    """What makes a value of this type of what JSON holds; worked out once for each type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        build = _builder(next(each for each in arguments if each is not type(None)))
        return lambda value: None if value is None else build(value)
    if origin is tuple:
        build = _builder(arguments[0])
        return tuple if build is _same else lambda value: tuple(map(build, value))
    if origin is Mapping:
        build = _builder(arguments[1])
        return lambda value: {key: build(item) for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        fields = {name: _builder(hint) for name, hint in typing.get_type_hints(kind).items()}
        return lambda value: kind(**{key: fields[key](item) for key, item in value.items()})  # type: ignore[operator]
    return _same
