"""The process that forks children, and what a child does.

The fork server imported everything once, has one thread, and does no work:

control line   {"fork": 7} and the child's line ─▶   ◀─ {"born": pid} or {"error": …}
               {"kill": 7}                      ─▶   ◀─ {"ended": 7, "status": …}

A child works on one task after the other, and sends what they yield to the parent:

parent   ──── pickled tasks ───▶   child
         ◀─ D data │ B beat │ E end │ X error ─   each a kind, a length and the bytes
"""

import contextlib
import ctypes
import gc
import importlib
import json
import math
import os
import pickle
import resource
import select
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
#: Seconds after which the server checks again whether its parent is still there.
PARENT_CHECK: Final = 2.0


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


# ── the server ───────────────────────────────────────────────────────────────────────────────────


def serve(control_number: int, modules: list[str]) -> None:
    """Fork a child whenever the parent asks, and report how each ended."""
    control = socket.socket(fileno=control_number)
    control.set_inheritable(False)
    parent = os.getppid()
    gc.disable()  # nothing that is imported is garbage
    for module in modules:
        importlib.import_module(module)
    gc.enable()
    ctypes.CDLL(None)  # loaded before forking, not in every child
    pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(pipe[1], warn_on_full_buffer=False)
    gc.collect()
    gc.freeze()
    _send(control, {"ready": True})
    poll = select.poll()
    for number in (control.fileno(), pipe[0]):
        poll.register(number, select.POLLIN)
    children: dict[int, int] = {}
    while os.getppid() == parent:
        ready = {number for number, _ in poll.poll(PARENT_CHECK * 1000)}
        if pipe[0] in ready:
            os.read(pipe[0], 1 << 12)
        if control.fileno() in ready and not _obey(control, children, pipe):
            break
        _report_ended(control, children)
    # The kernel kills the children when this process is over.


def _obey(control: socket.socket, children: dict[int, int], pipe: tuple[int, int]) -> bool:
    """Do one thing that the parent asks for; whether there is a parent."""
    try:
        message, numbers, _, _ = socket.recv_fds(control, 1 << 16, 1)
    except OSError:
        return False
    if not message:
        return False
    asked = json.loads(message)
    if asked.get("kill") in children:
        os.kill(children[asked["kill"]], signal.SIGKILL)
    if "fork" in asked:
        with socket.socket(fileno=numbers[0]) as line:
            server = os.getpid()
            try:
                pid = os.fork()
            except OSError as error:
                _send(control, {"error": str(error)})
                return True
            if not pid:
                control.close()
                live(line, server, pipe)
            children[asked["fork"]] = pid
            _send(control, {"born": pid})
    return True


def _report_ended(control: socket.socket, children: dict[int, int]) -> None:
    for number, pid in list(children.items()):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            del children[number]
            _send(control, {"ended": number, "status": status})


def _send(control: socket.socket, what: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # without a parent, the next check ends it all
        control.send(json.dumps(what).encode())


# ── the child ────────────────────────────────────────────────────────────────────────────────────


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
            with contextlib.suppress(OSError):  # the parent is gone
                while tasks.peek(1):
                    _work(tasks)
            code = 0
    finally:
        os._exit(code)


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
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        _LINE.send(END, (pages * resource.getpagesize() >> 20).to_bytes(4, "big"))
    finally:
        error = sys.exc_info()[1]
        if error is not None:
            _LINE.send(BROKE, f"{type(error).__name__}: {error}"[:1000].encode(errors="replace"))


def _limit(which: int, most: int) -> None:
    """Only the soft limit: the next task may need another."""
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most if hard < 0 else min(most, hard), hard))
