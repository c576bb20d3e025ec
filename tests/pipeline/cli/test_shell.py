"""A new command is one class in one module: everything else comes from the shell.

The one here is dropped among the others, as whoever adds one does.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finecut.pipeline import commands
from finecut.pipeline.cli.command import main
from finecut.pipeline.cli.flags import options_table

CODE = """
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from finecut.io.errors import RunError
from finecut.pipeline.commands.base import DatasetCommand, DatasetOptions, Page
from finecut.transforms.option import option


@dataclass(frozen=True)
class CountOptions(DatasetOptions):
    least: int = option(0, "counting", "Fewer words are too few.", metavar="N", least=0)

    def contradictions(self) -> Iterator[str]:
        if self.least == 13:
            yield "--least 13 is unlucky: write another number"


class Count(DatasetCommand[CountOptions, int]):
    name = "count"
    page = Page(
        "Count the words of a note.",
        "Reads note.txt in DATASET, and writes words.txt beside it.",
        examples=(("how many there are", "finecut count dataset --least 3"),),
    )
    Options = CountOptions

    def work(self) -> int:
        folder = Path(self.options.dataset)
        if not folder.exists():
            raise RunError(f"{folder} is not there: write the folder of a note")
        self.say("counting")
        with self.showing(lambda counts, seconds, ended: f"counting {ended}"):
            words = len((folder / "note.txt").read_text().split())
        (folder / "words.txt").write_text(str(words))
        return words

    def tell(self, result: int, seconds: float) -> Iterator[str]:
        yield f"{result} words"

    def problems(self, result: int) -> list[str]:
        return [] if result >= self.options.least else [f"{result} words are too few"]
"""
START = (
    "import sys; from finecut.pipeline import commands; commands.__path__.append(sys.argv.pop(1));"
    "from finecut.pipeline.cli.command import main; sys.exit(main())"
)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the new command."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/toy.py").write_text(CODE, encoding="utf-8")
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path / "code")])
    name = f"{commands.__name__}.toy"
    yield importlib.import_module(name)
    del sys.modules[name]
    del commands.toy  # type: ignore[attr-defined]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "note.txt").write_text("one two three", encoding="utf-8")
    return folder


def ended(*words: object) -> object:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in words])
    return caught.value.code


def test_it_has_a_page_and_flags(toy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "count     Count the words of a note." in capsys.readouterr().out
    assert ended("count", "--help") == 0
    page = capsys.readouterr().out
    for words in (
        "usage: finecut count DATASET [options]",
        "Reads note.txt in DATASET",
        "--least N",
        "--quiet",
        "--runner NAME",
        "# how many there are",
        "exit codes:",
    ):
        assert words in page
    assert "| `--least N` | 0 | Fewer words are too few. |" in options_table(toy.CountOptions)
    assert main(["completion", "bash"]) == 0
    assert "count" in capsys.readouterr().out


def test_it_is_done_and_told(toy: Any, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", str(dataset)]) == 0
    assert capsys.readouterr() == ("counting\n3 words\n", "counting True\n")
    assert (dataset / "words.txt").read_text(encoding="utf-8") == "3"
    assert main(["count", str(dataset), "--quiet"]) == 0
    assert toy.Count(toy.CountOptions(str(dataset))).run() == 3
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["coun"], "finecut: unknown command coun: did you mean count?"),
        (["count"], "the following arguments are required: DATASET"),
        (["count", "x", "--least", "few"], "'few' is not a whole number"),
        (["count", "x", "--least", "-1"], "give 0 or more"),
        (["count", "x", "--leats=1"], "did you mean --least?"),
        (["count", "x", "--least", "13"], "finecut count: --least 13 is unlucky"),
    ],
)
def test_a_wrong_command_is_answered_in_one_line(
    words: list[str], answer: str, toy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(*words) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert answer in err


def test_what_went_wrong_is_said_also_with_quiet(
    toy: Any, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["count", str(dataset), "--least", "4", "--quiet"]) == 1
    assert capsys.readouterr() == ("", "finecut: 3 words are too few\n")
    assert main(["count", str(dataset / "none"), "--quiet"]) == 1
    words = f"finecut: {dataset}/none is not there: write the folder of a note\n"
    assert capsys.readouterr() == ("", words)


def test_a_disk_that_fails_is_a_sentence(
    toy: Any, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / "words.txt").mkdir()
    assert main(["count", str(dataset), "--quiet"]) == 1
    said = capsys.readouterr().err
    assert f"{dataset} could not be read or written ([Errno 21] Is a directory" in said
    (dataset / "words.txt").rmdir()
    (dataset / "words.txt").symlink_to("/dev/full")
    if Path("/dev/full").exists():
        assert main(["count", str(dataset), "--quiet"]) == 1
        said = capsys.readouterr().err
        assert "could not be written (No space left on device). Make room" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once(number: signal.Signals, toy: Any, dataset: Path) -> None:
    (dataset / "note.txt").unlink()
    os.mkfifo(dataset / "note.txt")  # whoever reads waits
    command = [sys.executable, "-c", START, str(Path(toy.__file__).parent), "count", str(dataset)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == "counting\n"
        running.send_signal(number)
        assert running.wait(30) == 128 + number
        assert "finecut: stopped." in running.stderr.read()
