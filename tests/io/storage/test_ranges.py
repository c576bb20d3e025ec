"""A film in a store is read as a file is, whatever breaks, and not much more of it than needed."""

from __future__ import annotations

import errno
import io
import random

import pytest
from fake_clock import Clock
from hypothesis import given
from hypothesis import strategies as st

from finecut.io.storage import stores
from finecut.io.storage.stores import FIRST_LOOK, LONGEST_LOOK, PLACES, RangedFile, ShortRead


class Object:
    """An object whose reads break off and come short, in a pattern; it counts what it gives."""

    def __init__(self, data: bytes, often: float = 0, seed: int = 0) -> None:
        self.data, self.size = data, len(data)
        self.chance, self.often = random.Random(seed), often
        self.asked: list[tuple[int, int]] = []

    def fetch(self, start: int, length: int) -> bytes:
        self.asked.append((start, length))
        data = self.data[start : start + length]
        if self.chance.random() >= self.often:
            return data
        if self.chance.random() < 0.5:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return data[: self.chance.randrange(len(data) + 1)]

    def close(self) -> None:
        self.data = b""


def opened(one: Object) -> RangedFile:
    return RangedFile("gs://b/o", one, Clock().retried)


@given(
    data=st.binary(max_size=200),
    seed=st.integers(0, 1000),
    steps=st.lists(st.tuples(st.integers(-50, 300), st.integers(0, 2), st.integers(-1, 120))),
)
def test_an_object_read_in_trouble_is_the_object(
    data: bytes, seed: int, steps: list[tuple[int, int, int]]
) -> None:
    truth = io.BytesIO(data)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stores, "FIRST_LOOK", 7)
        patched.setattr(stores, "LONGEST_LOOK", 30)
        file = opened(Object(data, often=0.3, seed=seed))
        for offset, whence, size in steps:
            start = (0, truth.tell(), len(data))[whence]
            truth.seek(max(0, start + offset))
            assert file.seek(offset, whence) == truth.tell()
            assert file.read(size) == truth.read(size)
            assert file.tell() == truth.tell()


def test_an_object_that_stays_short_is_an_error_and_no_end() -> None:
    class Short(Object):
        def fetch(self, start: int, length: int) -> bytes:
            return super().fetch(start, length)[:3]

    with pytest.raises(ShortRead, match="gs://b/o returned only 3 of the 5 bytes from position 0"):
        opened(Short(b"whole")).read()


def test_who_reads_on_is_given_more_each_time() -> None:
    one = Object(bytes(20 << 20))
    file = opened(one)
    while file.read(32768):
        pass
    lengths = [length for _, length in one.asked]
    assert lengths[:4] == [FIRST_LOOK << n for n in range(4)]
    assert max(lengths) == LONGEST_LOOK
    assert sum(lengths) == one.size, "nothing is fetched twice"


def test_two_places_are_read_in_turn_without_fetching_twice() -> None:
    one = Object(bytes(8 << 20))
    file = opened(one)
    for step in range(64):
        for place in (0, 4 << 20):
            file.seek(place + step * 32768)
            file.read(32768)
    assert sum(length for _, length in one.asked) <= one.size
    assert len(one.asked) < 16


def test_a_look_here_and_there_costs_little() -> None:
    one = Object(bytes(64 << 20))
    file = opened(one)
    for place in range(0, one.size, 1 << 20):
        file.seek(place)
        file.read(100)
    assert {length for _, length in one.asked} == {FIRST_LOOK}
    assert len(file._looks) == PLACES
