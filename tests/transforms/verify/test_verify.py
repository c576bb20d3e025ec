"""Verifying: every damage is named where it is, and nothing is said of what is sound."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cutting_room import QUICK, video_of
from faulty_store import FaultyStore
from golden import GOLDEN
from hypothesis import given
from hypothesis import strategies as st
from knowing import looking_in
from performing import verify
from small_disk import NoDisk, small_disk

from finecut.io.dataset.output import Output
from finecut.io.dataset.places import Place
from finecut.io.errors import RunError
from finecut.io.layout import Layout, chunk_id
from finecut.io.media.testfilm.paint import paint
from finecut.io.process import children as child
from finecut.io.process.children import ChildLimits, kill_all
from finecut.io.records import Clip, ModelUsed, PlannedChunk, Window
from finecut.io.storage import files as shelf
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.parquet import NoVector, embedding_pickle, embedding_table, read_vector
from finecut.io.tables.shards import ShardFolder, Tar
from finecut.pipeline.cli.command import main
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import OptionError
from finecut.transforms.cut.chunk import Cutting, cut_chunk
from finecut.transforms.embed.one_model import facts
from finecut.transforms.split.spans import FixedStride, Splitting, chunks_of
from finecut.transforms.steps.preview import Preview, PreviewOptions
from finecut.transforms.verify.balance import AddUp, Books, add, no_sums, unbalanced_by_ids
from finecut.transforms.verify.checks.decoding import clip_found
from finecut.transforms.verify.checks.documents import Facts, wrong_in_video
from finecut.transforms.verify.checks.findings import (
    KINDS,
    Claim,
    Entered,
    Finding,
    KindName,
    Mention,
    Told,
    Verifying,
    share_of,
)
from finecut.transforms.verify.checks.shards import check_shard, shards_in
from finecut.transforms.verify.checks.vectors import Signed
from finecut.transforms.verify.folders import (
    Folder,
    Piece,
    Work,
    check_work,
    files_of,
    folders_of,
    owned_in,
    verifying_of,
    work_in,
)
from finecut.transforms.verify.output import Tables, wrong_in_folder
from finecut.transforms.verify.owners import dealt, wrong_with_owners
from finecut.transforms.verify.report import Verified, read_report
from finecut.transforms.work import Making, made
from finecut.transforms.write.close import ChunkClosed, Seen, close_video
from finecut.transforms.write.commit import close, outcome_of, write_clip
from finecut.transforms.write.writing import Writing

EYE = "eye"
FOLDER, TABLES = "eye_embd", "eye_embd_parquet"
MODEL = ModelUsed("test/eye", "one", 4)
EVIL = "finecut-was-here"


def made_in(root: Path, film: Path) -> Path:
    """An output as curation writes it: two chunks of two clips, one of which is rejected."""
    painting = paint(film / "a.mp4", width=160, height=90, rate=10, seconds=4, sound="aac")
    writing = Writing(
        Layout(str(root)), Shelf(str(root), f"{root}/.staging/run"), configuration="c"
    )
    cutting = Cutting(writing.shelf, QUICK)
    splitting = Splitting(FixedStride(1.0, 1.0, 0.5), chunk_seconds=2)
    chunks = chunks_of(video_of(painting), splitting)
    closed = [each for planned in chunks for each in chunk_of(planned, cutting, writing, film)]
    assert len(list(close_video(closed, writing))) == 1
    writing.shelf.sweep()
    return root


def chunk_of(
    planned: PlannedChunk, cutting: Cutting, writing: Writing, folder: Path
) -> Iterator[ChunkClosed]:
    preview = Preview(PreviewOptions(generate_previews=True, preview_target_fps=4.0))
    making = Making(preview, writing.shelf, looking_in(folder))
    clips = []
    for outcome in cut_chunk(planned, cutting):
        assert isinstance(outcome, Clip)
        number = outcome.planned.index
        windows = (Window(0, 4, {"teller": f"begins {number}"}), Window(5, 9, {"teller": "ends"}))
        clip = outcome.replace(windows=windows, rejected_by="motion" if number == 3 else None)
        if clip.kept:
            vector = tuple(float(number + place) for place in range(4))
            shown = made(clip, making)
            clip = shown.replace(vectors={EYE: vector}, models={"eye_embedding": MODEL})
        clips.append(clip)
    outcomes = [outcome_of(clip, write_clip(clip, writing)) for clip in clips]
    for done in close(outcomes, writing, Seen()):
        yield from (result for result in done.results if isinstance(result, ChunkClosed))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    return made_in(folder / "out", folder)


@pytest.fixture
def output(sound: Path, tmp_path: Path) -> Output:
    """A copy to be damaged."""
    return Output.at(str(shutil.copytree(sound, tmp_path / "out")))


def found_in(root: str | Path, quick: bool = True, **settings: Any) -> list[Finding]:
    """What the pipeline finds, by the plain functions it is made of."""
    layout = Layout(str(root))
    folders, found = folders_of(layout)
    verifying = verifying_of(layout, folders, quick=quick, **settings)
    videos: dict[str, list[Any]] = {}
    owned: dict[str, list[Any]] = {}
    signed: dict[str, list[tuple[str, str]]] = {}
    outcomes: list[Any] = []
    for each in (each for folder in folders for each in work_in(folder, verifying)):
        if isinstance(each, Work):
            outcomes += check_work(each, verifying)
        else:
            outcomes += dealt(files_of(each, verifying)) if isinstance(each, Piece) else [each]
    for outcome in outcomes:
        if isinstance(outcome, Finding):
            found.append(outcome)
        elif isinstance(outcome, Claim):
            owned.setdefault(share_of(outcome.owner), []).append(outcome)
        elif isinstance(outcome, Signed) and outcome.folder not in verifying.notes:
            signed.setdefault(outcome.folder, []).append((outcome.said, outcome.path))
        elif isinstance(outcome, tuple):
            facts = isinstance(outcome[1], Facts)
            (videos if facts else owned).setdefault(outcome[0], []).append(outcome[1])
    for video, facts_of_it in videos.items():
        found += wrong_in_video(video, facts_of_it, verifying)
    of_owners = {each for entries in owned.values() for each in wrong_with_owners(entries)}
    # Of owners that balance nothing has to be brought together, and none of them is wrong.
    assert set(found_by_balance(folders, verifying)) == of_owners
    found += of_owners
    for folder_name, said in signed.items():
        ways: dict[str, list[str]] = {}
        for way, path in said:
            ways.setdefault(way, []).append(path)
        tables = [Tables(way, min(paths), len(paths)) for way, paths in ways.items()]
        found += wrong_in_folder(folder_name, tables)
    return found


def found_by_balance(folders: list[Folder], verifying: Verifying) -> Iterator[Finding]:
    """What is wrong with owners, found as on workers: of those that do not balance."""
    parts = [each for folder in folders for each in work_in(folder, verifying)]
    sums, ids = no_sums(), dict[int, list[bytes]]()
    for each in parts:
        books = Books(verifying)
        if isinstance(each, Piece):
            for owner, path in files_of(each, verifying):
                books.there(owner, path)
        elif isinstance(each, Work):
            for outcome in check_work(each, verifying):
                entry = outcome[1] if isinstance(outcome, tuple) else outcome
                if isinstance(entry, Claim | Told | Entered | Mention):
                    books.enter(entry)
            books.close_file()
        add(sums, books.sums())
        for place, packed in books.ids():
            ids.setdefault(place, []).append(packed)
    shares = {*AddUp().extract_output(sums)}.union(*map(unbalanced_by_ids, ids.values()))
    owned: dict[str, list[Any]] = {}
    for each in parts:
        if isinstance(each, Piece):
            again: Any = dealt(files_of(each, verifying))
        else:
            again = owned_in(each, verifying, shares) if isinstance(each, Work) else ()
        for share, entry in again:
            if share in shares:
                owned.setdefault(share, []).append(entry)
    for entries in owned.values():
        yield from wrong_with_owners(entries)


def wrong_in(root: str | Path, **settings: Any) -> set[tuple[str, str]]:
    """Kind and path of everything that is wrong."""
    found = found_in(root, **settings)
    return {(each.kind, each.path) for each in found if KINDS[each.kind].wrong}


# ── damages ──────────────────────────────────────────────────────────────────────────────────────


class Damaged:
    """An output, and hands to damage it with."""

    def __init__(self, output: Output) -> None:
        self.root = Path(output.root)
        entries = [entry for chunk in output.chunks() for entry in output.entries(chunk)]
        self.kept = [entry.id for entry in entries if entry.kept]
        [self.rejected] = [entry.id for entry in entries if not entry.kept]
        self.video = str(entries[0].document["source_video"])

    def path(self, name: str) -> Path:
        return self.root / name

    def clip(self, number: int = 0) -> str:
        return f"clips/{self.kept[number]}.mp4"

    def meta(self, number: int = 0) -> str:
        return f"metas/v0/{self.kept[number]}.json"

    def vector(self, number: int = 0) -> str:
        return f"{FOLDER}/{self.kept[number]}.pickle"

    def preview(self, number: int = 0) -> str:
        return f"previews/{self.kept[number]}/0_4.webp"

    def table(self, index: int = 0) -> str:
        return f"{TABLES}/{chunk_id(self.video, index)}.parquet"

    def chunk(self, index: int = 0) -> str:
        return f"processed_clip_chunks/a.mp4_{index}.json"

    def edit(self, name: str, **changes: Any) -> None:
        path = self.path(name)
        document = json.loads(path.read_text()) | changes
        kept = {key: value for key, value in document.items() if value is not ...}
        path.write_text(json.dumps(kept, indent=4))

    def cut_short(self, name: str, share: float = 0.5) -> None:
        data = self.path(name).read_bytes()
        self.path(name).write_bytes(data[: int(len(data) * share)])

    def flip(self, name: str, place: int | None = None) -> None:
        data = bytearray(self.path(name).read_bytes())
        data[len(data) // 2 if place is None else place] ^= 0x55
        self.path(name).write_bytes(bytes(data))

    def swap(self, one: str, other: str) -> None:
        first, second = self.path(one).read_bytes(), self.path(other).read_bytes()
        self.path(one).write_bytes(second)
        self.path(other).write_bytes(first)

    def rows(self, index: int = 0) -> dict[str, list[float]]:
        table = pq.read_table(self.path(self.table(index)))
        return dict(zip(table["id"].to_pylist(), table["embedding"].to_pylist(), strict=True))

    def write_rows(
        self, rows: dict[str, list[float]], index: int = 0, used: ModelUsed = MODEL
    ) -> None:
        data = embedding_table(list(rows.items()), facts(EYE, used))
        self.path(self.table(index)).write_bytes(data)


Expected = set[tuple[str, str]]


def clip_truncated(d: Damaged) -> Expected:
    d.cut_short(d.clip())
    return {("clip-changed", d.clip())}


def clip_flipped(d: Damaged) -> Expected:
    d.flip(d.clip())
    return {("clip-changed", d.clip())}


def clip_missing(d: Damaged) -> Expected:
    d.path(d.clip()).unlink()
    return {("clip-missing", d.clip())}


def all_clips_missing_though_a_run_wrote_them(d: Damaged) -> Expected:
    run = d.path("runs/one/summary.json")
    run.parent.mkdir(parents=True)
    books = {"found": 1, "done": 1, "empty": 0, "failed": 0, "skipped": 0}
    clips = {"planned": 4, "kept": 3, "rejected": 1, "failed": 0}
    run.write_text(json.dumps({"videos": books, "clips": clips, "options": {}}))
    shutil.rmtree(d.path("clips"))
    shutil.rmtree(d.path("filtered_clips"))
    rejected = f"filtered_clips/{d.rejected}.mp4"
    return {("clip-missing", path) for path in (*map(d.clip, range(3)), rejected)}


def clip_in_both_places(d: Damaged) -> Expected:
    other = d.clip().replace("clips/", "filtered_clips/")
    shutil.copy(d.path(d.clip()), d.path(other))
    return {("clip-twice", other)}


def clip_in_the_wrong_place(d: Damaged) -> Expected:
    other = d.clip().replace("clips/", "filtered_clips/")
    d.path(d.clip()).rename(d.path(other))
    return {("clip-missing", d.clip()), ("clip-twice", other)}


def clips_swapped(d: Damaged) -> Expected:
    d.swap(d.clip(0), d.clip(1))
    return {("clip-changed", d.clip(0)), ("clip-changed", d.clip(1))}


def clip_orphaned(d: Damaged) -> Expected:
    stranger = "clips/00000000-0000-5000-8000-000000000000.mp4"
    shutil.copy(d.path(d.clip()), d.path(stranger))
    return {("orphan", stranger)}


def preview_orphaned(d: Damaged) -> Expected:
    stranger = d.preview().replace("0_4", "0_3")
    shutil.copy(d.path(d.preview()), d.path(stranger))
    return {("orphan", stranger)}


def meta_missing(d: Damaged) -> Expected:
    d.path(d.meta()).unlink()
    return {("document-missing", d.meta())}


def meta_unreadable(d: Damaged) -> Expected:
    d.path(d.meta()).unlink()
    d.path(d.meta()).symlink_to(d.path(d.meta()))
    return {("unreadable", d.meta())}


def chunk_unreadable(d: Damaged) -> Expected:
    expected = chunk_missing_like(d)
    d.path(d.chunk(1)).unlink()
    d.path(d.chunk(1)).symlink_to(d.path(d.chunk(1)))
    return {("unreadable", d.chunk(1)), ("chunk-missing", d.chunk(1)), *expected}


def meta_truncated(d: Damaged) -> Expected:
    d.cut_short(d.meta())
    return {("document-broken", d.meta())}


def meta_of_other_types(d: Damaged) -> Expected:
    d.edit(d.meta(), num_frames="10")
    return {("document-broken", d.meta())}


def meta_without_a_key(d: Damaged) -> Expected:
    d.edit(d.meta(), valid=...)
    return {("document-broken", d.meta())}


def meta_of_another(d: Damaged) -> Expected:
    shutil.copy(d.path(d.meta(1)), d.path(d.meta(0)))
    # It tells of another file, another place and another text.
    return {
        ("document-differs", d.meta()),
        ("clip-changed", d.clip()),
        ("captions", d.chunk()),
        # Of the clip that its document tells of, everything is right.
    }


def meta_that_is_not_valid(d: Damaged) -> Expected:
    d.edit(d.meta(), valid=False)
    return {("document-differs", d.meta())}


def rejected_without_a_rule(d: Damaged) -> Expected:
    d.edit(f"metas/v0/{d.rejected}.json", filtered_by=...)
    return {("document-differs", f"metas/v0/{d.rejected}.json")}


def span_changed(d: Damaged) -> Expected:
    d.edit(d.meta(), duration_span=[20.0, 21.0])
    return {("id", d.meta())}


def window_beyond_the_end(d: Damaged) -> Expected:
    windows = json.loads(d.path(d.meta()).read_text())["windows"]
    windows[1]["end_frame"] = 10
    d.edit(d.meta(), windows=windows)
    preview = f"previews/{d.kept[0]}/5_10.webp"
    return {
        ("windows", d.meta()),
        ("captions", d.chunk()),
        ("preview-missing", preview),
        ("orphan", f"previews/{d.kept[0]}/5_9.webp"),
    }


def caption_changed(d: Damaged) -> Expected:
    windows = json.loads(d.path(d.meta()).read_text())["windows"]
    windows[0]["teller_caption"] = "something else"
    d.edit(d.meta(), windows=windows)
    return {("captions", d.chunk())}


def chunk_missing(d: Damaged) -> Expected:
    d.path(d.chunk(1)).unlink()
    kept, rejected = d.kept[2], d.rejected
    orphans = [
        f"clips/{kept}.mp4",
        f"filtered_clips/{rejected}.mp4",
        f"metas/v0/{kept}.json",
        f"metas/v0/{rejected}.json",
        f"previews/{kept}/0_4.webp",
        f"previews/{kept}/5_9.webp",
        f"{FOLDER}/{kept}.pickle",
        d.table(1),
    ]
    return {("chunk-missing", d.chunk(1)), *(("orphan", path) for path in orphans)}


def chunk_counts_wrong(d: Damaged) -> Expected:
    d.edit(d.chunk(), num_clips_with_caption=1)
    return {("count", d.chunk())}


def chunk_passed_wrong(d: Damaged) -> Expected:
    d.edit(d.chunk(), num_clips_passed=3)
    return {("count", d.chunk())}


def chunk_rejected_wrong(d: Damaged) -> Expected:
    d.edit(d.chunk(1), num_clips_filtered_by_motion=0)
    return {("count", d.chunk(1))}


def chunk_durations_wrong(d: Damaged) -> Expected:
    d.edit(d.chunk(), total_clip_duration=2.5)
    return {("count", d.chunk())}


def chunk_truncated(d: Damaged) -> Expected:
    """Its clips belong to nobody then; they are named, because nobody can say whose they are."""
    expected = chunk_missing_like(d)
    d.cut_short(d.chunk(1))
    return {("document-broken", d.chunk(1)), *expected}


def chunk_missing_like(d: Damaged) -> Expected:
    data = d.path(d.chunk(1)).read_bytes()
    expected = {each for each in chunk_missing(d) if each[0] == "orphan"}
    d.path(d.chunk(1)).write_bytes(data)
    return expected


def chunks_swapped(d: Damaged) -> Expected:
    d.swap(d.chunk(0), d.chunk(1))
    # The tables of both have rows of the other's clips.
    return {("document-differs", d.chunk(0)), ("document-differs", d.chunk(1))} | {
        ("table-differs", d.table(index)) for index in (0, 1)
    }


def video_missing(d: Damaged) -> Expected:
    d.path("processed_videos/a.mp4.json").unlink()
    return {("video-missing", "processed_videos/a.mp4.json")}


def video_extra(d: Damaged) -> Expected:
    shutil.copy(d.path("processed_videos/a.mp4.json"), d.path("processed_videos/b.mp4.json"))
    return {("chunk-missing", f"processed_clip_chunks/b.mp4_{index}.json") for index in (0, 1)}


def video_counts_wrong(d: Damaged) -> Expected:
    d.edit("processed_videos/a.mp4.json", num_total_clips=5)
    return {("count", "processed_videos/a.mp4.json")}


def table_truncated(d: Damaged) -> Expected:
    d.cut_short(d.table())
    return {("table-broken", d.table())}


def table_missing(d: Damaged) -> Expected:
    d.path(d.table()).unlink()
    return {("table-missing", d.table())}


def row_missing(d: Damaged) -> Expected:
    rows = d.rows()
    rows.pop(d.kept[1])
    d.write_rows(rows)
    return {("table-differs", d.table())}


def row_too_many(d: Damaged) -> Expected:
    d.write_rows(d.rows() | {d.kept[2]: [0.0, 1.0, 2.0, 3.0]})
    return {("table-differs", d.table())}


def row_with_nan(d: Damaged) -> Expected:
    rows = d.rows()
    rows[d.kept[0]][2] = float("nan")
    d.write_rows(rows)
    return {("vector-broken", d.table()), ("vector-differs", d.vector())}


def other_dimension(d: Damaged) -> Expected:
    rows = {id: [*vector, 5.0] for id, vector in d.rows().items()}
    d.write_rows(rows)
    for id, vector in rows.items():
        d.path(f"{FOLDER}/{id}.pickle").write_bytes(embedding_pickle(vector))
    return {("model", d.table())}


def other_model(d: Damaged) -> Expected:
    d.write_rows(d.rows(), used=ModelUsed("test/eye", "two", 4))
    return {("model", d.table()), ("model", d.meta(0)), ("model", d.meta(1))}


def other_model_and_no_note(d: Damaged) -> Expected:
    """Then most tables are right; of two, the first by what it says."""
    d.path(f".finecut/{FOLDER}.json").unlink()
    d.write_rows(d.rows(), used=ModelUsed("test/eye", "two", 4))
    return {("model", d.table()), ("model", d.meta(0)), ("model", d.meta(1))}


def vector_missing(d: Damaged) -> Expected:
    d.path(d.vector()).unlink()
    return {("vector-missing", d.vector())}


def vector_and_row_missing(d: Damaged) -> Expected:
    d.path(d.vector()).unlink()
    rows = d.rows()
    rows.pop(d.kept[0])
    d.write_rows(rows)
    return {("vector-missing", d.vector())}


def vector_changed(d: Damaged) -> Expected:
    d.path(d.vector()).write_bytes(embedding_pickle((0.0, 1.0, 2.0, 3.5)))
    return {("vector-differs", d.vector())}


def vector_truncated(d: Damaged) -> Expected:
    d.cut_short(d.vector())
    return {("vector-broken", d.vector())}


def vector_with_infinity(d: Damaged) -> Expected:
    d.path(d.vector()).write_bytes(embedding_pickle((0.0, 1.0, 2.0, float("inf"))))
    return {("vector-broken", d.vector())}


class Evil:
    """What a pickle can do to who unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def vector_that_is_a_program(d: Damaged) -> Expected:
    d.path(d.vector()).write_bytes(pickle.dumps(Evil(d.root.parent / EVIL)))
    return {("vector-broken", d.vector())}


