"""Children: processes that may crash, hang or swallow all memory without costing this one.

    this process ──control──▶ nursery ──fork──▶ child ─┐   the nursery imported everything once and
         ▲                       │                     │   has one thread, so a child begins within
         │  who died, of what ◀──┘                     │   milliseconds and shares its memory
         └───────────────── bytes, beats ◀─────────────┘

    for data in run_in_child(module.function, *args, limits=ChildLimits()):
        ...                       # the bytes that the generator function yields, one by one

What goes into a child is pickled: it comes from us. What comes out of it is bytes and never a
pickle: it comes from whoever made the video. A child is used again when its work ended well, and
killed in every other case. The nursery sees the end of its control line when this process dies,
however it dies, and the kernel kills the children when the nursery does.

Only Linux has all that this needs: ask :func:`possible`.
"""

from __future__ import annotations

import atexit
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
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn

from finecut.io.storage.halting import is_halted, when_halted

#: What a child says begins with one of these.
DATA, BEAT, END, BROKE = b"D", b"B", b"E", b"X"
HEAD: Final = struct.Struct(">cI")
TASK: Final = struct.Struct(">Q")
#: A frame that claims to be longer is nonsense, and not worth the memory.
LONGEST_FRAME: Final = 64 << 20
#: Below this, head and body are sent as one: copying costs less than a second call.
SHORT_FRAME: Final = 1 << 16

#: A child is not used for ever: what libraries leak, and what a film may have left, goes with it.
TASKS_OF_A_CHILD: Final = 50
MOST_KEPT_MB: Final = 768

#: Seconds: to import everything, to be forked, to be dead after a kill, to go in peace.
TO_BEGIN, TO_FORK, TO_DIE, TO_LEAVE = 120.0, 60.0, 10.0, 2.0
#: Seconds between two looks of the nursery whether its parent is still there.
LOOK_UP: Final = 2.0

STOPPED: Final = "the run is being stopped, so no more work is begun. Start it again."

#: Of ``<linux/prctl.h>``.
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
#: When a machine runs out of memory, the kernel shall take the child and not the worker.
OOM_SCORE: Final = "500"

#: The nursery has one thread, or forking is not safe: these start none, and reserve no gigabyte of
#: addresses that would count as the child's memory.
ALONE: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
#: SVT-AV1 prints its settings past FFmpeg's log; only its errors are of interest to a user.
QUIET: Final = {"SVT_LOG": "1"}
BEGIN: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from finecut.io.process.children import nurse; "
    "nurse(int(sys.argv[2]), json.loads(sys.argv[3]))"
)


@dataclass(frozen=True)
class ChildLimits:
    """What one task may take before it is ended."""

    #: Of data, in the whole process; the libraries take 70 of it.
    memory_mb: int = 4096
    #: Of all its threads together.
    cpu_seconds: float = 14400
    #: Without any sign of life: no data and no :func:`beat`.
    stall_seconds: float = 300
    #: Whose work it is: its children are killed when this run is halted (:mod:`halting`).
    run: str = ""


USUAL_LIMITS = ChildLimits()


class ChildDied(Exception):
    """A task that did not come to its end; the message says what ended it and what to do."""


def possible() -> bool:
    """Whether this system can run children."""
    return (
        sys.platform == "linux"
        and bool(sys.executable)
        and all(hasattr(socket, name) for name in ("AF_UNIX", "SOCK_SEQPACKET", "send_fds"))
        and hasattr(os, "fork")
    )


def preload(*modules: str) -> None:
    """Name modules that the next nursery imports before its first child."""
    _HERE.modules.update(dict.fromkeys(modules))


def start(*modules: str) -> None:
    """Begin the nursery now, while there is something else to do, so that nobody waits for it."""
    if possible():
        preload(*modules)
        threading.Thread(target=_HERE.begin, name="finecut-begin", daemon=True).start()


