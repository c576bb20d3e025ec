"""The shelf: final names are whole files, doing it twice is doing it once, nothing is left over."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_clock import Clock

from finecut.io.media.source import open_film
from finecut.io.media.testfilm.paint import paint
from finecut.io.storage import files as shelf
from finecut.io.storage.files import Shelf


@pytest.fixture
def own(tmp_path: Path) -> Shelf:
    return Shelf(str(tmp_path / "out"), str(tmp_path / "out/.staging/run"))


def names_below(folder: str) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


def test_writing_replaces_and_leaves_nothing_beside(own: Shelf) -> None:
    path = f"{own.root}/metas/v0/x.json"
    assert own.write(path, b"first") == 5
    own.write(path, b"second")
    assert shelf.read(path) == b"second"
    own.sweep()
    assert names_below(own.root) == ["metas/v0/x.json"]
    assert not Path(own.root, ".staging").exists()


def test_a_compressed_looking_name_is_written_as_it_is(own: Shelf) -> None:
    own.write(f"{own.root}/a.mp4.gz", b"plain")
    assert Path(own.root, "a.mp4.gz").read_bytes() == b"plain"


def test_a_reader_never_sees_half_a_file(own: Shelf) -> None:
    path = f"{own.root}/clips/x.mp4"
    versions = [bytes([i]) * 200_000 for i in range(20)]
    own.write(path, versions[0])
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(own.write, path, version) for version in versions * 3]
        seen = {Path(path).read_bytes() for _ in range(200)}
        assert {write.result() for write in writes} == {200_000}
    assert seen <= set(versions)


def test_benches_are_removed_when_their_files_are_gone(own: Shelf) -> None:
    with own.bench() as bench:
        first, second = bench / "a.mp4", bench / "b.mp4"
        first.write_bytes(b"aa")
        own.publish(own.stage(first), f"{own.root}/clips/a.mp4")
        assert bench.exists(), "the bench is still in use"
        second.write_bytes(b"bb")
        staged = own.stage(second)
    own.publish(staged, f"{own.root}/clips/b.mp4")
    assert not bench.exists()
    assert names_below(own.root) == ["clips/a.mp4", "clips/b.mp4"]


def test_publishing_twice_is_publishing_once(own: Shelf) -> None:
    with own.bench() as bench:
        (bench / "a.mp4").write_bytes(b"aa")
        staged = own.stage(bench / "a.mp4")
    final = f"{own.root}/clips/a.mp4"
    assert own.publish(staged, final, 2) == 2
    assert own.publish(staged, final, 2) == 2
    with pytest.raises(FileNotFoundError):
        own.publish(staged, final, 3)
    with pytest.raises(FileNotFoundError):
        own.publish(staged, f"{own.root}/clips/other.mp4", 2)


def test_sweeping_leaves_other_runs_alone(own: Shelf) -> None:
    other = Shelf(own.root, f"{own.root}/.staging/other")
    with other.bench() as bench:
        (bench / "a.mp4").write_bytes(b"aa")
        own.write(f"{own.root}/x", b"x")
        own.sweep()
        assert (bench / "a.mp4").exists()


def test_local_paths_are_made_absolute_and_remote_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shelf.absolute("./a//b/../c") == str(tmp_path / "a/c")
    assert shelf.absolute("gs://bucket/a/") == "gs://bucket/a"
    assert (shelf.store_of("gs://bucket/a"), shelf.store_of("/a")) == ("gs://bucket", "")


# Trouble: what passes is waited out, what stays leaves nothing behind.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(shelf, "retried", clock.retried)
    return clock


def failing(error: OSError, times: int, work: Callable[..., Any]) -> Callable[..., Any]:
    """The work, which breaks so many times before it is done."""
    left = iter(range(times))

    def attempt(*arguments: Any, **named: Any) -> Any:
        if next(left, None) is not None:
            raise error
        return work(*arguments, **named)

    return attempt


STALE = OSError(errno.ESTALE, "Stale file handle")
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["_create", "_move"])
def test_a_disk_that_was_away_for_a_moment_is_written_to(
    step: str, own: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, step, failing(STALE, 3, getattr(shelf, step)))
    own.write(f"{own.root}/x.json", b"x")
    assert 0 < clock.now < shelf.DISK_SECONDS
    assert names_below(own.root) == ["x.json"]


def test_a_disk_that_stays_away_is_given_up(
    own: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "_move", failing(STALE, 1000, shelf._move))
    with pytest.raises(OSError, match="Stale"):
        own.write(f"{own.root}/x.json", b"x")
    assert clock.now <= shelf.DISK_SECONDS
    assert names_below(own.root) == []


@pytest.mark.parametrize("step", ["_create", "_move"])
def test_a_full_disk_is_said_at_once_and_holds_no_part(
    step: str, own: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.write(f"{own.root}/x.json", b"of an earlier run")
    monkeypatch.setattr(shelf, step, failing(FULL, 1, getattr(shelf, step)))
    with pytest.raises(OSError, match="No space"):
        own.write(f"{own.root}/x.json", b"x")
    assert clock.now == 0
    assert names_below(own.root) == ["x.json"]
    assert shelf.read(f"{own.root}/x.json") == b"of an earlier run"


def test_a_file_that_is_full_when_it_is_closed_is_no_file(own: Shelf) -> None:
    """What fits into the buffer is written by closing, and that is when the disk says no."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    part = f"{own.root}/part"
    Path(own.root).mkdir()
    Path(part).symlink_to("/dev/full")
    with (
        pytest.raises(OSError, match="No space"),
        shelf._removed_unless_whole(part),
    ):
        shelf._create(part, b"small")
    assert not Path(part).is_symlink()


def test_a_published_file_is_published_though_the_disk_was_away(
    own: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own.bench() as bench:
        (bench / "a.mp4").write_bytes(b"aa")
        staged = own.stage(bench / "a.mp4")
    monkeypatch.setattr(shelf, "_move", failing(STALE, 2, shelf._move))
    assert own.publish(staged, f"{own.root}/clips/a.mp4") == 2
    assert clock.pauses


@pytest.mark.parametrize(
    "ask", [shelf.read, shelf.size_of, shelf.version_of, shelf.exists], ids=lambda ask: ask.__name__
)
def test_a_question_is_asked_again(
    ask: Callable[[str], Any], own: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{own.root}/x"
    own.write(path, b"x")
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
