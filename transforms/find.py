"""Finding: what the inputs name, and what each of those files is.

An input is a folder (searched at any depth), a glob, one file, or a list of files: ``.txt`` (one a
line), ``.json`` (an array), ``.jsonl``/``.csv`` (a column named ``path``, ``uri``, ``video`` or
``file``). A file reached twice, also through a symlink, is taken once.

Documents of a video are named by its path below the *root*: the folder given, the folder part of a
glob, the folder of a file; of several inputs or a list, the deepest folder that holds everything.
"""

import csv
import glob
import io
import json
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io import shelf
from finecut.io.film.source import FilmError, probe
from finecut.io.layout import relative_to_root
from finecut.io.records import Failure, Source, Video
from finecut.transforms.guard import FAILURES, guarded
from finecut.transforms.tally import LOG, count, metered

VIDEO_EXTENSIONS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
LIST_EXTENSIONS = (".txt", ".json", ".jsonl", ".csv")
LIST_COLUMNS = ("path", "uri", "video", "file")


class InputError(ValueError):
    """An input that names nothing usable; the message says what to give instead."""


@dataclass(frozen=True)
class Finding:
    """What to look for."""

    inputs: tuple[str, ...]
    named_as: str | None = None
    #: At most so many videos, the first by name; ``None`` means all.
    limit: int | None = None
    #: Folders that are never searched: what an earlier run made is not its own input.
    without: tuple[str, ...] = ()


def find_sources(finding: Finding) -> list[Source]:
    """Every video the inputs name, once, sorted by path."""
    check_one_store(finding.inputs)
    found = [_resolve(shelf.absolute(spec)) for spec in finding.inputs]
    root = _common_root([root for root, _ in found])
    paths = [
        path
        for path in _once(path for _, files in found for path in files)
        if not any(path.startswith(f"{folder}/") for folder in finding.without)
    ]
    return [_source(_readable(path), _readable(root), finding) for path in paths[: finding.limit]]


def check_inputs(inputs: Sequence[str]) -> None:
    """Refuse local inputs that cannot name a video, before anything is started."""
    check_one_store(inputs)
    for spec in inputs:
        path = shelf.absolute(spec)
        if shelf.is_remote(path):
            if not shelf.is_reachable(path):
                raise InputError(
                    f"input {spec!r} lies on a store that is unknown here. Local paths and gs:// "
                    "are known; copy the files there."
                )
            continue
        if not shelf.exists(path) and not glob.has_magic(path):
            raise InputError(
                f"input {spec!r} does not exist. Give a folder, a file, a glob in quotes or a list "
                f"({', '.join(LIST_EXTENSIONS)})."
            )
        if shelf.exists(path) and not shelf.is_folder(path) and not _extension(path):
            raise InputError(
                f"input {spec!r} is not a video ({', '.join(VIDEO_EXTENSIONS)}) nor a list of "
                f"videos ({', '.join(LIST_EXTENSIONS)}). Give the folder that holds the videos."
            )


def _source(path: str, root: str, finding: Finding) -> Source:
    relative = relative_to_root(path, root)
    if finding.named_as is None:
        return Source(path, path, relative)
    return Source(path, f"{finding.named_as.rstrip('/')}/{relative}", relative)


def _readable(path: str) -> str:
    """The path as text: bytes that are none become ``\\xe9``, which the probe then refuses."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def check_one_store(paths: Sequence[str]) -> None:
    """Refuse paths on different stores: no folder holds them all, so they have no names."""
    stores = {shelf.store_of(path) for path in paths}
    if len(stores) > 1:
        raise InputError(
            f"inputs lie on different stores ({', '.join(sorted(s or 'local' for s in stores))}), "
            "so no folder holds them all to name them by. Curate each store in a run of its own."
        )


def read_list(text: str, extension: str) -> list[str]:
    """The paths in a list file, in order.

    >>> read_list('{"path": "a.mp4", "why": "retry"}', ".jsonl")
    ['a.mp4']
    """
    if extension == ".json":
        entries = json.loads(text)
        if not isinstance(entries, list):
            raise InputError('it holds no array; write ["a.mp4", "b.mp4"]')
        return [_path_in(entry) for entry in entries]
    if extension == ".jsonl":
        return [_path_in(json.loads(line)) for line in text.splitlines() if line.strip()]
    if extension == ".csv":
        return _read_csv(text)
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def probe_source(source: Source) -> Video:
    """What this file is."""
    if not shelf.is_remote(source.uri) and "\\x" in source.uri and not shelf.exists(source.uri):
        raise FilmError(
            f"the file name {source.relative!r} stands for bytes that are not UTF-8, and documents "
            "cannot name it. Rename the file."
        )
    if not shelf.is_file(source.uri) and shelf.exists(source.uri):
        raise FilmError(
            f"{source.relative!r} is a folder, pipe or device. Leave it out, or copy what it gives "
            "into a file."
        )
    with shelf.open_source(source.uri) as file:
        return probe(file, source, shelf.size_of(source.uri))


class FindVideos(beam.PTransform[beam.Pipeline, beam.PCollection[Source]]):
    """A pipeline's beginning → Sources; found when the pipeline runs, wherever it runs."""

    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Source]:
        return (
            pipeline
            | "Inputs" >> beam.Create([self.finding])
            | "List" >> beam.ParDo(_List())
            | "Share out" >> beam.Reshuffle()
        )


