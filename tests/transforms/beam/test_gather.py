"""What is kept while it waits for others: small, and in coders that give the same bytes again."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.coders import registry
from keyed import keyed_in, unsure

from finecut.io.layout import Layout, chunk_id, clip_id
from finecut.io.records import (
    Chunk,
    Clip,
    ClipFile,
    ModelUsed,
    PlannedClip,
    Source,
    Span,
    TextOutcome,
    Video,
    Window,
    Written,
)
from finecut.io.storage.publishing import Shelf
from finecut.transforms.beam.gather import RecordCoder, Waiting
from finecut.transforms.dedup.clusters import Clustering
from finecut.transforms.dedup.neighbourhoods import Cluster
from finecut.transforms.verify.folders import Folder, verifying_of
from finecut.transforms.verify.output import VerifyOutput

FILM = "gs://a-bucket-of-films/2026-10/part-0042/a film whose name is rather long_1080p.mp4"
VIDEO = Video(
    Source(FILM, FILM, FILM.partition("10/")[2], "9000000:1764510000000000"),
    *(9_000_000, 0, 1920, 1080, 29.97, 80_000, 2669.3, "h264", "yuv420p", "aac", 2000, 0),
)
#: As long as captioners' texts are, and richer ones.
CAPTION = (
    "The clip opens on a narrow street at dusk, wet from recent rain. A woman in a yellow coat "
    "walks towards the camera, carrying a folded umbrella and a paper bag of groceries; behind "
    "her, two cyclists wait at a crossing while a tram glides past from left to right. The camera "
    "follows her at walking pace, then tilts up to neon signs reflected in shop windows. The mood "
    "is calm, with muted blues and warm highlights."
)
RICHER = (
    f"{CAPTION} As the tram leaves the frame, its lights streak over the cobblestones, and the "
    "woman stops, shifts the bag to her other arm and looks back over her shoulder at somebody "
    "out of view. A shopkeeper rolls a shutter down in the background."
)
STAGED = "gs://a-bucket-of-clips/out/.staging/0123456789abcdef0123456789abcdef/made"


def clip(windows: int, length: int) -> Clip:
    """A clip of which all is known that can be."""
    name = clip_id(FILM, 3000, 3300)
    asked = ("cosmos-embed1-224p_embedding", "aesthetic", "text", "unsafe", "qwen2.5", "qwen_lm")
    measured = ("motion_global_mean", "motion_per_patch_min_256", "sharpness", "exposure", "unsafe")
    return Clip(
        VIDEO,
        Chunk(chunk_id(FILM, 3), 3, 12, 40, 400, again=True),
        PlannedClip(name, 37, Span(100.1, 110.11)),
        ClipFile(1920, 1080, 29.97, 300, "h264", 5_000_000, "ab" * 32),
        f"{STAGED}/{name}.mp4",
        {score: 1 / place for place, score in enumerate(measured, 3)} | {"camera": "static"},
        tuple(
            Window(
                *(index * 256, index * 256 + 255),
                {"qwen2.5": CAPTION},
                {"qwen_lm": RICHER},
                {"qwen2.5": TextOutcome("success", 1234, 120)},
                {"qwen_lm": TextOutcome("success", 310, 160)},
            )
            for index in range(windows)
        ),
        {"cosmos-embed1-224p": tuple(1 / place for place in range(1, length + 1))},
        {f"previews/{name}_{i}.webp": f"{STAGED}/{name}_{i}.webp" for i in range(windows)},
        {model: ModelUsed(f"org/{model}", "0123456789abcdef" * 2, length) for model in asked},
        errors={"saturation_error": "the decoder broke off: Invalid data found " * 4},
    )


@pytest.mark.parametrize("length", [768, 1280])
@pytest.mark.parametrize("windows", [1, 4])
def test_a_clip_in_its_ledger_is_small(windows: int, length: int) -> None:
    """A clip of ten seconds has one window; its texts alone have 1,100 characters."""
    known = clip(windows, length).replace(vectors={})
    assert len(RecordCoder().encode(Waiting(known))) <= 2000


@pytest.mark.parametrize(
    "record",
    [
        clip(2, 3),
        clip(1, 768),
        clip(1, 2).replace(file=None, errors={"caption": "half a character: \udcff"}),
        Written("metas", "a", "b", "/out/metas/v0/\udce9.json", 7),
    ],
)
def test_records_come_back_as_they_were(record: object) -> None:
    coder = registry.get_coder(Waiting)
    assert coder.is_deterministic()
    assert coder.decode(coder.encode(Waiting(record))) == Waiting(record)
    assert coder.encode(Waiting(record)) == coder.encode(
        coder.decode(coder.encode(Waiting(record)))
    )


def test_keys_have_coders_of_their_types() -> None:
    pipeline = beam.Pipeline("FnApiRunner")
    _ = (
        pipeline
        | "Folders" >> beam.Create([]).with_output_types(Folder)
        | "Verify" >> VerifyOutput(verifying_of(Layout("/out"), []))
    )
    clustering = Clustering(Shelf("/out", "/out/.staging/run"), "/out/ce1_embd_parquet")
    _ = pipeline | Cluster(clustering, print)
    found = keyed_in(pipeline)
    assert {"Verify/By video (key)", "Verify/By owner (key)"} <= {*found}
    assert list(unsure(found)) == []
