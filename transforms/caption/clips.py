"""Captions: what happens in each window of a kept clip, in words.

    windows   [────0───────)[─────1──────)
    frames     ▪  ▪  ▪  ▪    ▪  ▪  ▪  ▪        a few of each, evenly
    asked     "Describe …"  "Describe …"       the captioner, once or (second pass) twice
    enhanced  its caption   its caption        a text model, if asked for

Each window is a question of its own, with an id of its own. What models say is data: it is cleaned
of control characters and cut at a length, and means nothing to this program. What became of it is
kept beside it: ``ok``, ``truncated`` (the model or we stopped it), ``empty``, ``blocked`` (the
server refused), ``failed``. The last three are also among the clip's errors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from finecut.io.media.frames.contact_sheet import SheetForm
from finecut.io.records import Clip, Failure, ModelUsed, TextOutcome, Window
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.metrics import count, timed
from finecut.transforms.caption.asking import (
    EMPTY,
    FAILED,
    OK,
    TRUNCATED,
    Answer,
    Asked,
    Question,
    Said,
    Trouble,
    batches,
    in_trouble,
)
from finecut.transforms.caption.prompts import filled
from finecut.transforms.caption.windows import sampled_in_window
from finecut.transforms.measure.looking import Looking, sheet_of
from finecut.transforms.plain_text import cleaned
from finecut.transforms.work import ModelWork

CAPTION, ENHANCE = "caption", "enhance"
#: Pixels of questions that are held at once, whatever the length of clips: about 200 MB.
MOST_HELD = 64_000_000
#: No caption is longer than this, whatever a model or a server sends.
MOST_LETTERS = 20_000
#: Letters a token may have on average before its text is taken for something else.
LETTERS_A_TOKEN = 32
#: So many windows and letters of an error are told.
TOLD_WINDOWS, TOLD_LETTERS = 5, 300

Answers = Mapping[str, Answer]


@dataclass(frozen=True, kw_only=True)
class Writing(ModelWork):
    """The work of a model whose texts are written into windows."""

    model: str
    max_tokens: int = 512
    name: ClassVar[str]
    #: What its texts are called in messages, in the keys of models, and where windows hold them and
    #: what became of them.
    counted: ClassVar[str]
    key: ClassVar[str]
    texts: ClassVar[str]
    outcomes: ClassVar[str]

    @property
    def most_letters(self) -> int:
        """How long a text may be."""
        return min(MOST_LETTERS, self.max_tokens * LETTERS_A_TOKEN)

    def written(self, window: Window, text: str, told: TextOutcome) -> Window:
        """The window with a text of this model."""
        count(f"{self.counted} {told.status}")
        texts = {**getattr(window, self.texts), **({self.model: text} if text else {})}
        outcomes = {**getattr(window, self.outcomes), self.model: told}
        changed: dict[str, Any] = {self.texts: texts, self.outcomes: outcomes}
        return replace(window, **changed)


@dataclass(frozen=True, kw_only=True)
class Captioning(Writing):
    """One captioner: what its captions are called, how it is loaded, and what it is asked."""

    looking: Looking
    prompt: str
    #: What is asked in a second pass; ``None``: there is none.
    second: str | None = None
    #: Frames a second, and their shorter side.
    rate: float = 2.0
    side: int = 480

    name = CAPTION
    counted, key, texts, outcomes = "captions", "caption", "captions", "outcomes"

    @property
    def described(self) -> str:
        passes = "once" if self.second is None else "twice"
        return f"captions each window {passes}, from {self.rate:g} frames per second: {self.prompt}"

    def run(self, clips: Sequence[Clip], asked: Asked) -> list[Clip]:
        """The clips in their order, with captions; rejected ones are not looked at."""
        looked = [clip for clip in clips if clip.kept and clip.windows]
        known: dict[str, Clip] = {clip.id: clip for clip in clips}
        answers: dict[str, Answer] = {}
        with timed(CAPTION, len(looked)):
            for group in batches(_asks_all(looked, known, self), lambda: MOST_HELD):
                told = {answer.id: answer for answer in asked.answers(group)}
                if self.second is not None:
                    told = _asked_again(
                        group,
                        told,
                        asked,
                        seconds=self._seconds(group, known),
                        most_letters=self.most_letters,
                    )
                answers |= told
        used = asked.which()
        return [with_answers(known[clip.id], answers, self, used) for clip in clips]

    def _seconds(self, questions: Sequence[Question], known: Mapping[str, Clip]) -> dict[str, str]:
        """What is asked in the second pass, by question."""
        of = {question.id: known[question.id.partition("/")[0]] for question in questions}
        return {
            id: filled(self.second or "", clip.video.source.metadata) for id, clip in of.items()
        }

    def num_bytes(self, clips: Sequence[Clip]) -> int:
        """Of the frames it is shown."""
        form = SheetForm((), side=self.side)
        return sum(
            3 * width * height * len(sampled_in_window(window, clip.file.framerate, self.rate))
            for clip in clips
            if clip.file is not None
            for width, height in [form.size(clip.file.width, clip.file.height)]
            for window in clip.windows
        )


@dataclass(frozen=True, kw_only=True)
class Enhancing(Writing):
    """One text model that makes captions richer."""

    #: Whose captions.
    captions: str
    #: What it is told to do.
    instruction: str

    name = ENHANCE
    counted, key = "enhanced captions", "enhanced_caption"
    texts, outcomes = "enhanced_captions", "enhanced_outcomes"

    @property
    def described(self) -> str:
        return f"rewrites each caption: {self.instruction}"

    def run(self, clips: Sequence[Clip], asked: Asked) -> list[Clip]:
        """The clips in their order, with richer captions of the windows that have captions."""
        questions = [
            Question(
                window_id(clip, window),
                text=caption,
                system=filled(self.instruction, clip.video.source.metadata),
            )
            for clip in clips
            if clip.kept
            for window in clip.windows
            if (caption := window.captions.get(self.captions))
        ]
        with timed(ENHANCE, len(questions)):
            answers = {answer.id: answer for answer in asked.answers(questions)}
        used = asked.which()
        return [with_answers(clip, answers, self, used) for clip in clips]

    def num_bytes(self, clips: Sequence[Clip]) -> int:
        """Of the captions it is shown."""
        windows = [window for clip in clips for window in clip.windows]
        return sum(len(window.captions.get(self.captions, "").encode()) for window in windows)


# What is asked.


def _asks_all(
    clips: Sequence[Clip], known: dict[str, Clip], captioning: Captioning
) -> Iterator[Question]:
    """The questions about all clips, made as they are wanted; what is in the way is noted."""
    for clip in clips:
        asks = partial(_asks, clip, captioning)
        for outcome in guarded(CAPTION, clip.video.source, asks, weather=captioning.weather):
            if isinstance(outcome, Failure):
                known[clip.id] = in_trouble(clip, CAPTION, outcome)
            else:
                yield outcome


def _asks(clip: Clip, captioning: Captioning) -> Iterator[Question]:
    assert clip.file is not None
    sheet = sheet_of(clip, captioning.looking)
    for window in clip.windows:
        numbers = sampled_in_window(window, clip.file.framerate, captioning.rate)
        seconds = (window.end_frame - window.start_frame + 1) / clip.file.framerate
        frames = tuple(sheet.pictures(sheet.numbered(numbers), captioning.side))
        identifier, rate = window_id(clip, window), len(numbers) / seconds
        prompt = filled(captioning.prompt, clip.video.source.metadata)
        yield Question(identifier, frames, rate, prompt)


def _asked_again(
    questions: Sequence[Question],
    first: Answers,
    asked: Asked,
    *,
    seconds: Mapping[str, str],
    most_letters: int,
) -> dict[str, Answer]:
    """The answers of the second pass, where the first gave a caption to improve."""
    said = {
        answer.id: cleaned(answer.text, most_letters)
        for answer in first.values()
        if isinstance(answer, Said)
    }
    again = [
        replace(question, text=f"{question.text}\n\n{seconds[question.id]}\n\n{said[question.id]}")
        for question in questions
        if said.get(question.id)
    ]
    second = {answer.id: _together(first[answer.id], answer) for answer in asked.answers(again)}
    return {**first, **second}


def _together(first: Answer, second: Answer) -> Answer:
    """The second answer, at the price of both; the first one's text where the second gave none."""
    assert isinstance(first, Said)
    if isinstance(second, Said) and second.text.strip():
        return replace(
            second,
            prompt_tokens=_sum(first.prompt_tokens, second.prompt_tokens),
            output_tokens=_sum(first.output_tokens, second.output_tokens),
        )
    if isinstance(second, Trouble):
        return replace(second, text=first.text)
    status = second.status if isinstance(second, Said) else "no text"
    return Trouble(first.id, "SecondPass", f"its answer was {status}", first.text)


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


