"""How well found transitions agree with true ones: what the tests of shot detectors share.

A detector says for each frame whether it belongs to a transition; ``runs()`` makes first and last
frames of that, and ``f1()`` compares them with the truth::

    runs([False, True, True, False, True])        # [(1, 2), (4, 4)]
    f1(runs(found), truth)                        # 1.0 when all were found and nothing else
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeAlias

Run: TypeAlias = "tuple[int, int]"

#: Runs match when they overlap, or when so many frames' distance is all that is between them.
NEAR = 2


def runs(booleans: Iterable[bool]) -> list[Run]:
    """First and last index of each stretch of True."""
    found = []
    for value, group in groupby(enumerate(booleans), key=lambda pair: bool(pair[1])):
        if value:
            places = [index for index, _ in group]
            found.append((places[0], places[-1]))
    return found


def matched(found: Sequence[Run], truth: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Pairs of a found run and a true one that mean the same; each is in one pair at most."""
    pairs: list[tuple[Run, Run]] = []
    rest = sorted(found)
    # The truth that ends first takes the first run that it can have: no other choice pairs more.
    for first, last in sorted(truth, key=lambda run: run[1]):
        for run in rest:
            if run[0] <= last + NEAR and first <= run[1] + NEAR:
                pairs.append((run, (first, last)))
                rest.remove(run)
                break
    return pairs


def f1(found: Sequence[Run], truth: Sequence[Run]) -> float:
    """The harmonic mean of precision and recall; 1 when there is nothing to find or found."""
    if not found and not truth:
        return 1.0
    return 2 * len(matched(found, truth)) / (len(found) + len(truth))
