"""Where the dataset stands in a command line, also behind a flag that takes several values.

    finecut refilter --keep 'motion>=1' OUT      ─▶      finecut refilter OUT --keep 'motion>=1'

argparse gives such a flag every word up to the next flag, and then misses the dataset. Standard
library only.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from finecut.transforms.filter.rules import parse_rule

_NUMBER: Final = re.compile(r"-\d+|-\d*\.\d+")


class _Taken(NamedTuple):
    """A word at the end of those that a flag for several took: perhaps it was none of its own."""

    place: int
    #: It cannot be a value of that flag.
    foreign: bool


def dataset_first(
    parser: argparse.ArgumentParser,
    words: Sequence[str],
    fits: Mapping[str, Callable[[str], bool]],
) -> list[str]:
    """The words with the dataset in front, if a flag for several would have swallowed it.

    ``fits`` tells, by flag, what may be a value of it. Nothing is moved where a word stands alone.
    """
    if "--" in words:
        return list(words)
    taken: list[_Taken] = []
    known, alone, place = parser._option_string_actions, False, 0
    while place < len(words):
        flag, equals, _ = words[place].partition("=")
        if not _is_flag(flag):
            return list(words)
        end = _end_of_values(words, place + 1)
        action = known.get(flag)
        if equals or (action is not None and action.nargs == 0):
            place += 1
        elif action is None:
            # Of a runner: it may have a value or not, so the word behind it may be the dataset.
            alone |= end > place + 1
            place = min(end, place + 2)
        elif action.nargs != "+":
            place += 2
        else:
            if end - place > 2:
                last = words[end - 1]
                taken.append(_Taken(end - 1, not fits.get(flag, _anything)(last)))
            place = end
    found = [one for one in taken if one.foreign] or ([] if alone else taken)
    if not found:
        return list(words)
    chosen = found[-1].place
    return [words[chosen], *words[:chosen], *words[chosen + 1 :]]


def _end_of_values(words: Sequence[str], start: int) -> int:
    """The place of the next flag."""
    flags = (place for place in range(start, len(words)) if _is_flag(words[place]))
    return next(flags, len(words))


def _is_flag(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not _NUMBER.fullmatch(word)


def _anything(_word: str) -> bool:
    return True


def is_rule(word: str) -> bool:
    """Whether this may stand behind ``--keep``."""
    try:
        return not word or bool(parse_rule(word, own=True))
    except ValueError:
        return False


def is_number(word: str) -> bool:
    try:
        return bool(str(float(word)))
    except ValueError:
        return False
