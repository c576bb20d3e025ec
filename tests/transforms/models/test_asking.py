"""Asking: every question has its own answer, whatever else is asked and whatever breaks.

The models here are small and honest: they answer from what a question says, and break for reasons
that a question says, too.
"""

from __future__ import annotations

import gc
import math
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from finecut.io.records import ModelUsed
from finecut.transforms.beam.weather import out_of_memory
from finecut.transforms.caption.asking import (
    EMPTY,
    PIXELS_A_LETTER,
    Answer,
    Asked,
    Model,
    Question,
    Said,
    Trouble,
    Vector,
    batches,
    matched,
)


@pytest.fixture(autouse=True, scope="module")
def little_to_collect() -> Iterator[None]:
    """After every lack of memory the collector runs over all there is, so let that be little."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


# ── questions ────────────────────────────────────────────────────────────────────────────────────


def question(identifier: str, weight: int, text: str = "") -> Question:
    """A question of this weight: one row of pixels, all of the same colour, and words."""
    pixels = weight - 1 - PIXELS_A_LETTER * len(text)
    colour = sum(map(ord, identifier)) % 256
    frames = [np.full((1, pixels, 3), colour, np.uint8)] if pixels else []
    made = Question(identifier, frames, text=text)
    assert made.weight == weight
    return made


def questions_of(weights: Iterable[int]) -> list[Question]:
    return [question(f"clip-{place}", weight) for place, weight in enumerate(weights)]


def weigh(questions: Iterable[Question]) -> int:
    return sum(question.weight for question in questions)


WEIGHTS = some.lists(some.integers(1, 60), max_size=24)
LIMITS = some.sampled_from([0, 1, 7, 40, 100, 10**9])


# ── models ───────────────────────────────────────────────────────────────────────────────────────


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own, and saying nothing that would give it away."""


class Describer:
    """Says which clip it was shown and how large it was; remembers what it was asked."""

    used = ModelUsed("describer")

    def __init__(self, at_once: int = 10**9) -> None:
        self.at_once = at_once
        self.calls: list[list[str]] = []
        self.failures: list[str] = []

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer]:
        self.calls.append([question.id for question in questions])
        try:
            self.look(questions)
        except (ValueError, RuntimeError, MemoryError, KeyError) as error:
            self.failures.append(type(error).__name__)
            raise
        # Backwards, so that nobody can rely on the order.
        return [said_of(question) for question in reversed(questions)]

    @property
    def failed(self) -> int:
        return len(self.failures)

    def look(self, questions: Sequence[Question]) -> None:
        """Breaks, if it is to break."""


class Poisonable(Describer):
    """Cannot bear one word."""

    def look(self, questions: Sequence[Question]) -> None:
        for question in questions:
            if "poison" in question.text:
                raise ValueError(f"cannot bear {question.id}")


class Small(Describer):
    """Has room for so many pixels."""

    def __init__(
        self,
        room: int,
        at_once: int = 10**9,
        error: Callable[[str], Exception] = OutOfMemoryError,
    ) -> None:
        super().__init__(at_once)
        self.room = room
        self.error = error

    def look(self, questions: Sequence[Question]) -> None:
        if weigh(questions) > self.room:
            raise self.error("no room")


class Measurer:
    """Answers vectors: size and colour of what it is shown, or numbers that are none."""

    used = ModelUsed("measurer", dimension=2)

    def __init__(self, at_once: int = 10**9) -> None:
        self.at_once = at_once

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer]:
        return [Vector(question.id, self.numbers(question)) for question in questions]

    @staticmethod
    def numbers(question: Question) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        if question.text:
            return np.array(float(question.text) * np.ones(2), np.float32)
        frames = question.frames
        colour = float(frames[0].mean()) if frames else 0.0
        return np.array([question.weight, colour], np.float32)


class Scripted:
    """Answers what it was told to, whatever it is asked."""

    used = ModelUsed("scripted")
    at_once = 10**9

    def __init__(self, *answers: Answer) -> None:
        self.script = answers

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer]:
        return self.script


def said_of(question: Question) -> Said:
    return Said(question.id, f"{question.id} of {question.weight}: {question.text}")


def by_id(answers: Iterable[Answer]) -> dict[str, object]:
    """Answers that can be compared, by the clip they are about."""
    return {a.id: a.numbers.tolist() if isinstance(a, Vector) else a for a in answers}


