"""Good films with random damage: no crash, no hang, no hunger, nothing written elsewhere.

FFmpeg is C, and what it does to a broken file it does in this process. So batches of films go
through processes of their own: when one dies, the film that killed it is named by its number.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hostile_making import Studio
from hostile_outcomes import PATIENCE, PEAK_MB, files_below, in_a_process

#: Films of one process.
BATCH = 50

KINDS: dict[str, Callable[[Studio], bytes]] = {
    "mp4": lambda studio: studio.mp4,
    "mkv": lambda studio: studio.mkv,
    "avi": lambda studio: studio.avi,
    "webm": lambda studio: studio.webm,
    "vp9.webm": lambda studio: studio.film("vp9.webm", codec="libvpx-vp9", sound="libopus"),
    "mov": lambda studio: studio.film("jpeg.mov", codec="mjpeg", pix_fmt="yuvj420p"),
}


def flip(film: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice((1, 3, 10, 100))):
        film[dice.randrange(len(film))] = dice.randrange(256)


def flip_header(film: bytearray, dice: random.Random) -> None:
    """Where the numbers are that much hangs on: at the beginning."""
    for _ in range(dice.choice((1, 2, 5))):
        film[dice.randrange(min(3000, len(film)))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF))


def remove(film: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(film))
    del film[at : at + dice.choice((1, 4, 100, 5000))]


def insert(film: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(film))
    film[at:at] = dice.randbytes(dice.choice((1, 4, 100, 5000)))


def cut_off(film: bytearray, dice: random.Random) -> None:
    del film[dice.randrange(len(film)) :]


def splice(film: bytearray, dice: random.Random) -> None:
    """A piece of it stands somewhere else, too."""
    start, at = dice.randrange(len(film)), dice.randrange(len(film))
    piece = film[start : start + dice.choice((8, 64, 1000))]
    film[at : at + len(piece)] = piece


CHANGES = (flip, flip_header, flip_header, remove, insert, cut_off, splice)


def mutated(film: bytes, seed: int) -> bytes:
    """The film with the damage of this number."""
    dice, changed = random.Random(seed), bytearray(film)
    for _ in range(dice.choice((1, 1, 2))):
        dice.choice(CHANGES)(changed, dice)
        if not changed:
            break
    return bytes(changed)


@cache
def studio_in(folder: Path) -> Studio:
    return Studio(folder / "studio")


def survive(seeds: range, folder: Path) -> dict[str, int]:
    """Send films with the damage of these numbers through a process; how many became what."""
    studio, paths = studio_in(folder), []
    names = sorted(KINDS)
    films = folder / f"films{seeds.start}"
    films.mkdir()
    for seed in seeds:
        kind = names[seed % len(names)]
        paths.append(films / f"{seed}.{kind}")
        paths[-1].write_bytes(mutated(KINDS[kind](studio), seed))
    before = files_below(folder)
    work = folder / f"work{seeds.start}"
    told = in_a_process(work, paths)
    assert [p for p in files_below(folder) if not p.startswith(str(work))] == before
    counted: dict[str, int] = {}
    for name, line in told.items():
        counted[line["state"]] = counted.get(line["state"], 0) + 1
        assert line["seconds"] < PATIENCE, (name, line)
        assert line["mb"] < PEAK_MB, (name, line)
    assert len(told) == len(seeds)
    return counted


def test_damaged_films_cost_only_themselves(tmp_path: Path) -> None:
    counted = survive(range(50), tmp_path)
    assert set(counted) <= {"done", "marked", "empty", "failed"}
    assert counted["failed"] >= 5, "the damage proves nothing"
    assert counted["done"] + counted["marked"] >= 5, "nothing was saved"


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 2000, 200))
def test_two_thousand_do_so_too(start: int, tmp_path: Path) -> None:
    for first in range(start, start + 200, BATCH):
        print(survive(range(first, first + BATCH), tmp_path), file=sys.stderr)
