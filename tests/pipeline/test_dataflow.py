"""The job that Dataflow is given, built whole and handed to nobody."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import typing
from collections.abc import Callable, Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.transforms.display import DisplayData
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import PaneInfo
from faults import staged
from faulty_store import FaultyStore
from keyed import keyed_in, unsure

from finecut.io.storage import files as shelf
from finecut.pipeline.beam_options import FinecutOptions
from finecut.pipeline.cli.command import main
from finecut.pipeline.cli.flags import words_of
from finecut.pipeline.commands.curate.launch import job
from finecut.pipeline.commands.launch import launcher as launched
from finecut.pipeline.options import Options
from finecut.transforms.beam.gather import Waiting

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


#: With everything that looks at clips.
EVERYTHING = options(
    generate_captions=True,
    generate_previews=True,
    motion_filter="enable",
    quality_filter="score-only",
)


@pytest.fixture(scope="module")
def proto() -> api.Pipeline:
    """The job as the service would get it."""
    result: Any = job(EVERYTHING, OWN).run()
    return result.job.proto_pipeline


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


def test_one_kind_of_machine_does_everything(proto: api.Pipeline) -> None:
    assert {*accelerators(proto).values()} == {L4}


def test_every_environment_is_the_one_image(proto: api.Pipeline) -> None:
    for environment in proto.components.environments.values():
        payload = api.DockerPayload.FromString(environment.payload)
        assert payload.container_image == IMAGE


@pytest.mark.parametrize("subscription", [None, "projects/project/subscriptions/films"])
def test_keys_and_state_have_coders_of_their_types(subscription: str | None) -> None:
    found = keyed_in(job(dataclasses.replace(EVERYTHING, subscription=subscription), OWN))
    assert any("Wait for the chunk" in name for name in found)
    assert any("(entries)" in name for name in found) == (subscription is not None)
    assert list(unsure(found)) == []


class Flowing(PipelineVisitor):
    """The types of what flows between steps."""

    def __init__(self) -> None:
        self.types: dict[str, Any] = {}

    def visit_transform(self, node: AppliedPTransform) -> None:
        for tag, collection in node.outputs.items():
            self.types[f"{node.full_label} [{tag}]"] = collection.element_type


#: What begins a pipeline, and what Beam adds up in between: not ours, and a few bytes.
BEAMS_OWN = ("FindVideos/Inputs/", "Summarise/Add up/", "WriteFailures/List/")
#: What a record may be made of. One that waits is of the collection that it came from.
PLAIN = (str, int, float, bool, None, type(None), Fraction, Timestamp, PaneInfo, Waiting)


def parts_of(kind: Any, seen: set[Any]) -> Iterator[Any]:
    """The plain types that a value of this type may hold, at any depth."""
    if dataclasses.is_dataclass(kind):
        if kind in seen:
            return
        seen.add(kind)
        for inner in typing.get_type_hints(kind).values():
            yield from parts_of(inner, seen)
    elif args := [a for a in (*typing.get_args(kind), *inner_types(kind)) if a is not Ellipsis]:
        for inner in args:
            yield from parts_of(inner, seen)
    else:
        yield kind


def inner_types(kind: Any) -> tuple[Any, ...]:
    """The same for Beam's own way to write types."""
    inner = getattr(kind, "_inner_types", tuple)
    return (*inner(), *getattr(kind, "union_types", ()))


def test_no_collection_may_hold_pixels_or_films() -> None:
    flowing = Flowing()
    job(EVERYTHING, OWN).visit(flowing)
    assert len(flowing.types) > 60
    for name, kind in flowing.types.items():
        if not name.startswith(BEAMS_OWN):
            wrong = [part for part in parts_of(kind, set()) if part not in PLAIN]
            assert wrong == [], f"{name} may hold {wrong}"


def test_steps_have_names_for_humans(proto: api.Pipeline) -> None:
    """(Below a step with outputs of several names, Beam names its own part.)"""
    for name in leaves(proto):
        if not name.startswith(BEAMS_OWN):
            top, *below = name.split("/")
            assert re.fullmatch(r"[A-Z][A-Za-z]+", top), name
            assert not below or not below[0].startswith(("ParDo(", "Map(", "FlatMap(")), name


