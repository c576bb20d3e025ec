"""Looking at a clip while it is cut: its measured scores and its contact sheet, from one pass.

    the cut's frames ──▶ ClipLook ─┬─ meters    one of each step that measures in the cut
                                   └─ sheet     a few small frames ──▶ scratch ──▶ later steps

Later steps ask :func:`sheet_of` for the sheet. It lies in the machine's scratch folder when the
step runs where the clip was cut; otherwise it is drawn again from the clip's file.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from finecut.io.media.frame_view import FrameView
from finecut.io.media.frames.cheap_frames import show_cheap_frames
from finecut.io.media.frames.contact_sheet import (
    NOTHING_MORE,
    NoSheet,
    Sheet,
    SheetForm,
    SheetMaker,
    Wanted,
    sheet_from_file,
)
from finecut.io.media.remux.copying import ENCODED
from finecut.io.records import Clip, ClipFile, PlannedClip, Video
from finecut.io.storage import files as shelf
from finecut.io.storage.staging import Scratch
from finecut.transforms.beam.weather import FAIR, Weather
from finecut.transforms.caption.windows import Windowing, sampled_in_window, windows_of
from finecut.transforms.step_base import Meter, StepInCut

USUAL_SCRATCH = Scratch(1 << 30)
USUAL_WINDOWS = Windowing()


@dataclass(frozen=True)
class Looking:
    """What is looked for in every clip."""

    #: What measures every frame, or those it asks for.
    measured: tuple[StepInCut[Any], ...] = ()
    sheet: SheetForm | None = None
    scratch: Scratch = USUAL_SCRATCH
    #: What this run's sheets are called, so that they are no other run's.
    run: str = "run"
    windowing: Windowing = USUAL_WINDOWS
    #: How many frames, spread evenly over the clip, embedders need; how many a second of each
    #: window captioners do.
    even: tuple[int, ...] = ()
    captions: float | None = None
    #: What is done about a store that is away, or a GPU that is dead.
    weather: Weather = FAIR

    def expected(self, video: Video, clip: PlannedClip) -> Wanted:
        """What the sheet of this planned clip needs, before anybody knows its frames.

        Where windows lie follows from how many frames there are. A film of constant rate lets that
        be foreseen; where it turns out otherwise, the sheet is drawn again from the clip.
        """
        span, rate = clip.span, video.framerate
        frames = _frame_at(span.end, rate) - _frame_at(span.start, rate)
        return self._wanted(span.length, frames, rate)

    def wanted_in(self, clip: PlannedClip, file: ClipFile) -> Wanted:
        """The same of the file that was made of a planned clip."""
        return self._wanted(seconds_of(clip, file), file.num_frames, file.framerate)

    def _wanted(self, seconds: float, num_frames: int, framerate: float) -> Wanted:
        moments = [m for count in self.even for m in even_moments(count, seconds)]
        frames: set[int] = set()
        if self.captions is not None and framerate > 0:
            for window in windows_of(num_frames, self.windowing):
                frames.update(sampled_in_window(window, framerate, self.captions))
        return Wanted(tuple(sorted(moments)), frozenset(frames))

    @property
    def wanted(self) -> bool:
        return bool(self.measured) or self.sheet is not None

    @property
    def vectors(self) -> bool:
        """Whether anything asks frames for the decoder's motion vectors."""
        return any(step.reads_vectors for step in self.measured)

    def name(self, clip_id: str) -> str:
        """What a clip's sheet is called in the scratch folder."""
        return f"{self.run}-{clip_id}.sheet"

    def sweep(self) -> None:
        """Remove all sheets of this run."""
        if self.sheet is not None:
            self.scratch.sweep(f"{self.run}-")


def seconds_of(clip: PlannedClip, file: ClipFile | None) -> float:
    """How long the clip is: as planned, unless it was copied from key frame to key frame."""
    how = None if file is None else file.transcoded
    return clip.span.length if how is None or how.span is None else how.span.length


def even_moments(count: int, seconds: float) -> list[float]:
    """The middles of ``count`` equal parts of a clip.

    >>> even_moments(4, 8.0)
    [1.0, 3.0, 5.0, 7.0]
    """
    return [seconds * (2 * i + 1) / (2 * count) for i in range(count)]


def _frame_at(seconds: float, rate: float) -> int:
    """The first frame shown at or after this time; times within a thousandth of one mean it."""
    return math.ceil(seconds * rate - 1e-3)


class ClipLook:
    """Sees all frames of one clip; when it is over, has its scores, and its sheet if wanted."""

    def __init__(self, looking: Looking, wanted: Wanted = NOTHING_MORE) -> None:
        self._meters = [step.meter() for step in looking.measured]
        self._maker = None if looking.sheet is None else SheetMaker(looking.sheet, wanted)
        makers = [] if self._maker is None else [self._maker]
        self._parts: list[Meter | SheetMaker] = [*self._meters, *makers]
        self.scores: dict[str, Any] = {}
        self.sheet: Sheet | None = None

    def wants(self, times: Sequence[Fraction]) -> set[int]:
        """Of frames shown at these times, those it would like to see, if it cannot see all."""
        return set[int]().union(*(part.wants(times) for part in self._parts))

    def more(self, times: Sequence[Fraction]) -> int:
        """All, if one of them gains by every frame; others may have seen enough."""
        return max((part.more(times) for part in self._parts), default=len(times))

    def see(self, view: FrameView, seconds: Fraction) -> None:
        for part in self._parts:
            part.see(view, seconds)

    def end(self) -> None:
        for meter in self._meters:
            self.scores |= meter.scores()
        if self._maker is not None:
            self._maker.end()
            self.sheet = self._maker.sheet()


def keep_sheet(clip_id: str, sheet: Sheet, looking: Looking) -> None:
    """Put the clip's sheet where later steps find it."""
    looking.scratch.put(looking.name(clip_id), sheet.to_parts())


def put_away(clip: Clip, looking: Looking) -> Clip:
    """The clip, after its sheet is gone: nobody needs it any more."""
    looking.scratch.drop(looking.name(clip.id))
    return clip


def sheet_of(clip: Clip, looking: Looking) -> Sheet:
    """The clip's sheet: as it was drawn while the clip was cut, or drawn again from its file."""
    assert looking.sheet is not None
    kept = looking.scratch.get(looking.name(clip.id))
    wanted = NOTHING_MORE if clip.file is None else looking.wanted_in(clip.planned, clip.file)
    if kept is not None:
        sheet = Sheet.from_bytes(kept)
        if not sheet.exact or wanted.frames <= set(sheet.indices):
            return sheet
    if clip.staged is None:
        raise NoSheet(
            f"clip {clip.id} has no file from which to sample frames: it was never cut, or its "
            "file has already been published. Sampling has to come before writing."
        )
    with shelf.open_source(clip.staged) as file:
        how = None if clip.file is None else clip.file.transcoded
        if how is None or how.how == ENCODED:
            sheet = sheet_from_file(file, looking.sheet, wanted)
        else:
            # Nobody has seen all pictures of a copied clip: it is drawn as when it had been cut.
            maker = SheetMaker(looking.sheet, wanted)
            show_cheap_frames(file, maker)
            sheet = maker.sheet()
    keep_sheet(clip.id, sheet, looking)
    return sheet
