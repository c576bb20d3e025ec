"""Jobs on engines that run elsewhere: handed over, watched, and told of when they are given up.

An engine says what went wrong in words of its own, usually with the stacks of three programs. The
last line of them is the reason; all of it stands in the engine's log, and with ``--verbose`` here.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult, PipelineState

from finecut.io.errors import RunError
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.cli.own_process import Handler
from finecut.pipeline.engine import DATAFLOW, Engine
from finecut.pipeline.options import OptionError
from finecut.transforms.beam.guard import attempted

#: Seconds after which somebody should know that no worker has come. Dataflow's take minutes, and
#: its own page says so.
NO_WORKER: Final = 45.0
#: Seconds between two looks at an engine's log.
LOOK: Final = 1.0
#: What a service says in an answer that is JSON for the most part, or in gRPC's own words.
_MESSAGE: Final = re.compile(r'(?:"message": *|\bdetails = )"((?:[^"\\\n]|\\.)+)"')
_LETTER: Final = re.compile(r"[^\W\d_]")
#: What a lost connection is called; gRPC itself is imported only by who needs it.
LOST: Final = "RpcError"


class JobEnded(RunError):
    """A job that the engine gave up or never took: nothing of it is at work any more."""


#: After these nobody works on another machine, and what was staged is nobody's.
NOBODY_AT_WORK: Final = (JobEnded, OptionError)


def finish_elsewhere(pipeline: beam.Pipeline, engine: Engine, own: Shelf) -> PipelineResult:
    """Hand the job over, and wait for its end. ``own`` is reached from here and by the workers."""
    result = hand_over(pipeline, engine, own)
    wait_for(result, engine, own)
    attempted(lambda: own.remove(_sign(own)))
    return result


def hand_over(pipeline: beam.Pipeline, engine: Engine, own: Shelf) -> PipelineResult:
    """The job, as the engine took it; its first worker leaves a sign."""
    _ = (
        pipeline
        | "OneWorker" >> beam.Impulse()
        | "SaysItCame" >> beam.Map(partial(_came, own=own)).with_output_types(int)
    )
    return taken(pipeline, engine.runner)


def taken(pipeline: beam.Pipeline, runner: str) -> PipelineResult:
    """The job as it is, as the engine took it; a sentence if it does not."""
    with _said_once():
        result = attempted(pipeline.run)
        if isinstance(result, Exception):
            raise JobEnded(
                f"--runner {runner} did not accept the job ({reason_of(result)}). Usually no "
                "server answers at the endpoint in its options, the account lacks permission, or "
                "it cannot do what the options ask for: check whether it is running, and read "
                "its log. The job did not start; the output stays as it was"
            ) from result
    begun: PipelineResult = result
    return begun


def wait_for(result: PipelineResult, engine: Engine, own: Shelf) -> None:
    """Until the job has ended well; a sentence if it has not."""
    with ExitStack() as waiting:
        waiting.enter_context(_said_once())
        if engine.runner.rpartition(".")[2] != DATAFLOW:
            waiting.enter_context(_Waiting(engine, partial(shelf.exists, _sign(own))))
        ended = attempted(result.wait_until_finish)
        if isinstance(ended, Exception):
            raise _given_up(result, engine, ended) from ended


def _given_up(result: PipelineResult, engine: Engine, error: Exception) -> RunError:
    state = attempted(lambda: result.state)
    over = engine.ends_with_us or state in (PipelineState.FAILED, PipelineState.CANCELLED)
    reason = engine.last_words() or reason_of(error)
    what = "gave up on the job" if over else "stopped responding"
    return (JobEnded if over else RunError)(
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


class _Waiting:
    """Says that no worker has come, when none has for long or one died on its way, and that one
    came after all.
    """

    def __init__(self, engine: Engine, has_come: Callable[[], bool]) -> None:
        self._engine, self._has_come = engine, has_come
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="finecut-waiting", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _watch(self) -> None:
        until = time.monotonic() + NO_WORKER
        while not (words := self._engine.last_words()) and time.monotonic() < until:
            if self._ended.wait(min(LOOK, NO_WORKER)):
                return
        if attempted(self._has_come) is True:
            return
        last = f" ({words})" if words else ""
        here = "" if self._engine.ends_with_us else "; Ctrl-C ends only the waiting"
        sys.stderr.write(
            f"finecut: --runner {self._engine.runner} has the job, but no worker has started{last}"
            ". Usually the address of the workers (--environment_config) is wrong or cannot be "
            "reached from the runner, or their container does not start: the runner's log has "
            f"more. Still waiting{here}\n"
        )
        while not self._ended.wait(NO_WORKER):
            if attempted(self._has_come) is True:
                sys.stderr.write("finecut: a worker has started\n")
                return


@contextmanager
def _said_once() -> Iterator[None]:
    """What Beam logs, stack and all, is what comes as an error a moment later.

    Where that error leaves through here nothing is set back: Beam's other threads notice one by one
    that their connection is lost, and the next run shows logs as it wants them.
    """
    mine = [h for h in logging.getLogger().handlers if isinstance(h, Handler) and h.level]
    for handler in mine:
        handler.addFilter(_is_no_stack)
    before = threading.excepthook

    def hook(args: Any) -> None:
        if not mine or LOST not in {kind.__name__ for kind in args.exc_type.__mro__}:
            before(args)

    threading.excepthook = hook
    yield
    threading.excepthook = before
    for handler in mine:
        handler.removeFilter(_is_no_stack)


def _is_no_stack(record: logging.LogRecord) -> bool:
    return record.name != "root" and not record.name.startswith("apache_beam")
