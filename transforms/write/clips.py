"""Writing: clips that are staged become a dataset on the shelf, in an order that is a promise.

    Clip ─┬─ clips ──────▶ PublishClips      clips/ or filtered_clips/
          ├─ artefacts ──▶ PublishArtefacts  previews/, …       ─┐
          ├─ metas ──────▶ WriteMetas        metas/v0/           ├─▶ CloseChunks ──▶ CloseVideos
          └─ embeddings ─▶ WriteVectors      ce1_embd/           │   processed_      processed_
                      └──▶ WriteParquet      ce1_embd_parquet/  ─┘   clip_chunks/    videos/

:class:`WriteClips` works on any PCollection of Clips, wherever they come from::

    written = clips | WriteClips(Writing(Layout("/out"), Shelf("/out", "/out/.staging/mine")))
    written.metas | ...     # what was written, as Written records
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from finecut.io.records import Clip, Failure, Lost, ModelUsed, Written
from finecut.io.tables.parquet import embedding_pickle, embedding_table
from finecut.transforms.beam.gather import Gather
from finecut.transforms.beam.guard import FAILURES, LOST, guarded
from finecut.transforms.beam.parallel import Write, WriteInParallel
from finecut.transforms.embed.one_model import claim, facts, vector_key
from finecut.transforms.resume.note import artefacts_there, forget_other_files
from finecut.transforms.write.close import (
    ChunkClosed,
    CloseChunks,
    CloseVideos,
    VideoClosed,
    all_clips_are_here,
)
from finecut.transforms.write.documents import clip_document, serialise
from finecut.transforms.write.failure_lists import ListFailures
from finecut.transforms.write.writing import (
    Writer,
    Writing,
    WritingTransform,
    by_chunk,
    ids,
    light,
    tagged,
)

CLIPS: Final = "clips"
ARTEFACTS: Final = "artefacts"
METAS: Final = "metas"
EMBEDDINGS: Final = "embeddings"


class WrittenClips(NamedTuple):
    """What :class:`WriteClips` gives back: receipts of every branch, and what went wrong."""

    clips: beam.PCollection[Written]
    artefacts: beam.PCollection[Written]
    metas: beam.PCollection[Written]
    embeddings: beam.PCollection[Written]
    chunks: beam.PCollection[ChunkClosed]
    videos: beam.PCollection[VideoClosed]
    failures: beam.PCollection[Failure]


# The small writers, each a function of one clip.


def publish_clip(clip: Clip, writing: Writing) -> Iterator[Written]:
    """Move the clip's file to its final name, or drop it when files are not wanted."""
    if clip.staged is None or clip.file is None:
        return
    if writing.dry_run:
        _drop(clip.staged, writing)
        return
    if writing.upload_clips:
        path = writing.layout.clip(clip.id, clip.kept)
        size = writing.shelf.publish(clip.staged, path, clip.file.num_bytes)
        # Before the receipt: with both a receipt and a failure, the clip would count twice.
        _forget_other_verdict(clip, writing)
        yield _receipt(CLIPS, clip, path, size)
    else:
        _drop(clip.staged, writing)
        _forget_other_verdict(clip, writing)


def _forget_other_verdict(clip: Clip, writing: Writing) -> None:
    """An earlier run may have decided otherwise: the clip must not lie in both places."""
    writing.shelf.remove(writing.layout.clip(clip.id, not clip.kept))
    if not clip.kept:
        writing.shelf.remove(*artefacts_there(clip.id, writing))
    if writing.algorithm is not None and writing.algorithm not in clip.vectors:
        writing.shelf.remove(writing.layout.embedding(writing.algorithm, clip.id))


def publish_artefacts(clip: Clip, writing: Writing) -> Iterator[Written]:
    """Move every staged file that was made of the clip to its final name."""
    for below, staged in clip.artefacts.items():
        if writing.dry_run or not clip.kept:
            _drop(staged, writing)
            continue
        path = writing.layout.below(below)
        yield _receipt(ARTEFACTS, clip, path, writing.shelf.publish(staged, path))


