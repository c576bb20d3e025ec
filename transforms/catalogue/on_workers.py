"""Compacting the catalogue on the workers of an engine.

it has ended ─▶ documents that are not entered ─▶ enter ─┐
                                                         ▼
                                    buckets ─▶ compact each ─▶ finish
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

import apache_beam as beam
from apache_beam.pvalue import AsList

from finecut.io.dataset.output import Output
from finecut.io.layout import Layout
from finecut.io.storage.publishing import Shelf
from finecut.transforms.catalogue.buckets import Bucket, Files, buckets_of
from finecut.transforms.catalogue.compact import (
    add_missing,
    compact_bucket,
    finish,
    missing_chunks,
)

#: Documents of chunks that one worker looks at together.
BATCH: Final = 100

T = TypeVar("T")


@dataclass(eq=False, repr=False)
class CompactCatalogue(beam.PTransform[beam.PCollection[Any], beam.PCollection[int]]):
    """One element, which comes when there is nothing more to be written → one, when the catalogue
    is compacted: how many chunks could not be read, and are not in it.
    """

    layout: Layout
    own: Shelf

    def expand(self, ended: beam.PCollection[Any]) -> beam.PCollection[int]:
        layout, own = self.layout, self.own

        def missing(_ended: Any) -> Iterator[list[str]]:
            return batched(missing_chunks(layout), BATCH)

        def enter(paths: Sequence[str]) -> int:
            return sum(not add_missing(path, Output(layout), own) for path in paths)

        def buckets(_ended: Any, _entered: Iterable[int]) -> Iterator[Bucket]:
            return (bucket for bucket in buckets_of(Files.of(layout)) if bucket.has_news)

        def merge(bucket: Bucket) -> Iterable[str]:
            return compact_bucket(bucket, layout, own)

        def last(_ended: Any, superseded: Iterable[str], left_out: Iterable[int]) -> int:
            finish(superseded, layout, own)
            return sum(left_out)

        entered = (
            ended
            | "Missing" >> beam.FlatMap(missing).with_output_types(list[str])
            | "Share out documents" >> beam.Reshuffle()
            | "Enter" >> beam.Map(enter).with_output_types(int)
        )
        superseded = (
            ended
            | "Buckets" >> beam.FlatMap(buckets, AsList(entered)).with_output_types(Bucket)
            | "Share out buckets" >> beam.Reshuffle()
            | "Merge" >> beam.FlatMap(merge).with_output_types(str)
        )
        finished = beam.Map(last, AsList(superseded), AsList(entered)).with_output_types(int)
        return ended | "Finish" >> finished


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """
    >>> [*batched("abcde", 2)]
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    items = iter(items)
    while some := list(islice(items, size)):
        yield some
