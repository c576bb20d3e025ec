"""What is sent to an engine does not grow with the work: lists lie where workers read them."""

from __future__ import annotations

import json
import pickle
import subprocess
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faults import differences, staged, tree
from on_prism import FINECUT, needs_prism, pool

from finecut.io.layout import GROUPS, clip_id
from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Source
from finecut.io.storage.publishing import Shelf
from finecut.io.tables.drops import drops_table, keepers_of, keepers_table, read_drops
from finecut.io.tables.ids import IdMap
from finecut.pipeline.commands.curate.launch import job
from finecut.pipeline.lists import drops_within_reach, within_reach
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import plan
from finecut.transforms.filter.clips import Dropping, ids_of
from finecut.transforms.find.inputs import find_sources
from finecut.transforms.split.spans import CutList, CutsError, GivenCuts, Splitting, read_cuts

OWN = [
    "--project=project",
    "--region=us-central1",
    "--temp_location=gs://bucket/temp",
    "--staging_location=gs://bucket/staging",
    "--sdk_container_image=example/image:1",
    "--no_auth",
    "--dry_run=True",
]


def lists(folder: Path, number: int) -> dict[str, Any]:
    """Options with lists of so many cuts and clips."""
    folder.mkdir()
    cuts = {f"films/{n:05}.mp4": [1.5, 2.5 + n] for n in range(number)}
    (folder / "cuts.json").write_text(json.dumps(cuts))
    ids = [str(uuid.UUID(int=n)) for n in range(number)]
    (folder / "drops.txt").write_text("\n".join(ids))
    (folder / "films").mkdir()
    for n in range(number):
        (folder / f"films/{n:05}.mp4").touch()
    return {"cuts": str(folder / "cuts.json"), "drop": (str(folder / "drops.txt"),)}


def options(folder: Path, number: int, **others: Any) -> Options:
    given = {"runner": "DataflowRunner", **lists(folder, number), **others}
    return Options(input=(str(folder / "films"),), output=str(folder / "out"), **given)


def size(options: Options) -> int:
    """Bytes of the graph that Dataflow would get."""
    pytest.importorskip("apache_beam.runners.dataflow.dataflow_runner")
    graph: Any = job(options, OWN).to_runner_api()
    return len(graph.SerializeToString())


def test_a_job_is_as_large_for_ten_videos_as_for_ten_thousand(tmp_path: Path) -> None:
    few, many = (size(options(tmp_path / f"{n:05}", n)) for n in (10, 10_000))
    assert abs(few - many) < 1000


def test_lists_of_this_machine_are_copied_to_where_other_machines_read_them(tmp_path: Path) -> None:
    given = options(tmp_path / "here", 3)
    here = plan(given)
    steps = within_reach(here, given)
    cutter, dropping, own = steps.splitting.cutter, steps.dropping, steps.writing.shelf
    assert isinstance(cutter, GivenCuts)
    assert isinstance(cutter.cuts, CutList)
    assert dropping is not None
    assert [cutter.cuts.path, *dropping.lists] == [
        f"{own.staging}/lists/{name}" for name in ("cuts.json", "drops.parquet")
    ]
    assert cutter.cuts == read_cuts(str(given.cuts))
    assert ids_of(dropping) == read_drops(given.drop)
    # The same is made of the films, wherever the lists lie.
    assert steps.writing.configuration == plan(replace(given, runner="local")).writing.configuration
    source = Source("/x/films/00002.mp4", "films/00002.mp4", "films/00002.mp4")
    again = pickle.loads(pickle.dumps(steps.splitting.cutter))
    assert again.cuts[again.listed(source)] == (1.5, 4.5)
    own.sweep()
    assert not (tmp_path / "here/out/.staging").exists()


def table_of(folder: Path, number: int) -> Path:
    """A list of so many videos beside it, and what is said of them."""
    folder.mkdir()
    rows = [f"films/{n:05}.mp4,{n}" for n in range(number)]
    (folder / "list.csv").write_text("\n".join(["path,day", *rows]))
    return folder / "list.csv"


def with_table(folder: Path, number: int) -> Options:
    named = (str(table_of(folder, number)),)
    return Options(input=named, output=str(folder / "out"), runner="DataflowRunner")


def test_a_job_is_as_large_for_a_list_of_ten_videos_as_of_ten_thousand(tmp_path: Path) -> None:
    few, many = (size(with_table(tmp_path / f"{n:05}", n)) for n in (10, 10_000))
    assert abs(few - many) < 1000