def ask(model: Model, questions: Sequence[Question]) -> dict[str, object]:
    """What is answered, after a look that every question has one answer, in its order."""
    answers = Asked(model).answers(questions)
    assert [answer.id for answer in answers] == [question.id for question in questions]
    return by_id(answers)


# ── batches ──────────────────────────────────────────────────────────────────────────────────────


@given(WEIGHTS, LIMITS)
def test_batches_keep_the_order_and_lose_nothing(weights: list[int], most: int) -> None:
    questions = questions_of(weights)
    made = list(batches(iter(questions), lambda: most))
    assert [question for batch in made for question in batch] == questions
    assert all(made)
    assert all(weigh(batch) <= most or len(batch) == 1 for batch in made)


@given(WEIGHTS, LIMITS)
def test_no_batch_is_smaller_than_it_has_to_be(weights: list[int], most: int) -> None:
    made = list(batches(questions_of(weights), lambda: most))
    for batch, following in pairwise(made):
        assert weigh(batch) + following[0].weight > most


def test_a_limit_that_shrinks_is_heard() -> None:
    limits = iter([100, 100, 100, 20, 20, 20, 20])
    sizes = [len(batch) for batch in batches(questions_of([10] * 8), lambda: next(limits))]
    assert sizes == [4, 2, 2]


def test_what_a_question_weighs() -> None:
    frames = [np.zeros((4, 6, 3), np.uint8)] * 5
    assert Question("a", frames).weight == 1 + 5 * 24
    assert Question("a", text="12", system="345").weight == 1 + 5 * PIXELS_A_LETTER
    assert Question("a").weight == 1


# ── the same answers, however they are asked ─────────────────────────────────────────────────────


@given(WEIGHTS, LIMITS, some.randoms(use_true_random=False))
def test_neither_order_nor_batches_have_a_say(
    weights: list[int], most: int, random: some.DataObject
) -> None:
    questions = questions_of(weights)
    shuffled = random.sample(questions, len(questions))  # type: ignore[attr-defined]
    said = {question.id: said_of(question) for question in questions}
    seen = {question.id: Measurer.numbers(question).tolist() for question in questions}
    assert ask(Describer(most), shuffled) == said
    assert ask(Measurer(most), shuffled) == seen


def test_at_once_0_is_one_question_a_call() -> None:
    model = Describer(at_once=0)
    ask(model, questions_of([1, 50, 3]))
    assert model.calls == [["clip-0"], ["clip-1"], ["clip-2"]]


def test_nothing_is_asked_about_nothing() -> None:
    model = Describer()
    assert Asked(model).answers([]) == []
    assert model.calls == []


def test_who_is_asked_is_known() -> None:
    model = Describer(at_once=12)
    asked = Asked(model)
    assert (asked.model, asked.which(), asked.at_once) == (model, ModelUsed("describer"), 12)


# ── a question that breaks the model ─────────────────────────────────────────────────────────────


@given(some.lists(some.booleans(), max_size=16), LIMITS)
def test_a_poisonous_question_costs_itself_and_nobody_else(
    poisonous: list[bool], most: int
) -> None:
    questions = [
        question(f"clip-{place}", 500, text="poison" if is_poison else "")
        for place, is_poison in enumerate(poisonous)
    ]
    assert ask(Poisonable(most), questions) == {
        question.id: Trouble(question.id, "ValueError", f"cannot bear {question.id}")
        if question.text
        else said_of(question)
        for question in questions
    }


def test_a_batch_that_breaks_is_asked_one_by_one_and_the_next_one_is_a_batch_again() -> None:
    model = Poisonable(at_once=1500)
    ask(model, [question(f"{i}", 500, text="poison" if i == 1 else "") for i in range(6)])
    assert model.calls == [["0", "1", "2"], ["0"], ["1"], ["2"], ["3", "4", "5"]]


def test_an_error_without_words_is_told_by_its_name() -> None:
    class Silent(Describer):
        def look(self, questions: Sequence[Question]) -> None:
            raise KeyError

    assert ask(Silent(), [question("a", 1)]) == {"a": Trouble("a", "KeyError", "KeyError()")}


def test_who_wants_to_stop_is_let_go() -> None:
    class Interrupted:
        used = ModelUsed("interrupted")
        at_once = 10**9

        def answer(self, questions: Sequence[Question]) -> Sequence[Answer]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Asked(Interrupted()).answers(questions_of([1, 2]))


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