def run_in_child(
    function: Callable[..., Iterable[bytes]], *args: Any, limits: ChildLimits = USUAL_LIMITS
) -> Iterator[bytes]:
    """What ``function(*args)`` yields, made in another process, within limits.

    The function is a module's own, and everything is found there by its name. Its process works
    ahead of who asks, by as much as a socket holds. Asked no further, it is killed.
    """
    task = pickle.dumps((function, args, limits))
    if is_halted(limits.run):
        raise ChildDied(STOPPED)
    child = _HERE.take()
    well = False
    try:
        try:
            with when_halted(limits.run, child.kill):
                child.give(task, limits.stall_seconds)
                while True:
                    kind, body = child.hear(limits.stall_seconds)
                    if kind == END:
                        break
                    if kind == BROKE:
                        raise ChildDied(_broke(body))
                    if kind == DATA:
                        yield body
            child.tasks += 1
            child.kept_mb = int.from_bytes(body, "big")
            well = True
        except _Silent as silence:
            raise ChildDied(_end_of(child, silence, limits)) from None
    finally:
        child.nursery.keep(child) if well else child.nursery.discard(child)


def kill_all(for_good: bool = False) -> None:
    """Kill the nursery and all children now, from any thread, and wait for none of them.

    Who waits for one of them learns that it died. With ``for_good``, no other is begun after.
    """
    _HERE.closed = _HERE.closed or for_good
    nursery = _HERE.nursery
    if nursery is not None:
        nursery.killed = True
        nursery.process.kill()  # the kernel sees to the children


# ── what the parent knows ────────────────────────────────────────────────────────────────────────


class _Silent(Exception):
    """Nothing more comes from a child; ``why`` is 'gone', 'stalled' or 'nonsense'."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class _Child:
    """The parent's end of one child."""

    def __init__(self, nursery: _Nursery, number: int, line: socket.socket) -> None:
        self.nursery, self.number, self.line = nursery, number, line
        self.tasks = self.kept_mb = 0

    def give(self, task: bytes, seconds: float) -> None:
        with _silences():
            self.line.settimeout(seconds)
            self.line.sendall(TASK.pack(len(task)) + task)

    def hear(self, seconds: float) -> tuple[bytes, bytes]:
        """The next frame, whole within so many seconds."""
        until = time.monotonic() + seconds
        with _silences():
            kind, length = HEAD.unpack(self._exactly(HEAD.size, until))
            if kind not in {DATA, BEAT, END, BROKE} or length > LONGEST_FRAME:
                raise _Silent("nonsense")
            return kind, self._exactly(length, until)

    def _exactly(self, length: int, until: float) -> bytes:
        got = bytearray(length)
        left = memoryview(got)
        while left:
            self.line.settimeout(max(1e-3, until - time.monotonic()))
            count = self.line.recv_into(left)
            if not count:
                raise _Silent("gone")
            left = left[count:]
            if left and time.monotonic() > until:
                raise _Silent("stalled")
        return bytes(got)

    def kill(self) -> None:
        """From any thread: who waits for it hears that it is gone."""
        self.nursery._tell({"kill": self.number})

    def is_quiet(self) -> bool:
        """Whether nothing has come while nothing was asked, not even its end."""
        poll = select.poll()
        poll.register(self.line, select.POLLIN)
        return not poll.poll(0)


@contextlib.contextmanager
def _silences() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise _Silent("stalled") from None
    except OSError:
        raise _Silent("gone") from None


