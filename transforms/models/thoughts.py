"""Thoughts: what some models write before they answer, and what is no part of the answer.

    <think>A dog? Yes.</think>⏎⏎A dog runs.     →  A dog runs.
    A dog? Yes.</think>⏎⏎A dog runs.            →  A dog runs.
    <think>A dog? Or is it                      →  nothing: it was not done thinking

The second kind comes of chat templates that begin the thought themselves, so that only its end is
among the words of the model, where it ends its line. Only what stands in front is a thought; a text
that comes to speak of thinking later is left as it is.
"""

from __future__ import annotations

import re
from typing import Final

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
    begun_before = _BEGUN_BEFORE.match(text.partition(OPEN)[0])
    if begun_before:
        text = text[begun_before.end() :].lstrip()
    found = _IN_FRONT.match(text)
    return text[found.end() :] if found else text
