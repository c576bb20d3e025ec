"""Detecting scenes: a film is watched once as a thumbnail, and cut where its scenes change.

    film ──watch──▶ 27x48 frames ──transnetv2 | content──▶ marks ──▶ scenes ──▶ trimmed ──▶ pieces

One frame after the other, so that the length of the film costs time but no memory (eight bytes a
frame, to know when it was shown). The whole film is decoded for it, once more than the cut will.

    marks    0 0 0 0 1 0 0 0 0 0 0 0 1 1 1 0 0 0 0        a cut, then a dissolve
    scenes   [──────)  [────────────)      [──────)       the marked frames belong to no scene

What becomes of scenes counts frames and touches no film. Numbers are those of the reference, save
one: ``crop`` takes its seconds off the two ends of a scene, where the transition may still be
visible; the reference takes them off both ends of *every piece* that a long scene is cut into,
which leaves holes in the middle of scenes. ``crop_pieces`` does as the reference does.
"""

import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from finecut.io.media.frames.segments import SEGMENT_SECONDS, Grain
from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.process.children import ChildLimits
from finecut.io.records import Span, Video
from finecut.transforms.amount import counted_watching
from finecut.transforms.beam.metrics import count
from finecut.transforms.cut.isolated import isolated_frames
from finecut.transforms.split import content
from finecut.transforms.split.content import Black

if TYPE_CHECKING:
    from finecut.transforms.models.transnetv2_network import Network

T = TypeVar("T")
Frames = tuple[int, int]

TRANSNETV2, CONTENT = "transnetv2", "content"

#: Where segments may begin, and how many frames before them and behind them are watched, too, so
#: that they get the marks that all of the film would get. (TransNetV2 looks at a hundred frames, of
#: which it judges the fifty in the middle.)
GRAINS: Final = {TRANSNETV2: (50, 25, 25), CONTENT: (content.ALIGN, content.LEAD, content.TAIL)}

#: Seconds by which a film may be shorter than its header says.
MISSING = 2.0
#: Frames between two updates of the progress line.
OFTEN = 50
#: Times are floats: what misses a border by less than this has reached it.
NEARLY = 1e-6

_loading = threading.Lock()


class Piece(NamedTuple):
    """What becomes a planned clip: the frames it is named by, and the seconds that are cut."""

    first: int
    end: int
    span: Span


@dataclass(frozen=True)
class Trimming:
    """What becomes of scenes that are too short or too long, in seconds; 0 switches a rule off."""

    least: float = 2.0
    most: float = 10.0
    #: ``stride`` cuts a long scene into pieces, ``truncate`` keeps its beginning.
    mode: str = "stride"
    crop: float = 0.5
    crop_pieces: bool = False


USUAL_TRIMMING = Trimming()


@dataclass(frozen=True)
class Detection:
    """Scenes found in the film's pictures."""

    algorithm: str = TRANSNETV2
    #: Probability of a transition from which on a frame is taken for one (TransNetV2).
    threshold: float = 0.4
    #: Without any transition, the whole film is one scene.
    entire: bool = True
    trimming: Trimming = USUAL_TRIMMING
    model_dir: str | None = None
    #: What a film may ask for.
    film: Limits = USUAL_LIMITS
    #: Watch it in a child process, which may take so much; ``None``: in this one.
    limits: ChildLimits | None = None
    #: About how long the segments are in which a long film is watched.
    segment_seconds: float = SEGMENT_SECONDS

    @property
    def grain(self) -> Grain:
        """How a film may be divided."""
        align, lead, tail = GRAINS[self.algorithm]
        return Grain(align, lead, tail, self.segment_seconds)

    def prepare(self) -> None:
        """Load what is needed, so that it is known at once when it is missing."""
        if self.algorithm == TRANSNETV2:
            network(self.model_dir)

    def pieces(self, video: Video, again: bool = False) -> Iterator[Piece]:
        """``again``: its segments were watched before, in vain."""
        promised: list[float] = []
        film = isolated_frames("split", video, promised, limits=self.limits, film=self.film)
        if again:
            count("work to watch", counted_watching(video))
        else:
            film = told(film, video.framerate)
        yield from detected(watched(film, video), video.framerate, self, promised)


def told(film: Iterable[T], framerate: float) -> Iterator[T]:
    """The same frames; counts how much of the video they are."""
    for index, frame in enumerate(film, 1):
        if index % OFTEN == 0:
            count("milliseconds watched", int(1000 * OFTEN / framerate))
        yield frame


def watched(film: Iterable[T], video: Video, parts: int = 1) -> Iterator[T]:
    """The same frames, of one of so many parts of the video; counts how much of the work is done,
    and all of it however it ends.
    """
    left = counted_watching(video) // parts
    often = left * OFTEN // max(OFTEN, video.num_frames // parts)
    try:
        for index, frame in enumerate(film, 1):
            if index % OFTEN == 0 and often <= left:
                count("work watched", often)
                left -= often
            yield frame
    finally:
        count("work watched", left)


def detected(
    film: Iterable[tuple[Fraction, NDArray[np.uint8]]],
    framerate: float,
    detection: Detection,
    promised: Sequence[float] = (),
) -> Iterator[Piece]:
    """The pieces of a film that is watched frame by frame.

    What is missing at the end of a film that ``promised`` to be longer is a piece too: the cut
    will find nothing there, and say so. (Not without a constant rate, where the last picture may
    be shown for long.)
    """
    shown = Shown(framerate)

    def frames() -> Iterator[NDArray[np.uint8]]:
        for seconds, frame in film:
            shown.add(float(seconds))
            yield frame

    yield from pieces_between(marks(frames(), detection), shown, detection, promised)


