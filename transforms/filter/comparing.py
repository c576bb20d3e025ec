"""Comparing: a rule is a score, a comparison and a limit. Standard library only.

    Rule("motion", "motion_global_mean", ">=", 0.001)
    Rule("camera=static", "camera", "=", "static")

Scores are numbers, which are more or less than others, or labels, which are the same or not.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from finecut.io.records import Scores

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
#: Comparisons of labels.
SAME, OTHER = SAMENESS = "=", "!="
_RULE = re.compile(r"\s*([A-Za-z_0-9][A-Za-z_0-9-]*)\s*(>=|<=|!=|==|>|<|=)\s*(\S+)\s*")


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
        if self.comparison in SAMENESS:
            limit = self.limit if isinstance(value, str) else _number(str(self.limit))
            return (value == limit) == (self.comparison == SAME)
        return not isinstance(value, str) and _COMPARE[self.comparison](value, float(self.limit))


def read_rule(text: str) -> Rule | None:
    """The rule that this text is, of a score as it says it, named by the text without spaces."""
    match = _RULE.fullmatch(text)
    if match is None:
        return None
    score, comparison = match[1].replace("-", "_"), SAME if match[2] == "==" else match[2]
    limit = match[3] if comparison in SAMENESS else _number(match[3])
    name = f"{score}{comparison}{match[3]}"
    return None if limit is None else Rule(name, score, comparison, limit)


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
