"""A share of the clips becomes the limit that lets so many of them through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from arranged import curate, painted
from hypothesis import given
from hypothesis import strategies as st
from performing import performed

from finecut.pipeline.commands.refilter import RefilterOptions
from finecut.pipeline.options import OptionError
from finecut.transforms.filter.comparing import read_rule
from finecut.transforms.filter.shares import Share, read_share
from finecut.transforms.refilter.shares import few_of, rule_of


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    st.booleans(),
    st.floats(0.1, 100),
)
def test_so_many_pass_and_those_that_equal_the_last(
    values: list[float], top: bool, percent: float
) -> None:
    rule = read_rule(rule_of(Share("sharpness", top, percent), np.array(values)))
    assert rule is not None
    passed = sorted(value for value in values if rule.holds({"sharpness": value}))
    wanted = max(1, round(percent / 100 * len(values)))
    last = sorted(values, reverse=top)[wanted - 1]
    assert len(passed) == wanted + sorted(values, reverse=top)[wanted:].count(last)


@given(st.permutations(range(7)))
def test_which_clips_are_looked_at_depends_on_no_order(order: list[int]) -> None:
    keys = np.arange(700, dtype=np.int64) * (1 << 32) // 700
    parts = [(keys[part::7], keys[part::7].astype(float)) for part in order]
    few = np.sort(few_of(parts, most=50))
    assert 50 < len(few) <= 100
    np.testing.assert_array_equal(few, keys[: len(few)])
    assert len(few_of(parts, most=400)) == 700


@pytest.mark.parametrize("text", ["sharpness top 0%", "sharpness top 101%"])
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        read_share(text)


def test_a_dataset_is_refiltered_by_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "output"
    curate(painted(tmp_path / "films"), root, no_generate_embeddings=True)
    options = RefilterOptions(str(root), keep=("motion top 50%",), yes=True)
    assert performed(options) == 0
    rows = pq.read_table(root / "catalogue/clips.parquet").to_pylist()
    scores = sorted(row["motion_global_mean"] for row in rows)
    limit = scores[-max(1, round(len(scores) / 2))]
    assert f"rule     motion top 50%: motion>={limit!r}" in capsys.readouterr().out
    for row in rows:
        assert (row["verdict"] == "kept") == (row["motion_global_mean"] >= limit)
    with pytest.raises(OptionError, match="has the score loudness"):
        performed(RefilterOptions(str(root), keep=("loudness top 50%",), quiet=True))
