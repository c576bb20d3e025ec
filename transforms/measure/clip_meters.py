"""Meters: what is measured of one clip while it is cut, from the frames as they come."""

from collections.abc import Sequence
from fractions import Fraction

from finecut.io.media.frame_view import FrameView
from finecut.io.media.frames.contact_sheet import Ticker, sampled_indices
from finecut.transforms.measure.motion import (
    Act,
    CheapMotionSampler,
    MotionMeter,
    MotionSampler,
    vector_field,
)
from finecut.transforms.measure.motion_estimate import estimate_field
from finecut.transforms.measure.quality import QualityMeter

#: Width of the pictures in which motion is estimated.
SMALL = 320


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


class ClipQuality:
    """The quality of the last frame of each part of a clip."""

    def __init__(self, rate: float) -> None:
        self._ticker = Ticker(rate)
        self._meter = QualityMeter()
        self._last: FrameView | None = None
        self._rate = rate

    def wants(self, times: Sequence[Fraction]) -> set[int]:
        return set(sampled_indices(times, self._rate))

    def more(self, times: Sequence[Fraction]) -> int:
        """All: it gains by every frame."""
        return len(times)

    def see(self, view: FrameView, seconds: Fraction) -> None:
        if self._ticker.passed(seconds):
            self._measure()
        self._last = view

    def scores(self) -> dict[str, float]:
        if self._ticker.ended():
            self._measure()
        return self._meter.scores()

    def _measure(self) -> None:
        assert self._last is not None
        self._meter.see(self._last.luma())


def small_size(width: int, height: int) -> tuple[int, int]:
    """The size in which motion is estimated: about as wide as :data:`SMALL`, never enlarged."""
    scale = min(1.0, SMALL / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
