"""Videos at URLs and in archives become the clips of the same videos on a disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from away import wait_shorter
from faulty_proxy import Fault, once
from faulty_store import FaultyStore, now_and_then
from packed import tar_of, zip_of
from seaweed import Seaweed
from store_places import reached
from store_places import s3 as on_s3
from web_server import serving

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.storage import retry
from finecut.io.storage.cloud.gcs import EMULATOR
from finecut.io.storage.stores import store_for
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

NAMED = "films"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("held") / "shard.tar"
    folder.mkdir()
    for name, rate in (("a.mp4", 10), ("b.mkv", 12)):
        paint(folder / name, width=160, height=90, rate=rate, seconds=4, sound="aac")
    return folder


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are looked for where only this test makes some."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)


def curated(given: object, output: Path, **others: Any) -> dict[str, bytes]:
    """What a run writes of these inputs, by path, without what names where the sources lie."""
    several = given if isinstance(given, tuple) else (given,)
    options: dict[str, Any] = {
        "input": tuple(map(str, several)),
        "output": str(output),
        "named_as": NAMED,
        "clip_length": 2.0,
        "no_report": True,
        "no_generate_embeddings": True,
        "allow_private": True,
        "no_isolation": True,
        **others,
    }
    run(Options(**options))
    return tree(output)


def tree(output: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(output.rglob("*")):
        below = str(path.relative_to(output))
        if path.is_file() and not below.startswith(("runs/", "report/")):
            found[below] = path.read_bytes().replace(str(output).encode(), b"OUTPUT")
        if below.startswith("processed_videos/") and path.is_file():
            said = json.loads(found[below])
            assert said.pop("source_version")
            found[below] = json.dumps(said).encode()
    return found


def left() -> list[str]:
    """Copies that still lie about."""
    place = Path(os.environ["TMPDIR"])
    return [str(path) for path in place.rglob("work/*")]


def test_films_at_urls_and_in_archives_give_the_clips_of_films_on_a_disk(
    films: Path, tmp_path: Path
) -> None:
    truth = curated(films.parent, tmp_path / "disk")
    assert any(path.startswith("clips/") for path in truth)
    www = tmp_path / "www"
    www.mkdir()
    contents = {path.name: path.read_bytes() for path in films.iterdir()}
    tar_of(www / "shard.tar", contents)
    for how in ({}, {"ranges": False}):
        with serving(www, **how) as server:
            output = tmp_path / f"web{len(how)}"
            assert curated(f"{server.address}/shard.tar", output) == truth
            assert left() == []
            # An earlier run finished them: nothing of the films is fetched again.
            server.sent = 0
            assert curated(f"{server.address}/shard.tar", output) == truth
            assert server.sent < 150_000 or how
    written = (tmp_path / "web0/processed_videos/shard.tar/a.mp4.json").read_text()
    assert "127.0.0.1" not in written


def test_what_fails_is_listed_without_secrets_and_done_with_the_list(
    films: Path, tmp_path: Path
) -> None:
    www, output = tmp_path / "www", tmp_path / "out"
    www.mkdir()
    (www / "a.mp4").write_bytes(b"no film")
    (www / "b.mkv").write_bytes((films / "b.mkv").read_bytes())
    query = "v=1&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE&X-Amz-Signature=9f0cffff"
    with serving(www) as server:
        urls = [server.address.replace("//", "//me:hunter2@") + f"/{n}" for n in ("a.mp4", "b.mkv")]
        found = curated((f"{urls[0]}?{query}", urls[1]), output, named_as=None)
        [failures] = (output / "failures").iterdir()
        everything = b"".join(path.read_bytes() for path in output.rglob("*") if path.is_file())
        for secret in (b"hunter2", b"9f0cffff", b"AKIAIOSFODNN7EXAMPLE", b"#private"):
            assert secret not in everything
        assert "processed_videos/b.mkv.json" in found
        assert f"{server.address}/a.mp4?v=1" in failures.read_text()
        (www / "a.mp4").write_bytes((films / "a.mp4").read_bytes())
        found = curated(failures, output, named_as=None)
        assert "processed_videos/a.mp4%3Fv=1.json" in found
        assert not failures.exists()
        # It is another version now, and was not for nothing.
        (www / "a.mp4").write_bytes((films / "b.mkv").read_bytes())
        before = found["processed_videos/a.mp4%3Fv=1.json"]
        found = curated((f"{urls[0]}?{query}", urls[1]), output, named_as=None)
        assert found["processed_videos/a.mp4%3Fv=1.json"] != before


def test_nothing_can_be_written_to_a_web_server(films: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can only be read: give a folder on this machine"):
        run(Options(input=(str(films),), output="https://host/dataset", no_isolation=True))


# ── in full ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films whose bytes count: of tens of megabytes, of which each picture is one."""
    folder = tmp_path_factory.mktemp("large") / "x.tar"
    folder.mkdir()
    busy = Scene(velocity=(60.0, 40.0), pan=40.0)
    for name in ("a.mov", "b.avi", "c.mp4"):
        codec = "libx264" if name == "c.mp4" else "mjpeg"
        quality = {"crf": "1"} if codec == "libx264" else {"q": "1"}
        paint(
            folder / name,
            width=960,
            height=540,
            rate=25,
            seconds=20,
            scenes=[busy],
            codec=codec,
            codec_options=quality,
            pix_fmt="yuv420p" if codec == "libx264" else "yuvj420p",
        )
    return folder


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    store = FaultyStore()
    monkeypatch.setenv(EMULATOR, store.address)
    yield store
    store.close()


