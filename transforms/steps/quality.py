"""What is wrong with the pictures of a clip."""

from collections.abc import Iterable
from dataclasses import dataclass

from finecut.transforms.filter.comparing import Rule, rule_of
from finecut.transforms.option import LOOK, filter_option, rate_option
from finecut.transforms.step_base import Meter, Score, StepInCut

#: What ``--quality-filter enable`` asks for: the least a picture needs to be worth training on.
#: They are loose: films that people made to be seen pass, also at night.
QUALITY_RULES = (
    "sharpness>=0.05",
    "exposure>=0.1",
    "blockiness<=0.6",
    "blackness<=0.9",
    "letterbox<=0.5",
    "frozen<=0.95",
)


@dataclass(frozen=True, kw_only=True)
class QualityOptions:
    quality_filter: str = filter_option(
        LOOK,
        "Measure sharpness, exposure, blockiness, blackness, letterbox and frozen frames; "
        "enable: reject clips that are black, blurred or frozen.",
    )
    quality_target_fps: float = rate_option(
        2.0, LOOK, "How many times per second quality is measured."
    )


class Quality(StepInCut[QualityOptions]):
    """Read from the luma of some frames, as it lies in memory."""

    name, order = "quality", 20
    Options = QualityOptions
    scores = (
        Score("sharpness", better="more"),
        Score("exposure", better="more"),
        Score("blockiness", better="less"),
        Score("blackness", unit="share of the pixels", better="less"),
        Score("letterbox", unit="share of the picture", better="less"),
        Score("frozen", unit="share of the frames", better="less"),
    )

    def rules(self) -> Iterable[Rule]:
        return map(rule_of, QUALITY_RULES)

    def meter(self) -> Meter:
        from finecut.transforms.measure.quality import ClipQuality

        return ClipQuality(self.options.quality_target_fps)
