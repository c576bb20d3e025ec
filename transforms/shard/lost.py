"""Failures in files, and what is known of each file: nobody holds all of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from finecut.io.records import Failure, from_json, to_json
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.lines import as_lines, lines_in
from finecut.transforms.write.secrets import told

#: Failures that are known by name; all of them are in the files.
NAMED: Final = 20
#: Failures that are sorted; of more, each file's are.
SORTED: Final = 50_000


@dataclass(frozen=True)
class Lost:
    """A file of failures, one in a line, by their texts."""

    path: str = ""
    failures: int = 0
    #: Clips that they cost.
    clips: int = 0
    #: The first ones.
    first: tuple[Failure, ...] = ()


NOTHING_LOST: Final = Lost()


def put_down(path: str, lines: Iterable[str], own: Shelf) -> Lost:
    """Write these failures to a file; none where there are none."""
    if not (wanted := sorted(lines)):
        return NOTHING_LOST
    own.write(path, as_lines(wanted))
    failures = [from_json(Failure, line) for line in wanted]
    return Lost(path, len(wanted), sum(len(one.lost_shots) for one in failures), first_of(failures))


def put_down_failures(path: str, failures: Iterable[Failure], own: Shelf) -> Lost:
    return put_down(path, (to_json(told(one)) for one in failures), own)


def first_of(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    return tuple(sorted(failures, key=place_of)[:NAMED])


def place_of(failure: Failure) -> tuple[tuple[str, ...], str]:
    return failure.lost_shots, failure.source.name


def all_lines(lost: Iterable[Lost]) -> Iterator[str]:
    """The lines of all files: in the order of their texts, unless they are too many; then file by
    file.
    """
    files = [one for one in lost if one.failures]
    lines = (line for one in sorted(files, key=lambda one: one.path) for line in lines_in(one.path))
    return iter(sorted(lines)) if sum(one.failures for one in files) <= SORTED else lines


def write_list(lost: Iterable[Lost], path: str, own: Shelf) -> None:
    """Write the list of all failures, unless it is there like this; none where there are none."""
    files = [*lost]
    if not any(one.failures for one in files):
        own.remove(path)
        return
    if sum(one.failures for one in files) <= SORTED:
        data = as_lines(all_lines(files))
        if shelf.read_if_there(path) != data:
            own.write(path, data)
        return
    with own.bench() as bench:
        part = bench / "failures.jsonl"
        with part.open("w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"{line}\n" for line in all_lines(files))
        own.publish(str(part), path)
