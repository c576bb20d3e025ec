"""From options to the shelf: every kind of model, loaded by its real path, in the pipeline.

The models are of the real classes, with few and random weights, so what they say means nothing; but
it comes from them, about the right clip, and everybody is told the same of it.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from models_with_code import cosmos_in, intern_in
from openai_questions import colour_in
from openai_server import OpenAIServer
from own_code import modules_in
from tiny_encoders import MODELS, saved

from finecut.io.layout import embedding_folder
from finecut.io.media.frames.contact_sheet import SheetForm, sheet_from_file
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.tables.parquet import facts_of
from finecut.pipeline.curation import curate
from finecut.pipeline.options import Options
from finecut.pipeline.running import Ran, run
from finecut.transforms.embed.one_model import MixedVectors
from finecut.transforms.models.weights.folders import WeightsMissing

LITE = "efficientnet-lite0"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of a dark clip and two bright ones."""
    folder = tmp_path_factory.mktemp("films")
    scenes = (Scene(4, (80, 30)), Scene(3, (50, 9)), Scene(1, (20, 40)))
    paint(folder / "a.mp4", width=160, height=90, seconds=6, cuts=(2.0, 4.0), scenes=scenes)
    return folder


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINECUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def own_modules(tmp_path: Path) -> Iterator[None]:
    """Code of models is imported from a folder that goes."""
    pytest.importorskip("transformers")
    with modules_in(tmp_path / "modules"):
        yield


def options_for(films: Path, output: Path, **changes: Any) -> Options:
    given: dict[str, Any] = {"clip_length": 2.0, "preset": "ultrafast", "window_size": 32}
    given |= {"window_remainder": 16, "scratch": str(output.parent)} | changes
    return Options(input=(str(films),), output=str(output), **given)


def documents(output: Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (output / "metas/v0").iterdir()]
    return sorted(found, key=lambda meta: meta["duration_span"][0])


def tree(output: Path) -> dict[str, bytes]:
    # What runs say of themselves differs by the time they took.
    told = {output / "runs", output / "report"}
    files = [p for p in sorted(output.rglob("*")) if p.is_file() and not told & {*p.parents}]
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def vectors_of(output: Path, algorithm: str, revised: bool = True) -> dict[str, list[float]]:
    """By clip, after the pickles, the tables and the documents were seen to agree."""
    folder = output / embedding_folder(algorithm)
    pickles = {path.stem: pickle.loads(path.read_bytes()) for path in folder.iterdir()}
    tables = list(output.joinpath(f"{folder.name}_parquet").iterdir())
    rows = [row for table in tables for row in pq.read_table(table).to_pylist()]
    metas = {meta["span_uuid"]: meta for meta in documents(output)}
    assert set(pickles) == {row["id"] for row in rows} == set(metas)
    for row in rows:
        vector, meta = pickles[row["id"]], metas[row["id"]]
        assert vector.dtype == np.float32
        assert vector.shape == (1, len(row["embedding"]))
        assert vector[0].tolist() == row["embedding"]
        assert meta["models"][f"{algorithm}_embedding"]["dimension"] == len(row["embedding"])
        assert bool(meta["models"][f"{algorithm}_embedding"]["revision"]) == revised
    for table in tables:
        facts, said = facts_of(table.read_bytes()), next(iter(metas.values()))["models"]
        assert facts["algorithm"] == algorithm
        assert facts["model"] == said[f"{algorithm}_embedding"]["model"]
        assert facts.get("revision") == said[f"{algorithm}_embedding"]["revision"]
        assert int(facts["dimension"]) == len(rows[0]["embedding"])
    return {row["id"]: row["embedding"] for row in rows}


# Embeddings.


def test_every_clip_has_a_vector_without_being_asked_for_one(films: Path, tmp_path: Path) -> None:
    ran = run(options_for(films, tmp_path / "one"))
    assert ran.summary.vectors == {LITE: 3}
    assert len(vectors_of(tmp_path / "one", LITE)) == 3
    chunk = json.loads(next((tmp_path / "one/processed_clip_chunks").iterdir()).read_text())
    assert chunk["num_clips_with_embeddings"] == 3
    ran = run(options_for(films, tmp_path / "two", no_generate_embeddings=True))
    assert ran.summary.vectors == {}
    assert not any("embd" in name for name in tree(tmp_path / "two"))
    assert "models" not in documents(tmp_path / "two")[0]


