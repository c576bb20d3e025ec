"""What a packed dataset asks of a store: by chunk and by video, and nothing by clip."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from arranged import curate

from finecut.io.media.testfilm.paint import paint
from finecut.io.storage.counted import bucket_in, requests_in

#: Clips in a chunk.
CLIPS = 20


def asked(folder: Path, seconds: int, **chosen: Any) -> tuple[int, Counter[str]]:
    """How many clips a run wrote, and how many files, by where they lie."""
    films, bucket = folder / "films", folder / "bucket"
    for each in (films, bucket):
        each.mkdir(parents=True)
    paint(films / "a.mp4", width=64, height=36, rate=5, seconds=seconds)
    summary = curate(
        films,
        f"{bucket_in(bucket)}/out",  # type: ignore[arg-type]
        keep=(),
        chunk_seconds=CLIPS,
        workers=1,
        generate_previews=True,
        no_generate_embeddings=True,
        window_size=5,
        window_remainder=5,
        preview_target_height=36,
        **chosen,
    ).summary
    written = [
        one.uri.partition("/out/")[2].partition("/")[0]
        for one in requests_in(bucket)
        if one.kind == "write" and "*" not in one.uri and "." in one.uri.rpartition("/")[2]
    ]
    return summary.shots_kept, Counter(written)


def test_a_clip_costs_no_write_and_a_chunk_four(tmp_path: Path) -> None:
    """Whatever its clips have: here each has a preview."""
    few, one = asked(tmp_path / "one", CLIPS, layout="packed")
    many, three = asked(tmp_path / "three", 3 * CLIPS, layout="packed")
    assert (few, many) == (CLIPS, 3 * CLIPS)
    three.subtract(one)
    more = +three
    assert more == {"packs": 2 * 2, ".finecut": 2, "processed_clip_chunks": 2}
    assert more.total() / (2 * CLIPS) <= 0.2
    assert not one.keys() & {"clips", "metas", "previews"}
