"""Which videos of web servers and archives an input names, and what they are called."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packed import tar_of
from web_server import WebServer, serving

from finecut.io.records import Failure, to_json
from finecut.io.storage import files
from finecut.io.storage.addresses import public
from finecut.io.storage.web.urls import Access
from finecut.transforms.find.inputs import Finding, check_inputs, find_sources
from finecut.transforms.find.lists import InputError

PRIVATE = Access(private=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "www/day 1").mkdir(parents=True)
    for name in ("a.mp4", "day 1/b.mp4"):
        (tmp_path / "www" / name).write_bytes(name.encode())
    tar_of(tmp_path / "www/x.tar", {"k/c.mp4": b"c", "k/c.json": b"{}", "d.txt": b""})
    with zipfile.ZipFile(tmp_path / "www/day 1/y.zip", "w") as archive:
        archive.writestr("e.MP4", "e")
    return tmp_path / "www"


@pytest.fixture
def server(folder: Path) -> Iterator[WebServer]:
    with serving(folder) as server:
        yield server


def found(*inputs: object, **how: object) -> dict[str, str]:
    """The name of each video by its path."""
    finding = Finding(tuple(map(str, inputs)), access=PRIVATE, **how)  # type: ignore[arg-type]
    return {source.relative: source.name for source in find_sources(finding)}


def test_a_folder_of_archives_has_the_videos_it_always_had(folder: Path) -> None:
    assert [*found(folder)] == ["a.mp4", "day 1/b.mp4"]
    assert [*found(f"{folder}/**")] == ["a.mp4", "day 1/b.mp4"]


def test_archives_that_are_named_or_asked_for_are_opened(folder: Path) -> None:
    assert found(folder / "x.tar") == {"x.tar/k/c.mp4": f"{folder}/x.tar/k/c.mp4"}
    assert [*found(f"{folder}/**/*.zip")] == ["day 1/y.zip/e.MP4"]
    (folder / "list.txt").write_text("a.mp4\nx.tar\nday 1/y.zip\n")
    everything = ["a.mp4", "day 1/y.zip/e.MP4", "x.tar/k/c.mp4"]
    assert [*found(folder / "list.txt")] == everything
    assert [*found(folder, archives=True)] == sorted([*everything, "day 1/b.mp4"])
    assert [*found(folder, archives=True, limit=2)] == ["a.mp4", "day 1/b.mp4"]
    assert found(folder / "x.tar", named_as="gs://b") == {"x.tar/k/c.mp4": "gs://b/x.tar/k/c.mp4"}


def test_a_member_that_is_named_is_the_same_as_one_that_is_found(folder: Path) -> None:
    [source] = find_sources(Finding((f"{folder}/x.tar",)))
    (folder / "list.txt").write_text(f"tar://{folder}/x.tar!/k/c.mp4\n")
    [named] = find_sources(Finding((f"{folder}/list.txt",)))
    assert (named.name, named.relative) == (source.name, source.relative)
    assert files.read(named.uri) == files.read(source.uri) == b"c"


def test_urls_are_named_as_folders_are(server: WebServer) -> None:
    at = server.address
    assert found(f"{at}/day%201/b.mp4") == {"b.mp4": f"{at}/day%201/b.mp4"}
    assert found(f"{at}/day%201/b.mp4?v=1&token=s#t=1") == {
        "b.mp4%3Fv=1": f"{at}/day%201/b.mp4?v=1"
    }
    assert found(f"{at}/a.mp4", f"{at}/day 1/b.mp4", named_as="films") == {
        "a.mp4": "films/a.mp4",
        "day 1/b.mp4": "films/day 1/b.mp4",
    }
    assert found(f"{at}/x.tar") == {"x.tar/k/c.mp4": f"{at}/x.tar/k/c.mp4"}
    assert [*found(f"{at}/watch?id=7")] == ["watch%3Fid=7"]


def test_a_list_may_name_urls_of_several_servers(folder: Path, server: WebServer) -> None:
    at, host = server.address, server.host
    urls = [f"{at}/a.mp4", "https://other.example/a.mp4", f"{at}/day%201/y.zip"]
    (folder / "list.csv").write_text("title,uri\n" + "".join(f"t,{url}\n" for url in urls))
    assert [*found(folder / "list.csv")] == [
        f"{host}/a.mp4",
        f"{host}/day 1/y.zip/e.MP4",
        "other.example/a.mp4",
    ]
    (folder / "twice.txt").write_text(f"{at}/a.mp4\n{at}/./a.mp4#t=1\n")
    assert [*found(folder / "twice.txt")] == ["a.mp4"]
    for bad in ("https://", "https://a b/c.mp4", "http://[::1/c.mp4", "https://h:x/c.mp4"):
        (folder / "bad.txt").write_text(f"{at}/a.mp4\n{bad}\n")
        with pytest.raises(InputError, match=r"bad\.txt names 'http"):
            found(folder / "bad.txt")
    (folder / "mixed.txt").write_text(f"{at}/a.mp4\na.mp4\n")
    with pytest.raises(InputError, match="are on different stores"):
        found(folder / "mixed.txt")


def test_a_list_on_a_web_server_leads_to_web_servers_only(folder: Path, server: WebServer) -> None:
    at = server.address
    (folder / "day 1/list.txt").write_text(f"b.mp4\n/a.mp4\n../../../x.tar\n{at}/a.mp4?v=2\n")
    assert [*found(f"{at}/day%201/list.txt")] == [
        "a.mp4",
        "a.mp4%3Fv=2",
        "day 1/b.mp4",
        "x.tar/k/c.mp4",
    ]
    for entry in ("file:///etc/passwd", f"tar://{folder}/x.tar!/k/c.mp4", "gs://b/a.mp4"):
        (folder / "bad.txt").write_text(f"{entry}\n")
        with pytest.raises(InputError, match="names files that are on no web server"):
            found(f"{at}/bad.txt")
    (folder / "list.csv").write_text("title,url\none,a.mp4\n")
    [source] = find_sources(Finding((f"{at}/list.csv",), access=PRIVATE))
    assert (source.relative, source.metadata) == ("a.mp4", {"title": "one"})
    [source] = find_sources(Finding((f"{folder}/a.mp4",)))
    (folder / "bad.jsonl").write_text(to_json(Failure("probe", source, "E", "why")) + "\n")
    with pytest.raises(InputError, match="names no file"):
        found(f"{at}/bad.jsonl")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("{at}/day%201/", "ends like a folder, and web servers do not say what lies in one"),
        ("{at}/none.mp4", "there is no such file"),
        ("http://127.0.0.1:1/a.mp4", "the server cannot be reached"),
        ("http://no-such-host.invalid/a.mp4", "no server has this name"),
        ("https://", "it names no server"),
        ("{at}/x.tar.gz", "is a compressed archive"),
    ],
)
def test_urls_that_name_no_video_are_refused_at_once(
    server: WebServer, url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.5)
    with pytest.raises(InputError, match=said):
        check_inputs([url.format(at=server.address)], PRIVATE)


def test_a_private_server_is_refused_at_once(server: WebServer) -> None:
    with pytest.raises(InputError, match="add --allow-private"):
        check_inputs([f"{server.address}/a.mp4"])
    check_inputs([f"{server.address}/a.mp4"], PRIVATE)


def test_an_archive_that_is_damaged_is_one_video_that_fails(folder: Path) -> None:
    whole = (folder / "x.tar").read_bytes()
    (folder / "x.tar").write_bytes(whole[:1024] + b"x" * 512 + whole[1536:])
    good, bad = sorted(find_sources(Finding((f"{folder}/x.tar",))), key=lambda one: -len(one.name))
    assert (good.relative, bad.relative) == ("x.tar/k/c.mp4", "x.tar")
    with pytest.raises(OSError, match="is no header, so what follows there is not known"):
        files.read(bad.uri)
    # The list of what failed leads to the videos in it when it is mended.
    failures = folder / "failures.jsonl"
    failures.write_text(to_json(Failure("probe", bad, "E", "why")) + "\n")
    (folder / "x.tar").write_bytes(whole)
    assert found(failures) == {"x.tar/k/c.mp4": f"{folder}/x.tar/k/c.mp4"}


def test_a_list_of_failures_may_do_what_the_run_may(folder: Path, server: WebServer) -> None:
    for name in ("a.mp4", "x.tar"):
        [source] = find_sources(Finding((f"{server.address}/{name}",), access=PRIVATE))
        assert "private" in source.uri
        assert "private" not in public(source.uri)
        failures = folder / "failures.jsonl"
        failures.write_text(to_json(Failure("probe", source, "E", "why")) + "\n")
        [again] = find_sources(Finding((str(failures),)))
        assert "private" not in again.uri
        [again] = find_sources(Finding((str(failures),), access=PRIVATE))
        assert again.uri == source.uri


def test_a_member_that_was_cut_is_looked_for_again_when_its_archive_is_whole(folder: Path) -> None:
    whole = (folder / "x.tar").read_bytes()
    (folder / "x.tar").write_bytes(whole[:512])
    bad = find_sources(Finding((f"{folder}/x.tar",)))
    assert [one.relative for one in bad] == ["x.tar", "x.tar/k/c.mp4"]
    (folder / "x.tar").write_bytes(whole)
    for several in (bad, bad[1:]):
        failures = folder / "failures.jsonl"
        lines = [to_json(Failure("probe", one, "E", "why")) + "\n" for one in several]
        failures.write_text("".join(lines))
        [again] = find_sources(Finding((str(failures),)))
        assert again.relative == "x.tar/k/c.mp4"
        assert len(files.read(again.uri)) > 0
