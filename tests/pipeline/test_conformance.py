"""finecut writes what readers of the reference's output expect, and differs where it says so.

Two ways to the same trees: ``curate`` makes clips of the reference's own inputs, and ``WriteClips``
is given the clips of the reference's documents, with everything that models would have found out.
Each result is compared with the golden tree in full; :mod:`golden` has the list of differences.
"""

from __future__ import annotations

import json
import pickle
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import av
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from golden import (
    DIFFERENCES,
    GOLDEN,
    MADE_UP,
    SAME_CLIPS,
    THERE,
    Document,
    Tree,
    golden,
    metas_of,
    serialised,
)
from golden_expected import (
    Expected,
    as_curated,
    as_written,
    broken_inputs,
    frames_of_finecut,
    frames_of_reference,
)

from finecut.io.layout import PREVIEWS, Layout, chunk_id
from finecut.io.records import (
    Chunk,
    Clip,
    ClipFile,
    Failure,
    PlannedClip,
    Source,
    Span,
    Video,
    Window,
)
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.engine import local_arguments
from finecut.pipeline.options import Options
from finecut.pipeline.running import Ran, run
from finecut.transforms.write.clips import WriteClips
from finecut.transforms.write.writing import Writing

if not GOLDEN.is_dir():
    pytest.skip(
        "the golden trees of the reference are not here; FINECUT_SHARED names the folder that "
        "holds them",
        allow_module_level=True,
    )

ALGORITHM = "cosmos-embed1-224p"
CAPTION, ENHANCED = "qwen2.5", "qwen_lm"
MOTION = ("global_mean", "per_patch_min_256")


# ── curate ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class CurateCase:
    """A golden case, the options that make it again, and what it is known to hold."""

    name: str
    inputs: str
    num_clips: int
    #: Exactly these: one that is not needed any more is as wrong as one that is missing.
    differences: frozenset[str]
    options: dict[str, Any] = field(default_factory=dict)
    #: Whether motion is measured and previews are made.
    looks: bool = False


ALWAYS = frozenset({"valid", "encoded bytes", "windows", "resuming"})
#: Bytes are not compared, so only the first case takes the time to make them small.
FAST = {"preset": "ultrafast"}

CURATE_CASES = [
    CurateCase(
        "basic_5s",
        "main",
        8,
        ALWAYS | {"two video streams", "last picture"},
        {"clip_length": 5.0},
    ),
    CurateCase(
        "chunked_1s",
        "main",
        39,
        ALWAYS | {"two video streams", "counted frames", "last picture"},
        FAST
        | {
            "clip_length": 1.0,
            "min_clip_length": 0.5,
            "chunk_seconds": 8,
            "no_upload_clips": True,
        },
    ),
    CurateCase(
        "filtered",
        "filter",
        8,
        ALWAYS | {"start between frames"},
        FAST | {"clip_length": 5.0, "min_clip_length": 0.5},
    ),
    CurateCase(
        "mixed_bad",
        "mixed_bad",
        3,
        ALWAYS | {"two video streams", "broken inputs"},
        FAST | {"clip_length": 5.0},
    ),
    CurateCase(
        "full_5s",
        "main",
        8,
        # There the clips have windows, and are valid for it.
        frozenset({"encoded bytes", "two video streams", "last picture", "motion", "resuming"}),
        FAST | {"clip_length": 5.0, "motion_filter": "score-only", "generate_previews": True},
        looks=True,
    ),
    CurateCase(
        "full_5s_dry_run",
        "main",
        8,
        frozenset({"two video streams", "resuming"}),
        FAST | {"clip_length": 5.0, "dry_run": True},
    ),
]


class Curation(NamedTuple):
    """A run, what it wrote, and what it has to have written."""

    case: CurateCase
    ran: Ran
    tree: Tree
    expected: Expected


#: The same clips as in full_5s, with another preset, or hardly written.
SLOW = ("basic_5s", "full_5s_dry_run")


