"""The engines that pipelines run on: jobs are handed over, watched, and told of when given up.

The local runner is Beam's in-process one (see :mod:`running`); every other one is named by the
user. An engine says what went wrong in words of its own, usually with the stacks of three programs.
The last line of them is the reason; all of it stands in the engine's log, and with ``--verbose``
here.
"""

import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineState, create_runner
from apache_beam.utils import thread_pool_executor

from finecut.io.errors import RunError
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.choices.running import LOCAL, LOCAL_RUNNERS
from finecut.pipeline.cli.stopping import interruptible
from finecut.pipeline.engines import in_process, is_our_prism, prism
from finecut.pipeline.options import OptionError
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.metrics import NAMESPACE
from finecut.transforms.beam.weather import sentence_of


def _new_threads() -> None:
    """Beam keeps idle threads for later work. A copy of this process has their names only."""
    pool = thread_pool_executor._SharedUnboundedThreadPoolExecutor()
    thread_pool_executor._SHARED_UNBOUNDED_THREAD_POOL_EXECUTOR = pool


os.register_at_fork(after_in_child=_new_threads)

View = TypeVar("View", bound=PipelineOptions)

DATAFLOW = "DataflowRunner"
#: Runners that work on this machine, by the names of their classes.
LOCAL_CLASSES = (*LOCAL_RUNNERS, "SwitchingDirectRunner", "BundleBasedDirectRunner", "PrismRunner")


#: Beam's runner that reads streams in this process. By its own name: ``DirectRunner`` tries Prism
#: before it, which reads no Pub/Sub.
STREAMING_HERE: Final = ("--runner=BundleBasedDirectRunner", "--streaming")
#: Seconds after which somebody should know that no worker has come. Dataflow's take minutes, and
#: its own page says so.
NO_WORKER: Final = 45.0
#: Seconds between two looks at an engine's log.
LOOK: Final = 1.0
#: What a service says in an answer that is JSON for the most part, or in gRPC's own words.
_MESSAGE: Final = re.compile(r'(?:"message": *|\bdetails = )"((?:[^"\\\n]|\\.)+)"')
_LETTER: Final = re.compile(r"[^\W\d_]")


class EngineOptions(PipelineOptions):
    """Beam's options, each view of which is made once.

    Beam looks at them hundreds of times while it builds a pipeline, and makes a parser of arguments
    each time: a quarter of a second of a short run. Views share what they show, so one is enough.
    """

    def view_as(self, cls: type[View]) -> View:
        views: dict[type[Any], Any] = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]

    def __getstate__(self) -> dict[str, Any]:
        # Like Beam's own, without the views.
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_views"}


@dataclass(frozen=True)
class Engine:
    """An engine that can be given a job."""

    #: As the user named it.
    runner: str
    #: Beam's own.
    arguments: Sequence[str]
    #: What its log blames, when a job has been given up.
    last_words: Callable[[], str] = str
    ends_with_us: bool = False
    in_process: bool = False

    @property
    def is_local(self) -> bool:
        return self.runner in LOCAL_RUNNERS


@contextmanager
def engine_for(
    runner: str, workers: int, arguments: Sequence[str] = (), streams: bool = False
) -> Iterator[Engine]:
    """The engine that the options name, for as long as the block lasts."""
    if runner in LOCAL_RUNNERS and streams:
        yield Engine(runner, STREAMING_HERE, ends_with_us=True, in_process=True)
    elif runner in LOCAL_RUNNERS:
        yield Engine(runner, local_arguments(workers), ends_with_us=True, in_process=True)
    elif is_our_prism(runner, arguments):
        with prism.at_work(arguments) as there:
            inside = in_process(runner, arguments)
            yield Engine(
                runner,
                there.arguments,
                there.last_words,
                ends_with_us=True,
                in_process=inside,
            )
    else:
        check_runner(runner, arguments)
        yield Engine(runner, [f"--runner={runner}", *arguments])


