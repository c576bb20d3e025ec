"""Richer captions: a text model writes each caption again."""

from collections.abc import Iterator
from dataclasses import dataclass

from finecut.transforms.models.known_models import WRITERS
from finecut.transforms.needs import Needs
from finecut.transforms.option import CAPTIONS, ENDPOINT, MEASURED, option
from finecut.transforms.step_base import StepOnTexts, Surroundings, Work
from finecut.transforms.steps.caption import CaptionOptions
from finecut.transforms.steps.shared import (
    AV,
    AV_SURVEILLANCE,
    DEFAULT,
    IN_PROCESS,
    MOST_TOKENS,
    VARIANTS,
    needs_of_writer,
    wrong_with_endpoint,
    wrong_with_prompt,
)

WITHOUT = "--enhance-captions"

#: What text models are told; ``--enhance-captions-prompt-text`` replaces it.
ENHANCE = {
    DEFAULT: (
        "You are given the caption of a video. Write it again, richer in detail and longer than it "
        "was, in clear and plain language. Keep every fact, invent none, and answer with the new "
        "caption only."
    ),
    AV: (
        "You are given the caption of a video from a camera in a driving car. Write it again, "
        "richer in detail and longer than it was: the drive, the other vehicles, people, signs and "
        "dangers, and one sentence that sums it up. Keep every fact, invent none, and answer with "
        "the new caption only."
    ),
    AV_SURVEILLANCE: (
        "You are given the caption of a video from a camera above a street or in a car. Write it "
        "again, richer in detail and longer than it was: the traffic, people, signs and dangers, "
        "and one sentence that sums it up. Keep every fact, invent none, and answer with the new "
        "caption only."
    ),
}


@dataclass(frozen=True, kw_only=True)
class EnhanceOptions(CaptionOptions):
    enhance_captions: bool = option(
        False,
        CAPTIONS,
        "Have a text model rewrite each caption with more detail.",
        effective=MEASURED,
        without="--generate-captions",
    )
    enhance_captions_algorithm: str = option(
        "qwen2.5",
        CAPTIONS,
        f"The text model: {', '.join(WRITERS)}, endpoint, or a folder, bucket path or hub id.",
        metavar="MODEL",
        effective=MEASURED,
        without=WITHOUT,
    )
    enhance_captions_endpoint: str | None = option(
        None,
        CAPTIONS,
        "Base URL of an OpenAI-compatible server for the text model; add #NAME to choose one of "
        "its models.",
        metavar="URL",
        shown="none",
        matters=False,
        effective=MEASURED,
        without=WITHOUT,
    )
    enhance_captioning_prompt_variant: str = option(
        "default",
        CAPTIONS,
        "The instruction for the text model, for the same three kinds of footage.",
        choices=VARIANTS,
        effective=MEASURED,
        without=WITHOUT,
    )
    enhance_captions_prompt_text: str | None = option(
        None,
        CAPTIONS,
        "Use this instruction instead.",
        metavar="TEXT",
        shown="the text of the variant",
        effective=MEASURED,
        without=WITHOUT,
    )
    enhance_captions_max_output_tokens: int = option(
        512,
        CAPTIONS,
        "Longest rewritten caption, in tokens.",
        metavar="N",
        above=0,
        most=MOST_TOKENS,
        effective=MEASURED,
        without=WITHOUT,
    )


class Enhance(StepOnTexts[EnhanceOptions]):
    name, order, label = "enhance", 100, "EnhanceCaptions"
    usual_seconds = 2.0
    Options = EnhanceOptions
    has_model = True
    switch = "enhance_captions"

    @property
    def enabled(self) -> bool:
        return self.options.generate_captions and super().enabled

    @property
    def needs(self) -> Needs:
        o = self.options
        return needs_of_writer(o.enhance_captions_algorithm, o.enhance_captions_endpoint, o)

    def works_by(self, condition: str) -> bool:
        return condition != IN_PROCESS or self.options.enhance_captions_algorithm != ENDPOINT

    def contradictions(self) -> Iterator[str]:
        o = self.options
        yield from wrong_with_endpoint(
            self.enabled,
            "enhance-captions",
            o.enhance_captions_algorithm,
            o.enhance_captions_endpoint,
        )
        yield from wrong_with_prompt(
            "--enhance-captions-prompt-text",
            o.enhance_captions_prompt_text,
            "--enhance-captioning-prompt-variant",
            o.enhance_captioning_prompt_variant,
        )

    def prompts(self) -> Iterator[tuple[str, str]]:
        if self.options.enhance_captions_prompt_text:
            yield "--enhance-captions-prompt-text", self.options.enhance_captions_prompt_text

    def work(self, _given: Surroundings) -> Work:
        from finecut.transforms.models.choosing import enhancing

        return enhancing(self.options)
