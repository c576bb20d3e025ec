"""The job that Dataflow is given, built whole and handed to nobody."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as api

from finecut.pipeline.beam_options import FinecutOptions, words_of
from finecut.pipeline.launch import job
from finecut.pipeline.options import Options

pytest.importorskip("apache_beam.runners.dataflow.dataflow_runner")

IMAGE = "region-docker.example/project/finecut:1"
OWN = [
    "--project=project",
    "--region=us-central1",
    "--temp_location=gs://bucket/temp",
    "--staging_location=gs://bucket/staging",
    f"--sdk_container_image={IMAGE}",
    "--dry_run=True",
    "--no_auth",
]
L4 = b"type:nvidia-l4;count:1;install-nvidia-driver:5xx"
ACCELERATOR = "beam:resources:accelerator:v1"


def options(**others: Any) -> Options:
    given: dict[str, Any] = {"runner": "DataflowRunner", "splitting_algorithm": "content"}
    return Options(input=("gs://bucket/films",), output="gs://bucket/clips", **given | others)


@pytest.fixture(scope="module")
def proto() -> api.Pipeline:
    """The job as the service would get it, with everything that looks at clips."""
    everything = options(
        generate_captions=True,
        generate_previews=True,
        motion_filter="enable",
        quality_filter="score-only",
    )
    return job(everything, OWN).run().job.proto_pipeline


def leaves(proto: api.Pipeline) -> dict[str, api.PTransform]:
    return {
        step.unique_name: step
        for step in proto.components.transforms.values()
        if not step.subtransforms and step.environment_id
    }


def accelerators(proto: api.Pipeline) -> dict[str, bytes]:
    environments = proto.components.environments
    return {
        name: environments[step.environment_id].resource_hints.get(ACCELERATOR, b"")
        for name, step in leaves(proto).items()
    }


def test_the_steps_that_work_on_films_ask_for_the_gpu(proto: api.Pipeline) -> None:
    found = accelerators(proto)
    asking = {name.split("/")[0] for name, told in found.items() if told}
    assert asking == {"SplitVideos", "CutClips", "LookAtClips"}
    assert {told for told in found.values() if told} == {L4}
    # One pool: between the reading of a film and the last look at its clips nothing is shuffled.
    between = [name for name in found if name.split("/")[0] in ("CutClips", "LookAtClips")]
    assert not any("Reshuffle" in name or "GroupByKey" in name for name in between)


def test_every_environment_is_the_one_image(proto: api.Pipeline) -> None:
    for environment in proto.components.environments.values():
        payload = api.DockerPayload.FromString(environment.payload)
        assert payload.container_image == IMAGE


def test_films_of_a_step_are_fused_unless_the_design_says_otherwise(proto: api.Pipeline) -> None:
    """Where things are dealt out anew, and where they are gathered: nowhere else."""
    shuffles = {
        "/".join(name.split("/")[:2])
        for name, step in leaves(proto).items()
        if step.spec.urn == "beam:transform:group_by_key:v1"
    }
    assert shuffles == {
        "ShareOutReels/Deal",
        "ShareOutVideos/Deal",
        "Decided/ReshufflePerKey",
        "FindVideos/Reshuffle",
        "Summarise/Add up",
        "WriteClips/CloseChunks",
        "WriteClips/CloseVideos",
        "WriteClips/WriteParquet",
        "WriteFailures/One file",
    }


def test_no_collection_may_hold_pixels_or_films(proto: api.Pipeline) -> None:
    """What flows is records of text and numbers: none of their fields is bytes, or anything at all.

    Records travel by a coder that is told their type; ``bytes`` travel by one of their own.
    """
    coders = proto.components.coders
    flowing = {c.coder_id for c in proto.components.pcollections.values()}
    used: set[str] = set()

    def walk(coder: str) -> None:
        used.add(coders[coder].spec.urn)
        for part in coders[coder].component_coder_ids:
            walk(part)

    for coder in flowing:
        walk(coder)
    unique = {
        c.unique_name: coders[c.coder_id].spec.urn
        for c in proto.components.pcollections.values()
        if coders[c.coder_id].spec.urn == "beam:coder:bytes:v1"
    }
    # The impulse that begins a pipeline is bytes, and nothing else.
    assert all("Impulse" in name for name in unique), unique


def test_steps_have_names_for_humans(proto: api.Pipeline) -> None:
    for name in leaves(proto):
        for part in name.split("/"):
            assert not part.startswith(("ParDo(", "Map(<lambda", "FlatMap(<lambda")), name


def test_the_page_of_the_job_shows_what_was_chosen() -> None:
    pipeline = job(options(clip_length=5.0, keep=("motion>=0.2",)), OWN)
    shown = {item.key: item.value for item in displayed(pipeline)}
    assert shown["clip_length"] == 5.0
    assert "motion>=0.2" in shown["keep"]
    assert "clip_stride" not in shown, "what was not chosen is not shown"


def displayed(pipeline: beam.Pipeline) -> list[Any]:
    from apache_beam.transforms.display import DisplayData

    return list(DisplayData.create_from(pipeline._options).items)


def test_a_pipeline_carries_the_options() -> None:
    wanted = options(clip_length=5.0, keep=("motion>=0.2",), generate_previews=True)
    pipeline = job(wanted, OWN)
    assert pipeline._options.view_as(FinecutOptions).options() == wanted
    assert words_of(Options()) == []