@given(
    WEIGHTS,
    some.integers(60, 400),
    some.sampled_from([MemoryError, OutOfMemoryError]),
)
def test_what_does_not_fit_is_halved_until_it_does(
    weights: list[int], room: int, error: Callable[[str], Exception]
) -> None:
    """Every question fits by itself: all are answered, and nothing is tried twice in vain."""
    questions = questions_of(weights)
    model = Small(room, error=error)
    asked = Asked(model)
    for _ in range(2):
        answers = by_id(asked.answers(questions))
        assert answers == {question.id: said_of(question) for question in questions}
        assert model.failed < max(1, len(questions))
    if weigh(questions) > room:
        assert asked.at_once <= room
        assert model.failed > 0
    else:
        assert (asked.at_once, model.failed) == (model.at_once, 0)
    before = model.failed
    asked.answers(questions)
    assert model.failed == before


def test_what_fits_is_remembered_and_is_not_smaller_than_need_be() -> None:
    model = Small(room=200)
    asked = Asked(model)
    asked.answers(questions_of([10] * 128))
    assert asked.at_once == 160
    failed, calls = model.failed, len(model.calls)
    asked.answers(questions_of([10] * 128))
    assert model.failed == failed
    assert len(model.calls) - calls == 8


def test_memory_that_suffices_is_used() -> None:
    model = Small(room=200, at_once=200)
    asked = Asked(model)
    asked.answers(questions_of([10] * 100))
    assert (asked.at_once, model.failed, len(model.calls)) == (200, 0, 5)


def test_what_one_half_teaches_the_other_need_not_learn() -> None:
    model = Small(room=20)
    Asked(model).answers(questions_of([10] * 256))
    assert model.failed == 7  # 256, 128, … 4


@pytest.mark.parametrize("error", [MemoryError, ValueError])
def test_what_a_failed_attempt_had_made_is_gone_before_the_next(
    error: Callable[[str], Exception],
) -> None:
    """An error holds its traceback, and that all the names of the functions it came through."""

    class Pixels:
        """As a tensor would be: something large."""

    made: list[weakref.ref[Pixels]] = []
    still_there: list[int] = []

    class Large(Describer):
        def look(self, questions: Sequence[Question]) -> None:
            still_there.append(sum(pixels() is not None for pixels in made))
            pixels = Pixels()
            made.append(weakref.ref(pixels))
            if len(questions) > 2:
                raise error("no")

    Asked(Large()).answers(questions_of([10] * 8))
    assert len(still_there) > 4
    assert not any(still_there)


@given(some.lists(some.integers(1, 300), max_size=16), LIMITS)
def test_a_question_too_large_for_any_batch_is_trouble_alone(weights: list[int], most: int) -> None:
    questions = questions_of(weights)
    assert ask(Small(100, most), questions) == {
        question.id: said_of(question)
        if question.weight <= 100
        else Trouble(question.id, "OutOfMemoryError", "no room")
        for question in questions
    }


def test_a_question_too_large_does_not_make_batches_smaller_than_itself() -> None:
    asked = Asked(Small(room=100))
    asked.answers(questions_of([10, 150, 10, 10]))
    assert asked.at_once >= 100


def test_poison_and_little_memory_at_once() -> None:
    class Delicate(Small):
        def look(self, questions: Sequence[Question]) -> None:
            super().look(questions)
            if any("x" in question.text for question in questions):
                raise ValueError("no letters")

    questions = [question(f"{i}", 100, text="x" if i % 5 == 2 else "") for i in range(16)]
    assert ask(Delicate(room=400), questions) == {
        question.id: Trouble(question.id, "ValueError", "no letters")
        if question.text
        else said_of(question)
        for question in questions
    }


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError(), True),
        (OutOfMemoryError("anything"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("memory"), False),
        (KeyError("out"), False),
    ],
)
def test_what_a_smaller_batch_might_help_against(error: Exception, full: bool) -> None:
    assert out_of_memory(error) is full


# ── answers that are none ────────────────────────────────────────────────────────────────────────


def test_answers_are_joined_by_their_ids() -> None:
    answers = Scripted(Said("c", "third"), Said("a", "first"), Said("b", "second"))
    asked = ask(answers, [Question("a"), Question("b"), Question("c")])
    assert list(asked) == ["a", "b", "c"]
    assert asked["c"] == Said("c", "third")


