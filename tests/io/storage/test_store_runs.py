"""Whole runs on an object store: the tree of a local run, object by object, whatever happens.

The store is a server of the protocol on this machine, spoken to by Google's own library.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apache_beam as beam
import av
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from faulty_store import FaultyStore, now_and_then
from trees import tree

from finecut.io.media.codecs import Encoding
from finecut.io.media.cutting import Recipe, cut
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.process import children as child
from finecut.io.records import PlannedClip, Source, Span
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.summary import Summary
from finecut.pipeline.commands.summary import SummaryOptions, SumUp
from finecut.pipeline.curation import curate
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
from finecut.transforms.find.parts import WHOLE
from finecut.transforms.find.probe import probe_source

FILMS, OUTPUT = "gs://bucket/films", "gs://bucket/out"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    paint(folder / "a.mp4", width=96, height=54, rate=10, seconds=6, sound="aac")
    (folder / "sub é").mkdir()
    paint(folder / "sub é" / "b [1].mkv", width=96, height=54, rate=10, seconds=2)
    (folder / "torn.mp4").write_bytes((folder / "a.mp4").read_bytes()[:2000])
    return folder


@pytest.fixture
def store(films: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    child.kill_all()  # children take the environment over from the process that starts them
    own = Shelf(OUTPUT, f"{OUTPUT}/.staging/test")
    for path in films.rglob("*.m*"):
        own.write(f"{FILMS}/{path.relative_to(films)}", path.read_bytes())
    store.asked.clear()
    yield store
    store.close()
    child.kill_all()


def options_for(films: str, output: str, **others: Any) -> Options:
    return Options(
        input=(films,),
        output=output,
        named_as=FILMS,
        clip_length=2.0,
        chunk_seconds=4,
        generate_previews=True,
        preview_target_height=54,
        motion_filter="score-only",
        workers=2,
        **others,
    )


def curated(films: str, output: str, **others: Any) -> Summary:
    return run(options_for(films, output, **others)).summary


@pytest.fixture(scope="module")
def local(films: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("local") / "out"
    summary = curated(str(films), str(output))
    assert (summary.videos_done, summary.videos_failed) == (2, 1)
    found = (str(path) for path in output.rglob("*") if path.is_file())
    return tree(found, str(output), str(films), FILMS)


def test_a_run_on_a_store_writes_what_a_local_run_writes(
    store: FaultyStore, local: dict[str, bytes]
) -> None:
    summary = curated(FILMS, OUTPUT)
    assert (summary.videos_done, summary.videos_failed) == (2, 1)
    written = tree(shelf.files_below(OUTPUT), OUTPUT, FILMS)
    assert sorted(written) == sorted(local)
    assert [name for name in local if written[name] != local[name]] == []
    again = curated(FILMS, OUTPUT)
    assert (again.videos_skipped, again.videos_failed, again.shots_planned) == (2, 1, 0)
    assert tree(shelf.files_below(OUTPUT), OUTPUT, FILMS).keys() == local.keys()


def test_a_run_on_a_store_in_trouble_writes_the_same(
    store: FaultyStore, local: dict[str, bytes]
) -> None:
    chance = random.Random(5)
    store.spoiled = lambda method, path: "503" if chance.random() < 0.05 else ""
    curated(FILMS, OUTPUT)
    troubles = Counter(trouble for _, _, trouble in store.asked)
    assert troubles["503"] >= 5
    store.spoiled = now_and_then(1, often=0)
    written = tree(shelf.files_below(OUTPUT), OUTPUT, FILMS)
    assert sorted(written) == sorted(local)
    assert [name for name in local if written[name] != local[name]] == []


def test_nothing_is_listed_for_each_object(store: FaultyStore) -> None:
    """Listings are paid for, and slow: more clips take no more of them.

    (Two workers may both find out whose vectors lie in a folder, or what there is of a run.)
    """
    listings = []
    for length in (4.0, 1.0):
        store.asked.clear()
        curated(FILMS, f"{OUTPUT}/{length:g}", clip_stride=length, min_clip_length=0.5)
        asked = [path for method, path, _ in store.asked if method == "GET"]
        listings.append(sum(re.search(r"/o\?", path) is not None for path in asked))
    assert listings[1] <= listings[0] + 2
    assert max(listings) <= 22


@pytest.mark.slow
def test_a_runner_that_repeats_every_bundle_writes_the_same(
    store: FaultyStore, local: dict[str, bytes]
) -> None:
    """Clips wait on this machine, and are made again when it is done again."""
    with beam.Pipeline(runner=FnApiRunner(bundle_repeat=2)) as pipeline:
        curate(pipeline, options_for(FILMS, OUTPUT))
    written = tree(shelf.files_below(OUTPUT), OUTPUT, FILMS)
    clips = {name for name in local if name.startswith(("clips/", "previews/", "metas/"))}
    assert clips
    assert {name for name in written if written[name] != local.get(name)} <= {
        name for name in written if name.startswith("failures/")
    }
    assert clips <= {*written}
    assert not list(shelf.files_below(f"{OUTPUT}/.staging"))


def looped(film: Path, times: int, path: Path) -> float:
    """The film so many times in a row; how long that is."""
    with av.open(str(path), "w") as out:
        length, seconds = 0, 0.0
        for turn in range(times):
            with av.open(str(film)) as source:
                stream = source.streams.video[0]
                if turn == 0:
                    copied = out.add_stream_from_template(stream)
                    assert stream.duration is not None
                    assert stream.time_base is not None
                    length = stream.duration
                    seconds = float(times * length * stream.time_base)
                for packet in source.demux(stream):
                    if packet.dts is not None and packet.pts is not None:
                        packet.pts += turn * length
                        packet.dts += turn * length
                        packet.stream = copied
                        out.mux(packet)
    return seconds


def test_ten_seconds_of_an_hour_are_read_without_the_hour(
    store: FaultyStore, tmp_path: Path
) -> None:
    busy = Scene(palette=1, pan=60, texture=12)
    film = paint(
        tmp_path / "film.mp4",
        width=640,
        height=360,
        rate=15,
        seconds=20,
        scenes=[busy],
        codec_options={"crf": "5"},
    )
    seconds = looped(Path(film.path), 180, tmp_path / "hour.mp4")
    assert seconds == 3600
    own = Shelf(OUTPUT, f"{OUTPUT}/.staging/test")
    hour = (tmp_path / "hour.mp4").read_bytes()
    own.write(f"{FILMS}/hour.mp4", hour)
    store.sent = 0
    video = probe_source(Source(f"{FILMS}/hour.mp4", f"{FILMS}/hour.mp4", "hour.mp4"))
    planned = PlannedClip("late", 0, Span(3003, 3013))
    with shelf.open_source(video.source.uri) as file:
        [clip] = cut(file, video, [planned], Recipe(tmp_path, Encoding()))
    assert clip.file is not None
    assert clip.file.num_frames == 150
    assert store.sent < 0.03 * len(hour)


@pytest.mark.slow
def test_parts_side_by_side_write_the_same_tree_and_are_summed_up(
    store: FaultyStore, local: dict[str, bytes]
) -> None:
    parts = WHOLE.divided(3)
    with ThreadPoolExecutor(3) as pool:
        ran = list(pool.map(lambda part: curated(FILMS, OUTPUT, part=str(part)), parts))
    assert sum(each.videos_done for each in ran) == 2
    assert tree(shelf.files_below(OUTPUT), OUTPUT, FILMS) == local
    sums = SumUp(SummaryOptions(OUTPUT)).run()
    assert list(sums.wrong(5)) == []
    assert (sums.summary.videos_done, sums.summary.videos_failed) == (2, 1)
    assert sums.summary.shots_kept == sum(each.shots_kept for each in ran)
    assert sums.summary.clip_bytes == sum(each.clip_bytes for each in ran)
