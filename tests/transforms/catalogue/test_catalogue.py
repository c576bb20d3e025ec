"""The catalogue of a dataset: a row for each clip, the same from clips and from documents."""

from __future__ import annotations

import io
import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from curated import Curated, curated, edit, say
from doc_tables import CATALOGUE, with_columns
from golden import GOLDEN
from performing import performed

from finecut.io.dataset.output import Output
from finecut.io.layout import Layout
from finecut.io.records import Failure, Source, Span, to_json
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.commands.compact import CompactOptions
from finecut.pipeline.commands.forget import ForgetOptions
from finecut.pipeline.commands.refilter import RefilterOptions
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.transforms.catalogue.chunks import enter, rows_at
from finecut.transforms.catalogue.columns import SCHEMA, from_bytes
from finecut.transforms.catalogue.compact import begin_catalogue, compact
from finecut.transforms.catalogue.fields import COLUMNS, Row
from finecut.transforms.catalogue.reading import ReadCatalogue
from finecut.transforms.catalogue.rows import Whereabouts, row_of

FILE = "catalogue/clips.parquet"
CASES = sorted(path.name for path in GOLDEN.glob("*/") if (path / "processed_videos").is_dir())


@pytest.fixture
def dataset(tmp_path: Path) -> Curated:
    """As a run left it, without the captions that were added to its documents by hand."""
    made = curated(tmp_path)
    for entry in made.entries():
        windows = [
            {key: window[key] for key in ("start_frame", "end_frame")}
            for window in entry.document["windows"]
        ]
        say(made.root, entry.id, windows=windows)
    return made


def compacted(dataset: Curated, **options: Any) -> int:
    return performed(CompactOptions(str(dataset.root), workers=1, quiet=True, **options))


def rows(dataset: Curated) -> dict[str, Row]:
    return {row["id"]: row for row in pq.read_table(dataset.root / "catalogue").to_pylist()}


def verified(dataset: Curated) -> int:
    return verified_at(dataset.root)


def verified_at(root: Path) -> int:
    return performed(VerifyOptions(str(root), workers=1, quick=True, no_isolation=True))


def test_each_clip_has_a_row_that_says_what_its_document_says(dataset: Curated) -> None:
    found = rows(dataset)
    entries = dataset.entries()
    assert found.keys() == {entry.id for entry in entries}
    for entry in entries:
        row, said = found[entry.id], entry.document
        assert (row["start"], row["end"]) == entry.span
        assert row["verdict"] == ("kept" if entry.kept else "rejected")
        assert row["reason"] == said.get("filtered_by")
        assert row["motion_global_mean"] == said["motion_score"]["global_mean"]
        assert row["sha256"] == said["sha256"]
        assert row["video"] == Path(said["source_video"]).name
        assert row["source_num_frames"] == len(dataset.films[row["video"]].times)
        files = [row["clip"], row["meta"], *(each["path"] for each in row["artefacts"])]
        assert all((dataset.root / file).is_file() for file in files)
        assert len(row["artefacts"]) == (2 if entry.kept else 0)


def test_what_a_run_writes_is_what_documents_say(dataset: Curated) -> None:
    before = (dataset.root / FILE).read_bytes()
    assert compacted(dataset, rebuild=True) == 0
    assert (dataset.root / FILE).read_bytes() == before


def test_readers_of_slices_need_no_catalogue(dataset: Curated, tmp_path: Path) -> None:
    layout = Layout(str(dataset.root))
    columns = ("id", "verdict", "num_frames", "artefacts")
    found = _read_on_workers(layout, columns, tmp_path / "with")
    assert {row["id"] for row in found} == rows(dataset).keys()
    shutil.rmtree(dataset.root / "catalogue")
    (dataset.root / ".finecut/catalogue.json").unlink()
    assert _read_on_workers(layout, columns, tmp_path / "without") == found


def test_rows_that_somebody_removed_are_read_from_documents_and_made_again(
    dataset: Curated, tmp_path: Path
) -> None:
    layout, before = Layout(str(dataset.root)), rows(dataset)
    shutil.rmtree(dataset.root / "catalogue")
    found = _read_on_workers(layout, ("id",), tmp_path / "told")
    assert {row["id"] for row in found} == before.keys()
    # A run that begins now must not take its own rows for all there are.
    own = Shelf(str(dataset.root), str(dataset.root / ".staging/run"))
    begin_catalogue(layout, own)
    some = next(Output(layout).chunks())
    enter(*rows_at(some, Output(layout)), layout, own)
    compact(layout, own)
    assert rows(dataset) == before


def _read_on_workers(layout: Layout, columns: Sequence[str], told: Path) -> list[Row]:
    def tell(table: pa.Table) -> None:
        told.with_name(f"{told.name}-{uuid.uuid4()}").write_text(json.dumps(table.to_pylist()))

    with beam.Pipeline("FnApiRunner") as pipeline:
        _ = pipeline | beam.Create([0]) | ReadCatalogue(layout, columns) | beam.Map(tell)
    files = told.parent.glob(f"{told.name}-*")
    found = [row for path in files for row in json.loads(path.read_text())]
    return sorted(found, key=lambda row: str(row["id"]))


