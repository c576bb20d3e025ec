"""Where the time goes: ``--profile`` watches a local run and writes what it saw.

    every 5 ms: each thread's stack ──▶ weighed by the processor time it used since the last look
                                          ├─▶ steps.txt    seconds and memory, step by step
                                          ├─▶ flame.svg    the same as a picture
                                          └─▶ stacks.txt   for programs that draw such pictures

Time is processor time, so a thread that waits counts nothing. FFmpeg's own threads have no stack
here: what they use is the process's time less that of all threads of Python, and has a line of its
own. Films are decoded in this process while it is profiled, and not in children.
"""

from __future__ import annotations

import html
import resource
import sys
import threading
import time
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import PurePath
from types import FrameType
from typing import Final, NamedTuple

#: Seconds between two looks at all stacks, and between two looks at the memory.
LOOK: Final = 0.005
WEIGH: Final = 2.0
#: What is held is written down again when there is so much more of it.
MORE: Final = 1.1
NATIVE, ITSELF = "FFmpeg's own threads", "this profiler"
BEAM, ELSEWHERE = "Beam", "elsewhere"
#: Rooms and modules that work for whoever calls them.
HELPERS: Final = frozenset(
    {"beam", "looking", "asking", "writing", "isolated", "documents", "secrets", "one_model"}
    | {"windows", "rules", "resources", "close"}
)
#: Rooms in which each module is a step of its own; elsewhere the room is the step.
OF_SEVERAL: Final = frozenset({"measure", "steps"})
#: Where our rooms lie.
HOUSE: Final = PurePath(__file__).parent.parent
ROW, LETTER = 18, 6.6

Stack = tuple[str, ...]


class Profile(NamedTuple):
    """What was seen: seconds by stack, and bytes by module at the moment most were held."""

    seconds: Mapping[Stack, float]
    wall: float
    held: Mapping[str, int]
    peak_mb: float


class Profiler:
    """Watches the process while the block runs."""

    def __init__(self) -> None:
        self._seconds: defaultdict[Stack, float] = defaultdict(float)
        self._used: dict[int, float] = {}
        self._held = Counter[str]()
        self._most = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="finecut-profile", daemon=True)
        self._began = (0.0, 0.0)

    def __enter__(self) -> Profiler:
        tracemalloc.start()
        self._began = time.monotonic(), time.process_time()
        # What threads used before is nothing of this run; those that come later begin at nothing.
        self._used = {thread: _used_by(thread) for thread in sys._current_frames()}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        tracemalloc.stop()

    def profile(self) -> Profile:
        """What was seen until now."""
        wall, used = time.monotonic() - self._began[0], time.process_time() - self._began[1]
        seconds = dict(self._seconds)
        seconds[(NATIVE,)] = max(0.0, used - sum(seconds.values()))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        return Profile(seconds, wall, dict(self._held), peak)

    def _watch(self) -> None:
        weighed = time.monotonic()
        while not self._done.wait(LOOK):
            self._look()
            if time.monotonic() - weighed > WEIGH:
                self._weigh()
                weighed = time.monotonic()
        self._look()
        self._weigh()

    def _look(self) -> None:
        # Of threads that ended nothing is kept: others are given their numbers.
        known, self._used = self._used, {}
        for thread, frame in sys._current_frames().items():
            self._used[thread] = _used_by(thread)
            used = self._used[thread] - known.get(thread, 0.0)
            if used > 0:
                mine = thread == threading.get_ident()
                self._seconds[(ITSELF,) if mine else self._stack(frame)] += used

    def _stack(self, frame: FrameType | None) -> Stack:
        """Who called whom, from the outermost; Beam's many calls in a row are one."""
        names: list[str] = []
        while frame is not None:
            name = _name(frame.f_code.co_filename, frame.f_code.co_name)
            if name != BEAM or names[-1:] != [BEAM]:
                names.append(name)
            frame = frame.f_back
        return tuple(reversed(names))

    def _weigh(self) -> None:
        """Write down who holds what, when it is more than ever before."""
        now, _ = tracemalloc.get_traced_memory()
        if now <= self._most * MORE:
            return
        self._most = now
        held = Counter[str]()
        for statistic in tracemalloc.take_snapshot().statistics("filename"):
            held[module_of(statistic.traceback[0].filename)] += statistic.size
        self._held = held


@cache
def _name(filename: str, function: str) -> str:
    module = module_of(filename)
    return BEAM if module.startswith("apache_beam") else f"{module}:{function}"


def _used_by(thread: int) -> float:
    """Seconds of processor time of a thread; it may have ended meanwhile."""
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(thread))
    except OSError:
        return 0.0


