"""Names, ids and paths: pure text, held against the vectors of the layout's first writer."""

from __future__ import annotations

import pytest

from finecut.io.layout import Layout, check_relative, chunk_id, clip_id, relative_to_root


@pytest.mark.parametrize(
    ("name", "events", "wanted"),
    [
        ("/data/videos/a.mp4", (0, 300), "ce2f3d69-8b98-57fe-98fe-70d008e354f3"),
        ("/data/videos/a.mp4", (300, 600), "5df222ec-81a8-5f73-b9b6-b6b1143bc8c3"),
        ("/data/videos/a.mp4", (600, 705), "a5f9d6a8-3f2b-5976-bbec-ceefde2c12ae"),
        ("/data/videos/a.mp4", (15, 285), "a309cab9-2fca-59d9-a138-87425844c438"),
        ("/data/videos/sub dir/é.mp4", (0, 300), "53353ba7-0ebb-5a53-881e-94f449782e2e"),
    ],
)
def test_clip_ids(name: str, events: tuple[int, int], wanted: str) -> None:
    assert clip_id(name, *events) == wanted


@pytest.mark.parametrize(
    ("name", "index", "wanted"),
    [
        ("/data/videos/a.mp4", 0, "780edbb7-9d0b-5e2a-b17c-eee2a9b800eb"),
        ("/data/videos/a.mp4", 1, "4a052d8f-c08f-5d16-9f8f-9c077bcfc216"),
        ("/data/in/x/v.mp4", 0, "321b277c-5cae-59aa-8009-d8c2636a116c"),
    ],
)
def test_chunk_ids(name: str, index: int, wanted: str) -> None:
    assert chunk_id(name, index) == wanted


def test_the_protocol_enters_chunk_ids_but_not_clip_ids() -> None:
    assert clip_id("gs://bucket/a.mp4", 0, 1) == clip_id("bucket/a.mp4", 0, 1)
    assert chunk_id("gs://bucket/a.mp4", 0) != chunk_id("bucket/a.mp4", 0)


def test_every_path_helper() -> None:
    layout = Layout("/out/")
    assert {
        layout.clips(),
        layout.clips(kept=False),
        layout.metas(),
        layout.previews(),
        layout.embeddings("cosmos-embed1-224p"),
        layout.embeddings_parquet("cosmos-embed1-448p"),
        layout.embeddings("internvideo2"),
        layout.embeddings_parquet("internvideo2"),
        layout.processed_videos(),
        layout.processed_clip_chunks(),
    } == {
        "/out/clips",
        "/out/filtered_clips",
        "/out/metas/v0",
        "/out/previews",
        "/out/ce1_embd",
        "/out/ce1_embd_parquet",
        "/out/iv2_embd",
        "/out/iv2_embd_parquet",
        "/out/processed_videos",
        "/out/processed_clip_chunks",
    }
    assert layout.clip("d2d0") == "/out/clips/d2d0.mp4"
    assert layout.clip("d2d0", kept=False) == "/out/filtered_clips/d2d0.mp4"
    assert layout.meta("d2d0") == "/out/metas/v0/d2d0.json"
    assert layout.preview("d2d0", 0, 255) == "/out/previews/d2d0/0_255.webp"
    assert layout.embedding("internvideo2", "d2d0") == "/out/iv2_embd/d2d0.pickle"
    assert layout.embedding_parquet("internvideo2", "c") == "/out/iv2_embd_parquet/c.parquet"
    assert layout.processed_video("sub/b é.mp4") == "/out/processed_videos/sub/b é.mp4.json"
    assert (
        layout.processed_clip_chunk("sub/b é.mp4", 3)
        == "/out/processed_clip_chunks/sub/b é.mp4_3.json"
    )


def test_prefixes_and_roots() -> None:
    assert Layout("/out", shard_prefix=True).clip("d2d0ff") == "/out/clips/d2/d2d0ff.mp4"
    assert Layout("gs://bucket/out").meta("x") == "gs://bucket/out/metas/v0/x.json"
    assert Layout("/").clips() == "/clips"


def test_an_unknown_algorithm_gets_a_folder_of_its_own() -> None:
    assert Layout("/out").embeddings("Org/Model v2") == "/out/Org_Model_v2_embd"


def test_a_sibling_with_the_same_beginning_is_not_below_the_root() -> None:
    assert relative_to_root("/data/in/x.mp4", "/data/in/") == "x.mp4"
    with pytest.raises(ValueError, match="is not in"):
        relative_to_root("/data/input2/x.mp4", "/data/in")


@pytest.mark.parametrize("name", ["../x.mp4", "a/../../x.mp4", "/x.mp4", "", "a//b", "."])
def test_names_never_leave_the_output(name: str) -> None:
    with pytest.raises(ValueError, match="outside of the output folder"):
        check_relative(name)
