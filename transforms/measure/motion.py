"""Measuring motion: how far things move from one frame to the next, seen at a few moments.

Encoders look for motion anyway, and some decoders hand out what they found: *vectors*, each of
which says where a block of the picture comes from. They cost next to nothing to read
(:func:`vector_field`). Decoders that keep them to themselves (VP9, AV1, HEVC, intra-only codecs)
give pixels, and from two small neighbouring pictures :func:`estimate_field` finds what an encoder
would have found. Both say the same of the same film, in the same unit.

    clip     I  b  b  P  b  b  P  b  b  P  …         twice a second, or as often as asked
             ▲─────────▲                             ▼
             └ reference         MotionSampler ──▶ vectors of this P, or two neighbours' luma
               3 frames back                         ▼
                                               vector_field / estimate_field ──▶ Field
                                                     ▼
                                               MotionMeter ──▶ two scores of the clip

=============================  ====================================================================
score                          meaning
=============================  ====================================================================
``motion_global_mean``         displacement per frame, as a part of width + height, averaged over
                               the picture and over all moments looked at. 0 is a still; 0.001 is
                               2 pixels per frame at 1280x720
``motion_per_patch_min_256``   the same of the patch of 256x256 pixels that moves least: 0 where a
                               part of the picture rests, as under a logo or before a fixed camera
=============================  ====================================================================

The unit is the reference's, whose thresholds (0.00098 and 0.000001) therefore keep their meaning,
and so is the drawing of vectors: parts of the picture that an encoder made anew, without a vector,
count as resting. Otherwise than there, moments are taken from the whole clip and not from its first
half, displacements are per frame however far back the encoder looked, blocks beyond the edge of
the picture are not drawn along it, and the mean of a patch is the mean of a patch and not the four
pixels in its middle. A rest of less than half a patch at the right or lower edge belongs to its
neighbour, so any picture has at least one patch.

Two things vectors do not say: which of several earlier frames is meant (taken is the one before,
which encoders nearly always use), and what moved between clips (nothing is compared with a frame
before the clip's first).
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from itertools import pairwise
from typing import Final

import numpy as np

from finecut.io.media.frame_view import Array, FrameView
from finecut.io.media.frames.contact_sheet import sampled_indices
from finecut.transforms.measure.motion_field import Field, estimate_field, vector_field

PATCH: Final = 256
#: Width of the pictures in which motion is estimated.
SMALL: Final = 320


class ClipMotion:
    """Films may change the size of their pictures: each has a meter, and counts by its moments."""

    def __init__(self, rate: float) -> None:
        self._rate = Fraction(rate)
        self._sampler: MotionSampler | CheapMotionSampler = MotionSampler(rate)
        self._meters: dict[tuple[int, int], MotionMeter] = {}
        self._kept: FrameView | None = None

    def wants(self, times: Sequence[Fraction]) -> set[int]:
        self._sampler = CheapMotionSampler(self._rate, times)
        return set(sampled_indices(times, self._rate))

    def more(self, times: Sequence[Fraction]) -> int:
        assert isinstance(self._sampler, CheapMotionSampler)
        return self._sampler.more(times)

    def see(self, view: FrameView, seconds: Fraction) -> None:
        size = (view.decoded.width, view.decoded.height)
        meter = self._meters.setdefault(size, MotionMeter(*size))
        answer = self._sampler.see(seconds, view.kind, lambda: view.vectors() is not None)
        if answer.act is Act.VECTORS:
            vectors = view.vectors()
            assert vectors is not None
            meter.see(vector_field(vectors, *size, answer.distance))
        elif answer.act is Act.KEEP:
            self._kept = view
        elif answer.act is Act.ESTIMATE:
            kept, self._kept = self._kept, None
            assert kept is not None
            if (kept.decoded.width, kept.decoded.height) == size:
                small = small_size(*size)
                pair = kept.small_luma(*small), view.small_luma(*small)
                meter.see(estimate_field(*pair, *size))

    def scores(self) -> dict[str, float]:
        meters = list(self._meters.values())
        if not any(meter.seen for meter in meters) and self._sampler.saw_too_little:
            return {}
        seen = [max(meter.seen, len(meters) == 1) for meter in meters]
        if not sum(seen):
            seen = [1] * len(meters)
        all_scores = [meter.scores() for meter in meters]
        return {
            name: sum(n * scores[name] for n, scores in zip(seen, all_scores, strict=True))
            / sum(seen)
            for name in (all_scores[0] if all_scores else ())
        }


def small_size(width: int, height: int) -> tuple[int, int]:
    """The size in which motion is estimated: about as wide as :data:`SMALL`, never enlarged."""
    scale = min(1.0, SMALL / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


# ── the meter ────────────────────────────────────────────────────────────────────────────────────


class MotionMeter:
    """The two scores of a clip, from fields as they come; it holds one number per patch."""

    def __init__(self, width: int, height: int) -> None:
        self._columns, self._rows = _edges(width), _edges(height)
        self._size = (width, height)
        self._sums = np.zeros((self._rows.size - 1, self._columns.size - 1))
        #: Moments that were taken into account.
        self.seen = 0

    def see(self, field: Field) -> None:
        """Take another moment of the clip into account."""
        self._sums += field.sums(self._columns, self._rows)
        self.seen += 1

    def scores(self) -> dict[str, float]:
        """Both scores; 0 if no moment was seen, since a clip of one frame is a still."""
        width, height = self._size
        areas = np.outer(np.diff(self._rows), np.diff(self._columns))
        seen = max(1, self.seen)
        return {
            "motion_global_mean": float(self._sums.sum() / (seen * width * height)),
            "motion_per_patch_min_256": float((self._sums / areas).min() / seen),
        }


def _edges(side: int) -> Array:
    """Where patches begin and end: every 256 pixels, the last one longer or shorter."""
    edges = np.arange(max(1, (side + PATCH // 2) // PATCH) + 1) * PATCH
    edges[-1] = side
    return edges


# ── the sampler ──────────────────────────────────────────────────────────────────────────────────


#: Multiples of it are as evenly spread over the turns as can be, and never fall into step.
GOLDEN_RATIO: Final = Fraction(618, 1000)


class Act(Enum):
    """What to do with a frame."""

    NOTHING = "nothing"
    #: Read its vectors, which point ``distance`` frames back.
    VECTORS = "vectors"
    #: Keep its luma: the next frame is compared with it.
    KEEP = "keep"
    #: Compare its luma with the one kept.
    ESTIMATE = "estimate"


@dataclass(frozen=True)
class Answer:
    """The sampler's answer about one frame."""

    act: Act = Act.NOTHING
    distance: int = 1


