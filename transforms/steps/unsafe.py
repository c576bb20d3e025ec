"""How likely a clip shows what is not safe for work."""

from collections.abc import Iterable
from dataclasses import dataclass

from finecut.transforms.filter.comparing import Rule
from finecut.transforms.models.weights.naming import UNSAFE_MODEL
from finecut.transforms.needs import Needs
from finecut.transforms.option import MODELS, filter_option, threshold_option
from finecut.transforms.step_base import Looker, Score, StepOnFrames
from finecut.transforms.steps.shared import ScreenOptions


@dataclass(frozen=True, kw_only=True)
class UnsafeOptions(ScreenOptions):
    unsafe_filter: str = filter_option(
        MODELS,
        "Score how likely a clip is to be not safe for work; enable: reject clips above the "
        "threshold.",
    )
    unsafe_threshold: float = threshold_option(
        0.5, MODELS, "Maximum probability at which a clip is kept.", metavar="P", least=0, most=1
    )


class Unsafe(StepOnFrames[UnsafeOptions]):
    """Told by Yahoo's open_nsfw."""

    name, order = "unsafe", 50
    usual_seconds = 0.1
    Options = UnsafeOptions
    scores = (
        Score(
            "unsafe_max",
            short="unsafe",
            title="unsafe, highest",
            unit="probability",
            better="less",
        ),
        Score("unsafe_mean", title="unsafe, mean", unit="probability", better="less"),
    )
    side = 256

    @property
    def needs(self) -> Needs:
        return Needs(packages=(UNSAFE_MODEL.place[0], "onnxruntime"), command=UNSAFE_MODEL.install)

    @property
    def rate(self) -> float:
        return self.options.screen_target_fps

    def rules(self) -> Iterable[Rule]:
        yield self.rule("unsafe_max", "<=", self.options.unsafe_threshold)

    def load(self) -> Looker:
        from finecut.transforms.models.scorers import UnsafeScorer

        return UnsafeScorer()
