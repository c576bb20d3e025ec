"""Launching: a job is built and handed over, and nobody here waits for its end.

This is what the launcher of a Flex Template runs. Everything that a waiting process does after a
run (listing failures, summing up, sweeping) is a step of the job itself.
"""

import time
from collections.abc import Sequence
from functools import partial

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult

from finecut.io.summary import Summary
from finecut.pipeline.beam_options import BEAMS
from finecut.pipeline.cli.flags import words_of
from finecut.pipeline.commands.launch import Launch
from finecut.pipeline.curation import curate
from finecut.pipeline.engine import check_runner, new_pipeline, taken
from finecut.pipeline.engines.support import refuse_unfit
from finecut.pipeline.keeping import run_document, run_name
from finecut.pipeline.lists import refuse_out_of_reach
from finecut.pipeline.options import Options
from finecut.pipeline.planning import plan
from finecut.pipeline.streaming import listen, refuse_inputs
from finecut.transforms.find.own_outputs import check_apart
from finecut.transforms.write.documents import serialise
from finecut.transforms.write.writing import Writing


def launch(command: Launch) -> PipelineResult:
    """Hand the job over; raises :class:`RunError` where nobody takes it."""
    options, arguments = command.options, command.runner_arguments
    check_runner(options.runner, arguments)
    return taken(job(options, arguments), options.runner)


def job(options: Options, runner_arguments: Sequence[str] = ()) -> beam.Pipeline:
    """The whole job, not yet handed over. It shows the options on its page."""
    options.check()
    check_apart(options.input, options.output)
    words = [f"--runner={options.runner}", *runner_arguments, *words_of(options, BEAMS)]
    pipeline = new_pipeline(words, options.runner)
    steps = plan(options)
    if options.streams:
        refuse_inputs(options)
        refuse_out_of_reach(options)
        listen(pipeline, options, steps)
        refuse_unfit(pipeline, options.runner)
        return pipeline
    write = partial(_write_down, options=options, writing=steps.writing, started=time.time())
    note = beam.Map(write).with_output_types(int).with_resource_hints(**steps.placing.of_films)
    _ = curate(pipeline, options, steps).summary | "WriteRun" >> note
    return pipeline


def _write_down(summary: Summary, options: Options, writing: Writing, started: float) -> int:
    """The document of the run. What its steps counted is the engine's to show."""
    document = run_document(
        options, summary, time.time() - started, stats={}, started=started, writing=writing
    )
    return writing.shelf.write(
        writing.layout.run_summary(run_name(started, writing.shelf.staging)), serialise(document)
    )
