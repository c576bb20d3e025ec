"""Sources that are to be taken back: which a user means, and what there is of each.

    text ─▶ paths of documents that may be of it ─▶ their names ─▶ the one that is meant
                                                                    └▶ ids of its clips and chunks

A name ends with the path below the input, by which documents are called. So only few documents are
read, however many videos there are.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Self

from finecut.io.dataset.output import JSON, Output
from finecut.io.layout import Layout, check_relative, chunk_id, chunk_numbered, is_clip_id
from finecut.io.process.threads import in_order
from finecut.io.records import Failure
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import usable_json
from finecut.io.storage.retry import pass_on_outlasted
from finecut.io.tables.parquet import PARQUET
from finecut.transforms.find.lists import failures_on
from finecut.transforms.find.own_outputs import fixed_part
from finecut.transforms.forget.mentions import Mentions
from finecut.transforms.forget.tombstones import facts_of, plain
from finecut.transforms.option import nearest
from finecut.transforms.resume.note import MOST_CHUNKS
from finecut.transforms.write.documents import VERSION

#: Names that are offered where a user mistyped one.
OFFERED: Final = 5


@dataclass(frozen=True)
class Known:
    """A source, and what there is of it."""

    name: str
    relative: str = ""
    #: Other names in notes, and where its file was.
    others: tuple[str, ...] = ()
    #: Documents that are about it, by their paths below the root.
    documents: tuple[str, ...] = ()
    clips: tuple[str, ...] = ()
    #: Keys of its chunks, by which tables are named.
    chunks: tuple[str, ...] = ()
    version: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, (self.name, *self.others))))

    @property
    def mentions(self) -> Mentions:
        return Mentions(
            frozenset(self.names),
            frozenset({self.relative} - {""}),
            frozenset((*self.clips, *self.chunks)),
        )

    def facts(self) -> Iterator[tuple[str, str]]:
        return facts_of(self.names, self.relative, self.version)

    def __or__(self, other: Self) -> Self:
        """What two looks found of one source."""
        return replace(
            self,
            relative=self.relative or other.relative,
            version=self.version or other.version,
            others=_both(self.others, other.others),
            documents=_both(self.documents, other.documents),
            clips=_both(self.clips, other.clips),
            chunks=_both(self.chunks, other.chunks),
        )


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*one, *other}))


#: Folders of documents that are of one video.
OF_VIDEOS: Final = (
    *("processed_videos/", "processed_clip_chunks/", ".finecut/open/", ".finecut/cut/"),
)


def checked(known: Known) -> Known:
    """The same, if its files are removed by it: of a note that anybody may have edited."""
    for path in known.documents:
        if not check_relative(path).startswith(OF_VIDEOS):
            raise ValueError(f"{path!r} is no document of a video")
    if not all(map(is_clip_id, (*known.clips, *known.chunks))):
        raise ValueError("an id is none")
    return known


@dataclass(frozen=True)
class Resolved:
    """Which sources are meant."""

    found: tuple[Known, ...] = ()
    #: Texts that name none, and those that name several, each with what to say.
    unknown: tuple[tuple[str, str], ...] = ()
    unclear: tuple[str, ...] = ()


@dataclass
class Survey:
    """The sources of a dataset, as far as somebody asks for them."""

    layout: Layout
    readers: int = 1
    #: Documents by the paths of their videos below the input.
    documents: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    #: Those that failed, by the same paths.
    failed: dict[str, list[Known]] = field(default_factory=lambda: defaultdict(list))
    #: Where inputs were, as runs say.
    roots: frozenset[str] = frozenset()

    @classmethod
    def of(cls, layout: Layout, readers: int) -> Self:
        """List what there is, and read the lists of failures."""
        survey = cls(layout, readers)
        for folder in (layout.processed_videos(), layout.open_videos()):
            for path in _documents(folder):
                survey.documents[path[len(folder) + 1 :].removesuffix(JSON)].append(path)
        for folder in (layout.processed_clip_chunks(), layout.cut_chunks()):
            for path in _documents(folder):
                if found := chunk_numbered(path[len(folder) + 1 :]):
                    survey.documents[found[0]].append(path)
        lists = shelf.files_in(layout.failures())
        for path, data in zip(lists, in_order(shelf.read, lists, readers), strict=True):
            for failure in failures_on(data, path):
                survey.failed[failure.source.relative].append(_failed(failure))
        survey.roots = frozenset(_roots_of(layout, readers))
        return survey

    def resolved(self, texts: Iterable[str]) -> Resolved:
        """The sources that these texts name."""
        found: dict[str, Known] = {}
        unknown: list[tuple[str, str]] = []
        unclear: list[str] = []
        for text in dict.fromkeys(texts):
            meant = self.meant_by(text)
            if len(meant) == 1:
                [one] = meant
                found[one.name] = found[one.name] | one if one.name in found else one
            elif meant:
                names = ", ".join(sorted(known.name for known in meant)[:OFFERED])
                unclear.append(
                    f"{text} names {len(meant)} sources: give the whole name of one ({names})"
                )
            else:
                unknown.append((text, f"no source is called {text}{self._hint(text)}"))
        return Resolved(tuple(found.values()), tuple(unknown), tuple(unclear))

    def meant_by(self, text: str) -> list[Known]:
        """The sources that a text may name."""
        parts = text.split("/")
        ends = {"/".join(parts[place:]) for place in range(len(parts))}
        seen = [
            known for end in sorted(ends) for known in (*self.known(end), *self.failed.get(end, ()))
        ]
        by_name: dict[str, Known] = {}
        for known in seen:
            if known.name in by_name:
                by_name[known.name] |= known
            elif self.is_meant(text, known):
                by_name[known.name] = known
        whole = [known for known in by_name.values() if plain(text) in map(plain, known.names)]
        return whole or [*by_name.values()]

    def is_meant(self, text: str, known: Known) -> bool:
        """Whether this text names that source: its name, the place of its file, or its path."""
        wanted = {plain(text), plain(shelf.identity(text)), plain(shelf.absolute(text))}
        if text == known.relative or wanted & {*map(plain, known.names)}:
            return True
        root = text.removesuffix(f"/{known.relative}")
        if root == text or not known.relative:
            return False
        if {root, shelf.absolute(root)} & self.roots:
            return True
        return bool(known.version) and _version_at(text) == known.version

    def known(self, relative: str) -> list[Known]:
        """The sources whose documents lie at this path: usually one."""
        paths = self.documents.get(relative, [])
        found: dict[str, Known] = {}
        for path, said in zip(paths, in_order(usable_json, paths, self.readers), strict=True):
            known = self._of_document(path, relative, said or {})
            found[known.name] = found[known.name] | known if known.name in found else known
        # A document that does not say its name is of the one that the others name.
        nameless = found.pop("", None)
        if nameless is not None:
            named = next(iter(found), relative)
            found[named] = found.get(named, Known(named, relative)) | nameless
        return [_with_keys(known) for known in found.values()]

    def _of_document(self, path: str, relative: str, said: dict[str, Any]) -> Known:
        names = [str(name) for name in [said.get("video"), *_list(said.get("names"))] if name]
        listed = [_list(said.get(key)) for key in ("clips", "filtered_clips", "old", "new")]
        version, number = said.get(VERSION), said.get("num_clip_chunks", said.get("chunks"))
        chunk = chunk_numbered(path)
        last = chunk[1] + 1 if chunk and "clip_chunk_index" in said else number
        count = last if type(last) is int and 0 < last <= MOST_CHUNKS else 0
        return Known(
            names[0] if names else "",
            relative,
            others=tuple(names[1:]),
            documents=(self.layout.inside(path),),
            clips=tuple(sorted(filter(is_clip_id, (id for ids in listed for id in ids)))),
            # Until the names are known: how many there are.
            chunks=tuple(map(str, range(count))),
            version=version if isinstance(version, str) else "",
        )

    def _hint(self, text: str) -> str:
        known = {*self.documents, *self.failed}
        last = {each.rpartition("/")[2]: each for each in sorted(known, reverse=True)}
        near = nearest(text, known) or last.get(nearest(text.rpartition("/")[2], last) or "")
        return f": did you mean {near}?" if near else ""


def _documents(folder: str) -> Iterator[str]:
    paths = shelf.files_below(folder) if shelf.exists(folder) else ()
    return (path for path in paths if path.endswith(JSON))


def _with_keys(known: Known) -> Known:
    """With the keys of its chunks in place of their numbers."""
    keys = {chunk_id(name, int(number)) for name in known.names for number in known.chunks}
    return replace(known, chunks=tuple(sorted(keys)))


def _failed(failure: Failure) -> Known:
    source = failure.source
    others = tuple(sorted({source.uri} - {source.name, ""}))
    lost = tuple(sorted(filter(is_clip_id, failure.lost_shots)))
    return Known(source.name, source.relative, others, clips=lost, version=source.version)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _version_at(text: str) -> str:
    try:
        return shelf.version_of(text)
    except (OSError, ValueError) as error:
        pass_on_outlasted(error)
        return ""


def _roots_of(layout: Layout, readers: int) -> Iterator[str]:
    """The folders that runs were given as inputs."""
    paths = [layout.run_summary(run.rpartition("/")[2]) for run in shelf.folders_in(layout.runs())]
    for said in in_order(usable_json, paths, readers):
        options = (said or {}).get("options")
        for spec in _list(options.get("input")) if isinstance(options, dict) else ():
            yield fixed_part(shelf.absolute(str(spec)))


def with_stray_clips(several: Iterable[Known], layout: Layout, readers: int) -> list[Known]:
    """The same, with the clips whose documents name them although no chunk may list them."""
    found = list(several)
    if layout.packed:
        return _with_stray_packs(found, layout, readers)
    stray: dict[str, set[str]] = defaultdict(set)
    folder, names = layout.metas(), {name for one in found for name in one.names}
    paths = [path for path in _documents(folder) if is_clip_id(_id_of(path))] if found else []
    for path, name in zip(paths, in_order(_source_in, paths, readers), strict=True):
        if name in names:
            stray[name].add(_id_of(path))
    return [
        replace(one, clips=_both(one.clips, tuple(id for name in one.names for id in stray[name])))
        for one in found
    ]


def _with_stray_packs(found: list[Known], layout: Layout, readers: int) -> list[Known]:
    """The same of packs: each is one source's, whose name the documents in it say."""
    names = {name for one in found for name in one.names}
    stray: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    paths = [path for path in shelf.files_in(layout.packs()) if path.endswith(PARQUET)]
    told = in_order(partial(_told_by_pack, output=Output(layout)), paths if found else (), readers)
    for chunk, sources, clips in told:
        for name in sources & names:
            stray[name].append((chunk, clips))
    return [
        replace(
            one,
            chunks=_both(one.chunks, tuple(chunk for chunk, _ in packs)),
            clips=_both(one.clips, tuple(id for _, ids in packs for id in ids)),
        )
        for one in found
        for packs in [[each for name in one.names for each in stray[name]]]
    ]


def _told_by_pack(path: str, output: Output) -> tuple[str, set[str], tuple[str, ...]]:
    """The chunk of a pack, the sources that its documents name, and its clips."""
    chunk = path.rpartition("/")[2].removesuffix(PARQUET)
    rows = output.pack(chunk)
    said = (output.packed_entry(id, row.kept, chunk, rows).document for id, row in rows.items())
    return chunk, {str(each.get("source_video", "")) for each in said}, tuple(rows)


def _id_of(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(JSON)


def _source_in(path: str) -> str:
    return str((usable_json(path) or {}).get("source_video", ""))
