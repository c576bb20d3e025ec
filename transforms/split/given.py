"""Cuts that are known already: a list of times for each video, written by a person or a program.

As JSON, with one list for each video; single numbers are cuts, pairs are scenes::

    {"films/a.mp4": [3.5, 7.0, 9.25], "films/b.mp4": [[0.0, 4.0], [6.5, 12.0]]}

As CSV, with one line for each cut or scene (a first line of names is skipped)::

    video,time                      video,start,end
    films/a.mp4,3.5                 films/b.mp4,0.0,4.0

Videos are named by their path below the input, by their whole path, or by the file's name alone. A
video that is not listed is one scene.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from finecut.io.errors import UserError
from finecut.io.records import Source, Span, Video
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, BadList, csv_rows, list_text, parsed_text
from finecut.transforms.split.scenes import Piece, Trimming, trimmed

#: No film is as long, in seconds; Infinity and NaN are not below it either.
LONGEST = 1e9
WITHOUT_CROP = Trimming(crop=0.0)

KINDS = "Give a list of cuts as .json or .csv: docs/cutting.md describes the format"
EXAMPLE = 'write {"a.mp4": [3.5, 7.0]}'

Times = tuple[tuple[float, float], ...] | tuple[float, ...]


class CutsError(UserError, ValueError):
    """A list of cuts that cannot be understood; the message says where and what to write."""


@dataclass(frozen=True)
class GivenCuts:
    """Clips between cuts that were given."""

    #: By the name of the video: cuts, or scenes with a start and an end, in seconds.
    cuts: Mapping[str, Times]
    trimming: Trimming = WITHOUT_CROP

    def prepare(self) -> None:
        """Nothing has to be loaded."""

    def listed(self, source: Source) -> str | None:
        """The name under which the list has this video."""
        names = (source.relative, source.name, source.uri, source.relative.rsplit("/", 1)[-1])
        return next((name for name in names if name in self.cuts), None)

    def pieces(self, video: Video) -> Iterator[Piece]:
        name = self.listed(video.source)
        times = self.cuts[name] if name is not None else ()
        yield from given_pieces(times, video, self.trimming)


def given_pieces(times: Times, video: Video, trimming: Trimming) -> Iterator[Piece]:
    """The pieces of a video whose cuts (or scenes) are given."""
    rate = video.framerate
    exact: dict[int, float] = {}
    for start, end in scenes_between(times, video.num_frames / rate if rate > 0 else 0.0):
        scene = (round(start * rate), round(end * rate))
        exact |= {scene[0]: start, scene[1]: end}
        for first, last in trimmed(scene, rate, trimming):
            # A border that was given stays what it is; the others lie on the grid of frames.
            span = Span(exact.get(first, first / rate), exact.get(last, last / rate))
            yield Piece(first, last, span)


def scenes_between(times: Times, duration: float) -> Iterator[tuple[float, float]]:
    """Start and end of the scenes these cuts make, or of those that were given as such."""
    borders = [0.0]
    for time in times:
        if isinstance(time, tuple):
            if time[0] < duration:
                yield time[0], min(time[1], duration)
        elif 0 < time < duration:
            borders.append(time)
    if not any(isinstance(time, tuple) for time in times) and duration > 0:
        yield from zip(borders, [*borders[1:], duration], strict=True)


def read_cuts(path: str) -> dict[str, Times]:
    """The list in this file (``.json`` or ``.csv``)."""
    try:
        text = list_text(shelf.absolute(path))
    except BadList as error:
        raise CutsError(f"--cuts {path}: {error}. {KINDS}") from error
    lists = _from_json(path, text) if path.lower().endswith(".json") else _from_csv(path, text)
    return {name.removeprefix("./"): _checked(path, name, times) for name, times in lists.items()}


def digest_of_cuts(path: str) -> str:
    """What distinguishes lists of cuts; what is no such list is refused."""
    read_cuts(path)
    return hashlib.sha256(shelf.read(shelf.absolute(path))).hexdigest()


def _from_json(path: str, text: str) -> dict[str, list[Any]]:
    try:
        lists = parsed_text(text)
    except BadDocument as error:
        raise CutsError(f"{path} {error}: {EXAMPLE}") from error
    if not isinstance(lists, dict) or not all(isinstance(v, list) for v in lists.values()):
        raise CutsError(f"{path} does not contain a list for each video: {EXAMPLE}")
    return lists


def _from_csv(path: str, text: str) -> dict[str, list[Any]]:
    lists: dict[str, list[Any]] = {}
    try:
        rows = csv_rows(text)
    except BadList as error:
        raise CutsError(f"--cuts {path}: {error}: give lines of video,time") from error
    for number, row in enumerate(rows, start=1):
        if not row or (number == 1 and row[0].strip().lower() == "video"):
            continue
        try:
            times = [float(cell) for cell in row[1:]]
        except ValueError:
            times = []
        if len(times) not in (1, 2):
            raise CutsError(
                f"{path}, line {number}: {','.join(row)[:80]!r} is neither 'video,time' nor "
                "'video,start,end' with times in seconds"
            )
        lists.setdefault(row[0].strip(), []).append(times[0] if len(times) == 1 else times)
    return lists


def _checked(path: str, name: str, times: list[Any]) -> Times:
    numbers = [time for time in times if _is_number(time)]
    pairs = [
        (float(time[0]), float(time[1]))
        for time in times
        if isinstance(time, list) and len(time) == 2 and all(map(_is_number, time))
    ]
    if len(numbers) == len(times) and sorted(set(numbers)) == numbers:
        return tuple(map(float, numbers))
    if len(pairs) == len(times) and all(start < end for start, end in pairs):
        return tuple(sorted(pairs))
    raise CutsError(
        f"{path}: the times of {name[:80]} are neither cuts in ascending order ([3.5, 7]) nor "
        "scenes with a start before their end ([[0, 3.5], [4, 7]]), in seconds"
    )


def _is_number(value: Any) -> bool:
    """A time there can be; JSON also reads true, NaN and Infinity."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and 0 <= value < LONGEST
