"""The process that forks children: it imported everything once, has one thread, and does no work.

control line   {"fork": 7} and the child's line ─▶   ◀─ {"born": pid} or {"error": …}
               {"kill": 7}                      ─▶   ◀─ {"ended": 7, "status": …}
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
from collections.abc import Iterable
from typing import Any, Final

from finecut.io.process.child import live

#: Seconds after which the server checks again whether its parent is still there.
PARENT_CHECK: Final = 2.0


def serve(control_number: int, modules: Iterable[str]) -> None:
    """Fork a child whenever the parent asks, and report how each ended."""
    control = socket.socket(fileno=control_number)
    control.set_inheritable(False)
    parent = os.getppid()
    gc.disable()  # nothing that is imported is garbage
    for module in modules:
        importlib.import_module(module)
    gc.enable()
    ctypes.CDLL(None)  # loaded before forking, not in every child
    pipe = os.pipe()
    for number in pipe:
        os.set_blocking(number, False)
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
