"""Captions: each window asked about its own frames; what models say is data."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st
from knowing import Teller, captioning_by, clips_in, enhancing_by, looking_in

from finecut.io.layout import Layout
from finecut.io.records import Clip, ModelUsed, TextOutcome, Window
from finecut.transforms.caption.asking import Answer, Asked, Question, Said, Trouble
from finecut.transforms.caption.windows import Windowing
from finecut.transforms.plain_text import cleaned
from finecut.transforms.steps.caption import CAPTION
from finecut.transforms.steps.enhance import ENHANCE
from finecut.transforms.steps.shared import AV, VARIANTS
from finecut.transforms.work import AskModel
from finecut.transforms.write.documents import clip_document


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    return clips_in(tmp_path_factory.mktemp("clips"))


def caption(
    clips: Sequence[Clip], model: Teller, folder: Path, second: str | None = None, tokens: int = 512
) -> list[Clip]:
    captioning = captioning_by(model, looking_in(folder), second, tokens)
    return captioning.run(clips, Asked(model))


def texts(clip: Clip) -> list[str]:
    return [window.captions["teller"] for window in clip.windows]


def statuses(clip: Clip) -> list[str]:
    return [window.outcomes["teller"].status for window in clip.windows]


def test_each_window_is_told_from_its_own_frames(clips: list[Clip], tmp_path: Path) -> None:
    """60 frames in windows of 32 with 16 left over at the least: 0–31 and 32–59, four of each."""
    dark, bright = caption(clips, Teller(), tmp_path)
    assert texts(dark) == ["4 frames, 0 to 31; What is it?", "4 frames, 32 to 59; What is it?"]
    assert texts(bright) == ["4 frames, 60 to 91; What is it?", "4 frames, 92 to 119; What is it?"]
    assert dark.models == {"teller_caption": ModelUsed("test/teller", "two")}
    assert dark.windows[0].outcomes == {"teller": TextOutcome("ok", 11, len(texts(dark)[0]))}
    assert dark.errors == {}


def test_order_and_who_else_is_there_change_nothing(clips: list[Clip], tmp_path: Path) -> None:
    many = [
        clip.replace(planned=replace(clip.planned, id=f"{clip.id}-{i}"))
        for i in range(3)
        for clip in clips
    ]
    plain = {c.id: c for clip in many for c in caption([clip], Teller(), tmp_path)}
    mixed = random.Random(0).sample(many, len(many))
    assert {c.id: c for c in caption(mixed, Teller(), tmp_path)} == plain


def test_the_second_pass_is_asked_with_the_first_answer(clips: list[Clip], tmp_path: Path) -> None:
    first, _ = caption(clips, Teller(), tmp_path)
    second, _ = caption(clips, Teller(), tmp_path, second=r"Look \1 again:")
    before, text = texts(first)[0], texts(second)[0]
    assert text == f"4 frames, 0 to 31; What is it?\n\nLook \\1 again:\n\n{before}"
    told = second.windows[0].outcomes["teller"]
    assert told.output_tokens == len(before) + len(text)


class Worse(Teller):
    """Has nothing to say the second time."""

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        again = "again" in questions[0].text
        return [Said(q.id, "") for q in questions] if again else super().answer(questions)


def test_each_prompt_speaks_of_its_own_video(clips: list[Clip], tmp_path: Path) -> None:
    first, other = clips[:2]
    said = {"title": "Up {year}", "year": 2009}
    source = replace(first.video.source, metadata=said)
    about = [first.replace(video=replace(first.video, source=source)), other]
    looking = looking_in(tmp_path)
    asking = replace(
        captioning_by(Teller(), looking, second="Of {year} or {source.year}?"),
        prompt="{title} ({source.year})",
    )
    one, two = asking.run(about, Asked(Teller()))
    assert "Up {year} (2009)\n\nOf 2009 or 2009?" in texts(one)[0]
    assert "{title} ()\n\nOf {year} or ?" in texts(two)[0]
    more = replace(enhancing_by(Teller()), instruction="Of {title}:")
    [rich] = more.run([one], Asked(Teller()))
    assert rich.windows[0].enhanced_captions["poet"].startswith("Of Up {year}:: 4 frames")


def test_the_first_text_stays_when_the_second_pass_fails(clips: list[Clip], tmp_path: Path) -> None:
    first, _ = caption(clips, Teller(), tmp_path)
    clip, _ = caption(clips, Worse(), tmp_path, second="again")
    assert texts(clip) == texts(first)
    assert statuses(clip) == ["failed", "failed"]
    assert "window 0_31 failed: SecondPass: its answer was" in clip.errors["caption"]


class Moody(Teller):
    """Something is wrong with each window in its own way."""

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return [self.mood(self.said(question)) for question in questions]

    def mood(self, said: Said) -> Answer:
        ways: dict[str, Answer] = {
            "31": Said(said.id, " \n "),
            "59": Said(said.id, "", "blocked"),
            "91": Said(said.id, "half a sent", "truncated", 5, 512),
            "119": Trouble(said.id, "TimeoutError", "no answer within 300 seconds"),
        }
        return ways[said.text.split(" to ")[1].split(";")[0]]


def test_what_became_of_each_window_is_written_down(clips: list[Clip], tmp_path: Path) -> None:
    dark, bright = caption(clips, Moody(), tmp_path)
    assert statuses(dark) == ["empty", "blocked"]
    assert statuses(bright) == ["truncated", "failed"]
    assert dark.errors == {"caption": "window 0_31 empty; window 32_59 blocked"}
    assert bright.errors["caption"] == (
        "window 32_59 failed: TimeoutError: no answer within 300 seconds"
    )
    assert [dict(window.captions) for window in dark.windows] == [{}, {}]
    windows = clip_document(bright, Layout("/out"))["windows"]
    assert windows == [
        {
            "start_frame": 0,
            "end_frame": 31,
            "teller_caption": "half a sent",
            "teller_caption_status": "truncated",
            "teller_caption_tokens": {"prompt": 5, "output": 512},
        },
        {"start_frame": 32, "end_frame": 59, "teller_caption_status": "failed"},
    ]


class Endless(Teller):
    def said(self, question: Question) -> Said:
        return Said(question.id, "\x1b[31m\x00" + "word " * 100_000)


def test_what_models_say_has_a_limit(clips: list[Clip], tmp_path: Path) -> None:
    clip, _ = caption(clips, Endless(), tmp_path, tokens=10)
    assert len(texts(clip)[0]) <= 320
    assert texts(clip)[0].startswith("[31mword word")
    assert statuses(clip) == ["truncated", "truncated"]


@given(st.text(max_size=60), st.integers(1, 40))
def test_cleaned_text_is_printable_short_and_stays_so(text: str, most: int) -> None:
    once = cleaned(text, most)
    assert len(once) <= most
    assert all(c.isprintable() or c in "\n\t\u200c\u200d" for c in once)
    assert cleaned(once, most) == once
    once.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("10\u00a0km\u3000far, New\u202fYork", "10 km far, New York"),
        ("line\rline\x85line\u2028line\x0bline", "line\nline\nline\nline\nline"),
        ("na\u200cme \U0001f468\u200d\U0001f469", "na\u200cme \U0001f468\u200d\U0001f469"),
        ("\u202eevil\u202c\x07\ud800", "evil"),
    ],
)
def test_words_stay_words(text: str, plain: str) -> None:
    assert cleaned(text, 100) == plain


def test_the_second_question_holds_a_clean_and_short_answer(
    clips: list[Clip], tmp_path: Path
) -> None:
    asked: list[str] = []

    class Rude(Endless):
        def said(self, question: Question) -> Said:
            asked.append(question.text)
            return super().said(question)

    caption(clips[:1], Rude(), tmp_path, second="again:", tokens=10)
    again = [text for text in asked if "again:" in text]
    assert len(again) == 2
    assert all(len(text) < 400 and "\x1b" not in text for text in again)


def test_a_window_of_one_frame_is_shown_twice(clips: list[Clip], tmp_path: Path) -> None:
    narrow = clips[0].replace(windows=(Window(0, 58), Window(59, 59)))
    looking = replace(looking_in(tmp_path), windowing=Windowing(59, 1))
    [clip] = captioning_by(Teller(), looking).run([narrow], Asked(Teller()))
    assert texts(clip)[1] == "2 frames, 59 to 59; What is it?"


def test_richer_captions_come_from_captions(clips: list[Clip], tmp_path: Path) -> None:
    told = caption(clips, Teller(), tmp_path)
    silent = told[1].replace(windows=tuple(replace(w, captions={}) for w in told[1].windows))
    first, second = enhancing_by(Teller()).run([told[0], silent], Asked(Teller()))
    assert [w.enhanced_captions for w in first.windows] == [
        {"poet": f"Say more: {text}"} for text in texts(told[0])
    ]
    assert [w.captions for w in first.windows] == [w.captions for w in told[0].windows]
    assert second == silent
    document = clip_document(first, Layout("/out"))
    assert list(document["windows"][0])[2:] == [
        "teller_caption",
        "poet_enhanced_caption",
        "teller_caption_status",
        "teller_caption_tokens",
        "poet_enhanced_caption_status",
        "poet_enhanced_caption_tokens",
    ]
    assert set(document["models"]) == {"teller_caption", "poet_enhanced_caption"}


def test_rejected_clips_and_clips_without_windows_are_not_asked_about(
    clips: list[Clip], tmp_path: Path
) -> None:
    odd = [clips[0].replace(rejected_by="motion"), clips[1].replace(windows=())]
    assert caption(odd, Teller(), tmp_path) == odd


def test_frames_that_are_gone_cost_the_captions(clips: list[Clip], tmp_path: Path) -> None:
    gone = clips[0].replace(staged=str(tmp_path / "gone.mp4"))
    dark, bright = caption([gone, clips[1]], Teller(), tmp_path)
    assert "FilmError: it could not be opened as a video container" in dark.errors["caption"]
    assert statuses(bright) == ["ok", "ok"]


def test_the_transform_says_what_the_function_says(clips: list[Clip], tmp_path: Path) -> None:
    captioning = captioning_by(Moody(), looking_in(tmp_path))
    plain = sorted(captioning.run(clips, Asked(Moody())), key=lambda c: c.id)

    def check(found: list[Clip]) -> None:
        assert sorted(found, key=lambda c: c.id) == plain

    with beam.Pipeline("FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create(clips) | AskModel(captioning), check)


def test_every_kind_of_footage_is_asked_its_own_question() -> None:
    assert set(CAPTION) == set(ENHANCE) == set(VARIANTS)
    assert len(set(CAPTION.values())) == len(set(ENHANCE.values())) == 3
    assert "car" in CAPTION[AV]
