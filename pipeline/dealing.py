"""Dealing: which worker of a local run does what, so that all are busy until the end.

    reels      ████████████  ██████████  ██ ██ █
    parts      ███ ███ ███ ███  ███ ███ ███  ██ ██ █
    dealt      1   2   2   1    1   2   2    1  1  2      to two workers, in turn

A reel of a short film is cut in parts, each with some of its shots: or one film alone would leave
all workers but one idle. A long film has reels enough. Where it is divided depends on the film and
on nothing else, not on workers or other films, and clips keep their names and chunks.

A cluster hands out work as workers become free. The local runner deals it once, in turn: a row of
pieces, one to each worker, and the next row. So there the longest is dealt first, and of each row
the longest to the worker with the least so far.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any, TypeVar

import apache_beam as beam

from finecut.io.media.remux.copying import COPY
from finecut.io.records import Reel, Shot, Video

Work = TypeVar("Work", Reel, Video)
#: Puts things in the order in which they are dealt to this many workers.
Deal = Callable[[Iterable[Work], int], list[Work]]

#: Pictures of many bits a pixel take up to three times as long as those of few, and newer codecs
#: are dearer to decode: nine films of 0.016 to 0.2 bits took 8.3 to 24 ns a pixel to cut, 7.5 times
#: this; without it they are guessed up to twofold wrong.
BITS, MOST_BITS = 15.0, 2.0
DEAR_CODECS, DEARER = frozenset({"hevc", "av1", "vp9"}), 1.35
#: A part has at least this many seconds, and at least this share of the whole film. Each costs
#: opening the film, and decoding from a key frame to its first shot: of 32 s, one in a hundred.
PART_SECONDS, PART_OF_FILM = 32.0, 1 / 16


class ShareOut(beam.PTransform[beam.PCollection[Work], beam.PCollection[Work]]):
    """Reels (or videos), dealt to ``workers`` workers; 0 leaves it to a cluster."""

    def __init__(self, deal: Deal[Work], workers: int) -> None:
        super().__init__()
        self.deal: Deal[Any] = deal
        self.workers = workers

    def expand(self, things: beam.PCollection[Work]) -> beam.PCollection[Work]:
        deal, workers = self.deal, self.workers
        kind: Any = things.element_type
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
    """In the order in which they are dealt."""
    return in_rows(sorted(reels, key=_order), reel_work, workers)


def deal_videos(videos: Iterable[Video], workers: int) -> list[Video]:
    """In the order in which they are dealt."""
    ordered = sorted(videos, key=lambda video: (-video_work(video), video.name))
    return in_rows(ordered, video_work, workers)


def reel_work(reel: Reel) -> float:
    """Roughly how much work cutting a reel is, by its pixels, bits and codec."""
    video = reel.video
    bits = 1024 * video.bit_rate_k / max(1.0, _pixels(video))
    dear = DEARER if video.video_codec in DEAR_CODECS else 1.0
    return seconds_of(reel.shots) * _pixels(video) * (1 + min(MOST_BITS, BITS * bits)) * dear


def video_work(video: Video) -> float:
    """The same for a video."""
    return video.duration * _pixels(video)


class InParts(beam.PTransform[beam.PCollection[Reel], beam.PCollection[Reel]]):
    """Reels → the same shots in smaller reels. Copying is so fast that it stays as it is."""

    def __init__(self, transcode: str) -> None:
        super().__init__()
        self.transcode = transcode

    def expand(self, reels: beam.PCollection[Reel]) -> beam.PCollection[Reel]:
        if self.transcode == COPY:
            return reels
        return reels | "Divide" >> beam.FlatMap(parts_of).with_output_types(Reel)


def parts_of(reel: Reel) -> list[Reel]:
    """The reel in parts of about the same length."""
    part = max(PART_SECONDS, PART_OF_FILM * reel.video.duration)
    number = round(seconds_of(reel.shots) / part)
    if number < 2:
        return [reel]
    return [replace(reel, shots=shots) for shots in divided(reel.shots, number)]


def divided(shots: Sequence[Shot], number: int) -> Iterator[tuple[Shot, ...]]:
    """The shots in ``number`` rows (or fewer) of about the same length."""
    each = seconds_of(shots) / number
    ends = accumulate(shot.span.length for shot in shots)
    # A shot belongs to the row in which its middle lies.
    rows = [int((end - shot.span.length / 2) / each) for shot, end in zip(shots, ends, strict=True)]
    for _, row in groupby(zip(rows, shots, strict=True), key=itemgetter(0)):
        yield tuple(shot for _, shot in row)


def in_rows(things: list[Work], work: Callable[[Work], float], workers: int) -> list[Work]:
    """The longest of each row to the worker with the least of the rows before.

    >>> in_rows([9, 8, 7, 6, 5], float, 2)
    [9, 8, 6, 7, 5]
    """
    has = [0.0] * workers
    dealt: list[Work] = []
    for at in range(0, len(things), workers):
        row = things[at : at + workers]
        places = sorted(range(len(row)), key=has.__getitem__)
        by_place = dict(zip(places, row, strict=True))
        for place in range(len(row)):
            dealt.append(by_place[place])
            has[place] += work(by_place[place])
    return dealt


def seconds_of(shots: Iterable[Shot]) -> float:
    return sum(shot.span.length for shot in shots)


def _order(reel: Reel) -> tuple[float, str, list[int]]:
    return -reel_work(reel), reel.video.name, [shot.index for shot in reel.shots[:1]]


def _pixels(video: Video) -> float:
    """How many there are a second."""
    return video.framerate * video.width * video.height
