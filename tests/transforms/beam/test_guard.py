"""Evidence speaks of the film; where our code was stands in the log, for who asks."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Failure, PlannedClip, Source, Span, Video, from_json
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
from finecut.transforms.beam.guard import beginning, causes, guarded, lost_facts, of_source

#: What only a stack says.
OURS = re.compile(r"File \"|line \d+|\.py\b|Traceback|finecut/")

SECRET = "s3cr3tvalue0123456789"


def failures(films: Path, output: Path, **others: Any) -> list[Failure]:
    settings: dict[str, Any] = {
        "clip_length": 1.0,
        "min_clip_length": 0.5,
        "no_generate_embeddings": True,
        "workers": 1,
        "no_report": True,
        **others,
    }
    run(Options((str(films),), output=str(output), **settings))
    [listed] = (output / "failures").iterdir()
    return [from_json(Failure, line) for line in listed.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film that ends long before its index says, one cut before its index, a text, nothing."""
    folder = tmp_path_factory.mktemp("damaged")
    whole = paint(folder / "whole.mp4", width=160, height=90, rate=10, seconds=8).path
    data = Path(whole).read_bytes()
    Path(whole).unlink()
    (folder / "cut.mp4").write_bytes(data[: len(data) // 2])
    (folder / "text.mp4").write_text("no film at all", encoding="utf-8")
    (folder / "nothing.mp4").touch()
    return folder


@pytest.mark.parametrize("isolated", [True, False])
def test_a_file_that_is_no_film_is_described(isolated: bool, damaged: Path, tmp_path: Path) -> None:
    found = failures(damaged, tmp_path / "out", no_isolation=not isolated)
    told = {failure.source.relative: failure for failure in found}
    size = (damaged / "text.mp4").stat().st_size
    text, *words = told["text.mp4"].evidence.splitlines()
    assert text == f"video: {size} bytes, begins like text"
    assert words == ["decoder: InvalidDataError: Invalid data found when processing input"]
    assert told["nothing.mp4"].evidence.startswith("video: 0 bytes, empty\ndecoder: ")
    for failure in found:
        assert not OURS.search(failure.evidence), failure


def test_where_a_film_broke_off_is_told(tmp_path: Path) -> None:
    """Of a film whose clips are lost from some second on, which ones."""
    folder = tmp_path / "films"
    folder.mkdir()
    film = paint(folder / "a.mp4", width=160, height=90, rate=10, seconds=6)
    data = bytearray(Path(film.path).read_bytes())
    # All that is stored of pictures from the middle on is gone; the index is where it was.
    start = data.index(b"mdat")
    last = data.rindex(b"moov") if data.rindex(b"moov") > start else len(data)
    middle = (start + last) // 2
    data[middle:last] = bytes(last - middle)
    Path(film.path).write_bytes(data)
    [*found] = failures(folder, tmp_path / "damaged")
    assert found
    for failure in found:
        facts = failure.evidence.splitlines()
        assert facts[0].startswith("video: ")
        assert facts[1] == (
            "probed: h264, yuv420p, 160 by 90 pixels, 10 frames a second, 6 s, 60 frames, no sound"
        )
        assert re.match(r"lost: \d+ clips?, from \d s to \d s \(frames \d+ to \d+\)$", facts[2])
        assert not OURS.search(failure.evidence)


def test_which_part_is_lost_is_told_in_seconds_and_frames() -> None:
    source = Source("/f/a.mp4", "/f/a.mp4", "a.mp4")
    video = Video(source, 1, 0, 96, 54, 25.0, 500, 20.0, "h264", "yuv420p", None, 1, 0)
    clips = [PlannedClip("a", 2, Span(4.0, 6.0)), PlannedClip("b", 3, Span(6.0, 8.0))]
    assert lost_facts(video, clips) == "lost: 2 clips, from 4 s to 8 s (frames 100 to 199)"
    assert lost_facts(video, []) == ""


@pytest.mark.parametrize("isolated", [True, False])
def test_the_stack_is_for_who_asks(
    isolated: bool, damaged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "finecut"):
        failures(damaged, tmp_path / "out", no_isolation=not isolated)
    stacks = [r.getMessage() for r in caplog.records if "Traceback" in r.getMessage()]
    assert any("probe failed for" in stack and "text.mp4" in stack for stack in stacks)
    assert any("FilmError" in stack and "source.py" in stack for stack in stacks)
    assert {r.levelno for r in caplog.records if "Traceback" in r.getMessage()} == {logging.INFO}


def test_causes_are_told_and_secrets_are_not() -> None:
    def work() -> list[int]:
        try:
            raise OSError(5, f"Input/output error at https://me:{SECRET}@host/a")
        except OSError as error:
            raise ValueError("it broke") from error

    source = Source("/nowhere/a.mp4", "/nowhere/a.mp4", "a.mp4")
    said: list[str] = []
    [failure] = guarded("probe", source, work, tell=said.append)
    assert isinstance(failure, Failure)
    assert failure.evidence == "because: OSError: Input/output error at https://…@host/a"
    assert SECRET not in json.dumps(said)
    assert "Traceback" in said[0]
    assert of_source(failure) == failure  # nothing lies there of which more could be said


def test_a_circle_of_causes_has_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert len([*causes(one)]) == 4


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\x1aE\xdf\xa3rest", "begins like Matroska or WebM"),
        (b"RIFF\0\0\0\0AVI LIST", "begins like AVI"),
        ((b"G" + bytes(187)) * 2, "begins like MPEG-TS"),
        (bytes(100), "begins with zeros"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09", "begins with 01 02 03 04 05 06 07 08, which no"),
    ],
)
def test_files_are_known_by_how_they_begin(head: bytes, words: str) -> None:
    assert beginning(head).startswith(words)
