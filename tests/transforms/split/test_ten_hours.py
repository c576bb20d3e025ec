"""Segments of a film of ten hours share its work out evenly, and find what the whole does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cutting_room import video_of
from detecting import LIMITS, detect, environment
from long_films import film_of_hours

from finecut.io.process.children import ChildLimits
from finecut.io.process.processor_time import processor_seconds
from finecut.transforms.split.scenes import CONTENT, Detection
from finecut.transforms.split.spans import Splitting, chunks_of

HOURS, RATE = 10, 6
SPLITTING = Splitting(Detection(CONTENT, limits=ChildLimits()), chunk_seconds=3600)


@pytest.mark.slow
def test_two_workers_share_a_film_of_ten_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processor time is measured. Elapsed time says more about who else uses the machine; and a
    worker alone keeps more than one core busy, because its child decodes meanwhile.
    """
    for name in LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    piece, film = film_of_hours(tmp_path, HOURS, RATE)
    video = video_of(replace(piece, path=str(film)))
    assert video.duration == pytest.approx(HOURS * 3600)
    used = processor_seconds()
    whole = chunks_of(video, SPLITTING)
    alone = processor_seconds() - used
    one, two = (detect(video, SPLITTING, n, tmp_path / f"by-{n}") for n in (1, 2))

    assert one.chunks == two.chunks == whole
    # Most scenes are long enough for a clip; none is lost where pieces meet.
    assert sum(len(planned.clips) for planned in whole) > 120 * 40
    assert len({look.worker for look in two.looks}) == 2
    for detected in (one, two):
        assert len(detected.looks) == 120
        assert detected.longest <= detected.cpu / 20
        # What lies around a segment is watched twice: 256 frames beside 1,800 of its own.
        assert detected.cpu <= 1.5 * alone
    assert two.busiest <= 1.3 * two.cpu / 2