def preview_missing(d: Damaged) -> Expected:
    d.path(d.preview()).unlink()
    return {("preview-missing", d.preview())}


def previews_of_a_clip_missing(d: Damaged) -> Expected:
    shutil.rmtree(d.path(d.preview()).parent)
    paths = (d.preview(), d.preview().replace("0_4", "5_9"))
    return {("preview-missing", path) for path in paths}


def preview_truncated(d: Damaged) -> Expected:
    d.cut_short(d.preview(), 0.9)
    return {("preview-broken", d.preview())}


def failures_edited(d: Damaged) -> Expected:
    d.path("failures").mkdir()
    d.path("failures/abc.jsonl").write_text('{"step": 3}\n')
    return {("failures-broken", "failures/abc.jsonl")}


def run_out_of_balance(d: Damaged) -> Expected:
    all_books = {"found": 2, "done": 1, "empty": 0, "failed": 0, "skipped": 0}
    clips = {"planned": 4, "kept": 3, "rejected": 1, "failed": 0}
    path = d.path("runs/one/summary.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"videos": all_books, "clips": clips, "options": {}}))
    return {("run-broken", "runs/one/summary.json")}


def duplicates_unknown(d: Damaged) -> Expected:
    write_dedup(d, [d.kept[0], "00000000-0000-5000-8000-000000000000"])
    return {
        ("duplicates-differ", "dedup/duplicates/one.parquet"),
        ("duplicates-differ", "dedup/groups.parquet"),
    }


def group_without_a_survivor(d: Damaged) -> Expected:
    write_dedup(d, d.kept[:2], kept=(False, False))
    return {
        ("duplicates-differ", "dedup/groups.parquet"),
        ("duplicates-differ", "dedup/duplicates"),
    }


def duplicates_truncated(d: Damaged) -> Expected:
    write_dedup(d, d.kept[:2])
    d.cut_short("dedup/groups.parquet")
    return {("duplicates-broken", "dedup/groups.parquet")}


def write_dedup(d: Damaged, ids: list[str], kept: tuple[bool, bool] = (True, False)) -> None:
    """One group of two, of which the second goes."""
    folder = d.path("dedup/duplicates")
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"id": ids[1:]}), folder / "one.parquet")
    columns = {"group": [0, 0], "id": ids, "kept": list(kept), "cosine": [1.0, 0.99]}
    pq.write_table(pa.table(columns), d.path("dedup/groups.parquet"))
    d.path("dedup/summary.json").write_text("{}")


