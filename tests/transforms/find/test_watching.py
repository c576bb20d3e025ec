"""Watching, on plain listings: what is new, complete, replaced, put off or gone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from finecut.io.storage.stores import Found
from finecut.transforms.find.inputs import Finding
from finecut.transforms.find.lists import InputError
from finecut.transforms.find.looking import check_watchable, look
from finecut.transforms.find.watching import (
    LAST_RETRY,
    NEVER,
    Known,
    Looked,
    compared,
    recalled,
    remembered,
    retry_after,
    taken,
)

A, B = "/in/a.mp4", "/in/b.mp4"
EVERY = 10.0


def listing(*files: tuple[str, int, float]) -> dict[str, Found]:
    return {uri: Found(uri, size, f"{size} {time}", time) for uri, size, time in files}


def looked(files: Mapping[str, Found], *held: str) -> Looked:
    return Looked("/in", files, frozenset(held))


def looking(*looks: tuple[float, Looked], seconds: float = EVERY) -> Known:
    """What is known after these looks, each of which took a second."""
    known = Known(seconds)
    for at, what in looks:
        known.look(what, at, at + 1)
    return known


def due(known: Known, at: float = 1e6) -> list[str]:
    return [found.uri for found in known.due(at)]


SAME, GROWN = listing((A, 5, 1.0)), listing((A, 9, 2.0))
#: Looks, and whether the video is due after the last of them.
TABLE = {
    "seen once": ([(0, SAME)], False),
    "too soon after": ([(0, SAME), (10, SAME)], False),
    "unchanged": ([(0, SAME), (11, SAME)], True),
    "unchanged in many looks, each soon after the other": (
        [(0, SAME), (4, SAME), (8, SAME), (12, SAME)],
        True,
    ),
    "grown": ([(0, SAME), (11, GROWN)], False),
    "grown, and then unchanged": ([(0, SAME), (11, GROWN), (23, GROWN)], True),
    "written over, as large as before": ([(0, SAME), (11, listing((A, 5, 3.0)))], False),
    "shorter": ([(0, GROWN), (11, SAME)], False),
    "moved in, with an old time": ([(0, {}), (11, listing((A, 5, -9.0)))], False),
    "moved in, with an old time, and looked at again": (
        [(0, {}), (11, listing((A, 5, -9.0))), (23, listing((A, 5, -9.0)))],
        True,
    ),
    "with a time to come": ([(0, listing((A, 5, 9e9))), (11, listing((A, 5, 9e9)))], True),
    "empty": ([(0, listing((A, 0, 1.0))), (11, listing((A, 0, 1.0)))], False),
    "gone, and there again": (
        [(0, {**SAME, **listing((B, 1, 1.0))}), (11, listing((B, 1, 1.0))), (23, SAME)],
        False,
    ),
    "in a store": ([(0, listing(("gs://b/a.mp4", 5, 1.0)))], True),
    "in a store, and empty": ([(0, listing(("s3://b/a.mp4", 0, 1.0)))], False),
    "in a store that shows files while they grow": (
        [(0, listing(("hdfs://b/a.mp4", 5, 1.0)))],
        False,
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_when_a_video_is_due(case: str) -> None:
    looks, wanted = TABLE[case]
    known = looking(*((at, looked(files)) for at, files in looks))
    assert any("a.mp4" in path for path in due(known)) is wanted


def test_what_a_program_keeps_a_file_beside_is_not_complete() -> None:
    known = looking((0, looked(SAME, A)), (11, looked(SAME, A)))
    assert (due(known), known.growing()) == ([], [A])
    known.look(looked(SAME), 23, 24)
    assert due(known) == [A]


def test_what_is_done_is_due_again_when_it_is_replaced() -> None:
    known = looking((0, looked(SAME)), (11, looked(SAME)))
    known.close(A)
    known.look(looked(SAME), 23, 24)
    assert due(known) == []
    assert known.look(looked(GROWN), 35, 36).replaced == [A]
    assert due(known) == []
    assert known.look(looked(GROWN), 47, 48) == ([], [], [])
    assert due(known) == [A]


def test_what_failed_waits_and_a_new_version_does_not() -> None:
    known = looking((0, looked(SAME)), (11, looked(SAME)))
    known.put_off(A, 100.0)
    assert (due(known, 99), due(known, 100)) == ([], [A])
    known.put_off(A, NEVER)
    known.look(looked(SAME), 23, 24)
    assert due(known) == []
    known.look(looked(GROWN), 35, 36)
    known.look(looked(GROWN), 47, 48)
    assert due(known) == [A]


def test_nothing_at_all_is_no_removal() -> None:
    """A disk that is not mounted is an empty folder; everything is known when it is there again."""
    both = {**SAME, **listing((B, 1, 0.0))}
    known = looking((0, looked(both)), (11, looked(both)))
    known.close(A)
    assert known.look(looked({}), 23, 24).removed == [A, B]
    assert due(known) == []
    assert known.look(looked(both), 35, 36) == ([], [], [])
    assert due(known) == [B]
    assert known.look(looked(SAME), 47, 48).removed == [B]
    assert known.open == {}


def test_the_oldest_are_taken_first_and_not_too_many() -> None:
    files = listing(("/c", 5, 3.0), ("/b", 5, 3.0), ("/a", 5, 9.0), ("/d", 50, 1.0))
    known = looking((0, looked(files)), (11, looked(files)))
    found = known.due(0)
    assert [one.uri for one in found] == ["/d", "/b", "/c", "/a"]
    assert [one.uri for one in taken(found, 9, 50)] == ["/d"]
    assert [one.uri for one in taken(found[1:], 2, 50)] == ["/b", "/c"]
    assert taken([], 2, 50) == []


def test_a_failed_video_waits_longer_each_time_and_not_for_ever() -> None:
    waits = [retry_after(attempts) for attempts in range(1, 40)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (300.0, LAST_RETRY)


def test_the_next_process_knows_what_it_could_not_find_out() -> None:
    both = {**SAME, **listing((B, 7, 1.0), ("/in/c.mp4", 1, 1.0))}
    known = looking((0, looked(both)), (11, looked(both)))
    known.put_off(B, 500.0)
    known.put_off("/in/c.mp4", NEVER)
    grown = {**both, **GROWN}
    known.look(looked(grown), 23, 24)
    said = remembered(known, 1000.0)
    assert said == {"growing": {A: ["9 2.0", 1024.0]}, "failed": {B: ["7 1.0", 1500.0]}}
    # Another clock begins anew, six seconds later: four more are to be waited.
    again = recalled(said, EVERY, 0.0, 1030.0)
    assert again.look(looked(grown), 3.9, 4.0).new == [*grown]
    assert due(again) == []
    again.look(looked(grown), 4.0, 4.1)
    assert due(again) == [A]
    again.look(looked(grown), 14.0, 14.1)
    assert B not in due(again, 469.0)
    assert B in due(again, 470.0)


@pytest.mark.parametrize(
    "said",
    [
        None,
        {},
        {"growing": 5, "failed": []},
        {"growing": {A: "x"}, "failed": {A: [1, 2]}},
        {"growing": {A: ["9 2.0", True]}, "failed": {A: ["x"]}},
    ],
)
def test_what_is_not_as_it_was_written_is_not_known(said: dict[str, object] | None) -> None:
    known = recalled(said, EVERY, 0.0, 1000.0)
    assert (known.before, known.failed) == ({}, {})


def test_a_clock_that_was_put_forward_or_back_makes_nobody_wait_for_ever() -> None:
    said = {"growing": {A: ["5 1.0", 5000.0]}, "failed": {B: ["7 1.0", 9e9]}}
    known = recalled(said, EVERY, 0.0, 1000.0)
    assert (known.before[A].since, known.failed[B].again) == (0.0, LAST_RETRY)
    known = recalled(said, EVERY, 0.0, 1e10)
    assert (known.before[A].since, known.failed[B].again) == (-EVERY, 0.0)


def test_of_two_listings() -> None:
    seen, changes = compared({}, SAME, 5.0)
    assert changes == ([A], [], [])
    assert compared(seen, SAME, 6.0) == (seen, ([], [], []))
    after, changes = compared(seen, {**GROWN, **listing((B, 1, 1.0))}, 7.0)
    assert (after[A].since, changes) == (7.0, ([B], [A], []))
    assert compared(seen, {}, 8.0)[1] == ([], [], [A])


# ── looking at a disk ────────────────────────────────────────────────────────────────────────────


def test_a_look_at_a_folder(tmp_path: Path) -> None:
    films = tmp_path / "films"
    (films / "deep").mkdir(parents=True)
    for name in (
        *("a.mp4", "b.mp4", "b.mp4.aria2", "c.mp4.part", ".c.mp4.XyZ12", "deep/d.MOV"),
        *("e.mp4.crdownload", "out/clips/x.mp4", "out/.finecut/y.json", "notes.txt"),
    ):
        (films / name).parent.mkdir(parents=True, exist_ok=True)
        (films / name).write_bytes(b"12345")
    (films / "nowhere.mp4").symlink_to(films / "none")
    (films / "to a.mp4").symlink_to(films / "a.mp4")
    os.mkfifo(films / "pipe.mp4")
    os.utime(films / "a.mp4", (1, 1))
    told: set[str] = set()
    for _ in range(2):
        found = look(Finding((str(films),)), told)
        assert sorted(found.videos) == [f"{films}/{n}" for n in ("a.mp4", "b.mp4", "deep/d.MOV")]
        assert found.root == str(films)
        assert told == {f"{films}/out"}
    assert found.videos[f"{films}/a.mp4"] == Found(f"{films}/a.mp4", 5, "5 1000000000", 1.0)
    assert found.held & found.videos.keys() == {f"{films}/b.mp4"}
    globbed = look(Finding((f"{films}/d*/*",)))
    assert [*globbed.videos] == [f"{films}/deep/d.MOV"]


@pytest.mark.parametrize("spec", ["", "/*.mp4"])
def test_a_folder_that_is_gone_is_no_empty_one(spec: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        look(Finding((f"{tmp_path}/gone{spec}",)))


@pytest.mark.parametrize("spec", ["shard.tar", "*.tar", "films.zip"])
def test_archives_are_not_watched(spec: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names archives"):
        check_watchable([f"{tmp_path}/{spec}"])


@pytest.mark.parametrize("name", ["a.mp4", "list.csv"])
def test_only_folders_are_watched(name: str, tmp_path: Path) -> None:
    check_watchable([str(tmp_path), f"{tmp_path}/*.mp4"])
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="give the folder that contains the videos"):
        check_watchable([f"{tmp_path}/{name}"])
