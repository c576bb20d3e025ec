"""A disk that refuses is told as one: the path, the reason, and what to do about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.records import Failure, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.cli.command import main
from finecut.pipeline.cli.disk import disk_trouble

BOOKS = "counts do not add up"
Refuse = Callable[[str, str, int], None]


@pytest.fixture
def films(tmp_path: Path) -> Path:
    (tmp_path / "films").mkdir()
    scene = Scene(velocity=(60.0, 40.0), pan=40.0)
    paint(tmp_path / "films/a.mp4", width=64, height=36, rate=10, seconds=3, scenes=[scene])
    return tmp_path / "films"


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """From then on the system refuses this operation on paths that hold these letters."""
    monkeypatch.setattr(shelf, "DISK_SECONDS", 0.0)

    def refuse(operation: str, where: str, number: int) -> None:
        real = getattr(Path, operation)

        def spoiled(path: Path, *arguments: Any, **settings: Any) -> Any:
            named = str(arguments[0] if operation == "replace" else path)
            if where in named:
                raise OSError(number, os.strerror(number), named)
            return real(path, *arguments, **settings)

        monkeypatch.setattr(Path, operation, spoiled)

    return refuse


def curate(films: Path, *others: str) -> int:
    told = ["--input", str(films), "--output", str(films.parent / "out"), "--clip-length", "1"]
    told += ["--min-clip-length", "0.5", "--chunk-seconds", "2", "--workers", "1", "--quiet"]
    told += ["--generate-previews", "--preview-target-height", "36", "--no-isolation"]
    told += ["--no-generate-embeddings", "--motion-filter", "score-only", *others]
    return main(["curate", *told])


@pytest.mark.parametrize(
    ("operation", "where", "number"),
    [
        ("replace", "/clips/", errno.ENOSPC),
        pytest.param("replace", "/previews/", errno.EDQUOT, marks=pytest.mark.slow),
        pytest.param("replace", "/metas/", errno.EROFS, marks=pytest.mark.slow),
        pytest.param("replace", "processed_clip_chunks/", errno.ENOSPC, marks=pytest.mark.slow),
        ("replace", "processed_videos/", errno.EIO),
        # An earlier verdict, which there is none of, cannot be removed although the clip is there.
        pytest.param("unlink", "filtered_clips/", errno.EIO, marks=pytest.mark.slow),
        ("unlink", "filtered_clips/", errno.EROFS),
    ],
)
def test_a_disk_that_refuses_is_told_as_one(
    operation: str,
    where: str,
    number: int,
    films: Path,
    refuse: Refuse,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse(operation, where, number)
    assert curate(films) == 1
    said = capsys.readouterr().err
    assert f"the disk could not be written to ({os.strerror(number)}: {films.parent}" in said
    assert "run the same command again" in said
    assert BOOKS not in said
    assert "Every video failed" not in said
    monkeypatch.undo()
    assert curate(films) == 0
    assert main(["verify", str(films.parent / "out"), "--quick", "--quiet"]) == 0


@pytest.mark.parametrize(
    "where",
    [
        "/metas/",
        pytest.param("processed_clip_chunks/", marks=pytest.mark.slow),
        pytest.param("filtered_clips/", marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_refuses_refiltering_is_told_as_one(
    where: str,
    films: Path,
    refuse: Refuse,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert curate(films) == 0
    command = ["refilter", str(films.parent / "out"), "--motion-filter", "enable"]
    command += ["--motion-global-mean-threshold", "9", "--workers", "1", "--quiet"]
    refuse("replace", where, errno.ENOSPC)
    assert main(command) == 1
    said = capsys.readouterr().err
    assert os.strerror(errno.ENOSPC) in said
    assert str(films.parent / "out") in said
    assert BOOKS not in said
    monkeypatch.undo()
    assert main(command) == 0
    assert main(["verify", str(films.parent / "out"), "--quick", "--quiet"]) == 0


def failure(step: str, message: str) -> Failure:
    source = Source("/films/a.mp4", "/films/a.mp4", "a.mp4")
    return Failure(step, source, "OSError", message, "", (), 1)


@pytest.mark.parametrize(
    ("step", "message", "is_disk"),
    [
        ("cut", "[Errno 28] No space left on device: '/out/.staging/1/x.mp4'", True),
        ("cut", "[Errno 28] No space left on device", True),
        ("cut", "[Errno 5] Input/output error: '/out/.staging/1/x.mp4'", True),
        ("PublishClips", "[Errno 5] Input/output error", True),
        ("probe", "[Errno 5] Input/output error: '/films/a.mp4'", False),
        ("probe", "[Errno 2] No such file or directory: '/films/a.mp4'", False),
        ("probe", "no film", False),
    ],
)
def test_a_film_that_cannot_be_read_is_no_disk_that_refuses(
    step: str, message: str, is_disk: bool
) -> None:
    assert (disk_trouble([failure(step, message)], "/out") is not None) == is_disk


def test_an_error_that_names_no_file_is_given_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    own = Shelf(str(tmp_path), f"{tmp_path}/.staging/run")
    with pytest.raises(OSError, match="a document"):
        own.write(f"{tmp_path}/a document.json", b"{}")
