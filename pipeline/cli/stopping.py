"""Stopping on request: what a run gives up, and the command that ends at once.

A run says how it is given up (:func:`given_up_by`). Who calls ``run()`` from a program of their own
hears Ctrl-C as ``KeyboardInterrupt``, after that was done (:func:`interruptible`); no handler of
signals is touched. The command itself is for nothing else: within :func:`stopping`, Ctrl-C and
SIGTERM give up all that is at work, and end the process at once.

A run without end is first asked to end (:func:`asked_to_end`): it finishes what it has begun. The
second signal is as ever.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, TypeVar

from finecut.io.process.children import kill_all

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Threads may still be writing when the folder is swept; each sweep is another chance to win.
SWEEPS = 5
PAUSE = 0.05
#: Seconds in which the threads of a run that was given up usually end. None of them can write
#: anything after, so one that is deep in a model's own code is not waited for.
TO_END: Final = 10.0

#: Seconds in which it is known whether a signal ends the process.
DECIDED: Final = 0.3

GiveUp = Callable[[], object]


#: How the runs of this process are given up, by the thread that waits for each.
_AT_WORK: list[tuple[int, GiveUp]] = []
#: How those without an end are asked to end; and those of them that have not been asked yet.
_ENDLESS: list[GiveUp] = []
_NOT_ASKED: list[GiveUp] = []
#: Whether the process is being stopped.
_STOPPING = threading.Event()
# In a copy of this process, none of its runs is at work.
for _runs in (_AT_WORK, _ENDLESS, _NOT_ASKED):
    os.register_at_fork(after_in_child=_runs.clear)


@contextlib.contextmanager
def given_up_by(give_up: GiveUp, wanted: bool = True) -> Iterator[None]:
    """Within, this is done when the work of this thread is interrupted or the process stopped.

    From any thread, and perhaps several times.
    """
    entry = (threading.get_ident(), give_up)
    if wanted:
        _AT_WORK.append(entry)
    try:
        yield
    finally:
        if wanted:
            # A copy of the process has forgotten it.
            with contextlib.suppress(ValueError):
                _AT_WORK.remove(entry)


@contextlib.contextmanager
def asked_to_end(ask: GiveUp) -> Iterator[None]:
    """Within, this is done at the first signal, by a thread of its own; the second one stops the
    process.
    """
    _ENDLESS.append(ask)
    _NOT_ASKED.append(ask)
    try:
        yield
    finally:
        for asked in (_ENDLESS, _NOT_ASKED):
            with contextlib.suppress(ValueError):
                asked.remove(ask)


def interruptible(work: Callable[[], T]) -> T:
    """What ``work`` gives, done by a thread of its own.

    So an exception that reaches the one that waits (``KeyboardInterrupt``, usually) finds nothing
    half done: what waits here gives up the work, sees its threads end, and lets it pass.
    """
    # Only now: the command line is answered without Beam, which tallies are kept with.
    from finecut.transforms.beam.guard import attempted

    outcome: list[T | Exception] = []
    # Not join(): interrupted once, Python 3.11 takes the thread for one that has ended.
    done = threading.Event()

    def do() -> None:
        try:
            outcome.append(attempted(work))
        finally:
            done.set()

    threading.Thread(target=do, name="finecut-run", daemon=True).start()
    ended = False
    try:
        done.wait()
        ended = True
    finally:
        if not ended:
            for thread, give_up in _AT_WORK:
                if thread == threading.get_ident():
                    give_up()
            done.wait(TO_END)
    [given] = outcome
    if isinstance(given, Exception):
        raise given
    return given


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Within, a signal gives up all that is at work and ends the process (130 or 143).

    Final names only ever hold whole files, so there is nothing to finish: the worker threads need
    not be asked, and none of them can hold the process back.

    The main thread waits for the runner in a lock most of the time, and Python calls signal
    handlers in that thread only; so the signal is heard through a pipe, by a thread of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    listener = threading.Thread(target=_listen, args=(ear,), daemon=True)
    listener.start()
    outer = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _park) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(outer)
        os.close(mouth)
        listener.join()
        os.close(ear)


def _listen(ear: int) -> None:
    while heard := os.read(ear, 1):
        if heard[0] in SIGNALS and not _ask():
            _STOPPING.set()
            _stop(heard[0])


def _ask() -> bool:
    """Whether there was a run that could be asked to end, and had not been."""
    asked = [*_NOT_ASKED]
    _NOT_ASKED.clear()
    for ask in asked:
        ask()
    return bool(asked)


def _park(_number: int, _frame: FrameType | None) -> None:
    """Keep the main thread from saying anything about a pipeline that falls apart; not from what it
    has begun, where a run is only asked to end.
    """
    ends = time.monotonic() + DECIDED
    # No waiting for the event: the main thread may be inside of it already.
    while _ENDLESS and not _STOPPING.is_set() and time.monotonic() < ends:
        time.sleep(0.01)
    if _STOPPING.is_set() or not _ENDLESS:
        time.sleep(60)


def _stop(number: int) -> None:
    sys.stderr.write(
        "\nfinecut: stopped. Every file that was written is complete; run the same command "
        "again to continue.\n"
    )
    sys.stderr.flush()
    runs = [give_up for _, give_up in _AT_WORK]
    if runs:
        kill_all(for_good=True)
        for give_up in runs:
            give_up()
        for _ in range(SWEEPS):
            time.sleep(PAUSE)
            for give_up in runs:
                give_up()
    os._exit(128 + number)
