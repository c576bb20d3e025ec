"""The room of the cloud: the image, the template's file, and the programs that make and use them.

Nothing of Google's is here. Of the image, every step that a plain machine can do is done, read from
the Dockerfile itself; the programs run with a gcloud that writes down what it is called with and
answers what a test tells it to.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

ROOM = ROOT / "templates"
README = (ROOM / "README.md").read_text(encoding="utf-8")
METADATA = json.loads((ROOM / "metadata.json").read_text(encoding="utf-8"))
SPEC = json.loads((ROOM / "spec.json").read_text(encoding="utf-8"))
#: A package that a machine with an index can fetch, and one without cannot.
PROBE = "wheel==0.48.0"


# ── the Dockerfile ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Step:
    """One instruction: its name, and all that follows it on one line."""

    name: str
    rest: str

    @property
    def flags(self) -> dict[str, str]:
        return dict(re.findall(r"--([a-z]+)=(\S+)", self.rest.split(" /")[0]))

    @property
    def paths(self) -> list[str]:
        return [word for word in self.rest.split() if not word.startswith("--")]


def steps_of(text: str) -> list[Step]:
    """The instructions of a Dockerfile, without comments, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"[ \t]*\\\n\s*", " ", "\n".join(lines))
    steps = []
    for line in filter(str.strip, joined.splitlines()):
        name, _, rest = line.strip().partition(" ")
        assert name.isupper(), f"no instruction: {line!r}"
        assert rest, f"no arguments: {line!r}"
        steps.append(Step(name, rest.strip()))
    return steps


def expanded(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: values.get(match[1], ""), text)


