"""What is known of source videos, from a list to everything that is made of their clips."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from curated import edit
from faults import Runs, differences
from performing import performed, shard, verify

from finecut.io.dataset import ClipDataset, table
from finecut.io.dataset.output import Entry, Output
from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.commands.refilter import Refilter, RefilterOptions
from finecut.pipeline.commands.report import ReportOptions
from finecut.pipeline.commands.shard import ShardOptions
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.pipeline.options import Options
from finecut.pipeline.running import Ran, run
from finecut.transforms.find.lists import InputError

#: What strangers call their films, and the fields that are ours.
EVIL = "</script><img src=x onerror=alert(1)> {year} | `x`\n\u2028 \"'"
HEAD = "path,license,year,title,span_uuid,tags\n"
FIRST = f'a.mp4,CC BY,1999,"{EVIL.replace(chr(34), chr(34) * 2)}",mine,\n'
OTHERS = "b.mp4,CC0,2010,Sea,,\nc.mp4,,,,,\n"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        paint(folder / name, width=64, height=48, rate=8, seconds=2)
    return folder


@pytest.fixture(scope="module")
def made(films: Path) -> Path:
    """An output of the list, once."""
    curated(films, films.parent / "made")
    return films.parent / "made"


@pytest.fixture
def output(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "output"))


def listed(films: Path, text: str = FIRST + OTHERS, name: str = "list.csv") -> Path:
    (films / name).write_text(HEAD + text)
    return films / name


def choices(films: Path, **more: Any) -> dict[str, Any]:
    return {
        "input": (str(films / "list.csv"),),
        "clip_length": 1.0,
        "min_clip_length": 1.0,
        "no_generate_embeddings": True,
        "no_isolation": True,
        "workers": 1,
        "quiet": True,
    } | more


def curated(films: Path, output: Path, text: str = FIRST + OTHERS, **more: Any) -> Ran:
    listed(films, text)
    return run(Options(output=str(output), **choices(films, **more)))


def entries(output: Path) -> list[Entry]:
    found = Output.at(str(output))
    return [clip for chunk in found.chunks() for clip in found.entries(chunk)]


def kept(output: Path) -> dict[str, bool]:
    """Whether the clips of each film are kept."""
    return {name_of(clip): clip.kept for clip in entries(output)}


def name_of(clip: Entry) -> str:
    return Path(clip.document["source_video"]).name


def tree(output: Path, *without: str) -> dict[str, bytes]:
    """What lies there, but for what runs say of themselves."""
    files = (path for path in output.rglob("*") if path.is_file())
    told = {path.relative_to(output).as_posix(): path for path in files}
    skipped = ("runs/", "report/", ".staging/", *without)
    return {name: path.read_bytes() for name, path in told.items() if not name.startswith(skipped)}


KNOWN = {
    "license": "CC BY",
    "year": 1999,
    "title": EVIL.replace("\u2028", "\n"),
    "span_uuid": "mine",
}


def test_documents_say_what_the_list_says_and_no_column_is_a_key_of_theirs(output: Path) -> None:
    for clip in entries(output):
        assert clip.document["span_uuid"] == clip.id
        if name_of(clip) == "a.mp4":
            assert clip.source == KNOWN
            assert [*clip.document][1:3] == ["source_video", "source"]
        else:
            sea = {"license": "CC0", "year": 2010, "title": "Sea"}
            assert clip.source == (sea if name_of(clip) == "b.mp4" else {})
            assert ("source" in clip.document) == (name_of(clip) == "b.mp4")
    video = json.loads((output / "processed_videos" / "a.mp4.json").read_text())
    assert video["source"] == KNOWN
    options = VerifyOptions(str(output), quick=True, quiet=True)
    assert verify(options).findings == ()
    clip = entries(output)[0]
    edit(output, clip.id, source={"license": "other"})
    [finding, other] = verify(options).findings
    assert (finding.kind, clip.id in finding.path) == ("document-differs", True)
    assert other.kind == "catalogue-differs"


def test_rows_and_clips_for_training_have_it(output: Path) -> None:
    read = table(str(output))
    assert {name for name in read.column_names if name.startswith("source.")} == {
        "source.license",
        "source.year",
        "source.title",
        "source.span_uuid",
    }
    rows = {Path(row["source_video"]).name: row for row in read.to_pylist()}
    assert [rows[f"{name}.mp4"]["source.year"] for name in "abc"] == [1999, 2010, None]
    chosen = ClipDataset(
        str(output),
        decode=False,
        metadata=True,
        keep=lambda entry: entry.source.get("license") == "CC0",
    )
    assert {clip["metadata"]["title"] for clip in chosen} == {"Sea"}


def test_other_metadata_is_told_without_cutting(films: Path, output: Path) -> None:
    before = tree(output)
    times = {path: path.stat().st_mtime_ns for path in (output / "clips").iterdir()}
    ran = curated(films, output, FIRST.replace("CC BY", "CC BY-NC") + OTHERS)
    assert (ran.summary.videos_skipped, ran.summary.videos_retold) == (3, 1)
    changed = differences(tree(output), before)
    assert len(changed) == 4  # two clips, their film, and their rows
    told = [name for name in changed if not name.startswith("catalogue/")]
    assert len(told) == 3
    assert all(b'"CC BY-NC"' in tree(output)[name] for name in told)
    assert times == {path: path.stat().st_mtime_ns for path in (output / "clips").iterdir()}


@pytest.mark.slow
def test_what_is_told_is_what_a_run_with_the_new_list_writes(films: Path, output: Path) -> None:
    curated(films, output, FIRST.replace("CC BY", "CC BY-NC") + OTHERS)
    # A folder says nothing of its films, and takes nothing back.
    for given in (choices(films), choices(films, input=(str(films),))):
        ran = run(Options(output=str(output), **given))
        assert (ran.summary.videos_skipped, ran.summary.videos_retold) == (3, 0)
    fresh = output.parent / "fresh"
    curated(films, fresh, FIRST.replace("CC BY", "CC BY-NC") + OTHERS)
    moved = (str(films.parent / "made").encode(), str(fresh).encode())
    told = {name: data.replace(*moved) for name, data in tree(output).items()}
    assert differences(told, tree(fresh)) == []


@pytest.mark.slow
def test_a_rule_that_decides_otherwise_now_has_the_video_processed_again(
    films: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    rule: dict[str, Any] = {"keep": ("source.year>=2000",)}
    ran = curated(films, output, **rule)
    assert kept(output) == {"a.mp4": False, "b.mp4": True, "c.mp4": False}
    assert ran.summary.rejected_by == {"source.year>=2000": 4}
    ran = curated(films, output, FIRST.replace("1999", "1998") + OTHERS, **rule)
    assert (ran.summary.videos_skipped, ran.summary.videos_retold) == (3, 1)
    ran = curated(films, output, FIRST.replace("1999", "2001") + OTHERS, **rule)
    assert (ran.summary.videos_skipped, ran.summary.videos_done) == (2, 1)
    assert kept(output) == {"a.mp4": True, "b.mp4": True, "c.mp4": False}


def test_a_rule_that_no_video_can_fulfil_is_refused(films: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean source\.license\?"):
        curated(films, tmp_path / "output", keep=("source.licence=CC0",))
    assert not (tmp_path / "output" / "clips").exists()


def test_refiltering_by_what_is_known(output: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = Refilter(RefilterOptions(str(output), keep=("source.license=CC BY",))).run()
    assert done.yields.lacking == {"source.license": 2}
    assert kept(output) == {"a.mp4": True, "b.mp4": False, "c.mp4": False}
    said = {clip.document.get("filtered_by") for clip in entries(output)}
    assert said == {None, "source.license=CC BY"}
    for rule, words in (
        ("source.license=CC0", "2 of 6 clips have no source.license, so a rule rejects them"),
        ("source.licence=CC0", "no clip has source.licence: did you mean source.license?"),
    ):
        performed(RefilterOptions(str(output), keep=(rule,), dry_run=True))
        assert words in "".join(capfd.readouterr())


def test_shards_have_it_in_the_index_and_on_the_card(output: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    options = ShardOptions(dataset=str(output), output=str(folder), shard_clips=3, quiet=True)
    shard(options)
    rows = {row["id"]: row for row in pq.read_table(folder / "index.parquet").to_pylist()}
    for clip in entries(output):
        row = rows[clip.id]
        assert (row["source.year"], row["source.license"]) == (
            clip.source.get("year"),
            clip.source.get("license"),
        )
    card = (folder / "README.md").read_text()
    assert "- `license`: `CC BY` 2, `CC0` 2, none 2\n" in card
    assert "- `year`: `1999` 2, `2010` 2, none 2\n" in card
    assert "`x`" not in card
    assert [clip["metadata"] for clip in ClipDataset(str(folder), decode=False, metadata=True)] == [
        entry.source for id in rows for entry in entries(output) if entry.id == id
    ]
    checked = VerifyOptions(str(output), quick=True, shards=(str(folder),), quiet=True)
    assert verify(checked).findings == ()
    ran = shard(ShardOptions(**{**vars(options), "keep": ("source.year<2000",)}))
    assert ran.books.left_out == {"no source.year": 2, "source.year<2000": 2}


@pytest.mark.slow
def test_mixed_and_nested_values_have_one_type_and_come_back(films: Path, tmp_path: Path) -> None:
    output, folder = tmp_path / "output", tmp_path / "shards"
    rows = [
        {"path": "a.mp4", "year": 1999, "tags": ["x", 1], "rating": 4},
        {"path": "b.mp4", "year": "unknown", "tags": {"y": None, "z": 2}, "rating": 4.5},
    ]
    (films / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    given = choices(films, input=(str(films / "list.jsonl"),), no_report=True)
    run(Options(output=str(output), **given))
    shard(ShardOptions(dataset=str(output), output=str(folder), shard_clips=1, quiet=True))
    for root in (output, folder):
        read = table(str(root))
        assert {row["source.year"] for row in read.to_pylist()} == {"1999", "unknown"}
        assert {row["source.rating"] for row in read.to_pylist()} == {4.0, 4.5}
        assert {row["source.tags"] for row in read.to_pylist()} == {'["x", 1]', '{"z": 2}'}
    tags = [
        clip["metadata"]["tags"] for clip in ClipDataset(str(folder), decode=False, metadata=True)
    ]
    assert ["x", 1] in tags
    assert {"z": 2} in tags
    features = (folder / "README.md").read_text()
    assert re.search(r'name: "rating"\n +dtype: float64', features)
    assert 'name: "year"' not in features


def test_the_report_has_it_as_data_only(output: Path) -> None:
    assert performed(ReportOptions(str(output), quiet=True)) == 0
    page = (output / "report" / "index.html").read_text()
    data = "".join(path.read_text() for path in (output / "report" / "data").iterdir())
    assert "onerror=alert" in page
    assert "<img" not in page + data
    facts = json.loads(page.split('id="facts">')[1].split("</script>")[0])
    fields = {field["name"]: field["values"] for field in facts["fields"]}
    assert fields["license"] == [["CC BY", 2], ["CC0", 2]]
    assert fields["year"] == [["1999", 2], ["2010", 2]]


# ── killed anywhere ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_telling_may_be_killed_anywhere(films: Path, made: Path, tmp_path: Path) -> None:
    """Whatever was told when it was killed, the next run tells the rest; nothing is cut."""
    listed(films, FIRST.replace("CC BY", "new") + OTHERS)
    given = choices(films, no_report=True)
    with Runs(tmp_path / "log") as runs:
        whole = Path(shutil.copytree(made, tmp_path / "whole"))
        points = runs.run(given, whole)
        expected = tree(whole)
        for point in range(len(points)):
            output = Path(shutil.copytree(made, tmp_path / f"at {point}"))
            runs.run(given, output, kill_at=point)
            runs.run(given, output)
            assert differences(tree(output), expected) == [], points[point]
            shutil.rmtree(output)
