"""An encoder's threads wait for their turn, like everybody's.

SVT-AV1 makes its threads real-time threads where it may, as root may, and with them the thread that
opens it, for good. Then nothing else runs on their cores: no other worker, no progress, no Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from av.codec.context import CodecContext

REAL_TIME_ENCODER = "libsvtav1"
#: One entry for each thread of this process; Linux has it.
THREADS = Path("/proc/self/task")


def opened(context: CodecContext) -> None:
    """Open this encoder, whose threads are all made now."""
    if context.codec.name != REAL_TIME_ENCODER or not THREADS.exists():
        context.open()
        return
    before = set(_real_time())
    try:
        context.open()
    finally:
        for thread in set(_real_time()) - before:
            # It may have ended.
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _real_time() -> Iterator[int]:
    """The threads that others have to wait for."""
    for entry in THREADS.iterdir():
        with contextlib.suppress(ProcessLookupError):
            if os.sched_getscheduler(int(entry.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                yield int(entry.name)
