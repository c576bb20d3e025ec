"""How well ``finecut dedup`` tells copies from what only looks like one: what its limits rest on.

    make bench-copies                         painted clips, and those of FILMS=folder
    make bench-copies FILMS=/videos           (some minutes of one core)

Each clip of four seconds is altered in every way that a copy may be, encoded once more, and held
against its original: what is found by pictures, and how near the vectors are. Then clips that are
no copies are held against each other: one room with other people in it, one opening with another
programme after it, one loop at another time, one game in another round, and all clips of a film.
Ends with 1 if fewer than 95 % of any kind of copy are found, or more than 2 % of what is found is
no copy. The limits (``transforms/dedup/pictures.py``, ``transforms/dedup/thresholds.py``) are those
that this was measured with.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from finecut.io.media.frames.small_pictures import thumbnails
from finecut.transforms.dedup.clusters import normalised
from finecut.transforms.dedup.pictures import MOST, RATE, SIDE, Thumbnails, likeness

Pixels = NDArray[np.uint8]
#: Of painted clips and of films that are looked at: small, as nothing here sees more.
HEIGHT, WIDTH, FPS = 144, 256, 16
#: Frames before and after a clip, so that copies may begin earlier or later; and of a clip.
AROUND, LENGTH = FPS // 2, 4 * FPS
RECALL, PRECISION = 0.95, 0.98


class Clip(NamedTuple):
    """Somewhat more than a clip: the half seconds around it as well."""

    #: Clips of one family look alike and are no copies of each other.
    family: str
    name: str
    frames: Pixels


# ── copies ───────────────────────────────────────────────────────────────────────────────────────


def cropped(frames: Pixels, share: float) -> Pixels:
    """Two thirds of what goes go at the top and on the left."""
    height, width = (round(side * (1 - share) / 2) * 2 for side in frames.shape[1:3])
    top, left = (frames.shape[1] - height) * 2 // 3, (frames.shape[2] - width) * 2 // 3
    return frames[:, top : top + height, left : left + width]


def coloured(frames: Pixels) -> Pixels:
    """Brighter, with more contrast, fewer colours, and warmer."""
    pixels = frames.astype(np.float32)
    pixels = 0.7 * pixels + 0.3 * pixels.mean(axis=3, keepdims=True)
    pixels = 1.15 * (1.1 * pixels - 128) + 128 + np.array([8, 0, -8], np.float32)
    return pixels.clip(0, 255).astype(np.uint8)


def signed(frames: Pixels) -> Pixels:
    """With a logo in a corner: white letters on dark red."""
    found = frames.copy()
    height, width = frames.shape[1] // 7, frames.shape[2] // 5
    logo = np.full((height, width, 3), (120, 10, 20), np.uint8)
    logo[height // 4 : -height // 4, width // 8 : -width // 8 : 3] = 250
    found[:, 6 : 6 + height, -6 - width : -6] = logo
    return found


def barred(frames: Pixels, down: bool) -> Pixels:
    """With black bars above and below, or on both sides, of an eighth of the picture each."""
    count, height, width, _ = frames.shape
    sizes = (height // 3 // 2 * 2, 0) if down else (0, width // 3 // 2 * 2)
    found = np.zeros((count, height + sizes[0], width + sizes[1], 3), np.uint8)
    top, left = sizes[0] // 2, sizes[1] // 2
    found[:, top : top + height, left : left + width] = frames
    return found


def scaled(frames: Pixels, share: float) -> Pixels:
    height, width = (round(side * share / 2) * 2 for side in frames.shape[1:3])
    made = (av.VideoFrame.from_ndarray(np.ascontiguousarray(f), format="rgb24") for f in frames)
    return np.stack([f.reformat(width, height).to_ndarray() for f in made])


def whole(frames: Pixels) -> Pixels:
    return frames


#: What is done to the pictures, how badly they are encoded then, and by how many frames it begins
#: later.
COPIES: dict[str, tuple[Callable[[Pixels], Pixels], int, int]] = {
    "encoded badly": (whole, 38, 0),
    "a quarter of the size": (lambda f: scaled(f, 0.5), 28, 0),
    "cropped by 5 %": (lambda f: cropped(f, 0.05), 26, 0),
    "cropped by 15 %": (lambda f: cropped(f, 0.15), 26, 0),
    "other colours": (coloured, 26, 0),
    "half a second later": (whole, 26, AROUND),
    "0.44 s earlier": (whole, 26, 1 - AROUND),
    "a logo": (signed, 26, 0),
    "mirrored": (lambda f: f[:, :, ::-1], 26, 0),
    "letterboxed": (lambda f: barred(f, down=True), 26, 0),
    "pillarboxed": (lambda f: barred(f, down=False), 26, 0),
}


def copy_of(clip: Clip, how: str) -> bytes:
    alter, quality, later = COPIES[how]
    return encoded(alter(clip.frames[AROUND + later :][:LENGTH]), quality)


def original(clip: Clip) -> bytes:
    return encoded(clip.frames[AROUND:][:LENGTH], 23)


def encoded(frames: Pixels, quality: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        options = {"crf": str(quality), "preset": "veryfast", "threads": "1"}
        out = container.add_stream("libx264", rate=FPS, options=options)
        out.height, out.width = (side // 2 * 2 for side in frames.shape[1:3])
        out.pix_fmt = "yuv420p"
        for picture in frames[:, : out.height, : out.width]:
            shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(out.encode(shown))
        container.mux(out.encode(None))
    return file.getvalue()


# ── painted clips ────────────────────────────────────────────────────────────────────────────────


def field(dice: np.random.Generator, height: int, width: int, coarse: int) -> NDArray[np.float32]:
    """A smooth picture: few colours chosen by chance, and what lies between them."""
    small = dice.integers(0, 256, (height // coarse + 2, width // coarse + 2, 3)).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(small, format="rgb24")
    large = frame.reformat(width, height, "rgb24", interpolation="BICUBIC").to_ndarray()
    fine = dice.normal(0, 12, (height // 2, width // 2, 1)).repeat(2, 0).repeat(2, 1)
    return (large + fine).clip(0, 255).astype(np.float32)


def acted(stage: NDArray[np.float32], dice: np.random.Generator, people: int) -> Pixels:
    """People who walk about before a picture, each in a way of their own."""
    count = LENGTH + 2 * AROUND
    frames = np.repeat(stage[None, :HEIGHT, :WIDTH], count, axis=0)
    moments = np.arange(count) / FPS
    for _ in range(people):
        tall, wide = int(dice.integers(24, 60)), int(dice.integers(10, 26))
        colour, speed = dice.integers(0, 256, 3), dice.uniform(12, 50) * dice.choice([-1, 1])
        swing, phase = dice.uniform(2, 14), dice.uniform(0, 6)
        across = dice.uniform(0, WIDTH) + speed * moments
        down = dice.uniform(40, HEIGHT - tall) + swing * np.sin(2.5 * moments + phase)
        for frame, x, y in zip(frames, across % WIDTH, down, strict=True):
            frame[int(y) : int(y) + tall, int(x) : int(x) + wide] = colour
    return frames.clip(0, 255).astype(np.uint8)


def painted(number: int, seed: int = 0) -> Iterator[Clip]:
    """So many clips of scenes of their own, and of each hard family as many pairs."""
    dice = np.random.default_rng(seed)
    for n in range(number):
        wide = field(dice, HEIGHT, 2 * WIDTH, 24)
        frames = acted(wide, dice, 2)
        if n % 2:  # the camera turns
            steps = np.linspace(0, WIDTH - 1, LENGTH + 2 * AROUND).astype(int)
            frames = np.stack([wide[:, s : s + WIDTH] for s in steps]).astype(np.uint8)
        yield Clip(f"scene {n}", f"scene {n}", frames)
    for n in range(number):
        room = field(dice, HEIGHT, WIDTH, 32)
        for cast in range(3):
            yield Clip(f"room {n}", f"cast {cast}", acted(room, dice, 1 + cast % 2))
        opening = acted(field(dice, HEIGHT, WIDTH, 24), dice, 3)
        for show in range(2):
            rest = acted(field(dice, HEIGHT, WIDTH, 24), dice, 2)
            both = np.concatenate([opening[: LENGTH // 2], rest[LENGTH // 2 :]])
            yield Clip(f"opening {n}", f"programme {show}", both)
        strip = field(dice, HEIGHT, 2 * WIDTH, 24)
        for start in (0, WIDTH):  # one turn in eight seconds, seen at two times
            at = (start + np.arange(LENGTH + 2 * AROUND) * 4) % (2 * WIDTH)
            rows = [np.roll(strip, -a, axis=1)[:, :WIDTH] for a in at.tolist()]
            yield Clip(f"loop {n}", f"from {start}", np.stack(rows).astype(np.uint8))
        yield from _rounds(n, dice)


def _rounds(n: int, dice: np.random.Generator) -> Iterator[Clip]:
    """One game: the same frame around the picture, and the same ground elsewhere on the map."""
    frame, ground = field(dice, HEIGHT, WIDTH, 48), field(dice, 3 * HEIGHT, 3 * WIDTH, 16)
    for number in range(2):
        turn = np.arange(LENGTH + 2 * AROUND) / FPS
        x = (WIDTH + WIDTH * 0.8 * np.sin(turn * dice.uniform(0.4, 1) + 3 * number)).astype(int)
        y = (HEIGHT + HEIGHT * 0.8 * np.cos(turn * dice.uniform(0.4, 1) + 2 * number)).astype(int)
        frames = np.stack(
            [ground[b : b + HEIGHT, a : a + WIDTH] for a, b in zip(x, y, strict=True)]
        )
        frames[:, -HEIGHT // 5 :], frames[:, :, : WIDTH // 8] = (
            frame[-HEIGHT // 5 :],
            frame[:, : WIDTH // 8],
        )
        yield Clip(f"game {n}", f"round {number}", frames.astype(np.uint8))


# ── real clips ───────────────────────────────────────────────────────────────────────────────────


def filmed(path: Path, most: int) -> Iterator[Clip]:
    """The first clips of a film, sixteen pictures a second."""
    taken: list[Pixels] = []
    wanted = (LENGTH * most) + 2 * AROUND
    with av.open(str(path)) as container:
        first: Fraction | None = None
        for frame in container.decode(video=0):
            if frame.pts is None or frame.time_base is None:
                continue
            at = frame.pts * frame.time_base
            first = at if first is None else first
            picture: Any = None
            while len(taken) < wanted and Fraction(len(taken), FPS) <= at - first:
                picture = frame.reformat(WIDTH, HEIGHT, "rgb24") if picture is None else picture
                taken.append(picture.to_ndarray())
            if len(taken) == wanted:
                break
    frames = np.stack(taken)
    for number in range((len(frames) - 2 * AROUND) // LENGTH):
        part = frames[number * LENGTH :][: LENGTH + 2 * AROUND]
        yield Clip(path.stem, f"clip {number}", part)


# ── measuring ────────────────────────────────────────────────────────────────────────────────────


class Looked(NamedTuple):
    """A clip as dedup knows it."""

    pictures: Thumbnails
    vector: NDArray[np.float32]


class Looking:
    """What dedup sees of a clip: tiny pictures, and the vector of the embedder in the package."""

    def __init__(self, with_vectors: bool) -> None:
        self._model: Any = None
        if with_vectors:
            from finecut.transforms.models.embedders.lite import LiteEmbedder

            self._model = LiteEmbedder()

    def __call__(self, data: bytes) -> Looked:
        pictures = Thumbnails(thumbnails(io.BytesIO(data), RATE, MOST, SIDE))
        return Looked(pictures, self._vector(data))

    def _vector(self, data: bytes) -> NDArray[np.float32]:
        if self._model is None:
            return np.zeros(1, np.float32)
        from finecut.transforms.caption.asking import Question

        with av.open(io.BytesIO(data), "r") as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        spread = np.linspace(0, len(frames) - 1, 8).round().astype(int)
        question = Question("clip", frames=[frames[i] for i in spread])
        [answer] = self._model.answer([question])
        return normalised(np.asarray(answer.numbers)[None])[0]


class Told(NamedTuple):
    """A pair: whether the pictures say it is one clip, and how near the vectors are."""

    same: bool
    cosine: float


def told(one: Looked, other: Looked) -> Told:
    found = likeness(one.pictures, other.pictures)
    return Told(found.same, float(one.vector @ other.vector))


def measured(clips: Sequence[Clip], look: Looking) -> tuple[dict[str, list[Told]], list[Any]]:
    """All copies by their kind; and all pairs that are none, with their names."""
    copies: dict[str, list[Told]] = defaultdict(list)
    families: dict[str, list[tuple[Clip, Looked]]] = defaultdict(list)
    for clip in clips:
        seen = look(original(clip))
        families[clip.family].append((clip, seen))
        for how in COPIES:
            copies[how].append(told(seen, look(copy_of(clip, how))))
    others = [
        (f"{a.family}: {a.name}, {b.name}", told(x, y))
        for family in families.values()
        for (a, x), (b, y) in combinations(family, 2)
    ]
    return copies, others


def table(copies: dict[str, list[Told]], others: Sequence[Any]) -> Iterator[str]:
    yield "| | pairs | pictures agree | cosine: 1 of 20 is below | median |"
    yield "| --- | --: | --: | --: | --: |"
    for name, rows in (*copies.items(), ("no copies", [found for _, found in others])):
        if rows:
            low, median = np.quantile([row.cosine for row in rows], [0.05, 0.5])
            same = sum(row.same for row in rows) / len(rows)
            yield f"| {name} | {len(rows)} | {same:.1%} | {low:.2f} | {median:.2f} |"


def sound(copies: dict[str, list[Told]], others: Sequence[Any]) -> bool:
    right = sum(row.same for rows in copies.values() for row in rows)
    wrong = sum(found.same for _, found in others)
    return right >= PRECISION * (right + wrong) and all(
        sum(row.same for row in rows) >= RECALL * len(rows) for rows in copies.values()
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--films", type=Path, help="a folder of films, besides painted clips")
    parser.add_argument("--painted", type=int, default=20, help="clips and families to paint")
    parser.add_argument("--clips", type=int, default=4, help="of each film at most")
    parser.add_argument("--no-vectors", action="store_true", help="compare pictures only")
    given = parser.parse_args(arguments)
    look = Looking(not given.no_vectors)
    kinds = {"painted": list(painted(given.painted))}
    if given.films is not None:
        films = sorted(p for p in given.films.iterdir() if p.suffix in {".mp4", ".mkv", ".webm"})
        kinds["real"] = [clip for film in films for clip in filmed(film, given.clips)]
    fine = True
    for kind, clips in kinds.items():
        copies, others = measured(clips, look)
        sys.stdout.write("\n".join([f"{kind}: {len(clips)} clips", *table(copies, others)]) + "\n")
        for name, found in others:
            if found.same:
                sys.stdout.write(f"taken for a copy: {name} (cosine {found.cosine:.2f})\n")
        fine &= sound(copies, others)
    return int(not fine)


if __name__ == "__main__":
    sys.exit(main())