QUICKLY: list[Callable[[Damaged], Expected]] = [
    clip_truncated,
    clip_flipped,
    clip_missing,
    all_clips_missing_though_a_run_wrote_them,
    clip_in_both_places,
    clip_in_the_wrong_place,
    clips_swapped,
    clip_orphaned,
    preview_orphaned,
    meta_missing,
    meta_unreadable,
    chunk_unreadable,
    meta_truncated,
    meta_of_other_types,
    meta_without_a_key,
    meta_of_another,
    meta_that_is_not_valid,
    rejected_without_a_rule,
    span_changed,
    window_beyond_the_end,
    caption_changed,
    chunk_missing,
    chunk_counts_wrong,
    chunk_passed_wrong,
    chunk_rejected_wrong,
    chunk_durations_wrong,
    chunk_truncated,
    chunks_swapped,
    video_missing,
    video_extra,
    video_counts_wrong,
    table_truncated,
    table_missing,
    row_missing,
    row_too_many,
    row_with_nan,
    other_dimension,
    other_model,
    other_model_and_no_note,
    vector_missing,
    vector_and_row_missing,
    vector_changed,
    vector_truncated,
    vector_with_infinity,
    vector_that_is_a_program,
    preview_missing,
    previews_of_a_clip_missing,
    preview_truncated,
    failures_edited,
    run_out_of_balance,
    duplicates_unknown,
    group_without_a_survivor,
    duplicates_truncated,
]


