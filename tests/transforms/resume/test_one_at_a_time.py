"""In a stream, one version of a video at a time: when an attempt has ended, and what is next."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream

from finecut.io.layout import Layout
from finecut.io.records import Failure, Lost, Skipped, Source, to_json
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.gather import FORGET_AFTER
from finecut.transforms.resume import one_at_a_time
from finecut.transforms.resume.begin import with_version
from finecut.transforms.resume.note import Again
from finecut.transforms.resume.one_at_a_time import (
    BeginOneAtATime,
    Begun,
    begin_again,
    has_ended,
)
from finecut.transforms.write.failure_lists import lines_of, own_list
from finecut.transforms.write.writing import Writing

PATIENCE = 600.0


@pytest.fixture
def writing(tmp_path: Path) -> Writing:
    root = str(tmp_path / "out")
    return Writing(
        Layout(root), Shelf(root, f"{root}/.staging/x"), configuration="c", patience=PATIENCE
    )


@pytest.fixture
def source(tmp_path: Path) -> Source:
    film = tmp_path / "a.mp4"
    film.write_bytes(b"a film")
    return Source(str(film), str(film), "a.mp4")


def finish(source: Source, writing: Writing, **others: Any) -> None:
    document = {
        "video": source.name,
        "height": 1,
        "width": 1,
        "framerate": 1.0,
        "num_frames": 1,
        "duration": 1.0,
        "video_codec": "h264",
        "pixel_format": "yuv420p",
        "audio_format": None,
        "num_total_clips": 1,
        "num_clip_chunks": 1,
        "source_version": source.version,
        "configuration": "c",
        **others,
    }
    path = writing.layout.processed_video(source.relative)
    writing.shelf.write(path, json.dumps(document).encode())


def list_failure(source: Source, writing: Writing, **others: Any) -> Failure:
    given: dict[str, Any] = {"attempts": source.attempts + 1, **others}
    failure = Failure("probe", source, "Broken", "it broke", **given)
    path = own_list(source, writing.layout)
    writing.shelf.write(path, f"{to_json(failure)}\n".encode())
    return failure


def test_an_attempt_ends_with_the_document_of_its_version(source: Source, writing: Writing) -> None:
    begun = Begun(with_version(source), time.time())
    assert not has_ended(begun, writing)
    finish(replace(begun.source, version="another"), writing)
    assert not has_ended(begun, writing)
    finish(begun.source, writing, configuration="another")
    assert not has_ended(begun, writing)
    finish(begun.source, writing)
    assert has_ended(begun, writing)


def test_an_attempt_ends_with_its_own_failure(source: Source, writing: Writing) -> None:
    first = with_version(source)
    list_failure(first, writing)
    assert has_ended(Begun(first, time.time()), writing)
    assert not has_ended(Begun(replace(first, attempts=1), time.time()), writing)
    assert not has_ended(Begun(replace(first, version="another"), time.time()), writing)


def test_what_a_runner_lost_is_forgotten_in_the_end(source: Source, writing: Writing) -> None:
    long_ago = time.time() - FORGET_AFTER * PATIENCE - 1
    assert has_ended(Begun(source, long_ago), writing)


def test_attempts_are_counted_from_job_to_job(source: Source, writing: Writing) -> None:
    [begun] = begin_again(source, writing, Again(most_attempts=2))
    assert isinstance(begun, Source)
    assert begun == with_version(source)
    list_failure(begun, writing)
    [begun] = begin_again(source, writing, Again(most_attempts=2))
    assert isinstance(begun, Source)
    assert begun.attempts == 1
    list_failure(begun, writing)
    [aside] = begin_again(source, writing, Again(most_attempts=2))
    assert isinstance(aside, Failure)
    assert (aside.set_aside, aside.attempts) == (True, 2)
    Path(source.uri).write_bytes(b"another film")
    [begun] = begin_again(source, writing, Again(most_attempts=2))
    assert isinstance(begun, Source)
    assert (begun.attempts, begun.trouble) == (0, "")


def test_what_is_finished_is_skipped(source: Source, writing: Writing) -> None:
    finish(with_version(source), writing)
    [skipped] = begin_again(source, writing, Again())
    assert isinstance(skipped, Skipped)


def test_another_version_waits_until_the_first_has_ended(
    source: Source, writing: Writing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Timers that are set by the real time go off again and again while the stream's is ahead of it.
    monkeypatch.setattr(one_at_a_time, "EVERY", 30.0)
    first = with_version(source)
    film, listing = Path(source.uri), own_list(source, writing.layout)
    line = f"{to_json(Failure('probe', first, 'Broken', 'it broke'))}\n".encode()

    def happens(step: str) -> Source:
        if step == "replaced":
            film.write_bytes(b"another film")
        elif step == "ended":
            writing.shelf.write(listing, line)
        return source

    options = PipelineOptions()
    options.view_as(StandardOptions).streaming = True
    path = tmp_path / "begun"

    def keep(source: Source) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{source.version}\n")

    far = int(time.time())
    stream = (
        TestStream()
        .add_elements(["told", "told"])
        .add_elements(["replaced"])
        .advance_processing_time(far)
        .advance_processing_time(32)
        .add_elements(["told"])
        .add_elements(["ended"])
        .advance_processing_time(60)
    )
    with beam.Pipeline("BundleBasedDirectRunner", options=options) as pipeline:
        told = pipeline | stream | beam.Map(happens).with_output_types(Source)
        _ = (told | BeginOneAtATime(writing, Again())).sources | beam.Map(keep)
    assert path.read_text(encoding="utf-8").splitlines() == [
        first.version,
        with_version(source).version,
    ]
    assert first.version != with_version(source).version


def test_a_list_holds_all_that_went_wrong_with_a_video(source: Source, writing: Writing) -> None:
    failures = [
        Failure("cut", source, "LostShot", "no file", lost_shots=(name,))
        for name in ("b", "a", "b")
    ]
    lost = Lost(None, None, tuple(failures))  # type: ignore[arg-type]
    assert len(lines_of(lost).splitlines()) == 2
    assert lines_of(failures[0]) == f"{to_json(failures[0])}\n".encode()
