"""Which of all combinations are quick: few of them, in which each two values still meet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import pytest


def all_and_quick_pairs(*axes: Sequence[Any]) -> list[Any]:
    """Every combination of a value of each axis; those are slow that pairs can do without.

    Most faults hang on one value or on two that meet, so the quick suite tries each pair once::

        @pytest.mark.parametrize(("kind", "size"), all_and_quick_pairs(KINDS, SIZES))
    """
    everything = list(product(*(range(len(axis)) for axis in axes)))
    missing = {pair for combination in everything for pair in _pairs(combination)}
    quick = set()
    while missing:
        best = max(everything, key=lambda combination: len(missing & _pairs(combination)))
        missing -= _pairs(best)
        quick.add(best)
    return [
        pytest.param(
            *(axis[place] for axis, place in zip(axes, combination, strict=True)),
            marks=() if combination in quick else pytest.mark.slow,
        )
        for combination in everything
    ]


def _pairs(combination: tuple[int, ...]) -> set[tuple[tuple[int, int], ...]]:
    return set(combinations(enumerate(combination), 2))
