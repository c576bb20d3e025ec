"""The branches of writing: what is written of a clip, each kind of file by a function of its own.

Clip ─┬─ clips ──────▶ publish_clip       clips/ or filtered_clips/
      ├─ artefacts ──▶ publish_artefacts  previews/, …
      ├─ metas ──────▶ write_meta         metas/v0/
      └─ embeddings ─▶ write_vectors      ce1_embd/
Clips of a chunk ────▶ write_parquet      ce1_embd_parquet/
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from finecut.io.records import Clip, ModelUsed, Written
from finecut.io.tables.parquet import embedding_pickle, embedding_table
from finecut.transforms.embed.one_model import claim, facts, vector_key
from finecut.transforms.resume.leftovers import artefacts_there, forget_other_files
from finecut.transforms.write.documents import clip_document, serialise
from finecut.transforms.write.writing import Writing

CLIPS: Final = "clips"
ARTEFACTS: Final = "artefacts"
METAS: Final = "metas"
EMBEDDINGS: Final = "embeddings"


def publish_clip(clip: Clip, writing: Writing) -> Iterator[Written]:
    """Move the clip's file to its final name, or drop it when files are not wanted."""
    if clip.staged is None or clip.file is None:
        return
    if writing.dry_run:
        _drop(clip.staged, writing)
        return
    if writing.upload_clips:
        path = writing.layout.clip(clip.id, clip.kept)
        size = clip.file.num_bytes
        if clip.staged != path:  # it lies there already, if it was handed over
            size = writing.shelf.publish(clip.staged, path, size)
        # Before the receipt: with both a receipt and a failure, the clip would count twice.
        _forget_other_verdict(clip, writing)
        yield _receipt(CLIPS, clip, path, size)
    else:
        _drop(clip.staged, writing)
        _forget_other_verdict(clip, writing)


def _forget_other_verdict(clip: Clip, writing: Writing) -> None:
    """An earlier run may have decided otherwise: the clip must not lie in both places.

    What other attempts of this run may have decided is seen to when the chunk is closed.
    """
    if clip.chunk.first:
        return
    writing.shelf.remove(writing.layout.clip(clip.id, not clip.kept))
    if not clip.kept:
        writing.shelf.remove(*artefacts_there(clip.id, writing, clip.chunk.told))
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
        claim(writing.shelf, writing.layout, algorithm, model_of(clip, algorithm))
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
    used = model_of(clips[0], algorithm)
    claim(writing.shelf, writing.layout, algorithm, used)
    path = writing.layout.embedding_parquet(algorithm, chunk)
    rows = [(clip.id, clip.vectors[algorithm]) for clip in clips]
    size = writing.shelf.write(path, embedding_table(rows, facts(algorithm, used)))
    yield Written(EMBEDDINGS, owner=chunk, chunk=chunk, path=path, num_bytes=size)


def model_of(clip: Clip, algorithm: str) -> ModelUsed:
    """Which model a clip's vector is of; who brings vectors of their own need not say."""
    named = clip.models.get(vector_key(algorithm))
    return named or ModelUsed(algorithm, dimension=len(clip.vectors[algorithm]))


def _receipt(kind: str, clip: Clip, path: str, num_bytes: int) -> Written:
    return Written(kind, clip.id, chunk=clip.chunk.id, path=path, num_bytes=num_bytes)


def _drop(staged: str, writing: Writing) -> None:
    """Remove a staged file nobody wants; if that fails, the sweep at the end removes it."""
    with contextlib.suppress(OSError):
        writing.shelf.remove(staged)


#: What each is called.
WRITERS: Final[tuple[tuple[str, Callable[..., Any]], ...]] = (
    ("PublishClips", publish_clip),
    ("PublishArtefacts", publish_artefacts),
    ("WriteMetas", write_meta),
    ("WriteVectors", write_vectors),
)
#: Under which of these names what is written of each kind is counted.
STEPS: Final = dict(zip((CLIPS, ARTEFACTS, METAS, EMBEDDINGS), dict(WRITERS), strict=True))
