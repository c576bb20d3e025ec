"""Records: light, frozen, and the same after a journey through JSON."""

from __future__ import annotations

import dataclasses

import pytest

from finecut.io.records import (
    Chunk,
    Clip,
    ClipFile,
    Failure,
    PlannedChunk,
    PlannedClip,
    Source,
    Span,
    Video,
    Window,
    Written,
    from_json,
    to_json,
)
from finecut.io.summary import Summary

SOURCE = Source("/mnt/ünï 日本.mp4", "/data/ünï 日本.mp4", "ünï 日本.mp4")
VIDEO = Video(SOURCE, 10, 0, 640, 360, 29.97, 90, 3.003, "h264", "yuv420p", None, 2000, -512)
SHOT = PlannedClip("id", 0, Span(0.0, 3.003))
CHUNK = Chunk("chunk", 0, 1, 1, 1)
CLIP = Clip(
    VIDEO,
    CHUNK,
    SHOT,
    ClipFile(640, 360, 29.97, 90, "h264", 1000, "00ff"),
    staged="/out/.staging/x/id.mp4",
    scores={"motion_global_mean": 0.25},
    windows=(Window(0, 89, {"qwen2.5": 'a "cat"\n'}, {"qwen_lm": "two"}),),
    vectors={"cosmos-embed1-224p": (0.5, -0.25)},
    artefacts={"previews/id_0_89.webp": "/out/.staging/x/p.webp"},
    rejected_by="motion",
    errors={"decode": "2 packets"},
)


@pytest.mark.parametrize(
    "record",
    [
        SOURCE,
        VIDEO,
        SHOT,
        PlannedChunk(VIDEO, CHUNK, (SHOT, SHOT)),
        CLIP,
        dataclasses.replace(CLIP, file=None, rejected_by=None, vectors={}),
        Failure("cut", SOURCE, "ValueError", "why", "where", ("id",)),
        Written("clips", "id", "chunk", "/out/clips/id.mp4", 1000),
        Summary(videos_found=1, failures=(Failure("cut", SOURCE, "E", "m"),)),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_survive_json(record: object) -> None:
    assert from_json(type(record), to_json(record)) == record
    assert "\n" not in to_json(record)


def test_records_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CLIP.planned = SHOT  # type: ignore[misc]
    assert CLIP.replace(rejected_by=None).kept
    assert not CLIP.kept


def test_no_field_can_hold_media() -> None:
    """Records travel, bytes rest."""
    for kind in (
        Source,
        Video,
        Span,
        PlannedClip,
        Chunk,
        PlannedChunk,
        ClipFile,
        Window,
        Clip,
        Failure,
        Written,
    ):
        for field in dataclasses.fields(kind):
            assert "bytes" not in str(field.type).replace("num_bytes", ""), (kind, field.name)


def test_summaries_add_up() -> None:
    failure = Failure("cut", SOURCE, "E", "m")
    one = Summary(2, 1, 0, 1, 5, 4, 0, 1, 60.0, 40.0, 100, 900, (failure,), 1)
    assert Summary() + one == one
    assert (one + one).shots_kept == 8
    assert (one + one).failures == (failure, failure)
    assert (one + one).imbalances() == []
    two = Summary(rejected_by={"motion": 1}) + Summary(rejected_by={"motion": 2, "frozen": 1})
    assert two.rejected_by == {"motion": 3, "frozen": 1}


def test_the_laws_of_conservation() -> None:
    good = Summary(3, 1, 1, 1, 5, 3, 1, 1, rejected_by={"motion": 1})
    assert good.imbalances() == []
    [video_law] = dataclasses.replace(good, videos_found=4).imbalances()
    assert "4 videos were found" in video_law
    [shot_law] = dataclasses.replace(good, shots_kept=2).imbalances()
    assert "5 clips were planned" in shot_law
    [reason_law] = dataclasses.replace(good, rejected_by={}).imbalances()
    assert "1 clips were rejected, but only 0" in reason_law
