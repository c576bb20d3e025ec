"""The report of findings: in order, none twice, however many parts it is made of."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from finecut.io.storage.publishing import Shelf
from finecut.transforms.verify import report
from finecut.transforms.verify.checks.findings import KINDS, Checked, Finding
from finecut.transforms.verify.report import Part, lines_of, merge, part_of, read_report


def findings(number: int) -> list[Finding]:
    """Of all kinds, with paths that are no good text among them."""
    kinds = [*KINDS]
    return [
        Finding(kinds[n * 7 % len(kinds)], f"clips/{n % 50}\udce9", f"is {n % 3}", "should be 1")
        for n in range(number)
    ]


@pytest.mark.parametrize("few", [0, 1 << 20])
def test_merged_it_is_what_it_is_in_one_piece(
    few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "FEW", few)
    own = Shelf(str(tmp_path), f"{tmp_path}/.staging/run")
    every = findings(1000)
    # A bundle that was done again leaves its findings twice.
    parts = [part_of(every[start : start + 90], own) for start in (0, *range(0, 1000, 90))]
    assert bool(parts[0].path) is (few == 0)
    assert parts[0] == parts[1]
    out = io.BytesIO()
    merge(parts, Checked({"clips": 3}), out)
    assert out.getvalue() == lines_of(every) + b'{"checked": {"clips": 3}}\n'


def test_of_each_kind_only_some_are_kept_and_all_are_counted() -> None:
    every = findings(1000)
    lines = lines_of(every).splitlines()
    read = read_report([*lines, json.dumps({"checked": {"clips": 3}}).encode()], most=2)
    assert sum(read.counts.values()) == len(lines) == len({*every})
    assert len(read.findings) == 2 * len(read.counts)
    assert read.num_wrong == sum(KINDS[each.kind].wrong for each in {*every})
    assert read.checked == {"clips": 3}


def test_of_nothing_it_is_one_line(tmp_path: Path) -> None:
    out = io.BytesIO()
    merge([Part()], Checked({}), out)
    assert out.getvalue() == b'{"checked": {}}\n'
