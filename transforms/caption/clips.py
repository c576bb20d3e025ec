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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from finecut.io.media.frames.contact_sheet import Sheet, SheetForm
from finecut.io.records import Clip, Failure, ModelUsed
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.metrics import timed
from finecut.transforms.caption.answers import (
    Answers,
    Telling,
    cleaned,
    most_letters,
    window_id,
    with_answers,
    with_caption,
    with_enhanced,
)
from finecut.transforms.caption.asking import (
    Answer,
    Asked,
    Frame,
    Model,
    Question,
    Said,
    Trouble,
    batches,
)
from finecut.transforms.caption.prompts import second_question
from finecut.transforms.caption.windows import sampled_in_window
from finecut.transforms.measure.looking import Looking, sheet_of
from finecut.transforms.models.resources import Resources
from finecut.transforms.needs import NO_RESOURCES
from finecut.transforms.work import AskModel, ModelWork

CAPTION, ENHANCE = "caption", "enhance"
#: Pixels of questions that are held at once, whatever the length of clips: about 200 MB.
MOST_HELD = 64_000_000


@dataclass(frozen=True)
class Captioning(ModelWork):
    """One captioner: what its captions are called, how it is loaded, and what it is asked."""

    model: str
    #: Models that need a GPU are told their share of it, if that is not all.
    load_model: Callable[..., Model]
    #: Raises when what it loads is missing, before any work is done; says which model it is.
    require: Callable[[], ModelUsed]
    looking: Looking
    prompt: str
    #: What is asked in a second pass; ``None``: there is none.
    second: str | None = None
    #: Frames a second, and their shorter side.
    rate: float = 2.0
    side: int = 480
    max_tokens: int = 512
    resources: Resources = NO_RESOURCES
    #: Clips that are handed to the model at once.
    together: int = 1

    name = CAPTION

    @property
    def described(self) -> str:
        passes = "once" if self.second is None else "twice"
        return f"captions each window {passes}, from {self.rate:g} frames per second: {self.prompt}"

    def run(self, clips: Sequence[Clip], asked: Asked) -> list[Clip]:
        return captioned(clips, asked, self)

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


@dataclass(frozen=True)
class Enhancing(ModelWork):
    """One text model that makes captions richer."""

    model: str
    #: Whose captions.
    captions: str
    #: Models that need a GPU are told their share of it, if that is not all.
    load_model: Callable[..., Model]
    require: Callable[[], ModelUsed]
    #: What it is told to do.
    instruction: str
    max_tokens: int = 512
    resources: Resources = NO_RESOURCES
    together: int = 1

    name = ENHANCE

    @property
    def described(self) -> str:
        return f"rewrites each caption: {self.instruction}"

    def run(self, clips: Sequence[Clip], asked: Asked) -> list[Clip]:
        return enhanced(clips, asked, self)

    def num_bytes(self, clips: Sequence[Clip]) -> int:
        """Of the captions it is shown."""
        windows = [window for clip in clips for window in clip.windows]
        return sum(len(window.captions.get(self.captions, "").encode()) for window in windows)


def captioned(clips: Sequence[Clip], asked: Asked, captioning: Captioning) -> list[Clip]:
    """The clips in their order, with captions of their windows; rejected ones are not looked at."""
    looked = [clip for clip in clips if clip.kept and clip.windows]
    known: dict[str, Clip] = {clip.id: clip for clip in clips}
    answers: dict[str, Answer] = {}
    with timed(CAPTION, len(looked)):
        for group in batches(_asks_all(looked, known, captioning), lambda: MOST_HELD):
            told = {answer.id: answer for answer in asked.answers(group)}
            if captioning.second is not None:
                told = _asked_again(group, told, asked, captioning)
            answers |= told
    write = partial(with_caption, name=captioning.model, most=most_letters(captioning.max_tokens))
    telling = Telling(CAPTION, f"{captioning.model}_caption", asked.which(), write)
    return [with_answers(known[clip.id], answers, telling) for clip in clips]


def enhanced(clips: Sequence[Clip], asked: Asked, enhancing: Enhancing) -> list[Clip]:
    """The clips in their order, with richer captions of the windows that have captions."""
    questions = [
        Question(window_id(clip, window), text=caption, system=enhancing.instruction)
        for clip in clips
        if clip.kept
        for window in clip.windows
        if (caption := window.captions.get(enhancing.captions))
    ]
    with timed(ENHANCE, len(questions)):
        answers: Answers = {answer.id: answer for answer in asked.answers(questions)}
    write = partial(with_enhanced, name=enhancing.model, most=most_letters(enhancing.max_tokens))
    telling = Telling(ENHANCE, f"{enhancing.model}_enhanced_caption", asked.which(), write)
    return [with_answers(clip, answers, telling) for clip in clips]


# What is asked.


def _asks_all(
    clips: Sequence[Clip], known: dict[str, Clip], captioning: Captioning
) -> Iterator[Question]:
    """The questions about all clips, made as they are wanted; what is in the way is noted."""
    for clip in clips:
        for outcome in guarded(CAPTION, clip.video.source, partial(_asks, clip, captioning)):
            if isinstance(outcome, Failure):
                said = f"{outcome.error}: {outcome.message}"
                known[clip.id] = clip.replace(errors={**clip.errors, CAPTION: said})
            else:
                yield outcome


def _asks(clip: Clip, captioning: Captioning) -> Iterator[Question]:
    assert clip.file is not None
    sheet = sheet_of(clip, captioning.looking)
    for window in clip.windows:
        numbers = sampled_in_window(window, clip.file.framerate, captioning.rate)
        seconds = (window.end_frame - window.start_frame + 1) / clip.file.framerate
        yield Question(
            window_id(clip, window),
            _frames(sheet, numbers, captioning.side),
            len(numbers) / seconds,
            captioning.prompt,
        )


def _frames(sheet: Sheet, numbers: Sequence[int], side: int) -> tuple[Frame, ...]:
    return tuple(sheet.pictures(sheet.numbered(numbers), side))


def _asked_again(
    questions: Sequence[Question], first: Answers, asked: Asked, captioning: Captioning
) -> dict[str, Answer]:
    """The answers of the second pass, where the first gave a caption to improve."""
    assert captioning.second is not None
    most = most_letters(captioning.max_tokens)
    said = {
        question.id: cleaned(answer.text, most)
        for question in questions
        if isinstance(answer := first[question.id], Said)
    }
    again = [
        replace(question, text=second_question(question.text, captioning.second, said[question.id]))
        for question in questions
        if said.get(question.id)
    ]
    second_answers = {answer.id: answer for answer in asked.answers(again)}
    return {
        identifier: _together(answer, second_answers[identifier])
        if identifier in second_answers
        else answer
        for identifier, answer in first.items()
    }


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


class CaptionClips(AskModel):
    """Clips → the same; windows of those that are kept have captions (or enhanced ones)."""
