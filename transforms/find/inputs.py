"""Finding: what the inputs name, and what each of those files is.

An input is a folder (searched at any depth), a glob, one file, or a list of files: ``.txt`` (one a
line), ``.json`` (an array), ``.jsonl``/``.csv``/``.parquet`` (a column named ``path``, ``uri``,
``video`` or ``file``; the others are metadata of the video), a list from ``failures/``. A file
reached twice, also through a symlink, is taken once.

Documents of a video are named by its path below the *root*: the folder given, the folder part of a
glob, the folder of a file; of several inputs or a list, the deepest folder that holds everything.

An output may lie in a folder of films, and so may those of earlier runs. Each is known by marks
that nothing else makes, and what lies in its folders of clips is not found: clips that finecut made
are not cut again by accident. To cut clips again, name their folder (``dataset/clips``), or the
clips themselves.
"""

import glob
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, NamedTuple

from finecut.io.layout import Layout, relative_to_root
from finecut.io.records import Metadata, Source
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, list_text
from finecut.io.tables.rows import rows_at
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.find.knowing import with_metadata
from finecut.transforms.find.lists import (
    FAILURE_LIST,
    LIST_EXTENSIONS,
    TABLE,
    InputError,
    failed_source,
    failures_in,
    read_list,
    read_table,
    sources_in,
)
from finecut.transforms.find.metadata import Asked, lacking, plain_rows
from finecut.transforms.find.parts import WHOLE, Part

VIDEO_EXTENSIONS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
#: What documents of a video, and of its chunks, add to its name.
_DOCUMENT = re.compile(r"(_\d+)?\.json$")
#: Folders of an output that hold films; ``previews/`` holds pictures.
OF_CLIPS: Final = ("clips", "filtered_clips", ".staging")
#: What an output has from its first video on, whichever was written first.
MARKS: Final = (".finecut", "metas/v0", "processed_clip_chunks")


@dataclass(frozen=True)
class Finding:
    """What to look for."""

    inputs: tuple[str, ...]
    named_as: str | None = None
    #: The most videos to take, the first by name; ``None`` means all.
    limit: int | None = None
    #: Folders that are never searched: what an earlier run made is not its own input.
    without: tuple[str, ...] = ()
    #: Where an earlier run listed what failed.
    failed: str | None = None
    #: Which of them this run works on, of all that are found.
    part: Part = WHOLE
    #: Whether JSON files beside videos are read, too.
    beside: bool = False
    #: Fields of metadata that rules and prompts speak of.
    asked: tuple[Asked, ...] = ()


def find_sources(finding: Finding) -> list[Source]:
    """Every video the inputs name, once, sorted by path; also those of other parts."""
    check_one_store(finding.inputs)
    found = [_resolved(spec, finding.without) for spec in finding.inputs]
    named = {source.uri: source for each in found for source in each.named}
    roots = [each.root for each in found if each.root is not None]
    root = _common_root(roots) if roots else ""
    named_or_found = [*named, *(path for each in found for path in each.files)]
    paths = _once(not_in(finding.without, named_or_found))
    sources = [
        named.get(path) or source_below(_readable(path), _readable(root), finding)
        for path in paths[: finding.limit]
    ]
    _refuse_tangled(sources)
    sources = with_metadata(sources, (told for each in found for told in each.told), finding.beside)
    _refuse_lacking(sources, finding, retried=bool(named))
    failed = {each.source.name: failed_source(each) for each in failures_in(finding.failed)}
    return [_as_it_failed(source, failed) for source in sources]


def _refuse_lacking(sources: Sequence[Source], finding: Finding, retried: bool) -> None:
    """Refuse rules and prompts that ask for what no video has; what is tried again may be few."""
    for wrong in lacking([source.metadata for source in sources], finding.asked):
        if not retried:
            raise InputError(wrong)
        LOG.error("%s", wrong)


def _refuse_tangled(sources: Sequence[Source]) -> None:
    """Refuse folders named as documents of a video beside them are: one of the two could not be."""
    taken: dict[str, str] = {}
    for source in sources:
        folder = posixpath.dirname(source.relative)
        while folder and folder not in taken:
            taken[folder] = source.relative
            folder = posixpath.dirname(folder)
    videos = {source.relative for source in sources}
    for folder in sorted(taken):
        video = _DOCUMENT.sub("", folder)
        if video != folder and (video in videos or folder.removesuffix(".json") in videos):
            video = video if video in videos else folder.removesuffix(".json")
            raise InputError(
                f"{video} and {folder}/ cannot be curated into one output: the document of the "
                f"video would have the same name as the folder that contains {taken[folder]}. "
                "Rename the folder, or curate one of the two into a separate output"
            )