def _params(cases: list[Any]) -> list[Any]:
    """A case each; workers share the cases, and each case runs once."""
    groups, slow = pytest.mark.xdist_group, pytest.mark.slow
    return [
        pytest.param(case, id=case.name, marks=[groups(case.name), *([slow] * (case.name in SLOW))])
        for case in cases
    ]


@pytest.fixture(scope="module", params=_params(CURATE_CASES))
def curation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Curation:
    case: CurateCase = request.param
    root = tmp_path_factory.mktemp(case.name) / "output"
    ran = run(
        Options(
            input=(str(GOLDEN / "inputs" / case.inputs),),
            named_as=f"{THERE}/inputs/{case.inputs}",
            output=str(root),
            no_generate_embeddings=True,
            **case.options,
        )
    )
    tree = Tree.read(root)
    return Curation(case, ran, tree, as_curated(case.name, root, tree, case.looks))


def _failure_lists(tree: Tree) -> list[str]:
    return tree.below("failures")


def test_curate_writes_the_same_paths(curation: Curation) -> None:
    ours = curation.tree.paths - set(_failure_lists(curation.tree))
    assert ours == curation.expected.paths


def test_curate_writes_the_same_documents(curation: Curation) -> None:
    _assert_same_documents(curation.tree, curation.expected)


def test_curate_differs_in_nothing_else(curation: Curation) -> None:
    assert curation.expected.differences == curation.case.differences


def test_curate_has_made_all_clips(curation: Curation) -> None:
    summary = curation.ran.summary
    assert summary.shots_kept == curation.case.num_clips == len(metas_of(curation.case.name))
    assert not summary.imbalances()


def test_curate_lists_broken_inputs(curation: Curation) -> None:
    broken = broken_inputs(golden(curation.case.name).documents)
    assert len(broken) == (4 if curation.case.name == "mixed_bad" else 0)
    lists = _failure_lists(curation.tree)
    assert len(lists) == bool(broken)
    failures = [
        json.loads(line) for path in lists for line in curation.tree.files[path].splitlines()
    ]
    assert sorted(failure["source"]["relative"] for failure in failures) == sorted(broken)
    assert all(failure["step"] == "probe" and failure["message"] for failure in failures)


# ── the clips themselves ─────────────────────────────────────────────────────────────────────────

#: Mean difference of two pictures of 64 × 36 grey pixels, of 255. Two encodings of one picture
#: differ by less than 1, by 3 where the reference's encoder is short of bits; across a cut it is
#: 30 and more.
ALIKE = 5.0

Picture = npt.NDArray[np.int16]
Vector = npt.NDArray[np.float32]


class Pair(NamedTuple):
    """A clip of ours and the reference's clip of the same span."""

    source: str
    start: float
    end: float
    ours: Path
    theirs: Path


def _pairs(curation: Curation) -> Iterator[Pair]:
    """The clips of both trees, matched by source and start: ids differ with two video streams."""
    theirs = {_place(meta): meta for meta in golden(curation.case.name).metas().values()}
    for ours in curation.tree.metas().values():
        there = GOLDEN / theirs[_place(ours)]["clip_location"].removeprefix(f"{THERE}/")
        if there.exists():
            start, end = ours["duration_span"]
            yield Pair(ours["source_video"], start, end, Path(ours["clip_location"]), there)


def _place(meta: Document) -> tuple[str, float]:
    return meta["source_video"], meta["duration_span"][0]


def _pictures(path: Path) -> tuple[list[Fraction], list[Picture]]:
    """When a clip shows which pictures (small and grey, which is enough to tell them apart)."""
    times, pictures = [], []
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            times.append(frame.pts * frame.time_base)
            small = frame.reformat(64, 36, "gray").to_ndarray()
            pictures.append(small.astype(np.int16))
    return times, pictures


