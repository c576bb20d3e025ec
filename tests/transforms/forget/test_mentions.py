"""A source is found wherever it is spoken of, and no other one is taken for it."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from finecut.io.tables.parquet import to_parquet
from finecut.transforms.forget.mentions import GONE, Mentions
from finecut.transforms.forget.shards import example_of
from finecut.transforms.forget.tables import speaks, without_rows

ID, OTHER = "ce2f3d69-8b98-57fe-98fe-70d008e354f3", "4a052d8f-c08f-5d16-9f8f-9c077bcfc216"
WHO = Mentions(frozenset({"/films/a b/é.mp4"}), frozenset({"a b/é.mp4"}), frozenset({ID}))


@pytest.mark.parametrize(
    "text",
    [
        "/films/a b/é.mp4",
        "a b/é.mp4",
        "cut: /films/a b/é.mp4: no frames",
        "it is '/films/a b/é.mp4'.",
        "/out/processed_videos/a b/é.mp4.json",
        "/out/processed_clip_chunks/a b/é.mp4_12.json is missing",
        "'a b/é.mp4' is a folder",
        f"previews/{ID}/0_255.webp",
    ],
)
def test_it_is_spoken_of(text: str) -> None:
    assert WHO.in_text(text)
    assert not WHO.in_text(WHO.without(text))
    assert WHO.in_bytes(json.dumps({"said": [text]}).encode())


@pytest.mark.parametrize("name", ["é.mp4", 'a "b".mp4', "a\\b.mp4", "two\nlines.mp4", "\x01.mp4"])
def test_it_is_spoken_of_as_json_writes_it(name: str) -> None:
    who = Mentions(frozenset({f"/films/{name}"}), frozenset({name}))
    for said in (name, f"/films/{name}", f"cut: '{name}'"):
        # What is no JSON as a whole, such as the data of a page.
        assert who.in_bytes(f"show({json.dumps(said)})".encode())
    for said in (f"x{name}", f"/more{name}", f"/films/x{name}", f"{name}.mp4"):
        assert not who.in_bytes(f"show({json.dumps(said)})".encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é.mp4",
        "b/é.mp4",
        "/films/a b/é.mp4.mp4",
        "/films/a b/é.mp4-2",
        "/films/a b/é.mp4_12.mp4",
        "/more/films/a b/é.mp4",
        "more a b/é.mp4",
        "other/a b/é.mp4",
        "/out/processed_videos/x/a b/é.mp4.json",
        OTHER,
        f"{ID}0",
    ],
)
def test_another_is_spoken_of(text: str) -> None:
    assert not WHO.in_text(text)
    assert WHO.without(text) == text


def test_of_a_document_goes_what_is_of_the_source_and_nothing_else() -> None:
    said: dict[str, Any] = {
        "options": {"input": ["/films/a b/é.mp4", "/films/c.mp4"]},
        "failures": [
            {"source": {"name": "/films/a b/é.mp4"}, "lost_shots": [ID]},
            {"source": {"name": "/films/c.mp4"}, "lost_shots": [OTHER]},
        ],
        "ids": [ID, OTHER],
        "a b/é.mp4": 3,
        "c.mp4": 4,
        "message": "é: /films/a b/é.mp4 is gone",
    }
    cleaned = json.loads(WHO.cleaned_document("x.json", json.dumps(said).encode()))
    assert cleaned == {
        "options": {"input": [GONE, "/films/c.mp4"]},
        "failures": [said["failures"][1]],
        "ids": [OTHER],
        "c.mp4": 4,
        "message": f"é: {GONE} is gone",
    }


@pytest.mark.parametrize(
    "data", [b'{"a": 1,   "b": "/films/c.mp4"}', b"\xff\xfe no text", b"{broken", b"[1,\n2]"]
)
@pytest.mark.parametrize("path", ["x.json", "x.jsonl", "x.txt"])
def test_what_does_not_speak_of_it_keeps_its_bytes(path: str, data: bytes) -> None:
    assert WHO.cleaned_document(path, data) == data


def test_of_json_lines_whole_lines_go() -> None:
    stays = b'{"source": {"name": "/films/c.mp4"}}\n'
    gone = json.dumps({"source": {"name": "/films/a b/é.mp4"}}).encode() + b"\n"
    assert WHO.cleaned_document("x.jsonl", gone + stays + gone) == stays
    assert WHO.cleaned_document("x.jsonl", gone) == b""


def test_rows_go_wherever_in_them_it_is() -> None:
    table = pa.table(
        {
            "number": [0, 1, 2, 3],
            "id": [ID, OTHER, OTHER, OTHER],
            "inside": [[{"name": "x"}], [{"name": "/films/a b/é.mp4"}], None, []],
            "word": pa.array(["x", "x", "a b/é.mp4", "y"]).dictionary_encode(),
        }
    )
    assert speaks(table, WHO)
    left = without_rows(table, WHO)
    assert left["number"].to_pylist() == [3]
    assert not speaks(left, WHO)
    assert b"a b" not in to_parquet(left, compression="none")
    assert speaks(left.replace_schema_metadata({"of": "a b/é.mp4"}), WHO)


def test_shards_with_gaps_have_a_name_that_readers_expand() -> None:
    assert example_of(["00001"]) == "00001.tar"
    assert example_of(["00000", "00002"]) == "{00000,00002}.tar"
    assert example_of(["res0-480/00000", "res0-480/00002"]) == ""
