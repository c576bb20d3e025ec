"""Painting an output: the catalogue as a compaction leaves it, vectors, documents and files.

Nothing is decoded, encoded or measured. All clips are one film of two seconds, by hard links.
What holds one file for each clip takes most of the time, so it is painted if it is asked for only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finecut.io.layout import Layout
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.tables.parquet import PREFIX, SCHEMA, embedding_pickle
from finecut.transforms.catalogue.buckets import path_of
from finecut.transforms.catalogue.columns import SCHEMA_VERSION, in_order, to_bytes
from finecut.transforms.embed.one_model import facts, vector_key
from finecut.transforms.write.documents import (
    CONFIGURATION,
    VERSION,
    serialise,
    told_of_document,
    with_source,
)
from scaling.plan import CHUNKS_OF_VIDEO, RATE, SECONDS, Numbers, Plan, name_of, relative_of
from scaling.rows import (
    ALGORITHM,
    CAPTIONER,
    HEIGHT,
    MODEL,
    WIDTH,
    Film,
    Painted,
    metadata_of,
    with_pickles,
)
from scaling.rows import painted as rows_of
from scaling.run import configuration_of, options_of, write_run

#: File systems allow so many names of a file.
LINKS: Final = 50_000
TRUTH: Final = pa.schema([("id", pa.string()), ("group", pa.int32())])


@dataclass(frozen=True)
class Painting:
    """An output that is to be painted."""

    folder: str
    plan: Plan
    #: Whether clips have files; and documents and vectors of their own.
    clips: bool = False
    documents: bool = False
    #: Whether vectors are written with half the precision, and half the size.
    half: bool = False

    @property
    def layout(self) -> Layout:
        return Layout(self.folder, shard_prefix=True)

    @property
    def truth(self) -> str:
        """Beside the output, in which nothing lies that curate does not write."""
        return f"{self.folder.rstrip('/')}-groups.parquet"


def paint_output(painting: Painting, processes: int = 1) -> None:
    """Paint all of it."""
    layout = painting.layout
    for folder in (layout.catalogue(), layout.below(".finecut"), layout.metas()):
        Path(folder).mkdir(parents=True)
    Path(layout.embeddings_parquet(ALGORITHM)).mkdir()
    if painting.documents:
        Path(layout.embeddings(ALGORITHM)).mkdir()
    film = _film(painting)
    parts = [*painting.plan.parts()]
    work = [(painting, film, number, *part) for number, part in enumerate(parts)]
    if processes == 1 or len(parts) == 1:
        found = [_paint_part(one) for one in work]
    else:
        # Not forked: Arrow has threads.
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            found = [*pool.map(_paint_part, work)]
    pq.write_table(pa.concat_tables(found).sort_by([("group", "ascending")]), painting.truth)
    said = {"schema": SCHEMA_VERSION}
    Path(layout.catalogue_facts()).write_text(json.dumps(said, indent=4), encoding="utf-8")
    known = json.dumps(facts(ALGORITHM, MODEL), indent=4)
    Path(layout.embedding_facts(ALGORITHM)).write_text(known, encoding="utf-8")
    write_run(painting.plan, layout, film.num_bytes)
    Path(film.path).unlink()


def _film(painting: Painting) -> Film:
    path = f"{painting.folder.rstrip('/')}-film.mp4"
    paint(path, width=WIDTH, height=HEIGHT, rate=RATE, seconds=SECONDS, scenes=[Scene()])
    data = Path(path).read_bytes()
    return Film(path, len(data), hashlib.sha256(data).hexdigest())


@lru_cache(maxsize=1)
def _known(plan: Plan) -> Plan:
    """The plan of this process, which has drawn its lots once for all parts."""
    return replace(plan)


def _paint_part(work: tuple[Painting, Film, int, str, Numbers]) -> pa.Table:
    """Paint a file of the catalogue and all that there is of its clips; who is like whom."""
    painting, film, number, prefix, chunks = work
    plan = _known(painting.plan)
    painting = replace(painting, plan=plan)
    made = rows_of(plan, chunks, film, number)
    if painting.documents:
        made = made._replace(table=_with_digests(with_pickles(made.table), painting.layout))
    path = path_of(prefix, painting.layout)
    Path(path).write_bytes(to_bytes(in_order(made.table)))
    _write_vectors(painting, made)
    _write_documents(painting, made)
    if painting.clips:
        _link(painting, made, film)
    groups = plan.groups[made.rows]
    alike = pa.array(np.nonzero(groups >= 0)[0])
    return pa.table([made.table["id"].take(alike), pa.array(groups).take(alike)], TRUTH)


def _with_digests(table: pa.Table, layout: Layout) -> pa.Table:
    """The same rows, with what the documents are that are written."""
    told = [told_of_document(document) for document in documents(table, layout)]
    columns = {
        "meta_bytes": pa.array((size for size, _ in told), pa.int64()),
        "meta_digest": pa.array((digest for _, digest in told), pa.string()),
    }
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    return table


def _write_vectors(painting: Painting, made: Painted) -> None:
    """A table for each chunk, as ``curate`` writes them."""
    plan, layout = painting.plan, painting.layout
    kind = pa.float16() if painting.half else pa.float32()
    known = {PREFIX + key: said for key, said in facts(ALGORITHM, MODEL).items()}
    field = SCHEMA.field("embedding").with_type(pa.list_(kind))
    schema = pa.schema([SCHEMA.field("id"), field], known)
    numbers = np.ascontiguousarray(made.vectors, kind.to_pandas_dtype()).ravel()
    width = made.vectors.shape[1]
    ids = made.table["id"].filter(pa.array(made.kept)).combine_chunks()
    chunks = made.rows[made.kept] // plan.clips_of_chunk
    starts = np.concatenate([[0], np.nonzero(np.diff(chunks))[0] + 1, [len(chunks)]])
    ends = pa.array(np.arange(plan.clips_of_chunk + 1, dtype=np.int32) * width)
    for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if first == last:
            continue
        values = pa.array(numbers[first * width : last * width])
        lists = pa.ListArray.from_arrays(ends[: last - first + 1], values)
        table = pa.table([ids[first:last], lists], schema)
        path = layout.embedding_parquet(ALGORITHM, plan.chunk_ids[chunks[first]].decode())
        pq.write_table(table, path, use_dictionary=False, compression="none")


# ── documents ────────────────────────────────────────────────────────────────────────────────────

_READ: Final = ("id", "verdict", "reason", "caption")


def _write_documents(painting: Painting, made: Painted) -> None:
    """Of chunks and videos; and of clips, if they are asked for."""
    plan, layout = painting.plan, painting.layout
    configuration = configuration_of(options_of(plan, layout.root))
    rows = made.table.select(_READ).to_pylist()
    numbers = (made.rows // plan.clips_of_chunk).tolist()
    listed = [
        (chunk, [row for _, row in each])
        for chunk, each in groupby(zip(numbers, rows, strict=True), lambda pair: pair[0])
    ]
    for chunk, clips in listed:
        video, index = divmod(chunk, CHUNKS_OF_VIDEO)
        path = Path(layout.processed_clip_chunk(relative_of(video), index))
        _write(path, chunk_document(video, index, clips))
        if index == 0:
            path = Path(layout.processed_video(relative_of(video)))
            _write(path, video_document(plan, video, configuration))
    if painting.documents:
        for document in documents(made.table, layout):
            Path(layout.meta(document["span_uuid"])).write_bytes(serialise(document))
        ids = made.table["id"].filter(pa.array(made.kept)).to_pylist()
        for clip, vector in zip(ids, made.vectors, strict=True):
            pickled = layout.embedding(ALGORITHM, clip)
            Path(pickled).write_bytes(embedding_pickle(vector))


def _write(path: Path, document: dict[str, Any]) -> None:
    data = serialise(document)
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def chunk_document(video: int, index: int, clips: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """As :func:`finecut.transforms.write.documents.chunk_document` says it."""
    kept = [clip for clip in clips if clip["reason"] is None]
    rejected = [clip for clip in clips if clip["reason"] is not None]
    window = f"0_{SECONDS * RATE - 1}"
    return {
        "video": name_of(video),
        "clip_chunk_index": index,
        "num_clips_filtered_by_motion": sum("motion" in clip["reason"] for clip in rejected),
        "num_clips_filtered_by_aesthetic": 0,
        "num_clips_passed": len(kept),
        "num_clips_transcoded": len(clips),
        "num_clips_with_embeddings": len(kept),
        "num_clips_with_caption": len(kept),
        "num_clips_with_webp": 0,
        "total_clip_duration": float(len(clips) * SECONDS),
        "max_clip_duration": float(SECONDS),
        "clips": [clip["id"] for clip in kept],
        "filtered_clips": [clip["id"] for clip in rejected],
        "all_windows": {clip["id"]: {window: clip["caption"]} for clip in kept},
        "all_windows_enhanced_caption": {clip["id"]: {} for clip in kept},
    }


def video_document(plan: Plan, video: int, configuration: str) -> dict[str, Any]:
    clips = min(plan.clips_of_video, plan.rows - video * plan.clips_of_video)
    document = {
        "video": name_of(video),
        "height": HEIGHT,
        "width": WIDTH,
        "framerate": float(RATE),
        "num_frames": clips * SECONDS * RATE,
        "duration": float(clips * SECONDS),
        "video_codec": "h264",
        "pixel_format": "yuv420p",
        "audio_format": None,
        "num_total_clips": clips,
        "num_clip_chunks": -(-clips // plan.clips_of_chunk),
    }
    made = {VERSION: f"painted {video}", CONFIGURATION: configuration}
    return with_source(document, metadata_of(video)) | made


_SAME: Final = ("width", "height", "framerate", "num_frames", "video_codec", "num_bytes", "sha256")


def documents(table: pa.Table, layout: Layout) -> Iterator[dict[str, Any]]:
    """The documents that these rows would have been made of."""
    first = table.column_names.index("motion_per_patch_min_256") + 1
    scores = [name for name in table.column_names[first:-2] if name != "aesthetic_score"]
    model = {"model": MODEL.name, "revision": MODEL.revision, "dimension": MODEL.dimension}
    for row in table.to_pylist():
        kept = row["verdict"] == "kept"
        motion = {key: row[f"motion_{key}"] for key in ("global_mean", "per_patch_min_256")}
        document = {
            "span_uuid": row["id"],
            "source_video": row["source_video"],
            "source": json.loads(row["source"]),
            "duration_span": [row["start"], row["end"]],
            **{name: row[name] for name in ("width_source", "height_source", "framerate_source")},
            "clip_location": layout.clip(row["id"], kept),
            **{name: row[name] for name in _SAME},
            "motion_score": motion,
            "aesthetic_score": row["aesthetic_score"],
            "scores": {name: row[name] for name in scores},
            **({} if kept else {"filtered_by": row["reason"]}),
            **({"models": {vector_key(ALGORITHM): model}} if kept else {}),
            "windows": [
                {"start_frame": 0, "end_frame": SECONDS * RATE - 1}
                | ({f"{CAPTIONER}": row["caption"]} if kept else {})
            ],
            "valid": kept,
        }
        yield document


# ── files of clips ───────────────────────────────────────────────────────────────────────────────


def _link(painting: Painting, made: Painted, film: Film) -> None:
    """Names of one file; of another when it has as many as it may have."""
    root = painting.layout.root
    paths = [f"{root}/{path}" for path in made.table["clip"].to_pylist()]
    for folder in {path.rpartition("/")[0] for path in paths}:
        Path(folder).mkdir(parents=True, exist_ok=True)
    for first in range(0, len(paths), LINKS):
        shutil.copyfile(film.path, paths[first])
        for path in paths[first + 1 : first + LINKS]:
            os.link(paths[first], path)