STEPS = steps_of((ROOM / "Dockerfile").read_text(encoding="utf-8"))
ARGS = dict(step.rest.partition("=")[::2] for step in STEPS if step.name == "ARG")
KNOWN = {
    *("FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "ENTRYPOINT"),
}


def all_of(name: str) -> list[Step]:
    return [step for step in STEPS if step.name == name]


def environment() -> dict[str, str]:
    """What ENV sets, all of it."""
    values: dict[str, str] = {}
    for step in all_of("ENV"):
        for word in shlex.split(step.rest):
            name, _, value = word.partition("=")
            values[name] = expanded(value, {"PATH": "/usr/bin"} | ARGS | values)
    return values


def pinned(package: str) -> str:
    text = (ROOT / "constraints/gcp.txt").read_text(encoding="utf-8")
    [version] = re.findall(rf"^{re.escape(package)}==(\S+)", text, re.MULTILINE)
    return str(version)


def test_the_dockerfile_is_one_stage_of_known_instructions() -> None:
    assert {step.name for step in STEPS} == KNOWN
    assert [step.name for step in STEPS][-1] == "ENTRYPOINT"
    assert json.loads(all_of("ENTRYPOINT")[0].rest) == ["/opt/apache/beam/boot"]
    launcher, base = all_of("FROM")
    assert launcher.rest.endswith(" AS launcher")
    assert " AS " not in base.rest


def test_every_image_is_named_by_a_tag_that_says_which() -> None:
    named = [expanded(step.rest.split(" AS ")[0], ARGS) for step in all_of("FROM")]
    named += [step.flags["from"] for step in all_of("COPY") if "from" in step.flags]
    for image in set(named) - {"launcher"}:
        assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*(@sha256:[0-9a-f]{64})?", image), image
        assert not image.endswith(":latest")


def test_python_and_beam_are_the_same_everywhere() -> None:
    beam = pinned("apache-beam")
    copied = [step.flags["from"] for step in all_of("COPY") if "from" in step.flags]
    [sdk] = [image for image in copied if "beam_python" in image]
    minor, version = re.fullmatch(r"apache/beam_python(3\.\d+)_sdk:(.+)", sdk).groups()  # type: ignore[union-attr]
    assert version == beam
    assert ARGS["PYTHON_IMAGE"].startswith(f"python:{minor}.")
    assert f"/python{minor.replace('.', '')}-template-launcher-base:" in ARGS["LAUNCHER_IMAGE"]
    # And what the pages say to install elsewhere.
    assert set(re.findall(r"prism@v([\d.]+\d)", README)) == {beam}
    assert set(re.findall(r"job-server[-/]([\d.]+\d)", README)) == {beam}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "BEAM := $(shell sed -n 's/^apache-beam==//p' constraints/gcp.txt)" in makefile


def test_torch_is_the_one_that_is_pinned_for_cuda_12() -> None:
    assert ARGS["TORCH"] == pinned("torch")
    assert ARGS["TORCH_INDEX"].endswith(f"/cu{ARGS['TORCH_CUDA'].replace('.', '')}")
    assert ARGS["TORCH_CUDA"].startswith("12.")
    pips = [step.rest for step in all_of("RUN") if "pip install" in step.rest]
    torch = next(n for n, line in enumerate(pips) if "torch==" in line)
    assert all("transformers" not in line and "finecut" not in line for line in pips[:torch])
    # No line of the constraints names a build, or a CUDA library.
    constraints = (ROOT / "constraints/gcp.txt").read_text(encoding="utf-8")
    assert not re.search(r"^(nvidia-|triton|cuda-)|^torch==.*\+", constraints, re.MULTILINE)


def test_it_runs_as_somebody_without_rights_and_with_places_to_write() -> None:
    users = [expanded(step.rest, ARGS) for step in all_of("USER")]
    assert users
    assert all(re.fullmatch(r"[1-9]\d*", user) for user in users)
    [made] = [step.rest for step in all_of("RUN") if "useradd" in step.rest]
    assert f"--uid {users[-1]} " in made
    for folder in ("/var/opt/google", "/var/log/dataflow/template_launcher"):
        assert folder in made
    set_there = environment()
    assert set_there["HOME"] == "/home/finecut"
    assert set_there["TMPDIR"] == "/tmp"
    assert set_there["RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"] == "1"


def test_the_driver_is_found_and_may_do_video() -> None:
    set_there = environment()
    assert set_there["NVIDIA_DRIVER_CAPABILITIES"] in ("all", "compute,utility,video")
    assert "/usr/local/nvidia/lib64" in set_there["LD_LIBRARY_PATH"].split(":")


def test_nothing_is_installed_at_launch() -> None:
    text = " ".join(step.rest for step in STEPS)
    assert "FLEX_TEMPLATE_PYTHON_REQUIREMENTS_FILE" not in text
    assert "FLEX_TEMPLATE_PYTHON_SETUP_FILE" not in text
    launched = environment()["FLEX_TEMPLATE_PYTHON_PY_FILE"]
    [copied] = [step for step in all_of("COPY") if step.paths[0] == "templates/launch.py"]
    [folder] = [step.rest for step in all_of("WORKDIR")]
    assert f"{folder}/{copied.paths[-1]}" == launched
    assert (ROOM / "launch.py").exists()


def test_steps_clean_up_and_keep_to_what_is_pinned() -> None:
    for step in all_of("RUN"):
        if "apt-get" in step.rest:
            assert "rm -rf /var/lib/apt/lists/*" in step.rest
            assert "--no-install-recommends" in step.rest
        assert "sudo" not in step.rest
        assert "curl" not in step.rest
        for command in re.findall(r"pip install [^&]*", step.rest):
            assert "-c constraints/gcp.txt" in command or "--no-deps" in command, command
    assert environment()["PIP_NO_CACHE_DIR"] == "1"
    assert not all_of("ADD")
    runs = [step.rest for step in all_of("RUN")]
    assert "pip check" in runs
    assert any("finecut doctor" in run for run in runs)


def test_dependencies_come_before_the_code() -> None:
    order = [f"{step.name} {step.rest}" for step in STEPS]

    def at(text: str) -> int:
        [place] = [n for n, line in enumerate(order) if text in line]
        return place

    assert at("COPY constraints") < at('"torch==') < at("[gcp,models,screen]")
    assert at("[gcp,models,screen]") < at("pip check") < at("constraints/weights.txt")
    code = [at(f"COPY {room} ") for room in ("pipeline", "transforms", "io")]
    assert at("constraints/weights.txt") < min(code) <= max(code) < at("--force-reinstall ./source")
    assert at("--force-reinstall ./source") < at("finecut doctor")


# ── what is sent along ───────────────────────────────────────────────────────────────────────────


def sent(path: str) -> bool:
    """Whether a file goes along, by the rules of .dockerignore that are used here."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        back, rule = rule.startswith("!"), rule.removeprefix("!")
        parts = path.split("/")
        heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        if rule.startswith("**/"):
            met = any(fnmatch(part, rule.removeprefix("**/")) for part in parts)
        else:
            assert rule.startswith("/"), f"{rule} means two things to docker and gcloud"
            met = any(
                head.count("/") == rule.count("/") - 1 and fnmatch(head, rule[1:]) for head in heads
            )
        if met:
            kept = back
    return kept


def test_what_the_image_is_made_of_is_sent_along_and_nothing_else() -> None:
    for step in all_of("COPY"):
        if "from" in step.flags:
            continue
        for source in step.paths[:-1]:
            assert (ROOT / source).exists(), source
            assert sent(source), source
    assert sent("pipeline/cli/command.py")
    assert sent("transforms/models/weights.py")
    others = [".git/HEAD", ".venv/bin/python", "demo/films/a.mp4", "tests/faults.py", "a.mp4"]
    others += ["io/__pycache__/a.cpython-311.pyc", "finecut.egg-info/PKG-INFO", ".hypothesis/x"]
    others += ["typecheck/setup.py", "shared/films/a.mp4", "build/lib/x.py", ".mypy_cache/x"]
    for other in others:
        assert not sent(other), other


# ── the template's file ──────────────────────────────────────────────────────────────────────────


def test_the_template_starts_workers_that_can_work() -> None:
    there = SPEC["defaultEnvironment"]
    assert there["machineType"] == "g2-standard-8"
    assert 1 <= there["numWorkers"] <= there["maxWorkers"]
    options = dict(option.split("=", 1) for option in there["additionalPipelineOptions"])
    assert options["sdk_container_image"] == SPEC["image"] == "IMAGE"
    assert int(options["disk_size_gb"]) >= 100
    assert int(options["number_of_worker_harness_threads"]) >= 1
    # GPUs are asked for by the steps that need them; both together are not allowed.
    assert "worker_accelerator" not in json.dumps(SPEC)


# ── the two programs ─────────────────────────────────────────────────────────────────────────────

#: Writes down what it is called with, keeps what it is to copy, and says what it is told to.
GCLOUD = """
import json, os, shutil, sys
from pathlib import Path

folder = Path(os.environ["FAKE_GCLOUD"])
words = sys.argv[1:]
with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps([Path(sys.argv[0]).name, *words]) + "\\n")
for option in ("--config", "--metadata-file"):
    if option in words:
        shutil.copy(words[words.index(option) + 1], folder / option.strip("-"))
