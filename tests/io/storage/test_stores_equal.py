"""The same videos, curated on every kind of store: the tree of a local run, object by object.

Each store is a server of its own kind on this machine, and every command is one that somebody
types. Then the same again through a proxy that spoils one request in eight, in every way it knows.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import store_places
from faulty_proxy import ALL, Answer, Fault, Request, no_trouble, once, seeded
from seaweed import Seaweed
from store_places import Place, reached, told
from trees import differences, tree_in

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="servers")]

PLACES: Final = ("s3", "az", "gs")
#: What sources are called, wherever they lie.
NAMED: Final = "films"
FINECUT: Final = [sys.executable, "-m", "finecut.pipeline.cli.command"]
MOVING: Final = Scene(velocity=(60.0, 40.0), pan=40.0)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    (folder / "sub é").mkdir()
    paint(folder / "a.mp4", width=96, height=54, rate=10, seconds=6, scenes=[MOVING], sound="aac")
    paint(folder / "sub é/b [1].mkv", width=96, height=54, rate=10, seconds=4, scenes=[MOVING])
    paint(folder / "sub é/100%25 #1?.mp4", width=96, height=54, rate=8, seconds=4, scenes=[MOVING])
    paint(folder / "still.mp4", width=96, height=54, rate=10, seconds=2)
    (folder / "torn.mp4").write_bytes((folder / "a.mp4").read_bytes()[:2000])
    return folder


def finecut(words: list[str], env: dict[str, str], temporary: Path) -> str:
    """What a command says that ends well, and leaves nothing in its temporary folder."""
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [*FINECUT, *words],
        env=env | {"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    assert [path.name for path in temporary.glob("finecut-*/*")] in ([], ["keep"])
    return done.stdout + done.stderr


def curating(films: str, output: str, *more: str) -> list[str]:
    """Clips, previews, thumbnails, vectors, and a rule that rejects what does not move."""
    given = ["curate", "--input", films, "--output", output, "--named-as", NAMED]
    given += ["--clip-length", "2", "--chunk-seconds", "4", "--keep", "motion>0.005"]
    given += ["--generate-previews", "--preview-target-height", "54", "--generate-thumbnails"]
    return [*given, "--quality-filter", "score-only", "--workers", "2", *more]


@pytest.fixture(scope="module")
def local(films: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    home = tmp_path_factory.mktemp("local")
    output = str(home / "out")
    finecut(curating(str(films), output), dict(os.environ), home / "tmp")
    found = tree_in(output, str(films))
    kinds = {name.split("/")[0] for name in found}
    assert {"clips", "previews", "thumbnails", "metas", "processed_videos", "failures"} <= kinds
    assert {"filtered_clips", "efficientnet-lite0_embd", "efficientnet-lite0_embd_parquet"} <= kinds
    return found


@contextmanager
def place_of(name: str, seaweed_server: Seaweed, films: Path) -> Iterator[Place]:
    """A new bucket with the videos in it."""
    with store_places.named(name, seaweed_server) as place, reached(place):
        own = Shelf(place.root, f"{place.root}/.staging/test")
        for path in films.rglob("*.m*"):
            own.write(f"{place.root}/in/{path.relative_to(films)}", path.read_bytes())
        yield place


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, seaweed_server: Seaweed, films: Path) -> Iterator[Place]:
    with place_of(request.param, seaweed_server, films) as place:
        yield place


def checked(place: Place, output: str, local: dict[str, bytes], temporary: Path) -> None:
    """The tree is the local one, nothing is left over, and whoever reads it is content."""
    written = tree_in(output, f"{place.root}/in")
    assert sorted(written) == sorted(local)
    assert differences(written, local) == []
    assert [path for path in shelf.files_below(place.root) if "/.staging/" in path] == []
    assert place.unfinished() == []
    env = told(place)
    assert "no problems found" in finecut(["verify", output], env, temporary)
    summed = finecut(["summary", output], env, temporary)
    assert "5 found = 4 done + 0 empty + 1 failed" in summed


def test_a_store_holds_what_a_disk_holds(
    place: Place, local: dict[str, bytes], tmp_path: Path
) -> None:
    films, output = f"{place.root}/in", f"{place.root}/out"
    finecut(curating(films, output), told(place), tmp_path / "tmp")
    checked(place, output, local, tmp_path / "tmp")
    again = finecut(curating(films, output), told(place), tmp_path / "tmp")
    assert "0 done + 0 empty + 1 failed + 4 skipped" in again
    assert tree_in(output, films).keys() == local.keys()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_store_in_trouble_holds_the_same(
    place: Place, seed: int, local: dict[str, bytes], tmp_path: Path
) -> None:
    films, output = f"{place.root}/in", f"{place.root}/out"
    with place.proxy.spoiling(seeded(seed, often=0.125)):
        finecut(curating(films, output), told(place), tmp_path / "tmp")
        troubles = place.proxy.troubles()
    assert sum(troubles.values()) >= 16, troubles
    assert len(troubles) >= len(ALL) - 2, troubles
    assert place.proxy.plan is no_trouble
    checked(place, output, local, tmp_path / "tmp")
    with place.proxy.spoiling(seeded(seed + 100, often=0.125)):
        assert "no problems found" in finecut(["verify", output], told(place), tmp_path / "tmp")
        assert place.proxy.troubles()


def test_from_one_store_into_another(
    seaweed_server: Seaweed, films: Path, local: dict[str, bytes], tmp_path: Path
) -> None:
    with (
        place_of("az", seaweed_server, films) as source,
        store_places.s3(seaweed_server) as target,
        reached(source, target),
    ):
        output = f"{target.root}/out"
        finecut(curating(f"{source.root}/in", output), told(source, target), tmp_path / "tmp")
        assert differences(tree_in(output, f"{source.root}/in"), local) == []
        copied = tmp_path / "copied"
        finecut(curating(f"{source.root}/in", str(copied)), told(source), tmp_path / "tmp")
        assert differences(tree_in(str(copied), f"{source.root}/in"), local) == []
        shutil.rmtree(copied)


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_large_files_arrive_whole_whatever_happens(
    kind: str, seed: int, seaweed_server: Seaweed
) -> None:
    """In parts, where stores take parts. Nothing is left of uploads that were begun again."""
    data = random.Random(seed).randbytes(20 << 20)
    with store_places.named(kind, seaweed_server) as place, reached(place):
        own = Shelf(f"{place.root}/out", f"{place.root}/out/.staging/run")
        final = f"{own.root}/shards/large.tar"
        with place.proxy.spoiling(seeded(seed, often=0.2)):
            for _ in range(6):
                with own.bench() as bench:
                    (bench / "large.tar").write_bytes(data)
                    own.publish(own.stage(bench / "large.tar"), final, len(data))
            assert sum(place.proxy.troubles().values()) >= 6
            begun = [one for one in place.proxy.passed if one.begins_upload and one.unheard]
        assert shelf.read(final) == data
        assert [*shelf.files_below(place.root)] == [final]
        # Of an upload whose name was never heard, nobody can be told to give it up.
        assert len(place.unfinished()) <= len(begun)


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.CUT, Fault.TWICE])
def test_an_upload_is_completed_whose_completion_is_not_heard_of(
    fault: Fault, seaweed_server: Seaweed, tmp_path: Path
) -> None:
    (tmp_path / "large.tar").write_bytes(data := random.Random(4).randbytes(20 << 20))
    with store_places.s3(seaweed_server) as place, reached(place):
        own = Shelf(f"{place.root}/out", f"{place.root}/out/.staging/run")
        completes = once(fault, when=lambda request: "uploadId=" in request.target, times=1)

        def plan(request: Request) -> Fault:
            return completes(request) if request.method == "POST" else Fault.NONE

        with place.proxy.spoiling(plan):
            own.publish(own.stage(tmp_path / "large.tar"), f"{own.root}/large.tar", len(data))
            assert place.proxy.troubles() == {fault: 1}
        assert shelf.read(f"{own.root}/large.tar") == data
        assert place.unfinished() == []


def test_an_upload_that_nobody_knows_any_more_is_begun_again(
    seaweed_server: Seaweed, tmp_path: Path
) -> None:
    """So it is on stores that forget an upload as soon as it is complete."""
    (tmp_path / "large.tar").write_bytes(data := random.Random(4).randbytes(20 << 20))
    with store_places.s3(seaweed_server) as place, reached(place):
        forgotten = iter(["lost", "unknown"])

        def completes(request: Request) -> bool:
            return request.method == "POST" and "uploadId=" in request.target

        def answered(request: Request, answer: Answer) -> Answer:
            if completes(request) and next(forgotten, "") == "unknown":
                said = b"<Error><Code>NoSuchUpload</Code></Error>"
                return Answer(404, [("Content-Type", "application/xml")], said)
            return answer

        place.proxy.answered = answered
        with place.proxy.spoiling(once(Fault.LOST, when=completes)):
            own = Shelf(f"{place.root}/out", f"{place.root}/out/.staging/run")
            own.publish(own.stage(tmp_path / "large.tar"), f"{own.root}/large.tar", len(data))
        assert next(forgotten, "both were said") == "both were said"
        assert shelf.read(f"{own.root}/large.tar") == data
        assert place.unfinished() == []
