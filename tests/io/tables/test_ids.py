"""Lists of clips in memory: what they cost, and that nobody is mistaken for another."""

from __future__ import annotations

import random
import tracemalloc
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from finecut.io.tables.drops import digest_of, drops_table, read_drops
from finecut.io.tables.ids import BLOCK, IdMap, IdSet

#: As the lists of dedup said it before: a run goes on with what was made with the same list.
DIGEST = "c67d6bd61c90"


def ids(number: int, seed: int = 1) -> Iterator[str]:
    chance = random.Random(seed)
    return (str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(number))


#: Records of bytes that end in zeros, which NumPy does not tell from shorter ones.
ODD = [str(uuid.UUID(int=number)) for number in (0, 1, 255 << 120, 1 << 127, (1 << 128) - 1)]


def test_a_million_ids_cost_at_most_24_bytes_each(tmp_path: Path) -> None:
    number = 1_000_000
    # Digits in order, so that the making of ids costs less than what is tested.
    data = b"".join(b"%08x-0000-4000-8000-00000000beef\n" % (7 * n) for n in range(number))
    (tmp_path / "drops.txt").write_bytes(data)
    del data
    drops = read_drops([str(tmp_path / "drops.txt")])
    assert len(drops) == number
    assert drops.nbytes <= 24 * number
    for n in range(0, number, 9973):
        assert f"{7 * n:08x}-0000-4000-8000-00000000beef" in drops
        assert f"{7 * n + 1:08x}-0000-4000-8000-00000000beef" not in drops


def test_nothing_else_is_kept_of_a_list() -> None:
    texts = (f"{n:08x}-0000-4000-8000-00000000beef" for n in range(2 * BLOCK))
    tracemalloc.start()
    try:
        held = IdSet(texts)
        cost, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert cost <= 24 * len(held)
    assert peak <= 24 * len(held) + 150 * BLOCK  # the texts of one block at a time


@pytest.mark.parametrize("number", [0, 1, 5, 3000])
def test_it_is_the_set_that_it_was(number: int) -> None:
    given = [*ids(number), *ids(number // 2), *ODD[: number + 1]]
    found, plain = IdSet(given), frozenset(given)
    assert found == plain
    assert list(found) == sorted(plain)
    assert all(id in found for id in plain)
    assert not any(id in found for id in ids(100, seed=2))
    assert found - {*ODD} == plain - {*ODD}
    for other in ("", "a.mp4", ODD[0][:-1], ODD[-1].upper(), ODD[0].replace("-", ""), None, 7):
        assert other not in found


def test_the_last_of_several_pairs_counts() -> None:
    keys = [*ids(500), *ODD, *ids(100)]
    pairs = list(zip(keys, ids(len(keys), seed=3), strict=True))
    found = IdMap(pairs)
    assert dict(found) == dict(pairs)
    assert [*found] == sorted(dict(pairs))
    assert found.get("a.mp4") is None
    assert not IdMap()


def test_texts_and_tables_say_the_same(tmp_path: Path) -> None:
    given = [*ids(2000), *ODD]
    (tmp_path / "a.parquet").write_bytes(drops_table(given))
    (tmp_path / "b.txt").write_text("\ufeff" + "\r\n\r\n".join(given))
    lists = [str(tmp_path / name) for name in ("a.parquet", "b.txt")]
    both = [read_drops([path]) for path in lists]
    assert both[0] == both[1] == read_drops(lists) == {*given}


def test_a_list_has_the_digest_that_it_always_had() -> None:
    """Or all that was made with a list would be made again."""
    assert digest_of(IdSet(ODD)) == digest_of(IdSet([*reversed(ODD), *ODD]))
    assert digest_of(IdSet(ODD)).startswith(DIGEST)
    assert digest_of(IdSet()) != digest_of(IdSet(ODD))
