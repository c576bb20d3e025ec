"""At work in a folder: what others see, what is refused, and what stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from finecut.io.storage.fence import is_halted
from finecut.pipeline.at_work import beside_runs, occupying, shelf_in, tray
from finecut.pipeline.engine import JobEnded
from finecut.pipeline.options import OptionError


def test_at_work_it_can_be_seen_by_others(tmp_path: Path) -> None:
    own = shelf_in(str(tmp_path))
    with beside_runs(own, only_marked=True):
        assert (Path(own.staging) / "alive").exists()


def test_a_folder_is_occupied_by_those_who_make_the_same(tmp_path: Path) -> None:
    first, second = (shelf_in(str(tmp_path)) for _ in range(2))
    with occupying(first, "--output", ends_with_us=True, configuration="a"):
        with occupying(second, "--output", ends_with_us=True, configuration="a"):
            pass
        for other in ("b", None):
            refused = pytest.raises(OptionError, match="--output is being written by another run")
            with refused, occupying(second, "--output", ends_with_us=True, configuration=other):
                pass
    assert not list(tmp_path.rglob("alive"))


@pytest.mark.parametrize(
    ("error", "is_local", "swept"),
    [
        (ValueError, True, True),
        # Its workers may be at work still.
        (ValueError, False, False),
        (JobEnded, False, True),
    ],
)
def test_what_nobody_needs_any_more_is_swept(
    error: type[Exception], is_local: bool, swept: bool, tmp_path: Path
) -> None:
    own = shelf_in(str(tmp_path))
    with pytest.raises(error), occupying(own, "--output", ends_with_us=is_local):
        raise error("x")
    assert Path(own.staging).exists() is not swept
    assert not is_halted(own.staging)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    own = shelf_in(str(tmp_path / "taken"))
    words = "--into .*taken cannot be written to .*: give a folder to which you may write"
    with pytest.raises(OptionError, match=words), occupying(own, "--into", ends_with_us=True):
        pass


@pytest.mark.parametrize("is_local", [True, False])
def test_a_tray_is_reached_by_workers_and_not_on_the_outputs_disk(
    is_local: bool, tmp_path: Path
) -> None:
    own = shelf_in(str(tmp_path))
    with tray(own, is_local) as reports:
        reports.write(f"{reports.root}/x.txt", b"x")
        assert reports.root.startswith(own.staging) is not is_local
