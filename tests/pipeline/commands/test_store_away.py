"""Commands on a dataset in a bucket that is away for longer than anybody waits: they end with a
sentence, and say nothing of what they could not see. When it is back, they do as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from away import DEADLINE, Away, wait_shorter
from faulty_store import FaultyStore
from forgetting import GONE, made
from forgetting import tree as files_of

from finecut.io.storage import files as shelf
from finecut.io.storage import retry
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.cli.command import main

ROOT, SHARDS, FOUND = "gs://bucket/out", "gs://bucket/shards", "gs://bucket/found"
OF_TEXT = (".json", ".jsonl", ".html", ".js")
FOR_EVER = 1e9
Back = Callable[[], None]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FaultyStore, Back]]:
    """A store with a dataset that has everything: captions, previews, duplicates, shards, a report;
    and what puts it back as it was.
    """
    pytest.importorskip("gcp_storage_emulator")
    data, store = made(tmp_path_factory.mktemp("away") / "one"), FaultyStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", store.address)
        own = Shelf(ROOT, f"{ROOT}/.staging/test")
        for name, content in files_of(data.root).items():
            if not name.endswith("/") and "lance" not in name:
                said = content.replace(str(data.root).encode(), ROOT.encode())
                own.write(f"{ROOT}/{name}", said if name.endswith(OF_TEXT) else content)
        yield store, store.kept()
    store.close()


@pytest.fixture
def store(
    filled: tuple[FaultyStore, Back], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultyStore]:
    store, back = filled
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    wait_shorter(monkeypatch)
    monkeypatch.setattr(retry, "AGAIN", DEADLINE)
    yield store
    store.spoiled = lambda method, path: ""
    back()


@pytest.fixture(scope="module")
def usual(filled: tuple[FaultyStore, Back]) -> Callable[[str], dict[str, bytes]]:
    """What a command leaves that nothing troubled."""
    _, back = filled

    @cache
    def left(command: str) -> dict[str, bytes]:
        assert main(WORDS[command]) == 0
        found = objects()
        back()
        return found

    return left


#: What is said to each command.
WORDS = {
    "verify": ["verify", ROOT, "--shards", f"{ROOT}/shards", "--no-isolation"],
    "shard": ["shard", ROOT, "--output", SHARDS, "--drop", f"{ROOT}/dedup"],
    "dedup": ["dedup", ROOT],
    "refilter": ["refilter", ROOT, "--keep", "motion>0.0128", "--yes"],
    "report": ["report", ROOT],
    "forget": ["forget", ROOT, "--source", GONE],
}
#: Made by chance, told of a run, or left for the next one.
ELSE = ("runs/", "report/", ".finecut/forgotten.json")


def objects() -> dict[str, bytes]:
    """What is there to stay."""
    found = {path: shelf.read(path) for path in shelf.files_below("gs://bucket")}
    others = ("/.staging/", f"{FOUND}/")
    kept = {p: data for p, data in found.items() if not any(each in p for each in others)}
    return {p: d for p, d in kept.items() if not p.removeprefix(f"{ROOT}/").startswith(ELSE)}


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def asked(kind: str) -> str:
    """Requests for the objects that are called so, not for lists of them."""
    return f"[A-Z]+ [^?]*{kind}"


#: Requests for objects that are called so.
KINDS = {
    "verify": [
        *("clips%2F", "metas%2F", "processed_clip_chunks%2F", "processed_videos%2F", "embd%2F"),
        *("embd_parquet%2F", "previews%2F", "dedup%2Fgroups", "duplicates%2F", "failures%2F"),
        *("index.parquet", "shards%2F[^?]*tar"),
    ],
    "shard": [
        *("clips%2F", "metas%2F", "catalogue%2F", "embd_parquet%2F", "duplicates%2F"),
        "groups.parquet",
    ],
    "dedup": [
        *("clips%2F", "catalogue%2F", "embd_parquet", "state.json", "likeness.parquet"),
    ],
    "refilter": [
        *("clips%2F", "metas%2F", "embd_parquet%2F", "processed_videos%2F"),
        "processed_clip_chunks%2F",
    ],
    "report": ["embd_parquet%2F", "metas%2F", "dedup%2Fgroups", "runs%2F", "failures%2F"],
    "forget": [
        *("clips%2F", "metas%2F", "shards%2F[^?]*tar", "dedup%2Fgroups", "embd_parquet%2F"),
        "failures%2F",
    ],
}
#: Of other requests: a list, writing, and removing many at once.
OTHERS = (
    ("verify", "GET .*/o.*prefix=out%2Fpreviews"),
    ("shard", "POST /upload"),
    ("forget", "POST /batch"),
)
#: Of other commands, all cases are slow.
QUICK, SLOW = ("verify", "shard"), [pytest.mark.slow]
CASES = [
    *(
        pytest.param(name, asked(kind), marks=[] if name in QUICK and not number else SLOW)
        for name, kinds in KINDS.items()
        for number, kind in enumerate(kinds)
    ),
    *(pytest.param(name, kind, marks=[] if name in QUICK else SLOW) for name, kind in OTHERS),
]
#: What no command may say of what it could not see.
VERDICTS = (
    "missing",
    "broken",
    "cannot be read",
    "forgotten:",
    "no problems",
    "left out",
    "listed",
)


@pytest.mark.parametrize(("command", "kind"), CASES, ids=lambda text: text)
def test_a_command_says_that_the_store_was_away_and_nothing_else(
    store: FaultyStore,
    usual: Callable[[str], dict[str, bytes]],
    capsys: pytest.CaptureFixture[str],
    command: str,
    kind: str,
) -> None:
    expected = usual(command)
    before = objects()
    capsys.readouterr()
    store.spoiled = away = Away(kind, FOR_EVER, only=True)
    code = main(WORDS[command])
    said = capsys.readouterr()
    assert away.refused
    assert code == 1, said.out
    *_, sentence = said.err.strip().splitlines()
    assert sentence.startswith("finecut: ")
    for part in ("gs://bucket/", "busy after all attempts", "503", "run the same command again"):
        assert part in sentence
    assert "Traceback" not in said.err
    assert [word for word in VERDICTS if word in said.out + said.err] == []
    store.spoiled = lambda method, path: ""
    if command == "verify":
        assert differing(before, objects()) == []
    assert main(WORDS[command]) == 0
    assert differing(expected, objects()) == []


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("verify", asked("clips%2F")),
        pytest.param("shard", asked("clips%2F"), marks=SLOW),
        pytest.param("dedup", asked("clips%2F"), marks=SLOW),
        pytest.param("refilter", asked("processed_clip_chunks%2F"), marks=SLOW),
    ],
)
def test_an_engine_that_tries_again_does_it_when_the_store_is_back(
    store: FaultyStore,
    usual: Callable[[str], dict[str, bytes]],
    capsys: pytest.CaptureFixture[str],
    command: str,
    kind: str,
) -> None:
    expected = usual(command)
    capsys.readouterr()
    store.spoiled = away = Away(kind, 2 * DEADLINE, only=True)
    more = ["--report", f"{FOUND}/findings.jsonl"] if command == "verify" else []
    code = main([*WORDS[command], *more, "--runner", "retrying.RetryingRunner"])
    assert away.refused
    assert (code, "Traceback" in capsys.readouterr().err) == (0, False)
    assert differing(expected, objects()) == []
