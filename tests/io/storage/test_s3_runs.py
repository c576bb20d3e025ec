"""Whole commands on S3: a run writes what a local run writes, and all that read it are content."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("obstore")
from curated import curated
from s3_trouble import Trouble
from seaweed import Seaweed

from finecut.io.media.testfilm.paint import paint
from finecut.io.process import children as child
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.cli.command import main
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

NAMED = "films"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    (folder / "sub é").mkdir()
    paint(folder / "a.mp4", width=96, height=54, rate=10, seconds=4, sound="aac")
    paint(folder / "sub é/100% [1].mkv", width=96, height=54, rate=10, seconds=2)
    return folder


@pytest.fixture
def bucket(s3: str, films: Path) -> Iterator[str]:
    """A bucket with the videos in it, below ``in``."""
    put(films, f"{s3}/in")
    yield s3
    child.kill_all()


def put(folder: Path, target: str) -> None:
    own = Shelf(target, f"{target}/.staging/test")
    for path in folder.rglob("*"):
        if path.is_file():
            own.write(f"{target}/{path.relative_to(folder)}", path.read_bytes())


def curate(films: str, output: str, **more: Any) -> dict[str, bytes]:
    chosen = {"clip_length": 1.0, "min_clip_length": 0.5, "chunk_seconds": 2}
    chosen |= {"no_generate_embeddings": True, "no_report": True}
    summary = run(
        Options(input=(films,), output=output, named_as=NAMED, workers=2, **chosen | more)
    ).summary
    assert (summary.videos_done, summary.shots_planned) == (2, 6)
    return tree(output, films)


def tree(output: str, films: str) -> dict[str, bytes]:
    """What is there to stay, without where it lies, and what tells versions of videos apart."""
    found = {}
    for path in shelf.files_below(output):
        name = path.removeprefix(f"{output}/")
        if not name.startswith(("runs/", "report/", ".staging/")):  # killed runs are swept later
            data = shelf.read(path).replace(output.encode(), b"OUT").replace(films.encode(), b"IN")
            found[name] = re.sub(rb'"(source_)?version": ?"[^"]*"', b"VERSION", data)
    return found


def test_a_run_on_s3_writes_what_a_local_run_writes(
    bucket: str, films: Path, tmp_path: Path
) -> None:
    local = curate(str(films), str(tmp_path / "out"))
    assert curate(str(films), f"{bucket}/from a disk") == local
    assert curate(f"{bucket}/in", f"{bucket}/out") == local
    assert not [path for path in shelf.files_below(bucket) if "/.staging/" in path]


# ── slow: every command, killed runs, reading back ───────────────────────────────────────────────


def finecut(*words: str) -> str:
    """What a command says that ends well."""
    done = subprocess.run(
        [sys.executable, "-m", "finecut.pipeline.cli.command", *words],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_every_command_works_on_s3(bucket: str) -> None:
    output = f"{bucket}/out"
    given = ["--input", f"{bucket}/in", "--output", output, "--motion-filter", "score-only"]
    finecut("describe", *given)
    finecut("curate", *given, "--clip-length", "1", "--min-clip-length", "1")
    assert "no problems found" in finecut("verify", output)
    assert "6 planned = 6 kept" in finecut("summary", output)
    finecut("report", output)
    assert shelf.exists(f"{output}/report/index.html")
    finecut("dedup", output)
    assert shelf.exists(f"{output}/dedup/groups.parquet")
    for _ in range(2):  # the second replaces the first
        finecut("shard", output, "--output", f"{bucket}/shards", "--drop", f"{output}/dedup")
    assert shelf.some_file_in(f"{bucket}/shards", ".parquet")
    finecut("refilter", output, "--keep", "motion>1", "--yes")
    assert "no problems found" in finecut("verify", output)
    assert shelf.some_file_in(f"{output}/clips", ".mp4") is None


@pytest.mark.slow
def test_doctor_tries_a_store(s3: str) -> None:
    said = finecut("doctor", f"{s3}/new", "--no-generate-embeddings")
    for what in ("write and read", "read parts", "list", "replace only as seen", "upload and move"):
        assert f"ok    {what}" in said
    assert list(shelf.files_below(s3)) == []


def test_doctor_says_what_a_store_cannot_do(
    s3: str, seaweed_server: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finecut.io.storage.trial import trials

    with Trouble(seaweed_server.address) as trouble:
        monkeypatch.setenv("AWS_ENDPOINT_URL", trouble.address)
        # As a server that does not know conditions, and says that all went well.
        trouble.spoiled = lambda method, path: "200" if path.endswith("/replaced") else ""
        attempts = dict(trials(f"{s3}/out"))
        for what in ("write and read", "read parts", "list"):
            attempts[what]()
        with pytest.raises(OSError, match="does not look at the conditions of a request"):
            attempts["replace only as seen"]()
        trouble.spoiled = lambda method, path: ""
        attempts["remove"]()
    assert list(shelf.files_below(s3)) == []


@pytest.mark.slow
def test_a_model_in_a_bucket_is_fetched(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finecut.transforms.models.weights.folders import fetch

    files = {"config.json": b"{}", "model.safetensors": struct.pack("<Q", 2) + b"{}"}
    for name, data in {**files, "deep/vocabulary.txt": os.urandom(100_000)}.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(data)
    put(tmp_path / "model", f"{s3}/models/mine")
    found = fetch(f"{s3}/models/mine", tmp_path / "cache")
    for path in (tmp_path / "model").rglob("*.*"):
        assert (found / path.relative_to(tmp_path / "model")).read_bytes() == path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_in_a_bucket_is_read_back(s3: str, workers: int, tmp_path: Path) -> None:
    """Also by copies of this process, which has read from the store itself."""
    data = pytest.importorskip("torch.utils.data")
    from finecut import ClipDataset

    made = curated(tmp_path)
    put(made.root, f"{s3}/out")
    local = ClipDataset(str(made.root), frames=2, size=(32, 32))
    remote = ClipDataset(f"{s3}/out", frames=2, size=(32, 32))
    expected = {clip["id"]: clip["frames"] for clip in local}
    found = list(
        data.DataLoader(remote, batch_size=None, num_workers=workers, timeout=60 * workers)
    )
    assert sorted(clip["id"] for clip in found) == sorted(expected)
    assert all((clip["frames"] == expected[clip["id"]]).all() for clip in found)


class Killed:
    """A run that is killed at its so many-th writing request."""

    def __init__(self, words: Sequence[str], trouble: Trouble, at: int) -> None:
        self.left = at
        trouble.spoiled = self.spoil
        self.process = subprocess.Popen(
            [sys.executable, "-m", "finecut.pipeline.cli.command", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.code = self.process.wait(timeout=300)

    def spoil(self, method: str, path: str) -> str:
        self.left -= method in ("PUT", "POST")
        if self.left == 0:
            self.process.send_signal(signal.SIGKILL)
            return "lost"
        return ""


@pytest.mark.slow
def test_a_run_that_is_killed_is_resumed_to_the_same(
    bucket: str,
    films: Path,
    seaweed_server: Seaweed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local = curate(str(films), str(tmp_path / "out"))
    words = ["curate", "--input", f"{bucket}/in", "--output", f"{bucket}/out", "--named-as", NAMED]
    words += ["--clip-length", "1", "--min-clip-length", "0.5", "--chunk-seconds", "2"]
    words += ["--no-generate-embeddings", "--no-report", "--workers", "2"]
    with Trouble(seaweed_server.address) as trouble:
        monkeypatch.setenv("AWS_ENDPOINT_URL", trouble.address)
        codes = [Killed(words, trouble, at).code for at in (3, 7, 11, 16)]
        trouble.spoiled = lambda method, path: ""
        assert main(words) == 0
        assert -signal.SIGKILL in codes
        assert tree(f"{bucket}/out", f"{bucket}/in") == local
        assert "no problems found" in finecut("verify", f"{bucket}/out")


def told(words: Sequence[str]) -> int:
    """The exit code of a command in this process."""
    try:
        return main(list(words))
    except SystemExit as error:
        return int(error.code or 0)


def test_what_cannot_be_read_or_written_is_said_in_a_sentence(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {
        ("curate", "--input", "s3://there-is-no-such-bucket/in", "--output", f"{bucket}/x"): (
            "cannot be read: No such object or bucket"
        ),
        ("curate", "--input", f"{bucket}/nothing", "--output", f"{bucket}/x"): "no videos found",
        ("curate", "--input", f"{bucket}/in", "--output", "s3://there-is-no-such-bucket/x"): (
            "cannot be written to (No such object or bucket)"
        ),
        ("verify", "s3://there-is-no-such-bucket/x"): "No such object or bucket",
    }
    for words, said in asked.items():
        assert told(words) in (1, 2)
        assert said in capsys.readouterr().err