def test_rejected_clips_have_no_vectors(films: Path, tmp_path: Path) -> None:
    ran = run(options_for(films, tmp_path, keep=("exposure>=2",)))
    assert ran.summary.shots_rejected == 3
    assert ran.summary.vectors == {}
    assert not any("embd" in name for name in tree(tmp_path))


@pytest.mark.slow
def test_vectors_of_clips_that_a_later_run_rejects_are_gone(films: Path, tmp_path: Path) -> None:
    run(options_for(films, tmp_path))
    before = vectors_of(tmp_path, LITE)
    exposures = [meta["scores"]["exposure"] for meta in scored(films, tmp_path.parent / "scores")]
    limit = sorted(exposures)[0]
    run(options_for(films, tmp_path, keep=(f"exposure>{limit}",)))
    rejected = [meta["span_uuid"] for meta in documents(tmp_path) if "filtered_by" in meta]
    assert rejected
    left = {path.stem for path in (tmp_path / f"{LITE}_embd").iterdir()}
    [table] = (tmp_path / f"{LITE}_embd_parquet").iterdir()
    assert left == set(before) - set(rejected)
    assert {row["id"] for row in pq.read_table(table).to_pylist()} == left
    run(options_for(films, tmp_path, keep=("exposure>=2",)))
    assert not any("_embd" in name for name in tree(tmp_path) if not name.startswith(".finecut"))


def scored(films: Path, output: Path) -> list[dict[str, Any]]:
    run(options_for(films, output, quality_filter="score-only", no_generate_embeddings=True))
    return documents(output)


def test_models_of_one_name_are_told_apart(films: Path, tmp_path: Path) -> None:
    """Three servers, all called endpoint; the second run looks at what the first wrote."""
    with (
        OpenAIServer(models=("eye",)) as eye,
        OpenAIServer(models=("teller",)) as teller,
        OpenAIServer(models=("poet",)) as poet,
    ):
        changes: dict[str, Any] = {"embedding_algorithm": "endpoint"}
        changes |= {"embedding_endpoint": eye.url, "generate_captions": True}
        changes |= {"captioning_algorithm": "endpoint", "captioning_endpoint": teller.url}
        changes |= {"enhance_captions": True, "enhance_captions_algorithm": "endpoint"}
        changes |= {"enhance_captions_endpoint": poet.url}
        for _ in range(2):
            run(options_for(films, tmp_path, **changes))
    assert len(vectors_of(tmp_path, "endpoint", revised=False)) == 3
    models = documents(tmp_path)[0]["models"]
    assert {name: said["model"] for name, said in models.items()} == {
        "endpoint_embedding": "eye",
        "endpoint_caption": "teller",
        "endpoint_enhanced_caption": "poet",
    }