if words[:2] == ["storage", "cp"]:
    shutil.copy(words[2], folder / "copied")
answers = json.loads((folder / "answers.json").read_text())
for beginning, said in answers.items():
    if " ".join(words).startswith(beginning):
        answer = said.pop(0) if len(said) > 1 else said[0]
        (folder / "answers.json").write_text(json.dumps(answers))
        sys.stderr.write(answer.get("err", ""))
        sys.stdout.write(answer.get("out", ""))
        sys.exit(answer.get("code", 0))
"""


@dataclass
class Done:
    code: int
    out: str
    err: str
    calls: list[list[str]]

    @property
    def shown(self) -> list[list[str]]:
        """The commands that were printed."""
        lines = [line for line in self.err.splitlines() if line.startswith("+ ")]
        return [shlex.split(line[2:]) for line in lines]


@dataclass
class Programs:
    """Runs a program of the room where gcloud and docker are ours."""

    folder: Path
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        binaries = self.folder / "bin"
        binaries.mkdir()
        for name in ("gcloud", "docker"):
            program = binaries / name
            program.write_text(f"#!{sys.executable}\n{GCLOUD}", encoding="utf-8")
            program.chmod(0o755)

    def run(self, program: str, *arguments: str, **settings: str) -> Done:
        (self.folder / "answers.json").write_text(json.dumps(self.answers), encoding="utf-8")
        (self.folder / "calls.jsonl").write_text("", encoding="utf-8")
        usual = {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "FAKE_GCLOUD": str(self.folder),
            "POLL_SECONDS": "0",
        }
        done = subprocess.run(
            [str(ROOM / program), *arguments],
            cwd=self.folder,
            env=usual | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        lines = (self.folder / "calls.jsonl").read_text(encoding="utf-8").splitlines()
        return Done(done.returncode, done.stdout, done.stderr, [json.loads(line) for line in lines])


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def listed(text: str) -> list[str]:
    """What gcloud makes of a list, with another delimiter where one is given."""
    delimiter = ","
    if text.startswith("^"):
        _, delimiter, text = text.split("^", 2)
    return text.split(delimiter)


WHERE = {"PROJECT": "p", "BUCKET": "b"}
WITH_IMAGE = WHERE | {"IMAGE": "registry.example/p/finecut:1"}
NEEDED = ("input=gs://b/films", "output=gs://b/clips")


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


@pytest.mark.parametrize("name", [told["name"] for told in METADATA["parameters"]])
def test_every_option_of_the_template_can_be_given(programs: Programs, name: str) -> None:
    [told] = [told for told in METADATA["parameters"] if told["name"] == name]
    value = {"input": "gs://b/a,gs://b/c", "output": "gs://b/o"}.get(name, "a text, with a comma")
    if told["paramType"] == "BOOLEAN":
        value = "true"
    elif told["paramType"] == "ENUM":
        value = told["enumOptions"][-1]["value"]
    elif told["paramType"] == "NUMBER":
        value = "1"
    others = [word for word in NEEDED if not word.startswith(f"{name}=")]
    done = programs.run("launch.sh", f"{name}={value}", *others, DRY_RUN="1", **WITH_IMAGE)
    assert done.code == 0, done.err
    assert f"{name}={value}" in listed(option(done.shown[0], "--parameters"))


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


def test_hadolint_has_nothing_to_say() -> None:
    checker = shutil.which("hadolint")
    if checker is None:
        pytest.skip("no hadolint here: make image-lint fetches one")
    told = [checker, "--failure-threshold", "warning", str(ROOM / "Dockerfile")]
    subprocess.run(told, check=True)


# ── the page ─────────────────────────────────────────────────────────────────────────────────────


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
        words = shlex.split(line.split("templates/launch.sh", 1)[1])
        values = [
            "gs://b/x" if "$" in word and "subscription" not in word else "" for word in words
        ]
        given = [
            f"{word.split('=')[0]}={value}" if value else word
            for word, value in zip(words, values, strict=True)
        ]
        done = programs.run("launch.sh", *given, DRY_RUN="1", **WITH_IMAGE)
        assert done.code == 0, (line, done.err)


def test_the_page_curates_with_options_that_are_there() -> None:
    from finecut.pipeline.cli.flags import Parser, add_flags

    parser = Parser(prog="finecut")
    add_flags(parser)
    lines = [
        line for line in commands_in(README) if re.search(r"\bfinecut (curate|launch)\b", line)
    ]
    assert {"PrismRunner", "FlinkRunner", "SparkRunner", "DataflowRunner", "PortableRunner"} <= {
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


# ── the other engine ─────────────────────────────────────────────────────────────────────────────


def test_make_flink_says_what_is_missing(tmp_path: Path) -> None:
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
    words = ["STAMP=Makefile", f"CACHE={tmp_path}", f"MAVEN=file://{tmp_path}/nowhere", "flink"]
    done = subprocess.run(
        ["make", *words],
        cwd=ROOT,
        env={"PATH": str(tools), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    server = f"beam-runners-flink-1.20-job-server-{pinned('apache-beam')}.jar"
    assert "flink: no java that works is on the PATH" in done.stderr
    assert f"flink: Beam's job server for Flink is not at {tmp_path}/{server}" in done.stderr
    assert "make flink FLINK_JAR=path/to/it.jar" in done.stderr
    assert "finecut curate" not in done.stdout
    assert not list(tmp_path.glob("*.jar*"))


# ── the steps of the image, done here ────────────────────────────────────────────────────────────

#: Steps that a plain machine cannot do: they make a user, and folders of the system's.
ONLY_IN_AN_IMAGE = re.compile(r"useradd")


@pytest.mark.slow
def test_the_steps_of_the_image_work_in_a_clean_root(tmp_path: Path) -> None:
    """Everything that is copied and run, in a new environment, with the CPU's torch.

    Its own folder stands for /opt/finecut, and sees only what is sent along.
    """
    [minor] = re.findall(r"python:(3\.\d+)\.", ARGS["PYTHON_IMAGE"])
    if minor != "{}.{}".format(*sys.version_info):
        pytest.skip(f"the image has Python {minor}, and the tests run with another one")
    root, place = tmp_path / "root", tmp_path / "environment"
    root.mkdir()
    venv.create(place, with_pip=True)
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"
    }
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    here = kept | {"PATH": path, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    probe = [str(place / "bin/pip"), "download", "--no-deps", "--dest", str(tmp_path), PROBE]
    if subprocess.run(probe, env=here, capture_output=True, check=False).returncode:
        pytest.skip("no index of packages can be reached")
    # What the image sets for itself and its driver is not for here.
    settings = environment() | {"TORCH": ARGS["TORCH"], "TORCH_CUDA": "None"}
    for name in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH"):
        settings.pop(name)
    done = []
    for step in STEPS:
        if step.name == "COPY" and "from" not in step.flags:
            for source in step.paths[:-1]:
                copy(source, root, step.paths[-1])
        elif step.name == "RUN" and not ONLY_IN_AN_IMAGE.search(step.rest):
            command = step.rest.replace('--extra-index-url "${TORCH_INDEX}"', "")
            done.append(command)
            ran = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=root,
                env=here | settings,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, f"{command}\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}"
    assert len(done) == len(all_of("RUN")) - 1
    # What is left of the context is what a worker needs: no source, and the launcher's program.
    assert sorted(path.name for path in root.iterdir()) == ["constraints", "launch.py"]
    told = subprocess.run(
        [place / "bin/python", root / "launch.py", "--input=gs://b/films"],
        cwd=tmp_path,
        env=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 2
    assert "--output" in told.stderr
    shutil.rmtree(place)


def copy(source: str, root: Path, target: str) -> None:
    """As COPY does it, of what .dockerignore lets through."""
    into = root / target
    if (ROOT / source).is_dir():
        for path in (ROOT / source).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and sent(name):
                copied = into / path.relative_to(ROOT / source)
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copied)
        return
    if target.endswith("/"):
        into = into / Path(source).name
    into.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(ROOT / source, into)
