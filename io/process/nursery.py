"""The parent's side: the fork server as a nursery, its children, and the lines to each of them."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, Final

from finecut.io.process.child import BEAT, BROKE, DATA, END, HEAD, LONGEST_FRAME

#: A child is not used for ever: what libraries leak, and what a film may have left, goes with it.
TASKS_OF_A_CHILD: Final = 50
MOST_KEPT_MB: Final = 768

#: Seconds: to import everything, to be forked, to be dead after a kill.
TO_BEGIN, TO_FORK, TO_DIE = 120.0, 60.0, 10.0

#: The server has one thread, or forking is not safe: these start none, and reserve no gigabyte of
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
    "from finecut.io.process.child import serve; "
    "serve(int(sys.argv[2]), json.loads(sys.argv[3]))"
)


class ChildDied(Exception):
    """A task that did not come to its end; the message says what ended it and what to do."""


class Nonsense(Exception):
    """What comes from a child is none of its frames."""


class Child:
    """The parent's end of one child."""

    def __init__(self, nursery: "Nursery", number: int, line: socket.socket) -> None:
        self.nursery, self.number, self.line = nursery, number, line
        self.tasks = self.kept_mb = 0

    def give(self, task: bytes, seconds: float) -> None:
        self.line.settimeout(seconds)
        self.line.sendall(task)

    def receive(self, seconds: float) -> tuple[bytes, bytes]:
        """The next frame, whole within this time; else a ``TimeoutError``, or an ``OSError``."""
        until = time.monotonic() + seconds
        kind, length = HEAD.unpack(self._exactly(HEAD.size, until))
        if kind not in {DATA, BEAT, END, BROKE} or length > LONGEST_FRAME:
            raise Nonsense
        return kind, self._exactly(length, until)

    def _exactly(self, length: int, until: float) -> bytes:
        got = bytearray(length)
        left = memoryview(got)
        while left:
            self.line.settimeout(max(1e-3, until - time.monotonic()))
            count = self.line.recv_into(left)
            if not count:
                raise ConnectionError
            left = left[count:]
            if left and time.monotonic() > until:
                raise TimeoutError
        return bytes(got)

    def kill(self) -> None:
        """From any thread: whoever waits for it learns that it is gone."""
        self.nursery.ask({"kill": self.number})

    def is_quiet(self) -> bool:
        """Whether nothing has come while nothing was asked, not even its end."""
        poll = select.poll()
        poll.register(self.line, select.POLLIN)
        return not poll.poll(0)


class Nursery:
    """The parent's view of the process that forks: its children, which are idle, how each ended."""

    def __init__(self, modules: Iterable[str]) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            given = [json.dumps(sys.path), str(theirs.fileno()), json.dumps([*modules])]
            self.process = subprocess.Popen(
                [sys.executable, "-c", BEGIN, *given],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=QUIET | os.environ | ALONE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C at a terminal is for its parent to hear
            )
        self.gone = False
        self.lines: dict[int, socket.socket] = {}
        self._news = threading.Condition()
        self._answer: dict[str, Any] | None = None
        self._ended: dict[int, int] = {}
        self._idle: list[Child] = []
        self._last = 0
        threading.Thread(target=self._listen, name="finecut-nursery", daemon=True).start()

    def begin(self) -> None:
        """Wait until it has imported everything."""
        self._await_answer(TO_BEGIN, "it could not import what it needs, or was killed")

    def take(self) -> Child:
        """An idle child, or a new one. One thread at a time may ask."""
        while True:
            with self._news:
                child = self._idle.pop() if self._idle else None
            if child is None:
                return self._fork()
            if child.is_quiet():
                return child
            self._forget(child)

    def keep(self, child: Child) -> None:
        """For the next task, unless it has done enough."""
        with self._news:
            fresh = child.tasks < TASKS_OF_A_CHILD and child.kept_mb < MOST_KEPT_MB
            if fresh and not self.gone:
                self._idle.append(child)
                return
        self._forget(child)

    def discard(self, child: Child) -> None:
        """Kill the child if it lives, and wait for it."""
        if child.number in self.lines:
            child.kill()
            self.status_of(child)
            self._forget(child)

    def status_of(self, child: Child) -> int | None:
        """How it ended, as ``os.waitpid`` gives it; ``None`` if it does not end soon."""
        with self._news:
            self._news.wait_for(lambda: self.gone or child.number in self._ended, TO_DIE)
            return self._ended.get(child.number)

    def kill(self) -> None:
        """The kernel kills its children."""
        self.gone = True
        self.process.kill()

    def ask(self, what: dict[str, int], *lines: socket.socket) -> None:
        with contextlib.suppress(OSError):  # whoever waits for the answer learns that it is gone
            numbers = [line.fileno() for line in lines]
            socket.send_fds(self.control, [json.dumps(what).encode()], numbers)

    def _fork(self) -> Child:
        self._last += 1
        mine, theirs = socket.socketpair()
        self.lines[self._last] = mine
        child = Child(self, self._last, mine)
        try:
            with theirs:
                self.ask({"fork": child.number}, theirs)
            self._await_answer(
                TO_FORK, "it was killed, or the machine has no room for another process"
            )
        except ChildDied:
            self._forget(child)
            raise
        return child

    def _forget(self, child: Child) -> None:
        """A child that waits for a task sees the end of its line, and goes."""
        child.line.close()
        with self._news:
            self.lines.pop(child.number, None)
            self._ended.pop(child.number, None)

    def _await_answer(self, seconds: float, why: str) -> None:
        with self._news:
            self._news.wait_for(lambda: self.gone or self._answer is not None, seconds)
            answer, self._answer = self._answer, None
        if answer is None:
            self.process.kill()  # an answer that came late would be taken for another's
            answer = {"error": "it is gone"}
        if "error" in answer:
            raise ChildDied(
                f"no child process could be started for this work ({answer['error']}): usually "
                f"{why}. Look above for what Python printed, and whether the machine is out of "
                "memory or processes."
            )

    def _listen(self) -> None:
        """In a thread of its own: note what the server reports, for all others."""
        with contextlib.suppress(OSError):
            while line := self.control.recv(1 << 16):
                message = json.loads(line)
                with self._news:
                    if "ended" not in message:
                        self._answer = message
                    elif message["ended"] in self.lines:
                        self._ended[message["ended"]] = message["status"]
                    self._news.notify_all()
        self.process.wait()
        with self._news:
            self.gone = True
            self._news.notify_all()
            idle, self._idle = self._idle, []
        for child in idle:
            self._forget(child)
        self.control.close()