def test_the_page_of_the_job_shows_what_was_chosen() -> None:
    pipeline = job(options(max_clip_length=5.0, keep=("motion>=0.2",)), OWN)
    shown = {item.key: item.value for item in displayed(pipeline)}
    assert shown["max_clip_length"] == 5.0
    assert "motion>=0.2" in shown["keep"]
    assert "clip_stride" not in shown, "what was not chosen is not shown"


def displayed(pipeline: beam.Pipeline) -> list[Any]:
    return list(DisplayData.create_from(pipeline._options).items)


def test_a_pipeline_carries_the_options() -> None:
    wanted = options(max_clip_length=5.0, keep=("motion>=0.2",), generate_previews=True)
    pipeline = job(wanted, OWN)
    assert pipeline._options.view_as(FinecutOptions).options() == wanted
    assert words_of(Options()) == []


def test_missing_credentials_are_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Beam looks for them for up to a minute, and then says something else."""
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setattr("finecut.io.storage.cloud.gcs.MACHINE", tmp_path / "none")
    words = ["--input", "gs://b/films", "--output", "gs://b/out", "--runner", "DataflowRunner"]
    for command in ("launch", "curate"):
        with pytest.raises(SystemExit) as ended:
            main([command, *words, "--project=p", "--region=r"])
        assert ended.value.code == 2
        assert "gcloud auth application-default login" in capfd.readouterr().err


@pytest.mark.parametrize("command", ["launch", "curate"])
def test_options_that_the_engine_misses_are_named(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "films").mkdir()
    words = ["--input", str(tmp_path / "films"), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main([command, *words, "--runner", "DataflowRunner", "--no_auth", "--region=r"])
    assert ended.value.code == 2
    said = capfd.readouterr().err
    assert "--runner DataflowRunner cannot be used like this (Missing" in said
    assert "Missing required option: project" in said
    assert "required option: region" not in said
    assert staged(tmp_path / "out") == []


class Refusing(BaseHTTPRequestHandler):
    """A service that lets nobody do anything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        said = json.dumps({"error": {"code": 403, "message": "(7) who are you?\n"}}).encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Nobody asked."""


@pytest.mark.parametrize("launching", [lambda words: main(["launch", *words]), launched])
def test_a_job_that_is_refused_costs_a_sentence(
    launching: Callable[[list[str]], int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With the service's own reason, from the command and from the launcher of a template."""
    pytest.importorskip("gcp_storage_emulator")
    words = ["--input=gs://bucket/films", "--output=gs://bucket/out", "--runner=DataflowRunner"]
    words += [word for word in OWN if not word.startswith("--dry_run")]
    store, service = FaultyStore(), ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    words.append(f"--dataflow_endpoint=http://localhost:{service.server_port}")
    try:
        code = launching(words)
    finally:
        store.close()
        service.shutdown()
        service.server_close()
    out, err = capfd.readouterr()
    assert (code, out) == (1, "")
    [said] = err.splitlines()
    assert said.startswith("finecut: --runner DataflowRunner did not accept the job (403 ")
    assert "(7) who are you?" in said


def test_the_launcher_hands_over_what_the_form_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the launcher of a template is called; the job is written to a store instead of sent."""
    pytest.importorskip("gcp_storage_emulator")
    server = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
    # Beam looks for credentials of its own, also for a stand-in that wants none.
    monkeypatch.setattr("apache_beam.internal.gcp.auth.get_service_credentials", lambda _: None)
    template = "gs://bucket/templates/films.json"
    form = ["--input=gs://bucket/films", "--output=gs://bucket/out", "--generate_previews=true"]
    form += ["--video_limit=", "--clip_length=4", "--no_generate_embeddings=false"]
    own = [word for word in OWN if not word.startswith("--dry_run")]
    try:
        assert launched([*form, *own, "--job_name=films", f"--template_location={template}"]) == 0
        handed_over = json.loads(shelf.read(template))
    finally:
        server.close()
    environment = handed_over["environment"]
    options = environment["sdkPipelineOptions"]["options"]
    assert (options["clip_length"], options["generate_previews"]) == (4.0, True)
    assert options["runner"] == "DataflowRunner"
    assert not options["no_generate_embeddings"]
    images = [
        image["containerImage"]
        for pool in environment["workerPools"]
        for image in pool["sdkHarnessContainerImages"]
    ]
    assert {*images} == {IMAGE}
