"""Finding videos and probing them: the steps that a pipeline begins with."""

from collections.abc import Iterable
from functools import partial
from typing import Any, Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.process.children import ChildLimits
from finecut.io.records import Failure, Source, Video
from finecut.transforms.amount import counted, counted_watching
from finecut.transforms.beam.guard import FAILURES, of_source, probed_facts
from finecut.transforms.beam.metrics import LOG, count, metered
from finecut.transforms.beam.weather import FAIR, Weather
from finecut.transforms.cut.isolated import isolated
from finecut.transforms.find.inputs import Finding, find_sources
from finecut.transforms.find.probe import probe_source

#: How many videos were found that are of other parts.
ELSEWHERE: Final = "videos of other parts"


class FindVideos(beam.PTransform[beam.Pipeline, beam.PCollection[Source]]):
    """A pipeline's beginning → Sources; found when the pipeline runs, wherever it runs."""

    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Source]:
        return (
            pipeline
            | "Inputs" >> beam.Create([self.finding])
            | "List" >> beam.FlatMap(_listed)
            | "Share out" >> beam.Reshuffle()
        )


class ProbeVideos(beam.PTransform[beam.PCollection[Source], Any]):
    """Source → Video; files that are no videos → ``failures``. Given limits, in child processes."""

    def __init__(
        self,
        film: Limits = USUAL_LIMITS,
        limits: ChildLimits | None = None,
        weather: Weather = FAIR,
    ) -> None:
        super().__init__()
        self.film, self.limits, self.weather = film, limits, weather

    def expand(self, sources: beam.PCollection[Source]) -> Any:
        probing = beam.FlatMap(_probed, self.film, self.limits, self.weather)
        return sources | "Probe" >> probing.with_outputs(FAILURES, main="videos")


def _listed(finding: Finding) -> Iterable[Source]:
    for source in find_sources(finding):
        if source.name in finding.part:
            count("videos found")
            yield source
        else:
            count(ELSEWHERE)


def _probed(
    source: Source, film: Limits, limits: ChildLimits | None, weather: Weather
) -> Iterable[Video | TaggedOutput[Literal["failures"], Failure]]:
    probe = partial(probe_source, limits=film)
    work = isolated("probe", source, probe, source, limits=limits, weather=weather)
    for outcome in metered("probe", work):
        if isinstance(outcome, Failure):
            count("videos failed")
            yield TaggedOutput(FAILURES, of_source(outcome))
        else:
            facts = probed_facts(outcome).removeprefix("probed: ")
            LOG.info("probed %s: %s", outcome.name, facts)
            count("bytes probed", outcome.size)
            count("milliseconds probed", int(1000 * outcome.duration))
            count("work probed", counted(outcome, outcome.duration))
            count("work to watch", counted_watching(outcome))
            yield outcome
