"""What a child does: it works on one task after the other, and sends what they yield to the parent.

parent   ──── pickled tasks ───▶   child
         ◀─ D data │ B beat │ E end │ X error ─   each a kind, a length and the bytes
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

#: What a child sends begins with one of these.
DATA, BEAT, END, BROKE = b"D", b"B", b"E", b"X"
HEAD: Final = struct.Struct(">cI")
#: A frame that claims to be longer is nonsense, and not worth the memory.
LONGEST_FRAME: Final = 64 << 20

#: Of ``<linux/prctl.h>``.
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
#: When a machine runs out of memory, the kernel takes the child and not the worker.
OOM_SCORE: Final = "500"


class _Line:
    """A child's line to the parent; every other process has none."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        #: When the next beat is due.
        self.due = 0.0
        self._lock = threading.Lock()

    def send(self, kind: bytes, body: bytes = b"") -> None:
        assert self.socket is not None
        if len(body) > LONGEST_FRAME:
            raise ValueError(
                f"a child may yield at most {LONGEST_FRAME} bytes at once, not {len(body)}: "
                "yield less, more often"
            )
        try:
            with self._lock:
                self.socket.sendall(HEAD.pack(kind, len(body)) + body)
        except OSError:
            os._exit(0)  # nobody listens any more
        self.due = time.monotonic() + 1


_LINE = _Line()


def beat() -> None:
    """Show that the work is getting on; long loops call it often, since it costs nearly nothing.

    In a process that is no child it does nothing.
    """
    if _LINE.socket is not None and time.monotonic() >= _LINE.due:
        _LINE.send(BEAT)


def live(line: socket.socket, server: int, pipe: tuple[int, int]) -> NoReturn:
    """The whole life of a child that this server forked; the pipe is the server's."""
    code = 1
    try:
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(PR_SET_NAME, b"finecut-child")
        if os.getppid() == server:  # it may have died before it was asked
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in pipe:
                os.close(number)
            with contextlib.suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
            _limit(resource.RLIMIT_CORE, 0)
            _LINE.socket = line
            tasks = line.makefile("rb")
            while _has_more(tasks):
                _work(tasks)
            code = 0
    finally:
        os._exit(code)


def _has_more(tasks: Any) -> bool:
    """Whether the parent has another task; waits until that is known."""
    with contextlib.suppress(OSError):
        return bool(tasks.peek(1))
    return False


def _work(tasks: BinaryIO) -> None:
    """Do the next task. An error is sent to the parent before the child ends with it."""
    try:
        function, args, limits = pickle.load(tasks)
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_DATA, limits.memory_mb << 20)
        _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + limits.cpu_seconds))
        _LINE.send(BEAT)
        for data in function(*args):
            _LINE.send(DATA, data)
        del function, args
        _LINE.send(END, _resident_mb().to_bytes(4, "big"))
    finally:
        error = sys.exc_info()[1]
        if error is not None:
            message = f"{type(error).__name__}: {error}"[:1000]
            _LINE.send(BROKE, message.encode(errors="replace"))


def _limit(which: int, most: int) -> None:
    """Only the soft limit: the next task may need another."""
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most if hard < 0 else min(most, hard), hard))


def _resident_mb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20
