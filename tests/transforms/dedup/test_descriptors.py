"""A model for copies, made on the spot: what it says counts where pictures do not agree."""

from __future__ import annotations

import io
from itertools import islice
from pathlib import Path
from typing import Any

import copies
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finecut.io.layout import Layout
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.cli.command import main
from finecut.transforms.dedup.beside import place_of
from finecut.transforms.dedup.by_key import lay_here, read
from finecut.transforms.dedup.clusters import Clustering, Settled
from finecut.transforms.dedup.confirming import ASKED, compare, known, look
from finecut.transforms.dedup.descriptors import (
    Describer,
    NoDescriber,
    agreement,
    described,
    describer_at,
    digest_of_model,
    rows_in,
)
from finecut.transforms.dedup.folder import LIKENESS_SCHEMA, Deduping
from finecut.transforms.dedup.places import with_places

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def tiny_model(path: Path, shape: tuple[Any, ...] = (1, 3, 32, 32), seed: int = 0) -> str:
    """Random filters over the picture, and the strongest answer of each: as a copy detector, it
    cares little for where things are."""
    from onnx import TensorProto, helper, numpy_helper

    filters = np.random.default_rng(seed).normal(size=(24, 3, 5, 5)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["pictures", "filters"], ["seen"], strides=[2, 2]),
            helper.make_node("Relu", ["seen"], ["met"]),
            helper.make_node("GlobalAveragePool", ["met"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["rows"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, (None, 24))],
        [numpy_helper.from_array(filters, "filters")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return str(path)


def film(upside_down: bool = False, still: bool = False) -> bytes:
    [clip] = islice(copies.painted(2), 0 if still else 1, 1 if still else 2)
    frames = clip.frames[copies.AROUND :][: copies.LENGTH]
    return copies.encoded(frames[:, ::-1] if upside_down else frames, 23)


def test_a_clip_is_described_once_a_second(tmp_path: Path) -> None:
    describer = Describer(Path(tiny_model(tmp_path / "m.onnx")).read_bytes())
    rows = rows_in(described(io.BytesIO(film()), describer))
    assert rows.shape == (4, 24)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
    again = rows_in(described(io.BytesIO(film()), describer))
    assert agreement(rows, again) == pytest.approx(1, abs=1e-5)
    dynamic = Describer(Path(tiny_model(tmp_path / "d.onnx", (None, 3, None, None))).read_bytes())
    assert (dynamic.height, dynamic.width) == (288, 288)


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"no model", "is no ONNX model"), (b"", "is no ONNX model"), (None, "is not there")],
)
def test_what_is_no_model_is_said_in_a_sentence(
    data: bytes | None, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(NoDescriber, match=told):
        digest_of_model(str(path))


def test_a_model_that_was_replaced_is_not_taken_for_the_first(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "m.onnx")
    digest = digest_of_model(model)
    tiny_model(tmp_path / "m.onnx", seed=1)
    with pytest.raises(NoDescriber, match=r"m\.onnx was replaced"):
        describer_at(model, digest)


def test_a_model_of_other_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoDescriber, match="has to take pictures"):
        digest_of_model(tiny_model(tmp_path / "m.onnx", (1, 32, 32, 3)))


def test_the_command_says_what_is_wrong(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"id": ["a"], "embedding": [[1.0, 0.0]]}), tmp_path / "v.parquet")
    (tmp_path / "m.onnx").write_bytes(b"no model")
    told = ["dedup", str(tmp_path / "out"), "--embeddings", str(tmp_path)]
    for model, more, said in (
        (str(tmp_path / "m.onnx"), [], "is no ONNX model that onnxruntime can load"),
        ("x", ["--no-confirm"], "leave one of them out"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*told, "--confirm-model", model, *more])
        assert ended.value.code == 2
        assert said in capfd.readouterr().err


def compared(root: Path, model: str, still: bool = False) -> tuple[Deduping, list[dict[str, Any]]]:
    """A clip, and the same upside down, as the steps of dedup compare them."""
    layout = Layout(str(root / "dataset"))
    Path(layout.clips()).mkdir(parents=True, exist_ok=True)
    for name, turned in (("a", False), ("b", True)):
        Path(layout.clip(name)).write_bytes(film(turned, still))
    own = Shelf(str(root / "out"), str(root / f"out/.staging/{bool(model)}{still}"))
    deduping = Deduping(
        Clustering(own, str(root)),
        eps=0.3,
        clips=layout,
        model=model,
        model_digest=digest_of_model(model) if model else "",
    )
    settled = Settled(dimension=2, items=2, pointless=0, pieces=((0, 1),), pairs=1)
    place = place_of("test", deduping, settled)
    [(_, clips)] = lay_here(with_places(pa.array(["a", "b"]), []), 0, "clips", place)
    assert look(clips, deduping) == 2
    [(_, batch)] = lay_here(pa.table([["a"], ["b"]], schema=ASKED), 0, "batch", place)
    [(_, part)] = compare((0, batch), deduping, settled)
    return deduping, read(part).to_pylist()


def test_the_model_finds_what_pictures_do_not_and_its_word_is_its_own(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "m.onnx")
    plain, [by_pictures] = compared(tmp_path, "")
    asking, [by_model] = compared(tmp_path, model)
    assert (by_pictures["same"], by_pictures["model"], by_pictures["how"]) == (False, None, None)
    assert (by_model["same"], by_model["how"]) == (True, "model")
    assert by_model["model"] > 0.75
    # Where the camera stands still it is not asked: it tells the room, and not who is in it.
    assert compared(tmp_path, model, still=True)[1][0]["model"] is None
    # What is known is used again by who said it, and by nobody else.
    table = tmp_path / "likeness.parquet"
    pq.write_table(pa.Table.from_pylist([by_model], LIKENESS_SCHEMA), table)
    settled = Settled(dimension=2, items=2, pointless=0, pieces=((0, 1),), pairs=1)
    assert len(list(known(str(table), asking, settled))) == 1
    assert list(known(str(table), plain, settled)) == []