def test_captions_of_all_windows_are_in_it(tmp_path: Path) -> None:
    made = curated(tmp_path)
    assert compacted(made, rebuild=True) == 0
    for entry in made.entries():
        row = rows(made)[entry.id]
        assert row["caption"] == next(iter(entry.captions.values()), None)
        assert len(row["windows"][0]["captions"]) == len(entry.captions)


def test_a_dataset_without_a_catalogue_gets_one(dataset: Curated) -> None:
    """As earlier versions and other programs leave it."""
    before = (dataset.root / FILE).read_bytes()
    shutil.rmtree(dataset.root / "catalogue")
    (dataset.root / ".finecut/catalogue.json").unlink()
    assert compacted(dataset) == 0
    assert (dataset.root / FILE).read_bytes() == before


@pytest.mark.skipif(not CASES, reason=f"no golden trees in {GOLDEN}")
@pytest.mark.parametrize("case", CASES)
def test_what_the_reference_wrote_gets_one(case: str, tmp_path: Path) -> None:
    root = tmp_path / case
    shutil.copytree(GOLDEN / case, root)
    documents = {path.stem: json.loads(path.read_text()) for path in root.glob("metas/v0/*.json")}
    # A dry run of the reference names clips of which it wrote no document.
    options = CompactOptions(str(root), workers=1, quiet=True)
    assert performed(options) == (0 if documents else 1)
    found = {
        row["id"]: row
        for path in (root / "catalogue").rglob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    assert found.keys() == documents.keys()
    chunks = [json.loads(p.read_text()) for p in root.rglob("processed_clip_chunks/**/*.json")]
    rejected = {clip for chunk in chunks for clip in chunk["filtered_clips"]}
    for id, said in documents.items():
        row = found[id]
        assert [row["start"], row["end"]] == said["duration_span"]
        assert row["verdict"] == ("rejected" if id in rejected else "kept")
        assert row["clip"] is None or (root / row["clip"]).is_file()
    assert verified_at(root) == verified_at(GOLDEN / case)


def test_a_document_that_cannot_be_read_costs_its_chunk(
    dataset: Curated, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = dataset.kept()[0]
    (dataset.root / f"metas/v0/{lost}.json").write_text("{")
    assert compacted(dataset, rebuild=True) == 1
    assert "1 chunk could not be read" in capsys.readouterr().err
    assert lost not in rows(dataset)
    assert len(rows(dataset)) == 10


def test_clips_that_failed_have_rows_until_they_are_made(dataset: Curated) -> None:
    made = dataset.kept()[0]
    lost = "d2d0a5a1-0000-5000-8000-000000000000"
    source = Source("/films/gone.mp4", "/films/gone.mp4", "gone.mp4")
    still = Source("/films/long.mp4", "/films/long.mp4", "long.mp4")
    failures = (
        replace(
            Failure("CutClips", source, "ValueError", "it is broken", lost_shots=(lost,)),
            lost_spans=(Span(2.0, 4.5),),
        ),
        Failure("ProbeVideos", source, "ValueError", "no clip was planned yet"),
        Failure("CutClips", still, "ValueError", "made by another run since", lost_shots=(made,)),
    )
    folder = dataset.root / "failures"
    folder.mkdir(exist_ok=True)
    (folder / "list.jsonl").write_text("".join(f"{to_json(each)}\n" for each in failures))
    compacted(dataset)
    row = rows(dataset)[lost]
    assert (row["verdict"], row["reason"]) == ("failed", "CutClips: ValueError")
    assert (row["video"], row["chunk"]) == ("gone.mp4", None)
    assert (row["start"], row["end"]) == (2.0, 4.5)
    assert rows(dataset)[made]["verdict"] == "kept"
    (folder / "list.jsonl").unlink()
    compacted(dataset)
    assert lost not in rows(dataset)
    assert not (dataset.root / "catalogue/failed.parquet").exists()


def test_refiltering_keeps_it_true(dataset: Curated) -> None:
    options = RefilterOptions(
        str(dataset.root), keep=("motion>0.9",), workers=1, yes=True, quiet=True
    )
    assert performed(options) == 0
    assert {row["verdict"] for row in rows(dataset).values()} == {"rejected"}
    assert verified(dataset) == 0


def test_forgetting_takes_its_rows(dataset: Curated) -> None:
    options = ForgetOptions(str(dataset.root), source=("other.mp4",), quiet=True)
    assert performed(options) == 0
    assert {row["video"] for row in rows(dataset).values()} == {"long.mp4", "still.mp4"}
    assert verified(dataset) == 0


# ── verify ───────────────────────────────────────────────────────────────────────────────────────


def test_a_sound_catalogue_is_sound(dataset: Curated) -> None:
    assert verified(dataset) == 0


def without_a_row(table: Any) -> Any:
    return table.slice(1)


def with_a_row_twice(table: Any) -> Any:
    return pa.concat_tables([table, table.slice(0, 1)])


def with_another_size(table: Any) -> Any:
    place = table.column_names.index("num_bytes")
    values = [value + 1 for value in table["num_bytes"].to_pylist()]
    return table.set_column(place, table.schema.field(place), [values])


@pytest.mark.parametrize("damage", [without_a_row, with_a_row_twice, with_another_size])
def test_what_differs_from_documents_is_named(
    damage: Any, dataset: Curated, capsys: pytest.CaptureFixture[str]
) -> None:
    path = dataset.root / FILE
    pq.write_table(damage(pq.read_table(path)), path)
    assert verified(dataset) == 1
    assert "catalogue-differs" in capsys.readouterr().err
    assert compacted(dataset, rebuild=True) == 0
    assert verified(dataset) == 0


def test_an_edited_document_is_named(dataset: Curated) -> None:
    edit(dataset.root, dataset.kept()[0], width=161)
    assert verified(dataset) == 1


def test_a_broken_file_is_named(dataset: Curated, capsys: pytest.CaptureFixture[str]) -> None:
    path = dataset.root / FILE
    path.write_bytes(path.read_bytes()[:-10])
    assert verified(dataset) == 1
    assert "catalogue-broken" in capsys.readouterr().err


# ── rows of anybody's documents ──────────────────────────────────────────────────────────────────


def test_rows_of_an_older_file_lack_what_was_not_known_then() -> None:
    """Artefacts had no places in packs, and clips neither."""
    made = [{"kind": "previews", "path": f"previews/{n}/0_9.webp"} for n in range(3)]
    older = pa.table(
        {
            "id": ["a", "b", "c"],
            "artefacts": pa.array(
                [made[:2], [], made[2:]],
                pa.list_(pa.struct([("kind", pa.string()), ("path", pa.string())])),
            ),
        }
    )
    out = io.BytesIO()
    pq.write_table(older, out, row_group_size=2)
    found = from_bytes(out.getvalue(), "older")
    assert found.schema == SCHEMA
    nowhere = {"offset": None, "size": None}
    assert found.select(["id", "artefacts", "clip_offset"]).to_pylist() == [
        {"id": "a", "artefacts": [each | nowhere for each in made[:2]], "clip_offset": None},
        {"id": "b", "artefacts": [], "clip_offset": None},
        {"id": "c", "artefacts": [made[2] | nowhere], "clip_offset": None},
    ]


WHERE = Whereabouts("a.mp4", "c", kept=True, clip=None, meta="metas/v0/a.json")
ODD: tuple[Any, ...] = (None, True, "text", 1.5, -1, 2**70, float("inf"), [], {}, [[]], "\ud800")


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_values_of_another_kind_are_missing(value: Any) -> None:
    keys = {column.name for column in COLUMNS} | {"duration_span", "scores", "motion_score"}
    document = dict.fromkeys(keys | {"error_messages", "span_uuid", "filtered_by"}, value)
    row = row_of(document, WHERE, document)
    pa.Table.from_pylist([row], SCHEMA)
    json.dumps(row, allow_nan=False)


def test_custom_scores_and_labels_have_columns_of_their_own() -> None:
    document = {"scores": {"glow": 0.5, "camera": "static", "sharpness": 0.25}}
    row = row_of(document, WHERE, {})
    assert row["other_scores"] == [{"name": "glow", "value": 0.5}]
    assert row["labels"] == [{"name": "camera", "value": "static"}]
    assert row["sharpness"] == 0.25


# ── other readers ────────────────────────────────────────────────────────────────────────────────


def test_pandas_reads_it(dataset: Curated) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(dataset.root / FILE)
    assert (table.verdict == "kept").sum() == 11


def test_duckdb_reads_it(dataset: Curated) -> None:
    duckdb = pytest.importorskip("duckdb")
    query = f"select count(*) from '{dataset.root}/catalogue/**/*.parquet' where verdict = 'kept'"
    assert duckdb.sql(query).fetchall() == [(11,)]


def test_polars_reads_it(dataset: Curated) -> None:
    polars = pytest.importorskip("polars")
    table = polars.read_parquet(f"{dataset.root}/catalogue/**/*.parquet")
    assert table.filter(polars.col("verdict") == "kept").height == 11


def test_datasets_reads_it(dataset: Curated, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(dataset.root / FILE), cache_dir=str(tmp_path / "cache")
    )
    assert loaded["train"].num_rows == 12


def test_lance_reads_it(dataset: Curated, tmp_path: Path) -> None:
    lance = pytest.importorskip("lance")
    made = lance.write_dataset(pq.read_table(dataset.root / FILE), str(tmp_path / "clips.lance"))
    assert made.count_rows("verdict = 'kept'") == 11


def test_each_column_is_in_the_docs() -> None:
    assert all(column.meaning for column in COLUMNS)
    page = CATALOGUE.read_text(encoding="utf-8")
    assert page == with_columns(page), "columns have changed: make tables"
