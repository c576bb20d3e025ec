"""The services of templates/: their commands name options that are there, and systemd reads its."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from dockerfile import ROOM

from finecut.pipeline.cli.command import parser_of
from finecut.pipeline.cli.flags import parse_options
from finecut.pipeline.commands.curate import Curate

UNIT, DEPLOYMENT = ROOM / "finecut-watch.service", ROOM / "watch.yaml"


def options_of(words: list[str]) -> Any:
    assert words[:2] == ["finecut", "curate"]
    options, rest = parse_options(parser_of(Curate), words[2:])
    assert rest == []
    return options


def test_the_unit_runs_a_command_that_watches() -> None:
    text = UNIT.read_text(encoding="utf-8")
    [line] = re.findall(r"^ExecStart=/usr/bin/env (.*)$", text, re.MULTILINE)
    [said] = re.findall(r"^Environment=(INPUT.*)$", text, re.MULTILINE)
    values = dict(word.split("=", 1) for word in said.split())
    words = shlex.split(re.sub(r"\$\{?(\w+)\}?", lambda name: values[name[1]], line))
    assert options_of(words).watch == 30.0
    assert "KillMode=mixed" in text


def test_systemd_reads_the_unit() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    done = subprocess.run(
        ["systemd-analyze", "verify", UNIT], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_deployment_runs_a_command_that_watches_a_bucket() -> None:
    text = DEPLOYMENT.read_text(encoding="utf-8").replace("BUCKET", "bucket-1")
    found = yaml.safe_load(text)
    spec = found["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    options = options_of([*container["command"], *container["args"]])
    assert (options.watch, options.input) == (60.0, ("gs://bucket-1/videos",))
    # Two that do the same would do each video twice.
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert pod["terminationGracePeriodSeconds"] >= 600
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pod["volumes"]}