@pytest.mark.slow
def test_a_whole_run_fetches_little_more_than_the_films(large: Path, tmp_path: Path) -> None:
    truth = curated(large.parent, tmp_path / "disk", no_isolation=False)
    size = sum(path.stat().st_size for path in large.iterdir())
    assert size > 10_000_000
    (tmp_path / "www").mkdir()
    with tarfile.open(tmp_path / "www/x.tar", "w") as archive:
        archive.add(large, ".")
    with zipfile.ZipFile(tmp_path / "www/x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in large.iterdir():
            packed.write(path, path.name)
    listed = tmp_path / "list.txt"
    with serving(large.parent) as server:
        names = sorted(path.name for path in large.iterdir())
        listed.write_text("".join(f"{server.address}/x.tar/{name}\n" for name in names))
        found = curated(listed, tmp_path / "urls", no_isolation=False)
        assert len(_clips(found)) == len(_clips(truth))
        assert server.sent < 1.1 * size
    with serving(tmp_path / "www") as server:
        assert curated(f"{server.address}/x.tar", tmp_path / "tar", no_isolation=False) == truth
        assert server.sent < 1.1 * size
        server.sent = 0
        assert curated(f"{server.address}/x.tar", tmp_path / "tar", no_isolation=False) == truth
        assert server.sent < 0.02 * size
        server.sent = 0
        found = curated(f"{server.address}/x.zip", tmp_path / "zip", no_isolation=False)
        assert len(_clips(found)) == len(_clips(truth))
        assert server.sent < 1.1 * size
    with serving(tmp_path / "www", ranges=False) as server:
        assert curated(f"{server.address}/x.tar", tmp_path / "whole", no_isolation=False) == truth
        # A server without ranges sends what it is asked for before anybody can stop it.
        assert server.sent < 1.5 * size
    assert left() == []


def _clips(found: dict[str, bytes]) -> list[bytes]:
    return sorted(data for path, data in found.items() if path.startswith("clips/"))


@pytest.mark.slow
def test_archives_in_a_bucket_give_the_same_also_in_trouble(
    films: Path, tmp_path: Path, bucket: FaultyStore
) -> None:
    truth = curated(films.parent, tmp_path / "disk")
    tar_of(tmp_path / "shard.tar", {path.name: path.read_bytes() for path in films.iterdir()})
    store_for("gs://bucket").upload("gs://bucket/in/shard.tar", tmp_path / "shard.tar")
    bucket.spoiled = now_and_then(3, 0.1)
    assert curated("gs://bucket/in/shard.tar", tmp_path / "out") == truth
    assert curated("gs://bucket/in/*.tar", tmp_path / "glob") == truth
    assert curated("gs://bucket/in", tmp_path / "asked", archives=True) == truth


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_archives_on_s3_give_the_same(
    films: Path, tmp_path: Path, s3: str, pack: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    truth = curated(films.parent, tmp_path / "disk")
    contents = {path.name: path.read_bytes() for path in films.iterdir()}
    packed = pack(tmp_path / "shard.tar", contents).rename(tmp_path / f"shard.{pack.__name__[:3]}")
    store_for(s3).upload(f"{s3}/in/{packed.name}", packed)
    found = curated(f"{s3}/in", tmp_path / "out", archives=True)
    assert _clips(found) == _clips(curated(packed, tmp_path / "here"))
    assert len(_clips(found)) == len(_clips(truth))
    if pack is tar_of:  # a folder of this name was the truth's
        assert found == truth


def test_an_archive_on_s3_that_is_away_is_no_failure_and_costs_no_member(
    films: Path, tmp_path: Path, seaweed_server: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_shorter(monkeypatch)
    tar_of(tmp_path / "shard.tar", {path.name: path.read_bytes() for path in films.iterdir()})
    with on_s3(seaweed_server) as place, reached(place):
        uri = f"{place.root}/in/shard.tar"
        store_for(uri).upload(uri, tmp_path / "shard.tar")
        away = once(Fault.BUSY, when=lambda asked: "shard.tar" in asked.path, times=10**6)
        with place.proxy.spoiling(away), pytest.raises(OSError, match="503") as error:
            curated(uri, tmp_path / "out")
        assert retry.away(error.value).startswith(f"{uri} was still busy")
        assert not list((tmp_path / "out").glob("failures/*"))
        assert len(_clips(curated(uri, tmp_path / "out"))) == 4


@pytest.mark.slow
def test_copies_of_a_killed_run_are_swept_by_the_next(large: Path, tmp_path: Path) -> None:
    with serving(large, ranges=False) as server:
        words = [sys.executable, "-m", "finecut.pipeline.cli.command", "curate", "--quiet"]
        words += ["--input", f"{server.address}/a.mov", "--output", str(tmp_path / "out")]
        words += ["--allow-private", "--no-report"]
        with subprocess.Popen(words) as process:
            _wait_for_copy(process)
            process.send_signal(signal.SIGKILL)
        assert left() != []
        curated(large / "c.mp4", tmp_path / "other", no_isolation=False)
        assert left() == []
        assert subprocess.run(words, check=True, timeout=300).returncode == 0
    assert left() == []


def _wait_for_copy(process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        if any("." not in Path(path).name for path in left()):
            return
    raise AssertionError("it ended before it had a copy")
