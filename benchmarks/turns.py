"""Commands that are held against each other run side by side, in turns of a second or less.

A machine that others use too gets slower and faster by a tenth from one minute to the next, so what
is run one after the other says little of what lies closer together. Here every contestant has the
machine for a moment, alone: all its processes are stopped while the others have theirs. Whatever
happens to the machine happens to all of them. What counts is the time that a contestant had, less
what the host of a virtual machine took of it. Who takes longer has longer turns, so that they end
together.

Each is run by a process of its own, which is this file as a program: it says that it is ready,
waits for a word, runs its commands, and says what they took.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from metering import (
    PATIENCE,
    Command,
    CommandFailed,
    adopt_orphans,
    below,
    children_of,
    cores,
    processes,
    spent,
    stolen,
)

GO = "go"
#: Seconds: long beside stopping and going on (milliseconds), short beside what a machine does.
SHORTEST, LONGEST = 0.1, 1.0


@dataclass(frozen=True)
class Entry:
    """What a contestant runs, so many of them at once, and how long its turns are."""

    commands: Sequence[Command]
    at_once: int = 1
    turn: float = SHORTEST


@dataclass(frozen=True)
class Spent:
    """What it took: processor seconds, and seconds that it had the machine."""

    cpu: float
    wall: float
    #: Of the seconds that it had, those that the host gave to others instead, of each core.
    stolen: float = 0.0
    #: What a piece of work that is always the same took beside it.
    pace_cpu: float = 1.0
    pace_wall: float = 1.0


@dataclass
class Contestant:
    process: subprocess.Popen[str]
    #: When it had the machine, by the clock that all processes share.
    turns: list[tuple[float, float]] = field(default_factory=list)
    held: set[int] = field(default_factory=set)
    #: Processor seconds that the host took meanwhile.
    stolen: float = 0.0


def turn_of(seconds: float, most: float) -> float:
    """How long a turn is of what takes so long, where the longest of all takes so long.

    >>> turn_of(30, 60), turn_of(60, 60), turn_of(2, 60)
    (0.5, 1.0, 0.1)
    """
    return max(SHORTEST, LONGEST * seconds / most)


def in_turns(entries: Mapping[str, Entry]) -> Generator[tuple[str, Spent | CommandFailed]]:
    """Run all; each is told when it is through."""
    running: dict[str, Contestant] = {}
    others = _children()
    try:
        for name, entry in entries.items():
            running[name] = _contestant()
            _ready(running[name].process, entry)
        while running:
            for name, contestant in list(running.items()):
                _have_a_turn(contestant, entries[name].turn)
                if contestant.held:
                    continue
                result = _result(contestant)
                del running[name]
                # Of one that died its processes are ours now; they would run beside the others.
                leaders = {one.process.pid for one in running.values()}
                _kill(_children() - others - leaders)
                yield name, result
    finally:
        with _undisturbed():
            for contestant in running.values():
                _end(contestant)


def had(turns: Sequence[tuple[float, float]], until: float) -> float:
    """How long it had the machine until a moment.

    >>> had([(0, 1), (5, 6), (9, 10)], 9.5)
    2.5
    """
    return sum(min(end, until) - begin for begin, end in turns if begin < until)


# ── turns ────────────────────────────────────────────────────────────────────────────────────────


def _contestant() -> Contestant:
    return Contestant(
        subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C at a terminal is for us to hear.
            start_new_session=True,
        )
    )


def _ready(process: subprocess.Popen[str], entry: Entry) -> None:
    _tell(process, json.dumps({"commands": entry.commands, "at_once": entry.at_once}))
    _hear(process)


def _have_a_turn(contestant: Contestant, seconds: float) -> None:
    """Let it go on for so long; none of its processes is held afterwards if it came to an end."""
    begin, robbed = time.monotonic(), stolen()
    if contestant.turns:
        _release(contestant.held)
    else:
        _tell(contestant.process, GO)
    assert contestant.process.stdout is not None
    said, _, _ = select.select([contestant.process.stdout], [], [], seconds)
    contestant.held, end = (set(), time.monotonic()) if said else _hold(contestant.process.pid)
    contestant.turns.append((begin, end))
    contestant.stolen += stolen() - robbed


def _hold(leader: int) -> tuple[set[int], float]:
    """Stop a process and all below it; who they are, and when it was.

    All are found before the first is stopped, so that all go on until the same moment. Then those
    that were started meanwhile are stopped, too.
    """
    held, end = set[int](), 0.0
    while new := {leader, *below(leader, processes(), set())} - held:
        _signal(new, signal.SIGSTOP)
        end = end or time.monotonic()
        held |= new
    return held, end


def _release(held: set[int]) -> None:
    _signal(held, signal.SIGCONT)


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _result(contestant: Contestant) -> Spent | CommandFailed:
    said = _hear(contestant.process)
    contestant.process.wait()
    if not said:
        return CommandFailed(f"what ran it ended with {contestant.process.returncode}")
    found = json.loads(said)
    if "error" in found:
        return CommandFailed(found["error"])
    lost = contestant.stolen / cores()
    return Spent(found["cpu"], had(contestant.turns, found["done"]) - lost, lost)


def _end(contestant: Contestant) -> None:
    """Nothing of it stays, whatever stopped the benchmark."""
    _kill(_hold(contestant.process.pid)[0])
    contestant.process.wait()


def _kill(pids: set[int]) -> None:
    """End these, and come back when they are gone."""
    with contextlib.ExitStack() as stack:
        dying = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                dying.append(os.pidfd_open(pid))
                stack.callback(os.close, dying[-1])
        _signal(pids, signal.SIGKILL)
        for process in dying:
            select.select([process], [], [], PATIENCE)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Impatient people press Ctrl-C twice, and the benchmark takes the others for it."""
    ending = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _children() -> set[int]:
    return set(children_of(os.getpid(), processes()))


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    # One that died says so by saying nothing more.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(line + "\n")
        process.stdin.flush()


def _hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


# ── a contestant ─────────────────────────────────────────────────────────────────────────────────


def contest() -> None:
    """Run what standard input says when it says so, and tell what it took."""
    told = json.loads(sys.stdin.readline())
    adopt_orphans()
    _say("ready")
    # Nothing, if nobody is there any more.
    if sys.stdin.readline().strip() != GO:
        return
    try:
        cpu, done = spent(told["commands"], told["at_once"])
        _say(json.dumps({"cpu": cpu, "done": done}))
    except CommandFailed as error:
        _say(json.dumps({"error": str(error)}))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    contest()
