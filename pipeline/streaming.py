"""New videos as they arrive: a pipeline without an end, handed to an engine or run by this process.

    what is there ──┐
                    ├─▶ begun, one version at a time ─▶ … ─▶ closed
    what is told ───┘

A message is lost when a job is killed that has acknowledged it and not done what it says; when that
is, is the engine's affair (docs/design/streams.md). So a job begins with what is there and not
finished, whatever was told of it.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final, NoReturn

import apache_beam as beam
from apache_beam.io.gcp.pubsub import ReadFromPubSub
from apache_beam.options.pipeline_options import StandardOptions

from finecut.io.errors import RunError
from finecut.io.media.codecs import require_decoder, require_encoder
from finecut.io.records import Source
from finecut.pipeline.at_work import occupying
from finecut.pipeline.cli.progress import Progress
from finecut.pipeline.cli.stopping import given_up_by, interruptible
from finecut.pipeline.curation import curate_stream
from finecut.pipeline.engine import Engine, engine_for, hand_over, new_pipeline, reason_of, wait_for
from finecut.pipeline.engines.support import refuse_unfit
from finecut.pipeline.options import Options
from finecut.pipeline.planning import Plan, plan
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.beam.weather import sentence_of
from finecut.transforms.find.inputs import check_inputs
from finecut.transforms.find.looking import check_watchable
from finecut.transforms.find.notifications import NoticeVideos
from finecut.transforms.find.own_outputs import check_apart
from finecut.transforms.find.rounds import WatchVideos
from finecut.transforms.find.videos import FindVideos

#: How Google's client says that it waited in vain. Beam's direct runner takes that for an accident
#: and ends, after four times thirty seconds in which nobody wrote an object.
IDLE: Final = "DeadlineExceeded"


def listen(pipeline: beam.Pipeline, options: Options, steps: Plan) -> None:
    """Curate whatever a subscription tells of, or what is found, and what is there already."""
    pipeline._options.view_as(StandardOptions).streaming = True
    curate_stream(_sources(pipeline, options, steps), steps)


def _sources(pipeline: beam.Pipeline, options: Options, steps: Plan) -> beam.PCollection[Source]:
    if options.watch is not None:
        return pipeline | "WatchVideos" >> WatchVideos(steps.finding, options.watch)
    notices = pipeline | "Notifications" >> ReadFromPubSub(
        subscription=options.subscription, with_attributes=True
    )
    told = notices | "NoticeVideos" >> NoticeVideos(steps.finding)
    if options.announced_only:
        return told
    there = pipeline | "FindVideos" >> FindVideos(steps.finding)
    return (told, there) | "ToldOrThere" >> beam.Flatten()


def refuse_inputs(options: Options) -> None:
    """Refuse what no new video can come into."""
    if options.watch is not None:
        check_watchable(options.input)


def stream(options: Options, runner_arguments: Sequence[str], progress: bool) -> NoReturn:
    """Curate on an engine that ends with this process, until that is stopped."""
    check_inputs(options.input)
    check_apart(options.input, options.output)
    refuse_inputs(options)
    steps = plan(options)
    writing, sweep_sheets = steps.writing, steps.cutting.looking.sweep
    with ExitStack() as at_work:
        engine = at_work.enter_context(
            engine_for(options.runner, options.local_workers, runner_arguments, streams=True)
        )
        at_work.enter_context(given_up_by(sweep_sheets))
        at_work.callback(sweep_sheets)
        at_work.enter_context(
            occupying(
                writing.shelf, "--output", ends_with_us=True, configuration=writing.configuration
            )
        )
        require_encoder(steps.cutting.encoding)
        require_decoder(steps.cutting.decoder)
        at_work.enter_context(Progress(progress, line=stream_line))
        while True:
            _run_once(options, steps, engine)


def _run_once(options: Options, steps: Plan, engine: Engine) -> None:
    """One pipeline, which ends when nothing is told for long; a sentence if it breaks down."""
    pipeline = new_pipeline(engine.arguments, engine.runner)
    listen(pipeline, options, steps)
    refuse_unfit(pipeline, options.runner)
    if not engine.is_local:
        own, hints = steps.writing.shelf, steps.placing.of_films
        wait_for(hand_over(pipeline, engine, own, hints), engine, own)
        return
    ended = attempted(partial(interruptible, lambda: pipeline.run().wait_until_finish()))
    if type(ended).__name__ == IDLE:
        LOG.info("nothing was told for two minutes; listening again")
    elif isinstance(ended, Exception):
        if sentence := sentence_of(ended):
            raise RunError(sentence) from ended
        raise RunError(
            f"--runner {options.runner} gave up on the stream ({reason_of(ended)}). Usually the "
            "subscription or the bucket does not exist, may not be read, or is misspelt. Every "
            "file that was written is complete and stays; run the same command again to continue"
        ) from ended


def stream_line(counts: Mapping[str, int], _seconds: float, _ended: bool = False) -> str:
    """One line about a stream.

    >>> stream_line({"videos found": 3, "videos closed": 1, "shots failed": 2}, 60.0)
    'listening  3 videos told of or found, 1 finished, 0 clips, 2 lost'
    """
    told, clips = counts.get("videos found", 0), counts.get("clips written", 0)
    return (
        f"listening  {told} videos told of or found, {counts.get('videos closed', 0)} finished"
        f"{_some(counts, 'videos skipped', 'finished before')}"
        f"{_some(counts, 'videos failed', 'failed')}, {clips} clips"
        f"{_some(counts, 'shots failed', 'lost')}"
    )


def _some(counts: Mapping[str, int], name: str, what: str) -> str:
    return f", {counts[name]} {what}" if counts.get(name) else ""
