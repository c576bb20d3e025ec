"""Lists that somebody wrote, and got wrong: a sentence that says what, and exit code 2."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from finecut.io.layout import clip_id
from finecut.io.tables.drops import DropsError, read_drops
from finecut.pipeline.cli.command import main
from finecut.transforms.find.inputs import Finding, find_sources
from finecut.transforms.find.lists import InputError
from finecut.transforms.split.spans import CutsError, read_cuts

NESTED: Final = b"[" * 100_000
FIELD: Final = b"x" * 200_000

#: The kind of list, what is in it, and words of the sentence.
LISTS: Final = [
    (".json", NESTED, "nested more than 100 levels deep"),
    (".json", b'["a.mp4", ' + NESTED + b"]" * 100_000 + b"]", "nested more than 100 levels deep"),
    (".json", rb'["\ud800.mp4"]', "half a character"),
    (".json", b'["a.mp4", ' + b"7" * 5_000 + b"]", "fit into 64 bits"),
    (".json", b"", "is empty"),
    (".jsonl", b'"a.mp4"\n' + NESTED, "nested more than 100 levels deep"),
    (".jsonl", b'{"source": ' + NESTED, "nested more than 100 levels deep"),
    (".csv", b"path\n" + FIELD, "field larger than"),
    (".csv", "path\né.mp4".encode("latin-1"), "UTF-8"),
    (".txt", "é.mp4".encode("latin-1"), "UTF-8"),
    (".txt", "é.mp4".encode("utf-16"), "UTF-8"),
    (".txt", "a.mp4".encode("utf-16-le"), "UTF-16"),
    (".csv", "path\na.mp4".encode("utf-16-be"), "UTF-16"),
]


@pytest.mark.parametrize(("ending", "data", "words"), LISTS, ids=range(len(LISTS)))
def test_a_list_of_videos_that_is_none(
    ending: str, data: bytes, words: str, tmp_path: Path
) -> None:
    path = tmp_path / f"list{ending}"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        find_sources(Finding((str(path),)))
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1_000


CUTS: Final = [
    (".json", NESTED, "nested more than 100 levels deep"),
    (".json", b'{"a.mp4": ' + NESTED + b"]" * 100_000 + b"}", "nested more than 100 levels deep"),
    (".json", b'{"a.mp4": [' + b"7" * 5_000 + b"]}", "fit into 64 bits"),
    (".json", b'{"a.mp4": [NaN]}', "not a"),
    (".json", b'{"a.mp4": [1e400]}', "1e400"),
    (".json", b"[]", "a list for each video"),
    (".json", '{"é.mp4": [1]}'.encode("latin-1"), "UTF-8"),
    (".csv", b"video,time\n" + FIELD + b",1", "field larger than"),
    (".csv", b"video,time\na.mp4," + b"x" * 100_000, "line 2"),
    (".csv", "é.mp4,1".encode("utf-16"), "UTF-8"),
    (".csv", "a.mp4,1".encode("utf-16-le"), "UTF-16"),
    (".csv", "é.mp4,1".encode("latin-1"), "UTF-8"),
]


@pytest.mark.parametrize(("ending", "data", "words"), CUTS, ids=range(len(CUTS)))
def test_a_list_of_cuts_that_is_none(ending: str, data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / f"cuts{ending}"
    path.write_bytes(data)
    with pytest.raises(CutsError, match=words) as caught:
        read_cuts(str(path))
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1_000


def test_a_mark_at_the_beginning_is_none_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\na.mp4\n", encoding="utf-8-sig")
    [source] = find_sources(Finding((str(tmp_path / "list.csv"),)))
    assert source.relative == "a.mp4"
    (tmp_path / "cuts.json").write_text('{"a.mp4": [1]}', encoding="utf-8-sig")
    assert read_cuts(str(tmp_path / "cuts.json")) == {"a.mp4": (1.0,)}


def missing(path: Path) -> None:
    """Nothing there."""


def pipe(path: Path) -> None:
    os.mkfifo(path)


def nested(path: Path) -> None:
    path.write_bytes(NESTED)


@pytest.mark.parametrize("spoil", [missing, pipe, nested], ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("name", ["list.json", "cuts.json", "cuts.csv", "drops.txt", "x.parquet"])
@pytest.mark.parametrize("command", ["curate", "describe"])
def test_commands_say_it_in_a_sentence(
    command: str,
    name: str,
    spoil: Callable[[Path], None],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    spoil(path)
    (tmp_path / "films").mkdir()
    (tmp_path / "films/a.mp4").write_bytes(b"no film")
    option = {"list.json": "--input", "drops.txt": "--drop", "x.parquet": "--drop"}
    given = {"--input": str(tmp_path / "films"), option.get(name, "--cuts"): str(path)}
    words = [word for pair in given.items() for word in pair]
    if command == "describe" and name == "list.json":
        return  # nobody reads it
    with pytest.raises(SystemExit) as ended:
        main([command, *words, "--output", str(tmp_path / "out"), "--no-generate-embeddings"])
    said = "".join(capfd.readouterr())
    assert ended.value.code == 2
    assert "Traceback" not in said
    assert name in said.replace("\n", "")
    assert [*(tmp_path / "out").rglob("*")] == []


def test_a_list_to_leave_out_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "drops.txt")
    with pytest.raises(DropsError, match=r"drops\.txt cannot be read .*pipe"):
        read_drops([str(tmp_path / "drops.txt")])


@pytest.mark.parametrize("folder", ["x.mp4.json", "x.mp4_0.json"])
def test_a_folder_where_a_document_belongs_is_named_before_anything_begins(
    folder: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    for name in ("x.mp4", f"{folder}/y.mp4", "deep/x.mp4.json/z.mp4"):
        (films / name).parent.mkdir(parents=True, exist_ok=True)
        (films / name).write_bytes(b"no film")
    with pytest.raises(SystemExit) as ended:
        main(["curate", "--input", str(films), "--output", str(tmp_path / "out")])
    said = " ".join("".join(capfd.readouterr()).split())
    assert ended.value.code == 2
    assert f"x.mp4 and {folder}/ cannot be curated into one output" in said
    assert [*(tmp_path / "out").rglob("*")] == []


def test_a_folder_that_is_in_nobodys_way_is_none(tmp_path: Path) -> None:
    for name in ("x.mp4", "y.mp4.json/a.mp4", "x.mp4.jsonl/b.mp4", "x.mp4_a.json/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert len(find_sources(Finding((str(tmp_path),)))) == 4


def test_failures_of_an_earlier_run_that_cannot_be_read_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.mp4").touch()
    failed = tmp_path / "failed.jsonl"
    failed.write_bytes(NESTED + b"\n" + json.dumps({"source": 7}).encode())
    assert len(find_sources(Finding((str(tmp_path / "a.mp4"),), failed=str(failed)))) == 1
    assert caplog.text.count("is left out") == 2
    failed.unlink()
    os.mkfifo(failed)
    assert len(find_sources(Finding((str(tmp_path / "a.mp4"),), failed=str(failed)))) == 1
    assert "failed.jsonl is a pipe" in caplog.text


def test_a_list_may_say_more_behind_a_tab(tmp_path: Path) -> None:
    """As the report saves it, on either kind of machine."""
    one, other = clip_id("a", 0, 1), clip_id("a", 1, 2)
    path = tmp_path / "marks.txt"
    path.write_bytes(f"\ufeff# id, tags, note\r\n{one}\tnight, good\ta # b\r\n\n{other}\n".encode())
    assert {*read_drops([str(path)])} == {one, other}
    path.write_text(f"{one} night\n")
    with pytest.raises(DropsError, match="line 1"):
        read_drops([str(path)])
