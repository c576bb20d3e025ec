"""S3, spoken to through obstore: what replaces what, which names are names, and what is refused.

The store is SeaweedFS on this machine. Between it and finecut there may be trouble, which a small
server in front of it makes (``s3_trouble.py``).
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("obstore")
import child_work
from s3_trouble import Trouble
from seaweed import PUBLIC, READER, Seaweed

from finecut.io.process import children as child
from finecut.io.storage import files as shelf
from finecut.io.storage.cloud.object_stores import ObjectStore
from finecut.io.storage.cloud.obstore_names import UnusableName
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.retry import StoreAway, greet, is_passing
from finecut.io.storage.stores import MANY, UnknownStore, modules_behind, store_for

STORE = ObjectStore()


@pytest.fixture
def trouble(seaweed_server: Seaweed, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trouble]:
    with Trouble(seaweed_server.address) as trouble:
        monkeypatch.setenv("AWS_ENDPOINT_URL", trouble.address)
        yield trouble


@pytest.fixture
def own(s3: str) -> Shelf:
    return Shelf(f"{s3}/out", f"{s3}/out/.staging/run")


def always(kind: str) -> Callable[[str, str], str]:
    return lambda method, path: kind


def staged(own: Shelf, data: bytes) -> str:
    with own.bench() as bench:
        (bench / "a.mp4").write_bytes(data)
        return own.stage(bench / "a.mp4")


# ── versions ─────────────────────────────────────────────────────────────────────────────────────


def test_an_object_is_replaced_only_if_it_is_what_was_seen(s3: str) -> None:
    uri = f"{s3}/list.json"
    assert STORE.look(uri) is None
    assert STORE.replace(uri, b"first", None)
    assert not STORE.replace(uri, b"of somebody else", None)
    seen = STORE.look(uri)
    assert seen is not None
    assert STORE.replace(uri, b"second", seen)
    assert not STORE.replace(uri, b"late", seen)
    assert not STORE.replace(uri, b"", seen)  # nor removed
    assert STORE.read(uri) == b"second"
    assert STORE.replace(uri, b"", STORE.look(uri))
    assert STORE.look(uri) is None


def test_what_others_add_at_the_same_moment_is_not_lost(own: Shelf) -> None:
    path = f"{own.root}/failures/x.jsonl"

    def add(number: int) -> None:
        own.update(path, lambda there: there + b"%d\n" % number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(8)))
    assert sorted(shelf.read(path).split()) == [b"%d" % number for number in range(8)]


def test_a_version_is_known_by_what_is_in_it(s3: str) -> None:
    uri = f"{s3}/a.bin"
    STORE.create(uri, b"a")
    first = shelf.version_of(uri)
    STORE.create(uri, b"b")
    assert shelf.version_of(uri) != first
    STORE.create(uri, b"a")
    assert shelf.version_of(uri) == first


def test_another_film_does_not_continue_this_one(own: Shelf) -> None:
    """What is read is the version that was opened, or nothing."""
    film = f"{own.root}/film"
    own.write(film, b"a" * 300_000)
    with shelf.open_source(film) as file:
        assert not isinstance(file, str)
        assert file.read(10) == b"a" * 10
        file.seek(299_990)
        assert file.read(100) == b"a" * 10
        own.write(film, b"b" * 300_000)
        file.seek(150_000)
        with pytest.raises(OSError, match="was replaced by another version while it was read"):
            file.read(10)


def test_ranges_are_those_that_were_asked_for(s3: str) -> None:
    data = os.urandom(100_000)
    STORE.create(f"{s3}/x", data)
    opened = STORE.open(f"{s3}/x")
    assert opened.size == len(data)
    for start, length in ((0, 1), (99_999, 1), (500, 70_000), (7, 0)):
        assert opened.fetch(start, length) == data[start : start + length]
    assert shelf.read_part(f"{s3}/x", 99_990, 100) == data[-10:]
    with pytest.raises(FileNotFoundError):
        STORE.open(f"{s3}/y")


# ── publishing ───────────────────────────────────────────────────────────────────────────────────


def test_publishing_twice_is_publishing_once(own: Shelf) -> None:
    source, final = staged(own, b"clip"), f"{own.root}/clips/a.mp4"
    assert own.publish(source, final, 4) == 4
    assert own.publish(source, final, 4) == 4
    assert shelf.read(final) == b"clip"
    assert not shelf.exists(source)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_publication_whose_answer_is_lost_is_published_once(
    method: str, own: Shelf, trouble: Trouble
) -> None:
    """The answer to the copy, or to the removal of what was copied."""
    source, final = staged(own, b"clip"), f"{own.root}/clips/a.mp4"
    lost = iter(["lost"])
    trouble.spoiled = lambda asked, path: next(lost, "") if asked == method else ""
    assert own.publish(source, final, 4) == 4
    assert next(lost, "none is left") == "none is left"
    assert shelf.read(final) == b"clip"
    assert not shelf.exists(source)


def test_large_files_are_sent_in_parts_and_small_ones_are_not(
    s3: str, trouble: Trouble, tmp_path: Path
) -> None:
    (tmp_path / "large.mp4").write_bytes(large := os.urandom(20 << 20))
    (tmp_path / "small.mp4").write_bytes(b"small")
    STORE.upload(f"{s3}/large.mp4", tmp_path / "large.mp4")
    assert [method for method, path in trouble.asked if "partNumber=" in path] == ["PUT"] * 3
    assert STORE.read(f"{s3}/large.mp4") == large
    trouble.asked.clear()
    STORE.upload(f"{s3}/small.mp4", tmp_path / "small.mp4")
    # Of other tests a request may come late.
    assert [method for method, path in trouble.asked if "small.mp4" in path] == ["PUT"]


def test_a_part_that_is_lost_is_sent_again_and_no_other(
    s3: str, trouble: Trouble, tmp_path: Path
) -> None:
    (tmp_path / "large.mp4").write_bytes(os.urandom(20 << 20))
    lost = iter(["503"])
    trouble.spoiled = lambda method, path: next(lost, "") if "partNumber=2" in path else ""
    STORE.upload(f"{s3}/large.mp4", tmp_path / "large.mp4")
    assert sum("partNumber=" in path for _, path in trouble.asked) == 4


def test_an_upload_that_fails_leaves_no_parts(s3: str, trouble: Trouble, tmp_path: Path) -> None:
    (tmp_path / "large.mp4").write_bytes(os.urandom(20 << 20))
    trouble.spoiled = lambda method, path: "400" if "partNumber=2" in path else ""
    with pytest.raises(OSError, match="the store refused the request"):
        STORE.upload(f"{s3}/large.mp4", tmp_path / "large.mp4")
    assert STORE.look(f"{s3}/large.mp4") is None
    [begun] = [path for method, path in trouble.asked if "uploads" in path]
    assert begun.endswith("large.mp4?uploads=")
    assert [method for method, path in trouble.asked if method == "DELETE"] == ["DELETE"]


def test_what_is_too_large_to_be_copied_is_sent_again(
    s3: str, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finecut.io.storage.cloud.object_stores.COPIED", 1000)
    STORE.create(f"{s3}/staged.mp4", data := os.urandom(9 << 20))
    trouble.spoiled = lambda method, path: "400" if trouble.copies else ""
    STORE.move(f"{s3}/staged.mp4", f"{s3}/final.mp4")
    assert STORE.read(f"{s3}/final.mp4") == data
    assert STORE.look(f"{s3}/staged.mp4") is None


def test_what_browsers_show_is_what_it_is(own: Shelf, seaweed_server: Seaweed) -> None:
    from finecut.io.storage.cloud.obstore_clients import client, place_of
    from finecut.io.storage.cloud.obstore_here import library

    own.publish(staged(own, b"clip"), f"{own.root}/a.mp4", 4)
    own.write(f"{own.root}/a.json", b"{}")
    bucket = client(place_of("/".join(own.root.split("/")[:3])))
    for name, kind in (("a.mp4", "video/mp4"), ("a.json", "application/json")):
        assert library().get(bucket, f"out/{name}").attributes["Content-Type"] == kind


# ── names and listings ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name",
    [
        *("a b.mp4", "é 影.mp4", "100%.mp4", "a%20b.mp4", "a#b?c.mp4", "[x]*.mp4", "-a~+&='.mp4"),
        "/".join(["é" * 100] * 4) + "/" + "k" * 190,
    ],
)
def test_any_name_is_a_name(name: str, own: Shelf) -> None:
    path = f"{own.root}/names/{name}"
    own.write(path, b"film")
    assert shelf.read(path) == b"film"
    assert shelf.exists(path)
    assert list(shelf.files_below(f"{own.root}/names")) == [path]
    own.remove(path)
    assert not shelf.exists(path)


@pytest.mark.parametrize(
    "name", ["a//b.mp4", "a/../b.mp4", "./b.mp4", "b.mp4/", "/b.mp4", "a\nb.mp4", "a\udcff.mp4"]
)
def test_a_name_that_would_become_another_is_refused(name: str, s3: str) -> None:
    STORE.create(f"{s3}/b.mp4", b"another")
    for ask in (STORE.look, STORE.read, STORE.delete, lambda uri: STORE.create(uri, b"x")):
        with pytest.raises(UnusableName, match="names must be without"):
            ask(f"{s3}/{name}")
    assert STORE.read(f"{s3}/b.mp4") == b"another"


LISTED = """<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated><Contents><Key>{}</Key>
<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"x"</ETag><Size>{}</Size></Contents>
</ListBucketResult>"""


def test_a_folder_with_a_name_that_cannot_be_asked_for_names_it(s3: str, trouble: Trouble) -> None:
    trouble.spoiled = lambda method, path: LISTED.format("in/a//b.mp4", 7)
    for ask in (lambda: list(shelf.files_below(f"{s3}/in")), lambda: shelf.files_in(f"{s3}/in")):
        with pytest.raises(UnusableName, match=r"in/a//b\.mp4"):
            ask()


def test_the_sign_of_a_folder_is_no_object(s3: str, trouble: Trouble) -> None:
    """Some tools write an empty object ``in/sub/``, which obstore calls ``in/sub``."""
    trouble.spoiled = lambda method, path: LISTED.format("in/sub/", 0) if "list" in path else ""
    assert list(shelf.files_below(f"{s3}/in")) == []
    trouble.spoiled = lambda method, path: LISTED.format("in/", 0) if "list" in path else ""
    assert shelf.files_in(f"{s3}/in") == []
    STORE.create(f"{s3}/in/empty", b"")
    trouble.spoiled = lambda method, path: ""
    assert list(shelf.files_below(f"{s3}/in")) == [f"{s3}/in/empty"]


def test_what_is_too_long_is_said(s3: str) -> None:
    with pytest.raises(OSError, match="the store refused the request"):
        STORE.create(f"{s3}/{'k' * 1025}", b"x")


def test_folders_are_what_names_say(own: Shelf) -> None:
    for name in ("a/1.pickle", "a/2.json", "a/deep/3.json", "b/4.json", "ab.json"):
        own.write(f"{own.root}/{name}", b"x")
    assert shelf.files_in(f"{own.root}/a") == [f"{own.root}/a/1.pickle", f"{own.root}/a/2.json"]
    assert shelf.folders_in(own.root) == [f"{own.root}/a", f"{own.root}/b"]
    assert shelf.some_file_in(f"{own.root}/a", ".json") == f"{own.root}/a/2.json"
    assert shelf.some_file_in(f"{own.root}/b", ".pickle") is None
    assert shelf.matching(f"{own.root}/*.json") == [f"{own.root}/ab.json"]
    assert len(shelf.matching(f"{own.root}/**.json")) == 4
    assert shelf.matching(f"{own.root}/a/[13]*") == [f"{own.root}/a/1.pickle"]
    assert shelf.is_folder(f"{own.root}/a")
    assert not shelf.is_folder(f"{own.root}/ab.json")
    assert shelf.exists(f"{own.root}/a")
    assert not shelf.exists(f"{own.root}/aa")


def test_many_are_listed_and_removed_in_few_requests(
    s3: str, trouble: Trouble, seaweed_server: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pages, whatever goes wrong with one of them."""
    names = [f"{number % 7}/{number:05}" for number in range(2 * MANY + 100)]
    with monkeypatch.context() as straight, ThreadPoolExecutor(8) as threads:
        straight.setenv("AWS_ENDPOINT_URL", seaweed_server.address)
        list(threads.map(lambda name: STORE.create(f"{s3}/many/{name}", b"x"), names))
    chance = iter(["", "503", "", "lost", ""])
    trouble.spoiled = lambda method, path: next(chance, "") if "list-type" in path else ""
    found = list(shelf.files_below(f"{s3}/many"))
    assert len(found) == len({*found}) == len(names)
    assert len(trouble.asked) <= 8
    trouble.asked.clear()
    shelf.delete(found)
    assert [method for method, _ in trouble.asked] == ["POST"] * 3
    assert not shelf.exists(f"{s3}/many")