# What becomes of the answers.


def window_id(clip: Clip, window: Window) -> str:
    """What the question about a window is called."""
    return f"{clip.id}/{window.start_frame}_{window.end_frame}"


def with_answers(clip: Clip, answers: Answers, writing: Writing, used: ModelUsed) -> Clip:
    """The clip with what was said of its windows, and by which model."""
    windows = {window_id(clip, window): window for window in clip.windows}
    asked = [identifier for identifier in windows if identifier in answers]
    if not asked:
        return clip
    wrong: list[str] = []
    for identifier in asked:
        text, told = _said(answers[identifier], writing.most_letters)
        if told.status not in (OK, TRUNCATED):
            wrong.append(_wrong(windows[identifier], answers[identifier], told))
        windows[identifier] = writing.written(windows[identifier], text, told)
    more = f"; and {len(wrong) - TOLD_WINDOWS} more" if len(wrong) > TOLD_WINDOWS else ""
    errors = {writing.name: "; ".join(wrong[:TOLD_WINDOWS]) + more} if wrong else {}
    return clip.replace(
        windows=tuple(windows.values()),
        models={**clip.models, f"{writing.model}_{writing.key}": used},
        errors={**clip.errors, **errors},
    )


def _said(answer: Answer, most: int) -> tuple[str, TextOutcome]:
    """Text and what became of it."""
    if not isinstance(answer, Said):
        kept = answer.text if isinstance(answer, Trouble) else ""
        return cleaned(kept, most), TextOutcome(FAILED)
    text = cleaned(answer.text, most)
    status = answer.status
    if status in (OK, TRUNCATED) and not text:
        status = EMPTY
    elif status == OK and len(answer.text.strip()) > most:
        status = TRUNCATED
    return text, TextOutcome(status, answer.prompt_tokens, answer.output_tokens)


def _wrong(window: Window, answer: Answer, told: TextOutcome) -> str:
    """Why a window has no good text."""
    why = f": {answer.error}: {answer.message}" if isinstance(answer, Trouble) else ""
    frames = f"{window.start_frame}_{window.end_frame}"
    return cleaned(f"window {frames} {told.status}{why}", TOLD_LETTERS)
