"""The parts of a page made on the workers of an engine.

once ─▶ slices ─▶ count each ─▶ Totals
once ─▶ slices ─▶ its clips, by part ─▶ make each part ─┬▶ Made
                                                       └▶ sprites ─▶ draw each
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import apache_beam as beam

from finecut.io.dataset.output import Output
from finecut.io.storage.publishing import Shelf
from finecut.transforms.catalogue.reading import Slice
from finecut.transforms.report.counting import Totals, totals_of
from finecut.transforms.report.frames import Drawing
from finecut.transforms.report.here import draw_one, slices_there
from finecut.transforms.report.parts import Made, Showing, make_part, part_of, shared_out
from finecut.transforms.report.pictures import Sprite
from finecut.transforms.report.reading import told_by


def _slices(once: beam.PCollection[Any], output: Output) -> beam.PCollection[Slice]:
    return (
        once
        | "Slices" >> beam.FlatMap(lambda _: slices_there(output)).with_output_types(Slice)
        | "Share out slices" >> beam.Reshuffle()
    )


@dataclass(eq=False, repr=False)
class CountClips(beam.PTransform[beam.PCollection[Any], beam.PCollection[Totals]]):
    """One element, which comes when the dataset may be read → one: all that is counted in it."""

    output: Output

    def expand(self, once: beam.PCollection[Any]) -> beam.PCollection[Totals]:
        output = self.output

        def count(piece: Slice) -> Totals:
            return totals_of(told_by(piece, output))

        def added(some: Iterable[Totals]) -> Totals:
            return reduce(add, some, Totals())

        return (
            _slices(once, output)
            | "Count" >> beam.Map(count).with_output_types(Totals)
            | "Add up" >> beam.CombineGlobally(added).with_output_types(Totals)
        )


@dataclass(eq=False, repr=False)
class MakeParts(beam.PTransform[beam.PCollection[Any], beam.PCollection[Made]]):
    """One element → what was made of each part; the sprites are drawn on all workers."""

    output: Output
    showing: Showing
    own: Shelf
    drawing: Drawing

    def expand(self, once: beam.PCollection[Any]) -> beam.PCollection[Made]:
        output, showing, own, drawing = self.output, self.showing, self.own, self.drawing

        def share_out(piece: Slice) -> Iterator[tuple[int, bytes]]:
            return shared_out(told_by(piece, output).clips, showing)

        def make(part: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
            made, sprites = make_part(part[0], part_of(part[1]), showing, own)
            yield made
            yield from (beam.pvalue.TaggedOutput("sprites", sprite) for sprite in sprites)

        def draw(sprite: Sprite) -> None:
            draw_one(sprite, showing=showing, own=own, drawing=drawing)

        parts = (
            _slices(once, output)
            | "By part" >> beam.FlatMap(share_out).with_output_types(tuple[int, bytes])
            | "Parts" >> beam.GroupByKey()
            | "Make parts" >> beam.FlatMap(make).with_outputs("sprites", main="made")
        )
        _ = (
            parts["sprites"]
            | "Share out sprites" >> beam.Reshuffle()
            | "Draw" >> beam.Map(draw).with_output_types(type(None))
        )
        return parts["made"]
