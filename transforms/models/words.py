"""Words for models that write, and their words back.

Prompts are written by the folder's template around words that are only words: what stands in a
question is data, and often the words of another model. The marks by which turns and pictures are
told apart are struck out of it (:func:`words_only`) before the template adds its own, or a caption
could go on as the system.

Thoughts are what some models write before they answer, and no part of the answer::

    <think>A dog? Yes.</think>⏎⏎A dog runs.     →  A dog runs.
    A dog? Yes.</think>⏎⏎A dog runs.            →  A dog runs.
    <think>A dog? Or is it                      →  nothing: it was not done thinking

The second kind comes of chat templates that begin the thought themselves, so that only its end is
among the words of the model, where it ends its line. Only what stands in front is a thought; a text
that comes to speak of thinking later is left as it is.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from finecut.transforms.caption.asking import EMPTY, OK, TRUNCATED, Frame, Question, Said

#: The marks of turns in prompts of folders without a template.
TURN, TURNED = "<|im_start|>", "<|im_end|>"


def turns(system: Any, content: Any) -> list[dict[str, Any]]:
    """A chat of one question; the system says nothing where it is empty."""
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": content}]


def by_template(tokenizer: Any, messages: list[dict[str, Any]], template: str | None = None) -> str:
    """The prompt by the tokenizer's template, or by this one."""
    return str(
        tokenizer.apply_chat_template(
            messages,
            chat_template=template,
            tokenize=False,
            add_generation_prompt=True,
            # Templates of models that cannot think do not read this.
            enable_thinking=False,
        )
    )


def written(tokenizer: Any, question: Question) -> str:
    """The prompt for a text, by the folder's template, or in the form most models were taught."""
    question = words_only(tokenizer, question)
    messages = turns(question.system, question.text)
    if tokenizer.chat_template is not None:
        return by_template(tokenizer, messages)
    text = "".join(f"{TURN}{turn['role']}\n{turn['content']}{TURNED}\n" for turn in messages)
    return f"{text}{TURN}assistant\n"


def numbers(tokenizer: Any, prompt: str) -> list[int]:
    """The words of a prompt that already has its marks of turns."""
    return list(tokenizer(prompt, add_special_tokens=False)["input_ids"])


def words_only(tokenizer: Any, question: Question, also: Iterable[str] = ()) -> Question:
    """The question without anything that the tokenizer would take for a mark, or ``also``."""
    marks = {TURN, TURNED, *also, *_marks(tokenizer)}
    return replace(
        question,
        text=_struck(tokenizer, question.text, marks),
        system=_struck(tokenizer, question.system, marks),
    )


def _marks(tokenizer: Any) -> set[str]:
    """The tokens that are no words: special ones, and what was added and is not written like one.

    Some tokenizers hold rows of spaces or line ends as added tokens; a text needs those.
    """
    marks = {
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special or not all(c.isalnum() or c in " \n\r\t▁" for c in token.content)
    }
    return {mark for mark in marks.union(tokenizer.all_special_tokens) if mark.strip()}


def _struck(tokenizer: Any, text: str, marks: Iterable[str]) -> str:
    """The text without the marks, and without those that it becomes by striking others."""
    longest_first = sorted(marks, key=lambda mark: (-len(mark), mark))
    numbered = {*map(tokenizer.convert_tokens_to_ids, longest_first)} - {tokenizer.unk_token_id}
    before = None
    while text != before:
        before = text
        for mark in longest_first:
            text = text.replace(mark, "")
        if tokenizer.is_fast:
            text = _unread(tokenizer, text, numbered)
    return text


def _unread(tokenizer: Any, text: str, numbered: set[int]) -> str:
    """The text without what the tokenizer reads as a mark although it is written otherwise.

    Some fold letters (``＜`` to ``<``, or large to small) before they look for marks.
    """
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    places = zip(read["input_ids"], read["offset_mapping"], strict=True)
    for start, end in reversed([place for word, place in places if word in numbered]):
        text = text[:start] + text[end:]
    return text


def spread(frames: Sequence[Frame], most: int) -> Sequence[Frame]:
    """At most this many of the frames, evenly spread, the first and the last among them.

    >>> [int(frame) for frame in spread([np.uint8(at) for at in range(11)], 3)]
    [0, 5, 10]
    """
    if len(frames) <= most:
        return frames
    return [frames[round(at)] for at in np.linspace(0, len(frames) - 1, most)]


# ── answers ──────────────────────────────────────────────────────────────────────────────────────

OPEN: Final = "<think>"
CLOSE: Final = "</think>"

_BEGUN_BEFORE: Final = re.compile(rf".*{CLOSE}[ \t]*(\n|\Z)", re.DOTALL)
_IN_FRONT: Final = re.compile(rf"(\s*{OPEN}.*?({CLOSE}|\Z))+\s*", re.DOTALL)


def without_thoughts(text: str) -> str:
    """The text without the thoughts in front of it.

    >>> without_thoughts("<think>Hm.</think>\\n\\nA house.")
    'A house.'
    >>> without_thoughts("<think>Hm, there is")
    ''
    """
    if begun_before := _BEGUN_BEFORE.match(text.partition(OPEN)[0]):
        text = text[begun_before.end() :].lstrip()
    found = _IN_FRONT.match(text)
    return text[found.end() :] if found else text


def answered(raw: Said, ended: bool) -> Said:
    """The answer in what a model wrote; ``ended`` says that it had finished.

    >>> answered(Said("a", "<think>Hm.</think>\\nA house.", output_tokens=12), ended=True)
    Said(id='a', text='A house.', status='ok', prompt_tokens=None, output_tokens=12)
    >>> answered(Said("a", "<think>Hm, there is"), ended=False).status
    'empty'
    """
    text = without_thoughts(raw.text)
    if not text.strip():
        return replace(raw, text="", status=EMPTY)
    return replace(raw, text=text, status=OK if ended else TRUNCATED)
