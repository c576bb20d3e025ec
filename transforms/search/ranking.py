"""Ranking by words (BM25): what all texts say has to be counted before one can be judged.

    slice ─▶ counted ─┐
    slice ─▶ counted ─┴─▶ together ─▶ Counts ─┐
    slice ────────────────────────────────────┴─▶ scored ─▶ a number for each row

A word weighs more the fewer texts have it, and less in long texts. Fields are judged each by
itself, and their numbers are added. What a row gets does not depend on how rows are sliced.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from finecut.transforms.search.texts import OF_SOURCE, SOURCE_WEIGHT, Term, lengths, texts_in

#: How soon more of a word counts no more, and how much long texts lose: the usual ones.
K1, B = 1.2, 0.75

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Counted:
    """Texts of one field: how many there are, their words, and how many have each term."""

    texts: int
    words: int
    having: tuple[int, ...]

    def plus(self, other: Self) -> Self:
        having = tuple(map(sum, zip(self.having, other.having, strict=True)))
        return type(self)(self.texts + other.texts, self.words + other.words, having)


#: By field.
Counts = Mapping[str, Counted]
NONE: Final[Counts] = {}


def counted(table: pa.Table, fields: Sequence[str], terms: Sequence[Term]) -> Counts:
    """What there is in these rows."""
    return {
        name: Counted(
            texts=pc.sum(pc.greater(lengths(words), 0)).as_py() or 0,
            words=pc.sum(lengths(words)).as_py() or 0,
            having=tuple(
                pc.sum(pc.match_substring(words, pattern=term.needle)).as_py() or 0
                for term in terms
            ),
        )
        for name, words in texts_in(table, fields).items()
    }


def together(parts: Iterable[Counts]) -> Counts:
    """The same of all slices."""
    total: dict[str, Counted] = {}
    for part in parts:
        for name, more in part.items():
            total[name] = total[name].plus(more) if name in total else more
    return total


def scored(table: pa.Table, terms: Sequence[Term], counts: Counts) -> Numbers:
    """What each row is worth; 0 where it has none of the terms."""
    total = np.zeros(table.num_rows)
    for name, words in texts_in(table, counts).items():
        weight = SOURCE_WEIGHT if name in OF_SOURCE else 1.0
        total += weight * _scored(words, terms, counts[name])
    return total


def _scored(words: pa.Array, terms: Sequence[Term], known: Counted) -> Numbers:
    length = lengths(words).to_numpy(zero_copy_only=False)
    usual = max(1.0, known.words / max(1, known.texts))
    total = np.zeros(len(words))
    for term, having in zip(terms, known.having, strict=True):
        often = pc.count_substring(words, pattern=term.needle).to_numpy(zero_copy_only=False)
        rarity = np.log1p((known.texts - having + 0.5) / (having + 0.5))
        total += rarity * often * (K1 + 1) / (often + K1 * (1 - B + B * length / usual))
    return total