class ProbeVideos(beam.PTransform[beam.PCollection[Source], Any]):
    """Source → Video; files that are none → ``failures``."""

    def expand(self, sources: beam.PCollection[Source]) -> Any:
        return sources | "Probe" >> beam.ParDo(_Probe()).with_outputs(FAILURES, main="videos")


class _List(beam.DoFn):
    def process(self, finding: Finding) -> Iterable[Source]:
        for source in find_sources(finding):
            count("videos found")
            yield source


class _Probe(beam.DoFn):
    def process(
        self, source: Source
    ) -> Iterable[Video | TaggedOutput[Literal["failures"], Failure]]:
        for outcome in guarded(
            "probe", source, lambda: metered("probe", map(probe_source, [source]))
        ):
            if isinstance(outcome, Failure):
                count("videos failed")
                yield TaggedOutput(FAILURES, outcome)
            else:
                LOG.info(
                    "probed %s: %dx%d at %.2f fps, %.1f s, %s",
                    outcome.name,
                    outcome.width,
                    outcome.height,
                    outcome.framerate,
                    outcome.duration,
                    outcome.video_codec,
                )
                yield outcome


def _resolve(path: str) -> tuple[str, list[str]]:
    """The root and the files of one input."""
    if glob.has_magic(path) and (shelf.is_remote(path) or not shelf.exists(path)):
        return _fixed_part(path), [p for p in shelf.matching(path) if _is_video(p)]
    if _extension(path) in LIST_EXTENSIONS and not shelf.is_folder(path):
        return _resolve_list(path)
    if _is_video(path) and not shelf.is_folder(path):
        return posixpath.dirname(path), [path]
    return path, [p for p in shelf.files_below(path) if _is_video(p)]


def _resolve_list(path: str) -> tuple[str, list[str]]:
    try:
        entries = read_list(shelf.read(path).decode("utf-8-sig"), _extension(path))
    except ValueError as error:
        raise InputError(
            f"the list {path} cannot be read: {error}. A list is UTF-8 text of its kind: .txt one "
            "path a line, .json an array, .jsonl an object a line, .csv with a column 'path'."
        ) from error
    folder = posixpath.dirname(path)
    files = [
        entry if shelf.is_remote(entry) else shelf.absolute(posixpath.join(folder, entry))
        for entry in entries
    ]
    return _common_root([posixpath.dirname(file) for file in files] or [folder]), files


def _common_root(roots: Sequence[str]) -> str:
    check_one_store(roots)
    store, separator, _ = roots[0].rpartition("://")
    paths = [root.rpartition("://")[2] for root in roots]
    return store + separator + posixpath.commonpath(paths)


def _once(paths: Iterable[str]) -> list[str]:
    """Sorted, each file once: under its own name if it is there, else under its first link's."""
    chosen: dict[str, str] = {}
    for path in sorted(set(paths), key=lambda path: (shelf.is_symlink(path), path)):
        chosen.setdefault(shelf.identity(path), path)
    return sorted(chosen.values())


def _fixed_part(pattern: str) -> str:
    parts: list[str] = []
    for part in pattern.split("/")[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return "/".join(parts) or "/"


def _extension(path: str) -> str:
    extension = posixpath.splitext(path)[1].lower()
    return extension if extension in VIDEO_EXTENSIONS + LIST_EXTENSIONS else ""


def _is_video(path: str) -> bool:
    return _extension(path) in VIDEO_EXTENSIONS


def _read_csv(text: str) -> list[str]:
    rows = list(csv.reader(io.StringIO(text)))
    if not rows:
        return []
    header = [cell.strip().lower() for cell in rows[0]]
    named = [header.index(column) for column in LIST_COLUMNS if column in header]
    body = rows[1:] if named else rows
    column = named[0] if named else 0
    return [row[column] for row in body if len(row) > column and row[column].strip()]


def _path_in(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, dict):
        for column in LIST_COLUMNS:
            if isinstance(entry.get(column), str):
                return str(entry[column])
    raise InputError(
        f"list entry {entry!r} names no file. An entry is a path, or an object with one of the "
        f"keys {', '.join(LIST_COLUMNS)}."
    )
