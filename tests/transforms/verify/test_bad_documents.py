"""One bad document costs itself: every command names it, goes on, and comes to its end.

A dataset of as many films as there are ways to spoil a document, and one more. In each test every
film but the last has one document spoilt, each in another way; the last film's work must be done.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finecut.io.dataset.clips import ClipError
from finecut.io.dataset.places import NoDataset
from finecut.io.layout import Layout, chunk_id
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.pipeline.cli.command import main

#: For one command, on a machine that has other things to do.
PATIENCE: Final = 300

Spoil = Callable[[Path], None]


def instead(data: bytes) -> Spoil:
    """Other bytes."""

    def spoil(path: Path) -> None:
        path.write_bytes(data)

    return spoil


def also(said: bytes) -> Spoil:
    """One more entry, which nobody asked for."""

    def spoil(path: Path) -> None:
        path.write_bytes(path.read_bytes().rstrip()[:-1] + b', "more": ' + said + b"}")

    return spoil


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").touch()


def texts(path: Path) -> None:
    """Text wherever a number was."""

    def spoilt(said: Any) -> Any:
        if isinstance(said, dict):
            return {key: spoilt(each) for key, each in said.items()}
        if isinstance(said, list):
            return [spoilt(each) for each in said]
        return "seven" if type(said) in (int, float) else said

    path.write_text(json.dumps(spoilt(json.loads(path.read_bytes()))))


def swapped(path: Path) -> None:
    """Objects where lists were, and lists where objects were."""

    def spoilt(said: Any) -> Any:
        return [*said] if isinstance(said, dict) else dict.fromkeys(map(str, said), 1)

    said = json.loads(path.read_bytes())
    for key, each in said.items():
        said[key] = spoilt(each) if isinstance(each, dict | list) else [each]
    path.write_text(json.dumps(said))


WAYS: Final[dict[str, Spoil]] = {
    "nested": instead(b"[" * 100_000),
    "nested whole": also(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "nested a little": also(b"[" * 600 + b"]" * 600),
    "nan": also(b"NaN"),
    "infinity": also(b"[-Infinity]"),
    "1e400": also(b"1e400"),
    "long number": also(b"7" * 5_000),
    "large number": also(b"7" * 400),
    "surrogate": also(rb'"\ud800"'),
    "surrogate bytes": also(b'"\xed\xa0\x80"'),
    "texts": texts,
    "swapped": swapped,
    "list": instead(b"[]"),
    "pipe": pipe,
    "folder": folder,
    "empty": instead(b""),
    "latin-1": also('"é"'.encode("latin-1")),
    "cut short": instead(b'{"video": "a'),
}
FILMS: Final = tuple(f"{number:02}.mp4" for number in range(len(WAYS)))
SOUND: Final = "sound.mp4"


class TextOutcome(NamedTuple):
    """How a command ended, and all that it said, also in what it wrote."""

    code: int
    said: str


class Dataset:
    """An output of curation, and the films it is of."""

    def __init__(self, films: Path, root: Path) -> None:
        self.films, self.root = films, root

    def curate(self) -> list[str]:
        settings = "--clip-length 1 --min-clip-length 0.5 --motion-filter score-only --workers 1"
        switches = "--no-isolation --no-report"
        given = ["--input", str(self.films), "--output", str(self.root)]
        return ["curate", *given, *settings.split(), *switches.split()]

    def video(self, film: str) -> Path:
        return self.root / f"processed_videos/{film}.json"

    def chunk(self, film: str) -> Path:
        return self.root / f"processed_clip_chunks/{film}_0.json"

    def clips(self, film: str) -> list[str]:
        said = json.loads(self.chunk(film).read_bytes())
        return [*said["clips"], *said["filtered_clips"]]

    def meta(self, film: str) -> Path:
        return self.root / f"metas/v0/{self.clips(film)[0]}.json"

    def run(self, film: str) -> Path:
        """The summary of an old run, made of the only one that there is."""
        [newest] = (path for path in self.root.glob("runs/*-*") if len(path.name) > 8)
        old = self.root / f"runs/{FILMS.index(film):08}"
        shutil.copytree(newest, old)
        return old / "summary.json"

    def texts(self) -> dict[Path, str]:
        """Whatever commands say in files."""
        places = ("failures", "runs", "shards")
        found = (path for place in places for path in (self.root / place).rglob("*.json*"))
        return {path: path.read_text(errors="replace") for path in found if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    home = tmp_path_factory.mktemp("bad")
    films = home / "films"
    films.mkdir()
    panned = Scene(velocity=(60.0, 40.0), pan=40.0)
    paint(films / SOUND, width=64, height=36, rate=10, seconds=1, scenes=[panned])
    for name in FILMS:
        shutil.copyfile(films / SOUND, films / name)
    dataset = Dataset(films, home / "out")
    assert main(dataset.curate()) == 0
    return dataset


@pytest.fixture
def dataset(made: Dataset, tmp_path: Path) -> Dataset:
    """A copy to be spoilt."""
    return Dataset(made.films, Path(shutil.copytree(made.root, tmp_path / "out")))


@pytest.fixture(autouse=True)
def _hurry() -> Iterator[None]:
    """Who waits for a pipe waits for ever."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"the command does not come to its end in {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refilter(dataset: Dataset) -> list[str]:
    return ["refilter", str(dataset.root), "--keep", "motion>9", "--yes", "--workers", "1"]


def dedup(dataset: Dataset) -> list[str]:
    return ["dedup", str(dataset.root), "--no-confirm", "--workers", "1"]


def shard(dataset: Dataset) -> list[str]:
    output = str(dataset.root / "shards")
    return ["shard", str(dataset.root), "--output", output, "--workers", "1"]


def verify(dataset: Dataset) -> list[str]:
    return ["verify", str(dataset.root), "--quick", "--workers", "1", "--show", "9999"]


def report(dataset: Dataset) -> list[str]:
    return ["report", str(dataset.root)]


COMMANDS: Final = (refilter, dedup, shard, verify, report, Dataset.curate)
PLACES: Final = (Dataset.meta, Dataset.chunk, Dataset.video, Dataset.run)
#: What each command reads, and so has to name when it is bad.
READS: Final[dict[str, set[str]]] = {
    "refilter": {"meta", "chunk", "video", "run"},
    # These read the catalogue, and such documents only where there is none.
    "dedup": set(),
    "shard": {"meta"},
    "verify": {"meta", "chunk", "video", "run"},
    "report": {"run"},
    "curate": {"video"},
}


def index_of(root: Path) -> list[str]:
    ids: list[str] = pq.read_table(root / "shards/index.parquet").column("id").to_pylist()
    return ids


def is_done(command: str, dataset: Dataset, told: TextOutcome) -> bool:
    """Whether the film that is sound got what the command is for."""
    said = json.loads(dataset.chunk(SOUND).read_bytes())
    ids = {*said["clips"], *said["filtered_clips"]}
    found = dataset.root / "dedup/summary.json"
    return {
        "refilter": lambda: len(said["filtered_clips"]) == 1,
        "dedup": lambda: json.loads(found.read_bytes())["items"] == len(FILMS) + 1,
        "shard": lambda: ids <= {*index_of(dataset.root)},
        "verify": lambda: not any(word in told.said for word in (SOUND, *ids)),
        "report": (dataset.root / "report/index.html").exists,
        "curate": lambda: len(said["clips"]) == 1,
    }[command]()


class Ears(NamedTuple):
    """What hears a command."""

    outlets: pytest.CaptureFixture[str]
    log: pytest.LogCaptureFixture


@pytest.fixture
def ears(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Ears:
    return Ears(capfd, caplog)


def told_by(command: list[str], dataset: Dataset, ears: Ears) -> TextOutcome:
    before = dataset.texts()
    ears.outlets.readouterr()
    try:
        code = main(command)
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = "".join(ears.outlets.readouterr())
    said += "".join(f"{one.getMessage()}\n" for one in ears.log.records if one.levelname == "ERROR")
    said += "".join(text for path, text in dataset.texts().items() if before.get(path) != text)
    return TextOutcome(code, said)


def commands_and_places() -> Iterator[Any]:
    """All; those are slow in which a command reads none of the documents that are spoilt."""
    for command in COMMANDS:
        for place in PLACES:
            reads = place.__name__ in READS[command.__name__]
            marks = () if reads else pytest.mark.slow
            name = f"{place.__name__}-{command.__name__}"
            yield pytest.param(command, place, marks=marks, id=name)


@pytest.mark.parametrize(("command", "place"), commands_and_places())
def test_a_bad_document_costs_itself(
    command: Callable[[Dataset], list[str]],
    place: Callable[[Dataset, str], Path],
    dataset: Dataset,
    ears: Ears,
) -> None:
    spoilt = {way: place(dataset, film) for way, film in zip(WAYS, FILMS, strict=True)}
    for way, path in spoilt.items():
        WAYS[way](path)
    told = told_by(command(dataset), dataset, ears)
    print(told.said)
    assert "Traceback" not in told.said
    words, where = command.__name__, place.__name__
    if where in READS[words]:
        name = (lambda path: path.parent.name) if where == "run" else (lambda path: path.stem)
        assert [way for way in WAYS if name(spoilt[way]) not in told.said] == []
    assert told.code == (1 if command is verify else 0)
    assert is_done(words, dataset, told)


# ── tables and pickles ───────────────────────────────────────────────────────────────────────────


def text_for_vectors(path: Path) -> None:
    ids = pq.read_table(path).column("id")
    pq.write_table(pa.table({"id": ids, "embedding": ["seven"] * len(ids)}), path)


def no_numbers(path: Path) -> None:
    ids = pq.read_table(path).column("id")
    pq.write_table(pa.table({"id": ids, "embedding": [[float("nan")] * 1280] * len(ids)}), path)


def other_columns(path: Path) -> None:
    pq.write_table(pa.table({"name": ["a"], "size": [1]}), path)


#: The first of them stands in place of the table that is read first.
TABLES: Final[dict[str, Spoil]] = {
    "pipe": pipe,
    "text": text_for_vectors,
    "other columns": other_columns,
    "not a table": instead(b"PAR1 and nothing more"),
    "empty": instead(b""),
    "not a number": no_numbers,
}
ALGORITHM: Final = "efficientnet-lite0"


def table_of(dataset: Dataset, film: str) -> Path:
    chunk = json.loads(dataset.chunk(film).read_bytes())
    layout = Layout(str(dataset.root))
    return Path(layout.embedding_parquet(ALGORITHM, chunk_id(chunk["video"], 0)))


@pytest.mark.parametrize("command", COMMANDS[:5], ids=lambda command: command.__name__)
def test_a_bad_table_of_vectors_costs_itself(
    command: Callable[[Dataset], list[str]], dataset: Dataset, ears: Ears
) -> None:
    tables = sorted(table_of(dataset, film) for _, film in zip(TABLES, FILMS, strict=False))
    spoilt = dict(zip(TABLES, tables, strict=True))
    for way, path in spoilt.items():
        TABLES[way](path)
    words = command.__name__
    told = told_by(command(dataset), dataset, ears)
    print(told.said)
    assert "Traceback" not in told.said
    assert told.code == (1 if command is verify else 0)
    # Numbers that are none are numbers to who carries them; they are nobody's duplicates.
    heard = {"dedup": 5, "shard": 5, "verify": 6, "refilter": 5}.get(words, 0)
    assert [way for way in [*TABLES][:heard] if spoilt[way].stem not in told.said] == []
    if command is not dedup:
        assert is_done(words, dataset, told)


PICKLES: Final[dict[str, Spoil]] = {
    "program": instead(b"cos\nsystem\n(S'true'\ntR."),
    "text": instead(pickle.dumps("seven", protocol=4)),
    "deep": instead(b"\x80\x04" + b"(" * 100_000 + b"t" * 100_000 + b"."),
    "empty": instead(b""),
    "pipe": pipe,
    "folder": folder,
}


def test_a_bad_pickle_is_named_and_costs_itself(dataset: Dataset, ears: Ears) -> None:
    """Nobody else reads them."""
    layout = Layout(str(dataset.root))
    clips = [dataset.clips(film)[0] for film in FILMS[: len(PICKLES)]]
    for id, spoil in zip(clips, PICKLES.values(), strict=True):
        spoil(Path(layout.embedding(ALGORITHM, id)))
    told = told_by(verify(dataset), dataset, ears)
    print(told.said)
    assert told.code == 1
    assert [id for id in clips if f"{id}.pickle" not in told.said] == []
    assert is_done("verify", dataset, told)


# ── training ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("place", [Dataset.meta, Dataset.chunk], ids=["meta", "chunk"])
def test_who_trains_hears_of_bad_documents_and_goes_on(
    place: Callable[[Dataset, str], Path], dataset: Dataset, ears: Ears
) -> None:
    torch = pytest.importorskip("finecut.io.dataset.for_torch")
    spoilt = {way: place(dataset, film) for way, film in zip(WAYS, FILMS, strict=True)}
    sound = dataset.clips(SOUND)
    for way, path in spoilt.items():
        WAYS[way](path)
    root = str(dataset.root)
    with pytest.raises((NoDataset, ClipError), match="nested more than 100 levels deep"):
        list(torch.ClipDataset(root, frames=1))
    read = [sample["id"] for sample in torch.ClipDataset(root, frames=1, on_error="skip")]
    assert {*sound} <= {*read}
    heard = " ".join(one.getMessage() for one in ears.log.records)
    assert [way for way, path in spoilt.items() if path.stem not in heard] == []
