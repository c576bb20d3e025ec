"""The captioners and writers of this folder, by vLLM where it is installed.

vLLM keeps a GPU busy with many questions at once and needs no video processor of ours; it brings
its own transformers, which may be another version than finecut's other models want, so it is
installed by whoever asks for it (``pip install vllm``) and imported only then::

    questions ─▶ prompts with room for a video, frames, when they were ─▶ LLM.generate ─▶ texts

What it is asked is the same as in :mod:`~.captioners`: prompts by the folder's template, frames in
the size in which a Qwen looks at them (vLLM would show 1080p as it is and run out of places), the
likeliest word every time. Texts are not the same to the letter, because sums are made in another
order, and depend a little on what is asked beside them.

Answers come back in the order of the questions, says vLLM. That is not taken on trust: each answer
names the prompt it belongs to, and one whose words are not its question's is refused, since a text
on the wrong clip is worse than none. (Questions of the same words about different clips cannot be
told apart by this.)

This file was written from vLLM's documentation and tried with a stand-in of its interface; it has
not been run with vLLM itself. Qwen2.5-VL learns the time of its frames since the version of July
2026 only (vllm pull request 47736); older ones take them to be a fixed time apart.
"""

import importlib.util
import threading
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from finecut.transforms.caption.asking import Question, Said
from finecut.transforms.models import captioners, qwen
from finecut.transforms.models.loading import load_part, quiet
from finecut.transforms.models.local_model import (
    REPETITION,
    Limits,
    WritingModel,
    find_writer,
    model_type,
)
from finecut.transforms.models.weights.folders import Located, WeightsMissing, needed
from finecut.transforms.models.words import answered, numbers, written

INSTALL = "pip install vllm"

#: Words of a prompt, its video and its answer: a video of a Qwen is at most 24,576.
LENGTH = 32768
#: Words that a template leaves a video at most, in families that are not known here.
ROOM = 8
#: What of its share of a GPU's memory vLLM takes.
MEMORY = 0.9
#: Why a text ended: the model's own word, of vLLM's several.
ENDED = "stop"


def vllm_is_there() -> bool:
    """Whether vLLM is installed, found without importing it."""
    return importlib.util.find_spec("vllm") is not None


def require_vllm() -> None:
    """Refuse to go on where vLLM is not installed."""
    if not vllm_is_there():
        raise WeightsMissing(
            "vLLM was requested, but the Python package vllm is not installed here. Usually it "
            f"is only in the image of the GPU workers: run `{INSTALL}` there, or caption without "
            "vLLM."
        )


class VllmModel(WritingModel):
    """A model that vLLM runs, asked by one thread at a time."""

    #: Pixels and words that are handed over at once; vLLM itself decides how many it works on. The
    #: frames wait in memory meanwhile, three bytes for each pixel.
    at_once: ClassVar[int]
    #: What vLLM has to know about what is in a prompt beside words.
    limits_of_prompts: ClassVar[dict[str, Any]] = {}
    #: How many words of a prompt the place for a video is.
    _room = 0

    def __init__(self, found: Located, own: bool, limits: Limits) -> None:
        self.used = found.used
        vllm = needed("vllm", captioners.PURPOSE, INSTALL)
        self._llm = vllm.LLM(
            model=str(found.path),
            max_model_len=LENGTH,
            gpu_memory_utilization=MEMORY * limits.share,
            trust_remote_code=own,
            seed=0,
            **self.limits_of_prompts,
        )
        self._sampling = vllm.SamplingParams(
            temperature=0.0, repetition_penalty=REPETITION, max_tokens=limits.max_tokens
        )
        with quiet():
            self._tokenizer = load_part("tokenizer", found, own)
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        name: str,
        model_dir: str | None = None,
        trust_remote_code: bool = False,
        **limits: Any,
    ) -> Self:
        """The model on the GPU, within :class:`Limits`, their time excepted: vLLM has no way to
        stop in the middle of an answer.
        """
        return cls(*cls.find(name, model_dir, trust_remote_code), Limits(**limits))

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """A text for each question."""
        with self._lock:
            prompts = [self._prompt(question) for question in questions]
            outputs = self._llm.generate(prompts, self._sampling, use_tqdm=False)
            if len(outputs) != len(prompts):
                raise RuntimeError(
                    f"vLLM got {len(prompts)} questions and gave {len(outputs)} answers, so it "
                    "is unknown which belong together. Usually a request was aborted; check its "
                    "log."
                )
            asked = zip(questions, prompts, outputs, strict=True)
            return [self._answer(question.id, prompt, output) for question, prompt, output in asked]

    @abstractmethod
    def _prompt(self, question: Question) -> dict[str, Any]:
        """What vLLM is asked."""

    def _answer(self, identifier: str, prompt: dict[str, Any], output: Any) -> Said:
        words = list(output.prompt_token_ids)
        # Prompts that come as text are numbered by vLLM, with all that the tokenizer adds to them.
        asked = prompt.get("prompt_token_ids") or self._tokenizer(prompt["prompt"])["input_ids"]
        if not same_around(list(asked), words, self._room):
            raise RuntimeError(
                f"vLLM's answer to {identifier!r} belongs to another prompt, one that ends in "
                f"{self._tokenizer.decode(words)[-200:]!r}. Usually this version of vLLM returns "
                "answers in a different order; use another version."
            )
        [best] = output.outputs
        raw = Said(
            identifier, best.text, prompt_tokens=len(words), output_tokens=len(best.token_ids)
        )
        return answered(raw, best.finish_reason == ENDED)


