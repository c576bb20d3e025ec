"""Videos in archives: each is its own bytes, wherever the archive lies and whoever made it."""

from __future__ import annotations

import gzip
import io
import random
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packed import add, flagged, header, padded, patched, tar_of
from web_server import serving

from finecut.io.storage import copies, files
from finecut.io.storage.archives.members import Sure
from finecut.io.storage.archives.tar_members import members
from finecut.io.storage.web.urls import USUAL_ACCESS, Access, permitted

CHANCE = random.Random(7)
FILMS = {f"{name}.mp4": CHANCE.randbytes(20_000 + 7 * n) for n, name in enumerate("abcde")}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(files, "STORE_SECONDS", 0.0)
    yield
    copies.sweep()


def is_film(name: str) -> bool:
    return name.endswith(".mp4")


def listed(archive: object) -> dict[str, str]:
    """The uri of each video, by its path in the archive."""
    found = files.videos_in(str(archive), is_film, USUAL_ACCESS)
    return {path: uri for uri, path in found}


def held(uri: str) -> bytes:
    with files.open_file(uri) as file:
        return file.read()


def contents(archive: object) -> dict[str, bytes | str]:
    """What each video is, or why it is none."""
    found: dict[str, bytes | str] = {}
    for path, uri in listed(archive).items():
        try:
            found[path] = held(uri)
            assert files.size_of(uri) == len(found[path])
        except OSError as error:
            found[path] = str(error)
    return found


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_of_any_form_holds_its_films(tmp_path: Path, form: int) -> None:
    long = "folder" * 15 + "/" + "n" * 90 + ".mp4"
    beside = {"a.json": b'{"license": "cc"}', "./sub/a.txt": b"words", "empty.mp4": b""}
    beside |= {"key.left.mp4": FILMS["c.mp4"], "key.json": b"{}"}
    named = {f"./{name}": data for name, data in FILMS.items()}
    members = {**named, **beside, long: FILMS["a.mp4"], "sub/a.mp4": FILMS["b.mp4"]}
    archive = tar_of(tmp_path / "x.tar", members, form)
    found = contents(archive)
    films = {**FILMS, "empty.mp4": b"", "key.left.mp4": FILMS["c.mp4"]}
    assert found == {**films, long: FILMS["a.mp4"], "sub/a.mp4": FILMS["b.mp4"]}
    uris = listed(archive)
    assert files.beside_member(uris["b.mp4"], ".json") is None
    for uri, extension, data in (
        (uris["a.mp4"], ".json", b'{"license": "cc"}'),
        (uris["sub/a.mp4"], ".txt", b"words"),
        (uris["key.left.mp4"], ".json", b"{}"),
    ):
        there = files.beside_member(uri, extension)
        assert there is not None
        assert files.read_if_there(there) == data


@pytest.mark.skipif(sys.platform != "linux", reason="asks for GNU tar")
def test_names_in_other_alphabets_and_in_none(tmp_path: Path) -> None:
    names = ["ü 你.mp4", "\udcff\udcfe.mp4", "50%.mp4", "a\nb.mp4", "a\\b.mp4"]
    archive = tar_of(tmp_path / "x!#%.tar", dict.fromkeys(names, b"film"))
    paths = ["ü 你.mp4", "%ff%fe.mp4", "50%25.mp4", "a%0ab.mp4", "a%5cb.mp4"]
    assert contents(archive) == dict.fromkeys(paths, b"film")


def test_names_that_lead_elsewhere_lead_nowhere(tmp_path: Path) -> None:
    names = ["../../x.mp4", "/etc/x.mp4", "a/../b.mp4", "a//c.mp4", "..", "x/..mp4"]
    archive = tar_of(tmp_path / "x.tar", {name: name.encode() for name in names})
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        for name in names:
            packed.writestr(name, name)
    films = {
        "%2e%2e/%2e%2e/x.mp4": b"../../x.mp4",
        "%-/etc/x.mp4": b"/etc/x.mp4",
        "a/%2e%2e/b.mp4": b"a/../b.mp4",
        "a/%-/c.mp4": b"a//c.mp4",
        "x/..mp4": b"x/..mp4",
    }
    assert contents(archive) == films
    assert contents(tmp_path / "x.zip") == films


