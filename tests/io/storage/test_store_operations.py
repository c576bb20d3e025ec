"""What a run costs on a store, in requests: by clip, by chunk and by video, and not one more."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_store import FaultyStore
from operations import (
    DELETES,
    LISTS,
    READS,
    WRITES,
    Counting,
    for_each,
    of_clips,
    of_google,
    of_s3,
)
from seaweed import Seaweed
from store_places import reached
from store_places import s3 as place_on_s3

from finecut.io.process import children as child
from finecut.io.storage import files as shelf

DOCS = Path(__file__).parents[3] / "docs/clouds.md"
#: The columns of the table there.
COLUMNS = (WRITES, READS, LISTS, DELETES)


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    pytest.importorskip("gcp_storage_emulator")
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    child.kill_all()  # children take the environment over from the process that starts them

    def counted() -> Counter[str]:
        found = of_google([(method, path) for method, path, _ in store.asked], "films")
        store.asked.clear()
        return found

    counting = Counting("gs://bucket", counted)
    counting.put(tmp_path)
    yield counting
    store.close()
    child.kill_all()


@pytest.fixture
def amazon(seaweed_server: Seaweed, tmp_path: Path) -> Iterator[Counting]:
    with place_on_s3(seaweed_server) as place, reached(place):

        def counted() -> Counter[str]:
            found = of_s3([(one.method, one.target) for one in place.proxy.passed], "films")
            place.proxy.passed.clear()
            return found

        counting = Counting(place.root, counted)
        counting.put(tmp_path)
        yield counting


def test_a_clip_costs_one_write_for_each_of_its_files(google: Counting) -> None:
    pytest.importorskip("onnxruntime")
    clip = of_clips(google, "vectors", no_generate_embeddings=False)
    assert clip == {WRITES: 3, READS: 0, LISTS: 0, DELETES: 0}


def test_a_skipped_video_costs_one_read(google: Counting) -> None:
    google.asked("two", "two")
    one, two = (google.asked("two", "two", video_limit=number) for number in (1, 2))
    assert (one[0].videos_skipped, two[0].videos_skipped) == (1, 2)
    assert for_each(two[1], one[1], 1) == {WRITES: 0, READS: 1, LISTS: 0, DELETES: 0}


def test_a_video_with_previews_that_is_done_again_lists_no_clip(google: Counting) -> None:
    """A read of its document says which previews an earlier run made of each: others do not stay,
    and a video of eight clips costs no more lists than one of one.
    """
    asked = []
    for output, length in (("again-one", 8.0), ("again-eight", 1.0)):
        chosen = {"clip_length": length, "generate_previews": True}
        google.asked("one", output, window_size=5, **chosen)
        summary, again = google.asked("one", output, window_size=256, **chosen)
        assert summary.shots_kept == int(8 / length)
        # One to each second of ten frames is left, where there were two.
        previews = [*shelf.files_below(f"{google.root}/{output}/previews")]
        assert {path.rpartition("/")[2] for path in previews} == {f"0_{int(10 * length) - 1}.webp"}
        google.counted()
        asked.append(again)
    one, eight = asked
    # (Two workers may both find out what there is of a run.)
    assert eight[LISTS] <= one[LISTS] + 2
    assert eight[READS] - one[READS] <= 2 * 7


def measured(store: Counting) -> dict[str, dict[str, float]]:
    """What a run asks for, by what it is asked for."""
    rows = {"clip": of_clips(store, "clips")}
    rows["clip with a vector"] = of_clips(store, "vectors", no_generate_embeddings=False)
    rows["clip with a preview"] = of_clips(store, "previews", generate_previews=True)
    rows["rejected clip"] = rejected(store)
    one, two = (store.asked(films, films) for films in ("one", "two"))
    video = Counter(for_each(two[1], one[1], 1))
    video.subtract({kind: 2 * each for kind, each in rows["clip"].items()})
    rows["video with one chunk"] = dict(video)
    _, whole = store.asked("one", "whole", clip_length=1.0)
    _, halves = store.asked("one", "halves", clip_length=1.0, chunk_seconds=4)
    rows["further chunk"] = for_each(halves, whole, 1)
    skipped = [store.asked(films, films) for films in ("one", "two")]
    assert [did.videos_skipped for did, _ in skipped] == [1, 2]
    rows["skipped video"] = for_each(skipped[1][1], skipped[0][1], 1)
    return rows


def rejected(store: Counting) -> dict[str, float]:
    chosen = {"generate_previews": True, "keep": ("saturation>=9",)}
    few, asked = store.asked("one", "rejected-long", **chosen)
    many, asked_more = store.asked("one", "rejected-short", clip_length=1.0, **chosen)
    number = many.shots_rejected - few.shots_rejected
    assert number
    return for_each(asked_more, asked, number)


def in_docs() -> dict[str, dict[str, float]]:
    """The table in the docs."""
    text = DOCS.read_text(encoding="utf-8")
    table = text.partition("<!-- operations -->")[2].partition("<!-- end of operations -->")[0]
    found = re.findall(r"^\| ([a-z ]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", table, re.M)
    return {name: dict(zip(COLUMNS, map(float, numbers), strict=True)) for name, *numbers in found}


@pytest.mark.slow
def test_the_table_in_the_docs_is_what_is_asked_of_google(google: Counting) -> None:
    pytest.importorskip("onnxruntime")
    assert measured(google) == in_docs()


@pytest.mark.slow
def test_the_table_in_the_docs_is_what_is_asked_of_s3(amazon: Counting) -> None:
    pytest.importorskip("onnxruntime")
    assert measured(amazon) == in_docs()
