"""Lists of failures: of a job that ends, and of a stream.

    failures/<of the inputs>.jsonl                   what failed in a job
    failures/<of the inputs>-00000-of-00031.jsonl    the same, if it is much
    failures/<of the name>.jsonl                     in a stream: what went wrong with a video

What failed in a job, a million clips maybe, is never in one place.

In a stream each video has a list of all that went wrong in the last attempt, when it has ended,
since nobody ever knows the last failure of a stream. What fails again replaces what was said
before, and a video that is closed after all has none. So a list, or the document of the video,
tells that an attempt has come to its end (:mod:`finecut.transforms.resume.one_at_a_time`).
"""

import hashlib
import zlib
from collections.abc import Container, Iterable, Iterator
from functools import partial
from typing import Final

import apache_beam as beam
from apache_beam.pvalue import AsList

from finecut.io.layout import Layout
from finecut.io.records import CODING, Failure, Lost, Source, to_json
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.lines import as_lines
from finecut.transforms.find.lists import piece_of, pieces_of, still_listed
from finecut.transforms.write.secrets import told
from finecut.transforms.write.writing import WritingTransform

#: Lines of a file, about: some MB.
MOST_LINES: Final = 10_000
#: Into so many groups failures are put, by their videos, and so many files a list has at most.
GROUPS: Final = 1024


def own_list(source: Source, layout: Layout) -> str:
    """Where a stream lists what went wrong with this video."""
    key = hashlib.sha256(source.name.encode(*CODING)).hexdigest()[:16]
    return layout.failure_list(key)


class ListFailures(WritingTransform[beam.PCollection[Failure | Lost], beam.PCollection[int]]):
    """The failures of a video that has come to its end → their list."""

    def expand(self, failures: beam.PCollection[Failure | Lost]) -> beam.PCollection[int]:
        own, layout = self.writing.shelf, self.writing.layout

        def write(ended: Failure | Lost) -> int:
            source = ended.video.source if isinstance(ended, Lost) else ended.source
            return own.write(own_list(source, layout), lines_of(ended))

        return failures | "Write list" >> beam.Map(write).with_output_types(int)


def lines_of(ended: Failure | Lost) -> bytes:
    """The content of such a list."""
    several = ended.failures if isinstance(ended, Lost) else (ended,)
    return as_lines({to_json(told(failure)) for failure in several})


class WriteFailures(beam.PTransform[beam.PCollection[Failure], beam.PCollection[tuple[str, int]]]):
    """All failures of a job → its list; each file that was looked at, and its bytes now.

    What is listed there of videos that were not ``tried`` stays. A file has about ``most`` lines.
    """

    def __init__(
        self, own: Shelf, path: str, tried: Container[str], most: int = MOST_LINES
    ) -> None:
        super().__init__()
        self.own, self.path, self.tried, self.most = own, path, tried, most

    def expand(self, failures: beam.PCollection[Failure]) -> beam.PCollection[tuple[str, int]]:
        path = self.path
        write = partial(_written, own=self.own, tried=self.tried)
        groups = (
            failures
            | "Lines" >> beam.Map(_in_group).with_output_types(tuple[int, str])
            | "Groups" >> beam.GroupByKey()
        )
        sizes = groups | "Sizes" >> beam.Map(_size).with_output_types(int)
        place = beam.FlatMap(_placed, path, AsList(sizes), self.most)
        placed = groups | "Place" >> place.with_output_types(tuple[str, str])
        # Also files for which there is nothing new say something of videos that were tried.
        there = (
            failures.pipeline
            | "List" >> beam.Create([path])
            | "There" >> beam.FlatMap(_there).with_output_types(tuple[str, str])
        )
        return (
            (placed, there)
            | "Old and new" >> beam.Flatten()
            | "Files" >> beam.GroupByKey()
            | "Write" >> beam.Map(write).with_output_types(tuple[str, int])
        )


def _in_group(failure: Failure) -> tuple[int, str]:
    return zlib.crc32(failure.source.name.encode(*CODING)) % GROUPS, to_json(told(failure))


def _size(group: tuple[int, Iterable[str]]) -> int:
    return sum(1 for _ in group[1])


def _placed(
    group: tuple[int, Iterable[str]], path: str, sizes: Iterable[int], most: int
) -> Iterator[tuple[str, str]]:
    number, lines = group
    file = file_of(path, number, -(-sum(sizes) // most))
    return ((file, line) for line in lines)


def file_of(path: str, group: int, files: int) -> str:
    """Where a group of failures is listed, if the list should have so many files.

    >>> file_of("1f3a.jsonl", 700, 1), file_of("1f3a.jsonl", 700, 3)
    ('1f3a.jsonl', '1f3a-00001-of-00003.jsonl')
    """
    files = min(files, GROUPS)
    return path if files <= 1 else piece_of(path, group % files, files)


def _there(path: str) -> Iterator[tuple[str, str]]:
    return ((piece, "") for piece in pieces_of(path))


def _written(
    group: tuple[str, Iterable[str]], own: Shelf, tried: Container[str]
) -> tuple[str, int]:
    path, lines = group[0], [line for line in group[1] if line]

    def listed(there: bytes) -> bytes:
        return as_lines([*lines, *still_listed(there, path, tried)])

    return path, own.update(path, listed)
