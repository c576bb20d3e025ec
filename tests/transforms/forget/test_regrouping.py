"""Groups of duplicates without some clips: nobody goes for a clip that is gone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from finecut.transforms.forget.duplicates import regrouped

IDS = "abcdefgh"


@some.composite
def groups(draw: some.DrawFn) -> list[dict[str, Any]]:
    """Groups of which each clip that goes does so for one that stays."""
    rows = []
    for group in draw(some.permutations(IDS)), "ijk":
        stay = group[: draw(some.integers(1, 3))]
        for id in group:
            keeper = id if id in stay else draw(some.sampled_from(stay))
            rows.append(
                {"group": stay[0], "id": id, "kept": id in stay, "kept_id": keeper, "cosine": 1.0}
            )
    return rows


@given(groups(), some.frozensets(some.sampled_from(f"{IDS}ijk")))
def test_what_is_left_of_groups_are_groups(
    rows: list[dict[str, Any]], gone: frozenset[str]
) -> None:
    left, bereft = regrouped(rows, gone)
    stay = {row["id"] for row in left if row["kept"]}
    go = {row["id"] for row in left if not row["kept"]}
    assert not gone & {row[key] for row in left for key in ("group", "id", "kept_id")}
    assert all(row["kept_id"] in stay for row in left)
    assert {row["group"] for row in left} <= stay
    for name in {row["group"] for row in left}:
        members = [row["kept"] for row in left if row["group"] == name]
        assert any(members)
        assert not all(members)
    went = {row["id"]: row["kept_id"] for row in rows if not row["kept"]}
    assert bereft == {id for id, keeper in went.items() if keeper in gone} - gone
    assert go == {id for id, keeper in went.items() if keeper not in gone} - gone
