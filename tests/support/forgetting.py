"""A dataset with everything that can speak of a source, and a search through every byte of it.

    Ünique/gone film.mp4   is to be forgotten; its clips look like those of twin.mp4
    twin.mp4               the same pictures under another name
    stays.mp4              another film
    broken.mp4             is none, so it is on the list of failures; it may be forgotten, too

There are captions, previews, thumbnails, vectors, duplicates, shards with a Lance table (in the
dataset), and a report.
"""

from __future__ import annotations

import atexit
import gzip
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from openai_server import OpenAIServer
from performing import performed

from finecut.io.dataset.output import Output
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.pipeline.commands.dedup import DedupOptions
from finecut.pipeline.commands.forget import Forget, ForgetOptions
from finecut.pipeline.commands.forget.work import Forgot
from finecut.pipeline.commands.shard import ShardOptions
from finecut.pipeline.options import Options
from finecut.pipeline.running import Ran, run

GONE, TWIN, STAYS, BROKEN = "Ünique/gone film.mp4", "twin.mp4", "stays.mp4", "broken.mp4"
#: What curate is told, without models that have to be asked.
PLAIN: dict[str, Any] = {
    "clip_length": 1.0,
    "min_clip_length": 1.0,
    "chunk_seconds": 2,
    "keep": ("motion>0.005",),
    "generate_previews": True,
    "generate_thumbnails": True,
    "workers": 2,
}


class Made(NamedTuple):
    """A dataset and its films."""

    root: Path
    films: Path
    captioned: dict[str, Any]

    def path(self, relative: str) -> str:
        return str(self.films / relative)

    def ids(self, relative: str) -> set[str]:
        """The ids of the clips of a film."""
        output = Output.at(str(self.root))
        return {
            entry.id
            for chunk in output.chunks()
            for entry in output.entries(chunk)
            if entry.document["source_video"] == self.path(relative)
        }

    def again(self) -> Ran:
        """The same curation once more."""
        return run(Options(input=(str(self.films),), output=str(self.root), **self.captioned))


def made(folder: Path) -> Made:
    """A copy in this folder of pytest's, of what is made once in a process."""
    once = _made(folder.parent / "made to be forgotten")
    root = Path(shutil.copytree(once.root, folder / "output"))
    return Made(root, once.films, once.captioned)


@cache
def _server() -> OpenAIServer:
    """What captions, also when a run comes again; as long as this process lives."""
    server = OpenAIServer()
    atexit.register(server.__exit__, None, None, None)
    return server.__enter__()


@cache
def _made(folder: Path) -> Made:
    films = folder / "films"
    (films / GONE).parent.mkdir(parents=True)
    moving = Scene(velocity=(60.0, 40.0), pan=40.0)
    paint(films / GONE, width=128, height=72, rate=8, seconds=3, scenes=[moving])
    shutil.copy2(films / GONE, films / TWIN)
    # It is not the same file: it was written at another moment.
    (films / TWIN).touch()
    paint(films / STAYS, width=160, height=90, rate=8, seconds=2, scenes=[moving])
    (films / BROKEN).write_bytes(b"no film at all")
    output = folder / "output"
    captioned = {
        **PLAIN,
        "generate_captions": True,
        "captioning_algorithm": "endpoint",
        "captioning_endpoint": _server().url,
    }
    run(Options(input=(str(films),), output=str(output), **captioned))
    assert performed(DedupOptions(str(output), quiet=True, workers=1)) == 0
    options = ShardOptions(
        dataset=str(output),
        output=str(output / "shards"),
        shard_clips=3,
        quiet=True,
        workers=1,
        lance=find_spec("lance") is not None,
    )
    assert performed(options.check()) == 0
    return Made(output, films, captioned)


def forgotten(root: Path | str, *sources: str, **options: Any) -> Forgot:
    """What ``finecut forget`` did."""
    return Forget(ForgetOptions(str(root), source=sources, **options).check()).run()


# ── every byte ───────────────────────────────────────────────────────────────────────────────────


def tree(root: Path) -> dict[str, bytes]:
    """Every file, and every folder (with a stroke behind it and no bytes)."""
    paths = sorted(root.rglob("*"))
    return {
        path.relative_to(root).as_posix() + "/" * path.is_dir(): (
            b"" if path.is_dir() else path.read_bytes()
        )
        for path in paths
    }


def spoken_of(root: Path, *words: str) -> list[str]:
    """Where anything below a folder speaks of these words, in names or in any byte of a file, also
    of what is packed in it.
    """
    needles = [needle for word in words for needle in _spellings(word)]
    found = []
    for name, data in tree(root).items():
        parts = [name.encode(), data, *_unpacked(name, data, root)]
        if any(needle in part for needle in needles for part in parts):
            found.append(name)
    return found


def _spellings(word: str) -> Iterator[bytes]:
    yield word.encode()
    yield json.dumps(word)[1:-1].encode()
    if re.fullmatch(r"[0-9a-f-]{36}", word):
        yield bytes.fromhex(word.replace("-", ""))


def _unpacked(name: str, data: bytes, root: Path) -> Iterator[bytes]:
    if name.endswith(".parquet"):
        table = pq.read_table(BytesIO(data))
        yield repr((table.to_pylist(), table.schema.metadata)).encode()
    if name.endswith(".tar"):
        with tarfile.open(fileobj=BytesIO(data)) as archive:
            for member in archive:
                yield member.name.encode()
                file = archive.extractfile(member)
                yield file.read() if file else b""
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if name.endswith(".lance/"):
        import lance

        table = lance.dataset(str(root / name))
        for version in table.versions():
            rows = lance.dataset(str(root / name), version=version["version"])
            yield repr(rows.to_table().to_pylist()).encode()
