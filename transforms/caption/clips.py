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

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import apache_beam as beam

from finecut.io.media.frames.contact_sheet import Sheet, SheetForm
from finecut.io.records import Clip, Failure, ModelUsed, Told, Window
from finecut.transforms.beam.guard import guarded
from finecut.transforms.beam.inference import inference
from finecut.transforms.beam.metrics import count, timed
from finecut.transforms.caption.asking import (
    EMPTY,
    FAILED,
    OK,
    TRUNCATED,
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

CAPTION, ENHANCE = "caption", "enhance"
#: No caption is longer than this, whatever a model or a server sends.
MOST_LETTERS = 20_000
#: Letters a token may have on average before its text is taken for something else.
LETTERS_A_TOKEN = 32
#: Pixels of questions that are held at once, whatever the length of clips: about 200 MB.
MOST_HELD = 64_000_000
#: Kinds of characters that are spaces, by Unicode; those that break lines; and two invisible ones
#: that words are made with.
SPACES = ("Zs",)
BREAKS = "\n\r\x0b\x0c\x85\u2028\u2029"
JOINERS = "\u200c\u200d"
#: So many windows and letters of an error are told.
TOLD_WINDOWS, TOLD_LETTERS = 5, 300
NO_RESOURCES = Resources()

Answers = Mapping[str, Answer]


@dataclass(frozen=True)
class Captioning:
    """One captioner: what its captions are called, how it is loaded, and what it is asked."""

    model: str
    #: Models that need a GPU are told their share of it, if that is not all.
    load_captioner: Callable[..., Model]
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

    def load(self) -> Asked:
        return Asked(self.load_captioner())

    def sharing(self, share: float) -> "Captioning":
        """The same, with a model that takes no more than that part of a GPU."""
        if share == 1 or not self.resources.needs_gpu:
            return self
        return replace(self, load_captioner=partial(self.load_captioner, share=share))

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
class Enhancing:
    """One text model that makes captions richer."""

    model: str
    #: Whose captions.
    captions: str
    #: Models that need a GPU are told their share of it, if that is not all.
    load_writer: Callable[..., Model]
    require: Callable[[], ModelUsed]
    #: What it is told to do.
    instruction: str
    max_tokens: int = 512
    resources: Resources = NO_RESOURCES
    together: int = 1

    name = ENHANCE

    def load(self) -> Asked:
        return Asked(self.load_writer())

    def sharing(self, share: float) -> "Enhancing":
        """The same, with a model that takes no more than that part of a GPU."""
        if share == 1 or not self.resources.needs_gpu:
            return self
        return replace(self, load_writer=partial(self.load_writer, share=share))

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
    write = partial(_with_caption, name=captioning.model, most=_most(captioning.max_tokens))
    return _told(
        clips, known, answers, asked.which(), f"{captioning.model}_caption", CAPTION, write
    )


def enhanced(clips: Sequence[Clip], asked: Asked, enhancing: Enhancing) -> list[Clip]:
    """The clips in their order, with richer captions of the windows that have captions."""
    questions = [
        Question(_id(clip, window), text=caption, system=enhancing.instruction)
        for clip in clips
        if clip.kept
        for window in clip.windows
        if (caption := window.captions.get(enhancing.captions))
    ]
    with timed(ENHANCE, len(questions)):
        answers: Answers = {answer.id: answer for answer in asked.answers(questions)}
    write = partial(_with_enhanced, name=enhancing.model, most=_most(enhancing.max_tokens))
    known = {clip.id: clip for clip in clips}
    key = f"{enhancing.model}_enhanced_caption"
    return _told(clips, known, answers, asked.which(), key, ENHANCE, write)


def cleaned(text: str, most: int) -> str:
    """Text that may lie in a document: no control characters, no halves of letters, not endless.

    Spaces of all kinds become plain ones; what joins letters and pictures of other scripts stays.

    >>> cleaned(" A dog\\x00 runs.\\x1b[2J ", 100)
    'A dog runs.[2J'
    """
    kinds = ((c, unicodedata.category(c)) for c in text)
    plain = (
        c
        if c == "\t" or c in JOINERS
        else "\n"
        if c in BREAKS
        else " "
        if kind in SPACES
        else ""
        if kind[0] == "C"
        else c
        for c, kind in kinds
    )
    return "".join(plain).strip()[:most].rstrip()


# What is asked.


def _id(clip: Clip, window: Window) -> str:
    return f"{clip.id}/{window.start_frame}_{window.end_frame}"


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
            _id(clip, window),
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
    most = _most(captioning.max_tokens)
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


def _most(max_tokens: int) -> int:
    return min(MOST_LETTERS, max_tokens * LETTERS_A_TOKEN)


# What becomes of the answers.

Write = Callable[[Window, Answer], Window]


def _told(
    clips: Sequence[Clip],
    known: Mapping[str, Clip],
    answers: Answers,
    used: ModelUsed,
    key: str,
    step: str,
    write: Write,
) -> list[Clip]:
    """The clips with what was said of their windows, and under ``key`` by which model."""
    return [
        _clip_told(known[clip.id], answers, used, key, step, write)
        if any(_id(clip, window) in answers for window in clip.windows)
        else known[clip.id]
        for clip in clips
    ]


def _clip_told(
    clip: Clip, answers: Answers, used: ModelUsed, key: str, step: str, write: Write
) -> Clip:
    given = [(window, answers.get(_id(clip, window))) for window in clip.windows]
    wrong = _wrong([(window, answer) for window, answer in given if answer is not None])
    return clip.replace(
        windows=tuple(write(w, answer) if answer is not None else w for w, answer in given),
        models={**clip.models, key: used},
        errors={**clip.errors, **({step: wrong} if wrong else {})},
    )


def _said(answer: Answer, most: int) -> tuple[str, Told]:
    """Text and what became of it."""
    if not isinstance(answer, Said):
        kept = answer.text if isinstance(answer, Trouble) else ""
        return cleaned(kept, most), Told(FAILED)
    text = cleaned(answer.text, most)
    status = answer.status
    if status in (OK, TRUNCATED) and not text:
        status = EMPTY
    elif status == OK and len(answer.text.strip()) > most:
        status = TRUNCATED
    return text, Told(status, answer.prompt_tokens, answer.output_tokens)


def _with_caption(window: Window, answer: Answer, name: str, most: int) -> Window:
    text, told = _said(answer, most)
    count(f"captions {told.status}")
    captions = {**window.captions, **({name: text} if text else {})}
    return replace(window, captions=captions, told={**window.told, name: told})


def _with_enhanced(window: Window, answer: Answer, name: str, most: int) -> Window:
    text, told = _said(answer, most)
    count(f"enhanced captions {told.status}")
    captions = {**window.enhanced_captions, **({name: text} if text else {})}
    return replace(
        window,
        enhanced_captions=captions,
        told_enhanced={**window.told_enhanced, name: told},
    )


def _wrong(given: Sequence[tuple[Window, Answer]]) -> str:
    """Which windows have no good text, and why; nothing when all have."""
    said = []
    for window, answer in given:
        _, told = _said(answer, MOST_LETTERS)
        if told.status not in (OK, TRUNCATED):
            why = f": {answer.error}: {answer.message}" if isinstance(answer, Trouble) else ""
            place = f"window {window.start_frame}_{window.end_frame}"
            said.append(cleaned(f"{place} {told.status}{why}", TOLD_LETTERS))
    more = len(said) - TOLD_WINDOWS
    return "; ".join(said[:TOLD_WINDOWS]) + (f"; and {more} more" if more > 0 else "")


class CaptionClips(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same; windows of those that are kept have captions (or enhanced ones)."""

    def __init__(
        self, captioning: Captioning | Enhancing, shared: bool = False, copies: int = 1
    ) -> None:
        super().__init__()
        self.captioning, self.shared, self.copies = captioning, shared, copies

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        asked = inference(self.captioning, self.shared, self.copies)
        return clips | "Ask" >> asked.with_output_types(Clip)
