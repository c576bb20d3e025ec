"""Colours are what they were, whatever matrix, range or size a film changes to on its way."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cutting_room import QUICK, frames_of, planned_at
from measuring import MOTION, QUALITY
from odd_films import UNSAID, YCGCO, flat, joined

from finecut.io.media.cutting import CutClip, Recipe, cut
from finecut.io.media.frame_view import REFUSED, Stored, filters
from finecut.io.media.frames.contact_sheet import SheetForm
from finecut.io.media.frames.small_pictures import watch
from finecut.io.media.frames.training_frames import Pictures, read_frames
from finecut.io.media.limits import FilmError
from finecut.io.media.remux.copying import COPY, SMART, transcode
from finecut.io.media.source import probe
from finecut.io.records import ClipFile, PlannedClip, Source, Video
from finecut.transforms.measure.looking import ClipLook, Looking

RED = (180, 60, 40)
#: What H.264 of 4:2:0 and two conversions make of a value.
NEAR = 4
SMALL, LARGE, HIGH = (320, 180), (640, 360), (1280, 720)

#: Matrix, full range, size.
KINDS = {
    "bt709": (1, False, SMALL),
    "bt601": (6, False, SMALL),
    "pal_full": (5, True, (160, 120)),
    "bt709_full": (1, True, SMALL),
    "bt2020": (9, False, SMALL),
    "unsaid": (UNSAID, False, SMALL),
    "large": (1, False, LARGE),
    "high": (1, False, HIGH),
    "ycgco": (YCGCO, False, SMALL),
    "ycgco_full": (YCGCO, True, LARGE),
}
CHANGES = [
    ("bt709", "bt601"),
    ("bt601", "bt709"),
    ("bt709", "bt709_full"),
    ("bt709_full", "bt601"),
    ("bt709", "bt2020"),
    ("unsaid", "bt709"),
    ("bt709", "large"),
    ("large", "pal_full"),
    ("high", "pal_full"),
    ("pal_full", "high"),
    ("bt709", "ycgco"),
    ("ycgco_full", "bt709"),
]
#: Each matrix, range and size in one of them.
QUICK_CHANGES = [CHANGES[place] for place in (0, 3, 4, 5, 8, 10)]


def of(path: Path) -> Video:
    return probe(str(path), Source(str(path), str(path), path.name), path.stat().st_size)


def changing(folder: Path, *kinds: str) -> Path:
    parts = [
        flat(folder / f"{kind}.ts", RED, matrix, full, size)
        for kind, (matrix, full, size) in ((kind, KINDS[kind]) for kind in kinds)
    ]
    return joined(folder / "changes.ts", parts)


def shows_red(clip: CutClip) -> bool:
    assert (clip.error, clip.damage) == (None, None)
    pictures = read_frames(str(clip.path), Pictures()).pictures
    means = pictures.reshape(len(pictures), -1, 3).mean(1)
    return len(means) == 30 and bool(np.all(np.abs(means - RED) <= NEAR))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, marks=() if change in QUICK_CHANGES else pytest.mark.slow)
        for change in CHANGES
    ],
    ids="-".join,
)
def test_a_change_on_the_way_is_followed(change: tuple[str, str], tmp_path: Path) -> None:
    film = changing(tmp_path, *change)
    planned = planned_at((0, 1), (0.5, 1.5), (1, 2))
    clips = list(cut(str(film), of(film), planned, Recipe(tmp_path, QUICK)))
    assert [shows_red(clip) for clip in clips] == [True, True, True]
    # Each is like its own first picture, not like the film's.
    first, across, last = (next(frames_of(clip.path)) for clip in clips)
    sizes = [KINDS[kind][2] for kind in change]
    assert [(f.width, f.height) for f in (first, across, last)] == [sizes[0], sizes[0], sizes[1]]
    assert first.colorspace == across.colorspace
    for frame, kind in ((first, change[0]), (last, change[1])):
        matrix = KINDS[kind][0]
        assert frame.colorspace == (6 if kind == "ycgco" else 6 if matrix == YCGCO else matrix)


def test_a_clip_is_the_same_whichever_clips_are_cut_with_it(tmp_path: Path) -> None:
    film = changing(tmp_path, "bt709", "large", "pal_full")
    video = of(film)
    digests = []
    for clips in (
        planned_at((0, 1), (1.5, 2.5), (2, 3)),
        planned_at((1.5, 2.5)),
        planned_at((2, 3)),
    ):
        results = cut(str(film), video, clips, Recipe(tmp_path, QUICK))
        digests.append({r.planned.span: r.file and r.file.sha256 for r in results})
    together, *alone = digests
    for one in alone:
        [(span, digest)] = one.items()
        assert together[span] == digest


@pytest.mark.parametrize("change", [("high", "pal_full"), ("bt709", "large"), ("bt709", "ycgco")])
def test_who_looks_on_is_not_thrown_off(change: tuple[str, str], tmp_path: Path) -> None:
    film = changing(tmp_path, *change)
    video, looks = of(film), dict[str, ClipLook]()
    looking = Looking((MOTION, QUALITY), SheetForm((4.0,), height=90))

    def look_at(clip: PlannedClip) -> ClipLook:
        looks[clip.id] = ClipLook(looking, looking.expected(video, clip))
        return looks[clip.id]

    clips = planned_at((0, 1), (0.5, 1.5), (1, 2))
    for clip in cut(
        str(film), video, clips, Recipe(tmp_path, QUICK, observer=look_at, vectors=True)
    ):
        assert clip.unseen is None
        look = looks[clip.planned.id]
        assert look.sheet is not None
        for index in range(len(look.sheet)):
            assert np.abs(look.sheet.rgb(index).reshape(-1, 3).mean(0) - RED).max() <= NEAR
    watched = [picture.reshape(-1, 3).mean(0) for _, picture in watch(str(film), video)]
    assert len(watched) == 60
    if change[0] == "bt709":
        assert np.abs(np.array(watched) - RED).max() <= NEAR


@pytest.mark.parametrize("matrix", [10, 11, 12, 13, 14])
def test_colours_that_nobody_here_can_convert_are_refused_by_name(
    matrix: int, tmp_path: Path
) -> None:
    film = flat(tmp_path / "rare.mp4", RED, matrix)
    with av.open(str(film)) as container:
        assert next(container.decode(video=0)).colorspace == matrix, "the case proves nothing"
    with pytest.raises(
        FilmError, match=r"stored as .*matrix \d+.*[Ee]xport it with BT.709"
    ) as refused:
        of(film)
    assert REFUSED[matrix] in str(refused.value)
    # Nor are they read as others: a loader is told, too.
    with pytest.raises(FilmError, match=f"matrix {matrix}"):
        read_frames(str(film), Pictures())


@pytest.mark.parametrize("matrix", sorted(REFUSED))
def test_no_picture_is_made_of_such_colours(matrix: int) -> None:
    """(Of some no encoder here makes films.)"""
    with pytest.raises(FilmError, match=f"matrix {matrix}"):
        filters(Stored(320, 180, "yuv420p", False, Fraction(1), colorspace=matrix), SMALL)


def test_colours_that_turn_into_such_cost_the_clips_they_are_in(tmp_path: Path) -> None:
    parts = [flat(tmp_path / f"{matrix}.ts", RED, matrix) for matrix in (1, 10)]
    film = joined(tmp_path / "changes.ts", parts)
    planned = planned_at((0, 1), (0.5, 1.5), (1, 2))
    clips = list(cut(str(film), of(film), planned, Recipe(tmp_path, QUICK)))
    good = [clip for clip in clips if clip.path is not None]
    assert [clip.planned.span.start for clip in good] == [0]
    assert shows_red(good[0])
    for clip in clips:
        assert (clip.path is None) == ("BT.2020 with constant luminance" in str(clip.error))


@pytest.mark.parametrize("how", [COPY, SMART])
def test_ycgco_is_not_copied_but_converted(how: str, tmp_path: Path) -> None:
    film = flat(tmp_path / "film.mp4", RED, YCGCO)
    [clip] = transcode(str(film), of(film), planned_at((0, 1)), Recipe(tmp_path, QUICK, mode=how))
    assert isinstance(clip.file, ClipFile)
    assert clip.file.transcoded is not None
    assert clip.file.transcoded.how == "encoded"
    assert shows_red(clip)
    assert next(frames_of(clip.path)).colorspace != YCGCO
