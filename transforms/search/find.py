"""Searching a dataset, on the workers of an engine: each worker has the best of what it read.

    words     catalogue ─▶ counted ─▶ all texts, in numbers ─┐
              catalogue ─────────────────────────────────────┴▶ scored ─▶ best ─┐
    meaning   catalogue ─▶ captions as vectors ─────────────────────────▶ best ─┼─▶ best of all
    like      tables of vectors ─▶ cosines ─▶ best of all ─▶ their rows ────────┘

The catalogue is read twice for words, and not kept: memory does not grow with it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsSingleton

from finecut.io.dataset.output import Output
from finecut.io.layout import Layout
from finecut.transforms.beam.metrics import count
from finecut.transforms.catalogue.on_workers import batched
from finecut.transforms.catalogue.reading import ReadCatalogue
from finecut.transforms.search.hits import TOLD, Hit, best, best_rows, with_verdict
from finecut.transforms.search.meaning import likeness
from finecut.transforms.search.nearest import Alike, Near, hits_of, nearest, nearest_in
from finecut.transforms.search.ranking import NONE, Counts, counted, scored, together
from finecut.transforms.search.texts import OF_CLIP, OF_SOURCE, Term

#: Counts rows of the catalogue, for progress.
SEARCHED: Final = "search/rows"
#: Tables of vectors that one worker reads together.
TABLES: Final = 64

Once = beam.PCollection[Any]
Hits = beam.PCollection[list[Hit]]


@dataclass(frozen=True)
class Wanted:
    """Which clips are searched, and how many of them are wanted."""

    limit: int
    verdict: str
    #: The lowest score that is wanted.
    least: float = 0.0


@dataclass(eq=False, repr=False)
class FindWords(beam.PTransform[Once, Hits]):
    """One element → the clips of which these words are said, the best ones first."""

    layout: Layout
    terms: Sequence[Term]
    wanted: Wanted

    def expand(self, once: Once) -> Hits:
        terms, wanted = self.terms, self.wanted
        fields = (*OF_CLIP, *OF_SOURCE)
        columns = tuple(dict.fromkeys((*TOLD, *fields)))

        def counts_in(table: pa.Table) -> Counts:
            return counted(with_verdict(table, wanted.verdict), fields, terms)

        def hits_in(table: pa.Table, counts: Counts) -> list[Hit]:
            count(SEARCHED, table.num_rows)
            rows = with_verdict(table, wanted.verdict)
            return best_rows(rows, scored(rows, terms, counts), wanted.limit, wanted.least)

        counts = (
            once
            | "ReadTexts" >> ReadCatalogue(self.layout, ("verdict", *fields))
            | "CountWords" >> beam.Map(counts_in).with_output_types(Counts)
            | "AddUp" >> beam.CombineGlobally(together)
        )
        return (
            once
            | "ReadRows" >> ReadCatalogue(self.layout, columns)
            | "Score"
            >> beam.Map(hits_in, AsSingleton(counts, default_value=NONE)).with_output_types(
                list[Hit]
            )
            | "Best" >> beam.CombineGlobally(partial(best, limit=wanted.limit))
        )


@dataclass(eq=False, repr=False)
class FindMeaning(beam.PTransform[Once, Hits]):
    """One element → the clips whose captions mean what was asked for, by a model of sentences."""

    layout: Layout
    text: str
    #: The model's folder.
    model: str
    wanted: Wanted

    def expand(self, once: Once) -> Hits:
        return (
            once
            | "ReadCaptions" >> ReadCatalogue(self.layout, TOLD)
            | "Understand" >> beam.ParDo(_Understand(self.text, self.model, self.wanted))
            | "Best" >> beam.CombineGlobally(partial(best, limit=self.wanted.limit))
        )


class _Understand(beam.DoFn):
    """Rows of the catalogue → the best of them."""

    def __init__(self, text: str, model: str, wanted: Wanted) -> None:
        self.text, self.model, self.wanted = text, model, wanted

    def setup(self) -> None:
        from finecut.transforms.models.sentences import SentenceEncoder

        self._encoder = SentenceEncoder.load(self.model)
        self._question = self._encoder.question(self.text)

    def process(self, table: pa.Table) -> Iterable[list[Hit]]:
        wanted = self.wanted
        rows = with_verdict(table, wanted.verdict)
        scores = likeness(rows, self._question, self._encoder)
        yield best_rows(rows, scores, wanted.limit, wanted.least)


@dataclass(eq=False, repr=False)
class FindLike(beam.PTransform[Once, Hits]):
    """One element → the clips whose vectors are nearest to that of one."""

    layout: Layout
    alike: Alike
    least: float = 0.0

    def expand(self, once: Once) -> Hits:
        layout, alike, least = self.layout, self.alike, self.least

        def tables(_once: Any) -> Iterator[list[str]]:
            return batched(Output(layout).tables(alike.algorithm), TABLES)

        def nearest_of(paths: Sequence[str]) -> list[Near]:
            return nearest_in(paths, alike, layout)

        def told(found: Iterable[Near]) -> list[Hit]:
            return hits_of([near for near in found if near.score >= least], layout)

        return (
            once
            | "Tables" >> beam.FlatMap(tables).with_output_types(list[str])
            | "Share out tables" >> beam.Reshuffle()
            | "Compare" >> beam.Map(nearest_of).with_output_types(list[Near])
            | "Nearest" >> beam.CombineGlobally(partial(nearest, limit=alike.limit))
            | "Rows" >> beam.Map(told).with_output_types(list[Hit])
        )
