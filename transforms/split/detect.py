"""Detecting scenes: a film is watched once as a thumbnail, and cut where its scenes change.

    film ──watch──▶ 27x48 frames ──transnetv2 | content──▶ marks ──▶ scenes ──▶ trimmed ──▶ pieces

One frame after the other, so that the length of the film costs time but no memory (eight bytes a
frame, to know when it was shown). The whole film is decoded for it, once more than the cut will.
"""

import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.process.children import ChildLimits
from finecut.io.records import Span, Video
from finecut.transforms.beam.metrics import count
from finecut.transforms.cut.isolated import isolated_frames
from finecut.transforms.split.content import transitions
from finecut.transforms.split.scenes import (
    NEARLY,
    Piece,
    Trimming,
    scenes_of,
    trimmed,
    trimmed_in_time,
)

if TYPE_CHECKING:
    from finecut.transforms.models.transnetv2_network import Network

TRANSNETV2, CONTENT = "transnetv2", "content"
USUAL_TRIMMING = Trimming()

Frames = Iterable[NDArray[np.uint8]]

#: Seconds by which a film may be shorter than its header says.
MISSING = 2.0
#: Frames between two updates of the progress line.
OFTEN = 50

_loading = threading.Lock()


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

    def prepare(self) -> None:
        """Load what is needed, so that it is known at once when it is missing."""
        if self.algorithm == TRANSNETV2:
            network(self.model_dir)

    def pieces(self, video: Video) -> Iterator[Piece]:
        promised: list[float] = []
        film = isolated_frames("split", video, promised, limits=self.limits, film=self.film)
        yield from detected(film, video.framerate, self, promised)


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
    times = array("d")
    even = True

    def frames() -> Iterator[NDArray[np.uint8]]:
        nonlocal even
        for seconds, frame in film:
            even = even and abs(float(seconds) - len(times) / framerate) < NEARLY
            times.append(float(seconds))
            if len(times) % OFTEN == 0:
                count("milliseconds watched", int(1000 * OFTEN / framerate))
            yield frame

    for scene in scenes_of(marks(frames(), detection), detection.entire):
        if even:
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
    shown = len(times) / framerate
    if even and promised and promised[0] - shown > MISSING:
        yield Piece(len(times), int(promised[0] * framerate), Span(shown, promised[0]))


def marks(frames: Frames, detection: Detection) -> Iterator[bool]:
    """One mark a frame: whether the scene changes there."""
    if detection.algorithm == CONTENT:
        yield from transitions(frames)
        return
    from finecut.transforms.models.transnetv2 import probabilities

    for probability in probabilities(frames, network(detection.model_dir).probabilities_of):
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
