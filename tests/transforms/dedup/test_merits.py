"""Merits: of two copies the better one has the higher number, whatever else is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from finecut.io.layout import Layout
from finecut.transforms.catalogue.columns import SCHEMA, to_bytes
from finecut.transforms.dedup.merits import COLUMNS, merits_in, merits_of

#: A clip as its source has it: ten seconds in 1280 by 720.
ORIGINAL: dict[str, Any] = {
    "id": "a",
    "valid": True,
    "width": 1280,
    "height": 720,
    "letterbox": None,
    "num_bytes": 4_000_000,
    "num_frames": 250,
    "framerate": 25.0,
    "width_source": 1280,
    "height_source": 720,
    "framerate_source": 25.0,
}
LARGER = {"width": 1920, "height": 1080, "width_source": 1920, "height_source": 1080}
SMALL = {"width": 640, "height": 360, "width_source": 640, "height_source": 360}


def merit(**others: Any) -> int:
    return int(merits_in(pa.Table.from_pylist([ORIGINAL | others]))[0])


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({}, {"valid": False, **LARGER}),
        ({}, {"valid": None}),
        ({"num_bytes": 100_000}, {**SMALL, "num_bytes": 9_000_000}),
        ({}, {"width": 1278}),
        ({"num_bytes": 4_200_000}, {"num_frames": 252}),
        ({"num_frames": 260, "num_bytes": 4_160_000}, {}),
        ({}, {"framerate_source": 50.0}),
        # A small source that was made larger is small, and bars are no picture.
        ({}, {"width_source": 640, "height_source": 360}),
        ({}, {"height": 960, "height_source": 960, "letterbox": 0.26}),
        # Of clips that were all made equally small, that of the larger source.
        ({**SMALL, "width_source": 1920, "height_source": 1080, "num_bytes": 1}, SMALL),
        ({}, dict.fromkeys(COLUMNS[1:])),
    ],
)
def test_the_better_copy_has_more_merit(better: dict[str, Any], worse: dict[str, Any]) -> None:
    assert merit(**better) > merit(**worse) > 0


def test_what_no_clip_can_be_is_no_merit_and_no_fault() -> None:
    odd = {"width": 10**9, "num_bytes": -5, "framerate": float("nan"), "letterbox": 7.0}
    assert merit(**odd) < merit()
    assert merit(width=10**9, width_source=10**9) > merit()
    assert merit(framerate=24000 / 1001, framerate_source=24.0) < merit(
        framerate=24000 / 1001, framerate_source=24000 / 1001
    )


def test_of_a_catalogue_only_what_belongs_to_the_tables_is_read(tmp_path: Path) -> None:
    """Tables that are named after chunks need only the slices of those; others need all."""
    chunks = [f"{digit}0000000-0000-5000-8000-000000000000" for digit in "0f"]
    layout = Layout(str(tmp_path))
    Path(layout.catalogue()).mkdir(parents=True)
    for chunk in chunks:
        rows = [ORIGINAL | {"id": f"{chunk[0]}{n}", "chunk": chunk} for n in range(3)]
        file = Path(f"{layout.catalogue()}/clips-{chunk[0]}.parquet")
        file.write_bytes(to_bytes(pa.Table.from_pylist(rows, SCHEMA)))
    Path(layout.catalogue_facts()).parent.mkdir(parents=True, exist_ok=True)
    Path(layout.catalogue_facts()).write_text("{}")
    ids = np.array(["f1", "01", "nobody", "f1"])
    known = merit()
    assert merits_of(ids, ["mine.parquet"], layout).tolist() == [known, known, 0, known]
    named = [f"{chunks[1]}.parquet"]
    (tmp_path / "catalogue/clips-0.parquet").write_bytes(b"not to be read")
    assert merits_of(ids, named, layout).tolist() == [known, 0, 0, known]
