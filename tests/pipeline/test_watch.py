"""A run that watches: a process that videos come to, are replaced in and go from; what it says,
what it remembers, and how it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon, drop, until
from faults import differences, staged, tree
from faulty_store import FaultyStore
from small_disk import NoDisk, remount, small_disk

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.process import children
from finecut.io.records import Source
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import alive
from finecut.io.summary import Summary
from finecut.pipeline.at_work import occupying, shelf_in
from finecut.pipeline.cli import stopping
from finecut.pipeline.one_pipeline import Batch
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import plan
from finecut.pipeline.running import Ran, run
from finecut.pipeline.watch.turns import BATCH_FOR_EACH, Watching, Work, watch_key
from finecut.transforms.forget.tombstones import Forgotten, facts_of, write_forgotten
from finecut.transforms.resume.leftovers import forget_folders, leftovers

SMALL: dict[str, Any] = {"width": 64, "height": 36, "rate": 10}


def moving(seed: int) -> list[Scene]:
    return [Scene(seed, velocity=(60.0, 40.0), pan=40.0)]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small films of three clips and of two, and half of one."""
    folder = tmp_path_factory.mktemp("films")
    for number, seconds in ((1, 1.5), (2, 1.0)):
        paint(folder / f"{number}.mp4", scenes=moving(number), seconds=seconds, **SMALL)
    (folder / "half.mp4").write_bytes((folder / "1.mp4").read_bytes()[:2000])
    return folder


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def document(output: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / f"processed_videos/{name}.json").read_text())
    return found


def test_a_process_that_videos_come_to(films: Path, inputs: Path, tmp_path: Path) -> None:
    """Dropped, growing, empty, broken, replaced, renamed and removed; another one is refused."""
    output = tmp_path / "out"
    previews = ("--generate-previews", "--preview-target-height", "36")
    with Daemon(inputs, output, *previews) as daemon:
        daemon.until_said(f"watching   {inputs}: 0 videos are there", "waiting    for new videos")
        # What grows is not taken, however much of it is there.
        growing = (inputs / "growing.mp4").open("wb")
        growing.write((films / "1.mp4").read_bytes()[:1000])
        growing.flush()
        (inputs / "empty.mp4").touch()
        (inputs / "a.mp4.part").write_bytes(b"x")
        shutil.copy2(films / "half.mp4", inputs / "broken.mp4")
        drop(films / "1.mp4", inputs / "a.mp4")
        stop = threading.Event()
        data = (films / "1.mp4").read_bytes()

        def grow() -> None:
            for place in range(1000, len(data)):
                growing.write(data[place : place + 1])
                growing.flush()
                if stop.wait(0.05):
                    growing.write(data[place + 1 :])
                    break
            growing.close()

        writer = threading.Thread(target=grow)
        writer.start()
        daemon.until_said("failed     broken.mp4: ")
        assert daemon.told("done       a.mp4") == 0, "another program is writing it"
        (inputs / "a.mp4.part").unlink()
        daemon.until_said("done       a.mp4: 3 clips kept, 0 rejected, 1.5 s")
        assert daemon.told("done       growing.mp4") == 0
        stop.set()
        writer.join()
        daemon.until_said("done       growing.mp4: 3 clips kept")
        # Replaced, renamed, removed.
        first = document(output, "a.mp4")
        drop(films / "2.mp4", inputs / "a.mp4")
        (inputs / "growing.mp4").rename(inputs / "renamed.mp4")
        until(lambda: daemon.told("done       a.mp4") == 2, daemon.said)
        daemon.until_said("removed    growing.mp4: the clips stay", "done       renamed.mp4: 3")
        assert document(output, "a.mp4")["source_version"] != first["source_version"]
        # It is asked once whether what fails is whole now: the next time is minutes away.
        drop(films / "2.mp4", inputs / "broken.mp4")
        daemon.until_said("done       broken.mp4: 2 clips kept")
        assert daemon.told("failed     broken.mp4") == 1
        # The same by another process would do each video twice.
        given = Options(
            input=(str(inputs),),
            output=str(output),
            watch=1.0,
            clip_length=0.5,
            min_clip_length=0.5,
            no_generate_embeddings=True,
            generate_previews=True,
            preview_target_height=36,
        )
        with pytest.raises(OptionError, match="already written by a run with --watch and the same"):
            run(given)
        assert daemon.stop() == 0, daemon.said()
    finished = {path.name for path in output.glob("processed_videos/*")}
    assert finished == {f"{name}.mp4.json" for name in ("a", "broken", "growing", "renamed")}
    assert daemon.errors == []
    # Of a video that became shorter, nothing is left of the clip that is no more.
    clips = {path.stem for path in output.glob("clips/*")}
    assert {path.parent.name for path in output.glob("previews/*/*")} == clips
    assert {path.stem for path in output.glob("metas/v0/*")} == clips
    # What is empty may still grow: the next process knows since when.
    [remembered] = (output / ".finecut/watch").iterdir()
    assert remembered.name == f"{watch_key(given)}.json"
    said = json.loads(remembered.read_text())
    assert [*said["growing"]] == [f"{inputs}/empty.mp4"]
    assert said["failed"] == {}
    [summary] = output.glob("runs/*/summary.json")
    counts = json.loads(summary.read_text())
    assert counts["balanced"]
    assert [counts["videos"][name] for name in ("found", "done", "failed")] == [6, 5, 1]
    assert staged(output) == []


