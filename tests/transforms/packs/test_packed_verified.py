"""Damage to packed datasets is found, and what is whole passes."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from arranged import Both, both
from performing import performed

from finecut.io.tables.packs import PackedClip, PackTable
from finecut.pipeline.commands.repack import RepackOptions
from finecut.pipeline.commands.verify import Verify, VerifyOptions


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Nothing is changed in them."""
    folder = tmp_path_factory.mktemp("both")
    return both(folder, generate_previews=True, generate_thumbnails=True)


@pytest.fixture
def packed(made: Both, tmp_path: Path) -> Path:
    """A copy to do things to."""
    return Path(shutil.copytree(made.packed, tmp_path / "packed"))


def found_in(root: Path, quick: bool = True) -> dict[str, set[str]]:
    """What is wrong, by kind: the places."""
    verified = Verify(VerifyOptions(str(root), quiet=True, quick=quick, show=100).check()).run()
    found: dict[str, set[str]] = {}
    for finding in verified.wrong:
        found.setdefault(finding.kind, set()).add(finding.path)
    return found


def archive_of(root: Path) -> Path:
    """One with two kept clips."""
    [name] = [path for path in (root / "packs").glob("*.tar") if len(films_in(path)) == 2][:1]
    return name


def films_in(archive: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(archive) as tar:
        return [member for member in tar.getmembers() if member.name.endswith(".mp4")]


def test_a_packed_dataset_that_is_whole_passes(made: Both, packed: Path) -> None:
    verified = Verify(VerifyOptions(str(packed), quiet=True).check()).run()
    assert verified.wrong == []
    of_files = Verify(VerifyOptions(str(made.files), quiet=True).check()).run()
    same = ("clips", "clips decoded", "previews", "previews shown", "vectors", "documents")
    assert {name: verified.checked[name] for name in same} == {
        name: of_files.checked[name] for name in same
    }
    assert verified.checked["archives"] == 4


def test_it_passes_when_it_was_repacked(packed: Path) -> None:
    assert performed(RepackOptions(str(packed), quiet=True)) == 0
    assert found_in(packed) == {}


def test_a_truncated_archive_is_found(packed: Path) -> None:
    archive = archive_of(packed)
    last = films_in(archive)[-1]
    os.truncate(archive, last.offset_data + last.size - 1)
    found = found_in(packed)
    assert found["pack-broken"] == {f"packs/{archive.name}"}
    assert f"packs/{archive.name} ({last.name})" in found["clip-changed"]


def test_the_end_of_an_archive_is_looked_at(packed: Path) -> None:
    archive = archive_of(packed)
    os.truncate(archive, archive.stat().st_size - 512)
    assert found_in(packed) == {"pack-broken": {f"packs/{archive.name}"}}


def test_a_flipped_byte_is_found(packed: Path) -> None:
    archive = archive_of(packed)
    film = films_in(archive)[0]
    data = bytearray(archive.read_bytes())
    data[film.offset_data + film.size // 2] ^= 1
    archive.write_bytes(data)
    assert found_in(packed) == {"clip-changed": {f"packs/{archive.name} ({film.name})"}}


def test_a_member_with_another_name_is_found(packed: Path) -> None:
    archive = archive_of(packed)
    film = films_in(archive)[0]
    data = bytearray(archive.read_bytes())
    data[film.offset] ^= 1
    archive.write_bytes(data)
    assert found_in(packed) == {"pack-differs": {f"packs/{archive.name} ({film.name})"}}


def test_a_missing_archive_is_found(packed: Path) -> None:
    archive = archive_of(packed)
    films = films_in(archive)
    archive.unlink()
    found = found_in(packed)
    assert found["pack-broken"] == {f"packs/{archive.name}"}
    assert found["clip-missing"] == {f"packs/{archive.name} ({film.name})" for film in films}


def test_archives_that_nobody_speaks_of_are_found(packed: Path) -> None:
    archive = archive_of(packed)
    shutil.copy(archive, archive.with_name("other.tar"))
    shutil.copy(archive.with_suffix(".parquet"), archive.with_name("other.parquet"))
    assert found_in(packed) == {"orphan": {"packs/other.tar", "packs/other.parquet"}}


def changed(archive: Path, change: Callable[[list[PackedClip]], list[PackedClip]]) -> str:
    """Write the table beside an archive with other rows; its name."""
    path = archive.with_suffix(".parquet")
    table = PackTable.read(path.read_bytes())
    path.write_bytes(table.with_clips(change(table.clips())).to_bytes())
    return f"packs/{path.name}"


def test_a_table_that_speaks_of_what_its_archive_lacks_is_found(packed: Path) -> None:
    archive = archive_of(packed)
    films = films_in(archive)
    beyond = 1024 * (archive.stat().st_size // 1024 + 1)
    changed(archive, lambda rows: [replace(rows[0], offset=beyond), *rows[1:]])
    found = found_in(packed)
    place = f"packs/{archive.name} ({films[0].name})"
    assert (found["pack-differs"], found["clip-changed"]) == ({place}, {place})
    # The catalogue says where it really is.
    assert len(found["catalogue-differs"]) == 1


def test_a_table_and_the_document_of_its_chunk_have_the_same_clips(packed: Path) -> None:
    archive = archive_of(packed)
    name = changed(archive, lambda rows: [replace(rows[0], kept=not rows[0].kept), *rows[1:]])
    assert found_in(packed)["table-differs"] == {name}
    changed(archive, lambda rows: rows[1:])
    assert found_in(packed)["document-missing"]
    Path(packed / name).unlink()
    assert found_in(packed)["table-missing"] == {name}
    Path(packed / name).write_bytes(b"PAR1")
    assert found_in(packed)["table-broken"] == {name}


def test_a_catalogue_with_other_places_is_found(packed: Path) -> None:
    path = packed / "catalogue/clips.parquet"
    table = pq.read_table(path)
    offsets = table["clip_offset"].to_pylist()
    column = pa.array([(offsets[0] or 0) + 512, *offsets[1:]], pa.int64())
    place = table.column_names.index("clip_offset")
    pq.write_table(table.set_column(place, table.schema.field(place), column), path)
    assert {*found_in(packed)} == {"catalogue-differs"}
