"""A dataset that is made, cleaned, judged anew and packed, and killed all the way: two hundred
times, by commands whose options are not those of the next one.

A round is the row of commands with one choice of options. Before each command come others that are
killed: the same command with any of the choices, at any of its write points. Then the whole row is
run, killed nowhere (what a refiltering with other rules rejected before it was killed has lost its
vectors, and only curation makes new ones). After that everything is what nobody's kill would have
left, file by file, and ``verify`` finds nothing wrong.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faults import Runs, differences, staged, tree

from finecut.io.media.testfilm.paint import Scene, paint

KILLS = 200
#: As many before each whole command, so that there are some twenty rounds.
IN_A_ROW = 2
#: More rounds than can be needed: some commands are over before they come to the point.
MOST_ROUNDS = 60

TextOutcome = dict[str, Any]


class Choice(NamedTuple):
    """Options of all commands of a round."""

    curate: TextOutcome
    dedup: TextOutcome
    refilter: TextOutcome
    shard: TextOutcome


CHOICES = (
    Choice(
        {"clip_length": 1.0},
        {"eps": 0.05},
        {"keep": ("motion>0.0005",)},
        {"shard_clips": 2},
    ),
    Choice(
        {"clip_length": 1.0, "keep": ("motion>0.005",), "crf": 30},
        {"eps": 0.2, "no_confirm": True},
        {},
        {"shard_clips": 3, "bin_by": ("resolution",)},
    ),
    Choice(
        {"clip_length": 0.5, "chunk_seconds": 1},
        {"eps": 0.1},
        {"keep": ("motion<1",)},
        {"shard_clips": 2, "no_mix": True},
    ),
)
USUAL: TextOutcome = {
    "min_clip_length": 0.5,
    "chunk_seconds": 2,
    "motion_filter": "score-only",
    "generate_previews": True,
    "preview_target_height": 36,
    "preview_target_fps": 2.0,
    # Changes that another process makes are not heard of, and starting one takes seconds.
    "no_isolation": True,
    "workers": 1,
}


class World:
    """A dataset and its shards, and the commands that make them."""

    def __init__(self, films: Path, home: Path, runs: Runs) -> None:
        self.films, self.home, self._runs = films, home, runs
        self.data, self.shards = home / "data", home / "shards"

    def commands(self, choice: Choice) -> dict[str, tuple[TextOutcome, Path]]:
        """Each command in its turn: what it is told, and where it writes."""
        of_data: TextOutcome = {"dataset": str(self.data), "workers": 1, "quiet": True}
        lists = self.data / "dedup"
        return {
            "curate": (
                {
                    **USUAL,
                    "input": (str(self.films),),
                    "output": str(self.data),
                    **choice.curate,
                },
                self.data,
            ),
            "dedup": ({**of_data, **choice.dedup}, lists),
            "refilter": (
                {**of_data, "drop": (str(lists),), "yes": True, **choice.refilter},
                self.data,
            ),
            "shard": ({**of_data, "output": str(self.shards), **choice.shard}, self.shards),
            "report": (of_data, self.data),
        }

    def run(self, command: str, choice: Choice, *kill: Any) -> list[str]:
        told, place = self.commands(choice)[command]
        return self._runs.ask(command, told, place, *kill)

    def verify(self) -> None:
        """Raises where anything is wrong."""
        told = {"dataset": str(self.data), "shards": (str(self.shards),), "no_isolation": True}
        self._runs.ask("verify", {**told, "workers": 1, "quiet": True}, self.home)

    def files(self) -> dict[str, bytes]:
        """All but when the tables of vectors were written."""
        return {
            f"{place.name}/{name}": data
            for place in (self.data, self.shards)
            for name, data in tree(place).items()
            if name != "dedup/state.json"
        }

    def left(self) -> list[str]:
        """What no command may leave: staged files, and data that the page does not name."""
        page = (self.data / "report/index.html").read_text(encoding="utf-8")
        places = (self.data, self.data / "dedup", self.shards)
        return [path for place in places for path in staged(place)] + [
            path.name for path in (self.data / "report/data").iterdir() if path.name not in page
        ]


def kill_all_the_way(
    world: World, kills: int, chance: random.Random
) -> tuple[Counter[str], list[str]]:
    """How many of each command were killed, and what was wrong after any round."""
    undisturbed, points = {}, {}
    for number, choice in enumerate(CHOICES):
        points[number] = {name: len(world.run(name, choice)) for name in world.commands(choice)}
        undisturbed[number] = world.files()
        shutil.rmtree(world.home)
        world.home.mkdir()
    killed, wrong = Counter[str](), []
    for _ in range(MOST_ROUNDS):
        number = chance.randrange(len(CHOICES))
        history = []
        for command in world.commands(CHOICES[number]):
            for _ in range(IN_A_ROW):
                other = chance.randrange(len(CHOICES))
                place = chance.randint(1, points[other][command])
                torn = chance.random() < 0.25
                said = world.run(command, CHOICES[other], place, torn)
                killed[command] += said == []
                history.append(f"{command} {other} at {place}{' torn' * torn}")
            world.run(command, CHOICES[number])
        for command in world.commands(CHOICES[number]):
            world.run(command, CHOICES[number])
        world.verify()
        if found := differences(world.files(), undisturbed[number]) + world.left():
            wrong.append(f"{killed.total()} kills, choice {number}, after {history}: {found}")
        if killed.total() >= kills or len(wrong) > 2:
            break
    return killed, wrong


@pytest.fixture
def world(tmp_path: Path) -> Callable[[Runs], World]:
    """Two films that show the same, one that shows something else, one too short to be cut."""
    films, home = tmp_path / "films", tmp_path / "home"
    films.mkdir()
    home.mkdir()
    size: dict[str, Any] = {"width": 64, "height": 36, "rate": 10}
    panned = Scene(velocity=(60.0, 40.0), pan=40.0)
    paint(films / "a.mp4", seconds=2, scenes=[panned, Scene(3)], cuts=(1,), **size)
    shutil.copy(films / "a.mp4", films / "again.mp4")
    paint(films / "b.mp4", seconds=1, scenes=[Scene(7)], **size)
    paint(films / "short.mp4", seconds=0.3, **size)
    return lambda runs: World(films, home, runs)


@pytest.mark.slow
def test_two_hundred_kills_leave_what_none_would(
    world: Callable[[Runs], World], tmp_path: Path
) -> None:
    with Runs(tmp_path / "log.json") as runs:
        killed, wrong = kill_all_the_way(world(runs), KILLS, random.Random(19))
    assert wrong == []
    assert killed.total() >= KILLS, killed
    assert min(killed[name] for name in ("curate", "dedup", "refilter", "shard", "report")) >= 10


@pytest.mark.slow
def test_the_books_balance_where_a_killed_refiltering_is_finished_by_another(
    world: Callable[[Runs], World], tmp_path: Path
) -> None:
    """Clips have lost their vectors by then, so the other's rules cannot keep them again."""
    with Runs(tmp_path / "log.json") as runs:
        here = world(runs)
        for command in ("curate", "dedup"):
            here.run(command, CHOICES[0])
        shutil.copytree(here.home, tmp_path / "saved")
        points = here.run("refilter", CHOICES[0])
        vectors = [n for n, point in enumerate(points, 1) if "_embd/" in point]
        shutil.rmtree(here.home)
        shutil.copytree(tmp_path / "saved", here.home)
        assert here.run("refilter", CHOICES[0], vectors[0] + 1) == []
        here.run("refilter", CHOICES[2])  # raises if they do not
