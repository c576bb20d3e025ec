"""Packed datasets: what files would be, in two files for each chunk."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from arranged import Both, both, curate, tree, unpacked

from finecut.io.dataset import table
from finecut.io.dataset.arrangement import OtherArrangement, PackedDataset
from finecut.io.dataset.output import Output
from finecut.io.dataset.places import NoDataset, Place
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.packs import PackTable
from finecut.pipeline.commands.summary import SummaryOptions, SumUp
from finecut.pipeline.options import OptionError
from finecut.transforms.catalogue.compact import compact
from finecut.transforms.catalogue.places import document_of, film_of, made_of
from finecut.transforms.catalogue.reading import rows_in, slices
from finecut.transforms.find.inputs import Finding, find_sources

ALGORITHM = "efficientnet-lite0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Both:
    pytest.importorskip("onnxruntime")
    return both(tmp_path_factory.mktemp("both"), generate_previews=True, generate_thumbnails=True)


@pytest.fixture
def packed(made: Both, tmp_path: Path) -> Path:
    """A copy, where it was made, of a dataset that a test changes."""
    return Path(shutil.copytree(made.packed, tmp_path / "packed"))


def archives(root: Path) -> list[Path]:
    return sorted((root / "packs").glob("*.tar"))


def output_of(root: Path) -> Output:
    return Output.at(str(root), packs=True)


def test_each_chunk_is_two_files_and_its_documents(made: Both) -> None:
    there = [name for name in tree(made.packed) if not name.startswith(".finecut/")]
    folders = [name.partition("/")[0] for name in there]
    assert {folder: folders.count(folder) for folder in folders} == {
        "catalogue": 1,
        "packs": 2 * 4,
        "processed_clip_chunks": 5,  # also a video without clips has one
        "processed_videos": 3,
    }


def test_unpacked_it_is_byte_for_byte_what_files_are(made: Both, tmp_path: Path) -> None:
    found, wanted = tree(unpacked(made.packed, tmp_path / "unpacked")), tree(made.files)
    assert {"clips", "filtered_clips", "previews", "thumbnails"} <= {
        name.partition("/")[0] for name in wanted
    }
    assert sorted(found) == sorted(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []


@pytest.mark.parametrize(
    "chosen", [{"shard_prefix": True}, {"no_upload_clips": True}], ids=["prefix", "no clips"]
)
def test_so_it_is_with_other_options(chosen: dict[str, bool], tmp_path: Path) -> None:
    made = both(tmp_path, no_generate_embeddings=True, **chosen)
    found, wanted = tree(unpacked(made.packed, tmp_path / "unpacked")), tree(made.files)
    assert [name for name in {*found, *wanted} if found.get(name) != wanted.get(name)] == []
    assert bool(archives(made.packed)) == ("no_upload_clips" not in chosen)


def test_archives_are_what_webdataset_reads_and_always_the_same(made: Both, tmp_path: Path) -> None:
    kept = Output.at(str(made.files))
    keys: dict[str, set[str]] = {}
    for path in archives(made.packed):
        with tarfile.open(path) as archive:
            for member in archive:
                assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
                key, _, kind = member.name.partition(".")
                keys.setdefault(key, set()).add(kind)
    for chunk in kept.chunks():
        for entry in kept.entries(chunk):
            more = {"previews.0_9.webp", "thumbnails.jpg"} if entry.kept else set()
            assert keys[entry.id] == {"mp4"} | more
    curate(
        made.films,
        made.made,
        layout="packed",
        workers=1,
        generate_previews=True,
        generate_thumbnails=True,
    )
    try:
        again = tree(made.made)
    finally:
        shutil.rmtree(made.made)
    assert again == tree(made.packed)


def test_readers_need_not_care(made: Both) -> None:
    torch = pytest.importorskip("torch")
    from finecut.io.dataset import ClipDataset

    one, other = (
        ClipDataset(str(root), vectors=ALGORITHM, shuffle=True, seed=3)
        for root in (made.files, made.packed)
    )
    samples = list(zip(one, other, strict=True))
    assert len(samples) == 5
    for wanted, found in samples:
        assert wanted.keys() == found.keys()
        assert wanted["id"] == found["id"]
        assert torch.equal(torch.as_tensor(wanted["frames"]), torch.as_tensor(found["frames"]))
        assert (wanted["vector"] == found["vector"]).all()
    tables = [table(str(root), ALGORITHM).drop_columns(["path"]) for root in made[2:]]
    assert tables[0].equals(tables[1])


def test_entries_know_where_their_bytes_lie(made: Both) -> None:
    files, packs = Output.at(str(made.files)), output_of(made.packed)
    assert packs.algorithms() == files.algorithms() == [ALGORITHM]
    seen = 0
    for one, other in zip(files.chunks(), packs.chunks(), strict=True):
        for wanted, found in zip(files.entries(one), packs.entries(other), strict=True):
            assert found.document == wanted.document
            assert found.film.read() == Path(wanted.path).read_bytes()
            assert packs.entry(found.id, found.kept, found.chunk) == found
            vectors = [each.vectors(ALGORITHM, found.chunk) for each in (files, packs)]
            assert vectors[0].keys() == vectors[1].keys()
            assert all((vectors[0][id] == vectors[1][id]).all() for id in vectors[0])
            path = f"previews/{found.id}/0_9.webp"
            place = packs.artefact(found, path)
            assert (place is not None) == found.kept
            if place is not None:
                assert place.read() == (made.files / path).read_bytes()
            seen += 1
    assert seen == 6


def test_the_catalogue_says_where_in_an_archive_a_clip_is(made: Both, packed: Path) -> None:
    rows = pq.read_table(packed / "catalogue").to_pylist()
    assert {row["verdict"] for row in rows} == {"kept", "rejected"}
    for row in rows:
        data = (packed / row["clip"]).read_bytes()[row["clip_offset"] :][: row["num_bytes"]]
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        for each in row["artefacts"]:
            if each["offset"] is not None:
                head = Place(str(packed / each["path"]), each["offset"], each["size"]).read()
                assert head[:4] in (b"RIFF", b"\xff\xd8\xff\xe0")
    # From documents it is the same.
    written = (packed / "catalogue/clips.parquet").read_bytes()
    shutil.rmtree(packed / "catalogue")
    (packed / ".finecut/catalogue.json").unlink()
    output = output_of(packed)
    read = [
        row for piece in slices(output.layout) for row in rows_in(piece, output.layout).to_pylist()
    ]
    assert sorted(row["id"] for row in read) == sorted(row["id"] for row in rows)
    compact(output.layout, Shelf(str(packed), f"{packed}/.staging/test"))
    assert (packed / "catalogue/clips.parquet").read_bytes() == written


def test_rows_lead_to_the_same_in_both(made: Both) -> None:
    layouts = [Output.at(str(made.files)).layout, output_of(made.packed).layout]
    told = []
    for layout in layouts:
        rows = [row for piece in slices(layout) for row in rows_in(piece, layout).to_pylist()]
        told.append(
            {
                row["id"]: (
                    film.read() if (film := film_of(row, layout)) else None,
                    {
                        (kind, place.read())
                        for kind, place in made_of(row, layout)
                        if kind != f"{ALGORITHM}_embd"
                    },
                    document_of(row, layout),
                )
                for row in rows
            }
        )
    assert told[0] == told[1]
    assert len(told[0]) == 6
    assert {kind for _, made, _ in told[0].values() for kind, _ in made} == {
        "previews",
        "thumbnails",
    }


# ── runs on it ───────────────────────────────────────────────────────────────────────────────────


def test_a_layout_is_decided_once(made: Both, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(
        OtherArrangement, match=r"layout packed, which is decided .* --layout packed"
    ):
        curate(made.films, packed, layout="files")
    files = Path(shutil.copytree(made.files, tmp_path / "files"))
    with pytest.raises(OtherArrangement, match=r"layout files, which is decided .* --layout files"):
        curate(made.films, files, layout="packed")
    (packed / ".finecut/layout.json").write_text('{"layout": "scattered", "version": 1}')
    with pytest.raises(OtherArrangement, match="'scattered'"):
        curate(made.films, packed)
    (packed / ".finecut/layout.json").write_text('{"layo')
    with pytest.raises(OtherArrangement, match="unknown whether clips lie in packs"):
        output_of(packed)


def test_who_reads_files_says_so(packed: Path) -> None:
    with pytest.raises(PackedDataset, match=f"finecut unpack {packed} --output FOLDER"):
        Output.at(str(packed))


def test_a_summary_adds_up_either(made: Both, packed: Path) -> None:
    files, packs = (
        SumUp(SummaryOptions(dataset=str(root), quiet=True)).run() for root in (made.files, packed)
    )
    assert packs.document | {"dataset": ""} == files.document | {"dataset": ""}
    assert files.document["balanced"]
    next((packed / "packs").glob("*.parquet")).unlink()
    broken = SumUp(SummaryOptions(dataset=str(packed), quiet=True)).run()
    assert len(broken.bad) == 1
    assert broken.bad[0].endswith("is missing, although a document of its chunk is there")


def test_packs_among_the_inputs_are_not_cut_again(made: Both, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    shutil.copytree(made.packed, inputs / "dataset")
    shutil.copy(made.films / "still.mp4", inputs)
    found = find_sources(Finding((str(inputs),), archives=True))
    assert [source.relative for source in found] == ["still.mp4"]


def test_right_fitting_has_no_files_to_hand_over(made: Both, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--right-fitting hands clips over as files"):
        curate(made.films, tmp_path / "out", layout="packed", right_fitting=True, runner="prism")


def test_who_names_no_layout_goes_on_with_the_one_there_is(made: Both, packed: Path) -> None:
    shutil.copy(made.films / "still.mp4", made.films / "later.mp4")
    try:
        chosen = {"generate_previews": True, "generate_thumbnails": True}
        ran = curate(made.films, packed, **chosen)
    finally:
        (made.films / "later.mp4").unlink()
    assert (ran.summary.videos_skipped, ran.summary.videos_done) == (3, 1)
    assert len(archives(packed)) == 5
    assert not (packed / "filtered_clips").exists()


def test_a_video_that_is_done_again_leaves_no_pack_behind(made: Both, tmp_path: Path) -> None:
    chosen = {"no_generate_embeddings": True, "layout": "packed"}
    output = tmp_path / "out"
    curate(made.films, output, **chosen)
    before = {path.name for path in archives(output)}
    curate(made.films, output, chunk_seconds=8, **chosen)
    assert len({path.name for path in archives(output)} & before) == 2  # the first of each video
    assert len(archives(output)) == len([*(output / "packs").glob("*.parquet")]) == 2
    curate(made.films, tmp_path / "once", chunk_seconds=8, **chosen)
    found, wanted = tree(output), tree(tmp_path / "once")
    tables = [name for name in wanted if name.startswith("packs/") and name.endswith(".parquet")]
    for name in tables:  # their documents name the output
        one, other = (PackTable.read(each[name]) for each in (found, wanted))
        assert one.table.drop_columns(["document"]).equals(other.table.drop_columns(["document"]))
    assert [n for n in {*found, *wanted} - {*tables} if found.get(n) != wanted.get(n)] == []


def test_what_is_said_of_a_source_later_changes_tables_and_no_archive(
    made: Both, tmp_path: Path
) -> None:
    films = Path(shutil.copytree(made.films, tmp_path / "films"))
    chosen = {"no_generate_embeddings": True, "layout": "packed", "source_metadata": True}
    output = tmp_path / "out"
    curate(films, output, **chosen)
    before = tree(output)
    (films / "long.json").write_text(json.dumps({"license": "cc0"}))
    ran = curate(films, output, **chosen)
    assert (ran.summary.videos_retold, ran.summary.videos_skipped) == (1, 3)
    after = tree(output)
    changed = {name for name in after if after[name] != before.get(name)}
    assert not [name for name in changed if name.endswith(".tar")]
    assert len([name for name in changed if name.startswith("packs/")]) == 3
    told = pq.read_table(output / "catalogue").to_pylist()
    assert {row["source"] for row in told if row["video"] == "long.mp4"} == {'{"license":"cc0"}'}
    found = output_of(output)
    sources = [e.source for c in found.chunks() for e in found.entries(c)]
    assert sources.count({"license": "cc0"}) == 5


# ── damage ───────────────────────────────────────────────────────────────────────────────────────


def test_an_archive_that_was_cut_short_is_told_of(packed: Path) -> None:
    for path in archives(packed):
        path.write_bytes(path.read_bytes()[:700])
    output = output_of(packed)
    entry = next(output.entries(next(output.chunks())))
    with pytest.raises(NoDataset, match="ends after 188 of"):
        entry.film.read()


@pytest.mark.parametrize(
    ("path", "said"), [("../outside.webp", "outside of the output"), ("a//b", "outside")]
)
def test_a_table_that_names_what_lies_elsewhere_is_refused(
    path: str, said: str, packed: Path
) -> None:
    output = output_of(packed)
    tables = {
        place: PackTable.read(place.read_bytes()) for place in (packed / "packs").glob("*.parquet")
    }
    # (The rejected clip has no files.)
    place, found = next(
        (place, each) for place, each in tables.items() if any(c.files for c in each.clips())
    )
    clips = [
        replace(clip, files=tuple(each._replace(path=path) for each in clip.files))
        for clip in found.clips()
    ]
    place.write_bytes(found.with_clips(clips).to_bytes())
    with pytest.raises(NoDataset, match=said):
        output.pack(place.stem)


def test_a_table_that_is_missing_or_none_is_told_of(packed: Path) -> None:
    output = output_of(packed)
    chunk = next(output.chunks())
    for each in (packed / "packs").glob("*.parquet"):
        each.write_bytes(b"PAR1")
    with pytest.raises(NoDataset, match="is not a Parquet table"):
        list(output.entries(chunk))
    for each in (packed / "packs").glob("*.parquet"):
        each.unlink()
    with pytest.raises(NoDataset, match="is missing, although a document of its chunk is there"):
        list(output.entries(chunk))