# ── from turn to turn ────────────────────────────────────────────────────────────────────────────


class Curating:
    """What a test does with batches, and what was done."""

    def __init__(self, *outcomes: Callable[[], Batch]) -> None:
        self.outcomes = [*outcomes]
        self.batches: list[list[str]] = []
        self.kept = 0
        self.pages = 0

    def curate(self, sources: Sequence[Source]) -> Batch:
        self.batches.append([source.relative for source in sources])
        if self.outcomes:
            return self.outcomes.pop(0)()
        return Batch(Summary(videos_found=len(sources)), ())

    def keep(self, _summary: Summary, _seconds: float) -> None:
        self.kept += 1

    def report(self) -> None:
        self.pages += 1

    def watching(self, inputs: Path, output: Path, **more: Any) -> Watching:
        options = Options(
            input=(str(inputs),), output=str(output), watch=0.001, workers=1, **more
        ).check()
        return Watching(options, plan(options), Work(self.curate, self.keep, self.report))


def turned(watching: Watching, holds: Callable[[], object] = lambda: False) -> None:
    """Turn after turn, until this holds."""

    def turn() -> object:
        watching.turn()
        return holds()

    until(turn)


def full() -> Batch:
    raise OSError(28, os.strerror(28), "/out/clips/x.mp4")


def away() -> Batch:
    raise TimeoutError("the store is away")


def test_a_batch_is_not_too_large_and_a_page_is_made_when_all_is_done(
    inputs: Path, tmp_path: Path
) -> None:
    for number in range(2 * BATCH_FOR_EACH + 1):
        (inputs / f"{number}.mp4").write_bytes(b"x")
        os.utime(inputs / f"{number}.mp4", (100 - number, 100 - number))
    did = Curating()
    watching = did.watching(inputs, tmp_path / "out")
    turned(watching, lambda: did.pages)
    names = [f"{number}.mp4" for number in range(2 * BATCH_FOR_EACH, -1, -1)]
    assert did.batches == [names[:4], names[4:8], names[8:]]
    assert (did.kept, did.pages) == (3, 1)
    for _ in range(3):
        watching.turn()
    assert (len(did.batches), did.pages) == (3, 1)


