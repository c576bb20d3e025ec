"""Pixel work in a child process: a decoder that crashes, hangs or eats all memory costs its film.

    isolated("cut", source, cut_reel, reel, cutting, limits=limits)
        child:   cut_reel(reel, cutting) ──guarded──▶ records ──JSON──┐
        here:    records, and what the child's guard caught ◀─────────┘
                 the child's death ──guarded──▶ Failure

What comes back is text and plain numbers, made into records again here. Without limits the same is
done in this very process, and the results are the same.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from finecut.io.media.frames.tiny_frames import HEIGHT, WIDTH, watch
from finecut.io.media.limits import USUAL_LIMITS, Limits
from finecut.io.media.memory import prepare_process
from finecut.io.process.children import ChildLimits, beat, preload, run_in_child
from finecut.io.records import CODING, Clip, Failure, Reel, Source, Video, from_json, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.stores import modules_behind
from finecut.transforms.beam.guard import LOG, ChildFailure, guarded

Record = Video | Reel | Clip

#: What may come back from a child.
KINDS: Final = {kind.__name__: kind for kind in (Video, Reel, Clip, Failure)}
#: The tag of what the child's guard caught; a Failure among the results is tagged by its kind.
ACCIDENT: Final = "accident"
#: Where in our code that was, which is for the log here.
STACK: Final = "stack"

#: So many small frames travel together.
FRAMES_AT_ONCE: Final = 64

# What works in children; imported before they are forked, and not again in each. None of it needs
# Beam, whose import costs each start more than all of these together.
preload(__name__, "finecut.transforms.find.probe", "finecut.transforms.cut.reel")


class TooMuchMemory(Exception):
    """Work that wanted more memory than its limit."""


def isolated(
    step: str,
    source: Source,
    work: Callable[..., Iterable[Record | Failure] | Record],
    *args: Any,
    limits: ChildLimits | None,
    lost: Callable[[], Iterable[str]] = tuple,
) -> Iterator[Any]:
    """As ``guarded(step, source, lambda: work(*args), lost)``, with the work in a child.

    ``work`` is a module's own function. What it yields are records, and Failures of its own.
    """
    if limits is None:
        yield from guarded(step, source, lambda: _each(work(*args)), lost)
        return
    preload(*modules_behind([source.uri]))
    parts = (step, source, limits, work, *args)
    for outcome in guarded(step, source, lambda: _heard(parts, limits), lost):
        if isinstance(outcome, ChildFailure):
            yield dataclasses.replace(outcome.failure, lost_shots=tuple(lost()))
        else:
            yield outcome


def isolated_frames(
    step: str,
    video: Video,
    promised: list[float] | None = None,
    *,
    limits: ChildLimits | None,
    film: Limits = USUAL_LIMITS,
) -> Iterator[tuple[Fraction, NDArray[np.uint8]]]:
    """As ``watch`` of the opened source. What breaks in the child is raised as a ChildFailure."""
    if limits is None:
        with shelf.open_source(video.source.uri) as file:
            yield from watch(file, video, promised, film)
        return
    for data in run_in_child(_watching, step, video, limits, film, limits=limits):
        head, _, body = data.partition(b"\n")
        told = json.loads(head)
        if ACCIDENT in told:
            LOG.info("%s", told[STACK])
            raise ChildFailure(from_json(Failure, body.decode(*CODING)))
        if promised is not None and told["promised"] and not promised:
            promised.append(float(told["promised"][0]))
        # Copied, so that these can be written to as others can.
        frames = np.frombuffer(body, np.uint8).reshape(-1, HEIGHT, WIDTH, 3).copy()
        times = [Fraction(time) for time in told["times"]]
        yield from zip(times, frames, strict=True)


# ── here ─────────────────────────────────────────────────────────────────────────────────────────


def _heard(parts: tuple[Any, ...], limits: ChildLimits) -> Iterator[Any]:
    for data in run_in_child(_working, *parts, limits=limits):
        kind, _, text = data.decode(*CODING).partition("\n")
        if kind == ACCIDENT:
            text, _, stack = text.partition("\n")
            LOG.info("%s", stack)
            yield ChildFailure(from_json(Failure, text))
        else:
            yield from_json(KINDS[kind], text)


# ── in the child ─────────────────────────────────────────────────────────────────────────────────


def _working(
    step: str,
    source: Source,
    limits: ChildLimits,
    work: Callable[..., Iterable[Record | Failure] | Record],
    *args: Any,
) -> Iterator[bytes]:
    prepare_process()
    stacks: list[str] = []
    for told in guarded(step, source, lambda: _told(work, args, limits), tell=stacks.append):
        if isinstance(told, Failure):
            yield b"\n".join([_tagged(ACCIDENT, told), *(s.encode(*CODING) for s in stacks)])
        else:
            yield told


def _told(
    work: Callable[..., Iterable[Record | Failure] | Record],
    args: tuple[Any, ...],
    limits: ChildLimits,
) -> Iterator[bytes]:
    try:
        for record in _each(work(*args)):
            yield _tagged(type(record).__name__, record)
    except MemoryError as error:
        raise _too_much(limits) from error


def _watching(step: str, video: Video, limits: ChildLimits, film: Limits) -> Iterator[bytes]:
    prepare_process()
    batch = _Batch()

    def frames() -> Iterator[tuple[Fraction, NDArray[np.uint8]]]:
        try:
            with shelf.open_source(video.source.uri) as file:
                yield from watch(file, video, batch.promised, film)
        except MemoryError as error:
            raise _too_much(limits) from error

    stacks: list[str] = []
    for seen in guarded(step, video.source, frames, tell=stacks.append):
        if isinstance(seen, Failure):
            yield batch.emptied()
            head = json.dumps({ACCIDENT: True, STACK: "".join(stacks)})
            yield f"{head}\n{to_json(seen)}".encode(*CODING)
            return
        batch.add(*seen)
        beat()
        if len(batch.times) == FRAMES_AT_ONCE:
            yield batch.emptied()
    yield batch.emptied()


class _Batch:
    """Frames that wait to travel together."""

    def __init__(self) -> None:
        self.promised: list[float] = []
        self.times: list[str] = []
        self._pixels: list[bytes] = []

    def add(self, seconds: Fraction, frame: NDArray[np.uint8]) -> None:
        self.times.append(str(seconds))
        self._pixels.append(frame.tobytes())

    def emptied(self) -> bytes:
        head = json.dumps({"times": self.times, "promised": self.promised})
        data = b"".join([head.encode(), b"\n", *self._pixels])
        self.times, self._pixels = [], []
        return data


def _each(outcome: Iterable[Any] | Any) -> Iterable[Any]:
    return outcome if isinstance(outcome, Iterable) else (outcome,)


def _tagged(kind: str, record: Any) -> bytes:
    return f"{kind}\n{to_json(record)}".encode(*CODING)


def _too_much(limits: ChildLimits) -> TooMuchMemory:
    return TooMuchMemory(
        f"the work wanted more than the {limits.memory_mb} MB of memory it may have. Usually the "
        "pictures are very large, or the file claims so; re-encode it smaller, or raise "
        "--max-memory-mb."
    )
