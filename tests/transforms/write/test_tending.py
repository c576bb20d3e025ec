"""What dead runs left is swept by streams, and nothing that a living run uses."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.counted import bucket_in, objects_in
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.remains import LONG_AGO
from finecut.io.storage.staging import alive, sweep_dead
from finecut.transforms.beam.weather import Weather
from finecut.transforms.write.tending import AT_WORK, EVERY, tend
from finecut.transforms.write.writing import Writing

#: More than are removed together.
STAGED = 1_100


def staged_by(root: str, run: str) -> str:
    return f"{root}/.staging/{run}"


def stage(folder: Path, number: int = 1, old: bool = True) -> None:
    """Clips in the staging folder of a run, of long ago or of now."""
    when = time.time() - (LONG_AGO + 60 if old else 60)
    for each in range(number):
        path = folder / f"{each}" / "clip.mp4"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"clip")
        os.utime(path, (when, when))
        os.utime(path.parent, (when, when))
    os.utime(folder, (when, when))


def there(root: Path) -> set[str]:
    return {path.name for path in (root / ".staging").iterdir() if any(path.rglob("*.mp4"))}


def writing(root: str, *, streams: bool = False, cluster: bool = False) -> Writing:
    return Writing(
        Layout(root),
        Shelf(root, staged_by(root, "own")),
        patience=3600.0 if streams else None,
        weather=Weather(retries=cluster),
    )


@pytest.fixture(params=["disk", "store"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """An output, and the folder in which its files really lie."""
    if request.param == "disk":
        return str(tmp_path), tmp_path
    return f"{bucket_in(tmp_path)}/out", objects_in(tmp_path) / "out"


def test_a_stream_sweeps_what_dead_runs_left_and_no_other(output: tuple[str, Path]) -> None:
    root, place = output
    stage(place / ".staging/dead", STAGED)
    stage(place / ".staging/own", old=True)
    stage(place / ".staging/young", old=False)
    # One that staged nothing for long, and has said since that it lives.
    stage(place / ".staging/patient", old=True)
    stream = writing(root, streams=True)
    stream.shelf.write(f"{staged_by(root, 'patient')}/{AT_WORK}", b"")
    tend(stream)
    assert there(place) == {"own", "young", "patient"}


def test_it_looks_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = writing(str(tmp_path), streams=True)
    tend(stream)
    stage(tmp_path / ".staging/dead")
    tend(stream)
    assert "dead" in there(tmp_path)
    later = time.time() + EVERY
    monkeypatch.setattr("time.time", lambda: later)
    tend(stream)
    assert not there(tmp_path)


def test_a_batch_says_that_it_lives_when_it_has_lasted_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, mark = writing(str(tmp_path), cluster=True), tmp_path / ".staging/own" / AT_WORK
    tend(batch)
    assert not mark.exists()
    later = time.time() + EVERY
    monkeypatch.setattr("time.time", lambda: later)
    tend(batch)
    assert mark.exists()


def test_one_on_this_machine_has_its_lock_and_needs_no_more(tmp_path: Path) -> None:
    with alive(Shelf(str(tmp_path), staged_by(str(tmp_path), "own")), "c"):
        tend(writing(str(tmp_path)))
        assert {path.name for path in (tmp_path / ".staging/own").iterdir()} == {"alive"}


def test_what_is_written_while_a_store_is_swept_stays(tmp_path: Path) -> None:
    """Only objects of long ago go, and of a run of which one is young none."""
    root, place = f"{bucket_in(tmp_path)}/out", objects_in(tmp_path) / "out"
    stage(place / ".staging/half", 3)
    shelf_of_half = Shelf(root, staged_by(root, "half"))
    shelf_of_half.write(f"{shelf_of_half.staging}/new/clip.mp4", b"clip")
    assert sweep_dead(Shelf(root, staged_by(root, "other"))) == []
    assert len([*shelf.files_below(shelf_of_half.staging)]) == 4
