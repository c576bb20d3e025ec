"""How far a chunk is: told while its clips are made, and never more than there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Clip, PlannedChunk, Source
from finecut.io.storage.publishing import Shelf
from finecut.transforms.amount import counted, counted_clips
from finecut.transforms.beam.metrics import BOARD
from finecut.transforms.cut.chunk import Cutting, cut_chunk, cut_telling
from finecut.transforms.cut.clips import Advance
from finecut.transforms.split.spans import FixedStride, Splitting, chunks_of

SECONDS, LENGTH = 12, 4.0


@pytest.fixture(scope="module")
def chunk(tmp_path_factory: pytest.TempPathFactory) -> PlannedChunk:
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    paint(path, width=64, height=36, rate=25, seconds=SECONDS)
    video = probe(str(path), Source(str(path), str(path), path.name), path.stat().st_size)
    [planned] = chunks_of(video, Splitting(FixedStride(LENGTH, LENGTH, 1.0)))
    return planned


def work_cut() -> int:
    return BOARD.read().get("work cut", 0)


def test_it_is_told_while_clips_are_made(chunk: PlannedChunk, tmp_path: Path) -> None:
    cutting = Cutting(Shelf(str(tmp_path), str(tmp_path / "staging")))
    outcomes = list(cut_telling(chunk, cutting))
    told = [float(outcome) for outcome in outcomes if isinstance(outcome, bytes)]
    clips = [outcome.id for outcome in outcomes if isinstance(outcome, Clip)]
    # What an encoder holds back is not made yet.
    assert 0.3 * SECONDS < sum(told) < SECONDS
    assert all(0.5 <= seconds < 1 for seconds in told)
    assert isinstance(outcomes[0], bytes)
    plain = list(cut_chunk(chunk, cutting))
    assert [outcome.id for outcome in plain if isinstance(outcome, Clip)] == clips
    assert len(plain) == len(clips) == SECONDS / LENGTH


def test_what_is_told_and_what_has_ended_is_counted_once(chunk: PlannedChunk) -> None:
    advance, before = Advance(chunk), work_cut()
    advance.tell(b"0.5")
    assert work_cut() - before == counted(chunk.video, 0.5)
    for clip in chunk.clips:
        advance.end([clip])
        advance.tell(b"1.25")
    assert work_cut() - before == counted_clips(chunk.video, chunk.clips)


@pytest.mark.parametrize("said", [b"1e300", b"-5", b"nan", b"inf", b"-inf", b"0"])
def test_a_child_cannot_tell_more_than_there_is(said: bytes, chunk: PlannedChunk) -> None:
    advance, before = Advance(chunk), work_cut()
    for _ in range(3):
        advance.tell(said)
    assert 0 <= work_cut() - before <= counted_clips(chunk.video, chunk.clips)
    advance.end(chunk.clips)
    advance.tell(said)
    assert work_cut() - before == counted_clips(chunk.video, chunk.clips)
