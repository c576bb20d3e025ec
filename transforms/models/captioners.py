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

Marks that mean turns or pictures to a model are struck out of what it is asked: they are the
template's to set (see :func:`~.writers.words_only`).

How texts are made of prompts, and when they have ended, is in :mod:`~.writers`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import Frame, Question, Said
from finecut.transforms.models import qwen
from finecut.transforms.models.devices import require_share
from finecut.transforms.models.known import CAPTIONERS, hub_id
from finecut.transforms.models.quiet import quiet
from finecut.transforms.models.weights.folders import (
    CONFIG,
    Located,
    WeightsMissing,
    first_line,
    locate,
    needed,
    remote_code,
)
from finecut.transforms.models.writers import (
    INSTALL,
    Prompt,
    Speaker,
    model_type,
    numbers,
    read_model,
    read_tokenizer,
    require_kind,
    require_tokenizer,
    unread,
    unreadable,
    words_only,
)

if TYPE_CHECKING:
    from torch import Tensor

PURPOSE = "caption clips"

#: Pixels that a captioner may be asked about at once for each GB that a GPU has beside the weights.
#: A million are some 700 tokens: 40 MB of what the model keeps of them, and as much to see them.
PIXELS_PER_GB = 4_000_000
#: Frames that models are shown who know pictures only: with a few hundred words for each there is
#: still room for the answer in the smallest of them.
PICTURES = 6
#: The first of these that a folder's own code offers is the model.
OFFERED = ("AutoModelForImageTextToText", "AutoModelForCausalLM", "AutoModel")
#: What models with their own code are given of all that their processors say.
SHOWN = ("input_ids", "attention_mask", "pixel_values", "pixel_values_videos")
#: What means a video or a picture to one model or another, whether or not its tokenizer says so.
PLACES = (qwen.START, qwen.VIDEO, qwen.END, "<video>", "<image>")
#: Models with this in their ``model_type`` think aloud unless they are told to answer.
THINKER, ANSWER = "nemotron", "/no_think"


class Way(Protocol):
    """How one kind of model is shown a clip."""

    tokenizer: Any
    #: The class of transformers that loads the model.
    kind: Any
    #: Whether several questions may go through the model together.
    together: bool

    def say(self, speaker: Speaker, questions: Sequence[Question]) -> list[Said]:
        """Answers to the questions."""
        ...


class Captioner:
    """Describes clips: a :class:`~finecut.transforms.caption.asking.Model`."""

    def __init__(self, used: ModelUsed, way: Way, speaker: Speaker) -> None:
        self.used = used
        self.at_once = speaker.at_once(PIXELS_PER_GB) if way.together else 0
        self._way = way
        self._speaker = speaker

    @classmethod
    def load(
        cls,
        name: str,
        model_dir: str | None = None,
        trust_remote_code: bool = False,
        max_tokens: int = 512,
        timeout: float | None = None,
        device: str = "auto",
        share: float = 1.0,
    ) -> Captioner:
        """The model from a folder, a store or the hub (see :mod:`~.weights`) onto the device.

        A caption has at most ``max_tokens``, and those that are written together have ``timeout``
        seconds for it. ``share`` is the part of one GPU's memory that the model may take.
        """
        require_share(share)
        found, own = find(name, model_dir, trust_remote_code)
        way = _way(found, own)
        model = read_model(way.kind, found, own, device)
        speaker = Speaker(model, way.tokenizer, max_tokens, timeout, share)
        return cls(ModelUsed(found.name, found.revision), way, speaker)

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """A caption for each question."""
        return self._way.say(self._speaker, questions)


def require_captioner(
    name: str, model_dir: str | None = None, trust_remote_code: bool = False, **_: Any
) -> ModelUsed:
    """Raise what :meth:`Captioner.load` would for lack of something, without loading weights."""
    found, own = find(name, model_dir, trust_remote_code)
    if own:
        # Its code is run where it works, not where somebody only asks whether it could.
        offered(found)
    else:
        _way(found, own)
    return ModelUsed(found.name, found.revision)


