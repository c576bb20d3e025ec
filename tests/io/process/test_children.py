"""Children: what they yield, how they die, and that the parent neither dies nor leaks."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from child_work import (
    SOURCE,
    breaks,
    breaks_over_records,
    busy,
    claims_too_much,
    dies_over_records,
    endless,
    hungry,
    hungry_records,
    killed_by,
    large,
    leaves,
    numbers,
    own_pid,
    reads_nothing,
    sleeps,
    speaks_nonsense,
    video_called,
)
from cutting_room import QUICK
from measuring import MOTION, QUALITY
from places import ROOT

from finecut.io.media.frames.small_pictures import watch
from finecut.io.media.testfilm.paint import Painting, paint
from finecut.io.process import child as child_side
from finecut.io.process import children as child
from finecut.io.process import nursery
from finecut.io.process.child import beat
from finecut.io.process.children import ChildDied, ChildLimits, kill_all, run_in_child
from finecut.io.records import Chunk, Clip, Failure, PlannedChunk, PlannedClip, Source, Span, Video
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.guard import ChildFailure
from finecut.transforms.cut.chunk import Cutting, cut_chunk
from finecut.transforms.cut.isolated import isolated, isolated_frames
from finecut.transforms.find.probe import probe_source
from finecut.transforms.measure.looking import Looking

if not child.possible():
    pytest.skip("children need Linux", allow_module_level=True)

LIMITS = ChildLimits(stall_seconds=60)


def told(function: Callable[..., Iterator[bytes]], *args: object, **limits: float) -> list[bytes]:
    return list(run_in_child(function, *args, limits=dataclasses.replace(LIMITS, **limits)))  # type: ignore[arg-type]


def death(function: Callable[..., Iterator[bytes]], *args: object, **limits: float) -> str:
    with pytest.raises(ChildDied) as caught:
        told(function, *args, **limits)
    return str(caught.value)


def pid_of_a_child() -> int:
    return int(told(own_pid)[0])


def soon(true: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def lives(pid: int) -> bool:
    """Whether the process runs: not gone, and no zombie whom nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def nursery_pid() -> int:
    assert child._HERE.nursery is not None
    return child._HERE.nursery.process.pid