@pytest.mark.parametrize(
    ("trouble", "words"), [(full, "Make room there"), (away, "the store does not answer")]
)
def test_what_could_not_be_written_is_tried_again_and_is_no_fault_of_the_videos(
    trouble: Callable[[], Batch],
    words: str,
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (inputs / "a.mp4").write_bytes(b"x")
    did = Curating(trouble, trouble)
    watching = did.watching(inputs, tmp_path / "out")
    turned(watching, lambda: did.kept)
    assert did.batches == [["a.mp4"]] * 3
    said = capsys.readouterr()
    assert said.err.count(words) == 2
    assert said.err.count("finecut tries again in") == 2
    assert "done       a.mp4" in said.out
    assert not (tmp_path / "out/failures").exists()


def test_what_was_taken_back_is_skipped(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("short.mp4", "gone.mp4"):
        (inputs / name).write_bytes(b"x")
        os.utime(inputs / name, (1, 1))
    watching = Curating().watching(inputs, tmp_path / "out")
    writing, gone = watching.steps.writing, f"{inputs}/gone.mp4"
    forgotten = Forgotten("salt")
    stone = forgotten.stone(facts_of([gone], "gone.mp4"))
    write_forgotten(Forgotten("salt", (stone,)), writing.layout, writing.shelf)
    said: list[str] = []

    def is_done() -> bool:
        said.extend(capsys.readouterr())
        return "done  " in "".join(said)

    turned(watching, is_done)
    assert "skipped    gone.mp4: forgotten" in "".join(said)
    assert "done       short.mp4: nothing in it" in "".join(said)


def test_a_defect_is_not_waited_for(inputs: Path, tmp_path: Path) -> None:
    def broken() -> Batch:
        raise RuntimeError("a defect")

    (inputs / "a.mp4").write_bytes(b"x")
    watching = Curating(broken).watching(inputs, tmp_path / "out")
    with pytest.raises(RuntimeError, match="a defect"):
        turned(watching)


def test_a_folder_that_goes_and_comes_back(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inputs / "a.mp4").write_bytes(b"x")
    did = Curating()
    watching = did.watching(inputs, tmp_path / "out")
    turned(watching, lambda: did.batches)
    inputs.rename(tmp_path / "away")
    for _ in range(5):
        watching.turn()
    inputs.mkdir()  # as a place where a disk is mounted
    for _ in range(5):
        watching.turn()
    inputs.rmdir()
    (tmp_path / "away").rename(inputs)
    (inputs / "b.mp4").write_bytes(b"x")
    turned(watching, lambda: len(did.batches) > 1)
    assert did.batches == [["a.mp4"], ["b.mp4"]]
    said = capsys.readouterr()
    assert said.err.count("cannot be looked at (No such file or directory)") == 1
    assert said.err.count("nothing is left in") == 1
    assert said.err.count("can be looked at again") == 1
    assert "removed" not in said.out
    assert said.out.count("waiting    ") <= 4


def test_folders_that_a_run_made_itself_are_known_in_its_next_batch(tmp_path: Path) -> None:
    """Else what it wrote of a clip that is no more would stay."""
    writing = plan(Options(input=("in",), output=str(tmp_path))).writing
    clip = "ce2f3d69-8b98-57fe-98fe-70d008e354f3"
    leftovers(clip, writing)
    preview = tmp_path / f"previews/{clip}/0_9.webp"
    preview.parent.mkdir(parents=True)
    preview.touch()
    assert str(preview) not in leftovers(clip, writing)
    forget_folders()
    assert str(preview) in leftovers(clip, writing)


def test_a_share_of_the_videos(inputs: Path, tmp_path: Path) -> None:
    for name in "abcdefgh":
        (inputs / f"{name}.mp4").write_bytes(b"x")
    found: list[str] = []
    for part in ("1/2", "2/2"):
        did = Curating()
        watching = did.watching(inputs, tmp_path / "out", part=part)
        turned(watching, lambda did=did: did.pages)  # type: ignore[misc]
        found += chain.from_iterable(did.batches)
        assert found
    assert sorted(found) == [f"{name}.mp4" for name in "abcdefgh"]
    keys = {watch_key(Options(input=("x",), part=part)) for part in (None, "1/2", "2/2", "1/1")}
    assert len(keys) == 3


# ── alone, asked to end, and contradictions ──────────────────────────────────────────────────────


def test_a_run_that_ends_works_beside_one_that_watches(tmp_path: Path) -> None:
    own, other = (shelf_in(str(tmp_path)) for _ in range(2))
    with occupying(own, "--output", ends_with_us=True, configuration="a", watches="x"):
        for watches in ("", "y"):
            with occupying(
                other, "--output", ends_with_us=True, configuration="a", watches=watches
            ):
                pass
        refused = pytest.raises(OptionError, match="stop that one first, or give each")
        with (
            refused,
            occupying(other, "--output", ends_with_us=True, configuration="a", watches="x"),
        ):
            pass


def test_the_mark_of_an_older_finecut_is_read(tmp_path: Path) -> None:
    own, other = (shelf_in(str(tmp_path)) for _ in range(2))
    with alive(own, "a"):
        mark = Path(own.staging) / "alive"
        said = json.loads(mark.read_text())
        del said["watches"]
        mark.write_text(json.dumps(said))
        with occupying(other, "--output", ends_with_us=True, configuration="a", watches="x"):
            pass


def test_the_first_signal_asks_and_the_second_one_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, stopped = threading.Event(), threading.Event()
    monkeypatch.setattr(stopping, "_stop", lambda number: stopped.set())
    monkeypatch.setattr(stopping, "_STOPPING", stopped)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with stopping.stopping(), stopping.asked_to_end(asked.set):
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.wait(30)
        assert not stopped.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped.wait(30)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"gpus": "0,1"}, "start one for each GPU"),
        ({"video_limit": 3}, "--video-limit does nothing with --watch"),
        ({"overwrite": True}, "run it once without --watch"),
        ({"dry_run": True}, "--dry-run tries options"),
        ({"keep": ("source.license=CC0",)}, "rules on source.… do not go with --watch"),
        ({"source_metadata": True}, "--source-metadata and rules"),
        ({"profile": True}, "--profile is written at the end"),
        (
            {"subscription": "projects/p/subscriptions/s", "runner": "DataflowRunner"},
            "--watch looks for new videos, and --subscription is told of them",
        ),
        ({"watch": 0.0}, "--watch 0 is not valid"),
        ({"watch": 1e9}, "--watch 1e+09 is too large"),
    ],
)
def test_what_does_not_go_with_watching(more: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"input": ("gs://b/films",), "output": "out", "watch": 30.0, **more}
    with pytest.raises(OptionError) as refused:
        Options(**given).check()
    assert words in str(refused.value)