def run_pipeline(build: Callable[[beam.Pipeline], object], engine: Engine, own: Shelf) -> None:
    """Run what ``build`` adds to a pipeline, and wait for its end.

    ``own`` is a shelf of this run that its workers reach, too.
    """
    pipeline = new_pipeline(engine.arguments, engine.runner)
    build(pipeline)
    if engine.is_local:
        interruptible(pipeline.run).wait_until_finish()
    else:
        wait_for(hand_over(pipeline, engine, own), engine, own)
        attempted(lambda: own.remove(_sign(own)))


def new_pipeline(arguments: Sequence[str], runner: str) -> beam.Pipeline:
    """A pipeline with these options, if its engine needs no others."""
    try:
        return beam.Pipeline(options=EngineOptions([*arguments]))
    except ValueError as error:
        _, _, told = str(error).partition("validations errors:")
        if not told:
            raise
        wrong = [line.strip().rstrip(".") for line in told.splitlines() if line.strip()]
        raise OptionError(
            f"--runner {runner} cannot be used like this ({'; '.join(wrong)}): give the runner's "
            "own options under its own names, such as --region=…, after those of finecut"
        ) from error


def runner_of(pipeline: beam.Pipeline) -> str:
    """The ``--runner`` that a pipeline has, whoever made it."""
    name = type(pipeline.runner).__name__
    return LOCAL if name in LOCAL_CLASSES else name


def check_runner(name: str, arguments: Sequence[str]) -> None:
    """Refuse a runner that cannot be had, before minutes are spent on finding out."""
    try:
        create_runner(name)
    except (ValueError, ImportError) as error:
        raise OptionError(
            f"--runner {name} is unknown or not installed: give local, or the name of a Beam "
            "runner such as DataflowRunner or FlinkRunner"
        ) from error
    if name.rpartition(".")[2] == DATAFLOW and "--no_auth" not in arguments:
        from finecut.io.storage.cloud.gcs import (
            may_have_credentials,  # installed, or the runner were not
        )

        if not may_have_credentials():
            raise OptionError(
                f"--runner {name} needs credentials, and there are none on this machine: run "
                "gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to "
                "the path of a key"
            )


def local_arguments(workers: int) -> list[str]:
    return [
        "--runner=FnApiRunner",
        "--direct_running_mode=in_memory",
        f"--direct_num_workers={workers}",
    ]


def stats_of(result: PipelineResult) -> dict[str, int]:
    if hasattr(result, "_metrics"):
        result._metrics = None  # a portable job's are asked for once, and shown for ever
    counters = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    stats = Counter[str]()
    for counter in counters:
        stats[counter.key.metric.name] += int(counter.result)
    return stats


def stats_or_none(result: PipelineResult) -> dict[str, int]:
    """The same of a run that has not ended; not every engine tells, and none has to be up."""
    stats = attempted(lambda: stats_of(result))
    return {} if isinstance(stats, Exception) else stats


# ── jobs that run elsewhere ──────────────────────────────────────────────────────────────────────


class JobEnded(RunError):
    """A job that the engine gave up or never took: nothing of it is at work any more."""


#: Of a job that asks for no machines.
NO_HINTS: Final[Mapping[str, str]] = {}
#: After these nobody works on another machine, and what was staged is nobody's.
NOBODY_AT_WORK: Final = (JobEnded, OptionError)


def hand_over(
    pipeline: beam.Pipeline, engine: Engine, own: Shelf, hints: Mapping[str, str] = NO_HINTS
) -> PipelineResult:
    """The job, as the engine took it; its first worker, one of those machines, leaves a sign."""
    came = beam.Map(partial(_came, own=own)).with_output_types(int)
    _ = pipeline | "OneWorker" >> beam.Impulse() | "SaysItCame" >> came.with_resource_hints(**hints)
    return taken(pipeline, engine.runner)


