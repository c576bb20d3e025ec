"""A run that watches and is killed again and again, while videos are dropped and written slowly: at
the end each is done once, and everything is what one run writes of the same folder.
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import Daemon, drop, until
from faults import differences, staged, tree
from performing import verify

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

FILMS, KILLS = 200, 20
#: Different contents, each dropped several times.
PAINTED = 20
#: A slow film is written in so many pieces, and so many films are written at the same time.
PIECES, WRITERS = 6, 4
#: Names that do not depend on where a test is run.
ROOT = "/films"


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("painted")
    for number in range(PAINTED):
        scene = Scene(number, velocity=(60.0, 40.0), pan=40.0)
        paint(folder / f"{number:02d}.mp4", scenes=[scene], width=64, height=36, rate=10, seconds=1)
    return sorted(folder.iterdir())


class Dropping:
    """Drops films into a folder from several threads, half of them slowly, as many as wanted."""

    def __init__(self, painted: list[Path], folder: Path, chance: random.Random) -> None:
        self.folder = folder
        names = [f"{number % 7}/{number:03d}.mp4" for number in range(FILMS)]
        chance.shuffle(names)
        self._todo: Iterator[tuple[str, Path]] = iter(
            [(name, painted[number % PAINTED]) for number, name in enumerate(names)]
        )
        self._chances = [random.Random(chance.random()) for _ in range(WRITERS)]
        self._lock, self._wanted, self.slow = threading.Lock(), threading.Semaphore(0), 0
        self.threads = [
            threading.Thread(target=self._work, args=(each,), daemon=True) for each in self._chances
        ]
        for thread in self.threads:
            thread.start()

    def more(self, number: int) -> None:
        """So many more are wanted."""
        self._wanted.release(number)

    def _work(self, chance: random.Random) -> None:
        never = threading.Event()
        while True:
            self._wanted.acquire()
            with self._lock:
                told = next(self._todo, None)
            if told is None:
                return
            name, film = told
            place = self.folder / name
            place.parent.mkdir(exist_ok=True)
            if chance.random() < 0.5:
                drop(film, place)
            else:
                self._write_slowly(film, place, never, chance)
            never.wait(chance.random() * 0.4)

    def _write_slowly(
        self, film: Path, place: Path, never: threading.Event, chance: random.Random
    ) -> None:
        """Piece by piece, and now and then for longer than a file has to be unchanged."""
        data = film.read_bytes()
        with self._lock:
            self.slow += 1
        with place.open("wb") as out:
            for piece in range(PIECES):
                begin, end = (len(data) * (piece + more) // PIECES for more in (0, 1))
                out.write(data[begin:end])
                out.flush()
                never.wait(chance.random() * 0.2)


@pytest.mark.slow
def test_twenty_kills_cost_no_video_and_do_none_twice(painted: list[Path], tmp_path: Path) -> None:
    chance = random.Random(22)
    inputs, output, batch = tmp_path / "in", tmp_path / "out", tmp_path / "batch"
    inputs.mkdir()
    began = time.monotonic()
    dropping = Dropping(painted, inputs, chance)
    done = Counter[str]()
    ends: list[str] = []
    more = ("--named-as", ROOT, "--max-attempts", "0")

    def count(daemon: Daemon) -> None:
        done.update(line.split(":")[0].split()[1] for line in daemon.lines if "done  " in line[:6])

    killed = 0
    while killed < KILLS:
        dropping.more(FILMS // KILLS)
        with Daemon(inputs, output, *more, every=0.5) as daemon:
            # At any moment from the first look on.
            daemon.until_said("watching   ")
            at = time.monotonic() + chance.random() * 4
            until(lambda at=at: time.monotonic() > at)  # type: ignore[misc]
            assert daemon.process.poll() is None, daemon.said()
            assert daemon.stop(signal.SIGKILL) == -signal.SIGKILL
            killed += 1
            count(daemon)
            ends.append(daemon.lines[-1][:60])
    dropping.more(WRITERS)  # which find that there are none
    for thread in dropping.threads:
        thread.join(300)
    with Daemon(inputs, output, *more, every=0.5) as daemon:
        documents = output / "processed_videos"
        until(lambda: len([*documents.rglob("*.json")]) == FILMS, daemon.said, patience=400)
        daemon.until_said("waiting    for new videos")
        assert daemon.stop(signal.SIGTERM) == 0, daemon.said()
        count(daemon)
    seconds = time.monotonic() - began
    given = Options(
        input=(str(inputs),),
        output=str(batch),
        named_as=ROOT,
        clip_length=0.5,
        min_clip_length=0.5,
        no_generate_embeddings=True,
        no_report=True,
    )
    whole = run(given).summary
    assert whole.videos_done == FILMS
    left = {name: data for name, data in tree(output).items() if "watch/" not in name}
    assert differences(left, tree(batch)) == []
    assert staged(output) == []
    found = verify(VerifyOptions(dataset=str(output), quiet=True))
    assert found.findings == (), found.findings
    # Nothing is done twice but what changed after it was taken (a pause while it was written).
    twice = {name for name, number in done.items() if number > 1}
    ran = [json.loads(path.read_text())["videos"] for path in output.glob("runs/*/summary.json")]
    sums = {name: sum(each[name] for each in ran) for name in ("done", "failed", "skipped")}
    print(
        f"\n{killed} kills, {dropping.slow} written slowly, {len(twice)} done twice, "
        f"{sum(done.values())} lines, {sums} in {len(ran)} runs, {seconds:.0f} s; last words: "
        f"{Counter(end[:9] for end in ends)}"
    )
    assert len(twice) <= FILMS // 20, sorted(twice)
    assert sums["done"] <= FILMS + len(twice)
