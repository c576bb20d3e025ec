"""Notifications for real: Google's own fake Pub/Sub, a bucket, and jobs that are killed.

What a stream makes of them, batch after batch would have made, too: the same files.
"""

from __future__ import annotations

import json
import random
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trees
from faults import differences, staged, tree
from faulty_store import FaultyStore, now_and_then
from performing import verify
from told import SUBSCRIPTION, Bucket, Job, needs_pubsub, notice, pubsub, wait_until

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.process.children import kill_all
from finecut.io.storage.files import exists, files_below, version_of
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

pytestmark = [needs_pubsub, pytest.mark.slow]
FILMS = "gs://bucket/films"
KILLS = 3
CHOICES: dict[str, Any] = {
    "clip_length": 1.0,
    "min_clip_length": 0.5,
    "chunk_seconds": 2,
    "generate_previews": True,
    "preview_target_height": 36,
    "no_generate_embeddings": True,
}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    kill_all()  # children know the store of the test before
    yield store
    store.close()
    kill_all()


class World:
    """A bucket of videos, whoever is told of them, and the jobs that hear of it."""

    def __init__(self, bucket: Bucket, tell: Callable[[dict[str, str]], None], home: Path) -> None:
        self.bucket, self.tell, self.home = bucket, tell, home
        self.output, self.jobs = home / "stream", list[Job]()
        #: How often each was written.
        self.written = Counter[str]()

    def begin(self, *more: str) -> Job:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in CHOICES.items()]
        words = [word.removesuffix("=True") for word in words]
        given = ["--input", FILMS, "--output", str(self.output), "--verbose"]
        stream = ["--runner", "DirectRunner", "--subscription", SUBSCRIPTION, "--patience", "30"]
        job = Job([*given, *words, *stream, *more], self.home / f"job-{len(self.jobs)}.log")
        self.jobs.append(job)
        return job

    def write(self, name: str, data: bytes) -> None:
        self.bucket.write(f"films/{name}", data)
        self.written[name] += 1

    def finished(self) -> dict[str, str]:
        """The version of each finished video."""
        documents = self.output.glob("processed_videos/**/*.json")
        said = [json.loads(path.read_text(encoding="utf-8")) for path in documents]
        return {each["video"].removeprefix(f"{FILMS}/"): each["source_version"] for each in said}

    def failed(self) -> dict[str, Any]:
        """The last failure that is listed of each video."""
        lists = self.output.glob("failures/*.jsonl")
        lines = [line for path in lists for line in path.read_text(encoding="utf-8").splitlines()]
        return {said["source"]["relative"]: said for said in map(json.loads, lines)}

    def times_finished(self) -> Counter[str]:
        """How often a job has said that a video is finished."""
        said = "".join(job.said() for job in self.jobs)
        return Counter(re.findall(rf"finished {FILMS}/(.+?): ", said))


@pytest.fixture
def world(store: FaultyStore, tmp_path: Path) -> Iterator[World]:
    with pubsub() as tell:
        world = World(Bucket(store), tell, tmp_path)
        yield world
        for job in world.jobs:
            job.process.kill()


def painted(home: Path, number: int) -> bytes:
    """A video that looks like no other."""
    film = paint(
        home / f"painted-{number}.mp4",
        width=64,
        height=36,
        rate=10,
        seconds=1 + number % 3,
        scenes=[Scene(number)],
    )
    return Path(film.path).read_bytes()


def compare(world: World, home: Path) -> list[str]:
    """How the output differs from that of a batch: the names of files."""
    run(Options(input=(FILMS,), output=str(home / "batch"), workers=2, no_report=True, **CHOICES))
    found, expected = tree(world.output), tree(home / "batch")
    lists = [{name for name in each if name.startswith("failures/")} for each in (found, expected)]
    for each, names in zip((found, expected), lists, strict=True):
        for name in names:
            each.pop(name)
    return differences(found, expected)


def test_a_stream_into_a_bucket_writes_what_a_batch_writes(
    world: World, store: FaultyStore, tmp_path: Path
) -> None:
    """Also when it is killed after the first video, and some requests are spoiled."""
    output, names = "gs://bucket/stream", ["a.mp4", "sub é/b.mp4", "c.mp4"]

    def finished(several: list[str]) -> bool:
        # (A request of this test may be one that is spoiled; it is tried again, too.)
        return all(exists(f"{output}/processed_videos/{name}.json") for name in several)

    def tell(name: str, number: int) -> None:
        world.write(name, painted(tmp_path, number))
        world.tell(notice(f"films/{name}"))

    tell(names[0], 1)
    job = world.begin("--output", output)
    wait_until(lambda: finished(names[:1]), 120, job.said)
    tell(names[1], 2)
    job.end(signal.SIGKILL)
    tell(names[2], 3)
    store.spoiled = now_and_then(5, 0.05)
    job = world.begin("--output", output)
    wait_until(lambda: finished(names), 240, job.said)
    store.spoiled = lambda method, path: ""
    job.end(signal.SIGTERM)
    batch = str(tmp_path / "batch")
    run(Options(input=(FILMS,), output=batch, workers=2, no_report=True, **CHOICES))
    there = [path for path in files_below(output) if "/.staging/" not in path]
    found, expected = trees.tree(there, output), trees.tree_in(batch)
    assert trees.differences(found, expected) == []


