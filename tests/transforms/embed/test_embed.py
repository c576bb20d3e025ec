"""Embedding: vectors of frames from all over the clip, and accidents that cost one vector."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from cutting_room import QUICK
from knowing import BatchEye, Eye, clips_in, embedding_by, looking_in, number_of

from finecut.io.media.cutting import Recipe, cut
from finecut.io.media.frames.contact_sheet import Wanted
from finecut.io.records import Clip, ModelUsed
from finecut.transforms.caption.asking import Answer, Asked, Question, Vector
from finecut.transforms.cut.chunk import LOOK_AT_NOTHING
from finecut.transforms.measure.looking import ClipLook, Looking, even_moments, keep_sheet, sheet_of
from finecut.transforms.work import AskModel


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    return clips_in(tmp_path_factory.mktemp("clips"))


def wanted_of(clip: Clip, looking: Looking) -> Wanted:
    assert clip.file is not None
    return looking.wanted_in(clip.planned, clip.file)


def embed(clips: Sequence[Clip], model: Eye, folder: Path) -> list[Clip]:
    return embedding_by(model, looking_in(folder)).run(clips, Asked(model))


def test_frames_are_spread_evenly_over_the_whole_clip(clips: list[Clip], tmp_path: Path) -> None:
    """60 frames at 30 a second: the middles of eight parts of a quarter of a second."""
    looking = looking_in(tmp_path)
    sheet = sheet_of(clips[0], looking)
    places = sheet.near(even_moments(8, 2.0))
    assert [sheet.indices[place] for place in places] == [4, 11, 19, 26, 34, 41, 49, 56]
    numbers = [number_of(frame) for frame in sheet.pictures(places)]
    assert numbers == [4, 11, 19, 26, 34, 41, 49, 56]


def test_a_clip_with_fewer_frames_shows_some_twice(tmp_path: Path) -> None:
    short, _ = clips_in(tmp_path)
    sheet = sheet_of(short, looking_in(tmp_path, count=100, captions=None))
    assert len(sheet) == 60
    assert len(sheet.near(even_moments(100, 2.0))) == 100


def test_the_sheet_from_the_cut_is_the_one_from_the_file(tmp_path: Path) -> None:
    """The same frames, whether seen while cutting or drawn from the clip's file."""
    [dark, _] = clips_in(tmp_path)
    looking = looking_in(tmp_path)
    looks: dict[str, ClipLook] = {}

    def look(clip: object) -> ClipLook:
        return looks.setdefault(
            dark.planned.id, ClipLook(looking, looking.expected(dark.video, dark.planned))
        )

    (tmp_path / "again").mkdir()
    list(
        cut(
            dark.video.source.uri,
            dark.video,
            [dark.planned],
            Recipe(tmp_path / "again", QUICK, observer=look),
        )
    )
    seen = looks[dark.planned.id].sheet
    assert seen is not None
    drawn = sheet_of(dark, looking)
    assert seen.indices == drawn.indices
    assert set(seen.indices) >= wanted_of(dark, looking).frames


def test_a_sheet_that_lacks_frames_is_drawn_again(clips: list[Clip], tmp_path: Path) -> None:
    """As after a wrong guess of how many frames a clip would have."""
    few = looking_in(tmp_path, captions=None)
    keep_sheet(clips[0].id, sheet_of(clips[0], few), few)
    looking = looking_in(tmp_path)
    wanted = wanted_of(clips[0], looking).frames
    assert not wanted <= set(sheet_of(clips[0], few).indices)
    assert wanted <= set(sheet_of(clips[0], looking).indices)


def test_nothing_is_wanted_of_who_does_not_ask(clips: list[Clip]) -> None:
    assert wanted_of(clips[0], LOOK_AT_NOTHING).moments == ()
    assert LOOK_AT_NOTHING.expected(clips[0].video, clips[0].planned).frames == frozenset()


def test_a_vector_and_who_made_it(clips: list[Clip], tmp_path: Path) -> None:
    dark, bright = embed(clips, Eye(), tmp_path)
    assert np.mean(dark.vectors["eye"]) < 90
    assert np.mean(bright.vectors["eye"]) > 150
    assert dark.models == {"eye_embedding": ModelUsed("test/eye", "one", 3)}
    assert dark.errors == {}
    # Every number is exactly one of float32.
    assert dark.vectors["eye"] == tuple(np.array(dark.vectors["eye"], np.float32).tolist())


