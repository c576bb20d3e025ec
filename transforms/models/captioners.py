"""What happens in a clip, in words, by models that run here.

There are three ways in which models are shown a clip, and :class:`Captioner` chooses by what the
folder says::

    Qwen2-VL, Qwen2.5-VL, Qwen3-VL     a video: patches and times as in :mod:`~.qwen`
    others that transformers knows     six of the frames, as pictures, by the folder's processor
    those that bring their own code    a video, by the processor they bring

Of the last kind is ``nemotron``, whose code is run only where that was permitted. It wants packages
of its own too (its language half is a Mamba), and was written for an older transformers: in this
file it was tried with a stand-in of the same interface, never with the real one. With vLLM
(:mod:`~.vllm_engine`) it needs none of that.

Prompts are written by the template in the model's folder. Videos of different lengths and sizes go
through a Qwen side by side; the other ways ask one question at a time. On a CPU everything is asked
one at a time, so that a caption does not depend on what else there is to describe.

How texts are made of prompts, and when they have ended, is in :mod:`~.local_model`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import Frame, Question, Said
from finecut.transforms.models import qwen
from finecut.transforms.models.known_models import CAPTIONERS, repository_of
from finecut.transforms.models.loading import Tensor, config_of, load_part, quiet
from finecut.transforms.models.local_model import (
    LocalModel,
    Prompt,
    find_model,
    model_type,
    require_kind,
)
from finecut.transforms.models.weights.folders import (
    CONFIG,
    Located,
    WeightsMissing,
    first_line,
    needed,
    read_json,
)
from finecut.transforms.models.words import by_template, numbers, spread, turns, words_only

PURPOSE = "caption clips"

#: Frames that models are shown that know pictures only: with a few hundred words for each there is
#: still room for the answer in the smallest of them.
PICTURES = 6
#: The first of these that a folder's own code offers is the model.
OFFERED = ("AutoModelForImageTextToText", "AutoModelForCausalLM", "AutoModel")
#: What models with their own code are given of all that their processors return.
SHOWN = ("input_ids", "attention_mask", "pixel_values", "pixel_values_videos")
#: What means a video or a picture to one model or another, whether or not its tokenizer says so.
PLACES = (qwen.START, qwen.VIDEO, qwen.END, "<video>", "<image>")
#: Models with this in their ``model_type`` think aloud unless they are asked to answer.
THINKER, ANSWER = "nemotron", "/no_think"


def find_captioner(name: str, model_dir: str | None, allowed: bool) -> tuple[Located, bool]:
    """The folder of a captioner, and whether its own code is run."""
    return find_model(repository_of(name, CAPTIONERS), model_dir, allowed, PURPOSE)


class Captioner(LocalModel):
    """Describes clips, in one of the three ways."""

    auto = "AutoModelForImageTextToText"
    find = staticmethod(find_captioner)

    @classmethod
    def made(cls, found: Located, own: bool) -> "Captioner":
        kinds = needed("transformers.models.auto.modeling_auto", PURPOSE)
        known = kinds.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        with quiet():
            if own:
                return OwnCodeCaptioner(found)
            kind = require_kind(found, known, "describe pictures")
            return VideoCaptioner(found) if kind in qwen.FAMILIES else PictureCaptioner(found)

    @classmethod
    def require(
        cls, name: str, model_dir: str | None = None, trust_remote_code: bool = False
    ) -> ModelUsed:
        found, own = cls.find(name, model_dir, trust_remote_code)
        if own:
            # Its code is run where it works, not where somebody only asks whether it could.
            offered(found)
        else:
            cls.made(found, own)
        return found.used


# ── a Qwen ───────────────────────────────────────────────────────────────────────────────────────


class VideoCaptioner(Captioner):
    """Patches and times, as a Qwen-VL was taught."""

    #: A million pixels are some 700 tokens: 40 MB of what the model keeps of them, and as much to
    #: see them.
    pixels_per_gb = 4_000_000

    def __init__(self, found: Located) -> None:
        super().__init__(found)
        self.tokenizer = load_part("tokenizer", found, own=False)
        self._family = model_type(found)
        self._see = qwen.eyes(found.path, self._family)
        self._template = template(found, self.tokenizer, required=False)
        self._video = numbers(self.tokenizer, qwen.VIDEO)
        if len(self._video) != 1:
            raise WeightsMissing(
                f"the tokenizer in {found.path} does not know {qwen.VIDEO}, the placeholder for "
                "a video in prompts. Usually it belongs to a model without vision; download the "
                "whole folder again."
            )

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """All in one call."""
        seen = [self.seen(question) for question in questions]
        with self._generator.lock:
            prompts = [
                self.prompt(question, *pixels)
                for question, pixels in zip(questions, seen, strict=True)
            ]
            return self._generator.write(prompts)

    def seen(self, question: Question) -> tuple[Tensor, tuple[int, int, int]]:
        """The patches of a question's frames; nobody needs to wait for them."""
        qwen.require_rate(question.rate)
        return qwen.patches(qwen.fitted(question.frames, self._see), self._see)

    def prompt(self, question: Question, pixels: Tensor, grid: tuple[int, int, int]) -> Prompt:
        """The question as the model is asked it."""
        import torch

        count = max(len(question.frames), 2)
        text = seeing(self.tokenizer, self._template, self._family, question)
        text = text.replace(qwen.ROOM, qwen.places(grid, count, question.rate, self._see))
        words = numbers(self.tokenizer, text)
        seen = {"pixel_values_videos": pixels, "video_grid_thw": torch.tensor([grid])}
        if self._family == qwen.TIMED:
            seen["second_per_grid_ts"] = torch.tensor([self._see.frames / question.rate])
        # Words are 0 and videos 2, to count their places by.
        marks = [2 if word == self._video[0] else 0 for word in words]
        return Prompt(question.id, words, {"mm_token_type_ids": marks}, seen)


