"""Small models whose answers can be checked, and clips to ask them about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from cutting_room import QUICK, planned_at, video_of
from painted import read_index

from finecut.io.media.cutting import Recipe, cut
from finecut.io.media.frames.contact_sheet import SheetForm
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.records import Chunk, Clip, ModelUsed
from finecut.io.storage.staging import Scratch
from finecut.transforms.caption.asking import Answer, Frame, Question, Said, Vector
from finecut.transforms.caption.clips import Captioning, Enhancing
from finecut.transforms.caption.windows import Windowing, windows_of
from finecut.transforms.embed.clips import Embedding
from finecut.transforms.measure.looking import Looking

WINDOWING = Windowing(32, 16)


def number_of(frame: Frame) -> int:
    """The number that is painted into a frame."""
    return read_index(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))


class Eye:
    """An embedder: the mean colours of what it is shown."""

    used = ModelUsed("test/eye", "one")
    at_once = 0

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return [Vector(q.id, np.mean(q.frames, (0, 1, 2), dtype=np.float32)) for q in questions]


class BatchEye(Eye):
    """The same; it takes several questions, and answers them backwards."""

    at_once = 10**9

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return super().answer(questions)[::-1]


class Teller:
    """A captioner: says how many frames it saw, which, and what it was asked."""

    used = ModelUsed("test/teller", "two")
    at_once = 10**9

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return [self.said(question) for question in reversed(questions)]

    def said(self, question: Question) -> Said:
        if question.frames:
            numbers = [number_of(frame) for frame in question.frames]
            text = f"{len(numbers)} frames, {numbers[0]} to {numbers[-1]}; {question.text}"
        else:
            text = f"{question.system}: {question.text}"
        return Said(question.id, text, "ok", len(question.text), len(text))


def loaded(model: Any) -> Any:
    return model


def used(model: Eye | Teller) -> ModelUsed:
    return model.used


def clips_in(folder: Path, seconds: float = 2.0) -> list[Clip]:
    """A dark clip and a bright one, cut and staged."""
    cuts, scenes = (seconds,), (Scene(4), Scene(3))
    film = paint(folder / "a.mp4", seconds=2 * seconds, cuts=cuts, scenes=scenes)
    video, chunk = video_of(film), Chunk("c", 0, 2, 1, 2)
    spans = planned_at((0.0, seconds), (seconds, 2 * seconds))
    return [
        Clip(
            video,
            chunk,
            result.planned,
            result.file,
            str(result.path),
            windows=windows_of(result.file.num_frames, WINDOWING),
        )
        for result in cut(film.path, video, spans, Recipe(folder, QUICK))
        if result.file is not None
    ]


def looking_in(folder: Path, count: int = 8, captions: float | None = 2.0) -> Looking:
    form, scratch = SheetForm((), side=10_000), Scratch(50_000_000, str(folder))
    even = (count,) if count else ()
    return Looking(sheet=form, scratch=scratch, windowing=WINDOWING, even=even, captions=captions)


def embedding_by(model: Eye, looking: Looking, together: int = 1) -> Embedding:
    return Embedding(
        model="eye",
        load_model=partial(loaded, model),
        require=partial(used, model),
        looking=looking,
        frames=8,
        side=64,
        together=together,
    )


def captioning_by(
    model: Teller, looking: Looking, second: str | None = None, max_tokens: int = 512
) -> Captioning:
    return Captioning(
        model="teller",
        load_model=partial(loaded, model),
        require=partial(used, model),
        looking=looking,
        prompt="What is it?",
        second=second,
        side=10_000,
        max_tokens=max_tokens,
    )


def enhancing_by(model: Teller) -> Enhancing:
    return Enhancing(
        model="poet",
        captions="teller",
        load_model=partial(loaded, model),
        require=partial(used, model),
        instruction="Say more",
    )