def test_servers_that_remove_one_at_a_time_are_asked_so(s3: str, trouble: Trouble) -> None:
    uris = [f"{s3}/{number}" for number in range(3)]
    for uri in uris:
        STORE.create(uri, b"x")
    many = iter(["501"])
    trouble.spoiled = lambda method, path: next(many, "") if method == "POST" else ""
    STORE.delete_all([*uris, f"{s3}/gone"])
    assert not any(map(STORE.look, uris))


# ── trouble ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["503", "429", "500", "cut", "lost", "409"])
def test_what_passes_is_known(kind: str, s3: str, trouble: Trouble) -> None:
    STORE.create(f"{s3}/x", b"x" * 1000)
    trouble.spoiled = lambda method, path: kind
    for ask in (STORE.read, STORE.look, lambda uri: STORE.inside(s3, None)):
        with pytest.raises(OSError) as caught:  # noqa: PT011
            ask(f"{s3}/x")
        assert is_passing(caught.value), caught.value


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("RequestTimeTooSkewed", "set this machine's clock"),
        ("ExpiredToken", "the credentials have expired"),
        ("SignatureDoesNotMatch", "does not accept the credentials"),
        ("AccessDenied", "lacks a permission there: s3:GetObject"),
        ("PermanentRedirect", "lies in another region: set AWS_REGION"),
    ],
)
def test_a_refusal_says_what_to_do(code: str, said: str, s3: str, trouble: Trouble) -> None:
    trouble.spoiled = lambda method, path: f"403 {code}"
    for ask in (STORE.read, STORE.look):
        with pytest.raises(PermissionError, match=said) as caught:
            ask(f"{s3}/x")
        assert not is_passing(caught.value)


