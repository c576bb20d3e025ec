"""The captioners and writers of this folder, by vLLM where it is installed.

vLLM keeps a GPU busy with many questions at once and needs no video processor of ours; it brings
its own transformers, which may be another version than finecut's other models want, so it is
installed by who asks for it (``pip install vllm``) and imported only then::

    questions ─▶ prompts with room for a video, frames, when they were ─▶ LLM.generate ─▶ texts

What it is asked is the same as in :mod:`~.captioners`: prompts by the folder's template, frames in
the size in which a Qwen looks at them (vLLM would show 1080p as it is and run out of places), the
likeliest word every time. Texts are not the same to the letter, because sums are made in another
order, and depend a little on what is asked beside them.

Answers come back in the order of the questions, says vLLM. That is not taken on trust: each answer
names the prompt it belongs to, and one whose words are not its question's is refused, since a text
on the wrong clip is worse than none. (Questions of the same words about different clips cannot be
told apart by this.)

This file was written by vLLM's documentation and tried with a stand-in of its interface; it has not
been run with vLLM itself. Qwen2.5-VL learns the time of its frames since the version of July 2026
only (vllm pull request 47736); older ones take them to be a fixed time apart.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Sequence
from typing import Any

from finecut.io.records import ModelUsed
from finecut.transforms.caption.asking import Question, Said
from finecut.transforms.models import captioners, qwen, writers
from finecut.transforms.models.captioners import find, require_template, seeing, template
from finecut.transforms.models.devices import require_share
from finecut.transforms.models.quiet import quiet
from finecut.transforms.models.weights.folders import Located, WeightsMissing, needed
from finecut.transforms.models.writers import (
    find_writer,
    model_type,
    numbers,
    read_tokenizer,
    said,
    written,
)

INSTALL = "pip install vllm"

#: Words of a prompt, its video and its answer: a video of a Qwen is at most 24,576.
LENGTH = 32768
#: Pixels and words that are handed over at once; vLLM itself decides how many it works on. The
#: frames wait in memory meanwhile, three bytes for each pixel.
CAPTIONS_AT_ONCE, TEXTS_AT_ONCE = 400_000_000, 40_000_000
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
            "vLLM was asked for, and the Python package vllm is not installed here. Usually it is "
            f"only in the image of the workers that have a GPU: run `{INSTALL}` there, or caption "
            "without vLLM."
        )


class _Engine:
    """vLLM with one model, asked by one thread at a time."""

    def __init__(
        self, found: Located, own: bool, max_tokens: int, share: float, videos: int
    ) -> None:
        vllm = needed("vllm", INSTALL, captioners.PURPOSE)
        limits = {"limit_mm_per_prompt": {"video": videos, "image": 0}} if videos else {}
        self._llm = vllm.LLM(
            model=str(found.path),
            max_model_len=LENGTH,
            gpu_memory_utilization=MEMORY * share,
            trust_remote_code=own,
            seed=0,
            **limits,
        )
        self._sampling = vllm.SamplingParams(
            temperature=0.0, repetition_penalty=writers.REPETITION, max_tokens=max_tokens
        )
        with quiet():
            self.tokenizer = read_tokenizer(found, own)
        #: How many words of a prompt the place for a video is.
        self._room = len(numbers(self.tokenizer, qwen.ROOM)) if seen_by_qwen(found) else ROOM
        self._lock = threading.Lock()

    def say(
        self, questions: Sequence[Question], asked: Callable[[Question], dict[str, Any]]
    ) -> list[Said]:
        """A text for each question, which ``asked`` makes a prompt of."""
        with self._lock:
            prompts = [asked(question) for question in questions]
            outputs = self._llm.generate(prompts, self._sampling, use_tqdm=False)
            if len(outputs) != len(prompts):
                raise RuntimeError(
                    f"vLLM was asked {len(prompts)} questions and gave {len(outputs)} answers, so "
                    "nobody knows which is which. Usually a request was aborted; see its log."
                )
            return [
                self._said(question, prompt, output)
                for question, prompt, output in zip(questions, prompts, outputs, strict=True)
            ]

    def _said(self, question: Question, prompt: dict[str, Any], output: Any) -> Said:
        words = list(output.prompt_token_ids)
        known = prompt.get("prompt_token_ids")
        # Prompts that come as text are numbered by vLLM, with all that the tokenizer adds to them.
        asked = known or list(self.tokenizer(prompt["prompt"])["input_ids"])
        if not same_around(asked, words, 0 if known else self._room):
            raise RuntimeError(
                f"vLLM's answer to {question.id!r} belongs to another prompt, one that ends in "
                f"{self.tokenizer.decode(words)[-200:]!r}. Usually this version of vLLM gives "
                "answers in another order than it was asked; use another version."
            )
        [best] = output.outputs
        ended = best.finish_reason == ENDED
        return said(question.id, best.text, ended, len(words), len(best.token_ids))


def same_around(asked: Sequence[int], words: Sequence[int], room: int) -> bool:
    """Whether words are what was asked but for one place, which has so much room in the question.

    >>> same_around([1, 2, 7, 3], [1, 2, 7, 7, 7, 3], 1), same_around([1, 2, 7, 3], [1, 4, 7, 3], 0)
    (True, False)
    >>> same_around([1, 2, 7, 3], [1, 5, 6, 3], 1)
    False
    """
    if not room:
        return list(asked) == list(words)
    before = _alike(asked, words)
    after = _alike(asked[::-1], words[::-1])
    return before + after >= len(asked) - room


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How far two rows are the same from the beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


class VllmCaptioner:
    """Describes clips: a :class:`~finecut.transforms.caption.asking.Model`."""

    at_once = CAPTIONS_AT_ONCE

    def __init__(self, found: Located, engine: _Engine) -> None:
        self.used = ModelUsed(found.name, found.revision)
        self._engine = engine
        self._family = model_type(found)
        if seen_by_qwen(found):
            self._template = template(found.path, engine.tokenizer)
            self._see: qwen.Eyes | None = qwen.eyes(found.path, self._family)
        else:
            self._template, self._see = require_template(found, engine.tokenizer), None

    @classmethod
    def load(
        cls,
        name: str,
        model_dir: str | None = None,
        trust_remote_code: bool = False,
        max_tokens: int = 512,
        timeout: float | None = None,  # noqa: ARG003
        share: float = 1.0,
    ) -> VllmCaptioner:
        """The model from a folder, a store or the hub (see :mod:`~.weights`) onto the GPU.

        ``timeout`` is taken as all loaders take it and cannot be kept: vLLM has no way to stop in
        the middle of an answer. ``max_tokens`` is its bound. ``share`` is the part of one GPU's
        memory that the model may take.
        """
        require_share(share)
        found, own = _captioner(name, model_dir, trust_remote_code)
        return cls(found, _Engine(found, own, max_tokens, share, videos=1))

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """A caption for each question."""
        return self._engine.say(questions, self._asked)

    def _asked(self, question: Question) -> dict[str, Any]:
        qwen.require_rate(question.rate)
        text = seeing(self._engine.tokenizer, self._template, self._family, question)
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
        return {"prompt": text, "multi_modal_data": {"video": (video, when)}}


class VllmWriter:
    """Rewrites texts: a :class:`~finecut.transforms.caption.asking.Model` for questions without
    frames.
    """

    at_once = TEXTS_AT_ONCE

    def __init__(self, used: ModelUsed, engine: _Engine) -> None:
        self.used = used
        self._engine = engine

    @classmethod
    def load(
        cls,
        name: str,
        model_dir: str | None = None,
        trust_remote_code: bool = False,
        max_tokens: int = 512,
        timeout: float | None = None,  # noqa: ARG003
        share: float = 1.0,
    ) -> VllmWriter:
        """The model from a folder, a store or the hub (see :mod:`~.weights`) onto the GPU.

        ``timeout`` is taken as all loaders take it and cannot be kept: vLLM has no way to stop in
        the middle of an answer. ``max_tokens`` is its bound. ``share`` is the part of one GPU's
        memory that the model may take.
        """
        require_share(share)
        found, own = _writer(name, model_dir, trust_remote_code)
        engine = _Engine(found, own, max_tokens, share, videos=0)
        return cls(ModelUsed(found.name, found.revision), engine)

    def answer(self, questions: Sequence[Question]) -> list[Said]:
        """A text for each question."""
        return self._engine.say(
            questions,
            lambda question: {
                "prompt_token_ids": numbers(
                    self._engine.tokenizer, written(self._engine.tokenizer, question)
                )
            },
        )


def require_vllm_captioner(
    name: str, model_dir: str | None = None, trust_remote_code: bool = False, **_: Any
) -> ModelUsed:
    """Raise what :meth:`VllmCaptioner.load` would for lack of something, without loading it."""
    found, _own = _captioner(name, model_dir, trust_remote_code)
    return ModelUsed(found.name, found.revision)


def require_vllm_writer(
    name: str, model_dir: str | None = None, trust_remote_code: bool = False, **_: Any
) -> ModelUsed:
    """Raise what :meth:`VllmWriter.load` would for lack of something, without loading it."""
    found, _own = _writer(name, model_dir, trust_remote_code)
    return ModelUsed(found.name, found.revision)


def _captioner(name: str, model_dir: str | None, allowed: bool) -> tuple[Located, bool]:
    require_vllm()
    found, own = find(name, model_dir, allowed)
    if seen_by_qwen(found):
        qwen.eyes(found.path, model_type(found))
    return found, own


def seen_by_qwen(found: Located) -> bool:
    """Whether the model is one whose eyes are known here."""
    return model_type(found) in qwen.FAMILIES


def _writer(name: str, model_dir: str | None, allowed: bool) -> tuple[Located, bool]:
    require_vllm()
    return find_writer(name, model_dir, allowed)