def test_links_are_not_followed_and_the_last_of_a_name_counts(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, "./a.mp4", b"old")
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo(f"{kind.decode()}.mp4")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        add(archive, "a.mp4", b"new")
    assert contents(tmp_path / "x.tar") == {"a.mp4": b"new"}


def test_a_damaged_tar_gives_what_comes_before_the_damage(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "x.tar", FILMS).read_bytes()
    path, starts = tmp_path / "y.tar", [whole.index(data) for data in FILMS.values()]
    more = tar_of(tmp_path / "z.tar", {**FILMS, "z.txt": b"a text" * 100}).read_bytes()
    torn = more[: more.index(b"a text") + 100]
    for data, first, said in (
        (whole[: starts[2] + 100], 2, {"": "it ends before c.mp4 does", "c.mp4": "so what came"}),
        (torn, len(FILMS), {"": "it ends before z.txt does. Usually it was not copied completely"}),
        (whole[: starts[2] - 200], 2, {"": "it ends in the middle of a header"}),
        (whole[: starts[2] - 512], 2, {}),
        (whole[: starts[2] - 512] + b"x" * 512 + whole[starts[2] :], 2, {"": "is no header"}),
        (b"no archive at all" * 100, 0, {"": "what is at byte 0 is no header"}),
        (gzip.compress(whole), 0, {"": "what is at byte 0 is no header"}),
    ):
        path.write_bytes(data)
        found = contents(path)
        films = dict([*FILMS.items()][:first])
        assert {name: found.pop(name) for name in films} == films
        assert found.keys() == said.keys()
        for name, words in said.items():
            assert words in str(found[name])
            assert str(path) in str(found[name])


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (b"\xff" * 12, b"0"),
        (b"-0000000001", b"0"),
        (b"7777777zzzz", b"0"),
        (b"\x80" + b"\x7f" * 11, b"0"),
        (b"77777777777", b"x"),
        (b"77777777777", b"L"),
        (b"\xff" * 12, b"x"),
    ],
)
def test_sizes_that_cannot_be_end_the_listing_and_nothing_else(
    tmp_path: Path, size: bytes, kind: bytes
) -> None:
    good = header("a.mp4", b"00000000004") + padded(b"film")
    bad = header("b.mp4", size, kind) + bytes(1024)
    (tmp_path / "x.tar").write_bytes(good + bad + good)
    found = contents(tmp_path / "x.tar")
    assert found.pop("a.mp4") == b"film"
    [said] = found.values()
    assert "size that cannot be" in str(said) or "more than any name needs" in str(said)


def test_a_sparse_member_is_refused_and_the_next_is_found(tmp_path: Path) -> None:
    block = bytearray(header("sparse.mp4", b"00000001000", b"S"))
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more = b"\1".rjust(505, b"\0").ljust(512, b"\0") + bytes(512)
    pax = b"22 GNU.sparse.major=1\n" + b"29 GNU.sparse.name=other.mp4\n"
    data = bytes(block) + more + bytes(512)
    data += header("pax", b"%011o" % len(pax), b"x") + padded(pax)
    data += header("GNUSparseFile.0/other.mp4", b"00000000004") + padded(b"film")
    data += header("a.mp4", b"00000000004") + padded(b"film")
    (tmp_path / "x.tar").write_bytes(data)
    found = contents(tmp_path / "x.tar")
    assert found.pop("a.mp4") == b"film"
    assert len(found) == 2
    assert all("holes left out (sparse)" in str(said) for said in found.values())


# ── zip ──────────────────────────────────────────────────────────────────────────────────────────


