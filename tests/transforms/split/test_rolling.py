"""A row that is forgotten at one end and grows at the other is what a list would be."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from finecut.transforms.split.rolling import Rolling


@pytest.mark.parametrize("most", [3, 64, 700])
def test_it_keeps_what_a_list_would(most: int) -> None:
    chance, number = random.Random(most), 0
    rolling, kept = Rolling((2,), np.int64), list[list[int]]()
    for _ in range(300):
        old, fresh = chance.randint(0, len(kept)), chance.randint(0, most)
        entries = [[number + each, -each] for each in range(fresh)]
        number += fresh
        room: npt.NDArray[Any] = rolling.grow(old, fresh)
        assert room.shape == (fresh, 2)
        room[:] = np.array(entries, np.int64).reshape(-1, 2)
        kept = kept[old:] + entries
        assert len(rolling) == len(kept)
        assert rolling[:].tolist() == kept
        assert rolling[-5:].tolist() == kept[-5:]


def test_memory_is_the_same_however_long_it_goes_on() -> None:
    rolling = Rolling((8,), np.uint8)
    rolling.grow(0, 160)
    room = rolling[:].base
    for _ in range(100):
        rolling.grow(64, 64)
    assert rolling[:].base is room
