"""Google's store: what replaces what, who we are, and what is said when something is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("google.cloud.storage")
pytest.importorskip("gcp_storage_emulator")
from faults import FaultyStore
from google.auth.credentials import AnonymousCredentials

from finecut.io import gcs, shelf
from finecut.io.gcs import GoogleStore
from finecut.io.shelf import Shelf

ROOT = "gs://bucket/out"
FINAL = f"{ROOT}/clips/a.mp4"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    server = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
    yield server
    server.close()


@pytest.fixture
def own(server: FaultyStore) -> Shelf:
    return Shelf(ROOT, f"{ROOT}/.staging/run")


def staged(own: Shelf, data: bytes) -> str:
    with own.bench() as bench:
        (bench / "a.mp4").write_bytes(data)
        return own.stage(bench / "a.mp4")


def is_rewrite(method: str, path: str) -> bool:
    return method == "POST" and "/rewriteTo/" in path


# ── publishing ───────────────────────────────────────────────────────────────────────────────────


def test_publishing_twice_is_publishing_once(own: Shelf) -> None:
    source = staged(own, b"clip")
    assert own.publish(source, FINAL, 4) == 4
    first = shelf.version_of(FINAL)
    assert own.publish(source, FINAL, 4) == 4
    assert shelf.version_of(FINAL) == first
    assert not shelf.exists(source)


def test_a_publication_whose_answer_is_lost_is_published_once(
    own: Shelf, server: FaultyStore
) -> None:
    source, lost = staged(own, b"clip"), iter(["cut"])
    server.spoiled = lambda method, path: next(lost, "") if is_rewrite(method, path) else ""
    own.publish(source, FINAL, 4)
    assert shelf.read(FINAL) == b"clip"
    assert sum(is_rewrite(method, path) for method, path, _ in server.asked) == 1


def test_who_is_overtaken_looks_again(own: Shelf, server: FaultyStore) -> None:
    """Somebody else publishes between our look and our copy: ours is not lost, nor torn."""
    source = staged(own, b"clip")
    meanwhile = iter([b"of another"])

    def overtaken(method: str, path: str) -> str:
        if is_rewrite(method, path) and (data := next(meanwhile, None)) is not None:
            storage = server._emulator._storage
            told = dict(storage.objects["bucket"][source.removeprefix("gs://bucket/")])
            told |= {"generation": "7", "size": len(data), "crc32c": "AAAAAA=="}
            storage.create_file("bucket", FINAL.removeprefix("gs://bucket/"), data, told)
        return ""

    server.spoiled = overtaken
    own.publish(source, FINAL, 4)
    assert shelf.read(FINAL) == b"clip"
    assert sum(is_rewrite(method, path) for method, path, _ in server.asked) == 2


def test_a_copy_does_not_replace_what_nobody_looked_at(own: Shelf, server: FaultyStore) -> None:
    """The request itself says which generation it may replace."""
    own.publish(staged(own, b"old"), FINAL, 3)
    known = shelf.version_of(FINAL).split()[1]
    own.publish(staged(own, b"new clip"), FINAL, 8)
    [asked] = [p for m, p, _ in server.asked if is_rewrite(m, p) and f"Match={known}" in p]
    assert f"ifGenerationMatch={known}" in asked
    assert "ifSourceGenerationMatch=" in asked


def test_what_browsers_show_is_what_it_is(own: Shelf, server: FaultyStore) -> None:
    own.publish(staged(own, b"clip"), FINAL, 4)
    own.write(f"{ROOT}/metas/v0/a.json", b"{}")
    objects = server._emulator._storage.objects["bucket"]
    assert objects["out/clips/a.mp4"]["contentType"] == "video/mp4"
    assert objects["out/metas/v0/a.json"]["contentType"] == "application/json"


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def test_another_film_does_not_continue_this_one(own: Shelf, server: FaultyStore) -> None:
    """What is read is the generation that was opened, or nothing."""
    film = f"{ROOT}/film"
    own.write(film, b"a" * 300_000)
    with shelf.open_source(film) as file:
        assert not isinstance(file, str)
        assert file.read(10) == b"a" * 10
        own.write(film, b"b" * 300_000)
        file.seek(200_000)
        with pytest.raises(OSError):  # noqa: PT011
            file.read(10)


@pytest.mark.parametrize(
    "name", ["a b.mp4", "é 影.mp4", "100%.mp4", "a#b?c.mp4", "[x]*.mp4", "-a.mp4", "a//b.mp4"]
)
def test_any_name_is_a_name(name: str, own: Shelf) -> None:
    path = f"{ROOT}/names/{name}"
    own.write(path, b"film")
    assert shelf.read(path) == b"film"
    assert shelf.exists(path)
    assert list(shelf.files_below(f"{ROOT}/names")) == [path]
    own.remove(path)
    assert not shelf.exists(path)


def test_folders_are_what_names_say(own: Shelf) -> None:
    for name in ("a/1.pickle", "a/2.json", "a/deep/3.json", "b/4.json", "ab.json"):
        own.write(f"{ROOT}/{name}", b"x")
    assert shelf.files_in(f"{ROOT}/a") == [f"{ROOT}/a/1.pickle", f"{ROOT}/a/2.json"]
    assert shelf.folders_in(ROOT) == [f"{ROOT}/a", f"{ROOT}/b"]
    assert shelf.some_file_in(f"{ROOT}/a", ".json") == f"{ROOT}/a/2.json"
    assert shelf.some_file_in(f"{ROOT}/b", ".pickle") is None
    assert shelf.matching(f"{ROOT}/*.json") == [f"{ROOT}/ab.json"]
    assert len(shelf.matching(f"{ROOT}/**.json")) == 4
    assert shelf.is_folder(f"{ROOT}/a")
    assert not shelf.is_folder(f"{ROOT}/ab.json")


# ── who we are ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without credentials."""
    names = (gcs.EMULATOR, "GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(gcs, "MACHINE", tmp_path / "product_name")


def test_without_credentials_nobody_waits_for_any(
    nobody: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(**_: object) -> None:
        raise AssertionError("Google's library was asked, which takes up to a minute")

    monkeypatch.setattr("google.auth.default", asked)
    assert not gcs.may_have_credentials()
    credentials, _ = gcs._credentials()
    assert isinstance(credentials, AnonymousCredentials)


@pytest.mark.parametrize("where", ["variable", "gcloud", "machine"])
def test_credentials_are_looked_for_where_they_may_be(
    where: str, nobody: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "variable":
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    elif where == "gcloud":
        (tmp_path / "none").mkdir()
        (tmp_path / "none/application_default_credentials.json").write_text("{}")
    else:
        (tmp_path / "product_name").write_text("Google Compute Engine\n")
    assert gcs.may_have_credentials()


def test_a_refusal_says_how_to_log_in(server: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    server.spoiled = lambda method, path: "403"
    with pytest.raises(PermissionError, match="usually this account has no role there"):
        GoogleStore().read(FINAL)
    monkeypatch.setattr(gcs, "_stands_in", lambda: False)
    monkeypatch.setattr(gcs, "may_have_credentials", lambda: False)
    with pytest.raises(PermissionError, match="gcloud auth application-default login"):
        GoogleStore().read(FINAL)