def zip_of(path: Path, **how: Any) -> Path:
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, data in FILMS.items():
            archive.writestr(f"./sub/{name}", data)
    return path


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_holds_its_films(tmp_path: Path, kind: int) -> None:
    archive = zip_of(tmp_path / "x.zip", compression=kind)
    films = {f"sub/{name}": data for name, data in FILMS.items()}
    assert contents(archive) == films
    # As a stream writes it, its sizes behind each member, and as one larger than 4 GB is written.
    out = io.BytesIO()
    with zipfile.ZipFile(_Stream(out), "w", kind) as packed:
        for name, data in films.items():
            with packed.open(name, "w", force_zip64=True) as member:
                member.write(data)
    (tmp_path / "y.zip").write_bytes(b"#!/bin/sh\n" + out.getvalue())
    assert contents(tmp_path / "y.zip") == films


class _Stream(io.RawIOBase):
    """What can only be written on."""

    def __init__(self, out: io.BytesIO) -> None:
        self.out = out

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self.out.write(data)


def test_what_is_wrong_with_one_member_of_a_zip_is_said_of_it_alone(tmp_path: Path) -> None:
    plain = zip_of(tmp_path / "x.zip").read_bytes()
    packed = zip_of(tmp_path / "z.zip", compression=zipfile.ZIP_DEFLATED).read_bytes()
    name = b"./sub/c.mp4"
    for data, said in (
        (flagged(plain, name, 1), "is encrypted"),
        (patched(plain, name, 10, b"\x63\0"), "a way that finecut does not know"),
        (patched(plain, name, 24, b"\1\0\0\0"), "two different sizes"),
        (patched(plain, name, 16, b"\1\2\3\4"), "not what the archive's directory says"),
        (patched(packed, name, 24, b"\1\0\0\0"), "two different sizes"),
        (patched(packed, name, 24, b"\xff\xff\xff\x70"), "two different sizes"),
        (patched(packed, name, 20, b"\xff\xff\xff\x70"), "the archive ends before this member"),
    ):
        (tmp_path / "y.zip").write_bytes(data)
        found = contents(tmp_path / "y.zip")
        assert said in str(found.pop("sub/c.mp4"))
        assert found == {f"sub/{n}": film for n, film in FILMS.items() if n != "c.mp4"}


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    plain = zip_of(tmp_path / "x.zip").read_bytes()
    first = plain.rindex(b"./sub/a.mp4") - 46
    (tmp_path / "y.zip").write_bytes(
        patched(plain, b"./sub/b.mp4", 42, plain[first + 42 : first + 46])
    )
    found = contents(tmp_path / "y.zip")
    assert all("shares its bytes with another" in str(found[f"sub/{n}.mp4"]) for n in "ab")
    assert found["sub/c.mp4"] == FILMS["c.mp4"]


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.mp4", bytes(20_000_000))
        archive.writestr("a.mp4", b"film")
    found = files.videos_in(str(tmp_path / "x.zip"), is_film, Access(most=1_000_000))
    with pytest.raises(OSError, match="larger than --max-download-mb when it is unpacked"):
        held(found[1][0])
    assert held(found[0][0]) == b"film"
    # One that says less than it holds is stopped there, and nothing of it stays.
    data = patched((tmp_path / "x.zip").read_bytes(), b"bomb.mp4", 24, b"\0\1\0\0")
    (tmp_path / "y.zip").write_bytes(data)
    assert "two different sizes" in str(contents(tmp_path / "y.zip")["bomb.mp4"])
    assert max(path.stat().st_size for path in Path(copies.place()).iterdir()) == len(b"film")


def test_what_is_no_zip_says_so(tmp_path: Path) -> None:
    for data in (b"", b"PK\x03\x04", b"x" * 5000, zip_of(tmp_path / "x.zip").read_bytes()[:-30]):
        (tmp_path / "y.zip").write_bytes(data)
        [said] = contents(tmp_path / "y.zip").values()
        assert "no directory that can be read" in str(said)


# ── versions ─────────────────────────────────────────────────────────────────────────────────────


def versions(archive: Path) -> dict[str, str]:
    return {path: files.version_of(uri) for path, uri in listed(archive).items()}


