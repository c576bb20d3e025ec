"""Comparing: a rule is a score, a comparison and a limit. Standard library only.

    Rule("motion", "motion_global_mean", ">=", 0.001)
    Rule("camera=static", "camera", "=", "static")

    Rule("source.license=cc-by", "source.license", "=", "cc-by")

Scores are numbers, which are more or less than others, or labels, which are the same or not. Fields
of a source's metadata are either, or several at once, one of which is enough. Their numbers may be
written as texts, since lists know no better; and days are compared as days are written.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from finecut.io.held import OF_SOURCE
from finecut.io.records import Scores

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
#: Comparisons of labels.
SAME, OTHER = SAMENESS = "=", "!="
_RULE = re.compile(r"\s*([A-Za-z_0-9][A-Za-z_0-9-]*)\s*(>=|<=|!=|==|>|<|=)\s*(\S+)\s*")
#: The same of a field of a source, whose values may have spaces.
_OF_SOURCE = re.compile(
    rf"\s*({re.escape(OF_SOURCE)}[\w-]+(?:\.[\w-]+)*)\s*(>=|<=|!=|==|>|<|=)\s*(\S(?:.*\S)?)\s*"
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2}.*)?")


@dataclass(frozen=True)
class Rule:
    """A clip is kept when this comparison holds for its score."""

    #: What a rejected clip says it was rejected by.
    name: str
    score: str
    comparison: str
    #: A number; of labels a text.
    limit: float | str

    def holds(self, scores: Scores) -> bool:
        value = scores.get(self.score)
        if value is None:
            return False
        several = value if isinstance(value, list | tuple) else (value,)
        if self.comparison in SAMENESS:
            return any(map(self._is_limit, several)) == (self.comparison == SAME)
        return any(map(self._is_within, several))

    @property
    def of_source(self) -> bool:
        """Whether it speaks of the source's metadata, and not of what was measured."""
        return self.score.startswith(OF_SOURCE)

    def _is_limit(self, value: Any) -> bool:
        limit = self.limit if isinstance(value, str) else _number(str(self.limit))
        return bool(value == limit)

    def _is_within(self, value: Any) -> bool:
        if isinstance(self.limit, str):
            # As far as the limit says: a month holds all of its days.
            is_day = isinstance(value, str) and _DAY.fullmatch(value) is not None
            return is_day and _COMPARE[self.comparison](value[: len(self.limit)], self.limit)
        if isinstance(value, str):
            value = _number(value) if self.of_source else None
        return value is not None and _COMPARE[self.comparison](value, float(self.limit))


def read_rule(text: str) -> Rule | None:
    """The rule that this text is, of a score as it says it, named by the text without spaces."""
    match = _OF_SOURCE.fullmatch(text) or _RULE.fullmatch(text)
    if match is None:
        return None
    score, comparison = match[1].replace("-", "_"), SAME if match[2] == "==" else match[2]
    limit = match[3] if comparison in SAMENESS else _limit(score, match[3])
    name = f"{score}{comparison}{match[3]}"
    return None if limit is None else Rule(name, score, comparison, limit)


def _limit(score: str, text: str) -> float | str | None:
    """A number, or a day where sources may have days."""
    number = _number(text)
    is_day = number is None and score.startswith(OF_SOURCE) and _DAY.fullmatch(text)
    return text if is_day else number


def rule_of(text: str) -> Rule:
    """The rule this text says of a score by its own name; for rules that are written in code.

    >>> rule_of("sharpness>=0.05")
    Rule(name='sharpness>=0.05', score='sharpness', comparison='>=', limit=0.05)
    """
    rule = read_rule(text)
    if rule is None:
        raise ValueError(f"{text!r} is not a rule: give a score, a comparison and a limit")
    return rule


def verdict(scores: Scores, rules: Iterable[Rule]) -> str | None:
    """The name of the first rule that does not hold, or ``None`` for a clip that is kept."""
    return next((rule.name for rule in rules if not rule.holds(scores)), None)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
