"""Children: processes that may crash, hang or swallow all memory without costing this one.

    this process ──control──▶ nursery ──fork──▶ child ─┐   the nursery imported everything once and
         ▲                       │                     │   has one thread, so a child begins within
         │  which ended, how ◀──┘                     │   milliseconds and shares its memory
         └───────────────── bytes, beats ◀─────────────┘

    for data in run_in_child(module.function, *args, limits=ChildLimits()):
        ...                       # the bytes that the generator function yields, one by one

What goes into a child is pickled: it comes from us. What comes out of it is bytes and never a
pickle: it comes from whoever made the video. A child is used again when its work ended well, and
killed in every other case. The nursery sees the end of its control line when this process dies,
however it dies, and the kernel kills the children when the nursery does.

Only Linux has all that this needs: ask :func:`possible`.
"""

import atexit
import contextlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from finecut.io.process.child import BROKE, DATA, END
from finecut.io.process.nursery import Child, ChildDied, Nonsense, Nursery
from finecut.io.storage.fence import is_halted, when_halted

__all__ = [
    "USUAL_LIMITS",
    "ChildDied",
    "ChildLimits",
    "kill_all",
    "possible",
    "preload",
    "run_in_child",
    "start",
]

STOPPED: Final = "the run is being stopped, so no new work begins. Start it again."


@dataclass(frozen=True)
class ChildLimits:
    """What one task may take before it is ended."""

    #: Of data, in the whole process; the libraries take 70 of it.
    memory_mb: int = 4096
    #: Of all its threads together.
    cpu_seconds: float = 14400
    #: Without any sign of life: no data and no :func:`beat`.
    stall_seconds: float = 300
    #: Whose work it is: its children are killed when this run is halted (:mod:`fence`).
    run: str = ""


USUAL_LIMITS = ChildLimits()


def possible() -> bool:
    """Whether this system can run children."""
    return sys.platform == "linux" and bool(sys.executable)


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
    ahead of the caller, by as much as a socket holds. Asked no further, it is killed.
    """
    task = pickle.dumps((function, args, limits))
    if is_halted(limits.run):
        raise ChildDied(STOPPED)
    child = _HERE.take()
    well = False
    try:
        with when_halted(limits.run, child.kill):
            child.give(task, limits.stall_seconds)
            kind = b""
            while kind != END:
                kind, body = child.receive(limits.stall_seconds)
                if kind == BROKE:
                    raise ChildDied(
                        f"the work in a child process failed with {body.decode(errors='replace')}"
                    )
                if kind == DATA:
                    yield body
        child.tasks += 1
        child.kept_mb = int.from_bytes(body, "big")
        well = True
    except (OSError, Nonsense) as silence:
        raise ChildDied(_end_of(child, silence, limits)) from None
    finally:
        child.nursery.keep(child) if well else child.nursery.discard(child)


def kill_all(for_good: bool = False) -> None:
    """Kill the nursery and all children now, from any thread, and wait for none of them.

    Whoever waits for one of them learns that it died. With ``for_good``, no other is begun after.
    """
    _HERE.closed = _HERE.closed or for_good
    if _HERE.nursery is not None:
        _HERE.nursery.kill()


class _Here:
    """This process's nursery, begun when it is first needed."""

    def __init__(self) -> None:
        self.nursery: Nursery | None = None
        self.modules: dict[str, None] = {}
        self.closed = False
        self._original: Nursery | None = None
        self._lock = threading.Lock()

    def take(self) -> Child:
        """A child that waits for a task. A nursery that died is begun again, once."""
        if not possible():
            raise ChildDied(
                "this system cannot run the child processes that are needed here; only Linux "
                "can. Do this work in the process itself, without limits."
            )
        with self._lock:
            for _ in range(2):
                nursery = self._begun()
                try:
                    return nursery.take()
                except ChildDied:
                    if not nursery.gone:
                        raise
            raise ChildDied(
                "the process that starts child processes was killed twice in a row. Usually the "
                "machine has run out of memory. Use fewer workers, or a larger machine."
            )

    def begin(self) -> None:
        """Have a nursery. Whoever needs a child learns what goes wrong."""
        with contextlib.suppress(ChildDied), self._lock:
            self._begun()

    def _begun(self) -> Nursery:
        if self.nursery is None or self.nursery.gone:
            self._check_open()
            self.nursery = Nursery(self.modules)
            if self.closed:
                self.nursery.kill()  # whoever closed us came too early to see it
            self.nursery.begin()
        self._check_open()
        return self.nursery

    def _check_open(self) -> None:
        if self.closed:
            raise ChildDied(STOPPED)

    def leave(self) -> None:
        """At the end of the process."""
        kill_all(for_good=True)
        if self.nursery is not None:
            self.nursery.process.wait()

    def forget(self) -> None:
        """In a copy of this process: the nursery is not its own."""
        if self.nursery is not None:
            # Nor are these lines, which must not keep anyone alive.
            for line in [self.nursery.control, *self.nursery.lines.values()]:
                line.close()
        # Not let go of: its process would seem to be left running.
        self._original, self.nursery, self._lock = self.nursery, None, threading.Lock()


_HERE = _Here()
atexit.register(_HERE.leave)
os.register_at_fork(after_in_child=_HERE.forget)


# ── what ended a child ───────────────────────────────────────────────────────────────────────────

#: What to say of each end: silence, a signal, an exit.
_ENDS: Final = {
    "stalled": (
        "the child process made no progress for {limits.stall_seconds:g} s and was stopped. "
        "Usually a decoder hangs on a damaged file, or the disk or network that it is read "
        "from hangs. Re-encode the file, or allow more time."
    ),
    "nonsense": (
        "the child process returned invalid data and was ended. Usually the file made its "
        "decoder write out of bounds. Do not trust the file; leave it out."
    ),
    "all": (
        "all child processes of this worker were ended, along with the one that starts them. "
        "Usually the run was stopped, or the machine ran out of memory. If nobody stopped "
        "it, use fewer workers or a larger machine."
    ),
    "gone": (
        "the child process closed its connection but did not end, so it was abandoned. Try again."
    ),
    "exit": (
        "the child process exited with code {code} in the middle of its work. Usually a library "
        "gave up on a file that it could not handle. Re-encode the file, or leave it out."
    ),
    "SIGXCPU": (
        "the work took more than {limits.cpu_seconds:g} s of processor time and was ended. "
        "Usually the file claims wrong sizes, or it is very long. Re-encode or split it, or "
        "allow more time."
    ),
    "SIGKILL": (
        "the child process was killed from outside (SIGKILL). Usually the machine ran out of "
        "memory. Use fewer workers, a larger machine, or a lower memory limit."
    ),
}
_CRASHED: Final = (
    "the child process crashed ({end}). Usually a damaged or hostile file triggered a bug "
    "in FFmpeg. Re-encode the file with another program, or leave it out."
)


def _end_of(child: Child, silence: OSError | Nonsense, limits: ChildLimits) -> str:
    """Why there is nothing more to come from this child."""
    code, end = 0, {TimeoutError: "stalled", Nonsense: "nonsense"}.get(type(silence), "gone")
    if end == "gone":
        # It is about to end by itself: what ended it has to be known before it is killed.
        status = child.nursery.status_of(child)
        if status is not None:
            code = os.waitstatus_to_exitcode(status)
            names = {-known.value: known.name for known in signal.Signals}
            end = names.get(code, f"signal {-code}") if code < 0 else "exit"
        elif child.nursery.gone:
            end = "all"
    return _ENDS.get(end, _CRASHED).format(end=end, limits=limits, code=code)
