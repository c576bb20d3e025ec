"""Finding: every way to name videos, each file once, under a name that stays."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from finecut.io.media.limits import FilmError
from finecut.io.records import Source
from finecut.pipeline.options import Options
from finecut.pipeline.planning import plan
from finecut.transforms.find.inputs import Finding, check_inputs, find_sources
from finecut.transforms.find.lists import InputError, read_list
from finecut.transforms.find.probe import probe_source


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.MKV", "deep/er/é [1].webm", "deep/x.Mov", "notes.txt", "c.mp4.part"):
        path = tmp_path / "films" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "films"


def relatives(*inputs: object, limit: int | None = None) -> list[str]:
    found = find_sources(Finding(tuple(str(i) for i in inputs), limit=limit))
    return [source.relative for source in found]


def test_a_folder_at_any_depth_in_any_letter_case(shelf: Path) -> None:
    assert relatives(shelf) == ["a.MKV", "b.mp4", "deep/er/é [1].webm", "deep/x.Mov"]


def test_the_limit_takes_the_first(shelf: Path) -> None:
    assert relatives(shelf, limit=2) == ["a.MKV", "b.mp4"]


def test_one_file_and_a_file_whose_name_looks_like_a_glob(shelf: Path) -> None:
    assert relatives(shelf / "b.mp4") == ["b.mp4"]
    assert relatives(shelf / "deep/er/é [1].webm") == ["é [1].webm"]


def test_globs_are_named_from_their_fixed_part(shelf: Path) -> None:
    assert relatives(f"{shelf}/*.*") == ["a.MKV", "b.mp4"]
    assert relatives(f"{shelf}/**/*.webm") == ["deep/er/é [1].webm"]


def test_what_a_run_made_is_not_its_input(shelf: Path) -> None:
    for name in ("out/clips/x.mp4", "out/.staging/run/y.mp4", "out/clips2/z.mp4"):
        (shelf / name).parent.mkdir(parents=True)
        (shelf / name).touch()
    made = plan(Options(input=(str(shelf),), output=str(shelf / "out"))).finding
    names = [source.relative for source in find_sources(made)]
    assert "out/clips2/z.mp4" in names
    assert len(names) == 5


def test_a_name_that_is_no_text_fails_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / os.fsdecode(b"caf\xe9.mp4")).touch()
    [source] = find_sources(Finding((str(tmp_path / "films"),)))
    source.relative.encode()
    with pytest.raises(FilmError, match="not UTF-8"):
        probe_source(source)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    [source] = find_sources(Finding((str(tmp_path),)))
    with pytest.raises(FilmError, match="folder, pipe or device"):
        probe_source(source)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.json", b"{", "cannot be read"),
        ("a.json", b'{"path": "x"}', "not contain an array"),
        ("a.jsonl", b"x.mp4", "cannot be read"),
        ("a.txt", b"caf\xe9.mp4", "UTF-8"),
    ],
)
def test_broken_lists_are_refused(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=words):
        find_sources(Finding((str(tmp_path / name),)))


def test_several_inputs_share_their_deepest_folder(shelf: Path) -> None:
    assert relatives(shelf / "deep", shelf / "b.mp4") == [
        "b.mp4",
        "deep/er/é [1].webm",
        "deep/x.Mov",
    ]


def test_a_file_reached_twice_is_taken_once(shelf: Path) -> None:
    assert relatives(shelf, shelf / "b.mp4", f"{shelf}/*.mp4").count("b.mp4") == 1


def test_symlinks_are_followed_once(shelf: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.mp4"
    outside.touch()
    (shelf / "link to b.mp4").symlink_to(shelf / "b.mp4")
    (shelf / "1 out.mp4").symlink_to(outside)
    (shelf / "2 out.mp4").symlink_to(outside)
    (shelf / "circle").symlink_to(shelf, target_is_directory=True)
    names = relatives(shelf)
    assert "link to b.mp4" not in names
    assert "1 out.mp4" in names
    assert "2 out.mp4" not in names
    assert len(names) == 5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "# films\nfilms/b.mp4\n\nfilms/deep/x.Mov\n"),
        ("list.json", json.dumps(["films/b.mp4", {"video": "films/deep/x.Mov"}])),
        ("list.jsonl", '{"path": "films/b.mp4"}\n{"uri": "films/deep/x.Mov"}\n'),
        ("list.csv", "note,Path\nx,films/b.mp4\ny,films/deep/x.Mov\n"),
        ("bare.csv", "films/b.mp4\nfilms/deep/x.Mov\n"),
    ],
)
def test_lists(shelf: Path, tmp_path: Path, name: str, text: str) -> None:
    """Paths in a list are relative to the list."""
    (tmp_path / name).write_text(text)
    assert relatives(tmp_path / name) == ["b.mp4", "deep/x.Mov"]


def test_a_list_entry_without_a_path_is_refused() -> None:
    with pytest.raises(InputError, match="names no file"):
        read_list('[{"size": 3}]', ".json")


def test_a_missing_file_of_a_list_is_found_and_fails_later(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("gone.mp4\n")
    [source] = find_sources(Finding((str(tmp_path / "list.txt"),)))
    with pytest.raises(FilmError, match="does not exist"):
        probe_source(source)


def test_named_as_changes_names_and_nothing_else(shelf: Path) -> None:
    [source] = find_sources(Finding((str(shelf / "b.mp4"),), named_as="/data/videos/"))
    assert source == Source(str(shelf / "b.mp4"), "/data/videos/b.mp4", "b.mp4")


def test_relative_inputs_are_named_absolutely(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shelf.parent)
    assert find_sources(Finding(("./films//",))) == find_sources(Finding((str(shelf),)))


@pytest.mark.parametrize(
    ("spec", "words"), [("nowhere", "does not exist"), ("films/c.mp4.part", "is neither a video")]
)
def test_impossible_inputs_are_refused_before_the_start(shelf: Path, spec: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_inputs([str(shelf.parent / spec)])
    check_inputs([str(shelf), str(shelf / "*.mp4")])
    check_inputs(["gs://bucket/x"])


def test_different_stores_have_no_common_root(shelf: Path) -> None:
    with pytest.raises(InputError, match="different stores"):
        find_sources(Finding((str(shelf), "gs://bucket-name/x.mp4")))
