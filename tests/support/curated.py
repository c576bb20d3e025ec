"""A small output of curation whose truth is known, for tests of what reads outputs.

    long.mp4    160 by 90, 10 frames a second, 5 clips of a second, in chunks of two
    other.mp4   128 by 72,  8 frames a second, 6 clips
    still.mp4   160 by 90, a clip that is rejected, because nothing moves

What a captioner would have said is added by hand: where a clip begins in which film.
"""

from __future__ import annotations

import json
import pickle
import shutil
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from performing import performed

from finecut.io.dataset.output import Entry, Output, read_document
from finecut.io.media.testfilm.paint import Painting, Scene, paint
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.commands.shard import ShardOptions
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
from finecut.transforms.catalogue.chunks import enter, rows_at
from finecut.transforms.catalogue.compact import compact, is_complete
from finecut.transforms.resume.note import clips_in

ALGORITHM = "efficientnet-lite0"
CAPTIONER = "qwen_caption"


class Curated(NamedTuple):
    """An output, and the films that its clips are of, by name."""

    root: Path
    films: dict[str, Painting]

    @property
    def output(self) -> Output:
        return Output.at(str(self.root))

    def entries(self) -> list[Entry]:
        """In the order of the output."""
        return [clip for chunk in self.output.chunks() for clip in self.output.entries(chunk)]

    def kept(self) -> list[str]:
        return [clip.id for clip in self.entries() if clip.kept]


def curated(folder: Path) -> Curated:
    """A copy in this folder of pytest's, of what is made once in a process."""
    made = _made(folder.parent / "curated once")
    return Curated(Path(shutil.copytree(made.root, folder / "output")), made.films)


@cache
def _made(folder: Path) -> Curated:
    films = folder / "films"
    films.mkdir(parents=True)
    moving = Scene(velocity=(60.0, 40.0), pan=40.0)
    painted = (
        paint(films / "long.mp4", width=160, height=90, rate=10, seconds=5, scenes=[moving]),
        paint(films / "other.mp4", width=128, height=72, rate=8, seconds=6, scenes=[moving]),
        paint(films / "still.mp4", width=160, height=90, rate=10, seconds=1),
    )
    output = folder / "output"
    run(
        Options(
            input=(str(films),),
            output=str(output),
            clip_length=1.0,
            min_clip_length=1.0,
            chunk_seconds=2,
            keep=("motion>0.005",),
            generate_previews=True,
            workers=2,
        )
    )
    made = Curated(output, {Path(film.path).name: film for film in painted})
    for clip in made.entries():
        [window] = clip.document["windows"]
        say(output, clip.id, windows=[window | {CAPTIONER: told(clip)}] if clip.kept else [window])
    return made


def told(clip: Entry) -> str:
    """What the captioner says of a clip."""
    return f"second {clip.span[0]:.0f} of {Path(clip.document['source_video']).name}"


def say(root: Path, clip: str, **said: Any) -> None:
    """Change a clip's document, and its row in the catalogue, if it has one."""
    edit(root, clip, **said)
    output = Output.at(str(root))
    own = Shelf(str(root), str(root / ".staging" / "own"))
    if is_complete(output.layout):
        [chunk] = (c for c in output.chunks() if clip in clips_in(read_document(c)))
        enter(*rows_at(chunk, output), output.layout, own)
        compact(output.layout, own)
        own.sweep()


def edit(root: Path, clip: str, **said: Any) -> None:
    """Change a clip's document by hand, of which nobody else knows."""
    path = root / "metas" / "v0" / f"{clip}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | said, indent=4))


def without_catalogue(root: Path) -> Path:
    """As other programs leave a dataset behind."""
    shutil.rmtree(root / "catalogue")
    Path(Output.at(str(root)).layout.catalogue_facts()).unlink()
    return root


def sharded(dataset: Curated, folder: Path) -> Path:
    """The kept clips in shards of four, in the order of the output."""
    root, output = str(dataset.root), str(folder)
    options = ShardOptions(
        dataset=root, output=output, vectors=ALGORITHM, shard_clips=4, no_mix=True, quiet=True
    )
    assert performed(options.check()) == 0
    return folder


def vector_of(dataset: Curated, clip: Entry) -> np.ndarray[Any, np.dtype[np.float32]]:
    """As the pickle has it, of which nothing else knows here."""
    path = dataset.output.layout.embedding(ALGORITHM, clip.id)
    vector: np.ndarray[Any, np.dtype[np.float32]] = pickle.loads(Path(path).read_bytes())[0]
    return vector
