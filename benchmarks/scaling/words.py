"""What captions and titles of painted outputs say: plain English, and some rare words."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from finecut.transforms.catalogue.columns import texts

#: A caption is a word of each, and then some rare ones.
SENTENCE: Final = (
    ("A", "One", "Another"),
    ("small", "large", "red", "blue", "green", "young", "old", "quick", "slow", "tired"),
    ("dog", "horse", "boat", "train", "child", "cook", "dancer", "bird", "car", "crowd", "singer"),
    ("runs", "waits", "turns", "sleeps", "speaks", "moves", "jumps", "falls", "stands", "works"),
    ("in", "near", "behind", "above", "before"),
    ("the harbour", "the kitchen", "the station", "a street", "a field", "the sea", "a garden"),
    ("at dawn,", "at noon,", "in the rain,", "in the fog,", "at night,", "under a lamp,"),
)
RARE: Final = 6
#: Rare words are drawn as words are in any language: the n-th is n times rarer than the first.
VOCABULARY: Final = 20_000
SYLLABLES: Final = ("ka", "mo", "ri", "su", "te", "vo", "li", "na", "pe", "du", "fi", "go", "ba")


def rare_word(number: int) -> str:
    """
    >>> rare_word(0), rare_word(14), rare_word(19_999)
    ('kakaka', 'kamomo', 'dumotevo')
    """
    base = len(SYLLABLES)
    digits = [number // base**place % base for place in range(3 if number < base**3 else 4)]
    return "".join(SYLLABLES[digit] for digit in reversed(digits))


def captions(count: int, dice: np.random.Generator) -> pa.Array:
    """So many captions."""
    parts = [_drawn(texts(words), len(words), count, dice) for words in SENTENCE]
    rare = texts(rare_word(number) for number in range(VOCABULARY))
    weights = 1 / np.arange(1, VOCABULARY + 1)
    bounds = np.cumsum(weights / weights.sum())
    for _ in range(RARE):
        chosen = np.minimum(np.searchsorted(bounds, dice.random(count)), VOCABULARY - 1)
        parts.append(rare.take(pa.array(chosen)))
    return pc.binary_join_element_wise(*parts, " ")


def _drawn(words: pa.Array, size: int, count: int, dice: np.random.Generator) -> pa.Array:
    return words.take(pa.array(dice.integers(0, size, count)))


def title(video: int) -> str:
    """
    >>> title(3)
    'Boat and train, part 3: kakasu'
    """
    things = SENTENCE[2]
    one, other = things[(video + 10) % len(things)], things[(video * 7 + 4) % len(things)]
    return f"{one.capitalize()} and {other}, part {video}: {rare_word(video % VOCABULARY)}"
