"""What happens to a run happens to the run, not to the dataset.

Killed anywhere, repeated, on a full disk or a busy store: in the end the same tree, or failures
that say why, and never half a file under a final name.
"""

from __future__ import annotations

import errno
import itertools
import json
import pickle
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import av
import pyarrow.parquet as pq
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from fake_clock import Clock
from faults import Runs, differences, staged, tree
from faulty_store import FaultyStore, now_and_then
from small_disk import NoDisk, remount, small_disk

from finecut.io.media.testfilm.paint import paint
from finecut.io.records import from_json, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage import publishing
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.stores import ShortRead
from finecut.io.summary import Summary
from finecut.pipeline.curation import curate
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.running import run
from finecut.transforms.find.inputs import Finding, find_sources
from finecut.transforms.find.probe import probe_source

#: How many of the write points the quick test tries; the slow one tries them all.
SAMPLE = 4


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One film of three seconds: three clips, in two chunks."""
    folder = tmp_path_factory.mktemp("films")
    paint(folder / "a.mp4", width=64, height=36, rate=10, seconds=3)
    return folder


def choices(films: Path, **others: Any) -> dict[str, Any]:
    return {
        "input": (str(films),),
        "clip_length": 1.0,
        "min_clip_length": 0.5,
        "chunk_seconds": 2,
        "workers": 1,
        "generate_previews": True,
        "preview_target_height": 36,
        "no_generate_embeddings": True,
        # Changes that another process makes are not heard of, and starting one takes seconds.
        "no_isolation": True,
        **others,
    }


def options_for(films: Path, output: Path, **others: Any) -> Options:
    return Options(output=str(output), **choices(films, **others))


# Killed.


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with Runs(tmp_path_factory.mktemp("runs") / "log.json") as server:
        yield server


def killed_and_done_again(
    runs: Runs,
    films: Path,
    folder: Path,
    kills: Callable[[list[str]], list[tuple[int, bool]]],
    **others: Any,
) -> list[str]:
    """What is wrong after each of these kills and a second run; each is (write point, torn)."""
    options = choices(films, **others)
    points = runs.run(options, folder / "whole")
    whole = tree(folder / "whole")
    assert len(whole) >= 12
    wrong = []
    for kill_at, torn in kills(points):
        output = folder / "output"
        said = runs.run(options, output, kill_at=kill_at, torn=torn)
        runs.run(options, output)
        found = differences(tree(output), whole) + staged(output)
        if found:
            name = points[kill_at - 1] if said == [] and kill_at <= len(points) else "the end"
            wrong.append(f"{kill_at}, about {name}, {'torn' if torn else 'whole'}: {found}")
        shutil.rmtree(output)
    return wrong


def moves(points: list[str]) -> list[int]:
    return [place for place, point in enumerate(points, 1) if point.startswith("rename ")]


@pytest.mark.xdist_group("faults")
def test_a_run_that_is_killed_and_done_again_is_a_run(
    runs: Runs, films: Path, tmp_path: Path
) -> None:
    """At some of the write points, spread over the run."""

    def kills(points: list[str]) -> list[tuple[int, bool]]:
        places = {round(1 + n * (len(points) - 1) / (SAMPLE - 1)) for n in range(SAMPLE)}
        return [(place, False) for place in sorted(places)]

    assert killed_and_done_again(runs, films, tmp_path, kills) == []


@pytest.mark.slow
@pytest.mark.xdist_group("faults")
def test_a_run_may_be_killed_at_any_point(runs: Runs, films: Path, tmp_path: Path) -> None:
    def kills(points: list[str]) -> list[tuple[int, bool]]:
        # Threads take turns in another order each time, so that some runs have a few points more.
        everywhere = [(place, False) for place in range(1, len(points) + 6)]
        return everywhere + [(place, True) for place in moves(points)]

    assert killed_and_done_again(runs, films, tmp_path, kills) == []


@pytest.mark.slow
@pytest.mark.xdist_group("faults")
def test_a_run_that_makes_vectors_may_be_killed(runs: Runs, films: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")

    def kills(points: list[str]) -> list[tuple[int, bool]]:
        return [(place, False) for place in range(4, len(points), 5)]

    wrong = killed_and_done_again(runs, films, tmp_path, kills, no_generate_embeddings=False)
    assert wrong == []


@pytest.mark.slow
@pytest.mark.xdist_group("faults")
def test_a_run_may_be_killed_again_and_again(runs: Runs, films: Path, tmp_path: Path) -> None:
    """The run that continues is killed, too, until one comes through; with children that cut."""
    options, chance = choices(films, no_isolation=False), random.Random(1)
    points = runs.run(options, tmp_path / "whole")
    for _ in range(3):
        output = tmp_path / "output"
        for _ in range(3):
            runs.run(options, output, kill_at=chance.randint(1, len(points)))
        runs.run(options, output)
        assert differences(tree(output), tree(tmp_path / "whole")) == []
        assert staged(output) == []
        shutil.rmtree(output)


@pytest.mark.xdist_group("faults")
@pytest.mark.parametrize(
    ("others", "part"),
    [
        ({"clip_length": 1.5}, 0.8),
        pytest.param(
            {"generate_previews": False, "preview_target_height": 240}, 0.6, marks=pytest.mark.slow
        ),
    ],
    ids=["length", "previews"],
)
def test_nothing_of_a_killed_run_stays_when_the_next_one_wants_otherwise(
    others: dict[str, Any], part: float, runs: Runs, films: Path, tmp_path: Path
) -> None:
    points = runs.run(choices(films), tmp_path / "counted")
    runs.run(choices(films, **others), tmp_path / "whole")
    runs.run(choices(films), tmp_path / "output", kill_at=int(len(points) * part))
    runs.run(choices(films, **others), tmp_path / "output")
    assert differences(tree(tmp_path / "output"), tree(tmp_path / "whole")) == []
    assert staged(tmp_path / "output") == []


# Repeated.


def note(summary: Summary, path: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(to_json(summary) + "\n")


@pytest.mark.slow
def test_bundles_that_are_done_twice_change_neither_tree_nor_books(
    films: Path, tmp_path: Path
) -> None:
    """With vectors, previews, a film that is none, and clips that are rejected."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "films"
    shutil.copytree(films, folder)
    paint(folder / "b.mp4", width=96, height=54, rate=12, seconds=2, cuts=(0.5,))
    (folder / "no.mp4").write_text("This is not a film.\n", encoding="utf-8")

    def books(output: Path, repeat: int, **others: Any) -> Summary:
        options = options_for(folder, output, **{"no_generate_embeddings": False, **others})
        noted = tmp_path / f"{output.name}.jsonl"
        with beam.Pipeline(runner=FnApiRunner(bundle_repeat=repeat)) as pipeline:
            curated = curate(pipeline, options)
            _ = curated.summary | "Note" >> beam.Map(note, str(noted))
        # Repeated, the noting is, too.
        [summary] = {*noted.read_text(encoding="utf-8").splitlines()}
        return from_json(Summary, summary)

    books(tmp_path / "scored", 0, quality_filter="score-only", no_generate_embeddings=True)
    sharp = sorted(
        json.loads(path.read_text())["scores"]["sharpness"]
        for path in (tmp_path / "scored/metas/v0").iterdir()
    )
    rule = f"sharpness>={sharp[len(sharp) // 2]!r}"
    once = books(tmp_path / "once", 0, keep=(rule,))
    assert once.shots_rejected > 0
    assert once.shots_kept > 0
    assert once.videos_failed == 1
    assert books(tmp_path / "twice", 2, keep=(rule,)) == once
    assert differences(tree(tmp_path / "twice"), tree(tmp_path / "once")) == []
    assert staged(tmp_path / "twice") == []