def test_order_batches_and_who_else_is_there_change_nothing(
    clips: list[Clip], tmp_path: Path
) -> None:
    many = [
        clip.replace(planned=clip.planned.__class__(f"{clip.id}-{i}", i, clip.planned.span))
        for i in range(4)
        for clip in clips
    ]
    plain = {c.id: c.vectors for clip in many for c in embed([clip], Eye(), tmp_path)}
    for seed in range(3):
        mixed = random.Random(seed).sample(many, len(many))
        for model in (Eye(), BatchEye()):
            assert {c.id: c.vectors for c in embed(mixed, model, tmp_path)} == plain


def test_a_rejected_clip_is_not_looked_at(clips: list[Clip], tmp_path: Path) -> None:
    clip = clips[0].replace(rejected_by="motion")
    assert embed([clip], Eye(), tmp_path) == [clip]


class Blind(BatchEye):
    """Answers no numbers about dark clips."""

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        answers: list[Answer] = []
        for question in questions:
            mean = np.array(np.mean(question.frames, (0, 1, 2)), np.float32)
            if mean.mean() < 100:
                mean[1] = np.nan
            answers.append(Vector(question.id, mean))
        return answers


class Full(BatchEye):
    """Has no memory for dark clips."""

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        if any(np.mean(question.frames) < 100 for question in questions):
            raise MemoryError("CUDA out of memory")
        return super().answer(questions)


class Mute(BatchEye):
    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return [a for a in super().answer(questions) if a.id != questions[0].id]


@pytest.mark.parametrize(
    ("model", "words"),
    [(Blind(), "NoVector"), (Full(), "out of memory"), (Mute(), "did not answer")],
)
def test_what_goes_wrong_costs_one_vector(
    clips: list[Clip], tmp_path: Path, model: Eye, words: str
) -> None:
    dark, bright = embed(clips, model, tmp_path)
    assert words in dark.errors["embedding"]
    assert dark.vectors == {}
    assert dark.kept
    assert set(bright.vectors) == {"eye"}
    assert bright.errors == {}


def test_a_clip_without_frames_costs_its_own_vector(clips: list[Clip], tmp_path: Path) -> None:
    gone = clips[0].replace(staged=str(tmp_path / "gone.mp4"))
    dark, bright = embed([gone, clips[1]], Eye(), tmp_path)
    assert "FilmError: it could not be opened as a video container" in dark.errors["embedding"]
    assert bright.vectors


@pytest.mark.parametrize("together", [1, 8])
def test_the_transform_says_what_the_function_says(
    clips: list[Clip], tmp_path: Path, together: int
) -> None:
    embedding = embedding_by(Blind(), looking_in(tmp_path), together)
    plain = sorted(embedding.run(clips, Asked(Blind())), key=lambda c: c.id)

    def check(found: list[Clip]) -> None:
        assert sorted(found, key=lambda c: c.id) == plain

    with beam.Pipeline("FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create(clips) | AskModel(embedding), check)


@pytest.mark.parametrize("copies", [1, 2])
def test_a_model_that_all_processes_share_says_the_same(
    clips: list[Clip], tmp_path: Path, copies: int
) -> None:
    """It sits in a process of its own, and is called by proxy."""
    embedding = embedding_by(Blind(), looking_in(tmp_path))
    plain = sorted(embedding.run(clips, Asked(Blind())), key=lambda c: c.id)

    def check(found: list[Clip]) -> None:
        assert sorted(found, key=lambda c: c.id) == plain

    with beam.Pipeline("FnApiRunner") as pipeline:
        asked = pipeline | beam.Create(clips) | AskModel(embedding, True, copies)
        assert_that(asked, check)


def test_bytes_are_those_of_the_frames(clips: list[Clip], tmp_path: Path) -> None:
    """Beam's own way would pickle the clips."""
    embedding = embedding_by(Eye(), looking_in(tmp_path))
    [count] = {embedding.num_bytes([clip]) for clip in clips}
    assert count == 3 * 114 * 64 * 8
    assert embedding.num_bytes(clips) == 2 * count
