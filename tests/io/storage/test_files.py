"""Files: what is found, listed and read, and how trouble is waited out."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_clock import Clock
from faults import failing

from finecut.io.media.source import open_film
from finecut.io.media.testfilm.paint import paint
from finecut.io.storage import files as shelf

STALE = OSError(errno.ESTALE, "Stale file handle")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(shelf, "retried", clock.retried)
    return clock


def test_local_paths_are_made_absolute_and_remote_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shelf.absolute("./a//b/../c") == str(tmp_path / "a/c")
    assert shelf.absolute("gs://bucket/a/") == "gs://bucket/a"
    assert (shelf.store_of("gs://bucket/a"), shelf.store_of("/a")) == ("gs://bucket", "")


@pytest.mark.parametrize(
    "ask", [shelf.read, shelf.size_of, shelf.version_of, shelf.exists], ids=lambda ask: ask.__name__
)
def test_a_question_is_asked_again(
    ask: Callable[[str], Any], tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "x")
    Path(path).write_bytes(b"x")
    said = ask(path)
    for owner, name in ((Path, "stat"), (Path, "exists"), (os, "open")):
        monkeypatch.setattr(owner, name, failing(STALE, 2, getattr(owner, name)))
    assert ask(path) == said
    assert clock.pauses


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_a_decoder_hands_on_what_reading_broke_with(suffix: str, tmp_path: Path) -> None:
    """At whichever read it happens: nobody takes it for the end of the film, or for damage."""
    codec, options = ("mpeg4", {"b": "8M"}) if suffix == ".avi" else ("libx264", {"crf": "1"})
    path = tmp_path / f"film{suffix}"
    paint(path, width=640, height=360, rate=15, seconds=4, codec=codec, codec_options=options)

    class Breaking(io.BytesIO):
        reads = 0
        broken_at = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            if self.reads >= self.broken_at > 0:
                raise OSError(errno.EIO, "the store is away")
            return super().read(size)

    def frames(broken_at: int) -> tuple[int, int]:
        file = Breaking(path.read_bytes())
        file.broken_at = broken_at
        with open_film(file) as film:
            return sum(1 for _ in film.decode(video=0)), file.reads

    count, reads = frames(0)
    assert count == 60
    assert reads >= 3
    for broken_at in range(1, reads + 1):
        with pytest.raises(OSError, match="the store is away"):
            frames(broken_at)


def test_a_link_that_leads_in_a_circle_is_no_folder_and_hides_nothing(tmp_path: Path) -> None:
    circle, sound = tmp_path / "circle.json", tmp_path / "sound.json"
    circle.symlink_to(circle)
    assert shelf.some_file_in(str(tmp_path), ".json") is None
    assert shelf.folders_in(str(tmp_path)) == []
    sound.write_bytes(b"{}")
    (tmp_path / "folder").mkdir()
    assert shelf.some_file_in(str(tmp_path), ".json") == str(sound)
    assert shelf.folders_in(str(tmp_path)) == [str(tmp_path / "folder")]
    assert shelf.files_in(str(tmp_path)) == [str(circle), str(sound)]
