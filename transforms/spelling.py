"""Words as they were meant: - and _ are alike, and what is near is asked for.

    spelled("fixed-stride", ("fixed_stride", "content"))        # 'fixed_stride'
    did_you_mean("contnet", ("fixed_stride", "content"))        # 'did you mean content?'

Standard library only.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Final

#: How much two words have to have in common for one to be meant by the other.
NEAR: Final = 0.6


def spelled(word: str, known: Collection[str]) -> str:
    """The word as it is known, whichever of - and _ it was written with; others as they are."""
    if word in known:
        return word
    plain = word.replace("-", "_")
    return next((one for one in known if one.replace("-", "_") == plain), word)


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known word that was probably meant, if one is near enough."""
    plain = {one.replace("-", "_").lower(): one for one in known}
    near = difflib.get_close_matches(word.replace("-", "_").lower(), plain, n=1, cutoff=NEAR)
    return plain[near[0]] if near else None


def did_you_mean(word: str, known: Collection[str]) -> str:
    """What to write instead of a word that nobody knows."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else f"give one of {', '.join(known)}"