@pytest.mark.parametrize("damage", QUICKLY, ids=lambda damage: str(damage.__name__))
def test_a_damage_is_named_where_it_is(
    damage: Callable[[Damaged], Expected], output: Output
) -> None:
    expected = damage(Damaged(output))
    before = snapshot(Path(output.root))
    assert wrong_in(output.root) == expected
    assert snapshot(Path(output.root)) == before
    assert not (Path(output.root).parent / EVIL).exists()


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in sorted(root.rglob("*")) if os.path.isfile(path))  # noqa: PTH113
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


# ── what is sound ────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_said_of_what_is_sound(sound: Path) -> None:
    assert found_in(sound) == []


def not_uploaded(d: Damaged) -> None:
    for name in ("clips", "filtered_clips"):
        shutil.rmtree(d.path(name))


def dry_run(d: Damaged) -> None:
    for path in d.root.iterdir():
        if not path.name.startswith("processed_"):
            shutil.rmtree(path)


def older(d: Damaged) -> None:
    """As versions wrote it whose documents had no digest."""
    for path in d.root.glob("metas/v0/*.json"):
        d.edit(str(path.relative_to(d.root)), sha256=...)


def sharded(d: Damaged) -> None:
    for kept, id in [*((True, id) for id in d.kept), (False, d.rejected)]:
        there = Path(Layout(str(d.root), shard_prefix=True).clip(id, kept))
        there.parent.mkdir(exist_ok=True)
        Path(Layout(str(d.root)).clip(id, kept)).rename(there)
        d.edit(f"metas/v0/{id}.json", clip_location=str(there))


