"""Looking at a clip while it is cut: its measured scores and its contact sheet, from one pass.

    the cut's frames ──▶ ClipLook ─┬─ motion    every half second, vectors or two small pictures
                                   ├─ quality   every half second, the grey plane as it is
                                   └─ sheet     a few small frames ──▶ scratch ──▶ later steps

Later steps ask :func:`sheet_of` for the sheet. It lies in the machine's scratch folder when the
step runs where the clip was cut; otherwise it is drawn again from the clip's file.
"""

from dataclasses import dataclass
from fractions import Fraction

import apache_beam as beam

from finecut.io import shelf
from finecut.io.film.looking import Look
from finecut.io.film.sampling import Ticker
from finecut.io.film.sheet import NoSheet, Sheet, SheetForm, SheetMaker, sheet_from_file
from finecut.io.records import Clip
from finecut.io.scratch import Scratch
from finecut.transforms.motion import (
    Act,
    MotionMeter,
    MotionSampler,
    estimate_field,
    vector_field,
)
from finecut.transforms.quality import QualityMeter
from finecut.transforms.windows import Windowing

#: Width of the pictures in which motion is estimated.
SMALL = 320
USUAL_SCRATCH = Scratch(1 << 30)
USUAL_WINDOWS = Windowing()


@dataclass(frozen=True)
class Looking:
    """What is looked for in every clip."""

    #: Looks a second; ``None``: nobody asks for this.
    motion: float | None = None
    quality: float | None = None
    sheet: SheetForm | None = None
    scratch: Scratch = USUAL_SCRATCH
    #: What this run's sheets are called, so that they are no other run's.
    run: str = "run"
    windowing: Windowing = USUAL_WINDOWS

    @property
    def wanted(self) -> bool:
        return self.motion is not None or self.quality is not None or self.sheet is not None

    def name(self, clip_id: str) -> str:
        """What a clip's sheet is called in the scratch folder."""
        return f"{self.run}-{clip_id}.sheet"


class ClipLook:
    """Sees all frames of one clip."""

    def __init__(self, looking: Looking) -> None:
        self._motion = None if looking.motion is None else _MotionLook(looking.motion)
        self._quality = None if looking.quality is None else _QualityLook(looking.quality)
        self._sheet = None if looking.sheet is None else SheetMaker(looking.sheet)

    def see(self, look: Look, seconds: Fraction) -> None:
        for part in (self._motion, self._quality, self._sheet):
            if part is not None:
                part.see(look, seconds)

    def scores(self) -> dict[str, float]:
        """What was measured, when the clip is over."""
        scores: dict[str, float] = {}
        for part in (self._motion, self._quality):
            if part is not None:
                scores |= part.scores()
        return scores

    def sheet(self) -> Sheet | None:
        return None if self._sheet is None else self._sheet.sheet()


class _MotionLook:
    def __init__(self, rate: float) -> None:
        self._sampler = MotionSampler(rate)
        self._meter: MotionMeter | None = None
        self._kept: Look | None = None

    def see(self, look: Look, seconds: Fraction) -> None:
        width, height = look.stored_width, look.stored_height
        if self._meter is None:
            self._meter = MotionMeter(width, height)
        answer = self._sampler.see(seconds, look.kind, lambda: look.vectors() is not None)
        if answer.act is Act.VECTORS:
            vectors = look.vectors()
            assert vectors is not None
            self._meter.see(vector_field(vectors, width, height, answer.distance))
        elif answer.act is Act.KEEP:
            self._kept = look
        elif answer.act is Act.ESTIMATE:
            assert self._kept is not None
            size = small_size(width, height)
            before, after = self._kept.small_luma(*size), look.small_luma(*size)
            self._meter.see(estimate_field(before, after, width, height))
            self._kept = None

    def scores(self) -> dict[str, float]:
        return self._meter.scores() if self._meter is not None else {}


class _QualityLook:
    def __init__(self, rate: float) -> None:
        self._ticker = Ticker(rate)
        self._meter = QualityMeter()
        self._last: Look | None = None

    def see(self, look: Look, seconds: Fraction) -> None:
        if self._ticker.passed(seconds):
            self._measure()
        self._last = look

    def scores(self) -> dict[str, float]:
        if self._ticker.ended():
            self._measure()
        return self._meter.scores()

    def _measure(self) -> None:
        assert self._last is not None
        self._meter.see(self._last.luma())


def small_size(width: int, height: int) -> tuple[int, int]:
    """The size in which motion is estimated: about as wide as :data:`SMALL`, never enlarged."""
    scale = min(1.0, SMALL / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def keep_sheet(clip_id: str, look: ClipLook, looking: Looking) -> None:
    """Put the clip's sheet where later steps find it."""
    sheet = look.sheet()
    if sheet is not None:
        looking.scratch.put(looking.name(clip_id), sheet.to_bytes())


def sheet_of(clip: Clip, looking: Looking) -> Sheet:
    """The clip's sheet: as it was drawn while the clip was cut, or drawn again from its file."""
    assert looking.sheet is not None
    name = looking.name(clip.id)
    kept = looking.scratch.get(name)
    if kept is not None:
        return Sheet.from_bytes(kept)
    if clip.staged is None:
        raise NoSheet(
            f"clip {clip.id} has no file to draw a sheet from: it was never cut, or its file has "
            "already been published. Looking has to come before writing."
        )
    with shelf.open_source(clip.staged) as file:
        sheet = sheet_from_file(file, looking.sheet)
    looking.scratch.put(name, sheet.to_bytes())
    return sheet


def put_away(clip: Clip, looking: Looking) -> Clip:
    """The clip, after its sheet is gone: nobody needs it any more."""
    looking.scratch.drop(looking.name(clip.id))
    return clip


class PutAwaySheets(beam.PTransform[beam.PCollection[Clip], beam.PCollection[Clip]]):
    """Clips → the same, without sheets."""

    def __init__(self, looking: Looking) -> None:
        super().__init__()
        self.looking = looking

    def expand(self, clips: beam.PCollection[Clip]) -> beam.PCollection[Clip]:
        return clips | "Put away" >> beam.Map(put_away, self.looking).with_output_types(Clip)
