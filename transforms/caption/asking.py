"""Asking models: what they are asked, what they answer, and what happens when they cannot.

    clips ─▶ questions (id, frames, words) ─▶ Asked ─▶ model ─▶ answers (the same ids) ─▶ clips

The id goes *through* the model call: an answer is joined to its clip by what the model itself sent
back, so neither order nor batching nor a lost answer can put words on the wrong clip.

:class:`Asked` is a loaded model and how it is talked to. Questions go in batches of so many pixels
as the model takes at once. A batch that does not fit into memory is halved, and the size that did
fit is remembered for all that comes after. A batch that breaks otherwise is asked again one by one,
so that a poisonous question costs itself and nobody else: its answer is a :class:`Trouble`.
"""

import contextlib
import gc
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from finecut.io.records import Clip, Failure, ModelUsed
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.weather import FAIR, Weather, out_of_memory

Frame: TypeAlias = NDArray[np.uint8]

#: What became of a text.
OK, TRUNCATED, EMPTY, BLOCKED, FAILED = "ok", "truncated", "empty", "blocked", "failed"
#: What one question costs beside its pixels: a thousand letters like a small picture.
PIXELS_A_LETTER = 64


@dataclass(frozen=True, eq=False)
class Question:
    """One thing a model is asked, about one clip or one window of it."""

    #: Comes back with the answer.
    id: str
    #: RGB, ``[height, width, 3]``, of one size.
    frames: Sequence[Frame] = ()
    #: How many of them the clip shows in a second.
    rate: float = 0.0
    #: What is asked.
    text: str = ""
    #: What the model is told to be, if anything.
    system: str = ""

    @property
    def weight(self) -> int:
        """Its pixels, and a little for its words."""
        pixels = sum(frame.shape[0] * frame.shape[1] for frame in self.frames)
        return 1 + pixels + PIXELS_A_LETTER * (len(self.text) + len(self.system))


@dataclass(frozen=True, eq=False)
class Vector:
    """What an embedder answers: one row of float32."""

    id: str
    numbers: NDArray[np.float32]


@dataclass(frozen=True)
class Said:
    """What a captioner answers."""

    id: str
    text: str
    #: One of ``ok``, ``truncated``, ``empty``, ``blocked``.
    status: str = OK
    prompt_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True)
class Trouble:
    """There is no answer to this question, and why."""

    id: str
    error: str
    message: str
    #: What was said before, if that is worth keeping.
    text: str = ""


Answer: TypeAlias = Vector | Said | Trouble


def in_trouble(clip: Clip, step: str, trouble: Trouble | Failure) -> Clip:
    """The clip, which says that it could not be asked about, or why there is no answer."""
    return clip.replace(errors={**clip.errors, step: f"{trouble.error}: {trouble.message}"})


class Model(Protocol):
    """A loaded model."""

    #: Which model it is, for the documents.
    used: ModelUsed

    @property
    def at_once(self) -> int:
        """Pixels it may be asked about at once; 0: one question at a time."""

    # ``by_turns = False``: several threads may ask at the same time, although there is a limit.

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """An answer to each question, in any order; raises when none can be given."""
        ...


class Asked:
    """A loaded model, asked by any number of threads (or, by proxy, of processes)."""

    def __init__(self, model: Model, weather: Weather = FAIR) -> None:
        self.model, self.weather = model, weather
        self._lock = threading.Lock()
        self._at_once = float(model.at_once)
        # A GPU does one thing after the other anyway; together they would only share its memory,
        # and a question that fits alone would not.
        by_turns = model.at_once > 0 and getattr(model, "by_turns", True)
        self._turn = threading.Lock() if by_turns else contextlib.nullcontext()

    @property
    def at_once(self) -> float:
        """Pixels that are asked about at once, by what was learnt so far."""
        with self._lock:
            return self._at_once

    def which(self) -> ModelUsed:
        """The model's name and revision."""
        return self.model.used

    def answers(self, questions: Iterable[Question]) -> list[Answer]:
        """One answer for each question, whatever happens."""
        answers: list[Answer] = []
        for batch in batches(questions, lambda: self.at_once):
            answers += self._asked(batch)
        return answers

    def _asked(self, batch: Sequence[Question]) -> list[Answer]:
        with self._turn:
            outcome = attempted(lambda: matched(batch, self.model.answer(batch)))
        if not isinstance(outcome, Exception):
            return outcome
        self.weather.pass_on(outcome, f"a model was asked about clip {batch[0].id}")
        full, error = out_of_memory(outcome), type(outcome).__name__
        message = str(outcome) or repr(outcome)
        # Its traceback holds all that the attempt had made, for as long as anybody holds it.
        del outcome
        if full:
            _let_go()
        if len(batch) == 1:
            return [Trouble(batch[0].id, error, message)]
        if not full:
            return [answer for question in batch for answer in self._asked([question])]
        first, second = batch[: len(batch) // 2], batch[len(batch) // 2 :]
        fits = max(sum(question.weight for question in half) for half in (first, second))
        with self._lock:
            self._at_once = min(self._at_once, fits)
        # What the first half teaches is used for the second.
        return [*self._asked(first), *self.answers(second)]


def batches(questions: Iterable[Question], most: Callable[[], float]) -> Iterator[list[Question]]:
    """Consecutive questions that together weigh at most ``most()``; a heavier one goes alone."""
    batch: list[Question] = []
    weight = 0
    for question in questions:
        if batch and weight + question.weight > most():
            yield batch
            batch, weight = [], 0
        batch.append(question)
        weight += question.weight
    if batch:
        yield batch


def matched(questions: Sequence[Question], answers: Sequence[Answer]) -> list[Answer]:
    """The answers in the order of the questions; what is missing, doubled or no number is trouble.

    >>> [a.id for a in matched([Question("a"), Question("b")], [Said("b", "x"), Said("a", "y")])]
    ['a', 'b']
    """
    found: dict[str, list[Answer]] = {question.id: [] for question in questions}
    for answer in answers:
        if answer.id in found:
            found[answer.id].append(answer)
    return [_only(identifier, given) for identifier, given in found.items()]


def _only(identifier: str, given: Sequence[Answer]) -> Answer:
    if len(given) != 1:
        often = "did not answer" if not given else f"answered {len(given)} times"
        return Trouble(
            identifier, "WrongAnswers", f"the model {often} when it was asked once about this"
        )
    [answer] = given
    if isinstance(answer, Vector):
        numbers = answer.numbers
        wrong = int(numbers.size - np.isfinite(numbers).sum())
        if numbers.ndim != 1 or wrong or not numbers.any():
            said = f"{wrong} values that are not numbers" if wrong else "only zeros"
            return Trouble(
                identifier,
                "NoVector",
                f"the model returned an array of shape {numbers.shape} with {said}",
            )
    return answer


def _let_go() -> None:
    """Give back what the failed attempt held, before the next one."""
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
