"""Google's store: what replaces what, who we are, and what is said when something is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("google.cloud.storage")
pytest.importorskip("gcp_storage_emulator")
from faulty_store import FaultyStore
from google.api_core.exceptions import ResumeIncomplete
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import (
    DefaultCredentialsError,
    InvalidOperation,
    RefreshError,
    TransportError,
)

from finecut.io.layout import Layout
from finecut.io.records import Source
from finecut.io.storage import files as shelf
from finecut.io.storage.cloud import gcs
from finecut.io.storage.cloud.gcs import GoogleStore
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.retry import is_passing
from finecut.io.storage.stores import Page, RangedFile, ShortRead
from finecut.transforms.find.inputs import Finding, check_inputs, find_sources
from finecut.transforms.find.lists import InputError
from finecut.transforms.models.weights.folders import WeightsMissing, locate
from finecut.transforms.resume.begin import begin
from finecut.transforms.resume.note import Again
from finecut.transforms.write.writing import Writing

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


def test_what_others_add_at_the_same_moment_is_not_lost(own: Shelf, server: FaultyStore) -> None:
    path = f"{ROOT}/failures/x.jsonl"
    meanwhile = iter([b"theirs\n", b"theirs again\n", None])

    def change(there: bytes) -> bytes:
        if (line := next(meanwhile)) is not None:
            GoogleStore().create(path, there + line)
        return there + b"ours\n"

    assert own.update(path, change) == len(b"theirs\ntheirs again\nours\n")
    assert shelf.read(path) == b"theirs\ntheirs again\nours\n"
    own.update(path, lambda there: b"")
    own.update(path, lambda there: b"")
    assert not shelf.exists(path)


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


@pytest.mark.parametrize("status", ["401", "403"])
def test_a_refusal_says_how_to_log_in(
    status: str, server: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.spoiled = lambda method, path: status
    with pytest.raises(PermissionError, match="Usually this account lacks a role there"):
        GoogleStore().read(FINAL)
    monkeypatch.setattr(gcs, "_stands_in", lambda: False)
    monkeypatch.setattr(gcs, "may_have_credentials", lambda: False)
    with pytest.raises(PermissionError, match="gcloud auth application-default login"):
        GoogleStore().read(FINAL)


@pytest.mark.parametrize(
    ("error", "googles", "passing"),
    [
        (TransportError("the server of credentials is away"), False, True),
        (RefreshError("Failed to retrieve http://metadata", retryable=True), False, True),
        (RefreshError("Failed to retrieve http://metadata"), True, True),
        (RefreshError("invalid_grant: the key was deleted"), False, False),
        (DefaultCredentialsError("not found"), True, True),
        (DefaultCredentialsError("the file is no key"), False, False),
        (InvalidOperation("Anonymous credentials cannot be refreshed."), True, False),
    ],
)
def test_credentials_that_are_only_away_are_waited_for(
    error: Exception, googles: bool, passing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs, "_is_googles", lambda: googles)
    with pytest.raises(OSError) as caught, gcs._plainly(FINAL):  # noqa: PT011
        raise error
    assert is_passing(caught.value) is passing
    assert isinstance(caught.value, PermissionError) is not passing


def test_a_container_of_googles_has_credentials(
    nobody: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
    assert not gcs.may_have_credentials()
    monkeypatch.setenv("CLOUD_RUN_JOB", "films")
    assert gcs.may_have_credentials()


# ── listings ─────────────────────────────────────────────────────────────────────────────────────


def test_globs_find_any_depth_and_also_none(own: Shelf) -> None:
    for name in ("a.mp4", "one/b.mp4", "one/two/c.mp4", "one/d.txt", "e [1].mp4"):
        own.write(f"{ROOT}/{name}", b"x")

    def found(pattern: str) -> list[str]:
        sources = find_sources(Finding((f"{ROOT}/{pattern}",)))
        return [source.uri.removeprefix(f"{ROOT}/") for source in sources]

    assert found("**/*.mp4") == ["a.mp4", "e [1].mp4", "one/b.mp4", "one/two/c.mp4"]
    assert found("*.mp4") == ["a.mp4", "e [1].mp4"]
    assert found("one/**") == ["one/b.mp4", "one/two/c.mp4"]
    assert found("e [1].mp4") == ["e [1].mp4"], "a name is a name first"


def test_trouble_with_one_page_does_not_begin_a_listing_anew(
    own: Shelf, server: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(The stand-in has one page; what is listed page by page is asked for page by page.)"""
    asked: list[str | None] = []

    def page(uri: str, prefix: str, token: str | None, delimiter: str) -> Page:
        asked.append(token)
        if len(asked) == 2:
            raise ConnectionResetError("now and then")
        number = int(token or 0)
        return Page([], [f"{ROOT}/f{number}"], str(number + 1) if number < 3 else None)

    monkeypatch.setattr(gcs, "_page", page)
    assert len(shelf.folders_in(ROOT)) == 4
    assert asked == [None, "1", "1", "2", "3"]


