"""The parts of a page made in this process: slice by slice, so that little of them is in memory.

    slices ─▶ Totals ─▶ Showing
    slices ─▶ a temporary file for each part ─▶ tiles, and sprites by as many threads as are wanted

:mod:`finecut.transforms.report.on_workers` is the same on an engine.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial, reduce
from operator import add
from pathlib import Path

import pyarrow as pa

from finecut.io.dataset.output import Output
from finecut.io.process.children import USUAL_LIMITS, ChildLimits
from finecut.io.process.threads import in_order
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.transforms.catalogue.on_workers import batched
from finecut.transforms.catalogue.reading import DOCUMENTS, Slice, slices
from finecut.transforms.report.counting import Totals, totals_of
from finecut.transforms.report.frames import Drawing
from finecut.transforms.report.parts import (
    Made,
    Showing,
    make_part,
    part_of,
    shared_out,
    to_bytes,
)
from finecut.transforms.report.pictures import FOLDER, Sprite, draw
from finecut.transforms.report.reading import Told, told_by


def slices_there(output: Output) -> Iterator[Slice]:
    """The slices of the dataset; without the folder of chunks, nothing was finished.

    Of documents if somebody has removed the catalogue: what says that it is complete is elsewhere.
    """
    with suppress(FileNotFoundError):
        if shelf.exists(output.layout.catalogue()):
            yield from slices(output.layout)
        else:
            for paths in batched(output.chunks(), DOCUMENTS):
                yield Slice(documents=tuple(paths))


class Here:
    """What is read and made in this process; ``folder`` is a temporary one."""

    def __init__(self, output: Output, folder: str, readers: int = 1) -> None:
        self.output, self.folder, self.readers = output, Path(folder), readers
        self.pieces = [*slices_there(output)]

    def totals(self) -> Totals:
        return reduce(add, map(totals_of, self._all()), Totals())

    def _all(self) -> Iterator[Told]:
        """What each slice tells. Documents are read once: what they told is kept in files."""
        for number, piece in enumerate(self.pieces):
            told = told_by(piece, self.output, self.readers)
            if piece.documents:
                self._file("told", number).write_bytes(to_bytes(told.clips))
            yield told

    def parts(
        self,
        showing: Showing,
        own: Shelf,
        drawing: Drawing,
        *,
        threads: int,
        limits: ChildLimits | None = USUAL_LIMITS,
    ) -> Iterator[Made]:
        """Make all parts, one after the other; without ``limits``, clips are decoded here."""
        sizes: dict[int, list[int]] = {}
        for number in range(len(self.pieces)):
            for part, data in shared_out(self._clips(number), showing):
                sizes.setdefault(part, []).append(len(data))
                with self._file("part", part).open("ab") as file:
                    file.write(data)
        for part, pieces in sorted(sizes.items()):
            made, sprites = make_part(part, part_of(self._pieces(part, pieces)), showing, own)
            work = partial(draw_one, showing=showing, own=own, drawing=drawing, limits=limits)
            draw_all(sprites, work, threads)
            yield made

    def _clips(self, number: int) -> pa.Table:
        kept = self._file("told", number)
        if kept.exists():
            return part_of([kept.read_bytes()])
        return told_by(self.pieces[number], self.output).clips

    def _pieces(self, part: int, sizes: Iterable[int]) -> Iterator[bytes]:
        with self._file("part", part).open("rb") as file:
            for size in sizes:
                yield file.read(size)

    def _file(self, kind: str, number: int) -> Path:
        return self.folder / f"{kind}-{number}"


def draw_all(sprites: Iterable[Sprite], work: Callable[[Sprite], None], threads: int) -> None:
    for _ in in_order(work, sprites, threads):
        pass


def draw_one(
    sprite: Sprite,
    *,
    showing: Showing,
    own: Shelf,
    drawing: Drawing,
    limits: ChildLimits | None = USUAL_LIMITS,
) -> None:
    """Write the file of a sprite; nothing where no clip of it can be seen."""
    data = draw(sprite, drawing, limits)
    if data is not None:
        own.write(f"{showing.folder}/{FOLDER}/{sprite.name}", data)
