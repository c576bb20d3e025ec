"""A store that nobody can reach is told of within seconds, with what to do.

What never answers is a socket of this machine that takes connections and says nothing: once in the
place of the server that gives out credentials on Google's machines, once in that of the proxy on
the way to the store.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

pytest.importorskip("google.cloud.storage")
pytest.importorskip("gcp_storage_emulator")
from faulty_store import FaultyStore

from finecut.io.errors import RunError
from finecut.io.storage.retry import StoreAway, greet
from finecut.pipeline.cli.command import main
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

LOG_IN = "gcloud auth application-default login"
#: Seconds within which somebody who typed a command wants an answer.
AT_ONCE = 10
GOOGLES = ("GOOGLE_", "GCE_", "GCLOUD_", "K_SERVICE", "CLOUD_RUN_", "STORAGE_EMULATOR_HOST")


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where everything is taken and nothing answered."""
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        ear.listen(64)
        yield f"127.0.0.1:{ear.getsockname()[1]}"


def alone(folder: Path, **more: str) -> dict[str, str]:
    """An environment in which nothing speaks of Google, or of a proxy."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(GOOGLES) and not name.lower().endswith("_proxy")
    }
    return kept | {"HOME": str(folder), "CLOUDSDK_CONFIG": str(folder / "none")} | more


@pytest.fixture
def without_network(silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's way to the store leads to nobody."""
    wanted = alone(tmp_path, HTTPS_PROXY=f"http://{silent}", NO_GCE_CHECK="true")
    for name in {*os.environ} - {*wanted}:
        monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)


def answered(arguments: list[str], env: Mapping[str, str]) -> str:
    """What the command says, after no longer than one would wait."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "finecut.pipeline.cli.command", *arguments],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert time.monotonic() - began < AT_ONCE
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_a_server_of_credentials_that_is_silent_is_named(silent: str, tmp_path: Path) -> None:
    env = alone(tmp_path, GCE_METADATA_HOST=silent, GCE_METADATA_IP=silent)
    given = ["curate", "--input", "gs://bucket/films", "--output", str(tmp_path / "out")]
    [said] = answered(given, env).splitlines()
    assert said.startswith(
        "finecut: gs://bucket was not accessed, because there are no credentials"
    )
    assert f"GCE_METADATA_HOST={silent}" in said
    assert LOG_IN in said
    assert "GOOGLE_APPLICATION_CREDENTIALS" in said


COMMANDS = {
    "input": ["curate", "--input", "gs://bucket/films", "--output", "out"],
    "list": ["curate", "--input", "gs://bucket/list.txt", "--output", "out"],
    "output": ["curate", "--input", "films", "--output", "gs://bucket/out"],
    "cuts": [
        *("describe", "--input", "films"),
        *("--output", "out", "--cuts", "gs://bucket/c.csv"),
    ],
    "models": ["curate", "--input", "films", "--output", "out", "--model-dir", "gs://bucket/m"],
    "verify": ["verify", "gs://bucket/out"],
    "shard": ["shard", "out", "--output", "gs://bucket/shards"],
    "report": ["report", "gs://bucket/out", "--into", "gs://bucket/page"],
}


def test_without_network_a_command_ends_within_seconds(silent: str, tmp_path: Path) -> None:
    env = alone(tmp_path, HTTPS_PROXY=f"http://{silent}")
    [said] = answered(COMMANDS["input"], env).splitlines()
    assert said.startswith("finecut: gs://bucket cannot be reached (no answer within 5 s)")
    assert "no network" in said
    assert LOG_IN in said


@pytest.mark.parametrize("where", COMMANDS)
def test_every_path_on_a_store_is_answered_for(
    where: str,
    without_network: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By a proxy that refuses at once, so that nobody has to wait for what is silent."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert main(COMMANDS[where]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    [said] = err.splitlines()
    assert said.startswith("finecut: gs://bucket cannot be reached (")
    assert "no network" in said
    assert LOG_IN in said


def test_films_of_a_list_on_this_disk_are_answered_for(
    without_network: None, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("gs://elsewhere/b.mp4\n")
    began = time.monotonic()
    with pytest.raises(RunError, match="gs://elsewhere cannot be reached"):
        run(Options(input=(str(tmp_path / "list.txt"),), output=str(tmp_path / "out")))
    assert time.monotonic() - began < AT_ONCE
    assert not (tmp_path / "out/clips").exists()


def test_a_store_that_is_not_there_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(StoreAway, match="Connection refused"):
        greet(["gs://bucket/films", str(tmp_path)])


@pytest.mark.parametrize("status", ["401", "403", "404", "503", ""])
def test_a_store_that_answers_is_there_whatever_it_says(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
    server.spoiled = lambda _method, _path: status
    try:
        greet(["gs://bucket/films"])
        assert server.asked
    finally:
        server.close()
