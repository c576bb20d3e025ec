"""Archives of a packed dataset that hold clips of forgotten sources and of others.

    an archive of several chunks    the others' files go into a new one, which their tables name
    one that no table names         removed, when the tables of the forgotten chunks are

Only repacked archives are like that: one that ``curate`` wrote is one chunk's, which is one
source's, and goes as a file that is named by it. The others move first. So as long as a table of a
forgotten chunk lies there, it says in which archives there is something to be done, and after that,
archives that no table names are what is left: killed anywhere, the next run does the rest.
"""

from collections.abc import Iterable, Iterator

from finecut.io.dataset.output import Output, chunk_named, clips_named, read_document
from finecut.io.process.threads import in_order
from finecut.io.storage import files as shelf
from finecut.io.tables.parquet import PARQUET
from finecut.transforms.forget.removing import Taking
from finecut.transforms.packs.mending import mend_rows
from finecut.transforms.packs.repack import Group, regroup, unnamed


def move_others(taking: Taking) -> None:
    """Move the files of other sources out of the archives that forgotten ones are in, too."""
    output = Output(taking.layout)
    shared = {
        archive
        for chunk in _chunks_there(output)
        if chunk in taking.mentions.ids
        for archive in archives_of(chunk, output)
        if archive != taking.layout.pack(chunk)
    }
    for documents in _of_others(shared, output, taking):
        taking.removed.rewritten["packs"] += len(documents)
        if not taking.dry_run:
            regroup(Group(documents, everything=True), output, taking.own)


def remove_unnamed(taking: Taking) -> None:
    """Remove the archives that no table names any more, or none will."""
    output = Output(taking.layout)
    taking.remove(unnamed(output, without=taking.mentions.ids))


def mend_catalogue(taking: Taking) -> None:
    """Tell the catalogue of files that moved, when it speaks of the forgotten ones no more."""
    if not taking.dry_run:
        mend_rows(Output(taking.layout), taking.own)


def archives_of(chunk: str, output: Output) -> set[str]:
    """The archives that files of a chunk are in, by path."""
    rows = output.pack(chunk).values()
    return {output.layout.below(row.pack) for row in rows if row.pack}


def _chunks_there(output: Output) -> Iterator[str]:
    for path in shelf.files_in(output.layout.packs()):
        if path.endswith(PARQUET):
            yield path.rpartition("/")[2].removesuffix(PARQUET)


def _of_others(shared: Iterable[str], output: Output, taking: Taking) -> Iterator[tuple[str, ...]]:
    """The documents of other sources' chunks, of each of these archives."""
    wanted = {*shared}
    if not wanted:
        return

    def asked(path: str) -> tuple[str, set[str]]:
        said = read_document(path)
        chunk, has_clips = chunk_named(said, path), any(clips_named(said, path))
        of_others = has_clips and chunk not in taking.mentions.ids
        return path, archives_of(chunk, output) if of_others else set()

    found: dict[str, list[str]] = {}
    for path, archives in in_order(asked, output.chunks(), taking.readers):
        # One that has several archives of these moves once, out of all of them.
        for archive in sorted(archives & wanted)[:1]:
            found.setdefault(archive, []).append(path)
    yield from (tuple(paths) for _, paths in sorted(found.items()))
