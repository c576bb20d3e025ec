"""What is wrong with a store, its address, its credentials or its names is said in a sentence.

Within ten seconds, by whichever command is given it, and with exit code 1 or 2. Or it is not wrong,
and out comes the right video: never another, and never half of one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import av
import pytest

pytest.importorskip("obstore")
import store_places
from azurite import Azurite
from faulty_proxy import Answer, FaultyProxy, Request
from seaweed import READER, Seaweed
from store_places import Place, reached
from wrong_servers import pages, silent

from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.storage import files as shelf
from finecut.io.storage.cloud.object_stores import ObjectStore
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.cli.command import main
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

#: Seconds within which somebody who typed a command wants an answer.
AT_ONCE: Final = 10
#: What a sentence is not.
RAW: Final = ("Traceback", "Debug source", "Generic S3 error", "GenericError", "panicked")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("film") / "a.mp4"
    paint(path, width=64, height=36, rate=5, seconds=2)
    return path.read_bytes()


def answered(
    words: Sequence[str], capsys: pytest.CaptureFixture[str], *, last: bool = False
) -> tuple[int, str]:
    """A command's exit code and the sentence that it says, and that is all it says.

    ``last``: it had begun to say how far it is.
    """
    began = time.monotonic()
    try:
        code = main(list(words))
    except SystemExit as end:
        code = int(end.code or 0)
    assert time.monotonic() - began < AT_ONCE
    out, err = capsys.readouterr()
    said = [line for line in err.splitlines() if line]
    assert out == ""
    assert len(said) == 1 or (last and said[0].startswith("finding")), err
    assert said[-1].startswith("finecut")
    assert [word for word in RAW if word in err] == []
    return code, said[-1]


# ── addresses and credentials ────────────────────────────────────────────────────────────────────

CURATED_FROM: Final = ("curate", "--input", "{}/films", "--output", "{local}/out")
CURATED_TO: Final = ("curate", "--input", "{local}", "--output", "{}/out")
#: Commands that are given a path on a store, each in its own way.
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "input": CURATED_FROM,
    "output": CURATED_TO,
    "verify": ("verify", "{}/out"),
    "summary": ("summary", "{}/out"),
    "shard": ("shard", "{local}", "--output", "{}/shards"),
    "dedup": ("dedup", "{}/out"),
    "report": ("report", "{}/out"),
    "refilter": ("refilter", "{}/out", "--keep", "motion>0"),
}


@dataclass(frozen=True)
class Case:
    """What is wrong, what the sentence says of it, and the exit code."""

    said: str
    code: int
    environment: Mapping[str, str]
    root: str = ""
    commands: tuple[str, ...] = ("input", "output")


def at(address: str) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL": address}


#: ``{tls}``, ``{silent}``, ``{pages}`` and ``{refusing}`` stand for servers of this machine.
CASES: Final[dict[str, Case]] = {
    "unknown scheme": Case("unknown kind of store", 2, {}, "foo://bucket"),
    "no bucket of that name": Case("No such object or bucket", 2, {}, "s3://there-is-none-of-it"),
    "no name of a bucket": Case("is not the name of a bucket", 2, {}, "s3://Bad Bucket!"),
    "no bucket at all": Case("is not the name of a bucket", 2, {}, "s3://"),
    "refused port": Case("Connection refused", 1, at("http://127.0.0.1:9")),
    "no such host": Case("there is no server of that name", 1, at("http://no.such.host.invalid")),
    "no address": Case("'nonsense' is no address of a server", 2, at("nonsense")),
    "another protocol": Case("'ftp://127.0.0.1' is no address", 2, at("ftp://127.0.0.1")),
    "no TLS": Case("does not speak TLS", 1, at("{tls}")),
    "web pages": Case("but not as a store does", 1, at("{pages}"), commands=(*COMMANDS,)),
    "a web page that nothing is there": Case("No such object or bucket", 2, at("{missing}")),
    "a web page that refuses": Case("denied access", 2, at("{refusing}")),
    "a wrong secret": Case("SignatureDoesNotMatch", 2, {"AWS_SECRET_ACCESS_KEY": "wrong"}),
    "a wrong key": Case("InvalidAccessKeyId", 2, {"AWS_ACCESS_KEY_ID": "nobody"}),
    "half of a key": Case("its secret is not", 2, {"AWS_SECRET_ACCESS_KEY": ""}),
}


@pytest.fixture
def servers(seaweed_server: Seaweed) -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        yield {
            "tls": seaweed_server.address.replace("http:", "https:"),
            "pages": stack.enter_context(pages()),
            "missing": stack.enter_context(pages(404)),
            "refusing": stack.enter_context(pages(403)),
            "silent": stack.enter_context(silent()),
        }


@pytest.mark.parametrize(
    ("name", "command"), [(name, word) for name, case in CASES.items() for word in case.commands]
)
def test_what_is_wrong_is_said_in_a_sentence(
    name: str,
    command: str,
    s3: str,
    servers: dict[str, str],
    tmp_path: Path,
    film: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = CASES[name]
    (tmp_path / "a.mp4").write_bytes(film)
    for variable, value in case.environment.items():
        monkeypatch.setenv(variable, value.format(**servers))
    words = [word.format(case.root or s3, local=tmp_path) for word in COMMANDS[command]]
    code, said = answered(words, capsys, last=command == "input")
    assert case.said in said
    assert code == case.code
    assert not (tmp_path / "out/clips").exists()


AZURES: Final = {
    "refused port": ("http://127.0.0.1:9", "Connection refused", 1),
    "no such host": ("http://no.such.host.invalid", "there is no server of that name", 1),
    "silent": ("{silent}", "no answer within 5 s", 1),
    "no address": ("nonsense", "is no address of a server", 2),
    "web pages": ("{pages}", "not as this kind of store does", 1),
    "a web page that nothing is there": ("{missing}", "No such object or bucket", 2),
    "a web page that refuses": ("{refusing}", "Azure denied access", 2),
}
GOOGLES: Final = {
    "refused port": ("http://127.0.0.1:9", "Connection refused", 1),
    "no such host": ("http://no.such.host.invalid", "Failed to resolve", 1),
    "silent": ("{silent}", "no answer within 5 s", 1),
    "no address": ("nonsense", "Invalid URL", 1),
    "web pages": ("{pages}", "but not as a store does", 1),
    "a web page that nothing is there": ("{missing}", "No such object or bucket", 2),
    "a web page that refuses": ("{refusing}", "Google Cloud Storage denied access", 2),
}
KEYS: Final = {
    "another key": ("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmc=", "Azure denied access"),
    "no key": ("AZURE_STORAGE_ACCOUNT_KEY", "%%%", "cannot be used (Generic MicrosoftAzure error"),
    "another account": ("AZURE_STORAGE_ACCOUNT_NAME", "nobody", "Azure denied access"),
    "no account": ("AZURE_STORAGE_ACCOUNT_NAME", "", "names no storage account"),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["input", "output"])
@pytest.mark.parametrize(
    ("root", "name"),
    [*(("az://films", name) for name in AZURES), *(("gs://films", name) for name in GOOGLES)],
)
def test_other_stores_say_what_is_wrong_with_their_address(
    root: str,
    name: str,
    way: str,
    servers: dict[str, str],
    tmp_path: Path,
    film: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.mp4").write_bytes(film)
    address, expected, exit_code = (AZURES if root.startswith("az") else GOOGLES)[name]
    told = Azurite(address.format(**servers)).environment()
    for variable, value in {**told, "STORAGE_EMULATOR_HOST": address.format(**servers)}.items():
        monkeypatch.setenv(variable, value)
    words = [word.format(root, local=tmp_path) for word in COMMANDS[way]]
    code, said = answered(words, capsys, last=way == "input")
    assert expected in said
    assert code == exit_code


@pytest.mark.slow
@pytest.mark.parametrize("name", KEYS)
def test_azure_says_what_is_wrong_with_its_keys(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variable, value, expected = KEYS[name]
    with store_places.az() as place, reached(place):
        monkeypatch.setenv(variable, value)
        words = [word.format(place.root, local=tmp_path) for word in CURATED_FROM]
        code, said = answered(words, capsys, last=True)
    assert expected in said
    assert code == 2


def test_a_server_that_is_silent_is_not_waited_for(
    s3: str,
    servers: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", servers["silent"])
    words = [word.format(s3, local=tmp_path) for word in CURATED_FROM]
    code, said = answered(words, capsys)
    assert code == 1
    assert f"{s3} cannot be reached at {servers['silent']} (no answer within 5 s)" in said


def test_who_may_only_read_is_told_before_the_work(
    s3: str,
    seaweed_server: Seaweed,
    tmp_path: Path,
    film: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.mp4").write_bytes(film)
    for variable, value in seaweed_server.environment(READER).items():
        monkeypatch.setenv(variable, value)
    words = [word.format(s3, local=tmp_path) for word in CURATED_TO]
    code, said = answered(words, capsys)
    assert (code, "s3:PutObject" in said) == (2, True)


def shifted(hours: int, request: Request) -> Request:
    """The request as a machine signs it whose clock is wrong."""

    def told(name: str, value: str) -> tuple[str, str]:
        if name.lower() != "x-amz-date":
            return name, value
        form = "%Y%m%dT%H%M%SZ"
        return name, (datetime.strptime(value, form) + timedelta(hours=hours)).strftime(form)  # noqa: DTZ007

    return replace(request, headers=[told(*header) for header in request.headers])


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock_is_named(
    hours: int,
    s3: str,
    seaweed_server: Seaweed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FaultyProxy(seaweed_server.address) as proxy:
        proxy.retold = partial(shifted, hours)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        words = [word.format(s3, local=tmp_path) for word in CURATED_FROM]
        code, said = answered(words, capsys, last=True)
    assert code == 2
    assert "set this machine's clock" in said


# ── names ────────────────────────────────────────────────────────────────────────────────────────

LONG: Final = "/".join(["é" * 100] * 4) + "/" + "k" * 100 + ".mp4"
NAMES: Final = (
    *("a b.mp4", " a.mp4", "é 影.mp4", "100%.mp4", "a%20b.mp4", "%2e%2e.mp4", "a#b?c.mp4"),
    *("[x]{a}*.mp4", "a+b&c=d;e,f@g$h:i.mp4", "a'b\"c.mp4", "-a.mp4", "~.mp4", "..a.mp4", LONG),
)
NO_NAMES: Final = {
    "a//b.mp4": "two slashes in a row",
    "/a.mp4": "two slashes in a row",
    "a/../b.mp4": "parts that are a dot or two",
    "./a.mp4": "parts that are a dot or two",
    "a\tb.mp4": "control characters",
    "a\nb.mp4": "control characters",
}
#: One of each kind; the others are slow.
FIRST: Final = ("a//b.mp4", "a/../b.mp4", "a\tb.mp4")
REST: Final = [pytest.param(name, marks=pytest.mark.slow) for name in NO_NAMES if name not in FIRST]


def test_a_video_of_any_name_is_that_video(s3: str, film: bytes, tmp_path: Path) -> None:
    own = Shelf(s3, f"{s3}/.staging/test")
    for name in NAMES:
        own.write(f"{s3}/films/{name}", film)
    output = f"{s3}/out"
    done = run(
        Options(
            input=(f"{s3}/films",),
            output=output,
            clip_length=2.0,
            no_generate_embeddings=True,
            workers=1,
        )
    ).summary
    assert (done.videos_done, done.videos_failed) == (len(NAMES), 0)
    assert done.shots_kept == len(NAMES)
    documents = [*shelf.files_below(f"{output}/processed_videos")]
    assert documents == sorted(f"{output}/processed_videos/{name}.json" for name in NAMES)
    [one, *_] = clips = [*shelf.files_below(f"{output}/clips")]
    assert len(clips) == len(NAMES)
    assert {shelf.read(clip) for clip in clips} == {shelf.read(one)}
    (tmp_path / "clip.mp4").write_bytes(shelf.read(one))
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        assert sum(1 for _ in clip.decode(video=0)) == 10


@pytest.mark.slow
def test_a_video_whose_documents_would_have_too_long_a_name_fails_alone(
    s3: str, film: bytes, tmp_path: Path
) -> None:
    """Names have 1,024 bytes at most, and a document's is longer than its video's."""
    own = Shelf(s3, f"{s3}/.staging/test")
    name = f"films/{LONG.rpartition('/')[0]}/"
    name += "k" * (1024 - len(name.encode()) - 4) + ".mp4"
    for path in (name, "films/b.mp4"):
        own.write(f"{s3}/{path}", film)
    for output, done in ((f"{s3}/out", 1), (str(tmp_path / "out"), 2)):
        summary = run(
            Options(
                input=(f"{s3}/films",),
                output=output,
                clip_length=2.0,
                no_generate_embeddings=True,
                workers=1,
            )
        ).summary
        assert (summary.videos_done, summary.videos_failed) == (done, 2 - done)
        assert summary.shots_kept == done


@pytest.mark.parametrize("name", [*FIRST, *REST])
def test_a_name_that_cannot_be_asked_for_is_refused(
    name: str, s3: str, film: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is not taken for the video whose name it would become."""
    ObjectStore().create(f"{s3}/b.mp4", film)
    ObjectStore().create(f"{s3}/a.mp4", film)
    words = ["curate", "--input", f"{s3}/{name}", "--output", str(tmp_path / "out")]
    code, said = answered(words, capsys, last=True)
    assert code == 2
    assert NO_NAMES[name] in said


