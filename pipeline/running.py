"""Running the film: from options to a summary, on this machine or on a cluster.

The local runner is Beam's in-process one: worker threads (decoding and encoding leave the
interpreter alone), no network, nothing to download. ``DirectRunner`` means the same; Beam's own
``DirectRunner`` first tries to download another runner.

It runs a pipeline's stages one after another and keeps what flows between them in memory. So a
local run is a row of pipelines, each over a batch of the videos: memory does not grow with their
number, and the documents of finished videos are written batch by batch, not at the very end.
"""

import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import apache_beam as beam

from finecut.io.dataset.arrangement import decide
from finecut.io.errors import RunError
from finecut.io.media.codecs import require_decoder, require_encoder
from finecut.io.records import Source
from finecut.io.storage import copies
from finecut.io.storage import files as shelf
from finecut.io.storage.fence import standing
from finecut.io.storage.retry import StoreAway, greet
from finecut.io.summary import Summary
from finecut.pipeline.at_work import (
    HALF_FORGOTTEN,
    is_half_forgotten,
    occupying,
    refuse_other_layout,
)
from finecut.pipeline.batches import BATCH_BYTES, BATCH_VIDEOS, batches_of, first_batch, weighed
from finecut.pipeline.cli.progress import CUT, WRITTEN, Progress, run_line
from finecut.pipeline.cli.stopping import given_up_by
from finecut.pipeline.cli.usual_costs import usual_costs
from finecut.pipeline.commands.report.work import report_of_run
from finecut.pipeline.custom_steps import loaded, lost_by
from finecut.pipeline.engine import (
    engine_for,
)
from finecut.pipeline.engines import ends_with_us
from finecut.pipeline.keeping import (
    list_failures,
    run_document,
    write_document,
    write_profile,
)
from finecut.pipeline.lists import within_reach
from finecut.pipeline.on_gpus import gpus_of, run_on
from finecut.pipeline.one_pipeline import Batch, Job, run_one
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import Plan, access_of, fence_of, needs_of, plan
from finecut.pipeline.profiling import Profiler
from finecut.pipeline.watch.turns import Work, watch, watch_key
from finecut.transforms.beam.metrics import BOARD, LOG
from finecut.transforms.beam.sharing import of_run
from finecut.transforms.beam.tally import Tallies
from finecut.transforms.catalogue.compact import begin_catalogue, compact
from finecut.transforms.find.inputs import check_inputs, find_sources
from finecut.transforms.find.looking import check_watchable
from finecut.transforms.find.own_outputs import check_apart
from finecut.transforms.find.videos import ELSEWHERE, FindVideos
from finecut.transforms.split.spans import GivenCuts
from finecut.transforms.step import EachClip


class Ran(NamedTuple):
    """What a run did, how long it took, and what its steps counted."""

    summary: Summary
    seconds: float
    stats: dict[str, int]
    #: Where all of this is written down.
    path: str | None = None
    #: What steps of one's own did that no step may do.
    misdone: tuple[str, ...] = ()
    #: Where to look at it, or why there is no page.
    report: str = ""
    #: On several GPUs: why some processes did not come to their end, and the worst exit code.
    broken: tuple[str, ...] = ()
    code: int = 0

    @property
    def elsewhere(self) -> int:
        """How many videos were found that are of other parts."""
        return self.stats.get(ELSEWHERE, 0)


def run(options: Options, runner_arguments: Sequence[str] = (), progress: bool = False) -> Ran:
    """Curate from beginning to end. Raises when the run as a whole cannot be done."""
    options.check()
    if options.streams:
        if not ends_with_us(options.runner, runner_arguments):
            given = "--watch" if options.subscription is None else "--subscription"
            raise OptionError(
                f"{given} never ends: use finecut launch instead of curate, or leave it out"
            )
        # Google's Pub/Sub takes a second to import, and most runs need none.
        from finecut.pipeline.streaming import stream

        with standing(fence_of(options)):
            _greet((*options.input, options.output))
            stream(options, runner_arguments, progress)
    if gpus := gpus_of(options):
        return _run_on(gpus, options, runner_arguments, progress)
    with standing(fence_of(options)):
        return _run(options, runner_arguments, progress)


def _run_on(
    gpus: Sequence[str], options: Options, runner_arguments: Sequence[str], progress: bool
) -> Ran:
    began = time.monotonic()
    shown = run_line(usual_costs(options), counted_clips(options))
    did = run_on(gpus, options, runner_arguments, shown if progress else None)
    seconds = time.monotonic() - began
    return Ran(
        did.summary,
        seconds,
        dict(did.stats),
        misdone=tuple(dict.fromkeys(did.misdone)),
        report=did.report,
        broken=tuple(did.broken),
        code=did.code,
    )