def _as_it_failed(source: Source, failed: Mapping[str, Source]) -> Source:
    """The source, with what is known of its failures; an input that knows more is not asked."""
    before = failed.get(source.name)
    if before is None or before.attempts <= source.attempts:
        return source
    return replace(source, version=before.version, attempts=before.attempts, trouble=before.trouble)


def check_inputs(inputs: Sequence[str]) -> None:
    """Refuse local inputs that cannot name a video, before anything is started."""
    check_one_store(inputs)
    for spec in inputs:
        path = shelf.absolute(spec)
        if shelf.is_remote(path):
            try:
                shelf.check_store(path)
            except OSError as error:
                raise InputError(f"input {spec!r}: {error}") from error
        elif not shelf.exists(path) and not glob.has_magic(path):
            raise InputError(
                f"input {spec!r} does not exist. Give a folder, a file, a glob in quotes or a list "
                f"({', '.join(LIST_EXTENSIONS)})."
            )
        elif shelf.exists(path) and not shelf.is_folder(path) and not _extension(path):
            raise InputError(
                f"input {spec!r} is neither a video ({', '.join(VIDEO_EXTENSIONS)}) nor a list "
                f"of videos ({', '.join(LIST_EXTENSIONS)}). Give the folder that contains the "
                "videos."
            )


def source_below(path: str, root: str, finding: Finding) -> Source:
    """The source of a file below a root.

    Objects of a store may have names that no file has (``a//b``): they come as they are, and fail
    when it is their turn.
    """
    try:
        relative = relative_to_root(path, root)
    except ValueError:
        if not shelf.is_remote(path) or not path.startswith(f"{root.rstrip('/')}/"):
            raise
        relative = path[len(root.rstrip("/")) + 1 :]
    named_as = path if finding.named_as is None else f"{finding.named_as.rstrip('/')}/{relative}"
    return Source(path, named_as, relative)


def _readable(path: str) -> str:
    """The path as text: bytes that are not text become ``\\xe9``, which the probe then refuses."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def check_one_store(paths: Sequence[str]) -> None:
    """Refuse paths on different stores: no folder holds them all, so they have no names."""
    stores = {shelf.store_of(path) for path in paths}
    if len(stores) > 1:
        raise InputError(
            "the inputs are on different stores "
            f"({', '.join(sorted(s or 'local' for s in stores))}), so they have no common "
            "folder from which to name them. Curate each store in a separate run."
        )


class _Found(NamedTuple):
    """What one input names: files below a root, or sources that have their names already."""

    root: str | None
    files: Sequence[str] = ()
    named: Sequence[Source] = ()
    #: What a list says of its files, besides that they are there.
    told: Sequence[tuple[str, Metadata]] = ()


def _resolved(spec: str, without: Sequence[str]) -> _Found:
    path = shelf.absolute(spec)
    try:
        return _resolve(path, without)
    except OSError as error:
        if not shelf.is_remote(path):
            raise
        raise InputError(
            f"input {spec!r} cannot be read: {error.strerror or error}. Run `gcloud storage ls` "
            "to see what is there and whether you may read it."
        ) from error


def _resolve(path: str, without: Sequence[str]) -> _Found:
    """The root and the files of one input. Outputs inside it are left out."""
    if glob.has_magic(path) and not shelf.exists(path):
        root = fixed_part(path)
        films = filter(is_video, shelf.matching(path))
        return _Found(root, not_made(not_in(without, films), root))
    if _extension(path) in LIST_EXTENSIONS and not shelf.is_folder(path):
        return _resolve_list(path)
    if is_video(path) and not shelf.is_folder(path):
        return _Found(posixpath.dirname(path), [path])
    films = filter(is_video, shelf.files_below(path))
    return _Found(path, not_made(not_in(without, films), path))


def _resolve_list(path: str) -> _Found:
    extension = _extension(path)
    try:
        text = "" if extension == TABLE else list_text(path)
        named = sources_in(text) if extension == FAILURE_LIST else []
        if named:
            return _Found(None, named=named)
        rows = read_table(rows_at(path)) if extension == TABLE else read_list(text, extension)
    except ValueError as error:
        why = f"it {error}" if isinstance(error, BadDocument) else error
        raise InputError(
            f"the list {path} cannot be read: {why}. A list is a UTF-8 text file: .txt with one "
            "path per line, .json with an array, .jsonl with one object per line, .csv with a "
            "column 'path', or a .parquet table with such a column."
        ) from error
    folder = posixpath.dirname(path)
    files = [row.path if shelf.is_remote(row.path) else _beside(folder, row.path) for row in rows]
    said = zip(files, plain_rows(path, [row.told for row in rows]), strict=True)
    root = _common_root([posixpath.dirname(file) for file in files] or [folder])
    return _Found(root, files, told=[(file, told) for file, told in said if told])


def _beside(folder: str, entry: str) -> str:
    """The file that a list in this folder names by a path from there."""
    scheme, separator, below = folder.rpartition("://")
    if not separator:
        return shelf.absolute(posixpath.join(folder, entry))
    return scheme + separator + posixpath.normpath(posixpath.join(below, entry))


def _common_root(roots: Sequence[str]) -> str:
    check_one_store(roots)
    store, separator, _ = roots[0].rpartition("://")
    return store + separator + posixpath.commonpath([r.rpartition("://")[2] for r in roots])


def _once(paths: Iterable[str]) -> list[str]:
    """Sorted, each file once: under its own name if it is there, else under its first link's."""
    # The last of a file is the one that stays.
    last = sorted(set(paths), key=lambda path: (shelf.is_symlink(path), path), reverse=True)
    return sorted({shelf.identity(path): path for path in last}.values())


