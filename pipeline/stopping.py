"""Stopping on request: Ctrl-C and SIGTERM end a local run at once and leave nothing torn."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Threads may still be writing when the folder is swept; they are given so many chances to lose.
SWEEPS = 5
PAUSE = 0.05


@contextlib.contextmanager
def stopping(sweep: Callable[[], None] | None = None, wanted: bool = True) -> Iterator[None]:
    """Within, a signal sweeps what is staged and ends the process (130 or 143).

    Final names only ever hold whole files, so there is nothing to finish: the worker threads need
    not be asked, and none of them can hold the process back.

    The main thread waits for the runner in a lock most of the time, and Python calls signal
    handlers in that thread only; so the signal is heard through a pipe, by a thread of its own.
    """
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    listener = threading.Thread(target=_listen, args=(ear, sweep), daemon=True)
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


def _listen(ear: int, sweep: Callable[[], None] | None) -> None:
    while told := os.read(ear, 1):
        if told[0] in SIGNALS:
            _stop(told[0], sweep)


def _park(_number: int, _frame: FrameType | None) -> None:
    """Keep the main thread from saying anything about a pipeline that falls apart."""
    time.sleep(60)


def _stop(number: int, sweep: Callable[[], None] | None) -> None:
    sys.stderr.write(
        "\nfinecut: stopped. Every file written is whole; the same command goes on from there.\n"
    )
    sys.stderr.flush()
    if sweep is not None:
        sweep()
        for _ in range(SWEEPS):
            time.sleep(PAUSE)
            sweep()
    os._exit(128 + number)
