"""Scratch: within its budget, never in the way, nobody else's."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from finecut.io.storage.staging import PART, Scratch


def test_what_was_put_can_be_had_until_it_is_dropped(tmp_path: Path) -> None:
    scratch = Scratch(100, str(tmp_path / "deep" / "down"))
    assert scratch.get("a") is None
    assert scratch.put("a", [b"one"])
    assert scratch.put("a", [b"two"])
    assert scratch.get("a") == b"two"
    scratch.drop("a")
    scratch.drop("a")
    assert scratch.get("a") is None


def own(place: Path) -> Path:
    return place / f"finecut-{os.getuid()}"


def grow_old(path: Path, seconds: int) -> None:
    then = time.time_ns() - seconds * 10**9
    os.utime(path, ns=(then, then))


def test_the_oldest_makes_room(tmp_path: Path) -> None:
    scratch = Scratch(100, str(tmp_path))
    for age, name in enumerate("abcd"):
        assert scratch.put(name, [bytes(20), bytes(10)])
        grow_old(own(tmp_path) / name, 2000 - age)
    assert [name for name in "abcd" if scratch.get(name)] == ["b", "c", "d"]
    assert scratch.put("e", [bytes(100)])
    assert [path.name for path in own(tmp_path).iterdir()] == ["e"]


def test_what_may_be_needed_yet_makes_no_room(tmp_path: Path) -> None:
    scratch = Scratch(100, str(tmp_path))
    assert scratch.put("a", [bytes(60)])
    assert not scratch.put("b", [bytes(60)])
    assert scratch.get("a") == bytes(60)


def test_what_a_killed_run_left_makes_room_too(tmp_path: Path) -> None:
    scratch = Scratch(100, str(tmp_path))
    scratch.put("a", [])
    (own(tmp_path) / f"torn{PART}").write_bytes(bytes(90))
    grow_old(own(tmp_path) / f"torn{PART}", 3600)
    assert scratch.put("a", [bytes(50)])
    assert [path.name for path in own(tmp_path).iterdir()] == ["a"]


def test_nothing_of_anybody_elses_is_touched(tmp_path: Path) -> None:
    """The folder that is named may hold anything, also the films."""
    (tmp_path / "thesis.doc").write_bytes(bytes(5000))
    grow_old(tmp_path / "thesis.doc", 10**7)
    scratch = Scratch(100, str(tmp_path))
    for name in "abc":
        scratch.put(name, [bytes(90)])
    scratch.sweep("")
    assert (tmp_path / "thesis.doc").stat().st_size == 5000


def test_a_run_sweeps_its_own(tmp_path: Path) -> None:
    scratch = Scratch(100, str(tmp_path))
    for name in ("one-a", "one-b", "two-a"):
        scratch.put(name, [b"x"])
    scratch.sweep("one-")
    assert [path.name for path in own(tmp_path).iterdir()] == ["two-a"]
    Scratch(100, str(tmp_path / "file" / "none")).sweep("one-")


def test_too_large_is_not_kept_and_costs_nothing(tmp_path: Path) -> None:
    scratch = Scratch(100, str(tmp_path))
    scratch.put("a", [bytes(10)])
    assert not scratch.put("b", [bytes(101)])
    assert scratch.get("a") == bytes(10)


def test_a_folder_that_cannot_be_written_to_is_no_accident(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    scratch = Scratch(100, str(file / "below"))
    assert not scratch.put("a", [b"one"])
    assert scratch.get("a") is None


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a\0b"])
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a valid name for a file"):
        Scratch(100, str(tmp_path)).get(name)


def test_the_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    scratch = Scratch(1000, str(tmp_path))
    assert scratch.put("a", [b"x"])
    assert own(tmp_path).stat().st_mode & 0o077 == 0
    # A name that somebody else took, to be handed what we see, is not used.
    (tmp_path / "other" / "elsewhere").mkdir(parents=True)
    own(tmp_path / "other").symlink_to(tmp_path / "other" / "elsewhere")
    assert not Scratch(1000, str(tmp_path / "other")).put("a", [b"x"])


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    scratch = Scratch(1000, str(tmp_path))
    assert scratch.put("a", [b"x"])
    (own(tmp_path) / "b").mkdir()  # in the way of the file
    assert not scratch.put("b", [b"x"])
    assert sorted(path.name for path in own(tmp_path).iterdir()) == ["a", "b"]


def test_full_is_usable_and_unwritable_is_not(tmp_path: Path) -> None:
    scratch = Scratch(10, str(tmp_path))
    scratch.put("a", [bytes(10)])
    assert not scratch.put("b", [bytes(10)])
    assert scratch.is_usable()
    assert [path.name for path in own(tmp_path).iterdir()] == ["a"]
    (tmp_path / "file").touch()
    assert not Scratch(10, str(tmp_path / "file")).is_usable()
