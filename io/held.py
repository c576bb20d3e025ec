"""What documents hold of scores and of sources, under the names that rules and columns know."""

from collections.abc import Mapping
from typing import Any, Final

#: Where a clip's document holds its scores, by name; and how keys of its own end for some that
#: other programs read, with one score or several of one family.
SCORES, SCORE = "scores", "_score"


def scores_held(document: Mapping[str, Any]) -> dict[str, Any]:
    """Every score of a clip's document under the name that rules know, whatever it is.

    >>> scores_held({"motion_score": {"global_mean": 0.01}, "aesthetic_score": 4.2})
    {'motion_global_mean': 0.01, 'aesthetic_score': 4.2}
    """
    found: dict[str, Any] = {}
    for key, value in document.items():
        if key.endswith(SCORE):
            family = value if isinstance(value, Mapping) else {"score": value}
            found |= {f"{key.removesuffix(SCORE)}_{name}": each for name, each in family.items()}
    return found | (document.get(SCORES) or {})


#: Where documents of clips and videos hold what is known of the source; and how rules and columns
#: of tables call what is below it.
SOURCE: Final = "source"
OF_SOURCE: Final = f"{SOURCE}."


def source_held(metadata: object, under: str = SOURCE) -> dict[str, Any]:
    """What is said of a source under the names that rules know: numbers, texts, several of them.

    >>> source_held({"license": "cc0", "size": {"w": 3}, "free": True, "tags": ["a", "b"]})
    {'source.license': 'cc0', 'source.size.w': 3, 'source.free': 'true', 'source.tags': ['a', 'b']}
    """
    found: dict[str, Any] = {}
    for name, value in metadata.items() if isinstance(metadata, Mapping) else ():
        if isinstance(value, Mapping):
            found |= source_held(value, f"{under}.{name}")
        elif isinstance(value, list | tuple):
            found[f"{under}.{name}"] = [*filter(lambda one: one is not None, map(_word, value))]
        elif (word := _word(value)) is not None:
            found[f"{under}.{name}"] = word
    return found


def _word(value: object) -> float | str | None:
    """A value as rules compare it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, int | float | str) else None