class MotionSampler:
    """Which frames of a clip to measure, asked about each in the order in which they are shown.

    At every tick, about ``1 / rate`` seconds apart, the next P-frame's vectors are read: it points
    to the last frame before it that is not a B-frame, which has to belong to the clip. If none
    comes within half that time, or if P-frames here are known to bring no vectors, two neighbouring
    frames are compared. The first of them is kept one frame earlier.

    Ticks are not quite regular. Films whose frame rate was raised show every fourth or fifth frame
    twice, and a regular beat could find those pairs every time, or never.
    """

    #: A clip is a still when all of its frames were seen and nothing was measured.
    saw_too_little = False

    def __init__(self, rate: float) -> None:
        self._interval = 1 / Fraction(rate)
        self._due = Fraction(0)
        #: Frames since the last one that is no B-frame; 0 before the first of the clip.
        self._distance = 0
        self._last: str = ""
        self._kept = False
        #: Whether P-frames were seen to bring vectors, or to bring none.
        self._sighted = self._blind = False

    def see(self, seconds: Fraction, kind: str, has_vectors: Callable[[], bool]) -> Answer:
        """What to do with the frame shown so long after the clip's first one.

        ``kind`` is "I", "P", "B" or anything else; ``has_vectors`` is asked of P-frames only, and
        only when their vectors would be read.
        """
        answer = self._decide(seconds, kind, has_vectors)
        if kind != "B":
            self._distance = 1
        elif self._distance:
            self._distance += 1
        self._last = kind
        return answer

    def _decide(self, seconds: Fraction, kind: str, has_vectors: Callable[[], bool]) -> Answer:
        if self._kept:
            self._kept = False
            self._pass(seconds)
            return Answer(Act.ESTIMATE)
        if seconds < self._due:
            return Answer()
        bare = False
        if kind == "P" and self._distance and not self._blind:
            if has_vectors():
                self._sighted = True
                self._pass(seconds)
                return Answer(Act.VECTORS, self._distance)
            # An encoder may make a whole P-frame anew; one that always does has no vectors.
            bare, self._blind = True, not self._sighted
        late = seconds - self._due >= self._interval / 2
        # Two I-frames side by side: a codec that knows no others, or nearly so.
        if bare or self._blind or late or self._last == kind == "I":
            self._kept = True
            return Answer(Act.KEEP)
        return Answer()

    def _pass(self, seconds: Fraction) -> None:
        """The next tick after this moment is due.

        Each comes in the first half of its turn, so that there is time for it before the next.
        """
        turn = seconds // self._interval + 1
        self._due = (turn + turn * GOLDEN_RATIO % 1 / 2) * self._interval


#: No encoder refers to a frame so far back.
FARTHEST: Final = 16


class CheapMotionSampler:
    """The same of a clip of which only some frames are shown, those after its key frames.

    Once in every turn, if such a frame falls into it, a P-frame's vectors are read, or two frames
    that are neighbours in the clip are compared.
    """

    def __init__(self, rate: Fraction, times: Sequence[Fraction]) -> None:
        self._rate, self._times = rate, times
        #: Numbers of the last frame that is no B-frame, and of the one that is kept.
        self._anchor: int | None = None
        self._kept: int | None = None
        #: The one in which something was looked at last.
        self._turn = -1

    def _turn_of(self, seconds: Fraction) -> int:
        return int(seconds * self._rate)

    def more(self, times: Sequence[Fraction]) -> int:
        """How many of frames shown at these times it wants: up to the last that begins a turn."""
        turns = [self._turn, *map(self._turn_of, times)]
        begins = [count for count, (one, other) in enumerate(pairwise(turns), 1) if one != other]
        return begins[-1] if begins else 0

    @property
    def saw_too_little(self) -> bool:
        """Whether the clip has more frames than the one that is no motion."""
        return len(self._times) > 1

    def see(self, seconds: Fraction, kind: str, has_vectors: Callable[[], bool]) -> Answer:
        """What to do with the frame shown so long after the clip's first one."""
        number = bisect_left(self._times, seconds)
        turn = self._turn_of(seconds)
        answer = self._decide(number, turn, kind, has_vectors)
        self._kept = number if answer.act is Act.KEEP else None
        if kind != "B":
            self._anchor = number
        if answer.act in (Act.VECTORS, Act.ESTIMATE):
            self._turn = turn
        return answer

    def _decide(self, number: int, turn: int, kind: str, has_vectors: Callable[[], bool]) -> Answer:
        if turn == self._turn:
            return Answer()
        if kind == "P" and self._anchor is not None:
            distance = number - self._anchor
            if 1 <= distance <= FARTHEST and has_vectors():
                return Answer(Act.VECTORS, distance)
        return Answer(Act.ESTIMATE if self._kept == number - 1 else Act.KEEP)