def seeing(tokenizer: Any, form: str | None, family: str, question: Question) -> str:
    """The prompt with room for a video, by the folder's template if that leaves any."""
    question = words_only(tokenizer, question, PLACES)
    if form is not None:
        system = [question.system] if question.system else []
        if THINKER in family.lower():
            system.append(ANSWER)
        parts = [{"type": "video"}, {"type": "text", "text": question.text}]
        text = by_template(tokenizer, turns("\n".join(system), parts), form)
        # Some folders have a template for words alone beside the one that sees.
        if family not in qwen.FAMILIES or text.count(qwen.ROOM) == 1:
            return text
    return qwen.chatml(question.text, question.system, family)


def template(found: Located, tokenizer: Any, required: bool = True) -> str | None:
    """The chat template of the folder: its own file before what the tokenizer says.

    It is required where the model is no Qwen, whose prompt is known.
    """
    plain, wrapped = found.path / "chat_template.jinja", found.path / "chat_template.json"
    if plain.is_file():
        return plain.read_text(encoding="utf-8")
    if wrapped.is_file():
        try:
            return str(read_json(wrapped)["chat_template"])
        except (WeightsMissing, KeyError, TypeError) as error:
            raise WeightsMissing(
                f"{wrapped} contains no chat template ({first_line(error)}). Usually a download "
                "or copy was cut short; download the whole folder again."
            ) from error
    if isinstance(held := tokenizer.chat_template, str):
        return held
    if required:
        raise WeightsMissing(
            f"the model {found.name!r} in {found.path} has no chat template, so finecut cannot "
            "ask it about a clip. Usually it was made to describe single pictures; choose "
            f"another captioner, for example {CAPTIONERS['qwen2.5'].repository}."
        )
    return None


# ── others ───────────────────────────────────────────────────────────────────────────────────────


class PictureCaptioner(Captioner):
    """Some of the frames as pictures, by the processor of the model."""

    def __init__(self, found: Located) -> None:
        super().__init__(found)
        self._processor = load_part("processor", found, own=False)
        self.tokenizer = self._processor.tokenizer
        if self._processor.chat_template is None:
            self._processor.chat_template = template(found, self.tokenizer)

    def said(self, question: Question) -> list[Said]:
        pictures = _pictures(spread(question.frames, PICTURES))
        with self._generator.lock:
            question = words_only(self.tokenizer, question, PLACES)
            system = question.system and [{"type": "text", "text": question.system}]
            words = {"type": "text", "text": question.text}
            text = self._processor.apply_chat_template(
                turns(system, [{"type": "image"} for _ in pictures] + [words]),
                tokenize=False,
                add_generation_prompt=True,
            )
            inputs = self._processor(images=pictures, text=text, return_tensors="pt")
            return self._generator.generate([question.id], dict(inputs))


class OwnCodeCaptioner(Captioner):
    """All frames as a video, by the processor that comes with the model."""

    def __init__(self, found: Located) -> None:
        super().__init__(found)
        self.auto = offered(found)
        self._processor = load_part("processor", found, own=True)
        self.tokenizer = load_part("tokenizer", found, own=True)
        self._template = template(found, self.tokenizer)
        self._family = model_type(found)

    def said(self, question: Question) -> list[Said]:
        pictures = _pictures(question.frames)
        with self._generator.lock:
            text = seeing(self.tokenizer, self._template, self._family, question)
            made = self._processor(text=[text], videos=pictures, return_tensors="pt")
            inputs = {key: made[key] for key in SHOWN if key in made}
            return self._generator.generate([question.id], inputs, **self._generator.settings)


def offered(found: Located) -> str:
    """By which of transformers' classes a model with its own code is loaded."""
    mapped = config_of(found).get("auto_map", {})
    for name in OFFERED:
        if name in mapped:
            return name
    raise WeightsMissing(
        f"the model {found.name!r} in {found.path} has its own code, but none that captions: "
        f"its {CONFIG} offers none of {', '.join(OFFERED)}. Usually another model's folder "
        "was named."
    )


def _pictures(frames: Sequence[Frame]) -> list[Image.Image]:
    """The frames as processors take them."""
    qwen.require_frames(frames)
    return [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