def test_thirty_videos_and_three_kills(world: World, tmp_path: Path) -> None:
    """Told of out of order, twice, late; broken, repaired, replaced while at work, gone."""
    chance = random.Random(22)
    films = {f"day {number % 3}/{number:02}.mp4": painted(tmp_path, number) for number in range(30)}
    names = [*films]
    broken, gone = {*names[4::9]}, {names[7]}
    repaired, replaced = {names[13]}, {names[1], names[11], names[20], names[25]}
    for name in broken:
        films[name] = films[name][: len(films[name]) // 3]
    messages = [name for name in names for _ in range(2 if chance.random() < 0.5 else 1)]
    chance.shuffle(messages)
    rows = [messages[row::8] for row in range(8)]

    def write(told: list[str]) -> None:
        for name in {*told} - gone:
            world.write(name, films[name])
        for name in told:
            world.tell(notice(f"films/{name}"))

    def replace(those: set[str]) -> None:
        for name in sorted(those):
            films[name] = painted(tmp_path, 100 + names.index(name))
        write(sorted(those))

    write(rows[0])
    world.tell({"not": "a notification"})
    world.tell(notice("films/notes.txt"))
    for kill in range(KILLS):
        job, before = world.begin(), world.finished()
        write(rows[2 * kill + 1])
        # While they are at work or wait.
        replace({*rows[2 * kill]} & replaced)
        wait_until(lambda: world.finished() != before, 120, job.said)  # noqa: B023
        job.end(signal.SIGKILL)
        write(rows[2 * kill + 2])
        if kill:
            replace(repaired)
    world.begin()
    write(rows[7])
    replace({name for name in replaced if world.written[name] < 2})
    world.tell(notice(f"films/{names[0]}", "OBJECT_DELETE"))

    failing = (broken - repaired) | gone
    versions = {name: version_of(f"{FILMS}/{name}") for name in {*names} - failing}

    def done() -> bool:
        return versions == world.finished() and failing <= world.failed().keys()

    def why() -> str:
        missing = {n: v for n, v in versions.items() if world.finished().get(n) != v}
        return f"{missing}, {world.failed().keys()}\n{world.jobs[-1].said()[-3000:]}"

    wait_until(done, 300, why)
    assert world.jobs[-1].end(signal.SIGINT) == 130

    assert world.failed().keys() == failing
    assert {said["step"] for said in world.failed().values()} == {"probe"}
    times = world.times_finished()
    # Each version once at most, whoever was told of it and however often.
    assert {name: times[name] for name in versions if times[name] > world.written[name]} == {}
    assert compare(world, tmp_path) == []
    assert verified(world) == []
    assert staged(world.output) == []


def test_a_job_that_is_killed_again_and_again_loses_nothing(world: World, tmp_path: Path) -> None:
    """Wherever it is: before it has begun, with messages acknowledged, in the middle of a video."""
    films = {f"{number}.mp4": painted(tmp_path, number) for number in range(6)}
    points = ("listening", "probed", "split", "cut", "cut", "finished")
    for (name, film), point in zip(films.items(), points, strict=True):
        world.write(name, film)
        world.tell(notice(f"films/{name}"))
        job = world.begin()
        wait_until(lambda: re.search(f"^{point} ", job.said(), re.M) is not None, 120, job.said)  # noqa: B023
        job.end(signal.SIGKILL)
    job = world.begin()
    versions = {name: version_of(f"{FILMS}/{name}") for name in films}
    wait_until(lambda: world.finished() == versions, 120, job.said)
    # All may have been finished before; signals are heard when the job has begun.
    wait_until(lambda: re.search(r"^listening ", job.said(), re.M) is not None, 120, job.said)
    assert job.end(signal.SIGTERM) == 143
    assert compare(world, tmp_path) == []
    assert verified(world) == []
    assert staged(world.output) == []


@pytest.mark.parametrize("late", [5])
def test_silence_is_no_accident(store: FaultyStore, tmp_path: Path, late: int) -> None:
    """Four pulls in vain end the pipeline of the direct runner; finecut goes on listening."""
    with pubsub("-late", str(late)) as tell:
        world = World(Bucket(store), tell, tmp_path)
        job = world.begin("--announced-only")
        world.write("there.mp4", painted(tmp_path, 1))
        wait_until(lambda: "listening again" in job.said(), 60, job.said)
        world.write("told.mp4", painted(tmp_path, 2))
        world.tell(notice("films/told.mp4"))
        wait_until(lambda: bool(world.finished()), 60, job.said)
        assert world.finished().keys() == {"told.mp4"}
        assert job.end(signal.SIGINT) == 130


def test_a_subscription_that_is_not_there_is_a_sentence(store: FaultyStore, tmp_path: Path) -> None:
    with pubsub() as tell:
        world = World(Bucket(store), tell, tmp_path)
        job = world.begin("--subscription", "projects/proj-1/subscriptions/other-1")
        assert job.process.wait(60) == 1
    assert "gave up on the stream" in job.said()
    assert "Usually the subscription or the bucket does not exist" in job.said()
    assert staged(world.output) == []


def verified(world: World) -> list[str]:
    found = verify(VerifyOptions(dataset=str(world.output), quiet=True, workers=1))
    return [f"{finding.kind}: {finding}" for finding in found.wrong]
