"""Which source a user means, and what there is of it, as documents say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finecut.io.layout import Layout, chunk_id, clip_id
from finecut.transforms.forget.sources import Known, Survey, checked

NAME, OTHER = "gs://films/day 1/a.mp4", "gs://films/a.mp4"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Two videos that were named as in a bucket, and read from /mnt."""
    layout = Layout(str(tmp_path))

    def write(path: str, **said: object) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(said))

    for name in (NAME, OTHER):
        relative = name.removeprefix("gs://films/")
        write(layout.processed_video(relative), video=name, num_clip_chunks=2)
        for index in range(2):
            clips = [clip_id(name, index, index + 1)]
            path = layout.processed_clip_chunk(relative, index)
            write(path, video=name, clip_chunk_index=index, clips=clips, filtered_clips=["../x"])
    write(layout.open_video("b.mp4"), names=["/films/b.mp4"], old=[clip_id(NAME, 7, 8)], chunks=1)
    write(layout.run_summary("now"), options={"input": ["/mnt/in"], "named_as": "gs://films"})
    return layout


@pytest.mark.parametrize("text", [NAME, "films/day 1/a.mp4", "day 1/a.mp4", "/mnt/in/day 1/a.mp4"])
def test_a_source_is_meant_by_its_name_its_path_and_its_file(layout: Layout, text: str) -> None:
    [known] = Survey.of(layout, 1).resolved([text]).found
    assert known == Known(
        NAME,
        "day 1/a.mp4",
        documents=(
            "processed_clip_chunks/day 1/a.mp4_0.json",
            "processed_clip_chunks/day 1/a.mp4_1.json",
            "processed_videos/day 1/a.mp4.json",
        ),
        clips=tuple(sorted(clip_id(NAME, index, index + 1) for index in range(2))),
        chunks=tuple(sorted(chunk_id(NAME, index) for index in range(2))),
    )


@pytest.mark.parametrize("text", ["/else/day 1/a.mp4", "1/a.mp4", "day 1", "", "/", "a.mp4/"])
def test_others_are_not_meant(layout: Layout, text: str) -> None:
    assert not Survey.of(layout, 1).resolved([text]).found


def test_a_path_below_the_input_means_the_video_there(layout: Layout) -> None:
    survey = Survey.of(layout, 1)
    assert [known.name for known in survey.resolved(["a.mp4", OTHER]).found] == [OTHER]
    [(_, why)] = survey.resolved(["day1/a.mp4"]).unknown
    assert why == "no source is called day1/a.mp4: did you mean day 1/a.mp4?"


def test_names_may_have_line_breaks(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    path = Path(layout.processed_clip_chunk("day\n1/a\nb.mp4", 0))
    path.parent.mkdir(parents=True)
    clips = [clip_id(NAME, 0, 1)]
    path.write_text(json.dumps({"video": NAME, "clip_chunk_index": 0, "clips": clips}))
    [known] = Survey.of(layout, 1).resolved(["day\n1/a\nb.mp4"]).found
    assert known.documents == ("processed_clip_chunks/day\n1/a\nb.mp4_0.json",)
    assert known.clips == tuple(clips)


def test_of_a_video_that_was_worked_on_the_note_tells(layout: Layout) -> None:
    [known] = Survey.of(layout, 1).resolved(["b.mp4"]).found
    assert known.clips == (clip_id(NAME, 7, 8),)
    assert known.chunks == (chunk_id("/films/b.mp4", 0),)


@pytest.mark.parametrize(
    "known",
    [
        Known("x", documents=("../../etc/passwd",)),
        Known("x", documents=("clips/a.mp4",)),
        Known("x", documents=("processed_videos/../../x",)),
        Known("x", clips=("../x",)),
    ],
)
def test_a_note_that_somebody_edited_removes_nothing_else(known: Known) -> None:
    with pytest.raises(ValueError, match=r"outside|no document|none"):
        checked(known)