def test_a_list_of_videos_is_read_where_this_machine_is_not(tmp_path: Path) -> None:
    """It names them from where it lay."""
    given = with_table(tmp_path / "here", 3)
    steps = plan(given)
    found = find_sources(steps.finding)
    assert [dict(source.metadata) for source in found] == [{"day": n} for n in range(3)]
    assert found[0].uri == str(tmp_path / "here/films/00000.mp4")
    there = within_reach(steps, given).finding
    Path(given.input[0]).unlink()
    assert find_sources(pickle.loads(pickle.dumps(there))) == found
    # Where there is no list, nothing is copied; nor where all workers are here.
    again = replace(given, input=(str(tmp_path / "here"),))
    assert within_reach(plan(again), again).finding.copies == ()
    steps.writing.shelf.sweep()


def test_so_is_each_list_that_a_glob_matches(tmp_path: Path) -> None:
    """And the graph names the lists, because a worker could not look for them."""
    given = with_table(tmp_path / "one", 2)
    other = table_of(tmp_path / "two", 1)
    both = replace(given, input=(f"{tmp_path}/*/list.csv",))
    found = find_sources(plan(both).finding)
    there = within_reach(plan(both), both).finding
    for path in (Path(given.input[0]), other):
        path.unlink()
    assert len(found) == 3
    assert find_sources(there) == found


def test_keepers_go_with_the_list(tmp_path: Path) -> None:
    """(Refilter says which duplicates go for a clip that goes as well.)"""
    ids = [str(uuid.UUID(int=n)) for n in range(6)]
    keepers = IdMap(zip(ids[:3], ids[3:], strict=True))
    (tmp_path / "dedup/duplicates").mkdir(parents=True)
    (tmp_path / "dedup/duplicates/a.parquet").write_bytes(drops_table(keepers))
    (tmp_path / "dedup" / GROUPS).write_bytes(keepers_table(keepers))
    own = Shelf(str(tmp_path / "out"), str(tmp_path / "out/.staging/run"))
    here = Dropping.of([str(tmp_path / "dedup")])
    there = drops_within_reach(here, own)
    assert there.lists == (f"{own.staging}/lists/dedup",)
    assert ids_of(there) == ids_of(here) == {*ids[:3]}
    assert keepers_of(there.lists) == keepers_of(here.lists) == dict(keepers)
    far = Dropping(("gs://bucket/dedup",), "digest")
    assert drops_within_reach(far, own) is far


def test_where_everybody_reads_them_they_are_not_copied(tmp_path: Path) -> None:
    given = options(tmp_path / "here", 3, runner="local")
    steps = plan(given)
    assert within_reach(steps, given) is steps
    far = steps._replace(dropping=Dropping(("gs://bucket/dedup",), "digest"), splitting=Splitting())
    assert within_reach(far, replace(given, runner="DataflowRunner")) == far


def test_a_list_that_changes_while_a_job_is_at_work_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cuts.csv"
    path.write_text("a.mp4,1\n")
    cuts = CutList.at(str(path))
    path.write_text("a.mp4,2\n")
    with pytest.raises(CutsError, match=r"has other content than when the run began. .* again"):
        GivenCuts(cuts).prepare()
    path.write_text("a.mp4,1\n")
    GivenCuts(cuts).prepare()
    assert cuts == {"a.mp4": (1.0,)}
    assert len(pickle.dumps(cuts)) < 1000


def test_a_stream_needs_lists_that_stay(tmp_path: Path) -> None:
    given = options(tmp_path / "here", 1, watch=60.0)
    with pytest.raises(OptionError, match=r"--cuts \S+cuts.json lies where .* to a bucket"):
        job(given, [*OWN, "--streaming"])


@needs_prism
@pytest.mark.slow
def test_workers_elsewhere_read_the_lists_and_list_what_failed(tmp_path: Path) -> None:
    films, cuts, drops = tmp_path / "films", tmp_path / "cuts.csv", tmp_path / "drops.txt"
    films.mkdir()
    paint(films / "a.mp4", width=96, height=54, rate=12, seconds=6)
    (films / "broken.mp4").write_bytes(b"no video")
    cuts.write_text("a.mp4,2\na.mp4,4\n")
    drops.write_text(f"{clip_id(str(films / 'a.mp4'), 24, 48)}\n")
    given = ["--input", str(films), "--cuts", str(cuts), "--drop", str(drops)]
    given += ["--min-clip-length", "1", "--no-generate-embeddings", "--output"]
    subprocess.run([FINECUT, "curate", *given, str(tmp_path / "local")], check=True)
    with pool(tmp_path / "home") as where:
        there = [*given, str(tmp_path / "there"), "--runner", "prism", *where]
        said = subprocess.run([FINECUT, "curate", *there], check=True, capture_output=True)
    assert len([*(tmp_path / "local/filtered_clips").iterdir()]) == 1
    assert len([*(tmp_path / "local/clips").iterdir()]) == 2
    assert differences(tree(tmp_path / "local"), tree(tmp_path / "there")) == []
    assert staged(tmp_path / "there") == []
    [path] = (tmp_path / "there/failures").iterdir()
    assert f"listed in {path}" in said.stdout.decode()