class Shown:
    """When the frames of a film are shown."""

    def __init__(self, framerate: float) -> None:
        self.framerate = framerate
        self.times = array("d")
        #: The first frame that is not shown when a constant rate would show it.
        self.uneven: int | None = None

    def add(self, seconds: float) -> None:
        index = len(self.times)
        if self.uneven is None and not abs(seconds - index / self.framerate) < NEARLY:
            self.uneven = index
        self.times.append(seconds)


def pieces_between(
    marks: Iterable[bool], shown: Shown, detection: Detection, promised: Sequence[float]
) -> Iterator[Piece]:
    """The pieces of a film with these marks, whose frames are ``shown`` before they get one."""
    framerate, times = shown.framerate, shown.times
    for scene in scenes_of(marks, detection.entire):
        if shown.uneven is None or shown.uneven > scene[1]:
            # At a constant rate, the very floats the reference writes.
            for first, end in trimmed(scene, framerate, detection.trimming):
                yield Piece(first, end, Span(first / framerate, end / framerate))
        else:
            over = times[-1] + 1 / framerate
            for first, end in trimmed_in_time(scene, times, over, detection.trimming):
                until = times[end] if end < len(times) else over
                if detection.trimming.most:
                    # A picture that stands still for long is in the clip, but not for so long.
                    until = min(until, times[first] + detection.trimming.most)
                yield Piece(first, end, Span(times[first], until))
    seconds = len(times) / framerate
    if shown.uneven is None and promised and promised[0] - seconds > MISSING:
        yield Piece(len(times), int(promised[0] * framerate), Span(seconds, promised[0]))


def marks(
    frames: Iterable[NDArray[np.uint8]], detection: Detection, black: Black | None = None
) -> Iterator[bool]:
    """One mark a frame: whether the scene changes there.

    ``black`` is for a part of a film; it may begin with frames that are only there to be compared
    with others (:data:`GRAINS`).
    """
    if detection.algorithm == CONTENT:
        skipped = content.LEAD if black is not None and black.continues else 0
        yield from islice(content.transitions(frames, black=black), skipped, None)
        return
    from finecut.transforms.models.transnetv2 import probabilities

    look = network(detection.model_dir).probabilities_of
    continued = black is not None and black.continues
    for probability in probabilities(frames, look, continued):
        yield probability > detection.threshold


def network(model_dir: str | None) -> "Network":
    """TransNetV2, loaded once a process."""
    with _loading:
        return _loaded(model_dir)


@cache
def _loaded(model_dir: str | None) -> "Network":
    from finecut.transforms.models.loading import work_alone
    from finecut.transforms.models.transnetv2 import load

    loaded = load(model_dir)
    work_alone()
    return loaded


# ── from marks to pieces ─────────────────────────────────────────────────────────────────────────


def scenes_of(marks: Iterable[bool], entire: bool) -> Iterator[Frames]:
    """The scenes between the marks, ``[start, end)``, each as soon as it is known.

    The last one ends with the last but one frame, as in the reference. Without any transition the
    film is one scene if ``entire``, else none.

    >>> list(scenes_of([False, False, True, False, False, False], entire=True))
    [(0, 2), (3, 5)]
    """
    start, before, emitted, count = 0, False, False, 0
    for index, mark in enumerate(marks):
        if before and not mark:
            start = index
        elif mark and not before and index:
            yield start, index
            emitted = True
        before, count = mark, index + 1
    if emitted:
        if not before:
            yield start, count - 1
    elif entire and count:
        yield 0, count


def trimmed(scene: Frames, framerate: float, trimming: Trimming) -> Iterator[Frames]:
    """What is left of a scene: cropped, not too long, not too short.

    >>> list(trimmed((0, 900), 30.0, Trimming(2, 10, "stride", 0.5)))
    [(15, 315), (315, 615), (615, 885)]
    """
    least, crop = int(trimming.least * framerate), int(trimming.crop * framerate)
    start, end = scene if trimming.crop_pieces else (scene[0] + crop, scene[1] - crop)
    # At least one frame, or it would never come to an end.
    most = max(int(trimming.most * framerate) if trimming.most else end - start, 1)
    starts = range(start, end, most)
    for first in starts[:1] if trimming.mode == "truncate" else starts:
        last = min(first + most, end)
        inner = (first + crop, last - crop) if trimming.crop_pieces else (first, last)
        if inner[1] - inner[0] >= max(least, 1):
            yield inner


def trimmed_in_time(
    scene: Frames, times: Sequence[float], end: float, trimming: Trimming
) -> Iterator[Frames]:
    """The same for a film without a constant rate: lengths are counted on the clock.

    ``times`` says when each frame is shown, and the film is over at ``end``.
    """

    def frame_at(seconds: float) -> int:
        return bisect_left(times, seconds - NEARLY)

    def shown(frame: int) -> float:
        return times[frame] if frame < len(times) else end

    def cropped(first: int, last: int) -> Frames:
        return frame_at(shown(first) + trimming.crop), frame_at(shown(last) - trimming.crop)

    first, last = scene if trimming.crop_pieces or not trimming.crop else cropped(*scene)
    while first < last:
        # At least one frame, as above.
        most = max(frame_at(shown(first) + trimming.most), first + 1) if trimming.most else last
        until = min(most, last)
        pieces_too = trimming.crop_pieces and trimming.crop
        inner = cropped(first, until) if pieces_too else (first, until)
        if inner[0] < inner[1] and shown(inner[1]) - shown(inner[0]) + NEARLY >= trimming.least:
            yield inner
        first = until if trimming.mode == "stride" else last