def module_of(filename: str) -> str:
    """What a file is called in a picture: its module, as far as that says anything.

    >>> module_of("/venv/lib/python3.11/site-packages/apache_beam/pipeline.py")
    'apache_beam.pipeline'
    """
    path = PurePath(filename)
    parts = path.with_suffix("").parts
    for room in ("site-packages", "dist-packages"):
        if room in parts:
            return ".".join(parts[parts.index(room) + 1 :])
    if path.is_relative_to(HOUSE):
        return ".".join(("finecut", *path.relative_to(HOUSE).with_suffix("").parts))
    return parts[-1] if parts else filename


def step_of(stack: Stack) -> str:
    """Whose work a stack is: the innermost step in it.

    >>> step_of(("Beam", "finecut.transforms.cut.clips:process", "av.x:decode"))
    'cut'
    """
    if stack in ((NATIVE,), (ITSELF,)):
        return stack[0]
    modules = [name.partition(":")[0] for name in stack]
    for module in reversed(modules):
        parts = module.split(".")
        if parts[:2] == ["finecut", "transforms"] and len(parts) > 3 and not HELPERS & {*parts}:
            return parts[3] if parts[2] in OF_SEVERAL else parts[2]
    return BEAM if BEAM in modules else ELSEWHERE


def step_holding(module: str) -> str:
    """Whose memory it is that a module asked for."""
    parts = module.split(".")
    if parts[0] == "finecut":
        return ".".join(parts[1:3]) if parts[1] == "io" else parts[-1 if len(parts) < 3 else 2]
    return parts[0]


def steps_table(profile: Profile) -> str:
    """Seconds, share and held memory of every step, the most expensive first."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for stack, used in profile.seconds.items():
        seconds[step_of(stack)] += used
    held = Counter[str]()
    for module, size in profile.held.items():
        held[step_holding(module)] += size
    total = sum(seconds.values())
    rows = [
        f"{total:.2f} s of processor time in {profile.wall:.2f} s "
        f"({total / max(profile.wall, 1e-9):.2f} cores busy), peak {profile.peak_mb:.0f} MB",
        "",
        f"{'step':<24}{'seconds':>10}{'share':>8}",
    ]
    rows += [
        f"{step:<24}{used:>10.2f}{used / max(total, 1e-9):>8.1%}"
        for step, used in sorted(seconds.items(), key=lambda item: -item[1])
        if used > 0
    ]
    rows += ["", f"{'held by Python at most':<24}{'MB':>10}"]
    rows += [f"{name:<24}{size / 1e6:>10.2f}" for name, size in held.most_common(15)]
    return "\n".join(rows) + "\n"


def collapsed(profile: Profile) -> str:
    """A line for each stack and its milliseconds, as programs that draw flame graphs read it."""
    return "".join(
        f"{';'.join(name.replace(';', ',') for name in stack)} {round(used * 1000)}\n"
        for stack, used in sorted(profile.seconds.items())
        if round(used * 1000)
    )


class _Box(NamedTuple):
    name: str
    depth: int
    start: float
    seconds: float


def flame(profile: Profile, width: int = 1600) -> str:
    """A flame graph: the wider a box the more time, what lies on a box was called by it."""
    boxes = list(_boxes(profile.seconds, 0, 0.0))
    total = sum(profile.seconds.values()) or 1.0
    scale = width / total
    shown = [box for box in boxes if box.seconds * scale >= 0.5]
    height = (max((box.depth for box in shown), default=0) + 1) * ROW + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="monospace" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for box in shown:
        wide, x = box.seconds * scale, box.start * scale
        y = height - (box.depth + 1) * ROW - 4
        said = html.escape(f"{box.name}: {box.seconds:.3f} s, {box.seconds / total:.1%}")
        text = html.escape(box.name[: max(0, int(wide / LETTER) - 1)])
        parts.append(
            f"<g><title>{said}</title>"
            f'<rect x="{x:.1f}" y="{y}" width="{max(wide - 0.5, 0.5):.1f}" height="{ROW - 1}" '
            f'fill="{_colour(box.name)}" rx="2"/>'
            f'<text x="{x + 3:.1f}" y="{y + 12}">{text}</text></g>'
        )
    return "\n".join([*parts, "</svg>\n"])


def _boxes(seconds: Mapping[Stack, float], depth: int, start: float) -> Iterator[_Box]:
    below: defaultdict[str, dict[Stack, float]] = defaultdict(dict)
    for stack, used in sorted(seconds.items()):
        if len(stack) > depth:
            below[stack[depth]][stack] = used
    for name, stacks in sorted(below.items()):
        used = sum(stacks.values())
        yield _Box(name, depth, start, used)
        yield from _boxes(stacks, depth + 1, start)
        start += used


def _colour(name: str) -> str:
    """Ours green, Beam's grey, others' warm; the same name always the same."""
    shade = sum(name.encode()) % 20
    if name.startswith("finecut"):
        return f"hsl({140 + shade} 55% {66 + shade / 2:.0f}%)"
    if name == BEAM:
        return f"hsl(220 8% {78 + shade / 2:.0f}%)"
    return f"hsl({25 + shade} 80% {70 + shade / 2:.0f}%)"
