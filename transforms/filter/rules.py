"""Rules: which clips are kept, said in terms of their scores. Standard library only.

    parse_rule("sharpness>=0.1")             # a rule of one's own
    verdict({"sharpness": 0.03}, rules)      # 'sharpness>=0.1': the rule that rejects the clip

Every score belongs to a family (what has to be switched on for it to be measured). A clip that has
not got the score a rule asks for is rejected by it: a filter that could not look lets nothing in.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from finecut.transforms.spelling import did_you_mean

#: Score → family. The names are those under which documents show them.
FAMILIES: Final[Mapping[str, str]] = {
    "motion_global_mean": "motion",
    "motion_per_patch_min_256": "motion",
    "sharpness": "quality",
    "exposure": "quality",
    "blockiness": "quality",
    "blackness": "quality",
    "letterbox": "quality",
    "frozen": "quality",
    "text_coverage": "text",
    "text_max": "text",
    "unsafe_max": "unsafe",
    "unsafe_mean": "unsafe",
    "aesthetic_score": "aesthetic",
}
#: What ``--quality-filter enable`` asks for: the least a picture needs to be worth training on.
#: They are loose: films that people made to be seen pass, also at night.
QUALITY_RULES: Final = (
    "sharpness>=0.05",
    "exposure>=0.1",
    "blockiness<=0.6",
    "blackness<=0.9",
    "letterbox<=0.5",
    "frozen<=0.95",
)
#: The family of scores that steps of one's own give.
OWN: Final = "own"
#: Short names that may stand in a rule.
SHORT: Final[Mapping[str, str]] = {
    "motion": "motion_global_mean",
    "motion_patch": "motion_per_patch_min_256",
    "text": "text_coverage",
    "unsafe": "unsafe_max",
    "aesthetic": "aesthetic_score",
}

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_RULE = re.compile(r"\s*([A-Za-z_0-9][A-Za-z_0-9-]*)\s*(>=|<=|>|<)\s*(\S+)\s*")


@dataclass(frozen=True)
class Rule:
    """A clip is kept when this comparison holds for its score."""

    #: What a rejected clip says it was rejected by.
    name: str
    score: str
    comparison: str
    limit: float

    @property
    def family(self) -> str:
        return FAMILIES.get(self.score, OWN)

    def holds(self, scores: Mapping[str, float]) -> bool:
        value = scores.get(self.score)
        return value is not None and _COMPARE[self.comparison](value, self.limit)


def parse_rule(text: str, own: bool = False) -> Rule:
    """The rule this text says; it is named by the text, without spaces.

    With ``own`` it may speak of any score: a step of one's own may give it. Either of - and _ will
    do in a name.

    >>> parse_rule("motion >= 0.001")
    Rule(name='motion>=0.001', score='motion_global_mean', comparison='>=', limit=0.001)
    """
    match = _RULE.fullmatch(text)
    limit = _number(match[3]) if match else None
    if match is None or limit is None:
        raise ValueError(
            f"{text!r} is no rule: write a score, a comparison and a number, as in "
            "'sharpness>=0.1' (in quotes, or the shell takes > for a file)"
        )
    said = match[1].replace("-", "_")
    score = SHORT.get(said, said)
    if score not in FAMILIES and not own:
        raise ValueError(f"{text!r} names no score: {did_you_mean(said, (*FAMILIES, *SHORT))}")
    return Rule(f"{said}{match[2]}{match[3]}", score, match[2], limit)


def verdict(scores: Mapping[str, float], rules: Iterable[Rule]) -> str | None:
    """The name of the first rule that does not hold, or ``None`` for a clip that is kept."""
    return next((rule.name for rule in rules if not rule.holds(scores)), None)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
