"""What builds the image and launches the template, with a gcloud that says what a test wants.

It writes down what it is called with, and answers what a test tells it to.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dockerfile import ARGS, ROOM
from fake_gcloud import NEEDED, WHERE, WITH_IMAGE, Done, Programs, listed, option

SPEC = json.loads((ROOM / "spec.json").read_text(encoding="utf-8"))
METADATA = json.loads((ROOM / "metadata.json").read_text(encoding="utf-8"))


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


def test_a_dry_build_says_what_it_would_do(programs: Programs) -> None:
    done = programs.run("build.sh", DRY_RUN="1", TAG="1", **WHERE)
    assert done.code == 0, done.err
    assert done.calls == []
    image = "us-central1-docker.pkg.dev/p/finecut/finecut:1"
    submit, template, copy = done.shown
    assert submit[:3] == ["gcloud", "builds", "submit"]
    assert option(submit, "--ignore-file") == ".dockerignore"
    assert template[:4] == ["gcloud", "dataflow", "flex-template", "build"]
    assert template[4] == "gs://b/templates/finecut.json"
    assert option(template, "--image") == image
    assert option(template, "--sdk-language") == "PYTHON"
    assert option(template, "--metadata-file") == "templates/metadata.json"
    assert copy[:3] == ["gcloud", "storage", "cp"]
    assert copy[4] == template[4]
    # What Cloud Build is told is shown, too.
    assert '"RUN_AS=0"' in done.err
    assert f'"{image}"' in done.err


def test_a_build_builds_the_image_and_fills_in_the_template(programs: Programs) -> None:
    images = {"LAUNCHER_IMAGE": "launcher@sha256:0", "TORCH_CUDA": "13.0"}
    done = programs.run(
        "build.sh", IMAGE="registry.example/finecut:2", RUN_AS="10001", **WHERE, **images
    )
    assert done.code == 0, done.err
    assert [call[1] for call in done.calls] == ["builds", "dataflow", "storage"]
    assert [["gcloud", *call[1:]] for call in done.calls] == done.shown
    told = json.loads((programs.folder / "config").read_text())
    [step] = told["steps"]
    assert told["images"] == ["registry.example/finecut:2"]
    assert step["args"][0] == "build"
    assert step["args"][-1] == "."
    assert option(step["args"], "--file") == "templates/Dockerfile"
    given = [
        word
        for before, word in zip(step["args"], step["args"][1:], strict=False)
        if before == "--build-arg"
    ]
    assert given == ["RUN_AS=10001", "LAUNCHER_IMAGE=launcher@sha256:0", "TORCH_CUDA=13.0"]
    assert {word.split("=")[0] for word in given} <= {*ARGS}
    # The file that is written is the committed one, with the image and the metadata in it.
    written = json.loads((programs.folder / "copied").read_text())
    assert written["image"] == "registry.example/finecut:2"
    assert written["metadata"] == METADATA
    assert "IMAGE" not in json.dumps(written["defaultEnvironment"])
    options = written["defaultEnvironment"]["additionalPipelineOptions"]
    assert "sdk_container_image=registry.example/finecut:2" in options


def test_a_command_has_a_template_of_its_own(programs: Programs) -> None:
    done = programs.run("build.sh", COMMAND="dedup", SKIP_IMAGE="1", **WHERE)
    assert done.code == 0, done.err
    [template, copy] = done.shown
    assert template[4] == copy[4]
    assert template[4].endswith("/templates/finecut-dedup.json")
    assert option(template, "--metadata-file") == "templates/metadata/dedup.json"
    written = json.loads((programs.folder / "copied").read_text())
    assert written["metadata"]["name"] == "finecut dedup"
    assert written["defaultEnvironment"]["machineType"] == "n1-standard-4"
    told = ["dataset=gs://b/dataset", "eps=0.1"]
    done = programs.run("launch.sh", *told, COMMAND="dedup", DRY_RUN="1", **WITH_IMAGE)
    assert done.code == 0, done.err
    launched = done.shown[0]
    assert option(launched, "--template-file-gcs-location").endswith("/finecut-dedup.json")
    assert option(launched, "--worker-machine-type") == "n1-standard-4"
    parameters = option(launched, "--parameters")
    assert parameters.startswith("command=dedup,dataset=gs://b/dataset,eps=0.1,")
    missing = programs.run("launch.sh", COMMAND="shard", DRY_RUN="1", **WITH_IMAGE)
    assert (missing.code, "dataset=…" in missing.err, "output=…" in missing.err) == (2, True, True)
    for program in ("build.sh", "launch.sh"):
        unknown = programs.run(program, COMMAND="summary", DRY_RUN="1", **WITH_IMAGE)
        assert unknown.code == 2
        assert "COMMAND=summary has no template" in unknown.err


def test_a_local_build_pushes(programs: Programs) -> None:
    done = programs.run("build.sh", IMAGE="registry.example/finecut:2", LOCAL="1", **WHERE)
    assert [call[:2] for call in done.calls[:2]] == [["docker", "build"], ["docker", "push"]]
    assert done.calls[1][2] == "registry.example/finecut:2"
    again = programs.run("build.sh", IMAGE="registry.example/finecut:2", SKIP_IMAGE="1", **WHERE)
    assert [call[1] for call in again.calls] == ["dataflow", "storage"]


def test_a_build_that_fails_writes_no_template(programs: Programs) -> None:
    programs.answers = {"builds submit": [{"code": 1, "err": "no such repository\n"}]}
    done = programs.run("build.sh", **WHERE)
    assert done.code == 1
    assert [call[1] for call in done.calls] == ["builds"]


@pytest.mark.parametrize(
    ("program", "without", "sentence"),
    [
        ("build.sh", "BUCKET", "BUCKET is not set: name the bucket"),
        ("build.sh", "PROJECT", "PROJECT is not set: name the Google Cloud project"),
        ("launch.sh", "BUCKET", "BUCKET is not set: name the bucket"),
        ("launch.sh", "IMAGE", "IMAGE is not set: name the image"),
        ("launch.sh", "PROJECT", "PROJECT is not set: name the Google Cloud project"),
    ],
)
def test_what_is_missing_is_named(
    programs: Programs, program: str, without: str, sentence: str
) -> None:
    settings = {name: value for name, value in WITH_IMAGE.items() if name != without}
    done = programs.run(program, *NEEDED, DRY_RUN="1", **settings)
    assert done.code == 2
    assert sentence in done.err.splitlines()[-1]
    assert [call[1:3] for call in done.calls] in ([], [["config", "get-value"]])


def test_the_project_may_be_gclouds_own(programs: Programs) -> None:
    programs.answers = {"config get-value project": [{"out": "mine\n"}]}
    done = programs.run("launch.sh", *NEEDED, DRY_RUN="1", BUCKET="b", IMAGE="i:1")
    assert option(done.shown[1], "--project") == "mine"


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("DISK_GB", "many", "DISK_GB=many is no whole number"),
        ("WORKERS", "11", "WORKERS=11: write a number from 1 to MAX_WORKERS"),
        ("AUTOSCALING", "yes", "write THROUGHPUT_BASED or NONE"),
        ("NAME", "My_Job", "a job's name is small letters"),
        ("REGIONS", " ", "REGIONS is empty"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    programs: Programs, setting: str, value: str, sentence: str
) -> None:
    done = programs.run("launch.sh", *NEEDED, DRY_RUN="1", **WITH_IMAGE | {setting: value})
    assert done.code == 2
    assert sentence in done.err
    assert done.shown == []


def test_a_dry_launch_says_what_it_would_do(programs: Programs) -> None:
    regions = {"REGIONS": "us-central1 europe-west4", "SUBNETWORK": "regions/REGION/subnetworks/s"}
    done = programs.run("launch.sh", *NEEDED, "clip_length=5", DRY_RUN="1", **WITH_IMAGE, **regions)
    assert done.code == 0, done.err
    assert done.calls == []
    runs = [words for words in done.shown if words[1:4] == ["dataflow", "flex-template", "run"]]
    assert [option(run, "--region") for run in runs] == ["us-central1", "europe-west4"]
    first = runs[0]
    assert option(first, "--template-file-gcs-location") == "gs://b/templates/finecut.json"
    assert option(first, "--worker-machine-type") == SPEC["defaultEnvironment"]["machineType"]
    assert option(first, "--max-workers") == str(SPEC["defaultEnvironment"]["maxWorkers"])
    assert option(first, "--subnetwork") == "regions/us-central1/subnetworks/s"
    given = listed(option(first, "--parameters"))
    assert given[:3] == [*NEEDED, "clip_length=5"]
    # The settings of the workers are those of the template's file.
    there = SPEC["defaultEnvironment"]["additionalPipelineOptions"]
    own = [text.replace("IMAGE", WITH_IMAGE["IMAGE"]) for text in there]
    assert given[3:] == [*own, "autoscaling_algorithm=THROUGHPUT_BASED"]
    assert listed(option(first, "--additional-pipeline-options")) == own
    assert listed(option(first, "--additional-experiments")) == ["use_runner_v2"]
    assert "worker_accelerator" not in done.err


def some_value_of(parameter: dict[str, Any]) -> str:
    if parameter["paramType"] == "BOOLEAN":
        return "true"
    if parameter["paramType"] == "ENUM":
        return str(parameter["enumOptions"][-1]["value"])
    if parameter["paramType"] == "NUMBER":
        return "1"
    return "gs://b/a,gs://b/c" if parameter["name"] == "input" else "a text, with a comma"


def test_every_option_of_the_template_can_be_given(programs: Programs) -> None:
    given = [f"{one['name']}={some_value_of(one)}" for one in METADATA["parameters"]]
    done = programs.run("launch.sh", *given, DRY_RUN="1", **WITH_IMAGE)
    assert done.code == 0, done.err
    assert set(given) - set(listed(option(done.shown[0], "--parameters"))) == set()


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("runner=DataflowRunner", "runner is no option of the template"),
        ("workers=3", "workers is no option of the template"),
        ("nonsense=1", "nonsense is no option of the template"),
        ("generate-previews=true", "did you mean generate_previews?"),
        ("--clip_length=5", "did you mean clip_length?"),
        ("generate_previews", "generate_previews is not name=value"),
        ("generate_previews=yes", "write generate_previews=true or generate_previews=false"),
        ("encoder=x264", "write one of libx264"),
        ("clip_length=five", "does not look as the template wants it"),
        ("input=gs://b/again", "input is given twice"),
        ("sdk_container_image=other", "sdk_container_image is no option of the template"),
    ],
)
def test_what_is_no_option_is_refused(programs: Programs, argument: str, sentence: str) -> None:
    done = programs.run("launch.sh", *NEEDED, argument, **WITH_IMAGE)
    assert done.code == 2
    assert sentence in done.err
    assert done.calls == []


def test_what_must_be_given_is_named(programs: Programs) -> None:
    assert "input=… and output=… must be given" in programs.run("launch.sh", **WITH_IMAGE).err
    other = programs.run("launch.sh", "input=gs://b/films", **WITH_IMAGE)
    assert (other.code, other.calls) == (2, [])
    assert "output=… must be given" in other.err


@pytest.mark.parametrize("value", ["a,b", "a,b|c", "a,b|c~d#e;f", "ends in ^", "^,^", "a=b,c=d"])
def test_values_with_commas_arrive_whole(programs: Programs, value: str) -> None:
    text = f"captioning_prompt_text={value}"
    done = programs.run("launch.sh", *NEEDED, text, WAIT_MINUTES="0", **WITH_IMAGE)
    assert done.code == 0, done.err
    [call] = done.calls
    assert text in listed(option(call, "--parameters"))
    assert ["gcloud", *call[1:]] == done.shown[0]


def test_mps_and_streams_are_said_so(programs: Programs) -> None:
    stream = "subscription=projects/p/subscriptions/s"
    done = programs.run(
        "launch.sh",
        *NEEDED,
        stream,
        "accelerator=nvidia-tesla-t4",
        MPS="1",
        DRY_RUN="1",
        **WITH_IMAGE,
    )
    run = done.shown[0]
    assert "--enable-streaming-engine" in run
    assert "enable_streaming_rightfitting" in listed(option(run, "--additional-experiments"))
    assert (
        "dataflow_service_options=worker_accelerator=type:nvidia-tesla-t4;count:1;"
        "install-nvidia-driver:5xx;use_nvidia_mps"
    ) in listed(option(run, "--parameters"))
    assert "not to combine that with the hints" in done.err
    apart = programs.run("launch.sh", *NEEDED, "right_fitting=true", DRY_RUN="1", **WITH_IMAGE)
    assert "films are cut on GPU machines as well" in apart.err


SHORT = (
    "Startup of the worker pool in us-central1-a failed to bring up any of the desired 1 workers. "
    "ZONE_RESOURCE_POOL_EXHAUSTED: Instance 'x' creation failed: The zone does not have enough "
    "resources available to fulfill the request."
)
QUOTA = (
    "Startup of the worker pool in zone us-central1-a failed to bring up any of the desired 1 "
    "workers. QUOTA_EXCEEDED: Instance 'x' creation failed: Quota 'NVIDIA_L4_GPUS' exceeded. "
    "Limit: 0.0 in region us-central1."
)
DESCRIBE, READ, RUN = "dataflow jobs describe", "logging read", "dataflow flex-template run"
CANCEL = "dataflow jobs cancel"
TWO = {"REGIONS": "us-central1 us-east4"}


def regions_of(done: Done) -> list[str]:
    return [option(call, "--region") for call in done.calls if call[1:4] == RUN.split()]


def test_it_waits_until_workers_have_started(programs: Programs) -> None:
    programs.answers = {
        RUN: [{"out": "job-1\n"}],
        DESCRIBE: [{"out": "JOB_STATE_QUEUED\n"}, {"out": "JOB_STATE_RUNNING\n"}],
        READ: [
            {"out": ""},
            {"out": "Starting 1 workers in us-central1-a...\n"},
            {"out": "Workers have started successfully.\n"},
        ],
    }
    done = programs.run("launch.sh", *NEEDED, **WITH_IMAGE, **TWO)
    assert (done.code, done.out, regions_of(done)) == (0, "job-1\n", ["us-central1"])
    # Each command was printed before it was run, those of the waiting once.
    assert {tuple(call) for call in done.calls} == {tuple(words) for words in done.shown}


def test_the_next_region_is_tried_when_a_call_is_refused_for_quota(programs: Programs) -> None:
    refused = {"code": 1, "err": "ERROR: RESOURCE_EXHAUSTED: Quota exceeded for L4 GPUs\n"}
    programs.answers = {
        RUN: [refused, {"out": "job-2\n"}],
        READ: [{"out": "Workers have started successfully.\n"}],
    }
    done = programs.run("launch.sh", *NEEDED, **WITH_IMAGE, **TWO)
    assert (done.code, done.out, regions_of(done)) == (0, "job-2\n", ["us-central1", "us-east4"])


@pytest.mark.parametrize("said", [SHORT, QUOTA])
def test_the_next_region_is_tried_when_a_job_fails_for_it(programs: Programs, said: str) -> None:
    programs.answers = {
        RUN: [{"out": "job-1\n"}, {"out": "job-2\n"}],
        DESCRIBE: [{"out": "JOB_STATE_FAILED\n"}, {"out": "JOB_STATE_RUNNING\n"}],
        READ: [{"out": said}, {"out": "Workers have started successfully.\n"}],
    }
    done = programs.run("launch.sh", *NEEDED, **WITH_IMAGE, **TWO)
    assert (done.code, done.out, regions_of(done)) == (0, "job-2\n", ["us-central1", "us-east4"])


def test_a_job_without_machines_is_cancelled_before_the_next(programs: Programs) -> None:
    programs.answers = {
        RUN: [{"out": "job-1\n"}, {"out": "job-2\n"}],
        DESCRIBE: [
            *({"out": "JOB_STATE_RUNNING\n"} for _ in range(2)),
            {"out": "JOB_STATE_CANCELLING\n"},
            {"out": "JOB_STATE_CANCELLED\n"},
            {"out": "JOB_STATE_RUNNING\n"},
        ],
        READ: [{"out": ""}, {"out": SHORT}, {"out": "Workers have started successfully.\n"}],
    }
    done = programs.run("launch.sh", *NEEDED, SHORTAGE_MINUTES="0", **WITH_IMAGE, **TWO)
    assert (done.code, done.out, regions_of(done)) == (0, "job-2\n", ["us-central1", "us-east4"])
    order = [" ".join(call[1:4]) for call in done.calls]
    cancelled = order.index(CANCEL)
    assert done.calls[cancelled][4] == "job-1"
    between = order[cancelled + 1 : order.index(RUN, 1)]
    assert between == [DESCRIBE, DESCRIBE]


def test_no_region_with_machines_is_an_answer(programs: Programs) -> None:
    programs.answers = {
        RUN: [{"out": "job\n"}],
        DESCRIBE: [{"out": "JOB_STATE_FAILED\n"}],
        READ: [{"out": QUOTA}],
    }
    done = programs.run("launch.sh", *NEEDED, **WITH_IMAGE, **TWO)
    assert (done.code, done.out, len(regions_of(done))) == (3, "", 2)
    assert "none of us-central1 us-east4 has machines" in done.err


def test_other_failures_are_shown_and_not_tried_again(programs: Programs) -> None:
    programs.answers = {
        RUN: [{"out": "job\n"}],
        DESCRIBE: [{"out": "JOB_STATE_FAILED\n"}],
        READ: [{"out": "Error occurred in the launcher container: Template launch failed.\n"}],
    }
    done = programs.run("launch.sh", *NEEDED, **WITH_IMAGE, **TWO)
    assert (done.code, regions_of(done)) == (1, ["us-central1"])
    assert "Template launch failed" in done.err
    denied = {"code": 1, "err": "ERROR: PERMISSION_DENIED: dataflow.jobs.create\n"}
    programs.answers = {RUN: [denied]}
    done = programs.run("launch.sh", *NEEDED, **WITH_IMAGE, **TWO)
    assert (done.code, regions_of(done)) == (1, ["us-central1"])
    assert "PERMISSION_DENIED" in done.err


def test_who_may_not_read_the_messages_is_told_once(programs: Programs) -> None:
    programs.answers = {
        RUN: [{"out": "job\n"}],
        DESCRIBE: [
            *({"out": "JOB_STATE_RUNNING\n"} for _ in range(2)),
            {"out": "JOB_STATE_DONE\n"},
        ],
        READ: [{"code": 1, "err": "ERROR: PERMISSION_DENIED\n"}],
    }
    done = programs.run("launch.sh", *NEEDED, **WITH_IMAGE)
    assert done.code == 0
    assert done.err.count("the job's messages cannot be read (roles/logging.viewer?)") == 1


def test_a_launch_need_not_be_watched(programs: Programs) -> None:
    programs.answers = {RUN: [{"out": "job\n"}]}
    done = programs.run("launch.sh", *NEEDED, WAIT_MINUTES="0", **WITH_IMAGE)
    assert (done.code, done.out, len(done.calls)) == (0, "job\n", 1)


@pytest.mark.slow
def test_hearing_nothing_ends_the_watch_and_not_the_job(programs: Programs) -> None:
    programs.answers = {RUN: [{"out": "job\n"}], DESCRIBE: [{"out": "JOB_STATE_RUNNING\n"}]}
    wait = {"WAIT_MINUTES": "1", "POLL_SECONDS": "10"}
    done = programs.run("launch.sh", *NEEDED, **WITH_IMAGE, **TWO, **wait)
    assert (done.code, done.out, regions_of(done)) == (4, "job\n", ["us-central1"])
    assert "no worker has been seen within 1 minutes, and no reason" in done.err
    assert CANCEL not in done.err


def test_the_programs_say_what_can_be_set(programs: Programs) -> None:
    for program in ("build.sh", "launch.sh"):
        text = (ROOM / program).read_text(encoding="utf-8")
        head, rest = text.split("\nset -Eeuo pipefail\n", 1)
        code = re.sub(r"(^|\s)#.*", "", rest)
        read = {*re.findall(r"\$\{([A-Z_]{2,})(?::?-|\})", code)} | {
            *re.findall(r"(?:^\s*|if |! )on ([A-Z_]{2,})", code, re.MULTILINE)
        }
        internal = {"BASH_SOURCE", "REGIONS", "SHORT", "ROOMS", "POLL_SECONDS"}
        for name in read - internal:
            assert re.search(rf"\b{name}\b", head), f"{program} reads {name} and does not say so"
    helped = programs.run("launch.sh", "--help")
    assert helped.code == 0
    assert "SHORTAGE_MINUTES" in helped.out
    assert "set -E" not in helped.out


@pytest.mark.parametrize("program", ["build.sh", "launch.sh"])
def test_shellcheck_has_nothing_to_say(program: str) -> None:
    checker = shutil.which("shellcheck")
    if checker is None:
        pytest.skip("no shellcheck here: make image-lint fetches one")
    subprocess.run([checker, str(ROOM / program)], check=True)