def _find_captioner(name: str, model_dir: str | None, allowed: bool) -> tuple[Located, bool]:
    require_vllm()
    found, own = captioners.find_captioner(name, model_dir, allowed)
    if (family := model_type(found)) in qwen.FAMILIES:
        qwen.eyes(found.path, family)
    return found, own


class VllmCaptioner(VllmModel):
    """Describes clips."""

    at_once = 400_000_000
    find = staticmethod(_find_captioner)
    limits_of_prompts: ClassVar = {"limit_mm_per_prompt": {"video": 1, "image": 0}}

    def __init__(self, found: Located, own: bool, limits: Limits) -> None:
        super().__init__(found, own, limits)
        self._family = model_type(found)
        known = self._family in qwen.FAMILIES
        self._see = qwen.eyes(found.path, self._family) if known else None
        self._room = len(numbers(self._tokenizer, qwen.ROOM)) if known else ROOM
        self._template = captioners.template(found, self._tokenizer, required=not known)

    def _prompt(self, question: Question) -> dict[str, Any]:
        qwen.require_rate(question.rate)
        frames, see = question.frames, self._see
        video = qwen.stacked(frames) if see is None else qwen.fitted(frames, see)
        count = len(video)
        when = {
            "fps": question.rate,
            "duration": count / question.rate,
            "total_num_frames": count,
            "frames_indices": list(range(count)),
            "video_backend": "finecut",
            # They are sampled already.
            "do_sample_frames": False,
        }
        text = captioners.seeing(self._tokenizer, self._template, self._family, question)
        return {"prompt": text, "multi_modal_data": {"video": (video, when)}}


def _find_writer(name: str, model_dir: str | None, allowed: bool) -> tuple[Located, bool]:
    require_vllm()
    return find_writer(name, model_dir, allowed)


class VllmWriter(VllmModel):
    """Rewrites texts."""

    at_once = 40_000_000
    find = staticmethod(_find_writer)

    def _prompt(self, question: Question) -> dict[str, Any]:
        return {"prompt_token_ids": numbers(self._tokenizer, written(self._tokenizer, question))}


def same_around(asked: Sequence[int], words: Sequence[int], room: int) -> bool:
    """Whether words are what was asked but for one place, which has this much room in the question.

    >>> same_around([1, 2, 7, 3], [1, 2, 7, 7, 7, 3], 1), same_around([1, 2, 7, 3], [1, 4, 7, 3], 0)
    (True, False)
    >>> same_around([1, 2, 7, 3], [1, 5, 6, 3], 1)
    False
    """
    if not room:
        return list(asked) == list(words)
    return _alike(asked, words) + _alike(asked[::-1], words[::-1]) >= len(asked) - room


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How far two rows are the same from the beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
