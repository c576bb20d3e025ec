"""Looking again and again on an engine: what each round tells of, and what the next one knows."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from finecut.io.storage.stores import Found
from finecut.transforms.find.rounds import MARK, Memory, Rounds, after_look
from finecut.transforms.find.watching import Looked

SECONDS = 10.0


def look(*held: str, **files: tuple[int, str]) -> Looked:
    """Files of a disk by their names, each with its size and version."""
    videos = {
        f"/in/{name}.mp4": Found(f"/in/{name}.mp4", size, version, written=0.0)
        for name, (size, version) in files.items()
    }
    return Looked("/in", videos, {f"/in/{name}.mp4" for name in held})


def told(*rounds: tuple[float, Looked]) -> list[list[str]]:
    """What each round tells of."""
    memory, found = Memory(), []
    for at, looked in rounds:
        paths, memory = after_look(memory, looked, at, SECONDS)
        # As an engine keeps it.
        memory = pickle.loads(pickle.dumps(memory))
        found.append([path.removeprefix("/in/").removesuffix(".mp4") for path in paths])
    return found


def test_a_file_is_told_of_once_when_it_has_stopped_growing() -> None:
    grown = look(a=(2, "2 b"))
    rounds = [look(a=(1, "1 a")), grown, grown, grown, grown]
    assert told(*zip(range(0, 50, 10), rounds, strict=True)) == [[], [], ["a"], [], []]


def test_a_round_that_comes_early_does_not_count() -> None:
    same = look(a=(1, "1 a"))
    assert told((0, same), (4, same), (9.9, same), (10, same)) == [[], [], [], ["a"]]


def test_what_is_replaced_is_told_of_again_and_what_returns_too() -> None:
    one, other, none = look(a=(1, "1 a")), look(a=(1, "1 b")), look()
    rounds = [one, one, other, other, none, other, other]
    assert told(*zip(range(0, 70, 10), rounds, strict=True)) == [
        *([], ["a"], [], ["a"], [], [], ["a"])
    ]


def test_objects_are_whole_when_they_are_there() -> None:
    found = Found("gs://b/in/a.mp4", 1, "1 a", written=0.0)
    looked = Looked("gs://b/in", {found.uri: found})
    paths, memory = after_look(Memory(), looked, 0, SECONDS)
    assert paths == [found.uri]
    assert after_look(memory, looked, 1, SECONDS) == ([], memory)


def test_what_another_program_holds_or_is_empty_waits() -> None:
    held, free = look("a", a=(1, "1 a"), b=(0, "0 b")), look(a=(1, "1 a"), b=(0, "0 b"))
    assert told((0, held), (10, held), (20, free)) == [[], [], ["a"]]


def test_eight_bytes_are_kept_of_a_version() -> None:
    same = look(**{f"f{number}": (1, "1 a") for number in range(100)})
    _, memory = after_look(Memory(), same, 0, SECONDS)
    assert (len(memory.told), len(memory.growing)) == (0, 100)
    _, memory = after_look(memory, same, 10, SECONDS)
    assert (len(memory.told), memory.growing) == (100 * MARK, ())


def test_a_round_is_claimed_and_the_rest_is_the_next_one() -> None:
    rounds, after = Rounds(Memory()), Memory(b"12345678")
    assert not rounds.is_bounded()
    with pytest.raises(ValueError, match="without another one"):
        rounds.check_done()
    assert rounds.try_claim(after)
    assert rounds.try_split(0) == (Memory(ended=True), after)
    rounds.check_done()
    assert rounds.try_split(0) is None
    assert not rounds.try_claim(after)


def test_what_an_engine_takes_away_before_the_round_loses_nothing() -> None:
    before = Memory(b"12345678")
    rounds = Rounds(before)
    assert rounds.try_split(0.5) == (replace(before, ended=True), before)
    assert not rounds.try_claim(Memory())
    rounds.check_done()
