"""Models come from a hub: the right commit, the files that are wanted, once, and whole."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hub_server import Hub, served

pytest.importorskip("huggingface_hub")
save = pytest.importorskip("safetensors.numpy").save

NAME, COMMIT = "someone/model", "0123abc" + "d" * 33
WEIGHTS = save({"x": np.arange(500_000, dtype=np.float32)})
FILES = {
    "config.json": b"{}",
    "model.safetensors": WEIGHTS,
    "modeling_mine.py": b"x = 1",
    "flax_model.msgpack": b"the same weights again",
    "pytorch_model.bin": b"and again",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with served(Hub(NAME, COMMIT, dict(FILES))) as hub:
        yield hub


def located(hub: Hub, folder: Path, call: str = f"{NAME!r}", **more: str) -> str:
    """What a program says that locates a model, in an environment of its own."""
    code = (
        "from finecut.transforms.models.weights.folders import WeightsMissing, described, locate\n"
        f"try:\n    found = locate({call})\n"
        "except WeightsMissing as error:\n    print('refused:', error)\n"
        "else:\n    print(found.revision, found.unpinned, found.path)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HTTP"))} | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


def folder_of(said: str) -> Path:
    return Path(said.rpartition(" ")[2])


def files_in(said: str) -> list[str]:
    return sorted(path.name for path in folder_of(said).iterdir())


def test_a_model_is_fetched_once_and_without_what_is_not_needed(hub: Hub, tmp_path: Path) -> None:
    said = located(hub, tmp_path, f"'{NAME}@{COMMIT[:7]}'")
    assert said.startswith(f"{COMMIT} False {tmp_path}")
    assert files_in(said) == ["config.json", "model.safetensors"]
    assert sorted(hub.fetched()) == ["config.json", "model.safetensors"]
    hub.asked.clear()
    assert located(hub, tmp_path, f"'{NAME}@{COMMIT}'") == said, "by more digits"
    assert located(hub, tmp_path, f"'{NAME}@{COMMIT[:9]}'", HF_HUB_OFFLINE="1") == said
    assert hub.asked == [], "a commit that is there is not asked for"


def test_without_a_commit_it_is_what_the_hub_calls_main(hub: Hub, tmp_path: Path) -> None:
    assert located(hub, tmp_path).startswith(f"{COMMIT} True ")
    assert located(hub, tmp_path, HF_HUB_OFFLINE="1").startswith(f"{COMMIT} True ")


def test_code_comes_only_where_it_is_asked_for(hub: Hub, tmp_path: Path) -> None:
    said = located(hub, tmp_path, f"'{NAME}@{COMMIT}', code=True")
    assert "modeling_mine.py" in files_in(said)


def test_pickles_are_fetched_where_there_is_nothing_else(hub: Hub, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive := BytesIO(), "w") as file:
        file.writestr("data.pkl", b"")
    hub.files = {"config.json": b"{}", "pytorch_model.bin": archive.getvalue()}
    assert "model.safetensors is missing" in located(hub, tmp_path)
    assert files_in(located(hub, tmp_path, f"{NAME!r}, pickled=True")) == [
        "config.json",
        "pytorch_model.bin",
    ]


def test_a_download_that_breaks_off_is_gone_on_with(hub: Hub, tmp_path: Path) -> None:
    large = save({"x": np.arange(6_000_000, dtype=np.float32)})  # it is gone on with by 10 MB
    hub.files = {**FILES, "model.safetensors": large}
    hub.hang_up_after, hub.hang_ups = 15_000_000, 1
    said = located(hub, tmp_path)
    assert said.startswith(COMMIT)
    assert folder_of(said).joinpath("model.safetensors").read_bytes() == large
    [second] = [span for how, _, span in hub.asked if how == "GET" and span]
    assert int(second.removeprefix("bytes=").rstrip("-")) >= 10_000_000


def test_what_the_hub_does_not_have_is_refused_with_its_reason(hub: Hub, tmp_path: Path) -> None:
    said = located(hub, tmp_path, "'someone/else'")
    assert said.startswith("refused: the weights of 'someone/else' are not on this machine")
    assert "RepositoryNotFoundError" in said
    assert "hf download someone/else" in said
    said = located(hub, tmp_path, f"'{NAME}@{'f' * 40}'")
    assert f"--revision {'f' * 40}" in said


def test_a_file_that_is_no_weights_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files = {**FILES, "model.safetensors": WEIGHTS[:-40]}
    assert "damaged" in located(hub, tmp_path)
