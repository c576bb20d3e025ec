"""Planned clips that were lost, and where they lay in their source.

They have no document. But an id is made of two frames, so a place can be tried: those of a fixed
stride (the length and the distance), and what is left open between the clips that there are.
"""

from collections.abc import Collection, Iterator, Sequence

from finecut.io.layout import clip_id
from finecut.transforms.split.spans import fixed_stride_spans


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
