"""The benchmark's arithmetic: medians, what starting costs taken off, ratios."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PLACE = Path(__file__).parents[1] / "benchmarks/bench.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("finecut_bench", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    __import__("sys").modules["finecut_bench"] = module
    spec.loader.exec_module(module)
    return module


def test_ratios_are_of_medians_without_starting(bench: ModuleType) -> None:
    costs = {
        bench.START: [bench.Cost(cpu, 1.0, 100.0) for cpu in (2.0, 9.0, 1.0)],
        bench.CUT: [bench.Cost(cpu, 6.0, 300.0) for cpu in (12.0, 13.0, 11.0)],
        bench.LOOK: [bench.Cost(cpu, 7.0, 310.0) for cpu in (14.0, 14.0, 50.0)],
    }
    figures = bench.summed_up(costs)
    assert figures[bench.CUT]["net"] == 10.0
    assert figures[bench.LOOK]["ratio"] == pytest.approx(1.2)
    table = bench.table(Path("film.mp4"), 3, figures)
    assert "cut + look" in table
    assert "1.20" in table


def test_a_command_is_measured(bench: ModuleType, tmp_path: Path) -> None:
    moment = bench.short(tmp_path)
    cost = bench.cost_of(moment, tmp_path / "out", ["--preset", "ultrafast"])
    assert 0.3 < cost.cpu < 60
    assert cost.peak_mb > 50
    assert list((tmp_path / "out/clips").iterdir())
    with pytest.raises(SystemExit, match="ended with 2"):
        bench.cost_of(moment, tmp_path / "out", ["--preset", "none"])
