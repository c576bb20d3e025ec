"""Making a page: what workers make of clips, and what is made here, put together.

    count all clips ─▶ Showing ─▶ parts, on workers or here ─▶ what else there is ─▶ page

Nothing here grows with the clips of a dataset beyond those that a page shows.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from finecut.io.dataset.output import Output
from finecut.io.process.children import USUAL_LIMITS
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import temporary_folder
from finecut.pipeline.commands.report import Made
from finecut.pipeline.page import page_text
from finecut.pipeline.page.gather import (
    ROWS_OF_FAILURES,
    Outcome,
    rules_drawn,
    rules_of_last,
    stride_of_last,
)
from finecut.pipeline.page.similar import Rows, write_alike, write_duplicates
from finecut.transforms.registry import titles
from finecut.transforms.report.counting import Totals, common_folder, digest_of
from finecut.transforms.report.frames import Drawing
from finecut.transforms.report.here import Here
from finecut.transforms.report.parts import (
    DATA,
    EVERY,
    ROWS_OF_SOURCES,
    Showing,
    Writing,
    borders_of,
    source_row,
)
from finecut.transforms.report.parts import Made as MadePart
from finecut.transforms.report.pictures import FOLDER as PICTURES
from finecut.transforms.report.sources import fields_of
from finecut.transforms.report.tiles import Words
from finecut.transforms.steps.thumbnail import THUMBNAILS

PAGE: Final = "index.html"
#: Documents of a store that are asked for at the same time.
READERS: Final = 16
#: A reason beyond those that are told apart.
OTHERWISE: Final = "another reason"
#: Clips that the end of a run may decode for pictures, of each part of a page.
FEW_PICTURES: Final = 2_000

#: What data and pictures of a page are called: nothing else in its folders is ours to remove.
_OURS: Final = re.compile(r"[a-z]+-\d{4,}\.[0-9a-f]{12}\.js|[0-9a-f]{20}\.webp")

Parts = Callable[[Showing, Drawing], Iterable[MadePart]]


@dataclass(frozen=True)
class Wish:
    """How a page is to be."""

    neighbours: int = 8
    #: Leave out what takes long with many clips.
    few: bool = False
    #: Documents that are read at the same time; 0 means what is usual for the place.
    readers: int = 0
    #: Clips that are decoded at the same time.
    threads: int = 1
    #: Whether clips are decoded in another process, which they cannot take down with this one.
    isolated: bool = True
    #: Width of pictures; 0 leaves them out.
    pictures: int = 160
    #: Clips of a page.
    most: int = 1_000_000


def make_report(output: Output, own: Shelf, folder: str, wish: Wish, links: str) -> Made:
    """Write the page of an output, in this process."""
    readers = wish.readers or (READERS if shelf.is_remote(output.root) else 1)
    with temporary_folder() as there:
        here = Here(output, there, readers)

        def parts(showing: Showing, drawing: Drawing) -> Iterator[MadePart]:
            limits = USUAL_LIMITS if wish.isolated else None
            return here.parts(showing, own, drawing, threads=wish.threads, limits=limits)

        return Making(output, own, folder, wish).page(here.totals(), parts, links)


class Joined(NamedTuple):
    """The tiles of all parts, and where each begins in the page."""

    names: dict[str, list[str]]
    #: Of each tile its first row (of sources: its first source), and of those that speak of both,
    #: the first source (the first row) of its part.
    starts: dict[str, list[tuple[int, int]]]
    clips: int
    sources: int

    def add(self, kind: str, name: str, first: int, other: int = 0) -> None:
        self.names.setdefault(kind, []).append(name)
        self.starts.setdefault(kind, []).append((first, other))


def joined(parts: Iterable[MadePart]) -> Joined:
    """The parts, one behind the other."""
    found, clips, sources = Joined({}, {}, 0, 0), 0, 0
    for part in parts:
        for kind, names in part.names.items():
            first, other = (sources, clips) if kind == "sources" else (clips, sources)
            for name, start in zip(names, part.starts[kind], strict=True):
                found.add(kind, name, first + start, other)
        clips, sources = clips + part.clips, sources + part.sources
    return found._replace(clips=clips, sources=sources)


class Making:
    """A page that is being made."""

    def __init__(self, output: Output, own: Shelf, folder: str, wish: Wish) -> None:
        self.output, self.own, self.folder, self.wish = output, own, folder, wish
        self.readers = wish.readers or (READERS if shelf.is_remote(output.root) else 1)
        self.outcome = Outcome(output)
        self.writing = Writing(own, folder)

    def page(self, totals: Totals, parts: Parts, links: str) -> Made:
        """Make all of it; ``parts`` makes the parts, wherever that is done."""
        before = [
            path for name in (DATA, PICTURES) for path in shelf.files_in(f"{self.folder}/{name}")
        ]
        below, borders = borders_of(totals, self.wish.most)
        finished = {
            digest: path for digest, path in self.outcome.finished().items() if digest < below
        }
        showing = Showing(
            folder=self.folder,
            words=_words(totals),
            borders=borders,
            below=below,
            lost={name: frozenset(lost) for name, lost in self.outcome.lost.items()},
            stride=stride_of_last(self.outcome.runs),
            finished=frozenset(finished),
            pictures=self.wish.pictures,
            drawn=frozenset(path.rsplit("/", 1)[-1] for path in before),
            to_draw=FEW_PICTURES if self.wish.few else None,
        )
        thumbnails = shelf.exists(self.output.layout.below(THUMBNAILS.folder))
        drawing = Drawing(self.output.root, self.wish.pictures, thumbnails)
        made = sorted(parts(showing, drawing), key=lambda part: part.part)
        facts = self._facts(totals, showing, made, finished=finished)
        facts |= {"thumbnails": thumbnails, "links": links}
        path = f"{self.folder}/{PAGE}"
        self.own.write(path, page_text(facts).encode())
        remove_old(self.own, self.folder, before, {name for part in made for name in part.sprites})
        bad = sorted({*totals.bad, *self.outcome.bad})
        return Made(path, totals.clips, totals.unreadable, tuple(bad))

    def _facts(
        self,
        totals: Totals,
        showing: Showing,
        made: Sequence[MadePart],
        *,
        finished: Mapping[int, str],
    ) -> dict[str, Any]:
        """What the page itself says, and the names of what it loads."""
        tiles, outcome = joined(made), self.outcome
        in_part = {name for part in made for name in part.failed}
        names = self._add_others(tiles, finished, made, showing)
        rows = Rows(b"".join(base64.b64decode(part.ids) for part in made))
        groups = write_duplicates(self.writing, self.output.root, rows)
        alike = self._alike(rows, tiles.clips)
        self.writing.add_rows("failures", outcome.failures, ROWS_OF_FAILURES)
        chunks = {kind: names for kind, names in self.writing.names.items() if kind != "sources"}
        reasons = showing.words.reasons
        folders = [*filter(None, [totals.folder]), *map(_folder, names)]
        return {
            "dataset": self.output.root.rstrip("/").rsplit("/", 1)[-1],
            "sharded": self.output.layout.shard_prefix,
            "packed": self.output.layout.packed,
            "count": tiles.clips,
            "all": totals.clips,
            "bytes": totals.bytes,
            "captioned": totals.captioned,
            "marked": totals.marked,
            "reasons": [*reasons],
            "totals": _totals(totals, reasons),
            "scores": [*showing.words.scores],
            "titles": outcome.titles() | titles(),
            "rules": rules_drawn(rules_of_last(outcome.runs), reasons),
            "sources": tiles.sources + len(names) if showing.below == EVERY else totals.sources,
            "fields": fields_of(totals.fields),
            "folder": common_folder(folders) if folders else "",
            "lost": sum(map(len, outcome.lost.values())),
            "failures": len(outcome.failures),
            "failed": len(outcome.lost),
            "failed_in_part": len(in_part),
            "groups": groups,
            "alike": alike,
            "unreadable": totals.unreadable,
            "runs": outcome.runs,
            "pictures": self.wish.pictures,
            "chunks": tiles.names | chunks,
            "starts": tiles.starts,
        }

    def _alike(self, rows: Rows, count: int) -> str:
        if not self.wish.neighbours:
            return ""
        most, few = self.wish.neighbours, self.wish.few
        return write_alike(self.writing, self.output, rows, count=count, most=most, few=few)

    def _add_others(
        self,
        tiles: Joined,
        finished: Mapping[int, str],
        made: Iterable[MadePart],
        showing: Showing,
    ) -> list[str]:
        """Sources of which there is no clip; their names."""
        videos = {video for part in made for video in part.videos}
        with_clips = {name for part in made for name in part.failed}
        paths = [path for digest, path in finished.items() if digest not in videos]
        failed = {
            name
            for name, path in self.outcome.paths.items()
            if name not in with_clips and digest_of(path) < showing.below
        }
        rows = [
            source_row(name, state, showing, seconds=seconds, told=told)
            for name, state, seconds, told in self.outcome.others(paths, failed, self.readers)
        ]
        self.writing.add_rows("sources", rows, ROWS_OF_SOURCES)
        for name, start in zip(*self.writing.of("sources"), strict=True):
            tiles.add("sources", name, tiles.sources + start)
        return [row["name"] for row in rows]


def _words(totals: Totals) -> Words:
    """Reasons and scores by their places; the first reason is none."""
    reasons = ["", *(reason for reason in totals.reasons if reason)]
    if sum(count for count, _ in totals.reasons.values()) < totals.clips:
        reasons.append(OTHERWISE)
    return Words(tuple(reasons), tuple(totals.scores))


def _totals(totals: Totals, reasons: Sequence[str]) -> list[list[float]]:
    """Clips and seconds of each reason that any clip has."""
    known = [
        [place, totals.reasons[reason][0], totals.reasons[reason][1] / 1000]
        for place, reason in enumerate(reasons)
        if reason in totals.reasons
    ]
    rest = totals.clips - sum(count for _, count, _ in known)
    return [*known, [len(reasons) - 1, rest, 0.0]] if rest else known


def _folder(name: str) -> str:
    return name[: name.rfind("/") + 1]


def remove_old(own: Shelf, folder: str, before: Iterable[str], pictures: Iterable[str]) -> None:
    """Remove what was there before and that the page, whoever wrote it last, does not name."""
    page = (shelf.read_if_there(f"{folder}/{PAGE}") or b"").decode(errors="replace")
    kept = {*pictures}
    for path in before:
        name = path.rsplit("/", 1)[-1]
        if _OURS.fullmatch(name) and name not in kept and name not in page:
            own.remove(path)
