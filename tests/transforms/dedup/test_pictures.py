"""Copies, and what only looks like one: pictures tell them apart, whatever was done to the copy."""

from __future__ import annotations

import os
from functools import cache
from itertools import combinations
from pathlib import Path

import copies
import numpy as np
import pytest
from places import BESIDE

from finecut.transforms.dedup.pictures import WHOLE, Likeness, Thumbnails, likeness

VIDEOS = Path(os.environ.get("FINECUT_SHARED", BESIDE)) / "videos"
LOOK = copies.Looking(with_vectors=False)


@cache
def clips() -> dict[str, copies.Clip]:
    """One family of each kind."""
    return {f"{clip.family}, {clip.name}": clip for clip in copies.painted(1)}


@cache
def original(name: str) -> Thumbnails:
    return LOOK(copies.original(clips()[name])).pictures


def held(name: str, how: str) -> Likeness:
    """A copy against its original; which of the two comes first makes no difference."""
    copy = LOOK(copies.copy_of(clips()[name], how)).pictures
    found, back = likeness(original(name), copy), likeness(copy, original(name))
    assert found.same == back.same
    return found


@pytest.mark.parametrize("how", copies.COPIES)
@pytest.mark.parametrize("name", ["scene 0, scene 0", "room 0, cast 0"])
def test_a_copy_is_found_whatever_was_done_to_it(name: str, how: str) -> None:
    found = held(name, how)
    assert found.same, found


def test_it_is_said_what_was_done() -> None:
    name = "scene 0, scene 0"
    assert held(name, "encoded badly").how == ()
    assert "mirrored" in held(name, "mirrored").how
    assert "cropped" in held(name, "cropped by 15 %").how
    assert "later" in held(name, "half a second later").how
    for how in ("letterboxed", "pillarboxed"):
        assert "bars" in held(name, how).how


@pytest.mark.parametrize("family", ["room 0", "opening 0", "loop 0", "game 0"])
def test_what_only_looks_like_a_copy_is_none(family: str) -> None:
    names = [name for name in clips() if name.startswith(f"{family},")]
    assert len(names) > 1
    for one, other in combinations(names, 2):
        found = likeness(original(one), original(other))
        assert not found.same, (one, other, found)


def test_bars_are_found_to_a_part_of_a_row_and_darkness_is_no_bar() -> None:
    dice = np.random.default_rng(0)
    pictures = dice.integers(80, 200, (16, 32, 32)).astype(np.uint8)
    assert Thumbnails(pictures).box == WHOLE
    pictures[:, :4], pictures[:, 30:] = 3, 3
    pictures[:, 4] //= 2
    box = Thumbnails(pictures).box
    assert (box.left, box.right, box.bottom) == (0, 32, 30)
    assert 4.3 < box.top < 4.7
    night = np.full((16, 32, 32), 9, np.uint8)
    assert Thumbnails(night).box == WHOLE
    night[:, 15:18, 15:18] = 250
    assert Thumbnails(night).box == WHOLE


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["painted", "real"])
def test_nearly_all_copies_are_found_and_hardly_anything_else(kind: str) -> None:
    told = ["--no-vectors", "--painted", "10" if kind == "painted" else "0"]
    if kind == "real":
        if not VIDEOS.exists():
            pytest.skip("the shared films are not here")
        told += ["--films", str(VIDEOS), "--clips", "3"]
    assert copies.main(told) == 0
