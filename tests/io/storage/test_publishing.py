"""Publishing: final names are whole files, twice is once, and nothing is left over."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_clock import Clock
from faults import failing

from finecut.io.storage import files as shelf
from finecut.io.storage import publishing
from finecut.io.storage.publishing import Shelf


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


# Trouble: what passes is waited out, what stays leaves nothing behind.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(shelf, "retried", clock.retried)
    return clock


STALE = OSError(errno.ESTALE, "Stale file handle")
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["_create", "_move"])
def test_a_disk_that_was_away_for_a_moment_is_written_to(
    step: str, own: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, step, failing(STALE, 3, getattr(publishing, step)))
    own.write(f"{own.root}/x.json", b"x")
    assert 0 < clock.now < shelf.DISK_SECONDS
    assert names_below(own.root) == ["x.json"]


def test_a_disk_that_stays_away_is_given_up(
    own: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_move", failing(STALE, 1000, publishing._move))
    with pytest.raises(OSError, match="Stale"):
        own.write(f"{own.root}/x.json", b"x")
    assert clock.now <= shelf.DISK_SECONDS
    assert names_below(own.root) == []


@pytest.mark.parametrize("step", ["_create", "_move"])
def test_a_full_disk_is_said_at_once_and_holds_no_part(
    step: str, own: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.write(f"{own.root}/x.json", b"of an earlier run")
    monkeypatch.setattr(publishing, step, failing(FULL, 1, getattr(publishing, step)))
    with pytest.raises(OSError, match="No space"):
        own.write(f"{own.root}/x.json", b"x")
    assert clock.now == 0
    assert names_below(own.root) == ["x.json"]
    assert shelf.read(f"{own.root}/x.json") == b"of an earlier run"


def test_a_file_that_is_full_when_it_is_closed_is_no_file(
    own: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fits into the buffer is written by closing, and that is when the disk says no."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    part = f"{own.root}/part"
    Path(own.root).mkdir()
    Path(part).symlink_to("/dev/full")
    monkeypatch.setattr(Shelf, "_unique", lambda _: part)
    with pytest.raises(OSError, match="No space"):
        own.write(f"{own.root}/x.json", b"small")
    assert names_below(own.root) == []
    assert not Path(part).is_symlink()


def test_a_published_file_is_published_though_the_disk_was_away(
    own: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own.bench() as bench:
        (bench / "a.mp4").write_bytes(b"aa")
        staged = own.stage(bench / "a.mp4")
    monkeypatch.setattr(publishing, "_move", failing(STALE, 2, publishing._move))
    assert own.publish(staged, f"{own.root}/clips/a.mp4") == 2
    assert clock.pauses


# ── what several change at the same time ─────────────────────────────────────────────────────────


def added(own: Shelf, path: str, line: bytes) -> None:
    own.update(path, lambda there: there + line)


def test_what_several_add_at_the_same_time_is_all_there(own: Shelf) -> None:
    path = f"{own.root}/failures/x.jsonl"
    lines = [b"%d\n" % number for number in range(60)]
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda line: added(own, path, line), lines):
            pass
    assert sorted(shelf.read(path).splitlines(keepends=True)) == sorted(lines)
    assert names_below(own.root) == ["failures/x.jsonl"]


def test_what_becomes_nothing_is_removed(own: Shelf) -> None:
    path = f"{own.root}/failures/x.jsonl"
    assert own.update(path, lambda there: b"") == 0
    assert own.update(path, lambda there: there + b"one") == 3
    assert own.update(path, lambda there: b"") == 0
    assert not Path(path).exists()
    own.sweep()
    assert not Path(own.root, ".staging").exists()


def test_a_link_in_the_place_of_a_lock_is_not_followed(own: Shelf, tmp_path: Path) -> None:
    Path(own.staging).mkdir(parents=True)
    Path(own.staging).with_name("finecut-update.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"update\.lock"):
        own.update(f"{own.root}/failures/x.jsonl", lambda there: b"one")
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_that_is_held_stays_and_one_that_was_left_goes(own: Shelf) -> None:
    staging = Path(own.staging).parent
    with own.alone("report"):
        (staging / "finecut-update.lock").touch()
        (staging / "somebody's.lock").touch()
        own.sweep_locks()
        assert names_below(str(staging)) == ["finecut-report.lock", "somebody's.lock"]
    assert names_below(str(staging)) == ["somebody's.lock"]


def test_folders_that_hold_nothing_go_up_to_those_in_the_root(tmp_path: Path) -> None:
    own = Shelf(str(tmp_path / "out"), str(tmp_path / "out/.staging/test"))
    deep, beside = tmp_path / "out/a/b/c/d", tmp_path / "out/a/x"
    deep.mkdir(parents=True)
    own.remove_emptied(str(deep))
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["a"]
    deep.mkdir(parents=True)
    beside.mkdir()
    (deep.parent / "file").touch()
    for folder in (deep, tmp_path / "out/a", tmp_path / "out", tmp_path, tmp_path / "out/no/such"):
        own.remove_emptied(str(folder))
    assert sorted(path.name for path in (tmp_path / "out/a").rglob("*")) == ["b", "c", "file", "x"]
