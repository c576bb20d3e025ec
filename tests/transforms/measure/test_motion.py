"""Motion: vectors drawn by the pixel, estimates against painted truth, codecs in accord."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from golden import GOLDEN, golden
from hypothesis import given, settings
from hypothesis import strategies as st

from finecut.io.media.codecs import opened
from finecut.io.media.testfilm.easel import codec_settings
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.media.testfilm.scenery import Scenery
from finecut.transforms.measure.motion import Act, MotionMeter, MotionSampler
from finecut.transforms.measure.motion_field import SHAPES, Field, estimate_field, vector_field

# The AV1 encoder writes its settings to the terminal unless told to keep to errors.
os.environ.setdefault("SVT_LOG", "1")

Array = npt.NDArray[Any]

GLOBAL, PATCH = "motion_global_mean", "motion_per_patch_min_256"
KINDS = {1: "I", 2: "P", 3: "B"}

#: As FFmpeg exports them.
RECORD = np.dtype(
    [
        ("source", "<i4"),
        ("w", "u1"),
        ("h", "u1"),
        ("src_x", "<i2"),
        ("src_y", "<i2"),
        ("dst_x", "<i2"),
        ("dst_y", "<i2"),
        ("flags", "<u8"),
        ("motion_x", "<i4"),
        ("motion_y", "<i4"),
        ("motion_scale", "<u2"),
    ],
    align=True,
)


def vectors(*blocks: tuple[int, ...]) -> Array:
    """Records of blocks (width, height, middle x, middle y, motion x, motion y), scale 4."""
    records = np.zeros(len(blocks), RECORD)
    for record, (w, h, x, y, motion_x, motion_y) in zip(records, blocks, strict=True):
        record["w"], record["h"], record["dst_x"], record["dst_y"] = w, h, x, y
        record["motion_x"], record["motion_y"], record["motion_scale"] = motion_x, motion_y, 4
    return records


def scores(*fields: Field) -> dict[str, float]:
    meter = MotionMeter(fields[0].width, fields[0].height)
    for field in fields:
        meter.see(field)
    return meter.scores()


# ── vectors ──────────────────────────────────────────────────────────────────────────────────────


def test_the_vector_of_the_contract() -> None:
    field = vector_field(vectors((16, 16, 24, 40, 8, -4)), 256, 256)
    rows, columns = np.nonzero(field.magnitudes)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {
        (4, 2),
        (4, 3),
        (5, 2),
        (5, 3),
    }
    assert scores(field)[GLOBAL] == pytest.approx(1.70598e-05, rel=1e-5)


def test_motion_is_per_frame_however_far_back_it_points() -> None:
    block = vectors((16, 16, 24, 40, 24, -12))
    near, far = (scores(vector_field(block, 256, 256, distance))[GLOBAL] for distance in (1, 3))
    assert far == pytest.approx(near / 3)


def drawn_by_the_pixel(records: Array, width: int, height: int) -> Array:
    """The contract's words, one after the other."""
    flow = np.zeros((height, width, 2))
    for w, h in SHAPES:
        for record in records:
            if (record["w"], record["h"]) == (w, h):
                x, y = int(record["dst_x"]) - w // 2, int(record["dst_y"]) - h // 2
                delta = -record["motion_x"] / 4, -record["motion_y"] / 4
                flow[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = delta
    return np.asarray(np.hypot(flow[..., 0], flow[..., 1]) / (width + height))


def patches_by_the_pixel(magnitudes: Array) -> list[float]:
    """Means of the patches of 256x256, where a rest of less than half a patch is the last one's."""
    height, width = magnitudes.shape
    starts = [[0, *range(256, side - 127, 256)] for side in (height, width)]
    ends = [[*begins[1:], side] for begins, side in zip(starts, (height, width), strict=True)]
    return [
        float(magnitudes[top:bottom, left:right].mean())
        for top, bottom in zip(starts[0], ends[0], strict=True)
        for left, right in zip(starts[1], ends[1], strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    blocks=st.lists(
        st.tuples(
            st.sampled_from([*SHAPES, (4, 4), (8, 4)]),
            st.integers(-1, 90),
            st.integers(-1, 90),
            st.integers(-500, 500),
            st.integers(-500, 500),
        ),
        max_size=30,
    ),
)
def test_cells_say_what_pixels_say(
    size: tuple[int, int], blocks: list[tuple[tuple[int, int], int, int, int, int]]
) -> None:
    width, height = size
    records = vectors(
        *((w, h, 8 * x + w // 2, 8 * y + h // 2, *move) for (w, h), x, y, *move in blocks)
    )
    magnitudes = drawn_by_the_pixel(records, width, height)
    found = scores(vector_field(records, width, height), vector_field(records, width, height))
    assert found[GLOBAL] == pytest.approx(float(magnitudes.mean()), rel=1e-9, abs=1e-15)
    patches = patches_by_the_pixel(magnitudes)
    assert found[PATCH] == pytest.approx(min(patches), rel=1e-9, abs=1e-15)


def test_a_clip_in_which_nothing_was_seen_is_a_still() -> None:
    assert MotionMeter(1280, 720).scores() == {GLOBAL: 0.0, PATCH: 0.0}
    assert scores(vector_field(vectors(), 64, 64)) == {GLOBAL: 0.0, PATCH: 0.0}


# ── the reference ────────────────────────────────────────────────────────────────────────────────


def scored_by_the_reference(case: str) -> dict[Path, float]:
    """The clips of a golden case that the reference gave a score."""
    metas = golden(case).metas().values() if GOLDEN.is_dir() else ()
    marks = {m["clip_location"].split(f"/{case}/")[1]: m.get("motion_score") for m in metas}
    return {
        GOLDEN / case / path: mark["global_mean"]
        for path, mark in marks.items()
        if mark and mark["global_mean"] >= 0
    }


def with_vectors(container: Any) -> Iterator[av.VideoFrame]:
    stream = container.streams.video[0]
    stream.codec_context.options = {"flags2": "+export_mvs"}
    yield from container.decode(stream)


def exported(frame: av.VideoFrame) -> Array | None:
    data: Any = frame.side_data.get("MOTION_VECTORS")
    return None if data is None else data.to_ndarray()


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden trees of the reference are not here")
@pytest.mark.parametrize("case", ["full_5s", "filtered"])
def test_sampled_as_the_reference_samples_the_score_is_the_reference_s(case: str) -> None:
    scored = scored_by_the_reference(case)
    assert len(scored) >= 3
    for path, expected in scored.items():
        with av.open(str(path)) as container:
            rate = container.streams.video[0].average_rate
            assert rate is not None
            assert container.duration is not None
            step = max(1, round(rate / 2))
            most = max(10, round(2.0 * (int(container.duration / 1_000_000) or 30) * 0.5))
            sampled = (
                (frame, exported(frame))
                for number, frame in enumerate(with_vectors(container))
                if number % step == 0
            )
            seen = islice(((f, v) for f, v in sampled if v is not None), most)
            fields = [vector_field(v, f.width, f.height) for f, v in seen]
        found = scores(*fields)[GLOBAL]
        # Blocks that lie beyond the edge of the picture it draws into the last row or column.
        whole = not fields[0].width % 16 and not fields[0].height % 16
        assert found == pytest.approx(expected, rel=1e-6 if whole else 2e-5), path


# ── estimates ────────────────────────────────────────────────────────────────────────────────────


def grain(height: int, width: int, seed: int = 0) -> Array:
    """Luma with features of several sizes, wider than any shift taken from it."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width))
    for size in (2, 4, 8, 16):
        small = random.uniform(-1, 1, (height // size + 2, width // size + 2))
        total += np.kron(small, np.ones((size, size)))[:height, :width]
    blurred = sum(np.roll(total, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9
    return np.asarray(126 + 25 * blurred)


def in_bytes(plane: Array) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(plane), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("down", "across"), [(0, 1), (1, 0), (-3, 5), (0, -12), (7, 9), (-14, -30), (0, 38)]
)
def test_a_shift_is_found(down: int, across: int) -> None:
    wide = in_bytes(grain(300, 440))
    one, other = (
        wide[60 + y : 60 + y + 180, 60 + x : 60 + x + 320] for y, x in ((0, 0), (-down, -across))
    )
    field = estimate_field(one, other, 1280, 720)
    assert np.median(field.magnitudes) * 2000 == pytest.approx(4 * np.hypot(down, across), rel=0.03)
    inside = scores(field)[GLOBAL] * 2000 / (4 * np.hypot(down, across))
    assert 0.75 < inside < 1.05


@pytest.mark.parametrize("quarters", [1, 2, 3, 5, 7])
def test_a_shift_of_quarters_is_found(quarters: int) -> None:
    fine = np.kron(grain(200, 340), np.ones((4, 4)))
    smooth = np.mean([np.roll(fine, x, 1) for x in range(-3, 4)], axis=0)
    one, other = (
        in_bytes(smooth[40:760, 40 - x : 1320 - x].reshape(180, 4, 320, 4).mean(axis=(1, 3)))
        for x in (0, quarters)
    )
    found = scores(estimate_field(one, other, 1280, 720))[GLOBAL] * 2000
    assert found == pytest.approx(quarters, rel=0.15)


def test_what_is_no_motion_is_none() -> None:
    still = in_bytes(grain(180, 320))
    noisy = [
        in_bytes(still + np.random.default_rng(seed).normal(0, 2.5, still.shape)) for seed in (1, 2)
    ]
    for previous, current in (
        (still, still),
        (still, in_bytes(still * 0.9)),
        (still, in_bytes(still + 12.0)),
        (np.full_like(still, 90), np.full_like(still, 120)),
        (noisy[0], noisy[1]),
    ):
        assert scores(estimate_field(previous, current, 1280, 720))[GLOBAL] < 1e-5


def test_a_part_that_moves_is_told_from_one_that_rests() -> None:
    ground, moving = in_bytes(grain(180, 320)), in_bytes(grain(180, 400, seed=1))
    one, other = ground.copy(), ground.copy()
    one[:, 160:] = moving[:, 40:200]
    other[:, 160:] = moving[:, 34:194]
    field = estimate_field(one, other, 1280, 720)
    assert field.magnitudes[:, :18].max() == 0
    assert np.median(field.magnitudes[:, 22:]) * 2000 == pytest.approx(24, rel=0.03)
    found = scores(field)
    assert found[PATCH] == 0
    assert found[GLOBAL] * 2000 == pytest.approx(12, rel=0.15)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_any_size_and_any_picture_can_be_compared(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    one, other = (random.integers(0, 256, (height, width), dtype=np.uint8) for _ in range(2))
    found = scores(estimate_field(one, other, width, height))
    assert 0 <= found[PATCH] <= found[GLOBAL] < 1
    assert scores(estimate_field(one, one, width, height))[GLOBAL] == 0


# ── when to look ─────────────────────────────────────────────────────────────────────────────────


def looks(kinds: str, rate: int = 8, vectors: bool = True, bare: Collection[int] = ()) -> list[str]:
    """What is done with each frame: . nothing, 1-9 vectors so far back, k keep, e estimate.

    P-frames bring vectors, or none of them does, or not the ``bare`` ones.
    """
    sampler = MotionSampler(2.0)
    said = []
    for index, kind in enumerate(kinds):
        brings = vectors and index not in bare
        said.append(sampler.see(Fraction(index, rate), kind, partial(bool, brings)))
    signs = {Act.NOTHING: ".", Act.KEEP: "k", Act.ESTIMATE: "e"}
    return [signs.get(look.act, str(look.distance)) for look in said]


@pytest.mark.parametrize(
    ("kinds", "vectors", "expected"),
    [
        # Two looks a second at eight frames a second: from 0, 0.65 and 1.06 s on.
        ("IPPPPPPPPPPP", True, ".1....1..1.."),
        ("IBPBPBPBPBPB", True, "..2...2...2."),
        ("IBBBPBBBPBBB", True, "..ke....4..."),
        # The first P of the clip points out of it unless a frame to point to was shown.
        ("PPPPPPPPP", True, ".1....1.."),
        ("BBPPPPPPP", True, "..ke..1.."),
        ("BPBPBPBPB", True, "..ke...2."),
        # An I-frame has no vectors; the next P-frame has.
        ("IPPPPPIPPPPP", True, ".1.....1.1.."),
        # P-frames without vectors: from the first on, pictures are compared without waiting.
        ("IPPPPPPPPPPP", False, ".ke...ke.ke."),
        ("IBBBBBBBBBBB", False, "..ke....ke.."),
        ("IIIIIIIIIIII", False, ".ke...ke.ke."),
        ("????????????", False, "..ke....ke.."),
        ("I", True, "."),
    ],
)
def test_which_frames_are_looked_at(kinds: str, vectors: bool, expected: str) -> None:
    assert "".join(looks(kinds, vectors=vectors)) == expected


def test_vectors_are_asked_for_only_where_they_would_be_read() -> None:
    sampler = MotionSampler(2.0)
    asked: list[int] = []
    for index, kind in enumerate("IBPBPBPBPBPB"):

        def has_vectors(index: int = index) -> bool:
            asked.append(index)
            return True

        sampler.see(Fraction(index, 8), kind, has_vectors)
    assert asked == [2, 6, 10]


def test_a_p_frame_made_anew_does_not_end_the_reading_of_vectors() -> None:
    signs = looks("IPPPPPPPPPPP", bare={6})
    assert "".join(signs) == ".1....ke.1.."


def test_uneven_times_are_looked_at_once_per_tick() -> None:
    sampler = MotionSampler(2.0)
    times = [Fraction(t, 100) for t in (0, 3, 190, 191, 192, 198, 230, 231)]
    acts = [sampler.see(t, "P", lambda: True).act for t in times]
    assert [a is Act.VECTORS for a in acts] == [False, True, True, False, False, False, True, False]


def test_ticks_keep_the_rate_and_fall_into_step_with_nothing() -> None:
    signs = looks("I" + "P" * 1799, rate=30)
    seen = [index for index, sign in enumerate(signs) if sign != "."]
    assert len(seen) == 120
    # Of films that show every fifth frame twice, every fifth pair is at rest.
    shares = np.bincount([index % 5 for index in seen], minlength=5) / len(seen)
    assert np.abs(shares - 0.2).max() < 0.1, shares


# ── films ────────────────────────────────────────────────────────────────────────────────────────

CODECS: dict[str, dict[str, Any]] = {
    "h264": {"codec": "libx264", "b_frames": 0},
    "h264 with B-frames": {"codec": "libx264", "b_frames": 3},
    "hevc": {"codec": "libx265"},
    "vp9": {"codec": "libvpx-vp9"},
    "av1": {"codec": "libsvtav1"},
}
#: Pixels per frame, of 320.
SPEEDS = (0, 2, 6, 10)


def view(plane: Any) -> Array:
    """What a plane of a frame holds, to be read or written."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


def luma(frame: av.VideoFrame) -> Array:
    return view(frame.planes[0]).copy()


def measured(path: str) -> tuple[dict[str, float], set[Act]]:
    """The scores of a film as a cutter would find them, and what was done for them."""
    sampler, done = MotionSampler(2.0), set()
    with av.open(path) as container:
        video = container.streams.video[0]
        meter = MotionMeter(video.width, video.height)
        for frame in with_vectors(container):
            assert frame.pts is not None
            assert frame.time_base is not None
            kind = KINDS.get(int(frame.pict_type), "?")
            records = exported(frame)
            brings = partial(bool, records is not None)
            look = sampler.see(frame.pts * frame.time_base, kind, brings)
            done.add(look.act)
            if look.act is Act.VECTORS:
                assert records is not None
                meter.see(vector_field(records, frame.width, frame.height, look.distance))
            elif look.act is Act.KEEP:
                kept = luma(frame)
            elif look.act is Act.ESTIMATE:
                meter.see(estimate_field(kept, luma(frame), frame.width, frame.height))
    return meter.scores(), done


@pytest.fixture(scope="module")
def speeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """The score of pans at each speed, for each codec."""
    folder = tmp_path_factory.mktemp("pans")
    found: dict[str, list[float]] = {}
    for name, codec in CODECS.items():
        for speed in SPEEDS:
            scene = Scene(palette=1, pan=30 * speed, texture=64)
            film = paint(folder / f"{name} {speed}.mp4", seconds=1.6, scenes=[scene], **codec)
            marks, done = measured(film.path)
            expected = Act.VECTORS if name.startswith("h264") else Act.ESTIMATE
            assert expected in done, name
            assert ({Act.VECTORS, Act.ESTIMATE} - {expected}).isdisjoint(done), name
            found.setdefault(name, []).append(marks[GLOBAL])
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_the_score_of_a_pan_is_its_speed(codec: str, speeds: dict[str, list[float]]) -> None:
    found = np.array(speeds[codec])
    assert (np.diff(found) > 0).all()
    assert np.corrcoef(SPEEDS, found)[0, 1] ** 2 >= 0.98
    # The ball, the strip below and the edge where new land appears do not pan.
    slope = np.polyfit(np.array(SPEEDS) / (320 + 180), found, 1)[0]
    assert 0.8 < slope < 1.05


def test_codecs_agree_on_speed(speeds: dict[str, list[float]]) -> None:
    table = np.array(list(speeds.values()))[:, 1:]
    assert (table.max(axis=0) <= 1.25 * table.min(axis=0)).all(), table


@pytest.mark.parametrize("name", CODECS)
def test_a_still_does_not_move(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "still.mp4")
    codec, b_frames = CODECS[name]["codec"], CODECS[name].get("b_frames")
    with av.open(path, "w") as container:
        stream: Any = container.add_stream(codec, rate=30, options=codec_settings(codec, {}, False))
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        stream.codec_context.gop_size = 20
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        opened(stream.codec_context)
        for index in range(24):
            # The same picture again and again, for the painter would count in its strip.
            frame = drawn(Scene(palette=1, texture=64), 0.0)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert measured(path)[0][GLOBAL] < 1e-5


# ── texture ──────────────────────────────────────────────────────────────────────────────────────


def drawn(scene: Scene, seconds: float) -> av.VideoFrame:
    frame = av.VideoFrame(320, 180, "yuv420p")
    planes = [view(plane) for plane in frame.planes]
    Scenery(scene, 0, (320, 180), 2, False).draw(planes, 0, seconds)
    return frame


def test_texture_is_everywhere_and_in_luma_alone() -> None:
    plain, rough = (drawn(Scene(palette=1, texture=texture), 0.0) for texture in (0.0, 64.0))
    blocks = [luma(f)[:160].reshape(10, 16, 20, 16).std(axis=(1, 3)) for f in (plain, rough)]
    # The sky of this scene is a slope so gentle that it could be going anywhere.
    assert np.median(blocks[0]) < 3.5
    assert np.percentile(blocks[1], 5) > 4.5
    assert np.median(blocks[1]) > 2 * np.median(blocks[0])
    for chroma in (1, 2):
        sides = [view(frame.planes[chroma]) for frame in (plain, rough)]
        assert np.abs(sides[0].astype(int) - sides[1]).max() <= 1
    # It is told by the scene alone: the same again.
    assert (luma(drawn(Scene(palette=1, texture=64.0), 0.0)) == luma(rough)).all()


def test_texture_goes_round_without_a_seam() -> None:
    scene = Scene(palette=1, pan=640.0, texture=64.0)
    # After one second the land, twice as wide as the picture, has passed by once.
    assert (luma(drawn(scene, 0.0)) == luma(drawn(scene, 1.0))).all()
    across_the_seam = luma(drawn(scene, 0.75)).astype(int)[:100]
    steps = np.abs(np.diff(across_the_seam, axis=1)).mean(axis=0)
    assert steps[159] < 2 * np.median(steps)
