"""The engines that pipelines run on, and what they say about themselves.

The local runner is Beam's in-process one (see :mod:`running`); every other one is named by the
user.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult, create_runner
from apache_beam.utils import thread_pool_executor

from finecut.io.storage.publishing import Shelf
from finecut.pipeline.choices.running import LOCAL, LOCAL_RUNNERS
from finecut.pipeline.cli.stopping import interruptible
from finecut.pipeline.engines import ends_with_us, in_process, is_our_prism, prism
from finecut.pipeline.options import OptionError
from finecut.transforms.beam.guard import attempted
from finecut.transforms.beam.metrics import NAMESPACE


def _new_threads() -> None:
    """Beam keeps idle threads for later work. A copy of this process has their names only."""
    pool = thread_pool_executor._SharedUnboundedThreadPoolExecutor()
    thread_pool_executor._SHARED_UNBOUNDED_THREAD_POOL_EXECUTOR = pool


os.register_at_fork(after_in_child=_new_threads)

View = TypeVar("View", bound=PipelineOptions)

DATAFLOW = "DataflowRunner"
#: Runners that work on this machine, by the names of their classes.
LOCAL_CLASSES = (*LOCAL_RUNNERS, "SwitchingDirectRunner", "BundleBasedDirectRunner", "PrismRunner")


class EngineOptions(PipelineOptions):
    """Beam's options, each view of which is made once.

    Beam looks at them hundreds of times while it builds a pipeline, and makes a parser of arguments
    each time: a quarter of a second of a short run. Views share what they show, so one is enough.
    """

    def view_as(self, cls: type[View]) -> View:
        views: dict[type[Any], Any] = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        view: View = views[cls]
        return view

    def __getstate__(self) -> dict[str, Any]:
        # Like Beam's own, without the views.
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_views", None)
        return state


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
def engine_for(runner: str, workers: int, arguments: Sequence[str] = ()) -> Iterator[Engine]:
    """The engine that the options name, for as long as the block lasts."""
    known = {
        "ends_with_us": ends_with_us(runner, arguments),
        "in_process": in_process(runner, arguments),
    }
    if runner in LOCAL_RUNNERS:
        yield Engine(runner, local_arguments(workers), **known)
    elif is_our_prism(runner, arguments):
        with prism.at_work(arguments) as there:
            yield Engine(runner, there.arguments, there.last_words, **known)
    else:
        check_runner(runner, arguments)
        yield Engine(runner, [f"--runner={runner}", *arguments])


def run_pipeline(
    build: Callable[[beam.Pipeline], object], engine: Engine, own: Shelf
) -> PipelineResult:
    """Run what ``build`` adds to a pipeline, and wait for its end.

    ``own`` is a shelf of this run that its workers reach, too.
    """
    pipeline = new_pipeline(EngineOptions(list(engine.arguments)), engine.runner)
    build(pipeline)
    if not engine.is_local:
        from finecut.pipeline.elsewhere import finish_elsewhere  # it says what went wrong as we do

        return finish_elsewhere(pipeline, engine, own)
    result: PipelineResult = interruptible(pipeline.run)
    result.wait_until_finish()
    return result


def new_pipeline(options: PipelineOptions, runner: str) -> beam.Pipeline:
    """A pipeline with these options, if its engine needs no others."""
    try:
        return beam.Pipeline(options=options)
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
        from finecut.io.storage.gcs import may_have_credentials  # installed, or the runner were not

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
    stats: dict[str, int] = {}
    for counter in counters:
        name = counter.key.metric.name
        stats[name] = stats.get(name, 0) + int(counter.result)
    return stats


def stats_or_none(result: PipelineResult) -> dict[str, int]:
    """The same of a run that has not ended; not every engine tells, and none has to be up."""
    stats = attempted(lambda: stats_of(result))
    return {} if isinstance(stats, Exception) else stats
