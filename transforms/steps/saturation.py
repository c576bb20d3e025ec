"""How colourful a clip is: mean saturation of its frames, from 0 (grey) to 1.

A pixel's saturation is that of HSV: the distance of its strongest colour to its weakest, in parts
of the strongest. Pixels that are nearly black have any saturation, seen as grey, so they count as
none.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from finecut.transforms.filter.comparing import Rule
from finecut.transforms.option import LOOK, filter_option, rate_option, threshold_option
from finecut.transforms.step_base import Frames, Score, StepOnFrames

#: Pixels whose strongest colour is no stronger than this (of 255) look black.
DARK = 16


@dataclass(frozen=True, kw_only=True)
class SaturationOptions:
    saturation_filter: str = filter_option(
        LOOK, "Measure how colourful clips are; enable: reject those below the threshold."
    )
    saturation_threshold: float = threshold_option(
        0.05, LOOK, "Minimum mean saturation, from 0 (grey) to 1.", least=0, most=1
    )
    saturation_target_fps: float = rate_option(1.0, LOOK, "Frames per second that are measured.")


class Saturation(StepOnFrames[SaturationOptions]):
    name, order = "saturation", 30
    Options = SaturationOptions
    scores = (Score("saturation", unit="share", better="more"),)
    side = 128

    @property
    def rate(self) -> float:
        return self.options.saturation_target_fps

    def rules(self) -> Iterable[Rule]:
        yield self.rule("saturation", ">=", self.options.saturation_threshold)

    def look(self, frames: Frames) -> Mapping[str, float]:
        if not frames:
            return {}
        return {"saturation": math.fsum(map(saturation_of, frames)) / len(frames)}


def saturation_of(frame: Any) -> float:
    """The mean saturation of one picture (RGB)."""
    import numpy as np

    strongest = frame.max(axis=2).astype(np.float32)
    distance = strongest - frame.min(axis=2)
    return float(np.mean(np.where(strongest > DARK, distance / np.maximum(strongest, 1), 0)))