def test_answers_that_are_missing_doubled_or_foreign() -> None:
    model = Scripted(Said("twice", "1"), Said("once", "x"), Said("else", "?"), Said("twice", "2"))
    never, twice = "the model did not answer", "the model answered 2 times"
    assert ask(model, [Question("never"), Question("once"), Question("twice")]) == {
        "never": Trouble("never", "WrongAnswers", f"{never} when it was asked once about this"),
        "once": Said("once", "x"),
        "twice": Trouble("twice", "WrongAnswers", f"{twice} when it was asked once about this"),
    }


@pytest.mark.parametrize("answers", [None, ["words"], [Said], 7])
def test_answers_of_no_kind_are_trouble_too(answers: Any) -> None:
    model = Scripted()
    model.script = answers
    [answer] = Asked(model).answers([Question("a")])
    assert isinstance(answer, Trouble)
    assert answer.error in ("TypeError", "AttributeError", "UFuncTypeError")


def test_the_same_answer_twice_is_no_answer() -> None:
    vector = Vector("a", np.ones(3, np.float32))
    [answer] = matched([Question("a")], [vector, vector])
    assert isinstance(answer, Trouble)


def test_a_model_may_be_in_trouble_itself() -> None:
    trouble = Trouble("b", "Refused", "the endpoint was busy")
    empty = Said("a", "", EMPTY, prompt_tokens=3, output_tokens=0)
    assert ask(Scripted(trouble, empty), [Question("a"), Question("b")]) == {
        "a": empty,
        "b": trouble,
    }


@given(some.permutations(["nan", "inf", "-inf", "", "1.5"]), LIMITS)
def test_vectors_of_no_numbers_cost_themselves(texts: list[str], most: int) -> None:
    questions = [question(f"clip {text}", 400, text=text) for text in texts]
    for text, answer in zip(texts, Asked(Measurer(most)).answers(questions), strict=True):
        assert answer.id == f"clip {text}"
        if text and not math.isfinite(float(text)):
            assert isinstance(answer, Trouble)
            assert answer.error == "NoVector"
            assert "shape (2,) with 2 values that are not numbers" in answer.message
        else:
            assert isinstance(answer, Vector)
            assert np.isfinite(answer.numbers).all()


@pytest.mark.parametrize("shape", [(0,), (), (1, 3), (0, 4)])
def test_a_vector_is_one_row(shape: tuple[int, ...]) -> None:
    [answer] = matched([Question("a")], [Vector("a", np.zeros(shape, np.float32))])
    assert isinstance(answer, Trouble)
    assert answer.error == "NoVector"
    assert str(shape) in answer.message


def test_one_number_that_is_none_is_enough() -> None:
    numbers = np.ones(1000, np.float32)
    numbers[567] = np.nan
    [answer] = matched([Question("a")], [Vector("a", numbers)])
    assert isinstance(answer, Trouble)
    assert "1 values that are not numbers" in answer.message


# ── several at once ──────────────────────────────────────────────────────────────────────────────


def test_several_threads_ask_one_model() -> None:
    """They meet inside the model, learn from each other, and each gets its own answers."""
    threads = 8
    gate = threading.Barrier(threads)

    class Crowded(Small):
        by_turns = False

        def look(self, questions: Sequence[Question]) -> None:
            if len(self.calls) <= threads:  # the first calls of all: nobody has learnt anything
                gate.wait(timeout=60)
            super().look(questions)

    model = Crowded(room=400)
    asked = Asked(model)
    per_thread = [
        [question(f"{thread}/{place}", 10 + place) for place in range(60)]
        for thread in range(threads)
    ]
    with ThreadPoolExecutor(threads) as pool:
        answered = list(pool.map(asked.answers, per_thread))
    for questions, answers in zip(per_thread, answered, strict=True):
        assert answers == [said_of(question) for question in questions]
    assert asked.at_once <= model.room
    assert threads <= model.failed < threads * 60
    before = model.failed
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(asked.answers, per_thread))
    assert model.failed == before


def test_on_a_gpu_threads_take_turns() -> None:
    """Together they would share its memory, and what fits alone would not."""
    threads = 4

    class Narrow(Small):
        inside = 0

        def look(self, questions: Sequence[Question]) -> None:
            self.inside += 1
            crowded = self.inside > 1
            threading.Event().wait(0.005)
            self.inside -= 1
            if crowded:
                raise MemoryError("somebody else is in here")
            super().look(questions)

    asked = Asked(Narrow(room=400))
    per_thread = [[question(f"{t}/{place}", 100) for place in range(5)] for t in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        answered = list(pool.map(asked.answers, per_thread))
    for questions, answers in zip(per_thread, answered, strict=True):
        assert answers == [said_of(question) for question in questions]
