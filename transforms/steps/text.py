"""How much of a picture is text."""

from collections.abc import Iterable
from dataclasses import dataclass

from finecut.transforms.filter.comparing import Rule
from finecut.transforms.models.weights.naming import TEXT_MODEL
from finecut.transforms.needs import Needs
from finecut.transforms.option import MODELS, filter_option, threshold_option
from finecut.transforms.step_base import Looker, Score, StepOnFrames
from finecut.transforms.steps.shared import ScreenOptions


@dataclass(frozen=True, kw_only=True)
class TextOptions(ScreenOptions):
    text_filter: str = filter_option(
        MODELS,
        "Measure the share of the frame covered by text (subtitles, watermarks, slides); "
        "enable: reject clips above the threshold.",
    )
    text_threshold: float = threshold_option(
        0.1, MODELS, "Maximum share of the frame that text may cover.", least=0, most=1
    )


class Text(StepOnFrames[TextOptions]):
    """Found by the detector of PP-OCRv4."""

    name, order = "text", 40
    usual_seconds = 0.2
    Options = TextOptions
    scores = (
        Score(
            "text_coverage",
            short="text",
            title="text coverage",
            unit="share of the picture",
            better="less",
        ),
        Score("text_max", title="text, largest", unit="share of the picture", better="less"),
    )
    side = 360

    @property
    def needs(self) -> Needs:
        return Needs(packages=(TEXT_MODEL.place[0], "onnxruntime"), command=TEXT_MODEL.install)

    @property
    def rate(self) -> float:
        return self.options.screen_target_fps

    def rules(self) -> Iterable[Rule]:
        yield self.rule("text_coverage", "<=", self.options.text_threshold)

    def load(self) -> Looker:
        from finecut.transforms.models.scorers import TextScorer

        return TextScorer()
