"""What is forgotten is nowhere, stays nowhere, and everything else is as it was."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from faults import STAGING, Runs, staged
from forgetting import BROKEN, GONE, STAYS, TWIN, Made, forgotten, made, spoken_of, tree
from performing import performed, verify

from finecut.io.errors import RunError
from finecut.io.layout import Layout, clip_id
from finecut.io.records import Source
from finecut.io.storage.publishing import Shelf
from finecut.io.storage.staging import alive
from finecut.io.tables.drops import drops_table
from finecut.io.tables.parquet import embedding_table, to_parquet
from finecut.pipeline.commands.dedup import DedupOptions
from finecut.pipeline.commands.forget import ForgetOptions
from finecut.pipeline.commands.refilter import RefilterOptions
from finecut.pipeline.commands.shard import ShardOptions
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.running import run
from finecut.transforms.dedup.folder import KEEPER_SCHEMA
from finecut.transforms.forget.tombstones import Forgotten
from finecut.transforms.verify.checks.forgotten import wrong_with_notes

#: What is written with something of chance, or of time, in it.
PROCESSED = ("processed_videos", "processed_clip_chunks")
OF_CHANCE = (".finecut/forgotten.json", "shards/clips.lance/")


@pytest.fixture
def data(tmp_path: Path) -> Made:
    return made(tmp_path)


def words_of(data: Made, relative: str) -> list[str]:
    return [*data.ids(relative), data.path(relative), relative, relative.rpartition("/")[2]]


def wrong_in(root: Path, *shards: Path) -> list[tuple[str, str]]:
    options = VerifyOptions(str(root), shards=tuple(map(str, shards)), quick=True, workers=1)
    return [(finding.kind, finding.path) for finding in verify(options).wrong]


# ── gone ─────────────────────────────────────────────────────────────────────────────────────────


def test_of_a_source_nothing_is_left_and_nothing_comes_back(data: Made, tmp_path: Path) -> None:
    words = words_of(data, GONE)
    spoken = spoken_of(data.root, *words)
    folders = {name.partition("/")[0] for name in spoken}
    assert folders >= {"clips", "metas", "previews", "thumbnails", "dedup", "shards", "report"}
    assert any(name.endswith("clips.lance/") for name in spoken)
    before = tree(data.root)
    receipt = tmp_path / "receipt.json"
    forgot = forgotten(data.root, GONE, receipt=str(receipt))
    assert forgot.names == [data.path(GONE)]
    assert spoken_of(data.root, *words) == []
    after = tree(data.root)
    # Where nothing spoke of it, all bytes are as they were.
    again = ("report/", "dedup/", "shards/", *(f"{name}/Ünique/" for name in PROCESSED))
    same = [name for name in before if name not in spoken and not name.startswith(again)]
    assert len(same) > 20
    assert [name for name in same if after.get(name) != before[name]] == []
    assert wrong_in(data.root, data.root / "shards") == []
    said = json.loads(receipt.read_bytes())
    assert said["removed"]["metas"] == {
        "files": 3,
        "bytes": said["removed"]["metas"]["bytes"],
        "rewritten": 0,
    }
    assert said["checked"]["left"] == 0
    assert said["forgotten"] == Forgotten.at(Layout(str(data.root))).stones[0]["path"]
    assert not any(word in receipt.read_text() for word in words)
    ran = data.again()
    s = ran.summary
    assert (s.videos_found, s.videos_skipped, s.videos_forgotten, s.videos_failed) == (4, 3, 1, 1)
    assert s.imbalances() == []
    assert json.loads(Path(ran.path or "").read_bytes())["videos"]["forgotten"] == 1
    assert spoken_of(data.root, *words) == []
    # As often as anybody asks: it is forgotten already.
    assert forgotten(data.root, GONE, data.path(GONE)).already == [GONE, data.path(GONE)]
    assert performed(ForgetOptions(str(data.root), source=(GONE,), quiet=True)) == 0


def test_samples_of_others_are_the_same_bytes(data: Made) -> None:
    shards, gone = data.root / "shards", data.ids(GONE)
    before = members_of(shards)
    index = {row["id"]: row for row in pq.read_table(shards / "index.parquet").to_pylist()}
    forgotten(data.root, GONE)
    assert members_of(shards) == {n: d for n, d in before.items() if n[:36] not in gone}
    for row in pq.read_table(shards / "index.parquet").to_pylist():
        old = index[row["id"]]
        assert {**row, "offset": 0} == {**old, "offset": 0}
        with (shards / row["shard"]).open("rb") as file:
            file.seek(row["offset"])
            film = file.read(row["num_bytes"])
        assert film == (data.root / "clips" / f"{row['id']}.mp4").read_bytes()
    summary = json.loads((shards / "summary.json").read_bytes())
    assert summary["clips"]["written"] == len(index) - len(gone)


@pytest.mark.slow
def test_the_next_shards_are_those_of_a_dataset_without_it(data: Made) -> None:
    shards = data.root / "shards"
    forgotten(data.root, GONE)
    for folder in (shards, data.root / "new"):
        options = ShardOptions(
            str(data.root), output=str(folder), shard_clips=3, quiet=True, workers=1
        )
        assert performed(options.check()) == 0
    new = tree(data.root / "new")
    there = {n: d for n, d in tree(shards).items() if "lance" not in n}
    assert {n: d for n, d in new.items() if n != "summary.json"} == {
        n: d for n, d in there.items() if n != "summary.json"
    }


def members_of(shards: Path) -> dict[str, bytes]:
    found = {}
    for path in shards.rglob("*.tar"):
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                found[member.name] = file.read() if file else b""
    return found


@pytest.mark.slow
def test_shards_elsewhere_lose_it_too_also_later(data: Made, tmp_path: Path) -> None:
    """One archive has only samples of it, so the archive goes; what names them says which are
    there."""
    elsewhere = tmp_path / "shards elsewhere"
    options = ShardOptions(
        str(data.root), output=str(elsewhere), shard_clips=3, no_mix=True, quiet=True, workers=1
    )
    assert performed(options.check()) == 0
    words = words_of(data, GONE)
    forgotten(data.root, GONE)
    assert spoken_of(elsewhere, *words)
    forgot = forgotten(data.root, GONE, shards=(str(elsewhere),))
    assert [(each.samples, each.root) for each in forgot.shards] == [(3, str(elsewhere))]
    assert spoken_of(elsewhere, *words) == []
    assert wrong_in(data.root, elsewhere) == []
    names = sorted(path.name for path in elsewhere.glob("*.tar"))
    card = (elsewhere / "README.md").read_text()
    assert "WebDataset(" in card
    assert len(names) == len({*names})
    assert sorted(json.loads((elsewhere / ".finecut/shards.json").read_bytes())["shards"]) == [
        name.removesuffix(".tar") for name in names
    ]


def test_a_duplicate_stays_when_what_it_went_for_is_gone(data: Made) -> None:
    groups = pq.read_table(data.root / "dedup/groups.parquet").to_pylist()
    films = {id: film for film in (GONE, TWIN, STAYS) for id in data.ids(film)}
    pairs = [(films[row["id"]], films[row["kept_id"]]) for row in groups]
    which = next(stays for goes, stays in pairs if goes != stays)
    gone = data.ids(which)
    bereft = {row["id"] for row in groups if row["kept_id"] in gone} - gone
    assert bereft
    # One more was rejected for a clip of it, and has left the groups.
    another = clip_id("rejected meanwhile", 0, 1)
    keepers = [{"id": another, "kept_id": sorted(gone)[0]}]
    path = data.root / "dedup/keepers.parquet"
    path.write_bytes(to_parquet(KEEPER_SCHEMA.empty_table().from_pylist(keepers, KEEPER_SCHEMA)))
    [listed] = (data.root / "dedup/duplicates").iterdir()
    ids = {*pq.read_table(listed)["id"].to_pylist(), another}
    listed.write_bytes(drops_table(ids))
    forgot = forgotten(data.root, which)
    assert forgot.released is not None
    assert {*forgot.released.kept} == bereft
    assert {*forgot.released.rejected} == {another}
    left = {*pq.read_table(listed)["id"].to_pylist()}
    assert left == ids - gone - bereft - {another}
    assert wrong_in(data.root) == []
    # The next search begins anew, and takes the folder for its own.
    assert performed(DedupOptions(str(data.root), quiet=True, workers=1)) == 0


# ── who is meant ─────────────────────────────────────────────────────────────────────────────────


def test_a_source_has_several_names(data: Made, tmp_path: Path) -> None:
    for names in ((data.path(TWIN),), (TWIN,), (f"file://{data.path(TWIN)}",)):
        forgot = forgotten(data.root, *names, dry_run=True)
        assert forgot.names == [data.path(TWIN)]
        assert forgot.removed.files["clips"] == 3
    lists = [tmp_path / f"list{ending}" for ending in (".txt", ".csv", ".jsonl")]
    lists[0].write_text(f"# these\n{GONE}\n")
    lists[1].write_text(f"title,path\nTwin,{TWIN}\n")
    lists[2].write_text(json.dumps({"video": data.path(STAYS)}))
    forgot = forgotten(data.root, sources=tuple(map(str, lists)), dry_run=True)
    assert forgot.names == sorted(map(data.path, (GONE, TWIN, STAYS)))


def test_a_dry_run_changes_nothing(data: Made) -> None:
    before = tree(data.root)
    forgot = forgotten(data.root, GONE, BROKEN, dry_run=True)
    assert forgot.removed.files["metas"] == 3
    assert forgot.removed.files["shards"] == 3
    assert tree(data.root) == before


def test_who_is_nowhere_is_said(data: Made, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(data.root)
    for name, hint in (("twim.mp4", "did you mean twin.mp4?"), ("nobody", "no source is called")):
        assert performed(ForgetOptions(str(data.root), source=(name,))) == 1
        assert hint in capsys.readouterr().err
    assert tree(data.root) == before
    with pytest.raises(OptionError, match="nothing to forget"):
        forgotten(data.root)
    # Others on the same list go.
    assert performed(ForgetOptions(str(data.root), source=("nobody", BROKEN))) == 1
    assert spoken_of(data.root, BROKEN) == []


def test_a_name_of_two_is_asked_about(data: Made) -> None:
    [path] = (data.root / "failures").iterdir()
    failure = json.loads(path.read_text().splitlines()[0])
    failure["source"] |= {"name": "/else/twin.mp4", "uri": "/else/twin.mp4", "relative": TWIN}
    path.write_text(path.read_text() + json.dumps(failure) + "\n")
    forgot = forgotten(data.root, TWIN, dry_run=True)
    assert forgot.names == []
    assert "/else/twin.mp4" in forgot.unknown[0]
    # Its name says which; the documents at the same path are of the other one.
    documents = sorted((data.root / "processed_videos").iterdir())
    assert forgotten(data.root, "/else/twin.mp4").names == ["/else/twin.mp4"]
    assert sorted((data.root / "processed_videos").iterdir()) == documents
    assert spoken_of(data.root, "/else/twin.mp4") == []


@pytest.mark.slow
def test_rejected_clips_go_too_also_from_what_refiltering_noted(data: Made) -> None:
    """And a note of a refiltering that was killed."""
    options = RefilterOptions(str(data.root), keep=("motion>100",), yes=True, quiet=True)
    assert performed(options) == 0
    words = words_of(data, GONE)
    assert any(name.startswith("filtered_clips/") for name in spoken_of(data.root, *words))
    note = {"old": sorted(data.ids(GONE)), "new": [], "chunks": 2, "names": [data.path(GONE)]}
    path = Path(Layout(str(data.root)).open_video(GONE))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(note))
    forgotten(data.root, GONE)
    assert spoken_of(data.root, *words) == []
    assert wrong_in(data.root) == []
    assert performed(RefilterOptions(str(data.root), keep=("motion>99",), quiet=True)) == 0
    assert data.ids(TWIN)


def test_what_failed_leaves_the_lists(data: Made) -> None:
    assert spoken_of(data.root, BROKEN)
    forgotten(data.root, BROKEN)
    assert spoken_of(data.root, BROKEN) == []


# ── not coming back ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_neither_another_path_nor_a_list_of_failures_brings_it_back(
    data: Made, tmp_path: Path
) -> None:
    [path] = (data.root / "failures").iterdir()
    failure = json.loads(path.read_text().splitlines()[0])
    failure["source"] = vars(Source(data.path(GONE), data.path(GONE), GONE))
    forgotten(data.root, GONE)
    path.write_text(json.dumps(failure) + "\n")
    moved = tmp_path / "moved" / Path(GONE).name
    moved.parent.mkdir()
    shutil.copy2(data.path(GONE), moved)
    for given in (path, moved):
        options = Options(input=(str(given),), output=str(data.root), **data.captioned)
        assert run(options).summary.videos_forgotten == 1
    assert not data.ids(GONE)


@pytest.mark.slow
def test_it_comes_back_when_it_is_allowed(data: Made) -> None:
    forgotten(data.root, GONE, BROKEN)
    assert forgotten(data.root, allow=("nobody",)).unknown
    assert forgotten(data.root, allow=(GONE,)).allowed == [GONE]
    ran = data.again()
    assert (ran.summary.videos_forgotten, ran.summary.videos_done) == (1, 1)
    assert len(data.ids(GONE)) == 3
    forgotten(data.root, allow=(BROKEN,))
    assert not (data.root / ".finecut/forgotten.json").exists()


# ── left over ────────────────────────────────────────────────────────────────────────────────────


#: What somebody copies into the dataset again.
COPIES = (
    pytest.param(f"processed_videos/{GONE}.json", marks=pytest.mark.slow),
    f"processed_clip_chunks/{GONE}_0.json",
    pytest.param("report/", marks=pytest.mark.slow),
    pytest.param("shards/", marks=pytest.mark.slow),
)


@pytest.mark.parametrize("copy", COPIES)
def test_verify_finds_what_is_left(data: Made, tmp_path: Path, copy: str) -> None:
    whole = Path(shutil.copytree(data.root, tmp_path / "whole"))
    forgotten(data.root, GONE)
    if copy.endswith("/"):
        shutil.copytree(whole / copy, data.root / copy, dirs_exist_ok=True)
    else:
        (data.root / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(whole / copy, data.root / copy)
    kinds = {kind for kind, _ in wrong_in(data.root, data.root / "shards")}
    assert "forgotten" in kinds
    # And the same command removes it again.
    forgotten(data.root, GONE)
    assert wrong_in(data.root, data.root / "shards") == []


def test_what_somebody_else_wrote_is_named(data: Made) -> None:
    note = data.root / "notes" / "mine.txt"
    note.parent.mkdir()
    note.write_text(f"look at '{data.path(GONE)}' again")
    assert forgotten(data.root, GONE).left == [str(note)]
    again = ForgetOptions(str(data.root), source=(GONE, data.path(GONE)), quiet=True)
    assert performed(again) == 1
    note.unlink()
    assert performed(again) == 0


def test_an_output_of_another_program_has_no_marks(data: Made) -> None:
    """And a table of vectors that is of several sources."""
    gone, twin = sorted(data.ids(GONE)), sorted(data.ids(TWIN))
    for name in (".finecut", "runs", "report", "dedup", "failures"):
        shutil.rmtree(data.root / name)
    for path in (data.root / "processed_videos").rglob("*.json"):
        said = json.loads(path.read_bytes())
        said.pop("source_version"), said.pop("configuration")
        path.write_text(json.dumps(said))
    table = data.root / "ce1_embd_parquet/all.parquet"
    table.parent.mkdir()
    table.write_bytes(embedding_table([(id, [1.0]) for id in (*gone, *twin)]))
    # A clip that no chunk lists, as a run leaves it that is killed.
    (data.root / f"processed_clip_chunks/{GONE}_1.json").unlink()
    words = words_of(data, GONE) + gone
    forgotten(data.root, GONE)
    assert spoken_of(data.root, *words) == []
    assert pq.read_table(table)["id"].to_pylist() == twin


def test_others_at_work_are_not_disturbed(data: Made) -> None:
    layout = Layout(str(data.root))
    own = Shelf(layout.root, layout.staging_of("other"))
    refused = pytest.raises(OptionError, match="is being written by another run")
    with alive(own, "something"), refused:
        forgotten(data.root, GONE)
    assert not Path(layout.forgotten()).exists()


def test_nothing_is_made_of_a_dataset_that_has_half_of_it(data: Made, tmp_path: Path) -> None:
    forgotten(data.root, GONE)
    note = data.root / ".finecut/forgetting.json"
    note.write_text('{"sources": []}')
    assert [finding.path for finding in wrong_with_notes(Layout(str(data.root)))] == [
        ".finecut/forgetting.json"
    ]
    root = str(data.root)
    for options in (
        DedupOptions(root, quiet=True),
        ShardOptions(root, output=str(tmp_path / "x"), quiet=True),
        RefilterOptions(root, quiet=True),
    ):
        with pytest.raises(RunError, match="still has parts of a source"):
            performed(options)
    assert not (tmp_path / "x").exists()


# ── killed ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with Runs(tmp_path_factory.mktemp("runs") / "log.json", "forget.work") as server:
        yield server


def content(root: Path) -> dict[str, bytes]:
    return {
        name: data.replace(bytes(root), b"ROOT")
        for name, data in tree(root).items()
        if not name.startswith(OF_CHANCE) and "lance" not in name and not name.startswith("report/")
    }


def telling(points: list[str]) -> list[int]:
    """The write points that change what others see; of files that are removed in a row the last."""
    kinds = []
    for point in points:
        what, _, path = point.partition(" ")
        seen = what == "rename" or (what == "remove" and STAGING not in path)
        kinds.append((what, path.rpartition("/")[0]) if seen else None)
    alike = zip(kinds, [*kinds[1:], None], strict=True)
    return [
        place
        for place, (kind, following) in enumerate(alike, 1)
        if kind is not None and (kind[0] == "rename" or kind != following)
    ]


def test_a_lance_table_with_clips_has_those_that_stay(data: Made) -> None:
    lance = pytest.importorskip("lance")
    shards = data.root / "shards"
    options = ShardOptions(
        str(data.root), output=str(shards), shard_clips=3, lance_clips=True, quiet=True, workers=1
    )
    assert performed(options.check()) == 0
    before = lance.dataset(str(shards / "clips.lance")).count_rows()
    forgotten(data.root, GONE)
    table = lance.dataset(str(shards / "clips.lance"))
    ids = table.to_table(columns=["id"])["id"].to_pylist()
    assert 0 < len(ids) < before
    for id, blob in zip(ids, table.take_blobs("clip_file", [*range(len(ids))]), strict=True):
        assert blob.readall() == (data.root / f"clips/{id}.mp4").read_bytes()


@pytest.mark.slow
def test_it_may_be_killed_at_any_point(data: Made, runs: Runs, tmp_path: Path) -> None:
    """From the tombstone on nothing brings it back, and the next run does the rest."""
    shutil.rmtree(data.root / "shards/clips.lance")
    (data.root / "shards/.finecut/lance.json").unlink()
    words = words_of(data, GONE)
    whole = Path(shutil.copytree(data.root, tmp_path / "whole/output"))
    options = {"source": (GONE,), "quiet": True}
    points = runs.ask("forget", {**options, "dataset": str(whole)}, whole)
    assert len(telling(points)) > 30
    expected, wrong, before = content(whole), [], content(data.root)
    for kill_at in telling(points):
        root = Path(shutil.copytree(data.root, tmp_path / "killed/output"))
        told = {**options, "dataset": str(root)}
        assert runs.ask("forget", told, root, kill_at=kill_at) == []
        begun = content(root)
        changed = [n for n, d in before.items() if begun.get(n) != d]
        stones = Forgotten.at(Layout(str(root)))
        if changed and not stones.has(Source(data.path(GONE), data.path(GONE), GONE)):
            wrong.append(f"{kill_at}: {changed[0]} changed before the tombstone")
        if stones.stones and (root / ".finecut/forgetting.json").exists():
            told.pop("source")  # what was begun is finished by itself
        runs.ask("forget", told, root)
        after = content(root)
        found = [n for n in {*expected, *after} if expected.get(n) != after.get(n)]
        found += spoken_of(root, *words) + staged(root)
        if found:
            wrong.append(f"{kill_at} {points[kill_at - 1]}: {found[:5]}")
        shutil.rmtree(root)
    assert wrong == []