def find(name: str, model_dir: str | None, allowed: bool) -> tuple[Located, bool]:
    """The folder of a captioner, and whether its own code is run."""
    needed("torch", INSTALL, PURPOSE)
    needed("transformers", INSTALL, PURPOSE)
    found = locate(hub_id(name, CAPTIONERS), model_dir, code=allowed)
    own = remote_code(found, allowed)
    require_tokenizer(found)
    return found, own


def _way(found: Located, own: bool) -> Way:
    """Everything about the model but its weights."""
    kinds = needed("transformers.models.auto.modeling_auto", INSTALL, PURPOSE)
    with quiet():
        if own:
            return OwnWay(found)
        kind = require_kind(
            found, kinds.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, "describe pictures"
        )
        return VideoWay(found, kind) if kind in qwen.FAMILIES else PictureWay(found)


# ── a Qwen ───────────────────────────────────────────────────────────────────────────────────────


class VideoWay:
    """Patches and times, as a Qwen-VL was taught."""

    together = True

    def __init__(self, found: Located, family: str) -> None:
        transformers = needed("transformers", INSTALL, PURPOSE)
        self.kind = transformers.AutoModelForImageTextToText
        self.tokenizer = read_tokenizer(found, own=False)
        self._see = qwen.eyes(found.path, family)
        self._family = family
        self._template = template(found.path, self.tokenizer)
        self._video = numbers(self.tokenizer, qwen.VIDEO)
        if len(self._video) != 1:
            raise WeightsMissing(
                f"the tokenizer in {found.path} does not know {qwen.VIDEO}, with which a prompt "
                "leaves room for a video. Usually it belongs to a model that cannot see; fetch "
                "the folder again as a whole."
            )

    def say(self, speaker: Speaker, questions: Sequence[Question]) -> list[Said]:
        """All in one call."""
        seen = [self.seen(question) for question in questions]
        with speaker.lock:
            prompts = [
                self.prompt(question, *pixels)
                for question, pixels in zip(questions, seen, strict=True)
            ]
            return speaker.say(prompts)

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
    parts = [{"type": "video"}, {"type": "text", "text": question.text}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": parts}]
    system = [question.system] if question.system else []
    if THINKER in family.lower():
        system.append(ANSWER)
    if system:
        messages.insert(0, {"role": "system", "content": "\n".join(system)})
    if form is not None:
        text = str(
            tokenizer.apply_chat_template(
                messages,
                chat_template=form,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,
            )
        )
        # Some folders have a template for words alone beside the one that sees.
        if family not in qwen.FAMILIES or text.count(qwen.ROOM) == 1:
            return text
    return qwen.chatml(question.text, question.system, family)


def template(folder: Path, tokenizer: Any) -> str | None:
    """The chat template of the folder: its own file before what the tokenizer says."""
    plain, wrapped = folder / "chat_template.jinja", folder / "chat_template.json"
    if plain.is_file():
        return plain.read_text(encoding="utf-8")
    if wrapped.is_file():
        try:
            return str(json.loads(wrapped.read_text(encoding="utf-8"))["chat_template"])
        except (ValueError, KeyError, TypeError) as error:
            raise WeightsMissing(
                f"{wrapped} holds no chat template ({first_line(error)}). Usually a download or "
                "copy was cut short; fetch the folder again as a whole."
            ) from error
    held = tokenizer.chat_template
    return str(held) if isinstance(held, str) else None


def require_template(found: Located, tokenizer: Any) -> str:
    """The chat template of the folder; without one only a Qwen's prompt is known."""
    held = template(found.path, tokenizer)
    if held is None:
        raise WeightsMissing(
            f"the model {found.name!r} in {found.path} has no chat template, so nobody knows how "
            "it is asked about a clip. Usually it was made to describe one picture and cannot be "
            f"asked; choose another captioner, {CAPTIONERS['qwen2.5'].id} for one."
        )
    return held


# ── others ───────────────────────────────────────────────────────────────────────────────────────


class PictureWay:
    """Some of the frames as pictures, by the processor of the model."""

    together = False

    def __init__(self, found: Located) -> None:
        transformers = needed("transformers", INSTALL, PURPOSE)
        self.kind = transformers.AutoModelForImageTextToText
        self._processor = _processor(found, own=False)
        self.tokenizer = self._processor.tokenizer
        if self._processor.chat_template is None:
            self._processor.chat_template = require_template(found, self.tokenizer)

    def say(self, speaker: Speaker, questions: Sequence[Question]) -> list[Said]:
        """One after the other."""
        said = []
        for given in questions:
            pictures = _pictures(some(given.frames, PICTURES))
            with speaker.lock:
                question = words_only(self.tokenizer, given, PLACES)
            content: list[dict[str, str]] = [{"type": "image"} for _ in pictures]
            content.append({"type": "text", "text": question.text})
            messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
            if question.system:
                told = [{"type": "text", "text": question.system}]
                messages.insert(0, {"role": "system", "content": told})
            with speaker.lock:
                text = self._processor.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
                inputs = self._processor(images=pictures, text=text, return_tensors="pt")
                said += speaker.generate([question.id], dict(inputs))
        return said


class OwnWay:
    """All frames as a video, by the processor that comes with the model."""

    together = False

    def __init__(self, found: Located) -> None:
        transformers = needed("transformers", INSTALL, PURPOSE)
        self.kind = getattr(transformers, offered(found))
        self._processor = _processor(found, own=True)
        self.tokenizer = read_tokenizer(found, own=True)
        self._template = require_template(found, self.tokenizer)
        self._family = model_type(found)

    def say(self, speaker: Speaker, questions: Sequence[Question]) -> list[Said]:
        """One after the other."""
        said = []
        for question in questions:
            pictures = _pictures(question.frames)
            with speaker.lock:
                text = seeing(self.tokenizer, self._template, self._family, question)
                made = self._processor(text=[text], videos=pictures, return_tensors="pt")
                inputs = {key: made[key] for key in SHOWN if key in made}
                said += speaker.generate([question.id], inputs, **speaker.wishes)
        return said


def offered(found: Located) -> str:
    """By which of transformers' doors a model with its own code is loaded."""
    config = json.loads((found.path / CONFIG).read_text(encoding="utf-8"))
    doors = [name for name in OFFERED if name in config.get("auto_map", {})]
    if not doors:
        raise WeightsMissing(
            f"the model {found.name!r} in {found.path} brings its own code, but no model that "
            f"captions: its {CONFIG} offers none of {', '.join(OFFERED)}. Usually another "
            "model's folder was named."
        )
    return doors[0]


def some(frames: Sequence[Frame], most: int) -> list[Frame]:
    """So many frames at most, evenly from the first to the last.

    >>> [int(frame) for frame in some([np.uint8(at) for at in range(11)], 3)]
    [0, 5, 10]
    """
    if len(frames) <= most:
        return list(frames)
    return [frames[round(at)] for at in np.linspace(0, len(frames) - 1, most)]


def _pictures(frames: Sequence[Frame]) -> list[Any]:
    """The frames as processors take them."""
    image = needed("PIL.Image", INSTALL, PURPOSE)
    qwen.require_frames(frames)
    return [image.fromarray(np.ascontiguousarray(frame)) for frame in frames]


def _processor(found: Located, own: bool) -> Any:
    """What makes a model's inputs of words and pictures."""
    transformers = needed("transformers", INSTALL, PURPOSE)
    try:
        return transformers.AutoProcessor.from_pretrained(
            found.path, local_files_only=True, trust_remote_code=own
        )
    except unreadable() as error:
        raise unread(found, "processor", error) from error
