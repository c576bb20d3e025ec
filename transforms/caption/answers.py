"""What becomes of a model's answers about windows: texts that may lie in a document, and errors."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from finecut.io.records import Clip, ModelUsed, TextOutcome, Window
from finecut.transforms.beam.metrics import count
from finecut.transforms.caption.asking import EMPTY, FAILED, OK, TRUNCATED, Answer, Said, Trouble

#: No caption is longer than this, whatever a model or a server sends.
MOST_LETTERS = 20_000
#: Letters a token may have on average before its text is taken for something else.
LETTERS_A_TOKEN = 32
#: Kinds of characters that are spaces, by Unicode; those that break lines; and two invisible ones
#: that words are made with.
SPACES = ("Zs",)
BREAKS = "\n\r\x0b\x0c\x85\u2028\u2029"
JOINERS = "\u200c\u200d"
#: So many windows and letters of an error are told.
TOLD_WINDOWS, TOLD_LETTERS = 5, 300

Answers = Mapping[str, Answer]
Write = Callable[[Window, Answer], Window]


class Telling(NamedTuple):
    """How answers are written down: by which step and model, and into what of a window."""

    step: str
    #: What the model is filed under.
    key: str
    used: ModelUsed
    write: Write


def window_id(clip: Clip, window: Window) -> str:
    """What the question about a window is called."""
    return f"{clip.id}/{window.start_frame}_{window.end_frame}"


def with_answers(clip: Clip, answers: Answers, telling: Telling) -> Clip:
    """The clip with what was said of its windows, and by which model."""
    given = [(window, answers.get(window_id(clip, window))) for window in clip.windows]
    answered = [(window, answer) for window, answer in given if answer is not None]
    if not answered:
        return clip
    wrong = _wrong(answered)
    return clip.replace(
        windows=tuple(w if answer is None else telling.write(w, answer) for w, answer in given),
        models={**clip.models, telling.key: telling.used},
        errors={**clip.errors, **({telling.step: wrong} if wrong else {})},
    )


def _said(answer: Answer, most: int) -> tuple[str, TextOutcome]:
    """Text and what became of it."""
    if not isinstance(answer, Said):
        kept = answer.text if isinstance(answer, Trouble) else ""
        return cleaned(kept, most), TextOutcome(FAILED)
    text = cleaned(answer.text, most)
    status = answer.status
    if status in (OK, TRUNCATED) and not text:
        status = EMPTY
    elif status == OK and len(answer.text.strip()) > most:
        status = TRUNCATED
    return text, TextOutcome(status, answer.prompt_tokens, answer.output_tokens)


def with_caption(window: Window, answer: Answer, name: str, most: int) -> Window:
    text, told = _said(answer, most)
    count(f"captions {told.status}")
    captions = {**window.captions, **({name: text} if text else {})}
    return replace(window, captions=captions, outcomes={**window.outcomes, name: told})


def with_enhanced(window: Window, answer: Answer, name: str, most: int) -> Window:
    text, told = _said(answer, most)
    count(f"enhanced captions {told.status}")
    captions = {**window.enhanced_captions, **({name: text} if text else {})}
    return replace(
        window,
        enhanced_captions=captions,
        enhanced_outcomes={**window.enhanced_outcomes, name: told},
    )


def _wrong(given: Sequence[tuple[Window, Answer]]) -> str:
    """Which windows have no good text, and why; nothing when all have."""
    said = []
    for window, answer in given:
        _, told = _said(answer, MOST_LETTERS)
        if told.status not in (OK, TRUNCATED):
            why = f": {answer.error}: {answer.message}" if isinstance(answer, Trouble) else ""
            place = f"window {window.start_frame}_{window.end_frame}"
            said.append(cleaned(f"{place} {told.status}{why}", TOLD_LETTERS))
    more = len(said) - TOLD_WINDOWS
    return "; ".join(said[:TOLD_WINDOWS]) + (f"; and {more} more" if more > 0 else "")


def cleaned(text: str, most: int) -> str:
    """Text that may lie in a document: no control characters, no halves of letters, not endless.

    Spaces of all kinds become plain ones; what joins letters and pictures of other scripts stays.

    >>> cleaned(" A dog\\x00 runs.\\x1b[2J ", 100)
    'A dog runs.[2J'
    """
    kinds = ((c, unicodedata.category(c)) for c in text)
    plain = (
        c
        if c == "\t" or c in JOINERS
        else "\n"
        if c in BREAKS
        else " "
        if kind in SPACES
        else ""
        if kind[0] == "C"
        else c
        for c, kind in kinds
    )
    return "".join(plain).strip()[:most].rstrip()


def most_letters(max_tokens: int) -> int:
    """How long a text of so many tokens may be."""
    return min(MOST_LETTERS, max_tokens * LETTERS_A_TOKEN)