def test_clips_hold_the_same_frames(curation: Curation) -> None:
    """As many as the span says, the same pictures in the same order, each when it is shown.

    The clips in which the reference has a picture more (``car.mp4`` from 5, 15 and 25 s: 12.5
    frames a second, so these seconds lie between two frames) end with the picture shown at the
    very end of the span, which belongs to what follows. Compared with the source's pictures, that
    is plain at 30 s; at 10 and 20 s the film hardly moves.
    """
    counted = 0
    for pair in _pairs(curation):
        times, ours = _pictures(pair.ours)
        _, theirs = _pictures(pair.theirs)
        shown = frames_of_finecut(pair.source, pair.start, pair.end)
        assert len(ours) == len(shown), pair
        assert len(theirs) == len(frames_of_reference(pair.source, pair.start, pair.end)), pair
        assert np.allclose([float(t) for t in times], np.subtract(shown, shown[0]), atol=2e-3), pair
        distances = _distances(ours, theirs)
        assert distances.max() < ALIKE, pair
        # No other alignment fits better; in a still picture, none fits worse.
        assert distances.mean() < 1.05 * _distances(ours[1:], theirs).mean(), pair
        assert distances.mean() < 1.05 * _distances(ours, theirs[1:]).mean(), pair
        counted += 1
    assert counted == len(curation.tree.below("clips"))


def _distances(some: list[Picture], others: list[Picture]) -> npt.NDArray[np.float64]:
    """How far pictures are from those of the same number, as far as both go."""
    both = zip(some, others, strict=False)
    return np.array([np.abs(one - other).mean() for one, other in both])


# ── WriteClips ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class WriteCase:
    """A golden case whose clips are given to ``WriteClips``."""

    name: str
    num_clips: int
    num_vectors: int
    num_tables: int
    num_previews: int
    differences: frozenset[str]
    settings: dict[str, Any] = field(default_factory=dict)


WITH_VECTORS = frozenset({"valid", "parquet types"})
WRITE_CASES = [
    WriteCase("full_5s", 8, 8, 4, 8, WITH_VECTORS | {"error messages"}),
    WriteCase(
        "full_5s_no_upload",
        8,
        8,
        4,
        8,
        WITH_VECTORS | {"error messages"},
        {"upload_clips": False},
    ),
    WriteCase("full_5s_dry_run", 8, 0, 0, 0, frozenset(), {"dry_run": True}),
    WriteCase("chunked_1s", 39, 39, 7, 0, WITH_VECTORS, {"upload_clips": False}),
    WriteCase("filtered", 8, 3, 1, 0, WITH_VECTORS | {"filtered_by"}),
]


class Publication(NamedTuple):
    """What ``WriteClips`` wrote of a golden case's clips, and what it has to have written."""

    case: WriteCase
    root: Path
    tree: Tree
    expected: Expected


