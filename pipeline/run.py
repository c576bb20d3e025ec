"""Running the film: from options to a summary, on this machine or on a cluster.

The local runner is Beam's in-process one: worker threads (decoding and encoding leave the
interpreter alone), no network, nothing to download. ``DirectRunner`` means the same; Beam's own
``DirectRunner`` first tries to download another runner.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from finecut.io import shelf
from finecut.io.film.encoders import require_encoder
from finecut.io.records import Summary, from_json
from finecut.pipeline.curate import Plan, WriteLines, build, plan
from finecut.pipeline.options import Options
from finecut.pipeline.progress import Progress
from finecut.pipeline.stopping import stopping
from finecut.transforms.find import check_inputs
from finecut.transforms.tally import BOARD, NAMESPACE


class Ran(NamedTuple):
    """What a run did, how long it took, and what its steps counted."""

    summary: Summary
    seconds: float
    stats: dict[str, int]


def run(options: Options, runner_arguments: Sequence[str] = (), progress: bool = False) -> Ran:
    """Curate from beginning to end. Raises when the run as a whole cannot be done."""
    options.check()
    check_inputs(options.input)
    if options.is_local:
        require_encoder(options.encoder)
    quiet_libraries(options.verbose)
    steps = plan(options)
    began = time.monotonic()
    BOARD.clear()
    own = steps.writing.shelf
    with stopping(own.sweep, options.is_local), Progress(progress and options.is_local):
        try:
            result = _run_pipeline(options, steps, runner_arguments)
            summary = from_json(Summary, shelf.read(steps.summary_path).decode())
        finally:
            own.sweep()
    if not summary.num_failures:
        # A run without failures leaves no list of an earlier run's behind.
        own.remove(steps.failures_path)
    return Ran(summary, time.monotonic() - began, _stats(result))


def local_arguments(workers: int) -> list[str]:
    return [
        "--runner=FnApiRunner",
        "--direct_running_mode=in_memory",
        f"--direct_num_workers={workers}",
    ]


def quiet_libraries(verbose: bool) -> None:
    """Beam talks about itself at every start; only errors concern who did not ask."""
    logging.getLogger("apache_beam").setLevel(logging.INFO if verbose else logging.ERROR)


def _run_pipeline(options: Options, steps: Plan, runner_arguments: Sequence[str]) -> PipelineResult:
    if options.is_local:
        arguments = local_arguments(options.local_workers)
    else:
        arguments = [f"--runner={options.runner}", *runner_arguments]
    pipeline = beam.Pipeline(options=PipelineOptions(arguments))
    curated, _ = build(pipeline, steps, options.is_local)
    _ = curated.summary | "WriteSummary" >> WriteLines(steps.writing.shelf, steps.summary_path)
    result = pipeline.run()
    result.wait_until_finish()
    return result


def _stats(result: PipelineResult) -> dict[str, int]:
    counters = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    stats: dict[str, int] = {}
    for counter in counters:
        name = counter.key.metric.name
        stats[name] = stats.get(name, 0) + int(counter.result)
    return stats
