"""Captions: a model describes what happens in each window of each kept clip."""

from collections.abc import Iterator
from dataclasses import dataclass

from finecut.transforms.models.known_models import CAPTIONERS
from finecut.transforms.needs import Needs
from finecut.transforms.option import (
    CAPTIONS,
    ENDPOINT,
    MEASURED,
    MOST_HEIGHT,
    MOST_RATE,
    option,
)
from finecut.transforms.step_base import Seen, StepOnClips, Surroundings, Work
from finecut.transforms.steps.shared import (
    AV,
    AV_SURVEILLANCE,
    DEFAULT,
    IN_PROCESS,
    MOST_TOKENS,
    VARIANTS,
    WriterMachine,
    needs_of_writer,
    wrong_with_endpoint,
    wrong_with_prompt,
    wrong_with_text,
)

#: While clips are captioned twice.
TWICE = "twice"

#: What captioners are asked, in our own words; ``--captioning-prompt-text`` replaces it.
CAPTION = {
    DEFAULT: (
        "Describe this video in detail: who and what is to be seen, what happens from beginning to "
        "end, the place and the light, how the camera moves, and the mood. Say only what the "
        "pictures show."
    ),
    AV: (
        "These pictures come from a camera in a driving car. Describe the drive: what the car "
        "itself does (its speed, its lane, turns, stops), how the vehicles around it move, and "
        "everything that matters for safety: people on foot and on bicycles, lane markings, "
        "traffic signs and lights, anyone who drives aggressively. Name landmarks, the road, the "
        "weather and the light. Say only what the pictures show."
    ),
    AV_SURVEILLANCE: (
        "These pictures come from a camera that is mounted above a street and does not move. "
        "Describe the traffic: which vehicles come and go and how they move, and everything that "
        "matters for safety: people on foot and on bicycles, lane markings, traffic signs and "
        "lights, anyone who drives aggressively, accidents and near misses. Name landmarks, the "
        "road, the weather and the light. Say only what the pictures show."
    ),
}

#: Put before the first caption when it is asked for once more.
SECOND = (
    "Here is a first description of this video. Look again, correct what is wrong in it, and add "
    "what is missing:"
)


@dataclass(frozen=True, kw_only=True)
class CaptionOptions(WriterMachine):
    generate_captions: bool = option(
        False, CAPTIONS, "Have a model describe each window of each kept clip."
    )
    captioning_algorithm: str = option(
        "qwen2.5",
        CAPTIONS,
        f"The captioner: {', '.join(CAPTIONERS)}, endpoint, or a folder, bucket path or hub id.",
        metavar="MODEL",
        effective=MEASURED,
    )
    captioning_endpoint: str | None = option(
        None,
        CAPTIONS,
        "Base URL of an OpenAI-compatible server that describes images; add #NAME to choose "
        "one of its models.",
        metavar="URL",
        shown="none",
        matters=False,
        effective=MEASURED,
    )
    captioning_prompt_variant: str = option(
        "default",
        CAPTIONS,
        "The kind of prompt: for any footage, for driving (av), or for street cameras "
        "(av-surveillance).",
        choices=VARIANTS,
        effective=MEASURED,
    )
    captioning_prompt_text: str | None = option(
        None,
        CAPTIONS,
        "Use this prompt instead.",
        metavar="TEXT",
        shown="the text of the variant",
        effective=MEASURED,
    )
    captioning_sampling_fps: float = option(
        2.0,
        CAPTIONS,
        "How many frames per second of each window the captioner gets (at least 4 frames, at "
        "most 768).",
        metavar="N",
        above=0,
        most=MOST_RATE,
        effective=MEASURED,
    )
    captioning_side: int = option(
        480,
        CAPTIONS,
        "The shorter side of these frames in pixels; smaller videos are not enlarged.",
        metavar="PIXELS",
        least=28,
        most=MOST_HEIGHT,
        effective=MEASURED,
    )
    captioning_max_output_tokens: int = option(
        512,
        CAPTIONS,
        "Maximum caption length in tokens; a longer one is cut off and marked as truncated.",
        metavar="N",
        above=0,
        most=MOST_TOKENS,
        effective=MEASURED,
    )
    captioning_stage2_caption: bool = option(
        False,
        CAPTIONS,
        "Ask the model a second time, to correct and complete its first caption.",
        effective=MEASURED,
    )
    captioning_stage2_prompt_text: str | None = option(
        None,
        CAPTIONS,
        "The text before the first caption in this second question.",
        metavar="TEXT",
        shown="built-in text",
        effective=TWICE,
        without="--captioning-stage2-caption",
    )


class Caption(StepOnClips[CaptionOptions]):
    name, order, label, place = "caption", 90, "CaptionClips", "captioned"
    usual_seconds = 5.0
    Options = CaptionOptions
    gives, of_windows = "caption", True
    has_model = True
    switch = "generate_captions"

    @property
    def needs(self) -> Needs:
        o = self.options
        return needs_of_writer(o.captioning_algorithm, o.captioning_endpoint, o)

    def works_by(self, condition: str) -> bool:
        return {
            IN_PROCESS: self.options.captioning_algorithm != ENDPOINT,
            TWICE: self.options.captioning_stage2_caption,
        }.get(condition, True)

    def contradictions(self) -> Iterator[str]:
        o = self.options
        yield from wrong_with_endpoint(
            self.enabled, "captioning", o.captioning_algorithm, o.captioning_endpoint
        )
        yield from wrong_with_prompt(
            "--captioning-prompt-text",
            o.captioning_prompt_text,
            "--captioning-prompt-variant",
            o.captioning_prompt_variant,
        )
        yield from wrong_with_text(
            "--captioning-stage2-prompt-text", o.captioning_stage2_prompt_text
        )

    def prompts(self) -> Iterator[tuple[str, str]]:
        o = self.options
        if o.captioning_prompt_text:
            yield "--captioning-prompt-text", o.captioning_prompt_text
        if o.captioning_stage2_caption and o.captioning_stage2_prompt_text:
            yield "--captioning-stage2-prompt-text", o.captioning_stage2_prompt_text

    def seen(self, ask: bool = True) -> Seen:
        return Seen(windows=self.options.captioning_sampling_fps, side=self.options.captioning_side)

    def work(self, given: Surroundings) -> Work:
        from finecut.transforms.models.choosing import captioning

        return captioning(self.options, given)
