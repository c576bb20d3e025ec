"""What a killed command leaves, the next one sweeps: in outputs, and on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from curated import Curated, curated, say
from faults import Runs, staged

from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import alive, sweep_dead, sweep_temporary, temporary_folder

#: Says where it works, and stays there until it is killed.
WORKS = """
import sys
from finecut.io.storage.staging import temporary_folder
with temporary_folder() as folder:
    open(f"{folder}/half", "w").close()
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def at_work(temporary: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    try:
        yield Path(process.stdout.readline().strip()), process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


# ── temporary folders ────────────────────────────────────────────────────────────────────────────


def test_the_folder_of_a_killed_process_is_swept_and_that_of_another_is_not(
    temporary: Path,
) -> None:
    with at_work(temporary) as (kept, _), at_work(temporary) as (left, killed):
        assert (kept / "half").exists()
        killed.kill()
        killed.wait()
        assert (left / "half").exists()
        with temporary_folder() as own:
            assert not left.parent.exists()
            assert (kept / "half").exists()
            assert Path(own).is_dir()
        assert not Path(own).parent.exists()
    sweep_temporary()
    [common] = temporary.iterdir()
    assert [path.name for path in common.iterdir()] == ["keep"]
    assert common.stat().st_mode & 0o777 == 0o700


def test_what_others_called_alike_is_left_alone(temporary: Path) -> None:
    """Only what lies in the folder of our own is looked at."""
    others = temporary / "finecut-abc"
    others.mkdir()
    (others / "alive").touch()
    with temporary_folder():
        pass
    assert (others / "alive").exists()


def test_a_common_folder_of_somebody_else_is_refused(temporary: Path, tmp_path: Path) -> None:
    planted = temporary / f"finecut-work-{os.getuid()}"
    planted.symlink_to(tmp_path)
    said = "set TMPDIR to another folder for temporary files"
    with pytest.raises(PermissionError, match=said), temporary_folder():
        pass
    sweep_temporary()  # trouble with that is nobody's


def test_a_folder_that_is_being_swept_is_not_taken(tmp_path: Path) -> None:
    """Who has made its mark and not locked it yet finds that out."""
    staging = tmp_path / ".staging"
    seen: list[bool] = []

    own, dead = Shelf(str(tmp_path), f"{staging}/own"), staging / "dead"
    dead.mkdir(parents=True)
    (dead / "alive").write_text("")
    os.utime(dead / "alive", (0, 0))  # long ago, and nobody has said since who it is
    before = Shelf.sweep

    def sweep(shelf: Shelf) -> None:
        if shelf.staging == str(dead):
            code = (
                "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
            )
            tried = subprocess.run(
                [sys.executable, "-c", code, dead / "alive"], capture_output=True, check=False
            )
            seen.append(tried.returncode != 0)
        before(shelf)

    with pytest.MonkeyPatch.context() as patch, alive(own, "test"):
        patch.setattr(Shelf, "sweep", sweep)
        sweep_dead(own)
    assert seen == [True]
    assert not dead.exists()


def test_a_staging_folder_that_need_not_be_ours_is_swept_of_what_is_ours_alone(
    tmp_path: Path,
) -> None:
    """A report is written into any folder, and somebody else may call one so."""
    own = Shelf(str(tmp_path), f"{tmp_path}/.staging/own")
    foreign, dead = tmp_path / ".staging/release", tmp_path / ".staging/dead"
    for folder in (foreign, dead):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    (dead / "alive").touch()
    later = time.time() + 8 * 86400
    assert sweep_dead(own, now=later, only_marked=True) == []
    assert (foreign / "file").exists()
    assert not dead.exists()


# ── commands ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    return curated(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with Runs(tmp_path_factory.mktemp("runs") / "log.json") as server:
        yield server


def data_of_no_page(root: Path) -> list[str]:
    """Data beside a page that the page does not name."""
    page = (root / "report/index.html").read_text(encoding="utf-8")
    return [path.name for path in (root / "report/data").iterdir() if path.name not in page]


def curate_again(root: Path) -> dict[str, Any]:
    """The options of :func:`curated`: nothing is left to do."""
    video = json.loads((root / "processed_videos/long.mp4.json").read_bytes())["video"]
    return {
        "input": (str(Path(video).parent),),
        "output": str(root),
        "clip_length": 1.0,
        "min_clip_length": 1.0,
        "chunk_seconds": 2,
        "keep": ("motion>0.005",),
        "generate_previews": True,
        "workers": 2,
    }


#: What each command is told to do to a dataset.
COMMANDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "report": lambda root: {"dataset": str(root), "quiet": True},
    "curate": curate_again,
    "refilter": lambda root: {"dataset": str(root), "quiet": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_killed_report_left_is_swept_by_the_next_command(
    dataset: Curated, runs: Runs, command: str, tmp_path: Path
) -> None:
    root = dataset.root
    # So that the page has other data than the last one.
    say(root, dataset.kept()[0], scores={"beauty": list(COMMANDS).index(command) / 10})
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    points = runs.ask("report", COMMANDS["report"](copy), copy)
    page = max(place for place, point in enumerate(points, 1) if point.startswith("rename"))
    assert runs.ask("report", COMMANDS["report"](root), root, kill_at=page) == []
    assert staged(root)
    assert data_of_no_page(root)
    runs.ask(command, COMMANDS[command](root), root)
    assert staged(root) == []
    if command != "refilter":  # which makes a page only where it changed something
        assert data_of_no_page(root) == []


@pytest.mark.slow
def test_what_pictures_said_of_other_tables_is_not_believed(dataset: Curated, runs: Runs) -> None:
    """Also where vectors alone decided in between, of tables that are the same again."""
    lists = dataset.root / "dedup"
    told = {"dataset": str(dataset.root), "eps": 0.5, "quiet": True, "workers": 1}
    runs.ask("dedup", told, lists)
    assert (lists / "likeness.parquet").exists()
    runs.ask("dedup", {**told, "no_confirm": True}, lists)
    assert not (lists / "likeness.parquet").exists()  # what was killed leaves no more than others
    runs.ask("dedup", told, lists)
    for table in (dataset.root / "efficientnet-lite0_embd_parquet").rglob("*.parquet"):
        table.write_bytes(table.read_bytes())  # another version
    runs.ask("dedup", {**told, "no_confirm": True}, lists)
    assert not (lists / "likeness.parquet").exists()
