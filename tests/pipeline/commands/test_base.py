"""What all commands do alike, whoever calls them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from finecut.io.errors import RunError
from finecut.io.storage.fence import leads_outside
from finecut.io.storage.retry import StoreAway
from finecut.pipeline.cli.command import perform
from finecut.pipeline.commands.base import Command
from finecut.pipeline.commands.report import ReportOptions
from finecut.pipeline.options import OptionError


@dataclass(frozen=True)
class Reading(Command[ReportOptions, str]):
    """Reads one file of a dataset."""

    def folders(self) -> tuple[str, ...]:
        return self.options.dataset, self.options.into

    def work(self) -> str:
        path = f"{self.options.dataset}/note.txt"
        return "" if leads_outside(path) else Path(path).read_text(encoding="utf-8")

    def unreachable(self, error: OSError) -> str:
        return f"{self.options.dataset} could not be read ({error.strerror}): mend that"

    def troubles(self, result: str) -> Iterator[str]:
        if not result:
            yield "finecut: nothing stands there\x1b[2J"

    def tell(self, result: str, seconds: float) -> Iterator[str]:
        assert seconds >= 0
        yield f"it says {result}"

    def exit_code(self, result: str) -> int:
        return 0 if result else 1


def reading(folder: Path, text: str | None = None, quiet: bool = False) -> Reading:
    if text is not None:
        (folder / "note.txt").write_text(text, encoding="utf-8")
    return Reading(ReportOptions(dataset=str(folder), quiet=quiet))


def test_what_came_of_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert perform(reading(tmp_path, "well")) == 0
    assert capsys.readouterr() == ("it says well\n", "")


def test_troubles_are_told_also_to_who_wants_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert perform(reading(tmp_path, "", quiet=True)) == 1
    assert capsys.readouterr() == ("", "finecut: nothing stands there\\x1b[2J\n")


def test_a_disk_that_fails_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"No such file or directory.*: mend that") as caught:
        reading(tmp_path).run()
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("error", [OptionError("--x is wrong"), StoreAway("gs://x is away")])
def test_what_has_its_sentence_keeps_it(error: Exception, tmp_path: Path) -> None:
    class Refusing(Reading):
        def work(self) -> str:
            raise error

    with pytest.raises(type(error)) as caught:
        Refusing(ReportOptions(dataset=str(tmp_path))).run()
    assert caught.value is error


def test_no_link_is_followed_out_of_its_folders(tmp_path: Path) -> None:
    for name in ("dataset", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere/note.txt").write_text("secret", encoding="utf-8")
    (tmp_path / "dataset/note.txt").symlink_to("../elsewhere/note.txt")
    assert reading(tmp_path / "dataset").run() == ""


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "whatever"),
        RuntimeError("[Errno 28] No space: 'x' [while running 'Write']"),
    ],
)
def test_a_full_disk_is_a_sentence_wherever_it_was_full(error: Exception, tmp_path: Path) -> None:
    class Writing(Reading):
        def work(self) -> str:
            raise error

    words = r"could not be written \(No space left on device\)\. Make room"
    with pytest.raises(RunError, match=words):
        Writing(ReportOptions(dataset=str(tmp_path))).run()


def test_what_is_no_disk_is_a_defect_of_ours(tmp_path: Path) -> None:
    class Broken(Reading):
        def work(self) -> str:
            raise ValueError("[Errno 2] No such thing")

    with pytest.raises(ValueError, match="No such thing"):
        Broken(ReportOptions(dataset=str(tmp_path))).run()
