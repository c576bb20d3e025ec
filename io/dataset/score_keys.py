"""Where a clip's document holds its scores: under ``scores``, by name, and for some that other
programs read, under keys of their own that end in ``_score``::

    "motion_score": {"global_mean": 0.01, …}     ─▶  motion_global_mean
    "aesthetic_score": 4.2                       ─▶  aesthetic_score
    "scores": {"sharpness": 0.3, …}              ─▶  sharpness
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SCORES: Final = "scores"
#: How keys end that hold a score, or several of one family.
SCORE: Final = "_score"


def scores_held(document: Mapping[str, Any]) -> dict[str, Any]:
    """Every score under the name that rules know, whatever it is."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        if key.endswith(SCORE) and isinstance(value, Mapping):
            family = key.removesuffix(SCORE)
            found |= {f"{family}_{name}": each for name, each in value.items()}
        elif key.endswith(SCORE):
            found[key] = value
    return found | (document.get(SCORES) or {})
