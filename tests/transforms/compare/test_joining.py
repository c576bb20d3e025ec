"""Which clips of two outputs are the same, and in what they differ: on plain rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finecut.transforms.catalogue.fields import NAMES, Row
from finecut.transforms.compare.counting import Comparison
from finecut.transforms.compare.joining import Pair, Side, by_id, joined, pairs_by_place
from finecut.transforms.compare.pairs import VECTORS, changes


def row(id: str, video: str = "a.mp4", start: float = 0.0, /, **said: Any) -> Row:
    lists: Row = {name: [] for name in ("windows", "errors", "models", "artefacts")}
    known = {"source_video": f"/in/{video}", "start": start, "end": start + 1, "verdict": "kept"}
    return dict.fromkeys(NAMES) | lists | {"id": id, "video": video} | known | said


def compared(a: list[Row], b: list[Row], folder: Path, **more: Any) -> Comparison:
    sides = Side(folder / "a", by_id), Side(folder / "b", by_id)
    for side, rows in zip(sides, (a, b), strict=True):
        side.put(rows)
    found = Comparison(**more)
    found.add_all(joined(*sides, folder))
    return found


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    vector = np.asarray([0.1, -2], np.float32).tobytes()
    side = Side(tmp_path / "a", by_id)
    side.put([row("x", sharpness=0.25, **{VECTORS: {"lite": vector}})])
    [back] = [each for number in range(64) for each in side.bucket(number)]
    assert back == row("x", sharpness=0.25, **{VECTORS: {"lite": vector}})


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_every_clip_is_in_one_pair_by_its_id(
    tmp_path_factory: pytest.TempPathFactory, a: set[int], b: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("join")
    # Each clip has a place of its own, so that nothing is brought together by that.
    ours = [row(f"{n}", "a.mp4", n) for n in a]
    theirs = [row(f"{n}", "a.mp4", n + 0.5) for n in b]
    found = compared(ours, theirs, folder)
    assert (found.clips_a, found.clips_b) == (len(a), len(b))
    assert found.matched_by_id == len(a & b)
    assert (found.only_a.clips, found.only_b.clips) == (len(a - b), len(b - a))


def test_other_ids_of_the_same_place(tmp_path: Path) -> None:
    a = [row("1", "one/a.mp4"), row("2", "one/a.mp4", 1.0), row("3", "one/b.mp4")]
    b = [row("4", "two/a.mp4"), row("5", "two/a.mp4", 1.0), row("6", "two/b.mp4", 0.5)]
    found = compared(a, b, tmp_path)
    assert (found.matched_by_id, found.matched_by_place) == (0, 2)
    assert [clip["id"] for clip in found.only_a.examples] == ["3"]
    assert [clip["id"] for clip in found.only_b.examples] == ["6"]


def test_several_at_the_same_place_are_paired_in_the_order_of_their_paths() -> None:
    a = [row("2", "y/a.mp4"), row("1", "x/a.mp4")]
    b = [row("3", "z/a.mp4")]
    pairs = [*pairs_by_place(a, b)]
    assert [(p.a and p.a["id"], p.b and p.b["id"]) for p in pairs] == [("1", "3"), ("2", None)]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"verdict": "rejected", "reason": "motion>0.1"}, "verdict"),
        ({"end": 2.0}, "span"),
        ({"width": 10}, "size"),
        ({"framerate": 10.0}, "frames"),
        ({"video_codec": "av1"}, "codec"),
        ({"num_bytes": 3}, "bytes"),
        ({"sound": "none"}, "sound"),
        ({"copied_end": 1.0}, "making"),
        ({"valid": False}, "valid"),
        ({"errors": [{"step": "cut", "message": "m"}]}, "errors"),
        ({"models": [{"name": "m", "model": "x", "revision": "1", "dimension": 3}]}, "models"),
        ({"labels": [{"name": "place", "value": "indoors"}]}, "labels"),
        ({"source": '{"license":"cc0"}'}, "source"),
        ({"artefacts": [{"kind": "thumbnails", "path": "p"}]}, "files"),
    ],
)
def test_what_changed_has_a_name(said: Row, field: str) -> None:
    assert [*changes(row("x"), row("x", **said))] == [field]
    assert changes(row("x", **said), row("x", **said)) == {}


def test_digests_and_reasons_count_where_both_have_them() -> None:
    assert changes(row("x"), row("x", sha256="00")) == {}
    assert [*changes(row("x", sha256="11"), row("x", sha256="00"))] == ["bytes"]


def test_scores_and_vectors_in_numbers() -> None:
    def vector(*numbers: float) -> Row:
        return {VECTORS: {"lite": np.asarray(numbers, np.float32).tobytes()}}

    found = Comparison(tolerances={"exposure": 0.5}, most=1)
    found.add_all(
        [
            Pair(row("1", sharpness=1.0, exposure=0.0, **vector(1, 0)),
                 row("1", sharpness=1.5, exposure=0.25, **vector(1, 0))),
            Pair(row("2", sharpness=1.0, blackness=1.0, **vector(1, 0)),
                 row("2", sharpness=3.0, **vector(0, 1))),
            Pair(row("3", sharpness=1.0), row("3", sharpness=1.0)),
        ]
    )  # fmt: skip
    told = json.loads(json.dumps(found.document()))
    sharpness = told["scores"]["sharpness"]
    assert (sharpness["compared"], sharpness["equal"]) == (3, 1)
    assert (sharpness["largest"], sharpness["mean"]) == (2.0, 2.5 / 3)
    assert [(clip["id"], clip["a"], clip["b"]) for clip in sharpness["differ_most"]] == [
        ("2", 1.0, 3.0)
    ]
    assert not told["scores"]["exposure"]["differs"]
    assert told["scores"]["exposure"]["within_tolerance"] == 1
    assert told["scores"]["blackness"]["only_in_a"] == 1
    assert (told["vectors"]["lite"]["equal"], told["vectors"]["lite"]["largest"]) == (1, 1.0)
    assert not told["same"]
