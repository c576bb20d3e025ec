"""Detecting shots: a film is watched once as a thumbnail, and cut where its scenes change.

    film ──watch──▶ 27x48 frames ──transnetv2 | content──▶ marks ──▶ scenes ──▶ trimmed ──▶ pieces

One frame after the other, so that the length of the film costs time but no memory (eight bytes a
frame, to know when it was shown). The whole film is decoded for it, once more than the cut will.
"""

import threading
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finecut.io import shelf
from finecut.io.film.watching import watch
from finecut.io.records import Span, Video
from finecut.transforms.content import transitions
from finecut.transforms.scenes import Piece, Trimming, scenes_of, trimmed
from finecut.transforms.tally import count

if TYPE_CHECKING:
    from finecut.transforms.models.transnetv2 import Network

TRANSNETV2, CONTENT = "transnetv2", "content"
USUAL_TRIMMING = Trimming()

Frames = Iterable[NDArray[np.uint8]]

#: Frames between two looks at the clock, for the progress line.
OFTEN = 50

_loading = threading.Lock()


@dataclass(frozen=True)
class Detection:
    """Shots found by looking at the film."""

    algorithm: str = TRANSNETV2
    #: Probability of a transition from which on a frame is taken for one (TransNetV2).
    threshold: float = 0.4
    #: Without any transition, the whole film is one scene.
    entire: bool = True
    trimming: Trimming = USUAL_TRIMMING
    model_dir: str | None = None

    def prepare(self) -> None:
        """Load what is needed, so that it is known at once when it is missing."""
        if self.algorithm == TRANSNETV2:
            network(self.model_dir)

    def pieces(self, video: Video) -> Iterator[Piece]:
        with shelf.open_source(video.source.uri) as file:
            yield from detected(watch(file, video), video.framerate, self)


def detected(
    film: Iterable[tuple[Fraction, NDArray[np.uint8]]], framerate: float, detection: Detection
) -> Iterator[Piece]:
    """The pieces of a film that is watched frame by frame."""
    times = array("d")

    def frames() -> Iterator[NDArray[np.uint8]]:
        for seconds, frame in film:
            times.append(float(seconds))
            if len(times) % OFTEN == 0:
                count("milliseconds watched", int(1000 * (times[-1] - times[-OFTEN])))
            yield frame

    for scene in scenes_of(marks(frames(), detection), detection.entire):
        for first, end in trimmed(scene, framerate, detection.trimming):
            span = Span(shown_at(first, times, framerate), shown_at(end, times, framerate))
            yield Piece(first, end, span)


def marks(frames: Frames, detection: Detection) -> Iterator[bool]:
    """One mark a frame: whether the scene changes there."""
    if detection.algorithm == CONTENT:
        yield from transitions(frames)
        return
    from finecut.transforms.models.transnetv2 import probabilities

    for probability in probabilities(frames, network(detection.model_dir).probabilities_of):
        yield probability > detection.threshold


def shown_at(frame: int, times: "array[float]", framerate: float) -> float:
    """When a frame is shown, or the film is over.

    At a constant rate that is ``frame / framerate``, the very float the reference writes; where
    the film keeps no rate, or frames are missing, it is the frame's own time.
    """
    regular = frame / framerate
    own = times[frame] if frame < len(times) else times[-1] + 1 / framerate
    return regular if abs(own - regular) < 0.25 / framerate else own


def network(model_dir: str | None) -> "Network":
    """TransNetV2, loaded once a process."""
    with _loading:
        return _loaded(model_dir)


@cache
def _loaded(model_dir: str | None) -> "Network":
    from finecut.transforms.models.transnetv2 import load

    return load(model_dir)
