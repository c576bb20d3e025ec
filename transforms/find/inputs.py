"""Finding: what the inputs name, and what each of those files is.

An input is a folder (searched at any depth), a glob, one file, or a list of files: ``.txt`` (one a
line), ``.json`` (an array), ``.jsonl``/``.csv``/``.parquet`` (a column named ``path``, ``uri``,
``url``, ``video`` or ``file``; the others are metadata of the video), a list from ``failures/``. A
file reached twice, also through a symlink, is taken once. It may be a URL, and an archive stands
for the videos in it (:mod:`finecut.transforms.find.held`).

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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from finecut.io.layout import Layout, relative_to_root
from finecut.io.records import Metadata, Source
from finecut.io.storage import addresses
from finecut.io.storage import files as shelf
from finecut.io.storage.archives.members import is_compressed
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.storage.web import urls
from finecut.io.storage.web.urls import is_archive
from finecut.transforms.beam.metrics import LOG
from finecut.transforms.find.held import check_url, with_members
from finecut.transforms.find.knowing import with_metadata
from finecut.transforms.find.listed import listed
from finecut.transforms.find.lists import (
    FAILURE_LIST,
    LIST_EXTENSIONS,
    InputError,
    failed_source,
    failures_listed,
)
from finecut.transforms.find.metadata import Asked, lacking
from finecut.transforms.find.own_outputs import fixed_part, is_output, not_in, not_made
from finecut.transforms.find.parts import WHOLE, Part

VIDEO_EXTENSIONS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
#: What documents of a video, and of its chunks, add to its name.
_DOCUMENT = re.compile(r"(_\d+)?\.json$")


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
    #: Whether archives that nobody named are looked into, too.
    archives: bool = False
    access: urls.Access = urls.USUAL_ACCESS
    #: Whether JSON files beside videos are read, too.
    beside: bool = False
    #: Fields of metadata that rules and prompts speak of.
    asked: tuple[Asked, ...] = ()
    #: Lists among the inputs that lie where a worker may not read them, each with its copy.
    copies: tuple[tuple[str, str], ...] = ()


def find_sources(finding: Finding) -> list[Source]:
    """Every video the inputs name, once, sorted by path; also those of other parts."""
    check_one_store(finding.inputs)
    found = [_resolved(one, finding) for spec in finding.inputs for one in lists_at(spec)]
    named = {source.uri: source for each in found for source in each.named}
    roots = [each.root for each in found if each.root is not None]
    root = common_root(roots) if roots else ""
    named_or_found = [*named, *(path for each in found for path in each.files)]
    paths = each_once(not_in(finding.without, named_or_found))
    versions = {path: version for each in found for path, version in each.versions.items()}
    files = [
        named.get(path)
        or source_below(readable(path), readable(root), finding, versions.get(path, ""))
        for path in paths
    ]
    # What a list says of an archive, it says of all that is in it.
    files = with_metadata(files, (told for each in found for told in each.told), beside=False)
    sources = [*islice(with_members(files, is_video, finding.access), finding.limit)]
    _refuse_tangled(sources)
    if finding.beside:
        sources = with_metadata(sources, (), beside=True)
    _refuse_lacking(sources, finding, retried=bool(named))
    failed = {each.source.name: failed_source(each) for each in failures_listed(finding.failed)}
    return [as_it_failed(source, failed) for source in sources]


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


def as_it_failed(source: Source, failed: Mapping[str, Source]) -> Source:
    """The source, with what is known of its failures; an input that knows more is not asked."""
    before = failed.get(source.name)
    if before is None or before.attempts <= source.attempts:
        return source
    return replace(source, version=before.version, attempts=before.attempts, trouble=before.trouble)


def check_inputs(inputs: Sequence[str], access: urls.Access = urls.USUAL_ACCESS) -> None:
    """Refuse inputs that cannot name a video, before anything is started."""
    check_one_store(inputs)
    for spec in inputs:
        path = shelf.absolute(spec)
        if is_compressed(path):
            raise InputError(
                f"input {addresses.public(spec)!r} is a compressed archive, which cannot be read "
                "in parts. Unpack it, or pack it again as a plain .tar (compressing videos gains "
                "nothing)."
            )
        if urls.is_web(path):
            check_url(spec, addresses.permitted(path, access))
        elif shelf.is_remote(path):
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
                f"input {spec!r} is neither a video ({', '.join(VIDEO_EXTENSIONS)}), an archive "
                f"of videos ({', '.join(urls.ARCHIVES)}) nor a list of videos "
                f"({', '.join(LIST_EXTENSIONS)}). Give the folder that contains the videos."
            )


def source_below(path: str, root: str, finding: Finding, version: str = "") -> Source:
    """The source of a file below a root.

    Objects of a store may have names that no file has (``a//b``): they come as they are, and fail
    when it is their turn.
    """
    place, name = addresses.path_of(path), addresses.name_of(path)
    below = place.removeprefix(root.rstrip("/") + "/")
    try:
        relative = relative_to_root(place, root)
    except ValueError:
        if not shelf.is_remote(path) or below == place:
            raise
        relative = below.lstrip("/") if urls.is_web(path) else below
    if addresses.is_read_only(path):
        relative = urls.shortened(relative)
    named_as = name if finding.named_as is None else f"{finding.named_as.rstrip('/')}/{relative}"
    return Source(path, named_as, relative, version)


def readable(path: str) -> str:
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
    #: Of files that were listed in a bucket: by which versions.
    versions: Mapping[str, str] = MappingProxyType({})


def lists_at(spec: str) -> list[str]:
    """The lists that a glob of lists matches, or that lie in ``failures/`` of an output; an input
    of another kind is itself.
    """
    path = shelf.absolute(spec)
    if addresses.is_read_only(path):
        return [spec]
    if glob.has_magic(path) and _extension(path) in LIST_EXTENSIONS and not shelf.exists(path):
        return sorted(shelf.matching(path))
    output = posixpath.dirname(path)
    if path == Layout(output).failures() and is_output(output):
        return [one for one in shelf.files_in(path) if one.endswith(FAILURE_LIST)]
    return [spec]


def _resolved(spec: str, finding: Finding) -> _Found:
    path = shelf.absolute(spec)
    try:
        return _resolve(path, finding)
    except OSError as error:
        pass_on_outlasted(error)
        if not shelf.is_remote(path):
            raise
        said = f"input {addresses.public(spec)!r} cannot be read: {error.strerror or error}"
        if not addresses.is_read_only(path):
            said += ". Check with the store's own tool what is there and whether you may read it"
        raise InputError(said) from error


def _resolve(path: str, finding: Finding) -> _Found:
    """The root and the files of one input. Outputs inside it are left out."""
    without = finding.without
    if addresses.is_read_only(path):
        if _extension(path) in LIST_EXTENSIONS:
            return _resolve_list(addresses.permitted(path, finding.access))
        return _Found(_root_of(path), [path])
    if glob.has_magic(path) and not shelf.exists(path):
        wanted = _wanted(finding.archives or is_archive(path))
        return _listed_in(fixed_part(path), path, wanted, without)
    if _extension(path) in LIST_EXTENSIONS and not shelf.is_folder(path):
        return _resolve_list(path, dict(finding.copies).get(path))
    if (is_video(path) or is_archive(path)) and not shelf.is_folder(path):
        return _Found(posixpath.dirname(path), [path])
    return _listed_in(path, path, _wanted(finding.archives), without)


def _listed_in(
    root: str, spec: str, wanted: Callable[[str], bool], without: Sequence[str]
) -> _Found:
    """What lies in a folder, or is named by a glob. A bucket says of which version each is; on a
    disk each would have to be asked, which is done when it is its turn.
    """
    is_glob = root != spec
    versions: dict[str, str] = {}
    if shelf.is_remote(spec):
        found = shelf.found_matching(spec) if is_glob else shelf.found_below(spec)
        versions = {one.uri: one.version for one in found if wanted(one.uri)}
        films: Iterable[str] = versions
    else:
        films = filter(wanted, shelf.matching(spec) if is_glob else shelf.files_below(spec))
    return _Found(root, not_made(not_in(without, films), root), versions=versions)


def _wanted(archives: bool) -> Callable[[str], bool]:
    return lambda path: is_video(path) or (archives and is_archive(path))


def _root_of(path: str) -> str:
    """The folder of a file, as far as names are concerned."""
    return posixpath.dirname(addresses.path_of(addresses.container_of(path)))


def _resolve_list(path: str, copy: str | None = None) -> _Found:
    found = listed(path, copy)
    if found.named:
        return _Found(None, named=found.named)
    root = common_root([*map(_root_of, found.files)] or [posixpath.dirname(path)])
    return _Found(root, found.files, told=found.told)


def common_root(roots: Sequence[str]) -> str:
    check_one_store(roots)
    store, separator, _ = roots[0].rpartition("://")
    return store + separator + posixpath.commonpath([r.rpartition("://")[2] for r in roots])


def each_once(paths: Iterable[str]) -> list[str]:
    """Sorted, each file once: under its own name if it is there, else under its first link's."""
    # The last of a file is the one that stays.
    linked = {path: shelf.is_symlink(path) for path in paths}
    last = sorted(linked, key=lambda path: (linked[path], path), reverse=True)
    place = cache(shelf.identity)

    def identity(path: str) -> str:
        folder, _, name = path.rpartition("/")
        return (
            shelf.identity(path) if linked[path] else f"{place(folder or '/').rstrip('/')}/{name}"
        )

    return sorted({identity(path): path for path in last}.values())


def _extension(path: str) -> str:
    extension = urls.extension_of(path)
    known = (*VIDEO_EXTENSIONS, *LIST_EXTENSIONS, *urls.ARCHIVES)
    return extension if extension in known else ""


def is_list(path: str) -> bool:
    """Whether its name says so."""
    return _extension(path) in LIST_EXTENSIONS


def is_video(path: str) -> bool:
    """Whether its name says so."""
    return _extension(path) in VIDEO_EXTENSIONS
