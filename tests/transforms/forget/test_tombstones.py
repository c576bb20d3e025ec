"""A source is known again by its digests, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finecut.io.layout import Layout
from finecut.io.records import Source
from finecut.io.storage.publishing import Shelf
from finecut.transforms.forget.tombstones import (
    Forgotten,
    Illegible,
    facts_of,
    salted,
    write_forgotten,
)

VERSION = "812 1700000000123456789"


def buried(*names: str, relative: str = "x/a.mp4", version: str = VERSION) -> Forgotten:
    empty = salted(Forgotten())
    return Forgotten(empty.salt, (empty.stone(facts_of(names, relative, version), when="now"),))


@pytest.mark.parametrize(
    "source",
    [
        Source("/films/x/a.mp4", "/films/x/a.mp4", "x/a.mp4"),
        Source("/mnt/a.mp4", "gs://films/x/a.mp4", "a.mp4"),
        Source("/films/./x//a.mp4", "/else", "a.mp4"),
        # The same file under another name, and the same path with the same size elsewhere.
        Source("/mnt/b.mp4", "/mnt/b.mp4", "b.mp4", VERSION),
        Source("/mnt/x/a.mp4", "/mnt/x/a.mp4", "x/a.mp4", "812 1800000000000000000"),
    ],
)
def test_it_is_known_again(source: Source) -> None:
    assert buried("/films/x/a.mp4", "s3://films/x/a.mp4").has(source)


@pytest.mark.parametrize(
    "source",
    [
        Source("/mnt/x/a.mp4", "/mnt/x/a.mp4", "x/a.mp4", "813 1800000000000000000"),
        Source("/mnt/x/a.mp4", "/mnt/x/a.mp4", "x/a.mp4"),
        Source("/films/x/b.mp4", "/films/x/b.mp4", "x/b.mp4", "812 1800000000000000000"),
        Source("/films/x/a.mp4.mp4", "/films/x/a.mp4.mp4", "x/a.mp4.mp4"),
    ],
)
def test_another_is_not(source: Source) -> None:
    assert not buried("/films/x/a.mp4").has(source)


def test_a_whole_second_tells_no_file_from_others() -> None:
    """Files that were unpacked may all have the same."""
    whole = "812 1700000000000000000"
    other = Source("/mnt/b.mp4", "/mnt/b.mp4", "b.mp4", whole)
    assert not buried("/films/x/a.mp4", version=whole).has(other)


def test_a_link_to_it_is_it(tmp_path: Path) -> None:
    film, link = tmp_path / "a.mp4", tmp_path / "link.mp4"
    film.touch()
    link.symlink_to(film)
    assert buried(str(film), relative="a.mp4", version="").has(
        Source(str(link), str(link), "link.mp4")
    )


def test_only_digests_are_written_and_two_datasets_have_others(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        layout = Layout(str(tmp_path / name))
        own = Shelf(layout.root, layout.staging_of("test"))
        forgotten = buried("/films/x/a.mp4")
        write_forgotten(forgotten, layout, own)
        texts.append(Path(layout.forgotten()).read_text())
        assert Forgotten.at(layout) == forgotten
        assert [stone["when"] for stone in forgotten.named("x/a.mp4")] == ["now"]
    one, two = ({*json.loads(text)["forgotten"][0]["path"]} for text in texts)
    assert not one & two
    assert not any(word in text for text in texts for word in ("films", "a.mp4", VERSION))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"salt": "x", "forgotten": ["a"]}', "\0"])
def test_what_cannot_be_read_is_no_permission(tmp_path: Path, text: str) -> None:
    layout = Layout(str(tmp_path))
    path = Path(layout.forgotten())
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(Illegible, match="unknown what must not come back"):
        Forgotten.at(layout)
