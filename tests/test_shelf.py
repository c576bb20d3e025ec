"""The shelf: final names are whole files, doing it twice is doing it once, nothing is left over."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from finecut.io import shelf
from finecut.io.shelf import Shelf


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