def _run(options: Options, runner_arguments: Sequence[str], progress: bool) -> Ran:
    _greet((*options.input, options.output))
    check_inputs(options.input, access_of(options))
    if options.watch is not None:
        check_watchable(options.input)
    check_apart(options.input, options.output)
    steps = plan(options)
    began, started = time.monotonic(), time.time()
    writing, sweep_sheets = steps.writing, steps.cutting.looking.sweep
    with ExitStack() as at_work:
        engine = at_work.enter_context(
            engine_for(options.runner, options.local_workers, runner_arguments)
        )
        if engine.in_process:
            require_encoder(steps.cutting.encoding)
            require_decoder(steps.cutting.decoder)
        at_work.enter_context(given_up_by(sweep_sheets, engine.ends_with_us))
        at_work.callback(sweep_sheets)
        at_work.callback(copies.sweep)
        at_work.enter_context(
            occupying(
                writing.shelf,
                "--output",
                ends_with_us=engine.ends_with_us,
                configuration=writing.configuration,
                spread=options.part is not None,
                watches="" if options.watch is None else watch_key(options),
            )
        )
        if not writing.dry_run:
            refuse_other_layout(writing.layout)
            decide(writing.layout, writing.shelf)
        if is_half_forgotten(writing.layout.root):
            LOG.error("%s", HALF_FORGOTTEN.format(writing.layout.root))
        if engine.in_process:
            prepare(options, steps)
        else:
            steps = within_reach(steps, options)
        tallies = Tallies(writing.shelf.staging, wanted=not engine.in_process)
        job = Job(options, steps, engine, tallies)
        if options.watch is not None:
            return _watched(job, started, progress)
        shown = run_line(usual_costs(options), counted_clips(options))
        at_work.enter_context(Progress(progress, line=shown, read=tallies))
        profiler = at_work.enter_context(Profiler()) if options.profile else None
        summary, stats = _run_all(job)
        misdone = tuple(lost_by(steps.own, stats))
        ran = Ran(summary, time.monotonic() - began, stats, misdone=misdone)
        # Also of a part that happens to be empty: finecut summary misses those that have not ended.
        if summary.videos_found or ran.elsewhere:
            _compact(job)
            path = _kept(job, ran, started)
            if profiler is not None:
                write_profile(steps, profiler.profile(), started)
            ran = ran._replace(path=path, report=_report(job, summary))
    return ran


def _kept(job: Job, ran: Ran, started: float) -> str:
    """Where it is written down what a run did."""
    document = run_document(
        job.options,
        ran.summary,
        seconds=ran.seconds,
        stats=ran.stats,
        started=started,
        writing=job.steps.writing,
    )
    declared = [score for step in job.steps.own for score in step.declared]
    if titles := {score.name: score.title for score in declared if score.title}:
        document["titles"] = titles
    return write_document(job.steps, document, started)


def _watched(job: Job, started: float, progress: bool) -> Ran:
    """What a run without an end did when it was told to stop."""
    options, steps = job.options, job.steps
    ran = Ran(Summary(), 0.0, {})
    stats = Counter[str]()

    def curate(sources: Sequence[Source]) -> Batch:
        shown = run_line(usual_costs(options), counted_clips(options))
        with Progress(progress, line=shown, passing=True):
            BOARD.add("videos found", len(sources))
            return run_one(beam.Create(sources), job, stats)

    def keep(summary: Summary, seconds: float) -> None:
        nonlocal ran
        ran = Ran(summary, seconds, dict(stats), misdone=tuple(lost_by(steps.own, stats)))
        ran = ran._replace(path=_kept(job, ran, started))

    _begin_catalogue(steps)
    watch(options, steps, Work(curate, keep, lambda: _report(job, ran.summary)))
    _compact(job)
    return ran


def _compact(job: Job) -> None:
    """Make tables of the rows that this run noted; on a cluster, its pipeline does that."""
    writing = job.steps.writing
    if job.engine.in_process and not writing.dry_run:
        compact(writing.layout, writing.shelf)


def counted_clips(options: Options) -> str:
    """What is counted as a clip: a file that lies there, or where none is written, what was cut."""
    return CUT if options.dry_run or options.no_upload_clips else WRITTEN


def _greet(uris: Iterable[str]) -> None:
    try:
        greet(uris)
    except StoreAway as error:
        raise RunError(str(error)) from error