def copied_elsewhere(d: Damaged) -> None:
    """Without what begins with a dot, which copies often lack."""
    shutil.rmtree(d.path(".finecut"))


def deduplicated(d: Damaged) -> None:
    write_dedup(d, d.kept[:2])


def all_of_a_clip_without_vector(d: Damaged) -> None:
    """A clip whose vector could not be made: it says so, and the chunk counts one less."""
    rows = d.rows()
    rows.pop(d.kept[0])
    d.write_rows(rows)
    d.path(d.vector()).unlink()
    d.edit(d.meta(), models=..., errors=["embedding"], valid=False)
    d.edit(d.chunk(), num_clips_with_embeddings=1)


def killed(d: Damaged) -> None:
    """A video is worked on again: old and new clips lie about, and none of it is a promise."""
    d.path("processed_videos/a.mp4.json").unlink()
    d.path(d.clip()).unlink()
    stranger = "00000000-0000-5000-8000-000000000000"
    shutil.copy(d.path(d.clip(1)), d.path(f"clips/{stranger}.mp4"))
    note = d.path(".finecut/open/a.mp4.json")
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"old": d.kept, "new": [stranger], "chunks": 2, "names": []}))
    d.path(".staging/run").mkdir(parents=True)
    d.path("films").mkdir()


