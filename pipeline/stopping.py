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

#: Threads may still be writing when the folder is swept; they are given so many chances to lose.
SWEEPS = 5
PAUSE = 0.05


@contextlib.contextmanager
def stopping(sweep: Callable[[], None] | None = None, wanted: bool = True) -> Iterator[None]:
    """Within, a signal sweeps what is staged and ends the process (130 or 143).

    Final names only ever hold whole files, so there is nothing to finish: the worker threads need
    not be asked, and none of them can hold the process back.
    """
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        sys.stderr.write(
            "\nfinecut: stopped. Every file that was written is whole; "
            "the same command begins anew.\n"
        )
        sys.stderr.flush()
        if sweep is not None:
            for _ in range(SWEEPS):
                sweep()
                time.sleep(PAUSE)
        os._exit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
