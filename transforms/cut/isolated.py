"""Pixel work in a child process: a decoder that crashes, hangs or eats all memory costs its film.

    isolated("cut", source, cut_chunk, planned, cutting, limits=limits)
        child:   cut_chunk(planned, cutting) ──guarded──▶ records ──JSON──┐
        here:    records, and what the child's guard caught ◀─────────┘
                 the child's death ──guarded──▶ Failure

What comes back is text and plain numbers, made into records again here. Without limits the same is
done in this very process, and the results are the same.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from finecut.io.media.frames.segments import Grain, Notes, plan_segments, watch_segment
from finecut.io.media.frames.small_pictures import HEIGHT, WIDTH, watch
from finecut.io.media.limits import USUAL_LIMITS, Limits, prepare_process
from finecut.io.process.children import ChildLimits, preload, run_in_child
from finecut.io.records import (
    CODING,
    Clip,
    Failure,
    PlannedChunk,
    Segment,
    Source,
    Video,
    from_json,
    to_json,
)
from finecut.io.storage import copies
from finecut.io.storage import files as shelf
from finecut.io.storage.addresses import is_read_only
from finecut.io.storage.stores import modules_behind
from finecut.transforms.beam.guard import LOG, ChildFailure, failure, guarded
from finecut.transforms.beam.weather import FAIR, StoreBusy, Weather

Record = Video | Segment | PlannedChunk | Clip

#: What may come back from a child.
KINDS: Final = {kind.__name__: kind for kind in (Video, Segment, PlannedChunk, Clip, Failure)}
#: The tag of bytes; and of what the child's guard caught, behind which comes where in our code that
#: was, for the log here. A Failure among the results is tagged by its kind.
PICTURES, ACCIDENT = b"pictures", b"accident"
#: The tag of what was trouble with a store.
WEATHER: Final = b"weather"

#: This many small frames travel together.
FRAMES_AT_ONCE: Final = 64

# What works in children; imported before they are forked, and not again in each. None of it needs
# Beam, whose import costs each start more than all of these together.
preload(__name__, "finecut.transforms.find.probe", "finecut.transforms.cut.chunk")


class TooMuchMemory(Exception):
    """Work that wanted more memory than its limit."""


def isolated(
    step: str,
    source: Source,
    work: Callable[..., Iterable[Record | Failure | bytes] | Record],
    *args: Any,
    limits: ChildLimits | None,
    lost: Callable[[], Iterable[str]] = tuple,
    weather: Weather = FAIR,
) -> Iterator[Any]:
    """As ``guarded(step, source, lambda: work(*args), lost)``, with the work in a child.

    ``work`` is a module's own function. What it yields are records, and Failures of its own.
    """
    if limits is None:
        yield from guarded(step, source, lambda: _each(work(*args)), lost, weather=weather)
        return
    preload(*modules_behind([source.uri]))
    task = _task(step, source, limits, work=work, args=args)
    yield from guarded(step, source, lambda: _received(task), lost, weather=weather)


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
    task = _task(step, video.source, limits, work=_batches, args=(video, film))
    for head, frames in _unpacked(task):
        if promised is not None:
            promised[:] = map(float, head["promised"])
        yield from frames


def isolated_segment(
    step: str,
    segment: Segment,
    notes: Notes,
    *,
    limits: ChildLimits | None,
    film: Limits = USUAL_LIMITS,
) -> Iterator[tuple[Fraction, NDArray[np.uint8]]]:
    """The same as ``watch_segment``."""
    source = segment.video.source
    if limits is None:
        with shelf.open_source(source.uri) as file:
            yield from watch_segment(file, segment, notes, film)
        return
    task = _task(step, source, limits, work=_segment_batches, args=(segment, film))
    for head, frames in _unpacked(task):
        notes.promised[:] = map(float, head["promised"])
        notes.opening, notes.closing = str(head["opening"]), str(head["closing"])
        notes.odd = str(head["odd"])
        yield from frames


def segments_of(video: Video, grain: Grain, film: Limits = USUAL_LIMITS) -> Iterator[Segment]:
    """What :func:`isolated` does to divide a video."""
    with shelf.open_source(video.source.uri) as file:
        yield from plan_segments(file, video, grain, film)


@dataclasses.dataclass(frozen=True)
class _Task:
    """What a child does."""

    step: str
    source: Source
    limits: ChildLimits
    work: Callable[..., Iterable[Record | Failure | bytes] | Record]
    args: tuple[Any, ...]
    #: Where copies of what cannot be read in parts lie.
    copies: str = ""


def _task(
    step: str,
    source: Source,
    limits: ChildLimits,
    *,
    work: Callable[..., Any],
    args: tuple[Any, ...],
) -> _Task:
    copied = copies.place() if is_read_only(source.uri) else ""
    return _Task(step, source, limits, work=work, args=args, copies=copied)


# ── here ─────────────────────────────────────────────────────────────────────────────────────────


def _received(task: _Task) -> Iterator[Any]:
    """The records that the work yielded, its bytes as they are; raises how it broke."""
    broke: ChildFailure | None = None
    for data in run_in_child(_working, task, limits=task.limits):
        kind, _, body = data.partition(b"\n")
        if kind == PICTURES:
            yield body
            continue
        text = body.decode(*CODING)
        if kind in (ACCIDENT, WEATHER):
            text, _, stack = text.partition("\n")
            LOG.info("%s", stack)
            broke = ChildFailure(from_json(Failure, text), outlasted=kind == WEATHER)
        else:
            yield from_json(KINDS[kind.decode()], text)
    if broke is not None:
        raise broke


def _unpacked(
    task: _Task,
) -> Iterator[tuple[dict[str, Any], Iterator[tuple[Fraction, NDArray[np.uint8]]]]]:
    """What is said of frames that travel together, and these frames."""
    for batch in _received(task):
        text, _, pixels = batch.partition(b"\n")
        head = json.loads(text)
        # Copied, so that these can be written to as others can.
        frames = np.frombuffer(pixels, np.uint8).reshape(-1, HEIGHT, WIDTH, 3).copy()
        yield head, zip(map(Fraction, head["times"]), frames, strict=True)


# ── in the child ─────────────────────────────────────────────────────────────────────────────────


def _working(task: _Task) -> Iterator[bytes]:
    prepare_process()
    with copies.lying_in(task.copies):
        yield from _told(task)


def _told(task: _Task) -> Iterator[bytes]:
    stacks: list[str] = []
    work = guarded(
        task.step, task.source, lambda: _made(task), tell=stacks.append, weather=Weather(True)
    )
    try:
        for outcome in work:
            if isinstance(outcome, Failure):
                parts = [ACCIDENT, to_json(outcome).encode(*CODING)]
                yield b"\n".join([*parts, *(stack.encode(*CODING) for stack in stacks)])
            else:
                yield outcome
    except StoreBusy as busy:  # what becomes of it is decided where the engine is known
        told = failure(task.step, task.source, busy.__cause__ or busy)
        yield b"\n".join([WEATHER, to_json(told).encode(*CODING)])


def _made(task: _Task) -> Iterator[bytes]:
    try:
        for made in _each(task.work(*task.args)):
            if isinstance(made, bytes):
                yield PICTURES + b"\n" + made
            else:
                yield f"{type(made).__name__}\n{to_json(made)}".encode(*CODING)
    except MemoryError as error:
        raise TooMuchMemory(
            f"the work needed more than the {task.limits.memory_mb} MB of memory that it may "
            "use. Usually the frames are very large, or the file claims so. Re-encode it at a "
            "smaller size, or raise --max-memory-mb."
        ) from error


def _batches(video: Video, film: Limits) -> Iterator[bytes]:
    notes = Notes()
    with shelf.open_source(video.source.uri) as file:
        yield from _packed(watch(file, video, notes.promised, film), notes)


def _segment_batches(segment: Segment, film: Limits) -> Iterator[bytes]:
    notes = Notes()
    with shelf.open_source(segment.video.source.uri) as file:
        yield from _packed(watch_segment(file, segment, notes, film), notes)


def _packed(frames: Iterator[tuple[Fraction, NDArray[np.uint8]]], notes: Notes) -> Iterator[bytes]:
    """Frames that travel together, behind a line that says when each is shown."""
    full = True
    while full:
        batch = list(islice(frames, FRAMES_AT_ONCE))
        full = len(batch) == FRAMES_AT_ONCE
        head = {"times": [str(seconds) for seconds, _ in batch], **vars(notes)}
        pixels = b"".join(frame.tobytes() for _, frame in batch)
        yield json.dumps(head).encode() + b"\n" + pixels


def _each(outcome: Iterable[Any] | Any) -> Iterable[Any]:
    return outcome if isinstance(outcome, Iterable) else (outcome,)