# ── slow: disks, terminals ───────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_a_full_disk_is_waited_for(films: Path, inputs: Path, tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", 96 * 1024) as disk:
            output = disk / "out"
            for number in range(8):
                shutil.copy(films / f"{1 + number % 2}.mp4", inputs / f"{number}.mp4")
            with Daemon(inputs, output) as daemon:
                daemon.until_said("Make room there; finecut tries again in")
                assert daemon.process.poll() is None
                assert not list(output.glob("failures/*"))
                remount(disk, "size=64m")
                until(lambda: len(list(output.glob("processed_videos/*"))) == 8, daemon.said)
                daemon.until_said("waiting    for new videos")
                assert daemon.stop(signal.SIGINT) == 0, daemon.said()
            batch = tmp_path / "batch"
            run(
                Options(
                    input=(str(inputs),),
                    output=str(batch),
                    clip_length=0.5,
                    min_clip_length=0.5,
                    no_generate_embeddings=True,
                )
            )
            assert differences(tree(output), tree(batch)) == []
    except NoDisk as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True])
def test_it_ends_after_what_it_has_begun_and_at_once_if_asked_again(
    twice: bool, inputs: Path, tmp_path: Path
) -> None:
    paint(inputs / "long.mp4", width=320, height=180, rate=15, seconds=60)
    output = tmp_path / "out"
    with Daemon(inputs, output, "--preset", "placebo", "--clip-length", "5") as daemon:
        until(lambda: list((output / "clips").glob("*.mp4")), daemon.said)
        daemon.process.send_signal(signal.SIGINT)
        daemon.until_said("Ctrl-C again stops it at once")
        if twice:
            assert daemon.stop(signal.SIGINT) == 130
            assert "finecut: stopped." in "\n".join(daemon.errors)
        else:
            assert daemon.process.wait(120) == 0
            daemon.until_said("done       long.mp4: 12 clips kept")
    assert (output / "processed_videos/long.mp4.json").exists() is not twice
    assert staged(output) == []


@pytest.mark.slow
def test_a_bucket_is_looked_at_with_one_request(
    films: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Objects are taken at once, and again when they are replaced; it is what one run writes."""
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    children.kill_all()  # they take the environment over from the process that starts them
    own = Shelf("gs://bucket/out", "gs://bucket/out/.staging/test")
    usual: dict[str, Any] = {
        "input": ("gs://bucket/films",),
        "workers": 1,
        "no_generate_embeddings": True,
        "clip_length": 0.5,
        "min_clip_length": 0.5,
        "named_as": "/films",
    }
    said = ""

    def has_said(text: str, times: int = 1) -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return said.count(text) >= times

    def put(film: str, name: str) -> None:
        own.write(f"gs://bucket/films/{name}", (films / film).read_bytes())

    try:
        put("1.mp4", "a.mp4")
        put("1.mp4", "deep/b.mp4")
        ran: list[Ran] = []
        watched = Options(output="gs://bucket/out", watch=0.2, **usual)
        runner = threading.Thread(target=lambda: ran.append(run(watched)), daemon=True)
        runner.start()
        until(lambda: has_said("done       deep/b.mp4: 3 clips kept"))
        put("2.mp4", "a.mp4")
        put("2.mp4", "c.mp4")
        until(lambda: has_said("done       a.mp4: 2 clips kept"))
        until(lambda: has_said("waiting    ", 2))
        store.asked.clear()
        until(lambda: len(store.asked) >= 5)
        assert {(method, "prefix=films" in path) for method, path, *_ in store.asked} == {
            ("GET", True)
        }
        stopping._ask()
        runner.join(60)
        [did] = ran
        assert did.summary.videos_done == 4
        run(Options(output="gs://bucket/batch", **usual))
        assert objects("gs://bucket/out") == objects("gs://bucket/batch")
    finally:
        stopping._ask()
        store.close()
        children.kill_all()


def objects(root: str) -> dict[str, bytes]:
    paths = (path[len(root) + 1 :] for path in shelf.files_below(root))
    names = [path for path in paths if not path.startswith(("runs/", ".staging/"))]
    return {name: shelf.read(f"{root}/{name}").replace(root.encode(), b"OUT") for name in names}