HABITS = [
    not_uploaded,
    dry_run,
    older,
    sharded,
    copied_elsewhere,
    deduplicated,
    all_of_a_clip_without_vector,
    killed,
]


@pytest.mark.parametrize("change", HABITS, ids=lambda change: str(change.__name__))
def test_habits_are_no_damage(change: Callable[[Damaged], None], output: Output) -> None:
    change(Damaged(output))
    assert wrong_in(output.root) == set()


def test_what_is_being_done_is_said(output: Output) -> None:
    killed(Damaged(output))
    assert {(each.kind, each.path) for each in found_in(output.root)} == {
        ("unfinished", ".finecut/open/a.mp4.json"),
        ("leftover", ".staging/run/"),
        ("not-looked-at", "films/"),
    }


CASES = sorted(path.name for path in GOLDEN.glob("*/") if (path / "processed_videos").is_dir())


@pytest.mark.skipif(not CASES, reason=f"no golden trees in {GOLDEN}")
@pytest.mark.parametrize("case", CASES)
def test_what_the_reference_writes_is_sound(case: str) -> None:
    found = found_in(GOLDEN / case, quick=False)
    notes = 4 if case == "mixed_bad" else 0
    assert [each.kind for each in found] == ["not-read"] * notes


# ── decoding ─────────────────────────────────────────────────────────────────────────────────────

LIMITS = ChildLimits(memory_mb=1024)


def clip_overwritten_and_older(d: Damaged) -> Expected:
    older(d)
    data = bytearray(d.path(d.clip()).read_bytes())
    begin = data.index(b"mdat") + 300
    data[begin : begin + 600] = bytes(600)
    d.path(d.clip()).write_bytes(bytes(data))
    return {("clip-broken", d.clip())}


def clip_truncated_and_edited(d: Damaged) -> Expected:
    older(d)
    d.cut_short(d.clip())
    d.edit(d.meta(), num_bytes=d.path(d.clip()).stat().st_size)
    return {("clip-broken", d.clip())}


def clip_of_other_frames(d: Damaged) -> Expected:
    d.edit(d.meta(), num_frames=12, width=320)
    previews = (d.preview(), d.preview().replace("0_4", "5_9"))
    return {("clip-differs", d.clip()), *(("preview-differs", path) for path in previews)}


def preview_flipped(d: Damaged) -> Expected:
    data = d.path(d.preview()).read_bytes()
    d.flip(d.preview(), data.rindex(b"ANMF") + 2)
    return {("preview-broken", d.preview())}


def preview_of_another_length(d: Damaged) -> Expected:
    """Of ten times as many frames a second, by the times that stand in the file."""
    data = bytearray(d.path(d.preview()).read_bytes())
    at = -1
    while (at := data.find(b"ANMF", at + 1)) >= 0:
        data[at + 20 : at + 23] = (25).to_bytes(3, "little")
    d.path(d.preview()).write_bytes(bytes(data))
    return {("preview-differs", d.preview())}


DECODED: list[Callable[[Damaged], Expected]] = [
    clip_overwritten_and_older,
    clip_truncated_and_edited,
    clip_of_other_frames,
    preview_flipped,
    preview_of_another_length,
]


@pytest.mark.parametrize("damage", DECODED, ids=lambda damage: str(damage.__name__))
def test_decoding_shows_what_no_digest_does(
    damage: Callable[[Damaged], Expected], output: Output
) -> None:
    expected = damage(Damaged(output))
    assert wrong_in(output.root, quick=False, limits=LIMITS) == expected
    assert wrong_in(output.root, quick=False, limits=None) == expected


def test_every_kind_that_a_finding_may_be_is_explained() -> None:
    assert get_args(KindName) == (*KINDS,)


def test_a_clip_that_breaks_its_decoder_costs_itself(output: Output) -> None:
    d = Damaged(output)
    kill_all()  # one that has worked before has memory to spare
    verifying = Verifying(output.layout, limits=ChildLimits(memory_mb=64))
    found = clip_found(Place(str(d.path(d.clip()))), None, verifying)
    assert found is not None
    assert (found.watched, found.num_bytes) == (None, d.path(d.clip()).stat().st_size)
    assert found.trouble


# ── pickles ──────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.floats(width=16, allow_nan=False), min_size=1, max_size=9),
    st.sampled_from(["<f2", "<f4", ">f8"]),
    st.sampled_from([3, 4, 5]),
)
def test_a_vector_is_read_as_unpickling_would(
    numbers: list[float], kind: str, protocol: int
) -> None:
    vector = np.array([numbers], kind)
    read = read_vector(pickle.dumps(vector, protocol=protocol))
    assert read.dtype == vector.dtype
    assert np.array_equal(read, vector)