def test_a_member_is_the_same_as_long_as_its_bytes_are(tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "x.tar", FILMS)
    before = versions(tar)
    others = {"new.mp4": b"film", **dict(reversed(FILMS.items()))}
    after = versions(tar_of(tar, others))
    assert {name: after[name] for name in before} == before
    # Of the same size, written at the same time, and others nevertheless.
    changed = {**FILMS, "b.mp4": FILMS["b.mp4"][:-1] + b"!", "c.mp4": b"!" + FILMS["c.mp4"][1:]}
    after = versions(tar_of(tar, changed))
    assert {name for name in before if after[name] != before[name]} == {"b.mp4", "c.mp4"}
    assert versions(tar_of(tar, FILMS, written=6)).items().isdisjoint(before.items())


def test_an_archive_that_is_replaced_gives_the_member_of_that_name(tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "x.tar", FILMS)
    uris = listed(tar)
    tar_of(tar, {"first.mp4": b"film", **FILMS})
    assert {name: held(uri) for name, uri in uris.items()} == FILMS
    tar_of(tar, {"a.mp4": b"film"})
    assert held(uris["a.mp4"]) == b"film"
    with pytest.raises(FileNotFoundError, match="has no such member"):
        held(uris["e.mp4"])
    archive = zip_of(tmp_path / "x.zip")
    uris, before = listed(archive), versions(archive)
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("sub/b.mp4", FILMS["a.mp4"])
    assert held(uris["sub/b.mp4"]) == FILMS["a.mp4"]
    assert files.version_of(uris["sub/b.mp4"]) != before["sub/b.mp4"]
    with pytest.raises(FileNotFoundError, match="has no such member"):
        held(uris["sub/a.mp4"])


# ── far away ─────────────────────────────────────────────────────────────────────────────────────


def test_archives_on_a_web_server_are_read_in_parts(tmp_path: Path) -> None:
    tar_of(tmp_path / "x.tar", FILMS)
    zip_of(tmp_path / "x.zip", compression=zipfile.ZIP_DEFLATED)
    with serving(tmp_path) as server:
        for name in ("x.tar", "x.zip"):
            uri = permitted(f"{server.address}/{name}", Access(private=True))
            assert {*contents(uri).values()} == {*FILMS.values()}
        # The limit is of videos: an archive may be larger.
        small = permitted(f"{server.address}/x.tar", Access(private=True, most=50_000))
        assert {*contents(small).values()} == {*FILMS.values()}
        missing = permitted(f"{server.address}/none.tar", Access(private=True))
        [said] = contents(missing).values()
        assert "the server has no such file" in str(said)


def test_listing_a_thousand_films_reads_their_headers(tmp_path: Path) -> None:
    """Films of 200 kB with a text beside each, in a tar of 200 MB that lies on a disk as holes."""
    text = header("k.json", b"00000000010") + padded(b"{'a': 1}")
    path, each = tmp_path / "x.tar", len(text) + 512 + 200_192
    with path.open("wb") as file:
        for number in range(1000):
            file.seek(number * each)
            file.write(header(f"{number:04}.mp4", b"%011o" % 200_000))
            file.seek(number * each + 512 + 200_192)
            file.write(text)
        file.truncate(1000 * each + 1024)
    counted = [0, 0]
    sure = Sure("x.tar", _Counted(path, counted), files.patiently, 1)
    assert len([name for name, _ in members(sure) if is_film(name)]) == 1000
    requests, sent = counted
    assert requests < 1_010
    assert sent < 5_000_000


class _Counted:
    """A store's object that counts what is read of it."""

    def __init__(self, path: Path, counted: list[int]) -> None:
        self._file = files.opened(str(path))
        self.size, self._counted = self._file.size, counted

    def fetch(self, start: int, length: int) -> bytes:
        data = self._file.fetch(start, length)
        self._counted[0] += 1
        self._counted[1] += len(data)
        return data

    def close(self) -> None:
        self._file.close()
