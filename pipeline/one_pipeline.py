"""One pipeline of a run: built, run on its engine, and what came of it.

    sources ─▶ the pipeline ─▶ summary, failures ─▶ a tray ─▶ the run, which adds them up

A run on a cluster is one pipeline; one on this machine is a row of them (:mod:`running`), and one
that watches goes on for ever (:mod:`watch`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult

from finecut.io.errors import RunError
from finecut.io.records import from_json
from finecut.io.storage import files as shelf
from finecut.io.summary import Summary
from finecut.pipeline.at_work import tray
from finecut.pipeline.cli.stopping import interruptible
from finecut.pipeline.curation import Listing, build, with_catalogue
from finecut.pipeline.engine import (
    Engine,
    hand_over,
    new_pipeline,
    stats_of,
    stats_or_none,
    wait_for,
)
from finecut.pipeline.options import Options
from finecut.pipeline.planning import Plan
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.lines import WriteLines, lines_in
from finecut.transforms.beam.tally import Tallies
from finecut.transforms.beam.weather import sentence_of
from finecut.transforms.step import EachClip
from finecut.transforms.write.close import ChunkClosed

#: Names in the staging folder.
SUMMARY, FAILURES, CHUNKS = "summary.json", "failures.jsonl", "chunks.jsonl"


class Job(NamedTuple):
    """What all pipelines of a run have in common."""

    options: Options
    steps: Plan
    engine: Engine
    tallies: Tallies


@dataclass(frozen=True)
class Closed:
    """A chunk that was closed, in numbers, and the path of its video below the input."""

    relative: str
    kept: int
    rejected: int
    seconds: float


class Batch(NamedTuple):
    """What came of a pipeline: its sums, the lines of its failures unless its workers have listed
    them, and for a run that watches, its chunks.
    """

    summary: Summary
    failures: Sequence[str]
    closed: Sequence[Closed] = ()


def run_one(begin: beam.PTransform[Any, Any], job: Job, stats: Counter[str]) -> Batch:
    """What came of one pipeline, which begins so."""
    options, steps, engine = job.options, job.steps, job.engine
    own = steps.writing.shelf
    with tray(own, engine.in_process) as reports:
        pipeline = new_pipeline(engine.arguments, engine.runner)
        # Workers elsewhere list by themselves: what failed is not gathered in one place.
        told = WriteLines(reports, f"{reports.root}/{FAILURES}")
        listing: Listing = told if engine.in_process else steps.listing
        hints = steps.placing.of_films
        sources = pipeline | "FindVideos" >> begin.with_resource_hints(**hints)
        curated, listed = build(sources, steps, options.dealt_among, listing)
        if not engine.in_process:
            _ = with_catalogue(curated.summary, listed, steps)
        writing = WriteLines(reports, f"{reports.root}/{SUMMARY}")
        _ = curated.summary | "WriteSummary" >> writing.with_resource_hints(**hints)
        if options.watch is not None:
            chunks = curated.written.chunks | "Count" >> beam.Map(_counted)
            _ = chunks | "WriteChunks" >> WriteLines(reports, f"{reports.root}/{CHUNKS}")
        if engine.is_local:
            result = _begun(pipeline, steps)
            result.wait_until_finish()
            stats.update(stats_of(result))
        else:
            result = hand_over(pipeline, engine, own, hints)
            job.tallies.engine = partial(stats_or_none, result)
            wait_for(result, engine, own)
        return Batch(
            from_json(Summary, shelf.read(f"{reports.root}/{SUMMARY}").decode()),
            lines_in(f"{reports.root}/{FAILURES}"),
            [from_json(Closed, line) for line in lines_in(f"{reports.root}/{CHUNKS}")],
        )


def _counted(chunk: ChunkClosed) -> Closed:
    did = chunk.summary
    relative = chunk.video.source.relative
    return Closed(relative, did.shots_kept, did.shots_rejected, did.seconds_cut)


def _begun(pipeline: beam.Pipeline, steps: Plan) -> PipelineResult:
    """The pipeline at work; the local runner has then done it all."""
    result = attempted(partial(interruptible, pipeline.run))
    if isinstance(result, Exception):
        if sentence := sentence_of(result):
            raise RunError(sentence) from result
        plain = [step.name for step in steps.own if not isinstance(step.transform, EachClip)]
        if not plain:
            raise result
        raise RunError(
            f"the pipeline failed: {str(result).splitlines()[-1] if str(result) else result!r}. "
            f"Usually the cause is --step {', '.join(plain)}, which handles its own errors: "
            "derive it from finecut.transforms.step.EachClip, so that an error affects only one "
            "clip"
        ) from result
    return result
