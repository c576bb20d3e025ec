"""Ways between pictures: what is remembered of them is what their values say, however they came."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from finecut.io.media.frames.small_pictures import HEIGHT, WIDTH
from finecut.transforms.split.ways import Ways

HALVES = (3, 12, 20)


def pictures(number: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (number, HEIGHT, WIDTH, 3), np.uint8)


def remembered(shown: npt.NDArray[np.uint8], blocks: Sequence[int]) -> Ways:
    ways, start = Ways(HALVES), 0
    for block in blocks:
        ways.take(0, shown[start : start + block])
        start += block
    assert start == len(shown)
    return ways


@pytest.mark.parametrize("blocks", [(64, 64, 22), (150,), (1, 2, 3, 144), (50, 50, 50)])
def test_sums_are_the_same_bits_whichever_pictures_came_together(blocks: Sequence[int]) -> None:
    """Segments of a video would find other cuts than the whole otherwise."""
    shown = pictures(150)
    ways, others = remembered(shown, blocks), remembered(shown, (7,) * 21 + (3,))
    for half in HALVES:
        middle = range(half, len(shown) - half)
        for some, same in zip(
            ways.straightness(middle, half), others.straightness(middle, half), strict=True
        ):
            assert some.tobytes() == same.tobytes()


def test_forgotten_pictures_change_nothing() -> None:
    shown, half = pictures(200), HALVES[-1]
    all_of_them = remembered(shown, (200,))
    some = remembered(shown[:128], (128,))
    some.take(60, shown[128:])
    expected = all_of_them.straightness(range(120, 180), half)
    for one, other in zip(some.straightness(range(60, 120), half), expected, strict=True):
        assert one.tobytes() == other.tobytes()


def test_straightness_is_what_the_pictures_say() -> None:
    """The same in plain words and double precision."""
    shown, half = pictures(60), 12
    straight, apart, agreeing = remembered(shown, (60,)).straightness(range(30, 31), half)
    values = shown.astype(np.float64)
    values -= values.mean((1, 2), keepdims=True)
    ends = values[[18, 30, 42]].reshape(3, 9, 3, 6, 8, 3).swapaxes(2, 3).reshape(3, 54, 72)
    a, m, b = ends
    cosines = ((m - a) * (b - m)).sum(1) / np.sqrt(((m - a) ** 2).sum(1) * ((b - m) ** 2).sum(1))

    def left(
        one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """What a gain does not explain."""
        gain = (one * other).sum() / (one**2).sum()
        return ((other - gain * one) ** 2).sum(1) / 72

    weights = np.minimum(left(a, b), left(b, a)) ** 0.25
    assert straight[0] == pytest.approx((cosines * weights).sum() / weights.sum(), abs=1e-4)
    assert apart[0] == pytest.approx(weights.mean() ** 2, rel=1e-4)
    assert (agreeing[:, 0] == (cosines > 0.3)).all()


@pytest.mark.parametrize("cut", [False, True])
def test_a_dissolve_is_a_straight_run_and_a_cut_is_none(cut: bool) -> None:
    one, other = pictures(2).astype(np.float64)
    share = np.clip((np.arange(100) - 42) / 17, 0, 1)
    share = np.round(share) if cut else share
    shown = (one + share[:, None, None, None] * (other - one)).round().astype(np.uint8)
    run = remembered(shown, (64, 36)).straight_run(np.ones(54, bool), 50, 12)
    assert run == (range(0) if cut else range(43, 59))


WATCH_THREADS = """
import threading
from pathlib import Path
import numpy as np
from finecut.transforms.split.content import transitions

def others():
    "Nanoseconds on a processor, of all threads but this one."
    mine = str(threading.get_native_id())
    tasks = [task for task in Path("/proc/self/task").iterdir() if task.name != mine]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

shots = np.random.default_rng(1).integers(0, 256, (40, 27, 48, 3), np.uint8)
frames = [shot for shot in shots for _ in range(50)]
before = others()
marks = sum(transitions(frames))
print(marks, others() - before)
before, large = others(), np.ones((1500, 1500), np.float32)
large @ large
print(others() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="threads are told apart")
def test_no_thread_of_a_matrix_library_helps() -> None:
    """Nobody limits them in a worker that a runner has started, and they wait by spinning."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    free = {name: value for name, value in os.environ.items() if name not in names}
    told = subprocess.run(
        [sys.executable, "-c", WATCH_THREADS], env=free, capture_output=True, text=True, check=True
    ).stdout
    marks, helped, usually_help = map(int, told.split())
    if not usually_help:
        pytest.skip("the matrix library has no threads here")
    assert marks == 39
    assert helped < 10e6