def children_of(pid: int) -> set[int]:
    return {int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


# ── what comes back ──────────────────────────────────────────────────────────────────────────────


def test_what_is_yielded_comes_back_in_order() -> None:
    assert told(numbers, 1000) == [str(number).encode() for number in range(1000)]
    assert told(numbers, 0) == []


def test_large_pieces_come_back_whole() -> None:
    size = (1 << 20) + 7
    assert told(large, size) == [bytes(size), b"x" * size]
    assert "may yield" in death(large, child_side.LONGEST_FRAME + 1)


def test_a_child_is_used_again_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    kill_all()
    assert len({pid_of_a_child() for _ in range(5)}) == 1
    monkeypatch.setattr(nursery, "TASKS_OF_A_CHILD", 1)
    assert len({pid_of_a_child() for _ in range(5)}) == 5
    monkeypatch.setattr(nursery, "TASKS_OF_A_CHILD", 50)
    monkeypatch.setattr(nursery, "MOST_KEPT_MB", 1)
    assert len({pid_of_a_child() for _ in range(3)}) == 3


def test_forking_is_safe_because_the_nursery_has_one_thread() -> None:
    pid_of_a_child()
    assert len(list(Path(f"/proc/{nursery_pid()}/task").iterdir())) == 1


def test_a_beat_outside_of_children_does_nothing() -> None:
    beat()
    assert child_side._LINE.socket is None


# ── deaths ───────────────────────────────────────────────────────────────────────────────────────


def test_an_error_is_told() -> None:
    assert "ValueError: no such luck" in death(breaks)
    assert told(numbers, 1) == [b"0"]


@pytest.mark.parametrize(
    ("work", "given", "said"),
    [
        (killed_by, (signal.SIGSEGV,), "SIGSEGV"),
        (killed_by, (signal.SIGABRT,), "SIGABRT"),
        (killed_by, (signal.SIGKILL,), "out of memory"),
        (killed_by, (50,), "signal 50"),
        (reads_nothing, (), "SIGSEGV"),
        (leaves, (3,), "code 3"),
        (leaves, (0,), "code 0"),
        (speaks_nonsense, (), "invalid data"),
        (claims_too_much, (), "invalid data"),
    ],
)
def test_a_death_costs_only_its_task(
    work: Callable[..., Iterator[bytes]], given: tuple[int, ...], said: str
) -> None:
    results = run_in_child(work, *given, limits=LIMITS)
    if work not in (speaks_nonsense, claims_too_much):
        assert next(results) == b"first"
    with pytest.raises(ChildDied, match=said):
        next(results)
    assert told(numbers, 2) == [b"0", b"1"]


def test_memory_has_a_limit() -> None:
    assert "MemoryError" in death(hungry, 400, memory_mb=400)
    assert told(hungry, 300, memory_mb=800) == [str(300 << 20).encode()]
    [failure] = isolated(
        "cut", SOURCE, hungry_records, 400, limits=ChildLimits(memory_mb=400), lost=lambda: ["x"]
    )
    assert isinstance(failure, Failure)
    assert (failure.error, failure.lost_shots) == ("TooMuchMemory", ("x",))
    assert "400 MB" in failure.message


def test_a_child_that_stalls_is_ended() -> None:
    assert "made no progress for 0.2 s" in death(sleeps, 60, stall_seconds=0.2)
    assert told(sleeps, 0.8, 8, stall_seconds=0.6) == [b"awake"]


def test_processor_time_has_a_limit() -> None:
    assert "processor time" in death(busy, cpu_seconds=0.1)
    assert told(numbers, 1, cpu_seconds=0.1) == [b"0"]


def test_who_asks_no_further_leaves_nothing_behind() -> None:
    results = run_in_child(own_pid, limits=LIMITS)
    assert lives(pid := int(next(results)))
    results.close()  # type: ignore[attr-defined]
    assert not lives(pid)
    results = run_in_child(endless, limits=LIMITS)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert soon(lambda: len(children_of(nursery_pid())) <= 1)


def test_a_nursery_that_died_is_begun_again() -> None:
    pid = pid_of_a_child()
    os.kill(nursery_pid(), signal.SIGKILL)
    assert soon(lambda: not lives(pid))
    assert told(numbers, 1) == [b"0"]


def test_work_that_is_begun_right_after_a_killing_is_done() -> None:
    for _ in range(2):
        pid_of_a_child()
        kill_all()
        assert told(numbers, 1) == [b"0"]


def test_an_idle_child_that_died_is_replaced() -> None:
    pid = pid_of_a_child()
    os.kill(pid, signal.SIGKILL)
    assert soon(lambda: not lives(pid))
    assert pid_of_a_child() != pid


def test_nothing_leaks() -> None:
    told(numbers, 1)

    def held() -> tuple[int, int]:
        assert child._HERE.nursery is not None
        theirs = len(list(Path(f"/proc/{nursery_pid()}/fd").iterdir()))
        return len(list(Path("/proc/self/fd").iterdir())), theirs

    before = held()
    for number in range(200):
        if number % 20:
            told(numbers, 3)
        else:
            death(leaves, 1)
    assert held() == before
    assert child._HERE.nursery is not None
    assert len(child._HERE.nursery.lines) <= 2
    assert not child._HERE.nursery._ended


def test_threads_have_children_of_their_own() -> None:
    at_once = threading.Barrier(4)

    def work(_: int) -> bytes:
        at_once.wait(30)
        results = run_in_child(own_pid, limits=LIMITS)
        pid = next(results)
        at_once.wait(30)
        assert list(results) == []
        return pid

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(work, range(4)))) == 4


def test_all_are_killed_at_once_from_another_thread() -> None:
    results = [run_in_child(own_pid, limits=LIMITS) for _ in range(2)]
    pids = [int(next(result)) for result in results]
    sleeping = run_in_child(sleeps, 60, limits=LIMITS)
    killer = threading.Timer(0.3, kill_all)
    killer.start()
    with pytest.raises(ChildDied, match="all child processes"):
        next(sleeping)
    killer.join()
    assert soon(lambda: not any(map(lives, pids)))
    for result in results:
        result.close()  # type: ignore[attr-defined]
    assert told(numbers, 1) == [b"0"]


PARENT = """
import os, sys, time
sys.path.insert(0, {tests!r})
from finecut.io.process.children import *
import child_work
results = [run_in_child(child_work.{work}, *{args!r}, limits=ChildLimits()) for _ in range(2)]
{then}
"""


def a_parent(work: str, then: str, *args: object) -> subprocess.Popen[str]:
    code = PARENT.format(tests=str(ROOT / "tests/support"), work=work, args=args, then=then)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_children_do_not_outlive_a_parent_that_is_killed() -> None:
    then = (
        "pids = [int(next(r)) for r in results]; from finecut.io.process import children as child\n"
        "print(child._HERE.nursery.process.pid, *pids, flush=True); time.sleep(60)"
    )
    with a_parent("own_pid", then) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3
        assert all(map(lives, pids))
        parent.kill()
    assert soon(lambda: not any(map(lives, pids)))


def test_a_parent_ends_although_its_children_are_at_work() -> None:
    with a_parent("endless", "[next(r) for r in results]; print('over')") as parent:
        said, _ = parent.communicate(timeout=60)
    assert (said, parent.returncode) == ("over\n", 0)


