"""An encoder's threads wait for their turn, like everybody's.

SVT-AV1 makes its threads real-time threads where it may, as root may, and with them the thread that
opens it, for good. Then nothing else runs on their cores: no other worker, no progress, no Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import threading
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
    before = _policies()
    usual = before[threading.get_native_id()]
    try:
        context.open()
    finally:
        for thread, policy in _policies().items():
            due = before.get(thread, usual)
            if _is_real_time(policy) and not _is_real_time(due):
                # It may have ended.
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setscheduler(thread, due, os.sched_param(0))


def _policies() -> dict[int, int]:
    """How each thread of this process is scheduled."""
    found = {}
    for entry in THREADS.iterdir():
        thread = int(entry.name)
        with contextlib.suppress(ProcessLookupError):
            found[thread] = os.sched_getscheduler(thread)
    return found


def _is_real_time(policy: int) -> bool:
    return policy in (os.SCHED_FIFO, os.SCHED_RR)
