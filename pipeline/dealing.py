"""Dealing: who of a local run's workers does what, so that all have something until the end.

    reels, by work     ████████████  ██████████  ██ ██ █        two workers, and a few films
    parts              ███ ███ ███ ███  ███ ███ ███  ██ ██ █
    dealt              1   2   2   1    1   2   2    1  1  2     there and back

A cluster hands out work as workers become free. The local runner deals it once, in turn. So the
longest is dealt first, in rows that run there and back; and where there are few films, reels are
dealt in parts, each with some of a reel's shots. Clips, their names and their chunks are the same.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import Any, TypeVar

import apache_beam as beam

from finecut.io.records import Reel, Shot, Video

Work = TypeVar("Work", Reel, Video)
Deal = Callable[[Iterable[Any], int], list[Any]]

#: So many parts for each worker, if there are no more reels: the last of them is what others may
#: have to wait for. Each costs opening the film, and decoding from a key frame to its first shot.
TURNS = 4
LEAST_SECONDS = 5.0


class ShareOut(beam.PTransform[beam.PCollection[Work], beam.PCollection[Work]]):
    """Reels (or videos), dealt to so many workers; 0 leaves it to a cluster."""

    def __init__(self, deal: Deal, workers: int) -> None:
        super().__init__()
        self.deal, self.workers = deal, workers

    def expand(self, things: beam.PCollection[Work]) -> beam.PCollection[Work]:
        deal, workers, kind = self.deal, self.workers, things.element_type
        if workers:
            things = (
                things
                | "All" >> beam.Map(lambda thing: (0, thing)).with_output_types(tuple[int, kind])
                | "Together" >> beam.GroupByKey()
                | "In order"
                >> beam.FlatMap(lambda group: deal(group[1], workers)).with_output_types(kind)
            )
        return things | "Deal" >> beam.Reshuffle()


def deal_reels(reels: Iterable[Reel], workers: int) -> list[Reel]:
    """In the order in which they are dealt, and in parts where there are too few of them."""
    whole = list(reels)
    most = sum(map(reel_work, whole)) / (workers * TURNS)
    parts = [part for reel in whole for part in parts_of(reel, most)]
    return there_and_back(sorted(parts, key=_order), workers)


def deal_videos(videos: Iterable[Video], workers: int) -> list[Video]:
    """In the order in which they are dealt."""
    ordered = sorted(videos, key=lambda video: (-video_work(video), video.name))
    return there_and_back(ordered, workers)


def reel_work(reel: Reel) -> float:
    """How much a reel asks for, about: pixels."""
    return seconds_of(reel.shots) * _pixels(reel.video)


def video_work(video: Video) -> float:
    """The same for a video."""
    return video.duration * _pixels(video)


def parts_of(reel: Reel, most: float) -> Iterator[Reel]:
    """The reel in parts of no more work than this, if each has some seconds of film."""
    seconds = seconds_of(reel.shots)
    number = min(ceil(reel_work(reel) / most) if most else 1, int(seconds / LEAST_SECONDS))
    if number <= 1:
        yield reel
        return
    for shots in divided(reel.shots, number):
        yield replace(reel, shots=shots)


def divided(shots: Sequence[Shot], number: int) -> Iterator[tuple[Shot, ...]]:
    """The shots in so many rows (or fewer) of about the same length together."""
    each = seconds_of(shots) / number
    row: list[Shot] = []
    reached, rows = 0.0, 1
    for shot in shots:
        # A shot belongs where its middle lies.
        if row and reached + shot.span.length / 2 >= rows * each:
            yield tuple(row)
            row = []
            rows = int((reached + shot.span.length / 2) / each) + 1
        row.append(shot)
        reached += shot.span.length
    if row:
        yield tuple(row)


def there_and_back(things: list[Work], workers: int) -> list[Work]:
    """Every other row of so many backwards: after the longest of one, the shortest of the next.

    >>> there_and_back([9, 8, 7, 6, 5], 2)
    [9, 8, 6, 7, 5]
    """
    rows = [things[at : at + workers] for at in range(0, len(things), workers)]
    return [thing for count, row in enumerate(rows) for thing in (row[::-1] if count % 2 else row)]


def seconds_of(shots: Iterable[Shot]) -> float:
    return sum(shot.span.length for shot in shots)


def _order(reel: Reel) -> tuple[float, str, list[int]]:
    return -reel_work(reel), reel.video.name, [shot.index for shot in reel.shots[:1]]


def _pixels(video: Video) -> float:
    """How many there are a second."""
    return video.framerate * video.width * video.height
