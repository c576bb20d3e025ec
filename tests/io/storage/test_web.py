"""Videos on web servers: the right bytes, few of them, of one version, and nowhere else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_clock import Clock
from web_server import WebServer, serving

from finecut.io.storage import copies, files
from finecut.io.storage.addresses import permitted
from finecut.io.storage.retry import retried
from finecut.io.storage.stores import store_for
from finecut.io.storage.web import connections, web_requests
from finecut.io.storage.web.connections import PrivateAddress, addresses_of, is_public
from finecut.io.storage.web.urls import Access, parsed
from finecut.io.storage.web.web_answers import Refused
from finecut.io.storage.web.web_requests import _led_to

FILM = bytes(range(256)) * 4096
USUAL = Access(private=True)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    yield
    copies.sweep()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "www").mkdir()
    (tmp_path / "www/film.mp4").write_bytes(FILM)
    return tmp_path / "www"


def at(server: WebServer, path: str = "film.mp4", access: Access = USUAL) -> str:
    return permitted(f"{server.address}/{path}", access)


def parts_of(uri: str) -> list[bytes]:
    """Some parts of a film, out of order."""
    with files.open_file(uri) as file:
        parts = []
        for start, size in ((0, 100), (len(FILM) - 70_000, 200), (500_000, 300), (100, 70_000)):
            file.seek(start)
            parts.append(file.read(size))
    return parts


TRUTH = [FILM[:100], FILM[-70_000:-69_800], FILM[500_000:500_300], FILM[100:70_100]]


@pytest.mark.parametrize(
    "manners",
    [
        {},
        {"says": ("ETag",)},
        {"says": ("Last-Modified",)},
        {"says": ()},
        {"head": 403},
        {"head": 405, "says": ()},
        {"cuts": 3},
        {"most": 20_000},
        {"ranges": False},
        {"ranges": False, "head": 501},
        {"ranges": False, "chunked": True},
        {"ranges": False, "chunked": True, "says": ()},
        {"ranges": False, "cuts": 1},
    ],
    ids=str,
)
def test_every_server_gives_the_film(folder: Path, manners: dict[str, Any]) -> None:
    with serving(folder, **manners) as server:
        uri = at(server)
        assert parts_of(uri) == TRUTH
        assert parts_of(uri) == TRUTH
        assert files.size_of(uri) == len(FILM)
        if manners.get("says", True):
            assert files.version_of(uri) == files.version_of(uri) != ""
        if "ranges" not in manners and "cuts" not in manners:
            assert server.sent < 2.2 * 5 * 65_536
        elif manners.get("says", True) and "cuts" not in manners:
            wholes = [asked for asked in server.asked if asked[2] not in ("", "bytes=0-0")]
            assert len(wholes) == 1, "it was sent once"


def test_a_copy_goes_with_its_process_and_others_make_room(folder: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (folder / name).write_bytes(name.encode() * 100_000)
    with serving(folder, ranges=False) as server:
        for name in ("a.mp4", "b.mp4", "c.mp4"):
            with files.open_file(at(server, name, Access(True, 1_200_000))) as file:
                assert file.read() == name.encode() * 100_000
    held = [path for path in Path(copies.place()).iterdir() if not path.suffix]
    assert sum(path.stat().st_size for path in held) == 1_000_000
    copies.sweep()
    assert not [path for path in tmp_path.glob("finecut-work-*/*/*") if path.is_dir()]


def test_a_film_that_is_replaced_while_it_is_read_is_an_error(folder: Path) -> None:
    with serving(folder) as server:
        for new in (FILM[::-1], FILM + b"more", FILM[:1000]):
            (folder / "film.mp4").write_bytes(FILM)
            with files.open_file(at(server)) as file:
                assert file.read(100) == FILM[:100]
                (folder / "film.mp4").write_bytes(new)
                file.seek(len(FILM) - 1000)
                with pytest.raises(OSError, match="was replaced on its server while finecut was"):
                    file.read(1000)


def test_a_film_that_comes_short_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "STORE_SECONDS", 0.0)
    with serving(folder, lies=100) as server:
        assert parts_of(at(server)) == TRUTH, "each part that was asked for came"
    with serving(folder, ranges=False, lies=100) as server:
        with pytest.raises(OSError, match="the connection broke"):
            parts_of(at(server))
        place = Path(copies.place())
        assert not [path for path in place.iterdir() if path.suffix != ".lock"]


def test_a_film_that_comes_too_slowly_is_not_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "STORE_SECONDS", 0.0)
    monkeypatch.setattr(web_requests, "SILENCE", 0.0)
    monkeypatch.setattr(web_requests, "LEAST_SPEED", 1e15)
    monkeypatch.setattr("urllib3.Timeout", lambda **_: None)
    with serving(folder) as server, pytest.raises(OSError, match="comes too slowly"):
        parts_of(at(server))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_film_that_is_too_large_is_refused(folder: Path, ranges: bool) -> None:
    with serving(folder, ranges=ranges) as server:
        with pytest.raises(OSError, match="more than 1 MB, which is the limit for one file"):
            parts_of(at(server, access=Access(True, 1_000_000)))
        assert server.sent < 200_000 or not ranges


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "denied access"),
        (403, "denied access"),
        (404, "no such file"),
        (410, "no such file"),
        (418, "refused the request"),
        (429, "wants fewer requests"),
        (500, "is in trouble"),
        (503, "is in trouble"),
    ],
)
def test_what_a_server_refuses_is_said(
    folder: Path, status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "STORE_SECONDS", 0.0)
    monkeypatch.setattr(files, "IN_PASSING_SECONDS", 0.0)
    with serving(folder, instead=lambda method, path, headers: (status, {})) as server:
        uri = at(server, "film.mp4").replace("//", "//me:hunter2@")
        for work in (lambda: parts_of(uri), lambda: files.read(uri)):
            with pytest.raises(OSError, match=said) as refused:
                work()
            assert "hunter2" not in str(refused.value)
        signed = at(server, "film.mp4?X-Amz-Signature=9f0c")
        if status == 403:
            with pytest.raises(PermissionError, match="signature of the URL has expired") as denied:
                parts_of(signed)
            assert "9f0c" not in str(denied.value)


def test_a_server_that_asks_for_time_is_given_it() -> None:
    slept: list[float] = []

    def work() -> str:
        if not slept:
            raise Refused("too many", 429, retry_after=7.0)
        return "film"

    assert retried(work, sleep=slept.append) == "film"
    assert slept == [7.0]


def test_a_server_that_never_answered_is_not_waited_for_long() -> None:
    clock = Clock()
    hosts = connections.Hosts(clock.monotonic)
    assert not hosts.is_gone("old.example")
    clock.sleep(connections.WAIT)
    assert hosts.is_gone("old.example")
    assert not hosts.is_gone("other.example")
    clock.sleep(connections.FORGET)
    assert not hosts.is_gone("old.example")
    hosts.heard("new.example")
    assert not hosts.is_gone("new.example")
    clock.sleep(connections.WAIT)
    assert not hosts.is_gone("new.example")


def test_a_page_is_no_film(folder: Path) -> None:
    (folder / "film.mp4").write_bytes(b"\n<!DOCTYPE html><html>log in</html>")
    for manners in ({}, {"ranges": False}, {"kind": "text/html; charset=utf-8"}):
        with (
            serving(folder, **manners) as server,
            pytest.raises(OSError, match="is a web page, not a video"),
        ):
            parts_of(at(server))


def test_redirects_are_followed_but_not_for_ever_and_not_with_credentials(folder: Path) -> None:
    with serving(folder) as other:

        def led(_method: str, path: str, _headers: Any) -> tuple[int, dict[str, str]] | None:
            steps = int(path.rpartition("/")[2] or 0)
            where = f"/{steps - 1}" if steps > 1 else f"{other.address}/film.mp4"
            return 302, {"Location": where}

        with serving(folder, instead=led) as server:
            uri = at(server, "5").replace("//", "//me:hunter2@")
            assert parts_of(uri) == TRUTH
            assert all("Authorization" in heard for heard in server.heard)
            assert not any("Authorization" in heard for heard in other.heard)
            # Where it led is remembered while the film is open.
            assert len([asked for asked in server.asked if asked[0] == "GET"]) == 5
            with pytest.raises(OSError, match="redirects more than 5 times"):
                parts_of(at(server, "6"))


def test_nobody_is_led_from_https_to_http() -> None:
    first = parsed("https://host/a.mp4")
    with pytest.raises(OSError, match="redirects from https to http"):
        _led_to("http://host/a.mp4", first, first, "it")
    plain = parsed("http://host/a.mp4")
    assert _led_to("http://other/b", first, plain, "it").host == "other"
    with pytest.raises(OSError, match="redirects to where no file can be"):
        _led_to("file:///etc/passwd", first, first, "it")


def test_who_logs_in_stands_in_the_users_own_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    with serving(folder) as server:
        assert parts_of(at(server)) == TRUTH
        assert {heard.get("Authorization") for heard in server.heard} == {"Basic bWU6aHVudGVyMg=="}


# ── addresses ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.100.100.200", "168.63.129.16", "224.0.0.1", "255.255.255.255", "192.0.2.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "::ffff:127.0.0.1", "ff02::1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
        *("fec0::1", "::7f00:1", "::ffff:0:7f00:1", "192.0.0.192"),
    ],
)
def test_addresses_that_only_this_machine_reaches_are_private(address: str) -> None:
    assert not is_public(address)


def test_addresses_of_the_world_are_public() -> None:
    assert all(map(is_public, ("93.184.216.34", "2606:2800:220:1::", "64:ff9b::5db8:d822")))


def test_a_server_of_this_machine_is_not_spoken_to(folder: Path) -> None:
    with serving(folder) as server:
        port = server.host.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0x7f.1"):
            with pytest.raises(OSError, match="--allow-private"):
                files.size_of(f"http://{host}:{port}/film.mp4")

        assert server.asked == []


def test_a_name_that_changes_where_it_points_to_helps_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is looked up once, and connected to is what was judged."""
    lookups = iter([["127.0.0.1", "93.184.216.34"], ["127.0.0.1"]])

    def looked_up(host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in next(lookups)]

    reached: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        reached.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    with pytest.raises(ConnectionRefusedError):
        connections._Judged("rebinding.test", 80)._new_conn()
    assert reached == [("93.184.216.34", 80)]
    with pytest.raises(PrivateAddress):
        addresses_of("rebinding.test", 80)


def test_a_proxy_is_not_asked_for_what_is_private(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(folder) as proxy:
        monkeypatch.setenv("http_proxy", proxy.address)
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(OSError, match="--allow-private"):
            files.size_of("http://169.254.169.254/film.mp4")
        assert proxy.asked == []
        assert files.size_of("http://nobody-knows.invalid/film.mp4") == len(FILM)
        assert {asked[1] for asked in proxy.asked} == {"http://nobody-knows.invalid/film.mp4"}


def test_nothing_is_written_to_a_web_server() -> None:
    store = store_for("https://host/a.mp4")
    with pytest.raises(OSError, match="only reads from"):
        store.create("https://host/a.mp4", b"")
