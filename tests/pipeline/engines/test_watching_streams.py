"""``--watch`` on an engine that streams: Prism, whose rounds are put off by a splittable DoFn."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from faults import differences, staged, tree
from on_prism import needs_prism
from performing import verify
from told import Job, wait_until

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

pytestmark = [needs_prism, pytest.mark.slow]
CHOICES: dict[str, Any] = {
    "clip_length": 1.0,
    "min_clip_length": 0.5,
    "chunk_seconds": 2,
    "generate_previews": True,
    "preview_target_height": 36,
    "no_generate_embeddings": True,
}


class World:
    """A folder that videos come into, and the jobs that watch it."""

    def __init__(self, home: Path) -> None:
        self.home, self.films, self.output = home, home / "films", home / "stream"
        self.films.mkdir()
        self.jobs: list[Job] = []

    def begin(self) -> Job:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in CHOICES.items()]
        words = [word.removesuffix("=True") for word in words]
        given = ["--input", str(self.films), "--output", str(self.output), "--verbose"]
        stream = ["--runner", "prism", "--watch", "1", "--patience", "30"]
        job = Job([*given, *words, *stream], self.home / f"job-{len(self.jobs)}.log")
        self.jobs.append(job)
        return job

    def painted(self, number: int, seconds: float = 0.0) -> Path:
        """A video that looks like no other, not yet where it is found."""
        film = paint(
            self.home / f"painted-{number}.mp4",
            width=64,
            height=36,
            rate=10,
            seconds=seconds or 1 + number % 3,
            scenes=[Scene(number)],
        )
        return Path(film.path)

    def finished(self) -> dict[str, float]:
        """The length of each finished video."""
        documents = self.output.glob("processed_videos/*.json")
        said = [json.loads(path.read_text(encoding="utf-8")) for path in documents]
        return {Path(each["video"]).name: each["duration"] for each in said}

    def times_finished(self) -> Counter[str]:
        said = "".join(job.said() for job in self.jobs)
        return Counter(re.findall(rf"finished {self.films}/(.+?): ", said))


def test_videos_come_while_jobs_are_killed(tmp_path: Path) -> None:
    """Whole, half at first, broken, replaced while at work: each version once at most."""
    world = World(tmp_path)
    chance, names = random.Random(3), [f"{number:02}.mp4" for number in range(12)]
    films = {name: world.painted(number) for number, name in enumerate(names)}
    rows = [names[row::4] for row in range(4)]
    try:
        for kill, row in enumerate(rows[:3]):
            for name in row:
                shutil.copy(films[name], world.films / name)
            job, before = world.begin(), world.finished()
            wait_until(lambda: world.finished() != before, 120, job.said)  # noqa: B023
            if kill < 2:
                job.end(signal.SIGKILL)
        # Half of it lies there for so long that it is taken for complete, as it may be for long.
        for name in rows[3]:
            data = films[name].read_bytes()
            (world.films / name).write_bytes(data[: chance.randrange(len(data))])
        (world.films / "torn.mp4").write_bytes(b"no video at all")
        # A long one is replaced while it is at work.
        shutil.copy(world.painted(50, 30.0), world.films / "long.mp4")
        wait_until(lambda: "split " + str(world.films / "long.mp4") in job.said(), 60, job.said)
        world.painted(51, 2.0).replace(world.films / "long.mp4")
        wait_until(lambda: world.finished().get("long.mp4") == 2.0, 120, job.said)
        assert " lost" in job.said() or "changed while finecut" in job.said()
        for name in rows[3]:
            shutil.copy(films[name], world.films / name)
        wait_until(lambda: world.finished().keys() == {*names, "long.mp4"}, 180, job.said)
        wait_until(lambda: any(world.output.glob("failures/*")), 60, job.said)
        assert job.end(signal.SIGINT) == 130
    finally:
        for job in world.jobs:
            job.process.kill()
    times = world.times_finished()
    assert {name: n for name, n in times.items() if n > 1 + (name == "long.mp4")} == {}
    run(
        Options(
            input=(str(world.films),),
            output=str(tmp_path / "batch"),
            workers=2,
            no_report=True,
            **CHOICES,
        )
    )
    found, expected = tree(world.output), tree(tmp_path / "batch")
    lists = [{name for name in each if name.startswith("failures/")} for each in (found, expected)]
    for each, listed in zip((found, expected), lists, strict=True):
        [line] = [line for name in listed for line in each.pop(name).splitlines()]
        assert json.loads(line)["source"]["relative"] == "torn.mp4"
    assert differences(found, expected) == []
    checked = verify(VerifyOptions(dataset=str(world.output), quiet=True, workers=1))
    assert [str(finding) for finding in checked.wrong] == []
    assert staged(world.output) == []
