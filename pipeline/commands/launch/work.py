"""Launching: a job is built and handed over, and nobody here waits for its end.

This is what the launcher of a Flex Template runs. Everything that a waiting process does after a
run (listing failures, summing up, sweeping) is a step of the job itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import apache_beam as beam
from apache_beam.io.gcp.pubsub import ReadFromPubSub
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult

from finecut.io.records import Summary
from finecut.pipeline.beam_options import words_of
from finecut.pipeline.curation import curate, curate_stream
from finecut.pipeline.elsewhere import taken
from finecut.pipeline.engine import check_runner, new_pipeline
from finecut.pipeline.options import Options
from finecut.pipeline.planning import Plan, check_apart, plan
from finecut.pipeline.run_document import run_document, run_name
from finecut.transforms.find.notifications import NoticeVideos
from finecut.transforms.write.documents import serialise
from finecut.transforms.write.writing import Writing


def launch(options: Options, runner_arguments: Sequence[str] = ()) -> PipelineResult:
    """Hand the job over; raises :class:`RunError` where nobody takes it."""
    check_runner(options.runner, runner_arguments)
    return taken(job(options, runner_arguments), options.runner)


def job(options: Options, runner_arguments: Sequence[str] = ()) -> beam.Pipeline:
    """The whole job, not yet handed over. It shows the options on its page."""
    check_apart(options.check())
    words = [f"--runner={options.runner}", *runner_arguments, *words_of(options)]
    pipeline = new_pipeline(PipelineOptions(words), options.runner)
    steps = plan(options)
    if options.subscription is not None:
        pipeline._options.view_as(StandardOptions).streaming = True
        listen(pipeline, options, steps)
        return pipeline
    curated = curate(pipeline, options, steps)
    write = partial(_write_down, options=options, writing=steps.writing, started=time.time())
    _ = curated.summary | "WriteRun" >> beam.Map(write).with_output_types(int)
    return pipeline


def listen(pipeline: beam.Pipeline, options: Options, steps: Plan) -> None:
    """Curate whatever a subscription tells of."""
    notices = pipeline | "Notifications" >> ReadFromPubSub(
        subscription=options.subscription, with_attributes=True
    )
    curate_stream(notices | "NoticeVideos" >> NoticeVideos(steps.finding), steps)


def _write_down(summary: Summary, options: Options, writing: Writing, started: float) -> int:
    """The document of the run. What its steps counted is the engine's to show."""
    path = writing.layout.run_summary(run_name(started, writing.shelf.staging))
    document = run_document(
        options,
        summary,
        seconds=time.time() - started,
        stats={},
        started=started,
        writing=writing,
    )
    return writing.shelf.write(path, serialise(document))
