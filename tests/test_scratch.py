"""Scratch: within its budget, never in the way, nobody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from finecut.io.scratch import PART, Scratch


def test_what_was_put_can_be_had_until_it_is_dropped(tmp_path: Path) -> None:
    scratch = Scratch(100, str(tmp_path / "deep" / "down"))
    assert scratch.get("a") is None
    assert scratch.put("a", b"one")
    assert scratch.put("a", b"two")
    assert scratch.get("a") == b"two"
    scratch.drop("a")
    scratch.drop("a")
    assert scratch.get("a") is None


def test_the_oldest_makes_room(tmp_path: Path) -> None:
    scratch = Scratch(100, str(tmp_path))
    for age, name in enumerate("abcd"):
        assert scratch.put(name, bytes(30))
        os.utime(tmp_path / name, ns=(age, age))
    assert [name for name in "abcd" if scratch.get(name)] == ["b", "c", "d"]
    assert scratch.put("e", bytes(100))
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_what_a_killed_run_left_makes_room_too(tmp_path: Path) -> None:
    (tmp_path / f"torn{PART}").write_bytes(bytes(90))
    scratch = Scratch(100, str(tmp_path))
    assert scratch.put("a", bytes(50))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_too_large_is_not_kept_and_costs_nothing(tmp_path: Path) -> None:
    scratch = Scratch(100, str(tmp_path))
    scratch.put("a", bytes(10))
    assert not scratch.put("b", bytes(101))
    assert scratch.get("a") == bytes(10)


def test_a_folder_that_cannot_be_written_to_is_no_accident(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    scratch = Scratch(100, str(file / "below"))
    assert not scratch.put("a", b"one")
    assert scratch.get("a") is None


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a\0b"])
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no name for a file"):
        Scratch(100, str(tmp_path)).get(name)


def test_the_usual_folder_is_for_its_owner_only() -> None:
    scratch = Scratch(1000)
    assert scratch.put("finecut-test-of-scratch", b"x")
    try:
        folder = scratch._path("x").parent
        assert folder.stat().st_mode & 0o077 == 0
        assert folder.stat().st_uid == os.getuid()
    finally:
        scratch.drop("finecut-test-of-scratch")