def write_meta(clip: Clip, writing: Writing) -> Iterator[Written]:
    """Write what is known of the clip."""
    if not writing.dry_run:
        forget_other_files(clip, writing)
        path = writing.layout.meta(clip.id)
        data = serialise(clip_document(clip, writing.layout))
        yield _receipt(METAS, clip, path, writing.shelf.write(path, data))


def write_vectors(clip: Clip, writing: Writing) -> Iterator[Written]:
    """Write the clip's vectors, one pickle each."""
    if writing.dry_run or not clip.kept:
        return
    for algorithm, vector in clip.vectors.items():
        claim(writing.shelf, writing.layout, algorithm, _model_of(clip, algorithm))
        path = writing.layout.embedding(algorithm, clip.id)
        yield _receipt(EMBEDDINGS, clip, path, writing.shelf.write(path, embedding_pickle(vector)))


def tables_of(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    """The kept clips each algorithm has a vector of, in the order of their planned clips."""
    ordered = sorted((clip for clip in clips if clip.kept), key=lambda clip: clip.planned.index)
    algorithms = sorted({name for clip in ordered for name in clip.vectors})
    return {name: [clip for clip in ordered if name in clip.vectors] for name in algorithms}


def write_parquet(
    chunk: str, algorithm: str, clips: Iterable[Clip], writing: Writing
) -> Iterator[Written]:
    """Write one algorithm's vectors of one chunk as one Parquet file."""
    if writing.dry_run:
        return
    clips = list(clips)
    used = _model_of(clips[0], algorithm)
    claim(writing.shelf, writing.layout, algorithm, used)
    path = writing.layout.embedding_parquet(algorithm, chunk)
    rows = [(clip.id, clip.vectors[algorithm]) for clip in clips]
    size = writing.shelf.write(path, embedding_table(rows, facts(algorithm, used)))
    yield Written(EMBEDDINGS, owner=chunk, chunk=chunk, path=path, num_bytes=size)


def _model_of(clip: Clip, algorithm: str) -> ModelUsed:
    """Which model a clip's vector is of; who brings vectors of their own need not say."""
    named = clip.models.get(vector_key(algorithm))
    return named or ModelUsed(algorithm, dimension=len(clip.vectors[algorithm]))


def _receipt(kind: str, clip: Clip, path: str, num_bytes: int) -> Written:
    return Written(kind, clip.id, chunk=clip.chunk.id, path=path, num_bytes=num_bytes)


def _drop(staged: str, writing: Writing) -> None:
    """Remove a staged file nobody wants; if that fails, the sweep at the end removes it."""
    with contextlib.suppress(OSError):
        writing.shelf.remove(staged)


#: Of what each writes, and what it is called.
WRITERS: Final[tuple[tuple[str, str, Callable[..., Any]], ...]] = (
    (CLIPS, "PublishClips", publish_clip),
    (ARTEFACTS, "PublishArtefacts", publish_artefacts),
    (METAS, "WriteMetas", write_meta),
    (EMBEDDINGS, "WriteVectors", write_vectors),
)


# The transforms of the same names.


_ClipsOrAlsoLost = beam.PCollection[Clip] | tuple[beam.PCollection[Clip], beam.PCollection[Lost]]


class WriteClips(WritingTransform[_ClipsOrAlsoLost, WrittenClips]):
    """Clips → :class:`WrittenClips`. In a stream, (clips, lost ones): what nobody waits for."""

    def expand(self, given: "_ClipsOrAlsoLost") -> "WrittenClips":
        writing = self.writing
        clips, lost = given if isinstance(given, tuple) else (given, None)
        branch = clips | "Sort into branches" >> beam.FlatMap(_dealt).with_outputs(
            CLIPS, ARTEFACTS, METAS, EMBEDDINGS, main="ledger"
        )
        published, artefacts, metas, vectors = (
            branch[kind] | step >> _WriteEach(writing, step, write) for kind, step, write in WRITERS
        )
        # In a stream, only all clips tell that all vectors are here.
        whole = branch[EMBEDDINGS]
        if lost is not None:
            whole = (clips, lost) | "All or lost" >> beam.Flatten()
        tables = whole | WriteParquet(writing)
        steps = [published, artefacts, metas, vectors, tables]
        receipts = [step.written for step in steps] | "Receipts" >> beam.Flatten()
        ledger = [branch.ledger, receipts]
        if lost is not None:
            ledger += [[lost, *(step[LOST] for step in steps)] | "Lost" >> beam.Flatten()]
        chunks = tuple(ledger) | CloseChunks(writing)
        videos = (chunks.closed if lost is None else chunks[LOST]) | CloseVideos(writing)
        if lost is not None:
            _ = videos[LOST] | ListFailures(writing)
        failures = [step[FAILURES] for step in (*steps, chunks, videos)]
        return WrittenClips(
            clips=published.written,
            artefacts=artefacts.written,
            metas=metas.written,
            embeddings=[vectors.written, tables.written] | "All vectors" >> beam.Flatten(),
            chunks=chunks.closed,
            videos=videos.closed,
            failures=failures | "Failures" >> beam.Flatten(),
        )


class _WriteEach(WritingTransform[beam.PCollection[Clip], Any]):
    """Clip → ``written``, ``failures``: the wiring all small writers share."""

    def __init__(self, writing: Writing, step: str, write: Callable[..., Any]) -> None:
        super().__init__(writing)
        self.step, self.write = step, write

    def expand(self, clips: beam.PCollection[Clip]) -> Any:
        step, writing = self.step, self.writing
        write: Write = partial(self.write, writing=writing)
        work = WriteInParallel(
            step,
            write,
            threads=writing.threads,
            run=writing.shelf.staging,
            tells_lost=writing.streams,
        )
        return clips | step >> beam.ParDo(work).with_outputs(*writing.accidents, main="written")


class WriteParquet(WritingTransform[beam.PCollection[Any], Any]):
    """Clips (in a stream, also lost ones) → one Parquet file per chunk key (and algorithm)."""

    def expand(self, clips: beam.PCollection[Any]) -> Any:
        kind: Any = Clip | Lost if self.writing.streams else Clip
        return (
            clips
            | "Vectors alone" >> beam.Map(_vectors_alone).with_output_types(kind)
            | "By chunk" >> beam.Map(by_chunk).with_output_types(tuple[str, kind])
            | "Gather vectors" >> Gather(all_clips_are_here, self.writing.patience)
            | "Write table"
            >> beam.ParDo(_WriteParquet(self.writing)).with_outputs(
                *self.writing.accidents, main="written"
            )
        )


def _vectors_alone(entry: Clip | Lost) -> Clip | Lost:
    if isinstance(entry, Lost):
        return entry
    return entry.replace(scores={}, windows=(), errors={})


class _WriteParquet(Writer):
    def process(
        self, group: tuple[str, Iterable[Any]]
    ) -> Iterable[
        Written | TaggedOutput[Literal["failures"], Failure] | TaggedOutput[Literal["lost"], Lost]
    ]:
        chunk, everything = group
        there = [entry for entry in everything if isinstance(entry, Clip)]
        for algorithm, clips in tables_of(there).items():
            write = partial(write_parquet, chunk, algorithm, clips, writing=self.writing)
            for outcome in guarded(
                "WriteParquet", clips[0].video.source, write, partial(ids, clips)
            ):
                yield from tagged([outcome])
                if isinstance(outcome, Failure) and self.writing.streams:
                    lost = Lost(clips[0].video, clips[0].chunk, (outcome,))
                    told: Any = TaggedOutput(LOST, lost)
                    yield told


def _dealt(
    clip: Clip,
) -> Iterable[
    Clip
    | TaggedOutput[Literal["clips"], Clip]
    | TaggedOutput[Literal["artefacts"], Clip]
    | TaggedOutput[Literal["metas"], Clip]
    | TaggedOutput[Literal["embeddings"], Clip]
]:
    """The clip, for each branch that has something to write of it."""
    wanted = {
        CLIPS: clip.staged is not None,
        ARTEFACTS: bool(clip.artefacts),
        METAS: True,
        EMBEDDINGS: bool(clip.vectors),
    }
    branches: Any = (TaggedOutput(kind, clip) for kind, is_wanted in wanted.items() if is_wanted)
    yield from branches
    yield light(clip)