@given(st.binary(max_size=40), st.integers(0, 200))
def test_what_is_no_vector_is_refused_whatever_it_is(junk: bytes, place: int) -> None:
    whole = embedding_pickle((1.0, 2.0))
    for data in (junk, whole[: place % len(whole)], whole[:place] + junk + whole[place:]):
        with suppress(NoVector):
            assert read_vector(data).dtype.kind == "f"


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04Nr" + (50_000_000).to_bytes(4, "little") + b".",  # remembers a far place
        b"\x80\x04\x8e" + (1 << 33).to_bytes(8, "little") + b"x.",  # says 8 GB of bytes
        b"\x80\x05\x96" + (1 << 33).to_bytes(8, "little") + b"x.",
        b"\x80\x04\x95" + (1 << 33).to_bytes(8, "little") + b"N.",
        b"\x80\x02cnumpy\nndarray\nJ\x00\x00\x00\x40\x85R.",  # an array of a billion
    ],
)
def test_a_few_bytes_are_not_given_gigabytes(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(NoVector):
            read_vector(data)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["os\nsystem", "builtins\neval", "numpy\nndarray.tofile"])
def test_a_name_that_no_array_needs_is_not_looked_up(name: str) -> None:
    with pytest.raises(NoVector, match=r"would call .* which an array"):
        read_vector(f"\x80\x02c{name}\n.".encode("latin-1"))


def test_what_is_said_to_a_name_is_only_noted() -> None:
    """The state of the name itself is not set, nor is what it made called."""
    for data in (b"cnumpy\nndarray\nNN\x86b.", b"cnumpy\nndarray\n)R)R.", b"cnumpy\nndarray\n."):
        with pytest.raises(NoVector):
            read_vector(b"\x80\x02" + data)


# ── shards ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def shards(output: Output, tmp_path: Path) -> ShardFolder:
    """Two shards: of two clips, and of one."""
    d = Damaged(output)
    folder = ShardFolder(str(tmp_path / "shards"))
    Path(folder.root).mkdir()
    rows = [*archived(d, folder, "00000", d.kept[:2]), *archived(d, folder, "00001", d.kept[2:])]
    pq.write_table(pa.Table.from_pylist(rows), folder.index)
    return folder


def archived(d: Damaged, folder: ShardFolder, name: str, ids: list[str]) -> list[dict[str, Any]]:
    rows = []
    with Path(folder.shard(name)).open("wb") as file:
        tar = Tar(file)
        for id in ids:
            film = d.path(f"clips/{id}.mp4").read_bytes()
            row = {"id": id, "shard": f"{name}.tar", "offset": tar.add(f"{id}.mp4", film)}
            digest = hashlib.sha256(film).hexdigest()
            rows.append(row | {"num_bytes": len(film), "sha256": digest})
            tar.add(f"{id}.json", d.path(f"metas/v0/{id}.json").read_bytes())
            out = io.BytesIO()
            np.save(out, np.ones(4, np.float32))
            tar.add(f"{id}.npy", out.getvalue())
        tar.close()
    return rows


def wrong_with(folder: ShardFolder) -> set[tuple[str, str]]:
    names, found = shards_in(folder.root)
    for name in names:
        found += [each for each in check_shard(folder.root, name) if isinstance(each, Finding)]
    return {(each.kind, each.path.removeprefix(f"{folder.root}/")) for each in found}


def edit_index(folder: ShardFolder, number: int, **changes: Any) -> None:
    rows = pq.read_table(folder.index).to_pylist()
    rows[number] |= changes
    pq.write_table(pa.Table.from_pylist(rows), folder.index)


def change(folder: ShardFolder, name: str, edit: Callable[[bytes], bytes]) -> None:
    path = Path(folder.shard(name))
    path.write_bytes(edit(path.read_bytes()))


