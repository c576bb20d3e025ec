"""What the graphs of finecut need is in the table of engines, for every set of options."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.transforms.window import Sessions
from doc_tables import ENGINES_PAGE, with_engines
from performing import dedup, shard, verify
from recording import GRAPHS, RECORDING

from finecut.io.dataset.output import Output
from finecut.io.layout import Layout
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.shards import ShardFolder
from finecut.pipeline.commands.curate.launch import job
from finecut.pipeline.commands.dedup import DedupOptions
from finecut.pipeline.commands.shard import ShardOptions
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.engine import JobEnded
from finecut.pipeline.engines.support import (
    DATAFLOW,
    ENGINES,
    EVENT_TIMERS,
    FEATURES,
    FLINK,
    FLINK_STREAM,
    LOCAL_STREAM,
    SPARK,
    TIMERS,
    UNBOUNDED,
    engine_of,
    features_in,
    features_of,
    told,
    verdict,
)
from finecut.pipeline.options import OptionError, Options
from finecut.transforms.refilter.deciding import DoToVideos, LookAtVideos
from finecut.transforms.refilter.judging import Refiltering
from finecut.transforms.refilter.looking import Looking
from finecut.transforms.shard.archives import WriteShards
from finecut.transforms.shard.material import Sharding
from finecut.transforms.shard.plan import ShardPlan
from finecut.transforms.write.writing import Writing

SUBSCRIPTION = "projects/project-1/subscriptions/films"
LOOKS: dict[str, Any] = {
    "splitting_algorithm": "content",
    "generate_previews": True,
    "generate_thumbnails": True,
    "motion_filter": "enable",
    "quality_filter": "score-only",
    "saturation_filter": "score-only",
}
MODELS: dict[str, Any] = {
    "generate_captions": True,
    "aesthetic_filter": "enable",
    "resources": ("caption:gpu_memory_gb=12,memory_gb=20,cpus=4",),
}
CURATING: dict[str, dict[str, Any]] = {
    "least": {},
    "without a GPU": LOOKS,
    "right fitting": {**LOOKS, **MODELS, "right_fitting": True},
    "copied": {"transcode": "smart", "splitting_algorithm": "content"},
    "stream": {**LOOKS, "subscription": SUBSCRIPTION},
    "watching": {"watch": 30.0},
}


def curating(name: str) -> beam.Pipeline:
    """The job as a cluster would get it."""
    options = Options(
        input=("gs://bucket/films",),
        output="gs://bucket/out",
        runner="PortableRunner",
        **CURATING[name],
    )
    return job(options)


@pytest.fixture(scope="module")
def curated() -> dict[str, frozenset[str]]:
    return {name: features_of(curating(name)) for name in CURATING}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """What commands on a dataset look for before they build a graph, and nothing in it."""
    root = tmp_path / "dataset"
    for folder in ("processed_clip_chunks", "processed_videos", "clips"):
        (root / folder).mkdir(parents=True)
    vectors = root / "vectors"
    vectors.mkdir()
    rows = pa.array([[1.0, 0.0], [0.0, 1.0]], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"id": ["a", "b"], "embedding": rows}), vectors / "0.parquet")
    return root


def recorded(root: Path, name: str) -> Iterator[beam.Pipeline]:
    """The graphs of a command on this dataset."""
    runner: dict[str, Any] = {"dataset": str(root), "runner": RECORDING, "quiet": True}
    commands = {
        "verify": lambda: verify(VerifyOptions(**runner)),
        "dedup": lambda: dedup(DedupOptions(**runner, embeddings=str(root / "vectors"))),
        "shard": lambda: shard(ShardOptions(**runner, output=str(root.with_name("shards")))),
    }
    GRAPHS.clear()
    with pytest.raises(JobEnded, match="Recorded"):
        commands[name]()
    yield GRAPHS.pop()
    if name == "shard":
        pipeline, own = beam.Pipeline("FnApiRunner"), Shelf(str(root), str(root / ".staging/x"))
        sharding = Sharding(Output.at(str(root)), ShardFolder(str(root)), own)
        plans = pipeline | beam.Create([ShardPlan("0", "", ())])
        _ = plans | "Deal" >> beam.Reshuffle() | WriteShards(sharding)
        yield pipeline


def refiltering(root: Path) -> beam.Pipeline:
    pipeline = beam.Pipeline("FnApiRunner")
    writing = Writing(Layout(str(root)), Shelf(str(root), str(root / ".staging/x")))
    looking = Looking(Refiltering(writing, stages=()), writing.shelf)
    found = pipeline | beam.Create([0]) | LookAtVideos(looking)
    _ = found["decided"] | DoToVideos(looking.refiltering)
    return pipeline


@pytest.mark.parametrize("name", CURATING)
def test_the_table_knows_what_curating_needs(curated: dict[str, frozenset[str]], name: str) -> None:
    assert curated[name] - FEATURES.keys() == set()


@pytest.mark.parametrize("name", ["verify", "dedup", "shard"])
def test_the_table_knows_what_commands_on_datasets_need(dataset: Path, name: str) -> None:
    for graph in recorded(dataset, name):
        needed = features_of(graph)
        assert needed - FEATURES.keys() == set()
        assert not any(told(needed, engine.name) for engine in ENGINES if engine.name not in OTHERS)


def test_the_table_knows_what_refiltering_needs(dataset: Path) -> None:
    needed = features_of(refiltering(dataset))
    assert needed - FEATURES.keys() == set()
    assert "beam:transform:reshuffle:v1" in needed
    assert told(needed, DATAFLOW) == []


def test_everything_in_the_table_is_needed_by_something(
    curated: dict[str, frozenset[str]],
) -> None:
    """Curating needs all of it: what other commands need is a part of that."""
    assert FEATURES.keys() - frozenset().union(*curated.values()) == set()


#: Where Reshuffle is another one.
OTHERS = (FLINK, SPARK)


@pytest.mark.parametrize("name", ["least", "without a GPU", "copied"])
def test_batches_without_models_need_nothing_that_an_engine_lacks(
    curated: dict[str, frozenset[str]], name: str
) -> None:
    for engine in ENGINES:
        said = told(curated[name], engine.name)
        if engine.name in OTHERS:
            [said_of_reshuffle] = said
            assert said_of_reshuffle.startswith("elements are dealt out in turn")
        else:
            assert said == []
    assert not any("requirement" in feature for feature in curated[name])


def test_only_dataflow_reads_what_steps_ask_for(curated: dict[str, frozenset[str]]) -> None:
    needed = curated["right fitting"]
    assert {f for f in needed if ":resources:" in f} == {
        "beam:resources:accelerator:v1",
        "beam:resources:cpu_count:v1",
        "beam:resources:min_ram_bytes:v1",
    }
    for engine in ("prism", FLINK, SPARK):
        assert any("hints are ignored" in line for line in told(needed, engine))
    assert told(needed, DATAFLOW) == ["Dataflow's page does not name the hint cpu_count"]


def test_a_stream_is_for_this_machine_and_dataflow(curated: dict[str, frozenset[str]]) -> None:
    stream = curated["stream"]
    assert {UNBOUNDED, TIMERS, "beam:requirement:pardo:stateful:v1"} <= stream
    assert EVENT_TIMERS not in stream
    for engine in ENGINES:
        refused = [line for line in told(stream, engine.name) if line.startswith("not supported")]
        assert bool(refused) == (engine.name not in (DATAFLOW, LOCAL_STREAM)), engine.name
    assert told(stream, DATAFLOW) == []
    assert engine_of("FlinkRunner", stream) == FLINK_STREAM
    assert engine_of("DirectRunner", stream) == LOCAL_STREAM


@pytest.mark.parametrize(
    ("runner", "arguments", "words"),
    [
        ("FlinkRunner", ["--flink_master=[local]"], "only Dataflow and the direct runner read"),
        ("PrismRunner", ["--job_endpoint=localhost:1"], "only Dataflow and the direct runner read"),
        ("SparkRunner", [], "only Dataflow and the direct runner read"),
    ],
)
def test_a_stream_is_refused_where_it_cannot_be_read(
    runner: str, arguments: list[str], words: str
) -> None:
    options = Options(
        input=("gs://bucket/films",), output="gs://bucket/out", runner=runner, **CURATING["stream"]
    )
    with pytest.raises(OptionError, match=f"--runner {runner} cannot run this job: .*{words}"):
        job(options, arguments)


def test_watching_is_for_engines_that_put_off_work(curated: dict[str, frozenset[str]]) -> None:
    watching = curated["watching"]
    assert {UNBOUNDED, "beam:requirement:pardo:splittable_dofn:v1"} <= watching
    able = {
        engine.name
        for engine in ENGINES
        if not any(line.startswith("not supported") for line in told(watching, engine.name))
    }
    assert able == {"prism", FLINK_STREAM, DATAFLOW}


def test_what_is_new_in_a_graph_is_noticed() -> None:
    pipeline = beam.Pipeline("FnApiRunner")
    lines = pipeline | beam.io.ReadFromText("/nowhere*", validate=False)
    _ = lines | beam.WindowInto(Sessions(5)) | beam.Map(len)
    found = features_of(pipeline)
    assert "beam:window_fn:session_windows:v1" in found - FEATURES.keys()
    assert "beam:requirement:pardo:splittable_dofn:v1" in found


def test_every_part_of_a_dofn_is_looked_at() -> None:
    """As an engine reads it, whether or not the pipeline's own list of requirements says so."""
    timer = api.TimerFamilySpec(time_domain=api.TimeDomain.EVENT_TIME)
    payload = api.ParDoPayload(
        requests_finalization=True,
        requires_stable_input=True,
        requires_time_sorted_input=True,
        restriction_coder_id="c",
        on_window_expiration_timer_family_spec="t",
        timer_family_specs={"t": timer},
        state_specs={"s": api.StateSpec(protocol=api.FunctionSpec(urn="state"))},
        side_inputs={"i": api.SideInput(access_pattern=api.FunctionSpec(urn="side"))},
    )
    urn, proto = "beam:transform:pardo:v1", api.Pipeline()
    spec = api.FunctionSpec(urn=urn, payload=payload.SerializeToString())
    proto.components.transforms["p"].spec.CopyFrom(spec)
    proto.components.transforms["q"].spec.urn = "something:new"
    flags = ("splittable_dofn", "finalization", "stable_input", "time_sorted_input")
    requirements = {
        f"beam:requirement:pardo:{flag}:v1" for flag in (*flags, "on_window_expiration")
    }
    assert features_in(proto) == {
        *requirements,
        *("state", "side", EVENT_TIMERS, urn, "something:new"),
    }


def test_each_engine_has_one_answer_for_each_feature() -> None:
    names = {engine.name for engine in ENGINES}
    assert len(names) == len(ENGINES)
    for feature in FEATURES.values():
        said = [engine for but in feature.buts for engine in but.engines]
        assert len(said) == len(set(said)), feature.name
        assert set(said) <= names
        assert all(verdict(feature, engine) for engine in said)


def test_the_page_of_engines_has_the_table() -> None:
    page = ENGINES_PAGE.read_text(encoding="utf-8")
    assert page == with_engines(page), "engines have changed: make tables"