def test_a_folder_with_such_a_name_in_it_is_refused(
    s3: str,
    seaweed_server: Seaweed,
    film: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SeaweedFS keeps folders, and no such names: the proxy tells of one in its list."""
    ObjectStore().create(f"{s3}/films/b.mp4", film)

    def also(request: Request, answer: Answer) -> Answer:
        found = b"<Key>films/b.mp4</Key>"
        return replace(answer, body=answer.body.replace(found, b"<Key>films//b.mp4</Key>"))

    with FaultyProxy(seaweed_server.address) as proxy:
        proxy.answered = also
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        words = ["curate", "--input", f"{s3}/films", "--output", str(tmp_path / "out")]
        code, said = answered(words, capsys, last=True)
    assert code == 2
    assert "there is an object in it whose name" in said


# ── what changes while it is read ────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Two videos of which neither is read with one request; the second is wider."""
    folder = tmp_path_factory.mktemp("versions")
    busy = [Scene(palette=1, pan=60, texture=12)]
    sizes = ((320, 180), (480, 180))
    for number, (width, height) in enumerate(sizes):
        paint(
            folder / f"{number}.mp4",
            width=width,
            height=height,
            rate=10,
            seconds=6,
            scenes=busy,
            codec_options={"crf": "5", "preset": "ultrafast"},
        )
    first, second = ((folder / f"{number}.mp4").read_bytes() for number in range(2))
    assert min(len(first), len(second)) > 150_000
    return first, second


SLOW: Final = [pytest.param(name, marks=pytest.mark.slow) for name in ("az", "gs")]


@pytest.fixture(params=["s3", *SLOW])
def place(request: pytest.FixtureRequest, seaweed_server: Seaweed) -> Iterator[Place]:
    with store_places.named(request.param, seaweed_server) as place, reached(place):
        yield place


def is_of_film(request: Request) -> bool:
    reads = request.method == "GET" and "a.mp4" in request.target
    return reads and any(name.lower() in ("range", "x-ms-range") for name, _ in request.headers)


@pytest.mark.parametrize(
    "after", [2, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 3))]
)
def test_a_video_replaced_while_it_is_read_is_one_or_the_other(
    after: int, place: Place, versions: tuple[bytes, bytes], tmp_path: Path
) -> None:
    """It fails alone, or is one of both from first frame to last; and then it is the new one."""
    film, output = f"{place.root}/films/a.mp4", str(tmp_path / "out")
    own = Shelf(place.root, f"{place.root}/.staging/test")
    own.write(film, versions[0])
    turns = iter(range(1, 1000))

    def replacing(request: Request, answer: Answer) -> Answer:
        if is_of_film(request) and next(turns) == after:
            place.proxy.answered = lambda request, answer: answer
            own.write(film, versions[1])
        return answer

    place.proxy.answered = replacing
    options = Options(
        input=(f"{place.root}/films",),
        output=output,
        clip_length=3.0,
        no_generate_embeddings=True,
        workers=1,
    )
    first = ended(options)
    assert next(turns) > after, "it was read with fewer requests"
    assert widths(output) in ([], [320, 320], [480, 480])
    # Whole clips may be there of a video that is not done, and the next run replaces them.
    assert widths(output) or first
    assert first == "" or "was replaced" in first or "changed while" in first, first
    assert ended(options) == ""
    assert widths(output) == [480, 480]


def ended(options: Options) -> str:
    """Why a run's one video failed; nothing, if it did not."""
    summary = run(options).summary
    assert summary.videos_done + summary.videos_skipped + summary.videos_failed == 1
    lists = Path(options.output).glob("failures/*.jsonl")
    return "".join(path.read_text() for path in lists) if summary.videos_failed else ""


def widths(output: str) -> list[int]:
    """Of all clips, each decoded to its end."""
    found = []
    for path in sorted(Path(output).glob("clips/*.mp4")):
        with av.open(str(path)) as clip:
            [width] = {frame.width for frame in clip.decode(video=0)}
        found.append(width)
    return found
