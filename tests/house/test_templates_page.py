"""The page of the room of the cloud, and what make says of the other engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dockerfile import ROOM, pinned
from fake_gcloud import NEEDED, WHERE, WITH_IMAGE, Programs
from places import ROOT

README = (ROOM / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


def commands_in(text: str) -> Iterator[str]:
    """The commands of the page's blocks of shell, continued lines joined."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        joined = re.sub(r"\s*\\\n\s*", " ", block)
        for line in joined.splitlines():
            if command := re.sub(r"(^|\s)#.*", "", line).strip():
                yield command


def test_the_page_launches_with_options_that_are_there(programs: Programs) -> None:
    launches = [line for line in commands_in(README) if "templates/launch.sh" in line]
    assert len(launches) >= 3
    for line in launches:
        before, _, after = line.partition("templates/launch.sh")
        command = dict(word.split("=") for word in shlex.split(before)).get("COMMAND", "")
        words = shlex.split(after)
        values = [
            "gs://b/x" if "$" in word and "subscription" not in word else "" for word in words
        ]
        given = [
            f"{word.split('=')[0]}={value}" if value else word
            for word, value in zip(words, values, strict=True)
        ]
        done = programs.run("launch.sh", *given, DRY_RUN="1", COMMAND=command, **WITH_IMAGE)
        assert done.code == 0, (line, done.err)


def test_the_page_curates_with_options_that_are_there() -> None:
    from finecut.pipeline.cli.flags import Parser, add_flags

    parser = Parser(prog="finecut")
    add_flags(parser)
    lines = [
        line for line in commands_in(README) if re.search(r"\bfinecut (curate|launch)\b", line)
    ]
    assert {"prism", "FlinkRunner", "SparkRunner", "DataflowRunner", "PortableRunner"} <= {
        match for line in lines for match in re.findall(r"--runner[= ](\w+)", line)
    }
    from apache_beam.options.pipeline_options import PipelineOptions

    known = set()
    for own in PipelineOptions.__subclasses__():
        if own.__module__.startswith("apache_beam."):
            known |= {*own().get_all_options()}
    for line in lines:
        words = shlex.split(re.split(r"\bfinecut (?:curate|launch)\b", line)[1])
        _, rest = parser.parse_known_args(words)
        for word in rest:
            if word.startswith("--"):
                name = word[2:].split("=")[0]
                assert name.removeprefix("no_") in known or name in known, (line, word)


def test_the_cluster_of_flink_has_a_pool_beside_each_task_manager() -> None:
    """Where the page's command looks for it, in the version that the command has."""
    cluster = yaml.safe_load((ROOM / "flink.yaml").read_text(encoding="utf-8"))
    spec = cluster["spec"]
    [flink, pool] = spec["taskManager"]["podTemplate"]["spec"]["containers"]
    assert flink["name"] == "flink-main-container"
    assert (pool["image"], pool["args"]) == ("IMAGE", ["--worker_pool"])
    [command] = [line for line in commands_in(README) if "--flink_submit_uber_jar" in line]
    assert "--environment_config=localhost:50000" in command
    assert f"service/{cluster['metadata']['name']}-rest" in README
    version = spec["flinkVersion"].removeprefix("v").replace("_", ".")
    assert f"beam-runners-flink-{version}-job-server-{pinned('apache-beam')}.jar" in command
    assert spec["image"].startswith(f"flink:{version}")


def gcloud_lines() -> list[str]:
    return [line for line in commands_in(README) if line.startswith("gcloud ")]


def test_the_page_names_roles_and_services_that_look_like_ones() -> None:
    assert len(gcloud_lines()) >= 8
    for service in ("dataflow", "compute", "storage", "artifactregistry", "cloudbuild"):
        assert f"{service}.googleapis.com" in README
    for role in (
        "roles/dataflow.worker",
        "roles/storage.objectAdmin",
        "roles/artifactregistry.reader",
    ):
        assert role in README


@pytest.mark.slow
def test_gcloud_would_take_every_command(programs: Programs) -> None:
    """gcloud parses commands without network, where it is installed."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        pytest.skip("no gcloud here")
    lines = [*gcloud_lines()]
    for dry in (
        programs.run("build.sh", DRY_RUN="1", **WHERE),
        programs.run(
            "launch.sh",
            *NEEDED,
            DRY_RUN="1",
            PRIVATE_IPS="1",
            SERVICE_ACCOUNT="a@b.example",
            REGIONS="us-east1",
            SUBNETWORK="regions/REGION/subnetworks/s",
            **WITH_IMAGE,
        ),
    ):
        lines += [shlex.join(words) for words in dry.shown]
    lines.append("gcloud dataflow jobs cancel job --project p --region us-east1")
    for line in lines:
        told = re.sub(r"\$\{?\w+\}?", "x1", line.split(" | ")[0])
        checked = subprocess.run(
            [gcloud, "meta", "lint-gcloud-commands", f"--command-string={told}"],
            env=os.environ | {"CLOUDSDK_CONFIG": str(programs.folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        if checked.returncode:
            pytest.skip(f"this gcloud checks no commands: {checked.stderr[:200]}")
        [verdict] = json.loads(checked.stdout)
        assert verdict["success"], (told, verdict["error_message"])


@pytest.mark.parametrize(
    ("verb", "engine", "server"), [("flink", "Flink", "flink-1.20"), ("spark", "Spark", "spark-3")]
)
def test_make_says_what_an_engine_is_missing(
    verb: str, engine: str, server: str, tmp_path: Path
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in (
        "make",
        "bash",
        "sh",
        "sed",
        "cat",
        "cut",
        "cksum",
        "mkdir",
        "dirname",
        "curl",
        "rm",
    ):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    # With a stamp that is there, or an environment that has changed would be set up anew.
    words = ["STAMP=Makefile", f"CACHE={tmp_path}", f"MAVEN=file://{tmp_path}/nowhere", verb]
    done = subprocess.run(
        ["make", *words],
        cwd=ROOT,
        env={"PATH": str(tools), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    jar = f"beam-runners-{server}-job-server-{pinned('apache-beam')}.jar"
    assert f"{verb}: no java that works is on the PATH" in done.stderr
    assert f"{verb}: Beam's job server for {engine} is not at {tmp_path}/{jar}" in done.stderr
    assert f"make {verb} {verb.upper()}_JAR=path/to/it.jar" in done.stderr
    assert "finecut curate" not in done.stdout
    assert not list(tmp_path.glob("*.jar*"))