def test_a_folder_made_by_hand_is_there_when_something_is_in_it(own: Shelf) -> None:
    own.write(f"{ROOT}/models/", b"")
    assert not shelf.exists(f"{ROOT}/models")
    own.write(f"{ROOT}/models/one/config.json", b"{}")
    assert shelf.exists(f"{ROOT}/models")
    assert list(shelf.files_below(f"{ROOT}/models")) == [f"{ROOT}/models/one/config.json"]


def test_names_that_no_file_has_cost_themselves(own: Shelf) -> None:
    for name in ("good.mp4", "a//b.mp4"):
        own.write(f"{ROOT}/films/{name}", b"x")
    sources = find_sources(Finding((f"{ROOT}/films",)))
    assert [source.relative for source in sources] == ["a//b.mp4", "good.mp4"]
    writing = Writing(Layout(ROOT), own)
    with pytest.raises(ValueError, match="would be outside of the output folder"):
        list(begin(sources[0], writing, Again()))
    assert len(list(begin(sources[1], writing, Again()))) == 1


@pytest.mark.parametrize(
    "spec", ["gs://nobucket/films", "gs://Bad_Bucket!/films", "gs:///films", "nosuch://b/films"]
)
def test_inputs_that_cannot_be_read_are_said_in_a_sentence(server: FaultyStore, spec: str) -> None:
    def found() -> list[Source]:
        check_inputs([spec])
        return find_sources(Finding((spec,)))

    with pytest.raises(InputError, match="input"):
        found()


def test_a_model_cannot_write_outside_of_its_folder(
    own: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINECUT_CACHE", str(tmp_path / "cache"))
    own.write(f"{ROOT}/model/{tmp_path}/evil.txt", b"x")
    with pytest.raises(WeightsMissing, match="cannot be stored in a folder"):
        locate(f"{ROOT}/model")
    assert not (tmp_path / "evil.txt").exists()


def test_documents_that_cannot_be_read_are_not_taken_for_missing(
    own: Shelf, server: FaultyStore
) -> None:
    """What an unread note names would lie about for ever."""
    own.write(f"{ROOT}/note.json", b"{}")
    server.spoiled = lambda method, path: "403"
    with pytest.raises(PermissionError):
        usable_json(f"{ROOT}/note.json")


# ── answers nobody expects ───────────────────────────────────────────────────────────────────────


def test_what_is_taken_in_part_is_sent_again() -> None:
    for error in (ValueError("Stream is already exhausted"), ResumeIncomplete("308")):
        with pytest.raises(ConnectionError, match="not read completely"), gcs._whole_or_again("x"):
            raise error


def test_more_than_was_asked_for_is_not_taken_for_it() -> None:
    class Whole:
        size = 300_000

        def fetch(self, start: int, length: int) -> bytes:
            return bytes(self.size)

        def close(self) -> None:
            pass

    file = RangedFile("gs://b/o", Whole(), lambda work: work())
    with pytest.raises(ShortRead, match="300000 of the"):
        file.read(10)