class _Nursery:
    """The parent's view of the process that forks: whom it has, who is idle, who died of what."""

    def __init__(self, modules: Iterable[str]) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    BEGIN,
                    json.dumps(sys.path),
                    str(theirs.fileno()),
                    json.dumps([*modules]),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=QUIET | os.environ | ALONE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C at a terminal is for its parent to hear
            )
        #: The one is known once it has been waited for, the other at once.
        self.gone = self.killed = False
        #: How many it has itself; more than one would make forking unsafe.
        self.threads = 0
        self.lines: dict[int, socket.socket] = {}
        self._news = threading.Condition()
        self._answer: dict[str, Any] | None = None
        self._ended: dict[int, int] = {}
        self._idle: list[_Child] = []
        self._last = 0
        threading.Thread(target=self._listen, name="finecut-nursery", daemon=True).start()

    def begin(self) -> None:
        """Wait until it has imported everything."""
        answer = self._await_answer(TO_BEGIN, "it could not import what it needs, or was killed")
        self.threads = int(answer["ready"])

    def take(self) -> _Child:
        """An idle child, or a new one. One thread at a time may ask."""
        while True:
            with self._news:
                child = self._idle.pop() if self._idle else None
            if child is None:
                return self._fork()
            if child.is_quiet():
                return child
            self._forget(child)

    def keep(self, child: _Child) -> None:
        """For the next task, unless it has done enough."""
        fresh = child.tasks < TASKS_OF_A_CHILD and child.kept_mb < MOST_KEPT_MB
        with self._news:
            if fresh and not self.gone:
                self._idle.append(child)
                return
        self._forget(child)

    def discard(self, child: _Child) -> int | None:
        """Kill the child if it lives; its status, if that becomes known."""
        if child.number not in self.lines:
            return None
        self._tell({"kill": child.number})
        status = self.status_of(child, TO_DIE)
        self._forget(child)
        return status

    def status_of(self, child: _Child, seconds: float) -> int | None:
        """How it ended (as ``os.waitpid`` says it); ``None`` if it has not."""
        with self._news:
            self._news.wait_for(lambda: self.gone or child.number in self._ended, seconds)
            return self._ended.get(child.number)

    def leave(self) -> None:
        """Let it go in peace: it takes its children along."""
        with contextlib.suppress(OSError):
            self.control.shutdown(socket.SHUT_RDWR)
        try:
            self.process.wait(TO_LEAVE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close_lines(self) -> None:
        """In a copy of the parent: these lines are not its own, and must not keep anyone alive."""
        for line in [self.control, *self.lines.values()]:
            line.close()

    def _fork(self) -> _Child:
        self._last += 1
        mine, theirs = socket.socketpair()
        self.lines[self._last] = mine
        child = _Child(self, self._last, mine)
        try:
            with theirs:
                self._tell({"fork": child.number}, theirs)
            self._await_answer(TO_FORK, "it was killed, or the machine has no room for a process")
        except ChildDied:
            self._forget(child)
            raise
        return child

    def _forget(self, child: _Child) -> None:
        """A child that waits for a task sees the end of its line, and goes."""
        child.line.close()
        with self._news:
            self.lines.pop(child.number, None)
            self._ended.pop(child.number, None)

    def _tell(self, what: dict[str, int], line: socket.socket | None = None) -> None:
        with contextlib.suppress(OSError):  # who waits for the answer learns that it is gone
            text = json.dumps(what).encode()
            socket.send_fds(self.control, [text], [] if line is None else [line.fileno()])

    def _await_answer(self, seconds: float, why: str) -> dict[str, Any]:
        with self._news:
            self._news.wait_for(lambda: self.gone or self._answer is not None, seconds)
            answer, self._answer = self._answer, None
        if answer is None or "error" in answer:
            said = "it is gone" if answer is None else answer["error"]
            if answer is None:
                self.process.kill()  # an answer that came late would be taken for another's
            raise ChildDied(
                f"no child process could be started for this work ({said}): usually {why}. Look "
                "above for what Python said, and whether the machine is out of memory or processes."
            )
        return answer

    def _listen(self) -> None:
        """A thread of its own hears what the nursery says, so that no other has to for all."""
        with contextlib.suppress(OSError):
            while message := self.control.recv(1 << 16):
                self._note(json.loads(message))
        self.process.wait()
        with self._news:
            self.gone = True
            self._news.notify_all()
            idle, self._idle = self._idle, []
        for child in idle:
            self._forget(child)
        self.control.close()

    def _note(self, message: dict[str, Any]) -> None:
        with self._news:
            if "ended" not in message:
                self._answer = message
            elif message["ended"] in self.lines:
                self._ended[message["ended"]] = message["status"]
            self._news.notify_all()


class _Here:
    """This process's nursery, begun when it is first needed."""

    def __init__(self) -> None:
        self.nursery: _Nursery | None = None
        self.modules: dict[str, None] = {}
        self.closed = False
        self._original: _Nursery | None = None
        self._lock = threading.Lock()

    def take(self) -> _Child:
        """A child that waits for a task. A nursery that died is begun again, once."""
        if not possible():
            raise ChildDied(
                "this system cannot run child processes as they are needed here, only Linux can. "
                "Do this work in the process itself, without limits."
            )
        with self._lock:
            for _ in range(2):
                nursery = self._begun()
                try:
                    return nursery.take()
                except ChildDied:
                    if not nursery.gone and not nursery.killed:
                        raise
            raise ChildDied(
                "the process that starts child processes was killed twice in a row. Usually the "
                "machine has run out of memory; take fewer workers, or a larger machine."
            )

    def begin(self) -> None:
        """Have a nursery. What goes wrong is told to who needs a child."""
        with contextlib.suppress(ChildDied), self._lock:
            self._begun()

    def _begun(self) -> _Nursery:
        if self.nursery is None or self.nursery.gone or self.nursery.killed:
            self._check_open()
            self.nursery = _Nursery(self.modules)
            if self.closed:
                self.nursery.process.kill()  # whoever closed us came too early to see it
            self.nursery.begin()
        self._check_open()
        return self.nursery

    def _check_open(self) -> None:
        if self.closed:
            raise ChildDied(STOPPED)

    def leave(self) -> None:
        """At the end of the process."""
        self.closed = True
        if self.nursery is not None:
            self.nursery.leave()

    def forget(self) -> None:
        """In a copy of this process: the nursery is not its own."""
        if self.nursery is not None:
            self.nursery.close_lines()
        # Not let go of: its process would seem to be left running.
        self._original, self.nursery, self._lock = self.nursery, None, threading.Lock()


_HERE = _Here()
atexit.register(_HERE.leave)
os.register_at_fork(after_in_child=_HERE.forget)


# ── sentences ────────────────────────────────────────────────────────────────────────────────────


def _broke(told: bytes) -> str:
    return f"the work in a child process broke off with {told.decode(errors='replace')}"


def _end_of(child: _Child, silence: _Silent, limits: ChildLimits) -> str:
    """The child is no more; a sentence that says why."""
    nursery = child.nursery
    if silence.why == "stalled":
        nursery.discard(child)
        return (
            f"the work gave no sign of life for {limits.stall_seconds:g} s and was ended. Usually "
            "a decoder hangs on a damaged file, or the disk or network it is read from does; "
            "re-encode the file, or allow more time."
        )
    if silence.why == "nonsense":
        nursery.discard(child)
        return (
            "the child process answered what makes no sense and was ended. Usually the file made "
            "its decoder write where it must not; do not trust the file, leave it out."
        )
    # It is about to end by itself: what ended it shall be heard before it is killed.
    status = nursery.status_of(child, TO_DIE)
    if status is None:
        if nursery.gone:
            return (
                "all child processes of this worker were ended, with the one that starts them. "
                "Usually the run was stopped, or the machine ran out of memory; if nobody stopped "
                "it, take fewer workers or a larger machine."
            )
        return "the child process left its line but did not end, and was given up. Try it again."
    return _death(status, limits)


def _death(status: int, limits: ChildLimits) -> str:
    if not os.WIFSIGNALED(status):
        return (
            f"the child process ended itself with code {os.waitstatus_to_exitcode(status)} in the "
            "midst of its work. Usually a library gave up on a file it could not bear; re-encode "
            "the file, or leave it out."
        )
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return (
            f"the work took more than {limits.cpu_seconds:g} s of processor time and was ended. "
            "Usually the file claims sizes it does not have, or it is very long; re-encode or "
            "split it, or allow more time."
        )
    if number == signal.SIGKILL:
        return (
            "the child process was killed from outside (SIGKILL). Usually the machine ran out of "
            "memory; take fewer workers, a larger machine, or lower the limit of memory."
        )
    known = number in {known.value for known in signal.Signals}
    name = signal.Signals(number).name if known else f"signal {number}"
    return (
        f"the child process crashed ({name}). Usually a damaged or hostile file met an error in "
        "FFmpeg; re-encode the file with another program, or leave it out."
    )


# ── what the nursery does ────────────────────────────────────────────────────────────────────────


def nurse(control_number: int, modules: Iterable[str]) -> None:
    """The nursery: fork a child for everyone who asks, and tell how each ended."""
    control = socket.socket(fileno=control_number)
    control.set_inheritable(False)
    parent = os.getppid()
    gc.disable()  # nothing that is imported is garbage
    for module in modules:
        importlib.import_module(module)
    gc.enable()
    ctypes.CDLL(None)  # loaded before forking, not in every child
    ear, mouth = os.pipe()
    os.set_blocking(ear, False)
    os.set_blocking(mouth, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    gc.collect()
    gc.freeze()
    _say(control, {"ready": len(list(Path("/proc/self/task").iterdir()))})
    poll = select.poll()
    for number in (control.fileno(), ear):
        poll.register(number, select.POLLIN)
    children: dict[int, int] = {}
    while os.getppid() == parent:
        ready = {number for number, _ in poll.poll(LOOK_UP * 1000)}
        if ear in ready:
            os.read(ear, 1 << 12)
        if control.fileno() in ready and not _do(control, children, (ear, mouth)):
            break
        _bury(control, children)
    for pid in children.values():
        os.kill(pid, signal.SIGKILL)
    for pid in children.values():
        os.waitpid(pid, 0)


def _do(control: socket.socket, children: dict[int, int], pipe: tuple[int, int]) -> bool:
    """One thing that the parent asks for; whether there is a parent."""
    try:
        message, numbers, _, _ = socket.recv_fds(control, 1 << 16, 1)
    except OSError:
        return False
    if not message:
        return False
    asked = json.loads(message)
    if "kill" in asked and asked["kill"] in children:
        os.kill(children[asked["kill"]], signal.SIGKILL)
    if "fork" in asked:
        line = socket.socket(fileno=numbers[0])
        nursery = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            _say(control, {"error": str(error)})
        else:
            if not pid:
                control.close()
                _live(line, nursery, pipe)
            children[asked["fork"]] = pid
            _say(control, {"born": pid})
        line.close()
    return True


def _bury(control: socket.socket, children: dict[int, int]) -> None:
    """Wait for those that ended, and tell of what."""
    for number, pid in list(children.items()):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            del children[number]
            _say(control, {"ended": number, "status": status})


def _say(control: socket.socket, what: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # without a parent, the next look ends it all
        control.send(json.dumps(what).encode())


# ── what a child does ────────────────────────────────────────────────────────────────────────────


class _Mouth:
    """A child's way to say something to the parent; in every other process, it has no line."""

    def __init__(self) -> None:
        self.line: socket.socket | None = None
        self.due = 0.0
        self._lock = threading.Lock()

    def say(self, kind: bytes, body: bytes = b"") -> None:
        assert self.line is not None
        if len(body) > LONGEST_FRAME:
            raise ValueError(
                f"a child may yield {LONGEST_FRAME} bytes at once, not {len(body)}: yield less, "
                "and more often"
            )
        head = HEAD.pack(kind, len(body))
        try:
            with self._lock:
                if len(body) < SHORT_FRAME:
                    self.line.sendall(head + body)
                else:
                    self.line.sendall(head)
                    self.line.sendall(body)
        except OSError:
            os._exit(0)  # nobody listens any more
        self.due = time.monotonic() + 1


_MOUTH = _Mouth()


def beat() -> None:
    """Say that the work is getting on; loops that take long call it often. It costs nearly nothing.

    In a process that is no child it does nothing.
    """
    if _MOUTH.line is not None and time.monotonic() >= _MOUTH.due:
        _MOUTH.say(BEAT)


def _live(line: socket.socket, nursery: int, pipe: tuple[int, int]) -> NoReturn:
    """The whole life of a child."""
    code = 1
    try:
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(PR_SET_NAME, b"finecut-child")
        if os.getppid() == nursery:  # it may have died before it was asked
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in pipe:
                os.close(number)
            with contextlib.suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
            _limit(resource.RLIMIT_CORE, 0)
            _MOUTH.line = line
            while (task := _next_task(line)) is not None:
                with _Telling():
                    _work(task)
            code = 0
    finally:
        os._exit(code)


def _next_task(line: socket.socket) -> bytes | None:
    """What the parent wants done; ``None`` when it wants nothing more."""
    with contextlib.suppress(OSError):
        head = _whole(line, TASK.size)
        return None if head is None else _whole(line, TASK.unpack(head)[0])
    return None


def _whole(line: socket.socket, length: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < length:
        part = line.recv(min(length - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _work(task: bytes) -> None:
    function, args, limits = pickle.loads(task)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_DATA, limits.memory_mb << 20)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + limits.cpu_seconds))
    _MOUTH.say(BEAT)
    for data in function(*args):
        _MOUTH.say(DATA, data)
    del function, args
    _MOUTH.say(END, _resident_mb().to_bytes(4, "big"))


def _limit(which: int, most: int) -> None:
    """Only the soft limit: the next task may need another."""
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most if hard < 0 else min(most, hard), hard))


def _resident_mb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


class _Telling:
    """Tells the parent of an error before the child ends with it."""

    def __enter__(self) -> None:
        return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        if kind is not None:
            told = f"{kind.__name__}: {error}"[:1000]
            _MOUTH.say(BROKE, told.encode(errors="replace"))