def test_nothing_is_begun_after_the_end() -> None:
    then = "kill_all(for_good=True)\ntry: next(results[0])\nexcept ChildDied as e: print(e)"
    with a_parent("own_pid", then) as parent:
        said, _ = parent.communicate(timeout=60)
    assert said.startswith("the run is being stopped")


# ── records ──────────────────────────────────────────────────────────────────────────────────────


def test_a_death_becomes_a_failure() -> None:
    [failure] = isolated("probe", SOURCE, dies_over_records, limits=LIMITS, lost=lambda: ["x"])
    assert isinstance(failure, Failure)
    assert (failure.step, failure.source, failure.error) == ("probe", SOURCE, "ChildDied")
    assert "SIGSEGV" in failure.message
    assert failure.lost_shots == ("x",)


def test_what_breaks_in_a_child_is_what_breaks_here() -> None:
    def outcomes(limits: ChildLimits | None) -> list[object]:
        made = isolated("probe", SOURCE, breaks_over_records, limits=limits, lost=lambda: ["x"])
        return [dataclasses.replace(o, evidence="") if isinstance(o, Failure) else o for o in made]

    assert outcomes(LIMITS) == outcomes(None)
    first, failure = outcomes(LIMITS)
    assert first == video_called("first")
    assert isinstance(failure, Failure)
    assert (failure.error, failure.lost_shots) == ("ValueError", ("x",))


def test_names_that_are_no_text_come_back() -> None:
    for name in ("\udce9.mp4", "a\nb.mp4", "é 影 🎬.mp4"):
        [video] = isolated("probe", SOURCE, video_called, name, limits=LIMITS)
        assert video == video_called(name)


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Painting:
    folder = tmp_path_factory.mktemp("films")
    return paint(
        folder / "film.mp4",
        width=160,
        height=90,
        rate=Fraction(30000, 1001),
        seconds=6,
        sound="aac",
    )


@pytest.fixture(scope="module")
def video(painting: Painting) -> Video:
    return probe_source(source_of(Path(painting.path)))


def source_of(path: Path) -> Source:
    return Source(str(path), str(path), path.name)


def test_a_probe_in_a_child_is_a_probe(video: Video, tmp_path: Path) -> None:
    assert list(isolated("probe", video.source, probe_source, video.source, limits=LIMITS)) == [
        video
    ]
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    bad = source_of(tmp_path / "bad.mp4")
    [here] = isolated("probe", bad, probe_source, bad, limits=None)
    [there] = isolated("probe", bad, probe_source, bad, limits=LIMITS)
    assert dataclasses.replace(there, evidence="") == dataclasses.replace(here, evidence="")


def test_a_cut_in_a_child_is_a_cut(video: Video, tmp_path: Path) -> None:
    clips = tuple(PlannedClip(f"shot{i}", i, Span(2.0 * i, 2.0 * i + 2)) for i in range(3))
    # The last lies behind the end, as if the header had promised too much.
    clips = (*clips, PlannedClip("late", 3, Span(50, 52)))
    planned = PlannedChunk(video, Chunk("chunk", 0, 4, 1, 4), clips)

    def outcomes(name: str, limits: ChildLimits | None) -> tuple[list[Clip | Failure], list[bytes]]:
        root = tmp_path / name
        shelf = Shelf(str(root), f"{root}/.staging/run")
        cutting = Cutting(shelf, QUICK, looking=Looking((MOTION, QUALITY)))
        made = list(isolated("cut", video.source, cut_chunk, planned, cutting, limits=limits))
        staged = [one.staged for one in made if isinstance(one, Clip) and one.staged is not None]
        plain = [one.replace(staged=None) if isinstance(one, Clip) else one for one in made]
        return plain, [Path(path).read_bytes() for path in staged]

    here, there = outcomes("here", None), outcomes("there", LIMITS)
    assert there == here
    assert len(there[1]) == 3
    [failure] = [one for one in there[0] if isinstance(one, Failure)]
    assert failure.lost_shots == ("late",)


def test_watching_in_a_child_is_watching(painting: Painting, video: Video) -> None:
    promised: tuple[list[float], list[float]] = ([], [])
    here = list(watch(str(painting.path), video, promised[0]))
    there = list(isolated_frames("split", video, promised[1], limits=LIMITS))
    assert len(here) > 2 * 64, "one batch proves nothing"
    assert [time for time, _ in there] == [time for time, _ in here]
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(here, there, strict=True))
    assert promised[0] == promised[1] != []
    assert there[0][1].flags.writeable


def test_what_breaks_while_watching_is_raised(video: Video, tmp_path: Path) -> None:
    gone = dataclasses.replace(video, source=source_of(tmp_path / "gone.mp4"))
    with pytest.raises(ChildFailure) as caught:
        list(isolated_frames("split", gone, limits=LIMITS))
    assert (caught.value.failure.step, caught.value.failure.source) == ("split", gone.source)
    assert "as a video container" in caught.value.failure.message