def fixed_part(pattern: str) -> str:
    """The folder in which a glob looks; what is no glob is that itself."""
    parts = pattern.split("/")
    magic = next((n for n, part in enumerate(parts) if glob.has_magic(part)), None)
    return pattern if magic is None else "/".join(parts[:magic]) or "/"


def _extension(path: str) -> str:
    extension = posixpath.splitext(path)[1].lower()
    return extension if extension in VIDEO_EXTENSIONS + LIST_EXTENSIONS else ""


def is_video(path: str) -> bool:
    """Whether its name says so."""
    return _extension(path) in VIDEO_EXTENSIONS


def check_apart(inputs: Iterable[str], output: str) -> None:
    """Refuse an output that is one of these inputs, or whose clips are to be its films."""
    place = _place(output)
    layout = Layout(place)
    own = (layout.clips(), layout.clips(kept=False), layout.staging())
    for spec in inputs:
        folder = fixed_part(spec)
        if _place(folder) == place and not glob.has_magic(spec):
            raise InputError(
                f"--output {output} is the folder of the source videos itself, so clips would "
                "end up among them: give a separate folder, such as --output "
                f"{output.rstrip('/')}-clips"
            )
        if is_below(f"{_place(folder)}/", own):
            raise InputError(
                f"--input {folder} contains clips of --output {output}: to cut them again, give "
                "another --output"
            )


def _place(path: str) -> str:
    return shelf.identity(shelf.absolute(path))


def is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)


def not_in(folders: Sequence[str], paths: Iterable[str]) -> Iterator[str]:
    """The paths that lie in none of these folders, by whichever links these are reached."""
    real = [shelf.identity(folder) for folder in folders]
    place = cache(shelf.identity)
    for path in paths:
        folder, _, name = path.rpartition("/")
        if not is_below(f"{place(folder)}/{name}", real):
            yield path


def not_made(paths: Iterable[str], root: str) -> list[str]:
    """Those of the files below a folder that are no clips of an output in it; others are told."""
    known = cache(is_output)
    outputs = {path: output_around(path, root, known) for path in paths}
    for output, number in Counter(filter(None, outputs.values())).items():
        LOG.error(
            "%s is an output of finecut, so its %d clips are not source videos of this run. To "
            "cut them again, give %s/clips as the input",
            output,
            number,
            output,
        )
    return [path for path, output in outputs.items() if output is None]


def output_around(path: str, root: str, known: Callable[[str], bool]) -> str | None:
    """The output, at or below a folder, whose clip this file is, if it is one.

    >>> output_around("/in/x/out/clips/a.mp4", "/in", lambda folder: folder == "/in/x/out")
    '/in/x/out'
    >>> output_around("/in/clips/a.mp4", "/in", lambda folder: False)
    """
    root = root.rstrip("/")
    *folders, _ = path[len(root) + 1 :].split("/")
    depths = (depth for depth, name in enumerate(folders) if name in OF_CLIPS)
    return next(filter(known, ("/".join([root, *folders[:depth]]) for depth in depths)), None)


def is_output(folder: str) -> bool:
    """Whether finecut, or a program that writes the same layout, has written there."""
    return any(shelf.exists(f"{folder}/{mark}") for mark in MARKS)