@pytest.fixture(scope="module", params=_params(WRITE_CASES))
def publication(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Publication:
    case: WriteCase = request.param
    root = tmp_path_factory.mktemp(case.name) / "output"
    layout = Layout(str(root))
    shelf = Shelf(str(root), layout.staging_of("test"))
    clips = _golden_clips(case.name, Path(shelf.staging))
    assert len(clips) == case.num_clips
    with beam.Pipeline(options=PipelineOptions(local_arguments(2))) as pipeline:
        # The order in which clips arrive is the runner's choice: here it is the wrong one.
        arriving = pipeline | beam.Create(clips[::-1]).with_output_types(Clip)
        written = arriving | WriteClips(Writing(layout, shelf, **case.settings))
        described = written.failures | beam.Map(_describe).with_output_types(str)
        assert_that(described, equal_to([]))
    return Publication(case, root, Tree.read(root), as_written(case.name, root))


def _describe(failure: Failure) -> str:
    return f"{failure.step}: {failure.message}"


def _golden_clips(case: str, staging: Path) -> list[Clip]:
    """The clips of a golden case as records, their files and previews copied to staging."""
    metas, tree = metas_of(case), golden(case)
    videos = {video.name: video for video in _videos(tree)}
    clips = []
    for name, video in videos.items():
        chunks = _chunks_of(tree, name)
        total = sum(len(_ids(chunk)) for chunk in chunks)
        index = 0
        for number, chunk in enumerate(chunks):
            here = Chunk(chunk_id(name, number), number, len(_ids(chunk)), len(chunks), total)
            for clip in sorted(_ids(chunk), key=lambda clip: _start(metas[clip])):
                clips.append(_clip(case, metas[clip], video, here, index, staging))
                index += 1
    return clips


def _videos(tree: Tree) -> Iterator[Video]:
    for path in tree.below("processed_videos"):
        document = tree.documents[path]
        name = document["video"]
        relative = path.removeprefix("processed_videos/").removesuffix(".json")
        yield Video(
            source=Source(uri=name, name=name, relative=relative),
            size=0,
            stream_index=0,
            width=document["width"],
            height=document["height"],
            framerate=document["framerate"],
            num_frames=document["num_frames"],
            duration=document["duration"],
            video_codec=document["video_codec"],
            pixel_format=document["pixel_format"],
            audio_codec=document["audio_format"],
            bit_rate_k=0,
            first_pts=0,
        )


def _chunks_of(tree: Tree, name: str) -> list[Document]:
    chunks = [tree.documents[path] for path in tree.below("processed_clip_chunks")]
    mine = [chunk for chunk in chunks if chunk["video"] == name]
    return sorted(mine, key=lambda chunk: int(chunk["clip_chunk_index"]))


def _ids(chunk: Document) -> list[str]:
    ids: list[str] = chunk["clips"] + chunk["filtered_clips"]
    return ids


def _start(meta: Document) -> float:
    return float(meta["duration_span"][0])


def _clip(case: str, meta: Document, video: Video, chunk: Chunk, index: int, staging: Path) -> Clip:
    clip = meta["span_uuid"]
    motion = meta.get("motion_score", {})
    has_vector = f"ce1_embd/{clip}.pickle" in golden(SAME_CLIPS.get(case, case)).paths
    rejected = "/filtered_clips/" in meta["clip_location"]
    return Clip(
        video=video,
        chunk=chunk,
        planned=PlannedClip(clip, index, Span(*meta["duration_span"])),
        file=ClipFile(
            width=meta["width"],
            height=meta["height"],
            framerate=meta["framerate"],
            num_frames=meta["num_frames"],
            video_codec=meta["video_codec"],
            num_bytes=meta["num_bytes"],
            sha256="",
        ),
        staged=_stage(f"{'filtered_' * rejected}clips/{clip}.mp4", case, staging / clip),
        scores={f"motion_{key}": motion[key] for key in MOTION if key in motion},
        windows=tuple(map(_window, meta["windows"])),
        artefacts={
            path: _stage(path, case, staging / f"{clip}-preview") for path in PREVIEWS.paths(meta)
        },
        vectors={ALGORITHM: _vector(clip)} if has_vector else {},
        rejected_by="motion" if rejected else None,
        errors=dict.fromkeys(meta.get("errors", ()), MADE_UP),
    )


def _window(window: Document) -> Window:
    return Window(
        start_frame=window["start_frame"],
        end_frame=window["end_frame"],
        captions={CAPTION: window[f"{CAPTION}_caption"]},
        enhanced_captions={ENHANCED: window[f"{ENHANCED}_enhanced_caption"]},
    )


def _stage(path: str, case: str, folder: Path) -> str:
    """A copy of a golden file, or a few bytes for one that no golden case has kept."""
    staged = folder / Path(path).name
    folder.mkdir(parents=True)
    origin = GOLDEN / SAME_CLIPS.get(case, case) / path
    if origin.exists():
        shutil.copyfile(origin, staged)
    else:
        staged.write_bytes(b"not to be published")
    return str(staged)


def _vector(clip: str) -> tuple[float, ...]:
    """The stand-in for an embedding that was given to the reference, but for its last bit."""
    return tuple(_drawn(clip).tolist())


@cache
def _drawn(clip: str) -> Vector:
    random = np.random.default_rng(uuid.UUID(clip).int)
    drawn = random.standard_normal(256).astype(np.float32)
    return drawn / np.linalg.norm(drawn)


def test_write_clips_writes_the_same_paths(publication: Publication) -> None:
    """That nothing is left in staging is part of it."""
    assert publication.tree.paths == publication.expected.paths


def test_write_clips_writes_the_same_documents(publication: Publication) -> None:
    _assert_same_documents(publication.tree, publication.expected)


def test_write_clips_differs_in_nothing_else(publication: Publication) -> None:
    assert publication.expected.differences == publication.case.differences


def test_clips_and_previews_arrive_whole(publication: Publication) -> None:
    case, tree, theirs = publication.case, publication.tree, golden(publication.case.name)
    files = [p for f in ("clips", "filtered_clips", "previews") for p in theirs.below(f)]
    published = case.num_clips if not case.settings else 0
    assert len(files) == published + case.num_previews
    assert [path for path in files if tree.files.get(path) != theirs.files[path]] == []


def test_pickles_hold_the_same_vectors(publication: Publication) -> None:
    theirs = golden(publication.case.name)
    paths = theirs.below("ce1_embd")
    assert len(paths) == publication.case.num_vectors
    for path in paths:
        ours, reference = _unpickled(publication.tree.files[path]), _unpickled(theirs.files[path])
        assert (ours.dtype, ours.shape) == (reference.dtype, reference.shape)
        assert (ours.dtype, ours.shape) == (np.dtype(np.float32), (1, 256))
        assert np.array_equal(ours[0], _drawn(Path(path).stem)), path
        assert _same_vectors(ours, reference), path


def test_tables_hold_the_same_vectors(publication: Publication) -> None:
    theirs = golden(publication.case.name)
    paths = theirs.below("ce1_embd_parquet")
    assert len(paths) == publication.case.num_tables
    for path in paths:
        ours, reference = _table(publication.tree.files[path]), _table(theirs.files[path])
        assert ours.column_names == reference.column_names == ["id", "embedding"]
        assert ours["id"].to_pylist() == reference["id"].to_pylist()
        assert np.array_equal(_embeddings(ours), [_drawn(i) for i in ours["id"].to_pylist()])
        assert _same_vectors(_embeddings(ours), _embeddings(reference)), path
        assert ours.schema.field("id").type == pa.string()
        assert ours.schema.field("embedding").type.value_type == pa.float32()


def _same_vectors(ours: Vector, theirs: Vector) -> bool:
    """Equal but for the last bit: the length of a vector depends on the order of adding up."""
    return np.allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def _unpickled(data: bytes) -> npt.NDArray[Any]:
    array = pickle.loads(data)
    assert isinstance(array, np.ndarray)
    return array


def _table(data: bytes) -> Any:
    return pq.read_table(pa.BufferReader(data))


def _embeddings(table: Any) -> Vector:
    return np.asarray(table["embedding"].to_pylist(), dtype=np.float32)


# ── documents ────────────────────────────────────────────────────────────────────────────────────


def _assert_same_documents(tree: Tree, expected: Expected) -> None:
    """Values first, which says what is wrong; then bytes, which holds order and format too."""
    assert expected.documents
    for path, document in expected.documents.items():
        assert tree.documents.get(path) == document, path
    for path, document in expected.documents.items():
        assert tree.files[path] == serialised(document), path


@pytest.mark.parametrize("case", _params([*CURATE_CASES, *WRITE_CASES]))
def test_documents_are_compared_in_the_format_of_the_reference(
    case: CurateCase | WriteCase,
) -> None:
    """What the bytes of our documents are compared with is what the reference would write."""
    tree = golden(case.name)
    assert {path: serialised(document) for path, document in tree.documents.items()} == {
        path: data for path, data in tree.files.items() if path.endswith(".json")
    }


def test_every_difference_is_needed() -> None:
    needed = [case.differences for case in CURATE_CASES] + [c.differences for c in WRITE_CASES]
    assert frozenset().union(*needed) == set(DIFFERENCES)
