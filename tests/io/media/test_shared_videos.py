"""Real films, where they are at hand: every clip of every sound one decodes without a complaint."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from places import BESIDE

from finecut.pipeline.options import Options
from finecut.pipeline.running import run

VIDEOS = Path(os.environ.get("FINECUT_SHARED", BESIDE)) / "videos"
FFMPEG = shutil.which("ffmpeg")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VIDEOS.exists(), reason="the shared films are not here"),
]


def test_sound_films_give_clips_that_decode_end_to_end(tmp_path: Path) -> None:
    if FFMPEG is None:
        pytest.skip("needs the ffmpeg program, as a decoder that is not ours")
    output = tmp_path / "out"
    ran = run(Options(input=(f"{VIDEOS}/*",), output=str(output), clip_length=5.0))
    assert ran.summary.num_failures == 0
    assert ran.summary.videos_done == ran.summary.videos_found >= 10
    clips = sorted((output / "clips").iterdir())
    assert len(clips) == ran.summary.shots_kept >= 30
    for clip in clips:
        told = subprocess.run(
            [FFMPEG, "-v", "error", "-i", str(clip), "-f", "null", "-"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (told.returncode, told.stdout + told.stderr) == (0, ""), clip


def test_broken_films_fail_alone(tmp_path: Path) -> None:
    ran = run(Options(input=(str(VIDEOS / "bad"),), output=str(tmp_path / "out")))
    summary = ran.summary
    assert summary.imbalances() == []
    failed = {failure.source.relative for failure in summary.failures}
    assert {
        "audio_only.mp4",
        "image_png_renamed.mp4",
        "raw_annexb_renamed.mp4",
        "text_renamed.mp4",
        "truncated_no_moov.mp4",
        "zero_byte.mp4",
    } <= failed
    assert summary.videos_done >= 5
    assert summary.videos_empty >= 2
