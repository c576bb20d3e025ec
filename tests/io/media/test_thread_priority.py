"""Encoders leave the machine to others, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLAIN = "context.open()"
#: Each is asked in a process of its own: SVT-AV1 finds out once in each what it may.
WAYS = {
    "opened": "opened(context)",
    "again": "opened(context); context = made(); opened(context)",
    "tried": "assert why_unusable(Encoding('libsvtav1')) is None",
    "painted": "paint(path, codec='libsvtav1', width=64, height=64, rate=10, seconds=1)",
    "cut": """
with ThreadPoolExecutor(1) as pool:
    pool.submit(written).result()
    here = policies()
""",
}
ASKED = """
import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
import av
from finecut.io.media.clip_file import ClipWriter
from finecut.io.media.codecs import Encoding, PictureFormat, configure, why_unusable
from finecut.io.media.testfilm.paint import paint
from finecut.io.media.codecs import opened

FORM = PictureFormat(64, 64, Fraction(10), Fraction(1, 10))

def made():
    context = av.CodecContext.create("libsvtav1", "w")
    configure(context, Encoding("libsvtav1"), FORM)
    return context

def written():
    writer = ClipWriter(
        Path(path), Encoding("libsvtav1"), FORM, None, span=(Fraction(0), Fraction(1))
    )
    writer.show(av.VideoFrame(64, 64, "yuv420p"), Fraction(0))

def policies():
    return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}

path, here = PATH, set()
context = made()
WAY
print(os.SCHED_FIFO in here | policies())
"""


def is_real_time(way: str, tmp_path: Path) -> bool:
    """Whether any thread of a process is a real-time thread after that."""
    program = ASKED.replace("WAY", way).replace("PATH", repr(str(tmp_path / "film.mp4")))
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    return {"True": True, "False": False}[done.stdout.strip()]


@pytest.mark.skipif(not hasattr(os, "SCHED_FIFO"), reason="only Linux says how it schedules")
def test_no_thread_of_an_encoder_is_a_real_time_thread(tmp_path: Path) -> None:
    if not is_real_time(PLAIN, tmp_path):
        pytest.skip("SVT-AV1 may not make real-time threads here: that takes root")
    for name, way in WAYS.items():
        assert not is_real_time(way, tmp_path), name


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux says how it schedules")
def test_who_is_to_have_less_than_others_keeps_less(tmp_path: Path) -> None:
    """Where a program is run with ``chrt --batch``."""
    way = """
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
opened(context)
assert policies() == {os.SCHED_BATCH}, policies()
"""
    assert not is_real_time(way, tmp_path)
