"""``finecut summary``: the documents of an output, added up as a run adds up what it did.

failures/*.jsonl          videos that failed, and their planned clips that did
processed_videos/         videos that are finished, and how many clips each has
.finecut/open/            videos that are not, and which clips they were to have
processed_clip_chunks/    clips, kept or rejected
metas/v0/                 what became of each
runs/*/summary.json       which parts have run
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final, NamedTuple

from finecut.io.dataset.arrangement import found
from finecut.io.dataset.output import JSON, Entry, Output, chunk_named
from finecut.io.dataset.places import NoDataset
from finecut.io.layout import Layout, is_clip_id
from finecut.io.storage import files as shelf
from finecut.io.storage.json_documents import BadDocument, read_json
from finecut.io.summary import Summary
from finecut.io.wording import count_of
from finecut.pipeline.commands.report.work import READERS, output_at
from finecut.pipeline.commands.summary import SumUp
from finecut.pipeline.page.gather import failures_below, if_there
from finecut.transforms.find.parts import WHOLE, Part, parse_part
from finecut.transforms.report.columns import number, short
from finecut.transforms.report.reading import asked_ahead
from finecut.transforms.report.row import row_of
from finecut.transforms.verify.checks.shapes import CHUNK, CLIP, VIDEO, Shape, misfit
from finecut.transforms.write.documents import CONFIGURATION, VERSION, Document, summary_document

#: How a document names the model of a vector, and what became of a caption.
VECTOR, STATUS, ENHANCED = "_embedding", "_caption_status", "_enhanced_caption_status"
#: Where only documents of chunks were written, nobody knows why a clip was rejected.
UNKNOWN: Final = "an unknown rule"


@dataclass
class VideoTold:
    """A video, as documents tell of it."""

    #: How many clips its own document promises, and how long it is; ``None``: it has none.
    promised: int | None = None
    seconds: float = 0.0
    #: The version of its file that was finished, and the versions that failed.
    finished: str = ""
    broke: set[str] = field(default_factory=set)
    #: Why, of its first failure.
    why: str = ""
    set_aside: bool = False
    #: Clips it was to have, and those that chunks list.
    planned: set[str] = field(default_factory=set)
    listed: int = 0

    @property
    def failed(self) -> bool:
        """Whether it is not finished because of an accident. (A list of other inputs may not have
        heard that the same file was finished after all.)
        """
        return bool(self.broke) and (self.promised is None or self.finished not in self.broke)

    @property
    def is_open(self) -> bool:
        return self.promised is None and not self.failed


class Sums(NamedTuple):
    """What there is, and what is wrong with that."""

    root: str
    summary: Summary
    unfinished: list[str]
    #: Sentences on documents that are missing, or cannot be used.
    bad: list[str]
    #: Of how many parts the last run was one, and those that have not ended.
    parts: int
    missing: list[Part]

    @property
    def document(self) -> Document:
        told = summary_document(self.summary)
        told["videos"] |= {"unfinished": len(self.unfinished)}
        wrong = list(self.wrong(len(self.unfinished) + len(self.bad)))
        told |= {"balanced": not wrong, "imbalances": wrong}
        parts = {"of": self.parts, "missing": [*map(str, self.missing)]}
        return {"dataset": self.root, **told, "parts": parts}

    def wrong(self, shown: int) -> Iterator[str]:
        """Sentences on what does not add up."""
        if self.missing:
            these = _few(map(str, self.missing), shown)
            have = "has" if len(self.missing) == 1 else "have"
            yield (
                f"{len(self.missing)} of {count_of(self.parts, 'part')} {have} not finished: run "
                f"--part {these}"
            )
        if self.unfinished:
            yield (
                f"{count_of(len(self.unfinished), 'unfinished video')} "
                f"({_few(self.unfinished, shown)}): a run is still working, or was stopped; run "
                "the same curate command to finish"
            )
        if self.bad:
            yield (
                f"{count_of(len(self.bad), 'missing or broken document')} (finecut verify lists "
                f"everything that is wrong): {_few(self.bad, shown)}"
            )
        yield from self.summary.imbalances()


def _few(names: Iterable[str], most: int) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (f" … and {len(names) - most} more" * (len(names) > most))


def sum_up(command: SumUp) -> Sums:
    """What lies in the dataset, in numbers."""
    dataset = command.options.dataset
    packed = found(Layout(shelf.absolute(dataset))).packed
    output = Output.at(dataset, packs=True) if packed else output_at(dataset)
    readers = command.options.workers or (READERS if shelf.is_remote(output.root) else 1)
    adding = _Adding(output, readers)
    summary = adding.clips()
    parts, missing = missing_parts(adding.runs())
    return Sums(
        root=output.root,
        summary=adding.with_videos(summary),
        unfinished=sorted(name for name, told in adding.videos.items() if told.is_open),
        bad=sorted(adding.bad),
        parts=parts,
        missing=missing,
    )


def missing_parts(runs: Iterable[Document]) -> tuple[int, list[Part]]:
    """Of how many parts the newest run was one, and which of these have not ended; 0 where the
    newest run was no part.

    ``runs``: what runs say of themselves, the newest first.
    """
    runs = list(runs)
    told = [_part_of(run) for run in runs]
    # Of runs that began in the same second, nobody knows which was the last.
    newest = [one for run, one in zip(runs, told, strict=True) if _began(run) == _began(runs[0])]
    found: tuple[int, list[Part]] = 0, []
    for part, made in newest:
        ended = {other for other, how in told if (other.of, how) == (part.of, made)}
        missing = [each for each in WHOLE.divided(part.of) if each not in ended]
        if part != WHOLE and (not found[0] or missing):
            found = part.of, missing
    return found


def _began(run: Document) -> object:
    return run.get("started")


def _part_of(run: Document) -> tuple[Part, object]:
    """Which part a run was, and how it made things. No part, if it was no run of curate."""
    options, made = run.get("options"), run.get(CONFIGURATION)
    if isinstance(options, dict) and isinstance(made, dict) and "command" not in run:
        with suppress(ValueError):
            return parse_part(options.get("part")), made.get("digest")
    return WHOLE, None


class _Adding:
    """Reads an output, and adds up what it says; what is missing or broken is counted."""

    def __init__(self, output: Output, readers: int) -> None:
        self.output, self.readers = output, readers
        self.bad: list[str] = []
        self.videos: defaultdict[str, VideoTold] = defaultdict(VideoTold)
        self.has_metas = shelf.exists(output.layout.metas())
        self.packed = output.layout.packed
        self.num_failures = 0
        self._read_failures()
        self._read_videos()
        self._read_notes()

    def _document(self, path: str, shapes: Mapping[str, Shape]) -> Document | None:
        """A document that can be used, all of it."""
        try:
            said = read_json(path)
            wrong = None if said is None else misfit(path, said, shapes)
        except BadDocument as error:
            said, wrong = None, str(error)
        if wrong is not None:
            self.bad.append(short(wrong))
        return None if wrong is not None else said

    def _read_failures(self) -> None:
        for failure in failures_below(self.output.layout.failures()):
            source, lost = failure.get("source"), failure.get("lost_shots")
            said = source if isinstance(source, dict) else {"name": source}
            told = self.videos[short(said.get("name"))]
            told.why = told.why or short(f"{failure.get('step')}: {failure.get('error')}", 200)
            told.broke.add(short(said.get("version")))
            told.set_aside |= failure.get("set_aside") is True
            told.planned.update(filter(is_clip_id, lost if isinstance(lost, list) else ()))
            self.num_failures += 1

    def _read_videos(self) -> None:
        paths = if_there(self.output.videos)
        for said in asked_ahead(lambda path: self._document(path, VIDEO), paths, self.readers):
            if said is not None:
                told = self.videos[short(said.get("video"))]
                told.promised = int(number(said.get("num_total_clips")))
                told.seconds = number(said.get("duration"))
                told.finished = short(said.get(VERSION))

    def _read_notes(self) -> None:
        """Of videos that runs began with and did not finish."""
        folder = self.output.layout.open_videos()
        notes = [
            path for path in if_there(lambda: shelf.files_below(folder)) if path.endswith(JSON)
        ]
        for said in asked_ahead(lambda path: self._document(path, {}), notes, self.readers):
            names, new = (said or {}).get("names"), (said or {}).get("new")
            if isinstance(names, list) and names:
                planned = filter(is_clip_id, new if isinstance(new, list) else ())
                self.videos[short(names[-1])].planned.update(planned)

    def runs(self) -> Iterator[Document]:
        """What runs of curate say of themselves, the newest first."""
        for folder in reversed(shelf.folders_in(self.output.layout.runs())):
            with suppress(BadDocument):
                said = read_json(f"{folder}/summary.json")
                if said is not None:
                    yield said

    def clips(self) -> Summary:
        """All clips that chunks list."""
        read = self.output.layout.processed_clip_chunks
        chunks = if_there(self.output.chunks) if shelf.exists(read()) else []
        documents = asked_ahead(lambda path: self._document(path, CHUNK), chunks, self.readers)
        clips: Iterator[tuple[bool, Entry | None]]
        if self.packed:
            listed = ((said, list(self._listed([said]))) for said in filter(None, documents))
            read_ahead = asked_ahead(self._packed, listed, self.readers)
            clips = chain.from_iterable(read_ahead)
        else:
            clips = asked_ahead(self._entry, self._listed(documents), self.readers)
        total = _Clips()
        for kept, entry in clips:
            total.add(kept, entry)
        return total.summary()

    def _packed(
        self, chunk: tuple[Document, list[tuple[str, bool]]]
    ) -> list[tuple[bool, Entry | None]]:
        """The clips of a chunk, all of which one table has."""
        (said, listed), output = chunk, self.output
        try:
            key = chunk_named(said, "the document of a chunk")
            there = output.pack(key) if listed else {}
            return [(kept, output.packed_entry(id, kept, key, there)) for id, kept in listed]
        except NoDataset as error:
            self.bad.append(short(str(error).partition(". ")[0]))
            return [(kept, None) for _, kept in listed]

    def _listed(self, chunks: Iterable[Document | None]) -> Iterator[tuple[str, bool]]:
        for said in filter(None, chunks):
            told = self.videos[short(said.get("video"))]
            for kept, key in ((True, "clips"), (False, "filtered_clips")):
                listed = said.get(key) or ()
                told.listed += len(listed)
                told.planned.update(listed)
                yield from ((clip, kept) for clip in listed)

    def _entry(self, listed: tuple[str, bool]) -> tuple[bool, Entry | None]:
        clip, kept = listed
        if not self.has_metas:  # of a dry run
            return kept, None
        try:
            entry = self.output.entry(clip, kept)
        except NoDataset as error:
            self.bad.append(short(str(error).partition(". ")[0]))
            return kept, None
        if (wrong := misfit(self.output.layout.meta(clip), entry.document, CLIP)) is not None:
            self.bad.append(short(wrong))
        return kept, entry

    def with_videos(self, clips: Summary) -> Summary:
        """The same with what is known of videos, and of clips that failed."""
        told = self.videos.values()
        failed = [each for each in told if each.failed]
        whole = [each for each in told if not each.failed and each.promised is not None]
        begun = [each for each in told if each.is_open]
        lost = sum(len(each.planned) - each.listed for each in failed)
        return replace(
            clips,
            videos_found=len(failed) + len(whole),
            videos_done=sum(bool(each.promised) for each in whole),
            videos_empty=sum(not each.promised for each in whole),
            videos_failed=len(failed),
            videos_set_aside=sum(each.set_aside for each in failed),
            failed_by=dict(sorted(Counter(each.why for each in failed).items())),
            shots_planned=sum(each.promised or 0 for each in whole)
            + sum(each.listed for each in (*failed, *begun))
            + lost,
            shots_failed=lost,
            seconds_found=sum(each.seconds for each in told),
            num_failures=self.num_failures,
        )


class _Clips:
    """Sums over clips."""

    def __init__(self) -> None:
        self.kept = self.bytes = self.frames = self.num_marked = 0
        self.seconds_cut = self.seconds_kept = 0.0
        self.rejected, self.marked, self.transcoded = Counter[str](), Counter[str](), Counter[str]()
        self.vectors, self.captions = Counter[str](), Counter[str]()
        self.seconds_rejected: defaultdict[str, float] = defaultdict(float)
        self.models: dict[str, str] = {}

    def add(self, kept: bool, entry: Entry | None) -> None:
        if entry is None:
            self.kept += kept
            self.rejected.update([] if kept else [UNKNOWN])
            return
        row, said = row_of(entry), entry.document
        self.seconds_cut += row.end - row.start
        if kept:
            self.kept += 1
            self.seconds_kept += row.end - row.start
            self._add_made(said)
        else:
            self.rejected[row.reason] += 1
            self.seconds_rejected[row.reason] += row.end - row.start
        self.bytes += row.bytes
        self.frames += row.frames
        if row.marked:
            self.num_marked += 1
            self.marked.update({*row.errors})
        if isinstance(how := said.get("transcode"), str):
            self.transcoded[how] += 1
        self.models |= row.models

    def _add_made(self, said: Mapping[str, Any]) -> None:
        """Vectors, and what became of captions."""
        models = said.get("models")
        for name in models if isinstance(models, dict) else ():
            if name.endswith(VECTOR):
                self.vectors[name.removesuffix(VECTOR)] += 1
        windows = said.get("windows")
        for window in windows if isinstance(windows, list) else ():
            for name, status in window.items() if isinstance(window, dict) else ():
                if name.endswith(STATUS) and not name.endswith(ENHANCED):
                    self.captions[str(status)] += 1

    def summary(self) -> Summary:
        return Summary(
            shots_kept=self.kept,
            shots_rejected=sum(self.rejected.values()),
            rejected_by=dict(sorted(self.rejected.items())),
            marked=dict(sorted(self.marked.items())),
            num_marked=self.num_marked,
            transcoded=dict(sorted(self.transcoded.items())),
            vectors=dict(sorted(self.vectors.items())),
            captions=dict(sorted(self.captions.items())),
            seconds_cut=self.seconds_cut,
            seconds_planned=self.seconds_cut,
            seconds_kept=self.seconds_kept,
            seconds_rejected=dict(sorted(self.seconds_rejected.items())),
            clip_bytes=self.bytes,
            frames=self.frames,
            models=self.models,
        )