# Disks.


def torn(output: Path) -> list[str]:
    """Files under a final name that are not whole."""
    readers: dict[str, Callable[[Path], object]] = {
        ".mp4": decoded,
        ".webp": counted,
        ".json": lambda path: json.loads(path.read_bytes()),
        ".jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
        ".parquet": pq.read_table,
        ".pickle": lambda path: pickle.loads(path.read_bytes()),
    }
    found = []
    for name in tree(output):
        try:
            readers[Path(name).suffix](output / name)
        except (ValueError, OSError, EOFError, pickle.UnpicklingError) as error:
            found.append(f"{name}: {error}")
    return found


def decoded(path: Path) -> None:
    with av.open(str(path)) as film:
        frames = sum(1 for _ in film.decode(video=0))
    if frames == 0:
        raise ValueError("no frames")


def counted(path: Path) -> None:
    """A WebP says at its beginning how long it is."""
    data = path.read_bytes()
    if data[:4] != b"RIFF" or int.from_bytes(data[4:8], "little") + 8 != len(data):
        raise ValueError("cut off")


def size_of(files: dict[str, bytes], block: int = 4096) -> int:
    return sum(-(-len(data) // block) * block for data in files.values())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", 64 << 20) as folder:
            yield folder
    except NoDisk as error:
        pytest.skip(f"no disk can be mounted here: {error}")


@pytest.mark.parametrize(
    "part",
    [pytest.param(0.3, marks=pytest.mark.slow), 0.6, pytest.param(0.9, marks=pytest.mark.slow)],
)
def test_a_disk_that_fills_up_tears_nothing(
    part: float, films: Path, disk: Path, tmp_path: Path
) -> None:
    others: dict[str, Any] = {"no_generate_embeddings": False}
    pytest.importorskip("onnxruntime")
    run(options_for(films, tmp_path / "whole", **others))
    whole = tree(tmp_path / "whole")
    output = disk / "output"
    remount(disk, f"size={int(size_of(whole) * part) // 4096 * 4096}")
    assert "No space left" in said_of(options_for(films, output, **others))
    assert torn(output) == []
    assert not (output / "processed_videos/a.mp4.json").exists()
    remount(disk, "size=64m")
    assert run(options_for(films, output, **others)).summary.failures == ()
    assert differences(tree(output), whole) == []
    assert staged(output) == []


def said_of(options: Options) -> str:
    """What went wrong with a run: its failures, or why it could not even list them."""
    try:
        failures = run(options).summary.failures
    except (RuntimeError, OSError, OptionError) as error:
        return str(error)
    return "\n".join(map(str, failures))


def test_a_disk_that_becomes_read_only_is_refused_before_the_work(films: Path, disk: Path) -> None:
    remount(disk, "ro")
    with pytest.raises(OptionError, match=r"cannot be written to.*Read-only file system"):
        run(options_for(films, disk / "output"))
    assert not (disk / "output").exists()


def test_a_disk_that_becomes_read_only_in_the_middle_tears_nothing(
    films: Path, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(options_for(films, tmp_path / "whole"))
    publish, published = Shelf.publish, itertools.count(1)

    def until(own: Shelf, *arguments: Any) -> int:
        if next(published) == 3:
            # Not by remounting: that is refused as long as a file is open.
            monkeypatch.setattr(publishing, "_move", read_only)
        return publish(own, *arguments)

    def read_only(part: str, final: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", final)

    output = tmp_path / "output"
    with monkeypatch.context() as patched:
        patched.setattr(Shelf, "publish", until)
        assert "Read-only" in said_of(options_for(films, output))
    monkeypatch.undo()
    assert torn(output) == []
    assert not (output / "processed_videos/a.mp4.json").exists()
    run(options_for(films, output))
    assert differences(tree(output), tree(tmp_path / "whole")) == []


@pytest.mark.parametrize("change", ["vanishes", "is replaced"])
def test_a_film_that_changes_after_it_was_found_fails_alone(
    change: str, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = tmp_path / "films", tmp_path / "output"
    shutil.copytree(films, folder)
    shutil.copy(films / "a.mp4", folder / "b.mp4")
    from finecut.transforms.cut import chunk
    from finecut.transforms.cut import clips as cut

    honest = chunk.cut_telling

    def meddled(given: Any, cutting: Any) -> Any:
        film = Path(given.video.source.uri)
        if film.name == "b.mp4":
            if change == "vanishes":
                film.unlink(missing_ok=True)
            else:
                film.write_bytes(b"another file altogether")
        return honest(given, cutting)

    monkeypatch.setattr(cut, "cut_telling", meddled)
    summary = run(options_for(folder, output)).summary
    assert summary.imbalances() == []
    assert (summary.videos_done, summary.videos_failed) == (1, 1)
    assert {failure.source.relative for failure in summary.failures} == {"b.mp4"}
    assert torn(output) == []
    assert not (output / "processed_videos/b.mp4.json").exists()
    assert (output / "processed_videos/a.mp4.json").exists()


def test_an_output_that_is_a_file_is_refused_before_the_work(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.write_text("mine\n", encoding="utf-8")
    with pytest.raises(OptionError, match="cannot be written to"):
        run(options_for(films, output))
    assert output.read_text(encoding="utf-8") == "mine\n"


# Stores.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Nobody waits."""
    clock = Clock()
    monkeypatch.setattr(shelf, "retried", clock.retried)
    return clock


@pytest.fixture
def store(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    yield store
    store.close()


ROOT = "gs://bucket/out"
#: More than Google's library reads or writes at once.
LARGE = random.Random(1).randbytes((16 << 20) + 100_000)


def on_the_store() -> Shelf:
    return Shelf(ROOT, f"{ROOT}/.staging/run")


@pytest.mark.parametrize("seed", range(3))
def test_a_store_in_trouble_now_and_then_does_everything(
    seed: int, store: FaultyStore, clock: Clock
) -> None:
    store.spoiled = now_and_then(seed, often=0.3)
    own = on_the_store()
    own.prepare()
    for version in (b"first", b"", b"second"):
        own.write(f"{ROOT}/metas/x.json", version)
        assert shelf.read(f"{ROOT}/metas/x.json") == version
    assert shelf.size_of(f"{ROOT}/metas/x.json") == 6
    assert shelf.version_of(f"{ROOT}/metas/x.json").startswith("6 ")
    with own.bench() as bench:
        (bench / "a.mp4").write_bytes(LARGE)
        published = own.stage(bench / "a.mp4")
    for _ in range(2):
        assert own.publish(published, f"{ROOT}/clips/a.mp4", len(LARGE)) == len(LARGE)
    assert shelf.read(f"{ROOT}/clips/a.mp4") == LARGE
    assert shelf.exists(f"{ROOT}/clips")
    assert not shelf.exists(f"{ROOT}/clip")
    own.remove(f"{ROOT}/metas/x.json")
    own.write(f"{own.staging}/left", b"over")
    own.sweep()
    assert list(shelf.files_below(ROOT)) == [f"{ROOT}/clips/a.mp4"]
    assert len({trouble for _, _, trouble in store.asked}) > 3


@pytest.mark.parametrize("trouble", ["503", "429", "reset"])
def test_a_store_that_stays_in_trouble_fails_after_the_deadline(
    trouble: str, store: FaultyStore, clock: Clock, tmp_path: Path
) -> None:
    own, final = on_the_store(), f"{ROOT}/clips/a.mp4"
    own.write(f"{ROOT}/there", b"there")
    own.write(f"{own.staging}/staged", b"staged")
    (tmp_path / "a.mp4").write_bytes(b"clip")
    attempts: list[Callable[[], object]] = [
        own.prepare,
        lambda: own.write(final, b"never"),
        lambda: own.write(final, LARGE),
        lambda: own.stage(tmp_path / "a.mp4"),
        lambda: own.publish(f"{own.staging}/staged", final),
        lambda: own.remove(f"{ROOT}/there"),
        lambda: shelf.read(f"{ROOT}/there"),
        lambda: shelf.size_of(f"{ROOT}/there"),
        lambda: shelf.version_of(f"{ROOT}/there"),
        lambda: shelf.exists(f"{ROOT}/there"),
        lambda: list(shelf.files_below(ROOT)),
    ]
    for attempt in attempts:
        store.spoiled = lambda method, path: trouble
        began = clock.now
        with pytest.raises(OSError):  # noqa: PT011
            attempt()
        assert 60 < clock.now - began < 300
        store.spoiled = lambda method, path: ""
        assert not shelf.exists(final)
    assert shelf.read(f"{ROOT}/there") == b"there"


def test_what_is_missing_or_refused_on_a_store_is_said_at_once(
    store: FaultyStore, clock: Clock
) -> None:
    with pytest.raises(FileNotFoundError):
        shelf.read(f"{ROOT}/nowhere")
    with pytest.raises(FileNotFoundError):
        shelf.size_of(f"{ROOT}/nowhere")
    store.spoiled = lambda method, path: "403"
    with pytest.raises(PermissionError):
        on_the_store().write(f"{ROOT}/x", b"x")
    assert clock.now == 0


def test_a_film_on_a_store_in_trouble_is_the_film(
    store: FaultyStore, clock: Clock, films: Path
) -> None:
    film = (films / "a.mp4").read_bytes()
    on_the_store().write(f"{ROOT}/a.mp4", film)
    [source] = find_sources(Finding((f"{ROOT}/a.mp4",)))
    whole = probe_source(source)
    for seed in range(5):
        store.spoiled = now_and_then(seed, often=0.4)
        assert probe_source(source) == whole


def test_a_film_that_cannot_be_read_to_its_end_does_not_look_like_a_shorter_one(
    store: FaultyStore, clock: Clock, films: Path
) -> None:
    on_the_store().write(f"{ROOT}/a.mp4", (films / "a.mp4").read_bytes())
    store.spoiled = lambda method, path: "short" if "alt=media" in path else ""
    [source] = find_sources(Finding((f"{ROOT}/a.mp4",)))
    with pytest.raises(ShortRead, match=r"returned only \d+ of the \d+ bytes"):
        probe_source(source)
    assert clock.now > 60


def test_names_with_brackets_are_names_on_a_store(store: FaultyStore) -> None:
    own = on_the_store()
    for name in ("a[12].json", "a1.json", "b*.json", "bc.json", "c?.json", "cc.json"):
        own.write(f"{ROOT}/{name}", b"x")
    for name in ("a[12].json", "b*.json", "c?.json"):
        own.remove(f"{ROOT}/{name}")
    assert [path.rpartition("/")[2] for path in shelf.files_below(ROOT)] == [
        "a1.json",
        "bc.json",
        "cc.json",
    ]
