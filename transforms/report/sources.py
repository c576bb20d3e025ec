"""Sources: where planned clips lay that failed, and the rules of which a page draws the limits."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from os.path import commonprefix
from typing import Any

from finecut.io.layout import clip_id
from finecut.transforms.filter.comparing import SAMENESS
from finecut.transforms.filter.rules import Rule, parse_rule
from finecut.transforms.split.spans import fixed_stride_spans


def video_of(chunk: str) -> tuple[str, int]:
    """To what video the document of a chunk belongs, by its name, and which of its chunks it is.

    >>> video_of("processed_clip_chunks/a.mp4_12.json")
    ('processed_clip_chunks/a.mp4', 12)
    """
    name, _, index = chunk.removesuffix(".json").rpartition("_")
    return (name, int(index)) if index.isascii() and index.isdigit() else (chunk, 0)


def spans_of_lost(
    name: str,
    lost: Collection[str],
    rate: float,
    *,
    known: Sequence[tuple[float, float]],
    stride: tuple[float, float] | None,
) -> list[tuple[float, float]]:
    """Where the planned clips lay that failed, as far as their ids give it away.

    An id is made of two frames, so a place can be tried: those of a fixed stride (the length and
    the distance), and what is left open between the clips that there are.
    """
    if not lost or rate <= 0:
        return []
    left, found = set(lost), []
    for start, end in _places(known, stride, len(lost)):
        clip = clip_id(name, int(start * rate), int(end * rate))
        if clip in left:
            left.remove(clip)
            found.append((start, end))
    return sorted(found)


def _places(
    known: Sequence[tuple[float, float]], stride: tuple[float, float] | None, lost: int
) -> Iterator[tuple[float, float]]:
    open_from = 0.0
    for start, end in sorted(known):
        if start > open_from:
            yield open_from, start
        open_from = max(open_from, end)
    if stride is not None:
        length, distance = stride
        milliseconds = int((open_from + lost * distance + length) * 1000)
        for span in fixed_stride_spans(
            milliseconds, 1000.0, length=length, stride=distance, least=length
        ):
            yield span.start, span.end


def common_folder(names: Sequence[str]) -> str:
    """The folders that all of these lie in, with the slash at the end.

    >>> common_folder(["gs://b/films/a.mp4", "gs://b/films/x/b.mp4"])
    'gs://b/films/'
    """
    same = commonprefix(names)  # noqa: RUF071 (by characters)
    return same[: same.rfind("/") + 1]


def rules_drawn(rules: Iterable[Rule], reasons: Iterable[str]) -> list[dict[str, Any]]:
    """The rules on numbers that a run had, and those that reasons speak of: score, comparison,
    limit, name.
    """
    found = {(rule.score, rule.comparison, rule.limit): rule.name for rule in rules}
    for reason in reasons:
        with suppress(ValueError):  # a name, as in "motion", or what another program says
            rule = parse_rule(reason)
            found.setdefault((rule.score, rule.comparison, rule.limit), rule.name)
    return [
        {"score": score, "comparison": comparison, "limit": limit, "name": name}
        for (score, comparison, limit), name in found.items()
        if comparison not in SAMENESS
    ]