def taken(pipeline: beam.Pipeline, runner: str) -> PipelineResult:
    """The job as it is, as the engine took it; a sentence if it does not."""
    result = attempted(pipeline.run)
    if isinstance(result, Exception):
        raise JobEnded(
            f"--runner {runner} did not accept the job ({reason_of(result)}). Usually no server "
            "answers at the endpoint in its options, the account lacks permission, or it cannot "
            "do what the options ask for: check whether it is running, and read its log. The job "
            "did not start; the output stays as it was"
        ) from result
    return result


def wait_for(result: PipelineResult, engine: Engine, own: Shelf) -> None:
    """Until the job has ended well; a sentence if it has not."""
    with ExitStack() as waiting:
        if engine.runner.rpartition(".")[2] != DATAFLOW:
            waiting.enter_context(_waiting(engine, partial(shelf.exists, _sign(own))))
        ended = attempted(result.wait_until_finish)
        if isinstance(ended, Exception):
            raise _given_up(result, engine, ended) from ended


def _given_up(result: PipelineResult, engine: Engine, error: Exception) -> RunError:
    state = attempted(lambda: result.state)
    failed = state in (PipelineState.FAILED, PipelineState.CANCELLED)
    last = engine.last_words()
    if sentence := sentence_of(error) or sentence_of(last):
        kind = JobEnded if failed or engine.ends_with_us else RunError
        return kind(f"--runner {engine.runner} gave up on the job: {sentence}")
    reason = last or reason_of(error)
    what = "gave up on the job" if failed else "stopped responding"
    return (JobEnded if failed or engine.ends_with_us else RunError)(
        f"--runner {engine.runner} {what} ({reason}). Usually a worker died, most often from "
        "lack of memory, or its machine was taken away: the runner's log has more. Every file "
        "that was written is complete and stays; run the same command again to continue"
    )


def reason_of(error: BaseException) -> str:
    """The engine's own reason, in one line.

    >>> reason_of(RuntimeError("job-1 failed in state FAILED: Traceback\\n  at 1\\nworker gone."))
    'worker gone'
    >>> reason_of(OSError('403, content <{\\n "message": "may not",\\n "code": 7\\n}>'))
    'may not'
    """
    details = getattr(error, "details", None)  # of gRPC
    told = details() if callable(details) else str(error)
    if message := _MESSAGE.search(str(told or "")):
        return message[1].replace('\\"', '"').rstrip(".")
    lines = [line.strip() for line in str(told or "").splitlines() if _LETTER.search(line)]
    if lines:
        return lines[-1].rstrip(".")
    return "no answer in time" if "Timeout" in type(error).__name__ else type(error).__name__


def _sign(own: Shelf) -> str:
    return f"{own.staging}/worker"


def _came(_impulse: bytes, own: Shelf) -> int:
    return own.write(_sign(own), b"")


@contextmanager
def _waiting(engine: Engine, has_come: Callable[[], bool]) -> Iterator[None]:
    """Says that no worker has come, when none has for long or one died on its way, and that one
    came after all.
    """
    ended = threading.Event()

    def watch() -> None:
        until = time.monotonic() + NO_WORKER
        while not (words := engine.last_words()) and time.monotonic() < until:
            if ended.wait(min(LOOK, NO_WORKER)):
                return
        if attempted(has_come) is True:
            return
        last = f" ({words})" if words else ""
        here = "" if engine.ends_with_us else "; Ctrl-C ends only the waiting"
        sys.stderr.write(
            f"finecut: --runner {engine.runner} has the job, but no worker has started{last}. "
            "Usually the address of the workers (--environment_config) is wrong or cannot be "
            "reached from the runner, or their container does not start: the runner's log has "
            f"more. Still waiting{here}\n"
        )
        while not ended.wait(NO_WORKER):
            if attempted(has_come) is True:
                sys.stderr.write("finecut: a worker has started\n")
                return

    threading.Thread(target=watch, name="finecut-waiting", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