def test_a_store_that_cannot_write_conditionally_is_named_once(
    s3: str, trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    conditional = iter(["501", "", "501", ""])
    trouble.spoiled = lambda method, path: next(conditional) if method == "PUT" else ""
    for data in (b"x", b"y"):
        assert STORE.replace(f"{s3}/x", data, None)
    assert STORE.read(f"{s3}/x") == b"y"
    [said] = caplog.messages
    assert said.startswith(f"{s3} cannot replace an object only if nobody else has changed it")


def test_who_may_only_read_is_told_what_is_missing(
    s3: str, seaweed_server: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    STORE.create(f"{s3}/x", b"x")
    for name, value in seaweed_server.environment(READER).items():
        monkeypatch.setenv(name, value)
    assert STORE.read(f"{s3}/x") == b"x"
    with pytest.raises(PermissionError, match=r"s3:PutObject"):
        STORE.create(f"{s3}/y", b"y")


def test_who_has_no_credentials_is_told_how_to_get_some(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(PermissionError, match="the secret of an access key is set"):
        STORE.read(f"{s3}/x")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(PermissionError, match="there are no credentials: set AWS_ACCESS_KEY_ID"):
        STORE.read(f"{s3}/x")


def test_a_public_bucket_is_read_by_nobody_in_particular(
    s3: str, seaweed_server: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = f"s3://{seaweed_server.bucket(PUBLIC)}/{tmp_path.name}"
    STORE.create(f"{public}/x", b"x")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert list(shelf.files_below(public)) == [f"{public}/x"]
    assert STORE.open(f"{public}/x").fetch(0, 1) == b"x"
    with pytest.raises(PermissionError, match="there are no credentials"):
        STORE.create(f"{public}/y", b"y")


def test_a_profile_has_keys_and_an_address(
    s3: str, seaweed_server: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    STORE.create(f"{s3}/x", b"x")
    said = seaweed_server.environment()
    for name in said:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(
        f"[default]\nregion = x\n[profile mine]\nendpoint_url = {said['AWS_ENDPOINT_URL']}\n"
    )
    (tmp_path / "credentials").write_text(
        f"[mine]\naws_access_key_id = {said['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {said['AWS_SECRET_ACCESS_KEY']}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    assert STORE.read(f"{s3}/x") == b"x"
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(PermissionError, match="there is no profile 'nobody'"):
        STORE.read(f"{s3}/x")


def test_a_program_gives_the_credentials_of_a_profile(
    s3: str, seaweed_server: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("botocore")
    STORE.create(f"{s3}/x", b"x")
    for name in (said := seaweed_server.environment()):
        monkeypatch.delenv(name)
    keys = {"AccessKeyId": said["AWS_ACCESS_KEY_ID"]}
    keys |= {"SecretAccessKey": said["AWS_SECRET_ACCESS_KEY"]}
    (tmp_path / "keys").write_text(json.dumps({"Version": 1, **keys}))
    (tmp_path / "config").write_text(
        f"[profile good]\ncredential_process = cat {tmp_path}/keys\n"
        f"endpoint_url = {said['AWS_ENDPOINT_URL']}\n[profile bad]\ncredential_process = false\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "good")
    assert STORE.read(f"{s3}/x") == b"x"
    monkeypatch.setenv("AWS_PROFILE", "bad")
    with pytest.raises(PermissionError, match="gave no credentials"):
        STORE.read(f"{s3}/x")


def test_a_machine_without_a_role_is_told_of(
    s3: str, trouble: Trouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asks the machine for credentials is not the bucket that is missing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", trouble.address)
    trouble.spoiled = lambda method, path: "404"
    with pytest.raises(PermissionError, match="role or identity gave no credentials"):
        STORE.read(f"{s3}/x")
    trouble.spoiled = lambda method, path: "503"
    with pytest.raises(ConnectionError, match="who gives out credentials is away"):
        STORE.read(f"{s3}/x")


def test_a_missing_bucket_is_missing(s3: str) -> None:
    for ask in (STORE.read, lambda uri: STORE.inside(uri, None), STORE.open):
        with pytest.raises(FileNotFoundError):
            ask("s3://there-is-no-such-bucket/x")
    with pytest.raises(FileNotFoundError, match="not the name of a bucket"):
        STORE.look("s3://Bad Bucket!/x")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:9", "Connection refused"),
        ("http://no.such.host.invalid", "there is no server of that name"),
        ("https", "does not speak TLS"),
        ("silent", "no answer within"),
    ],
)
def test_a_store_that_is_not_there_is_told_of_within_seconds(
    address: str, said: str, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        ear.listen(8)
        known = {
            "https": os.environ["AWS_ENDPOINT_URL"].replace("http:", "https:"),
            "silent": f"http://127.0.0.1:{ear.getsockname()[1]}",
        }
        monkeypatch.setenv("AWS_ENDPOINT_URL", known.get(address, address))
        with pytest.raises(StoreAway, match=said) as caught:
            greet([f"{s3}/films"], 2.0 if address == "silent" else 10.0)
    assert "AWS_ENDPOINT_URL" in str(caught.value)


def test_a_store_that_answers_is_there_whatever_it_says(s3: str, trouble: Trouble) -> None:
    for status in ("", "403 AccessDenied", "404 NoSuchBucket", "503 SlowDown"):
        trouble.spoiled = always(status)
        greet([f"{s3}/films"])


@pytest.mark.parametrize("uri", ["foo://bucket/x", "wasb://container/x"])
def test_unknown_stores_are_told_of_those_that_are_known(uri: str) -> None:
    with pytest.raises(UnknownStore, match=r"gs://…, s3://…, az://…"):
        store_for(uri)


# ── copies of the process ────────────────────────────────────────────────────────────────────────


def test_a_copy_of_the_process_asks_for_itself(s3: str) -> None:
    """obstore's threads are not copied; without its own, a copy would wait for ever."""
    STORE.create(f"{s3}/x", b"x")
    for _ in range(2):
        read, write = os.pipe()
        if (copy := os.fork()) == 0:
            os.write(write, STORE.read(f"{s3}/x") if STORE.look(f"{s3}/y") is None else b"?")
            os._exit(0)
        os.close(write)
        ends = threading.Timer(20, os.kill, (copy, 9))
        ends.start()
        with open(read, "rb") as told:  # noqa: PTH123
            assert told.read() == b"x"
        os.waitpid(copy, 0)
        ends.cancel()
    assert STORE.read(f"{s3}/x") == b"x"


def test_children_need_no_library_of_their_own(s3: str) -> None:
    """They are copies of a server that has imported it and never used it."""
    STORE.create(f"{s3}/x", b"x")
    [module] = modules_behind([s3])
    child.preload(module)
    assert [*child.run_in_child(child_work.read_from_store, f"{s3}/x")] == [b"x", b"as installed"]
