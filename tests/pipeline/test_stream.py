"""A stream of notifications: the same dataset, closed as its clips arrive and not when a window is.

Time stands still unless the test lets it pass, so that nothing is closed because it has gone by.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from faults import differences, staged, tree
from faulty_store import FaultyStore

from finecut.io.media.testfilm.paint import paint
from finecut.io.process import children as child
from finecut.io.records import Skipped, Source
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.cli.flags import Parser, add_flags, parse_options
from finecut.pipeline.curation import curate_stream
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import Plan, plan
from finecut.pipeline.running import run
from finecut.transforms.beam.gather import FORGET_AFTER, Gather
from finecut.transforms.catalogue.compact import compact
from finecut.transforms.find.inputs import Finding
from finecut.transforms.find.notifications import NoticeVideos, noticed

FILMS = "gs://bucket/films"
SUBSCRIPTION = "projects/p/subscriptions/s"
PATIENCE = 600.0


def told(name: str, event: str = "OBJECT_FINALIZE") -> dict[str, str]:
    return {"eventType": event, "bucketId": "bucket", "objectId": name}


def message(name: str, event: str = "OBJECT_FINALIZE") -> PubsubMessage:
    return PubsubMessage(b"{}", told(name, event))


# ── what a message is about ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("attributes", "relative"),
    [
        (told("films/a.mp4"), "a.mp4"),
        (told("films/day 7/é [1].MKV"), "day 7/é [1].MKV"),
        ({"bucketId": "bucket", "objectId": "films/a.mp4"}, "a.mp4"),
        (told("films/a.mp4", "OBJECT_DELETE"), None),
        (told("films/a.txt"), None),
        (told("films/a.mp4/"), None),
        (told("other/a.mp4"), None),
        (told("filmsa.mp4"), None),
        (told("films/out/clips/a.mp4"), None),
        ({"bucketId": "another", "objectId": "films/a.mp4"}, None),
        ({"some": "message"}, None),
        ({}, None),
    ],
)
def test_what_is_noticed(attributes: dict[str, str], relative: str | None) -> None:
    finding = Finding((FILMS,), without=(f"{FILMS}/out/clips",))
    source = noticed(attributes, finding)
    if relative is None:
        assert source is None
    else:
        assert source == Source(f"{FILMS}/{relative}", f"{FILMS}/{relative}", relative)


def test_sources_keep_the_names_they_are_to_have() -> None:
    source = noticed(told("films/a.mp4"), Finding((FILMS,), named_as="/mnt/films"))
    assert source is not None
    assert source.name == "/mnt/films/a.mp4"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runner": "FnApiRunner"}, "reads no stream: give --runner DirectRunner"),
        ({"runner": "local", "workers": 2}, "has one thread"),
        ({"overwrite": True}, "--overwrite would process a video each time"),
        ({"runner": "local", "gpus": "all"}, "--gpus does nothing with --subscription"),
        ({"subscription": None, "announced_only": True}, "does nothing without --subscription"),
        ({"subscription": "s"}, "give projects/PROJECT/subscriptions/NAME"),
        ({"input": ("/films",)}, "give a folder in a bucket"),
        ({"input": ("gs://b/*.mp4",)}, "give a folder in a bucket"),
        ({"video_limit": 3}, "--video-limit does nothing"),
        ({"part": "1/4"}, "--part divides videos that are there"),
        ({"subscription": None, "patience": 5.0}, "does nothing without a stream"),
    ],
)
def test_what_does_not_go_with_a_stream_is_refused(changes: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"runner": "DataflowRunner", "subscription": SUBSCRIPTION}
    options = Options(**{"input": (FILMS,), "output": "gs://b/out", **given, **changes})
    with pytest.raises(OptionError, match=words):
        options.check()


def test_the_flags_of_a_stream() -> None:
    parser = Parser(prog="launch")
    add_flags(parser)
    words = ["--input", FILMS, "--output", "gs://b/o", "--runner", "DataflowRunner"]
    more = ["--subscription", SUBSCRIPTION, "--patience", "60"]
    found, rest = parse_options(parser, [*words, *more])
    assert (found.subscription, found.patience, rest) == (SUBSCRIPTION, 60.0, [])


# ── gathering ────────────────────────────────────────────────────────────────────────────────────


def streamed() -> PipelineOptions:
    options = PipelineOptions()
    options.view_as(StandardOptions).streaming = True
    return options


def gathered(stream: TestStream, path: Path) -> list[tuple[str, list[int]]]:
    """What comes out where three of a key are all of them."""

    def keep(group: tuple[str, Iterable[Skipped]]) -> None:
        numbers = sorted(each.num_clips for each in group[1])
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps((group[0], numbers)) + "\n")

    def record(key: str, number: int) -> tuple[str, Skipped]:
        return key, Skipped(Source("a", "a", "a"), number, 0.0)

    with beam.Pipeline("BundleBasedDirectRunner", options=streamed()) as pipeline:
        _ = (
            pipeline
            | stream
            | beam.MapTuple(record).with_output_types(tuple[str, Skipped])
            | Gather(lambda entries: len({each.num_clips for each in entries}) == 3, PATIENCE)
            | beam.Map(keep)
        )
    return [(key, numbers) for key, numbers in map(json.loads, path.read_text().splitlines())]


def test_a_group_is_handed_out_when_it_is_whole(tmp_path: Path) -> None:
    stream = TestStream().add_elements([("a", 1), ("b", 1), ("a", 2)]).add_elements([("a", 3)])
    assert gathered(stream, tmp_path / "found")[0] == ("a", [1, 2, 3])


def test_what_does_not_come_is_given_up_and_may_come_later(tmp_path: Path) -> None:
    stream = (
        TestStream()
        .add_elements([("a", 1), ("a", 2)])
        # The stream's clock begins at 0, in 1970. Far beyond patience, for the timer is set by the
        # clock on the wall, which goes on while a busy machine gets there; far from forgetting.
        .advance_processing_time(int(time.time() + FORGET_AFTER / 2 * PATIENCE))
        .add_elements([("a", 3)])
        .add_elements([("b", 1)])
    )
    found = gathered(stream, tmp_path / "found")
    assert ("a", [1, 2]) in found
    assert ("a", [1, 2, 3]) in found, "the late part comes with all the rest"


# ── whole ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    child.kill_all()
    own = Shelf(FILMS, f"{FILMS}/.staging/test")
    for number, seconds in enumerate((5, 3, 2)):
        film = paint(tmp_path / f"{number}.mp4", width=64, height=36, rate=10, seconds=seconds)
        own.write(f"{FILMS}/{number}.mp4", Path(film.path).read_bytes())
    own.write(f"{FILMS}/torn.mp4", b"no film")
    yield store
    store.close()
    child.kill_all()


def options(output: Path, **others: Any) -> Options:
    return Options(
        input=(FILMS,),
        output=str(output),
        clip_length=1.0,
        min_clip_length=0.5,
        chunk_seconds=2,
        generate_previews=True,
        preview_target_height=36,
        **others,
    )


def stream_into(output: Path, stream: TestStream) -> Plan:
    """Curate what a stream tells of."""
    steps = plan(options(output, runner="DataflowRunner", subscription=SUBSCRIPTION))
    with beam.Pipeline("BundleBasedDirectRunner", options=streamed()) as pipeline:
        messages = pipeline | stream | beam.Map(lambda m: m).with_output_types(PubsubMessage)
        curate_stream(messages | "NoticeVideos" >> NoticeVideos(steps.finding), steps)
    return steps


def test_a_stream_writes_what_a_run_writes(store: FaultyStore, tmp_path: Path) -> None:
    """In the order of arrival, some told of twice, one torn: document by document the same."""
    run(options(tmp_path / "run", workers=2))
    left = tmp_path / "stream/.staging/dead/clip.mp4"  # by a stream that was killed long ago
    left.parent.mkdir(parents=True)
    left.touch()
    for path in (left, left.parent):
        os.utime(path, (0, 0))
    stream = (
        TestStream(coder=beam.coders.PickleCoder())
        .add_elements([message("films/2.mp4"), message("films/notes.txt")])
        .advance_processing_time(1)
        .add_elements([message("films/0.mp4"), message("films/torn.mp4")])
        .advance_processing_time(1)
        .add_elements([message("films/1.mp4"), message("films/0.mp4", "OBJECT_DELETE")])
        .add_elements([message("films/2.mp4")])
    )
    steps = stream_into(tmp_path / "stream", stream)
    compact(steps.writing.layout, steps.writing.shelf)  # which a stream leaves to the command
    found, expected = tree(tmp_path / "stream"), tree(tmp_path / "run")
    lists = [{name for name in each if name.startswith("failures/")} for each in (found, expected)]
    for each, names in zip((found, expected), lists, strict=True):
        assert len(names) == 1
        [line] = each.pop(names.pop()).decode().splitlines()
        assert json.loads(line)["source"]["relative"] == "torn.mp4"
    assert differences(found, expected) == []
    assert [path for path in staged(tmp_path / "stream") if path.endswith(".mp4")] == []