@pytest.mark.parametrize(
    "kind",
    # One; what differs is tried without the pipeline.
    [pytest.param(kind, marks=() if kind == "vjepa2" else pytest.mark.slow) for kind in MODELS],
)
def test_encoders_of_every_kind(films: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("transformers")
    saved(tmp_path / "tiny", kind)
    folder = str(tmp_path / "tiny")
    run(options_for(films, tmp_path / "out", embedding_algorithm=folder))
    vectors = vectors_of(tmp_path / "out", "tiny")
    assert {len(vector) for vector in vectors.values()} == {MODELS[kind][3]}
    assert len({tuple(vector) for vector in vectors.values()}) == 3
    assert (tmp_path / "out/tiny_embd").is_dir()


@pytest.mark.usefixtures("own_modules")
def test_cosmos_is_taken_where_the_model_folder_has_it(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    models = tmp_path / "models"
    cosmos_in(models / "nvidia/Cosmos-Embed1-224p")
    cosmos_in(models / "nvidia/Cosmos-Embed1-336p", seed=1)
    out = tmp_path / "out"
    with pytest.raises(WeightsMissing, match="--trust-remote-code"):
        run(options_for(films, out, model_dir=str(models)))
    assert not (out / "clips").exists()
    trusted = {"model_dir": str(models), "trust_remote_code": True}
    ran = run(options_for(films, out, **trusted))
    assert ran.summary.vectors == {"cosmos-embed1-224p": 3}
    assert len(vectors_of(out, "cosmos-embed1-224p")) == 3
    assert {name.split("/")[0] for name in tree(out)} >= {"ce1_embd", "ce1_embd_parquet"}
    # The sizes share a folder, so one dataset holds one of them.
    before = tree(out)
    with pytest.raises(MixedVectors, match="cosmos-embed1-224p"):
        run(options_for(films, out, embedding_algorithm="cosmos-embed1-336p", **trusted))
    assert tree(out) == before


@pytest.mark.usefixtures("own_modules")
def test_internvideo2_has_folders_of_its_own(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    intern_in(tmp_path / "models/OpenGVLab/InternVideo2-Stage2_6B")
    trusted = {"model_dir": str(tmp_path / "models"), "trust_remote_code": True}
    run(options_for(films, tmp_path / "out", embedding_algorithm="internvideo2", **trusted))
    assert len(vectors_of(tmp_path / "out", "internvideo2")) == 3
    assert (tmp_path / "out/iv2_embd").is_dir()


def test_a_server_embeds(films: Path, tmp_path: Path) -> None:
    with OpenAIServer(script=("ok", "500")) as server:
        changes = {"embedding_algorithm": "endpoint", "embedding_endpoint": server.url}
        run(options_for(films, tmp_path, **changes))
    vectors = vectors_of(tmp_path, "endpoint", revised=False)
    for identifier, vector in vectors.items():
        colour = mean_colour(tmp_path / f"clips/{identifier}.mp4")
        assert np.array(vector[:3]) * 255 == pytest.approx(colour, abs=4)


# Captions.


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two captioners and a text model, tiny."""
    pytest.importorskip("transformers")
    from tiny_models import tiny_llm, tiny_qwen3_vl, tiny_qwen25_vl

    root = tmp_path_factory.mktemp("models")
    tiny_qwen25_vl(root / "Qwen/Qwen2.5-VL-7B-Instruct")
    tiny_qwen3_vl(root / "Qwen/Qwen3-VL-8B-Instruct")
    tiny_llm(root / "Qwen/Qwen2.5-14B-Instruct")
    return root


def captions(output: Path, name: str) -> list[str]:
    return [w.get(name, "") for meta in documents(output) for w in meta["windows"]]


def with_captions(films: Path, output: Path, models: Path, **changes: Any) -> Ran:
    given: dict[str, Any] = {"generate_captions": True, "model_dir": str(models)}
    given |= {"captioning_max_output_tokens": 12, "captioning_side": 56} | changes
    return run(options_for(films, output, no_generate_embeddings=True, **given))


@pytest.mark.parametrize("algorithm", [pytest.param("qwen2.5", marks=pytest.mark.slow), "qwen3"])
def test_captioners_of_every_kind(
    films: Path, tmp_path: Path, models: Path, algorithm: str
) -> None:
    ran = with_captions(films, tmp_path, models, captioning_algorithm=algorithm)
    said = captions(tmp_path, f"{algorithm}_caption")
    assert len(said) == 6
    assert sum(ran.summary.captions.values()) == 6
    assert set(ran.summary.captions) <= {"ok", "truncated", "empty"}
    assert len(set(said)) > 1, "clips that look different are described alike"
    for meta in documents(tmp_path):
        assert meta["models"][f"{algorithm}_caption"]["revision"]
        for window in meta["windows"]:
            assert window[f"{algorithm}_caption_tokens"]["output"] <= 12
    chunk = json.loads(next((tmp_path / "processed_clip_chunks").iterdir()).read_text())
    told = {
        meta["span_uuid"]: {
            f"{w['start_frame']}_{w['end_frame']}": w[f"{algorithm}_caption"]
            for w in meta["windows"]
            if f"{algorithm}_caption" in w
        }
        for meta in documents(tmp_path)
    }
    assert chunk["all_windows"] == told
    assert chunk["num_clips_with_caption"] == sum(map(bool, told.values()))


def test_a_second_pass_and_richer_captions(films: Path, tmp_path: Path, models: Path) -> None:
    with_captions(films, tmp_path / "one", models)
    once = captions(tmp_path / "one", "qwen2.5_caption")
    more = {"captioning_stage2_caption": True, "enhance_captions": True}
    with_captions(films, tmp_path / "two", models, enhance_captions_max_output_tokens=10, **more)
    assert captions(tmp_path / "two", "qwen2.5_caption") != once
    tokens = [
        [window["qwen2.5_caption_tokens"]["prompt"] for window in meta["windows"]]
        for folder in ("one", "two")
        for meta in documents(tmp_path / folder)
    ]
    # The second question holds the first answer, and both are counted.
    assert all(
        after > 2 * before
        for one, two in zip(tokens[:3], tokens[3:], strict=True)
        for before, after in zip(one, two, strict=True)
    )
    richer = captions(tmp_path / "two", "qwen_lm_enhanced_caption")
    assert len(set(richer)) > 1
    assert set(documents(tmp_path / "two")[0]["models"]) == {
        "qwen2.5_caption",
        "qwen_lm_enhanced_caption",
    }


def test_workers_change_nothing(films: Path, tmp_path: Path, models: Path) -> None:
    """Ids, captions and vectors, byte for byte."""
    for workers in (1, 2):
        given = {"generate_captions": True, "model_dir": str(models), "workers": workers}
        given |= {"captioning_max_output_tokens": 12, "captioning_side": 56}
        run(options_for(films, tmp_path / str(workers), chunk_seconds=2, **given))
    one, two = tree(tmp_path / "1"), tree(tmp_path / "2")
    where = str(tmp_path / "1").encode(), str(tmp_path / "2").encode()
    assert {name: data.replace(*where) for name, data in one.items()} == two


# Captions by a server.


def mean_colour(clip: Path) -> np.ndarray[Any, Any]:
    sheet = sheet_from_file(str(clip), SheetForm((2,), side=64))
    return np.mean([sheet.rgb(i) for i in range(len(sheet))], (0, 1, 2))


def test_a_server_that_misbehaves_costs_what_it_broke(films: Path, tmp_path: Path) -> None:
    """Every window ends in one state, and each good caption is that of its own clip."""
    script = ("ok", "429", "500", "garbage", "ok", "content_filter", "hang", "length", "empty")
    with OpenAIServer(script=script) as server:
        changes: dict[str, Any] = {"captioning_algorithm": "endpoint"}
        changes |= {"captioning_endpoint": server.url}
        changes |= {"generate_captions": True, "model_timeout": 3.0, "window_size": 16}
        ran = run(options_for(films, tmp_path, window_remainder=8, **changes))
    assert ran.summary.imbalances() == []
    assert ran.summary.shots_kept == 3
    metas = documents(tmp_path)
    windows = [(meta, window) for meta in metas for window in meta["windows"]]
    states = Counter(window["endpoint_caption_status"] for _, window in windows)
    assert states == ran.summary.captions
    assert sum(states.values()) == len(windows) == 12
    assert states["ok"]
    assert states["failed"]
    for meta, window in windows:
        text = window.get("endpoint_caption", "")
        assert bool(text) == (window["endpoint_caption_status"] in ("ok", "truncated"))
        if window["endpoint_caption_status"] == "ok":
            own = mean_colour(tmp_path / f"clips/{meta['span_uuid']}.mp4")
            assert colour_in(text) == pytest.approx(own, abs=12)
    for meta in metas:
        broken = [w for w in meta["windows"] if not w.get("endpoint_caption")]
        assert ("caption" in meta.get("error_messages", {})) == bool(broken)
        assert meta["valid"] != bool(broken)


def test_a_server_that_is_not_there_is_known_before_any_work(films: Path, tmp_path: Path) -> None:
    with OpenAIServer() as server:
        url = server.url
    changes = {"captioning_algorithm": "endpoint", "captioning_endpoint": url}
    with pytest.raises(WeightsMissing, match="not up"):
        run(options_for(films, tmp_path / "out", generate_captions=True, **changes))
    assert not (tmp_path / "out/clips").exists()


@pytest.mark.slow
def test_processes_change_nothing(films: Path, tmp_path: Path, models: Path) -> None:
    """Two worker processes, which share nothing, against the threads of one."""
    given = {"generate_captions": True, "model_dir": str(models), "chunk_seconds": 2}
    given |= {"captioning_max_output_tokens": 12, "captioning_side": 56}
    run(options_for(films, tmp_path / "1", **given))
    arguments = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing"]
    with beam.Pipeline(options=PipelineOptions([*arguments, "--direct_num_workers=2"])) as pipeline:
        curate(pipeline, options_for(films, tmp_path / "2", **given))
    one, two = tree(tmp_path / "1"), tree(tmp_path / "2")
    where = str(tmp_path / "1").encode(), str(tmp_path / "2").encode()
    assert {name: data.replace(*where) for name, data in one.items()} == two