def _report(job: Job, summary: Summary) -> str:
    """Make the page where there is something new to look at; a run without it is a run, too.

    Of a bucket it would have to read again all that was written.
    """
    options, steps = job.options, job.steps
    unwanted = options.no_report or options.dry_run or not job.engine.ends_with_us
    unwanted = unwanted or not summary.videos_found
    if unwanted or shelf.is_remote(options.output):
        return ""
    nothing_new = summary.videos_skipped == summary.videos_found and not summary.videos_retold
    isolated = not options.no_isolation
    layout, own = steps.writing.layout, steps.writing.shelf
    return report_of_run(layout, own, nothing_new, isolated=isolated)


def prepare(options: Options, steps: Plan) -> None:
    """Load what splitting needs, and find what models need, before any work is done."""
    where = options.model_dir
    if where is not None and not shelf.is_remote(where) and not shelf.is_folder(where):
        raise OptionError(
            f"--model-dir {where} is not a folder: give the folder that contains the models"
        )
    check_scratch(options, steps)
    steps.splitting.cutter.prepare()
    for name, needs in needs_of(options, steps):
        for missing in needs.missing():
            raise OptionError(f"the step {name} cannot work: {missing}")
    for scoring, _ in steps.scorings:
        scoring.require()
    for step in steps.own:
        if isinstance(step.transform, EachClip):
            loaded(step)
    for work in steps.works.values():
        work.require()
        if not steps.writing.dry_run:
            work.check_output(steps.writing.layout)


def check_scratch(options: Options, steps: Plan) -> None:
    """A place for sheets that cannot be used is known before the work, too."""
    looking = steps.cutting.looking
    if looking.sheet is not None and options.scratch_mb and not looking.scratch.is_usable():
        raise OptionError(
            f"--scratch {options.scratch or '(the system folder for temporary files)'} cannot be "
            "written to: give a folder on this machine, or --scratch-mb 0 to do without one"
        )


def _run_all(job: Job) -> tuple[Summary, dict[str, int]]:
    """The whole run: one pipeline on a cluster, one for each batch of videos here."""
    steps, engine, tallies = job.steps, job.engine, job.tallies
    lines: list[str] = []
    total, stats = Summary(), Counter[str]()
    tried: Container[str] = ()
    for begin, tried in _beginnings(job, stats):
        done = run_one(begin, job, stats)
        total += done.summary
        if not engine.is_local:
            counted = total.shots_kept + total.shots_rejected
            tallies.known = {counted_clips(job.options): counted}
        lines += done.failures
        if engine.in_process:
            list_failures(steps, lines, tried)
    if not lines and engine.in_process:
        # Also where no video was found: a list says what is wrong now.
        list_failures(steps, lines, tried)
    return total, dict(stats) if engine.is_local else tallies()


def _beginnings(
    job: Job, stats: Counter[str]
) -> Iterator[tuple[beam.PTransform[Any, Any], Container[str]]]:
    """How each pipeline begins, and the names of all videos that are tried until it has ended."""
    options, steps = job.options, job.steps
    part = steps.finding.part
    if not options.is_local:
        _begin_catalogue(steps)
        yield FindVideos(steps.finding), part
        return
    found = find_sources(steps.finding)
    # Of all parts: a mistake in the list is one, whoever has the videos.
    _check_cuts(found, steps)
    sources = [source for source in found if source.name in part]
    stats[ELSEWHERE] = len(found) - len(sources)
    # A list on this disk may name films on a store; the command line did not.
    _greet(source.uri for source in sources)
    BOARD.add("videos found", len(sources))
    if sources:
        _begin_catalogue(steps)
    tried: set[str] = set()
    kept = of_run(steps.writing.shelf.staging)  # what is read ahead stays until it is used
    first = first_batch(len(sources), options.dealt_among) if steps.watches_films else 0
    for batch in batches_of(weighed(sources, steps), BATCH_VIDEOS, BATCH_BYTES, first):
        tried.update(source.name for source in batch)
        yield beam.Create(batch), tried
    del kept


def _begin_catalogue(steps: Plan) -> None:
    if not steps.writing.dry_run:
        begin_catalogue(steps.writing.layout, steps.writing.shelf)


def _check_cuts(sources: Sequence[Source], steps: Plan) -> None:
    """A list of cuts that speaks of other videos than these is a mistake, not an empty list."""
    cutter = steps.splitting.cutter
    if not isinstance(cutter, GivenCuts) or not sources:
        return
    given = sum(cutter.listed(source) is not None for source in sources)
    if not given:
        named = next(iter(cutter.cuts), "no video at all")
        raise OptionError(
            f"--cuts lists {named}, but none of the {len(sources)} videos that were found: name "
            f"videos by their path below the input, such as {sources[0].relative}"
        )
    if given < len(sources):
        # One mistyped name among many would go unnoticed otherwise.
        LOG.error("--cuts has times for %d of %d videos", given, len(sources))