def apart(data: bytes) -> bytes:
    """The last clip's document, once more at the front."""
    begin = data.rindex(b".json", 0, len(data)) - 36
    size = 512 + -(-int(data[begin + 124 : begin + 135], 8) // 512) * 512
    return data[begin : begin + size] + data


ON_SHARDS: dict[str, tuple[Callable[[ShardFolder], object], Expected]] = {
    "cut short": (
        lambda f: change(f, "00000", lambda data: data[: len(data) // 2]),
        {("shard-broken", "00000.tar")},
    ),
    "without its end": (
        lambda f: change(f, "00000", lambda data: data[:-512]),
        {("shard-broken", "00000.tar")},
    ),
    "a byte of a film": (
        lambda f: change(f, "00001", lambda data: data[:900] + b"!" + data[901:]),
        {("shard-broken", "00001.tar")},
    ),
    "members apart": (
        lambda f: change(f, "00000", apart),
        {("shard-broken", "00000.tar")},
    ),
    "a wrong offset": (
        lambda f: edit_index(f, 0, offset=1024),
        {("shard-broken", "00000.tar")},
    ),
    "a row of another shard": (
        lambda f: edit_index(f, 0, shard="00001.tar"),
        {("shard-broken", "00001.tar"), ("shard-differs", "00000.tar")},
    ),
    "a clip twice": (
        lambda f: edit_index(f, 2, id=pq.read_table(f.index)["id"][0].as_py()),
        {
            ("index-broken", "index.parquet"),
            ("shard-broken", "00001.tar"),
            ("shard-differs", "00001.tar"),
        },
    ),
    "a shard missing": (
        lambda f: Path(f.shard("00001")).unlink(),
        {("shard-missing", "00001.tar")},
    ),
    "a shard too many": (
        lambda f: shutil.copy(f.shard("00001"), f.shard("00002")),
        {("shard-differs", "00002.tar")},
    ),
    "no index": (lambda f: Path(f.index).unlink(), {("index-broken", "index.parquet")}),
    "half an index": (
        lambda f: Path(f.index).write_bytes(Path(f.index).read_bytes()[:400]),
        {("index-broken", "index.parquet")},
    ),
}


def test_nothing_is_said_of_shards_that_are_sound(shards: ShardFolder) -> None:
    assert wrong_with(shards) == set()


@pytest.mark.parametrize("name", ON_SHARDS)
def test_a_damage_to_shards_is_named_where_it_is(name: str, shards: ShardFolder) -> None:
    damage, expected = ON_SHARDS[name]
    damage(shards)
    assert wrong_with(shards) == expected


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def verified(root: str | Path, **settings: Any) -> Verified:
    return verify(VerifyOptions(dataset=str(root), **settings).check())


def test_the_pipeline_finds_what_the_functions_find(
    output: Output, shards: ShardFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    d = Damaged(output)
    clip_truncated(d)
    video_counts_wrong(d)
    clip_orphaned(d)
    other_model_and_no_note(d)
    # No good text, as names of files may be.
    shutil.copy(d.path("processed_videos/a.mp4.json"), d.path("processed_videos/b\udce9.mp4.json"))
    change(shards, "00000", lambda data: data[:-512])
    report = tmp_path / "report.jsonl"
    told = ["--report", str(report), "--shards", shards.root, "--quick", "--quiet"]
    assert main(["verify", output.root, *told, "--workers", "2"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"  {d.clip()}: has " in said.err
    assert "Usually a copy was cut short" in said.err
    ran = read_report(report.read_bytes().splitlines())
    assert [path.name for path in tmp_path.iterdir() if "report" in path.name] == [report.name]
    assert not (tmp_path / ".staging").exists()
    names = {(each.kind, each.path) for each in ran.wrong}
    assert names == wrong_in(output.root) | {("shard-broken", f"{shards.root}/00000.tar")}
    assert ran.checked["chunks"] == 2
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert {line["path"] for line in lines[:-1]} == {path for _, path in names}
    assert all(line["usually"] and line["do"] and line["should"] for line in lines[:-1])


def test_the_command_says_what_was_checked_and_that_all_is_well(
    sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(sound), "--workers", "1"]) == 0
    said = capsys.readouterr()
    assert "clips    4 files, 4 decoded completely (4.0 s, 40 frames)" in said.out
    assert "3 vectors, 6 previews (6 decoded)" in said.out
    assert said.out.endswith("no problems found\n")


@pytest.mark.slow
def test_the_report_is_the_same_with_any_number_of_workers(output: Output, tmp_path: Path) -> None:
    d = Damaged(output)
    clip_truncated(d)
    chunk_missing(d)
    reports = [tmp_path / f"{workers}.jsonl" for workers in (1, 3)]
    for workers, report in zip((1, 3), reports, strict=True):
        verified(output.root, quick=True, report=str(report), workers=workers)
    assert reports[0].read_bytes() == reports[1].read_bytes()


def test_a_folder_that_is_no_output_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(tmp_path)])
    assert ended.value.code == 2
    assert "is not a dataset" in capsys.readouterr().err


def test_previews_of_copied_clips_may_be_spread_unevenly(output: Output) -> None:
    d = Damaged(output)
    assert wrong_in(output.root, quick=False) == set()
    expected = preview_of_another_length(d)
    assert wrong_in(output.root, quick=False) == expected
    for path in Path(output.root, "metas/v0").iterdir():
        said = json.loads(path.read_text())
        path.write_text(json.dumps(said | {"transcode": "copied"}))
    assert wrong_in(output.root, quick=False) == set()


def test_a_report_that_cannot_be_written_is_said(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "in the way").touch()
    with pytest.raises(RunError, match="report could not be written"):
        verified(sound, quick=True, workers=1, report=str(tmp_path / "report"))
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.slow
def test_a_full_disk_for_the_report_is_said(sound: Path, tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", 4096) as disk:
            (disk / "filler").write_bytes(b"x" * 4096)
            with pytest.raises(RunError, match=r"report.jsonl could not be written .*space"):
                verified(sound, quick=True, workers=1, report=str(disk / "report.jsonl"))
    except NoDisk as error:
        pytest.skip(str(error))


def test_the_report_goes_where_workers_can_write_and_not_into_the_dataset(sound: Path) -> None:
    with pytest.raises(OptionError, match="give --report FILE"):
        VerifyOptions(dataset=str(sound), runner="FlinkRunner").check()
    with pytest.raises(OptionError, match="is inside the dataset"):
        verified(sound, report=f"{sound}/report.jsonl")


@pytest.mark.slow
def test_an_output_in_a_bucket_is_verified_too(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gcp_storage_emulator")
    d = Damaged(output)
    expected = clip_overwritten_and_older(d) | vector_missing(d)
    store = FaultyStore()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
    child.kill_all()  # children take the environment over from the process that starts them
    own = Shelf("gs://bucket/out", "gs://bucket/out/.staging/test")
    for path in d.root.rglob("*.*"):
        if path.is_file():
            own.write(f"{own.root}/{path.relative_to(d.root)}", path.read_bytes())
    before = sorted(shelf.files_below(own.root))
    try:
        assert wrong_in(own.root, quick=False, limits=LIMITS) == expected
        assert sorted(shelf.files_below(own.root)) == before
    finally:
        store.close()
        child.kill_all()
