"""The image and the template's file: every step that a plain machine can do is done here.

Nothing of Google's is here; the steps are read from the Dockerfile itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from fnmatch import fnmatch
from pathlib import Path

import pytest
from dockerfile import ARGS, ROOM, STEPS, all_of, environment, expanded, pinned
from places import ROOT

README = (ROOM / "README.md").read_text(encoding="utf-8")
SPEC = json.loads((ROOM / "spec.json").read_text(encoding="utf-8"))
#: A package that a machine with an index can fetch, and one without cannot.
PROBE = "wheel==0.48.0"
KNOWN = {
    *("FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "ENTRYPOINT"),
}


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
    folder, home = [step.rest for step in all_of("WORKDIR")]
    assert home == environment()["HOME"]
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

    assert at("COPY constraints") < at('"torch==') < at("[gcp,s3,azure,models,screen]")
    assert at("[gcp,s3,azure,models,screen]") < at("pip check") < at("constraints/weights.txt")
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


def test_hadolint_has_nothing_to_say() -> None:
    checker = shutil.which("hadolint")
    if checker is None:
        pytest.skip("no hadolint here: make image-lint fetches one")
    told = [checker, "--failure-threshold", "warning", str(ROOM / "Dockerfile")]
    subprocess.run(told, check=True)


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
