"""How much moves in a clip."""

from collections.abc import Iterable
from dataclasses import dataclass

from finecut.transforms.filter.comparing import Rule
from finecut.transforms.option import LOOK, filter_option, rate_option, threshold_option
from finecut.transforms.step_base import Meter, Score, StepInCut


@dataclass(frozen=True, kw_only=True)
class MotionOptions:
    motion_filter: str = filter_option(
        LOOK, "Measure motion; enable: reject clips below the two thresholds."
    )
    motion_global_mean_threshold: float = threshold_option(
        0.00098,
        LOOK,
        "Minimum mean motion over the whole frame, as a fraction of width plus height per frame.",
        least=0,
    )
    motion_per_patch_min_256_threshold: float = threshold_option(
        0.000001, LOOK, "Minimum motion in the 256x256 patch that moves least.", least=0
    )
    motion_target_fps: float = rate_option(
        2.0, LOOK, "How many times per second motion is measured."
    )


class Motion(StepInCut[MotionOptions]):
    """Read from the decoder's motion vectors, or from two small pictures where there are none."""

    name, order = "motion", 10
    Options = MotionOptions
    scores = (
        Score(
            "motion_global_mean",
            short="motion",
            title="motion",
            unit="of width plus height, a frame",
            document="motion_score.global_mean",
        ),
        Score(
            "motion_per_patch_min_256",
            short="motion_patch",
            title="motion, least moving patch",
            unit="of width plus height, a frame",
            document="motion_score.per_patch_min_256",
        ),
    )
    reads_vectors = True

    def rules(self) -> Iterable[Rule]:
        o = self.options
        yield self.rule("motion_global_mean", ">=", o.motion_global_mean_threshold)
        yield self.rule("motion_per_patch_min_256", ">=", o.motion_per_patch_min_256_threshold)

    def meter(self) -> Meter:
        from finecut.transforms.measure.motion import ClipMotion

        return ClipMotion(self.options.motion_target_fps)
