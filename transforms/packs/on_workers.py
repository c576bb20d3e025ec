"""Unpacking on workers: chunk by chunk, then all else, the documents of videos last."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList

from finecut.transforms.catalogue.on_workers import CompactCatalogue
from finecut.transforms.packs.unpack import Unpacking, copy, others, unpack_chunk


@dataclass(eq=False, repr=False)
class UnpackDataset(beam.PTransform[beam.PCollection[Any], beam.PCollection[int]]):
    """One element, which comes when the dataset may be read → how many clips were unpacked, when
    all is done.
    """

    unpacking: Unpacking

    def expand(self, once: beam.PCollection[Any]) -> beam.PCollection[int]:
        unpacking = self.unpacking
        output = unpacking.output

        def chunks(_once: Any) -> Iterator[str]:
            return output.chunks()

        def unpack(path: str) -> int:
            return unpack_chunk(path, unpacking)

        def rest(_once: Any) -> Iterator[str]:
            return others(output)

        def videos(_once: Any, _before: Iterable[int]) -> Iterator[str]:
            return output.videos()

        def copied(path: str) -> int:
            copy(path, unpacking)
            return 0

        def total(_once: Any, clips: Iterable[int], _videos: Iterable[int]) -> int:
            return sum(clips)

        def last(clips: int, _compacted: Iterable[int]) -> int:
            return clips

        unpacked = (
            once
            | "Chunks" >> beam.FlatMap(chunks).with_output_types(str)
            | "Share out chunks" >> beam.Reshuffle()
            | "Unpack" >> beam.Map(unpack).with_output_types(int)
        )
        others_copied = (
            once
            | "Others" >> beam.FlatMap(rest).with_output_types(str)
            | "Share out others" >> beam.Reshuffle()
            | "Copy others" >> beam.Map(copied).with_output_types(int)
        )
        before = (unpacked, others_copied) | "Before videos" >> beam.Flatten()
        promised = (
            once
            | "Videos" >> beam.FlatMap(videos, AsList(before)).with_output_types(str)
            | "Share out videos" >> beam.Reshuffle()
            | "Copy videos" >> beam.Map(copied).with_output_types(int)
        )
        add_up = beam.Map(total, AsList(unpacked), AsList(promised)).with_output_types(int)
        done = once | "Sum" >> add_up
        compact = CompactCatalogue(unpacking.layout, unpacking.shelf)
        compacted = done | "CompactCatalogue" >> compact
        return done | "Last" >> beam.Map(last, AsList(compacted)).with_output_types(int)
