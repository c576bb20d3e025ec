"""Beginning again: what is finished is skipped, what changed replaces the old, nothing is left."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from finecut.io.layout import Layout
from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Failure, Skipped, Source, from_json, to_json
from finecut.io.storage.publishing import ALIVE, Shelf
from finecut.io.storage.remains import LONG_AGO
from finecut.io.storage.staging import alive, sweep_dead
from finecut.io.summary import Summary
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import configuration, plan
from finecut.pipeline.running import run
from finecut.transforms.find.inputs import find_sources
from finecut.transforms.resume.begin import begin, set_aside
from finecut.transforms.resume.note import Again
from finecut.transforms.write.writing import Writing

Tree = dict[str, bytes]


def tree(output: Path) -> Tree:
    """Every file; the output's own name is left out of them.

    Not what runs say of themselves, and not whose vectors would lie here if there were any.
    """
    return {
        path.relative_to(output).as_posix(): path.read_bytes().replace(bytes(output), b"OUT")
        for path in output.rglob("*")
        if path.is_file()
        and path.relative_to(output).parts[0] not in ("runs", "report")
        and not path.match(".finecut/*_embd.json")
    }


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted")
    paint(folder / "a.mp4", width=64, height=36, rate=10, seconds=4)
    paint(folder / "b.mp4", width=64, height=36, rate=10, seconds=2)
    return folder


@pytest.fixture
def films(painted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(painted, tmp_path / "films"))


@pytest.fixture(scope="module")
def finished(painted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the films and what a run made of them: ``output``."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(painted, folder / "films")
    run(options(folder / "films", folder / "output"))
    shutil.copytree(folder, folder.with_name("finished for all"))
    return folder


@pytest.fixture
def done(finished: Path) -> Path:
    """The same, as it was: under this name, which the documents say, and with these times."""
    shutil.rmtree(finished)
    return Path(shutil.copytree(finished.with_name("finished for all"), finished))


def options(films: Path, output: Path, **changes: Any) -> Options:
    usual: dict[str, Any] = {
        "clip_length": 1.0,
        "min_clip_length": 1.0,
        "chunk_seconds": 2,
        "workers": 1,
    }
    usual |= {"no_generate_embeddings": True}
    return Options(input=(str(films),), output=str(output), **usual | changes)


def books(summary: Summary) -> tuple[int, int, int, int, int]:
    """Found = done + empty + failed + skipped."""
    assert summary.imbalances() == []
    s = summary
    return s.videos_found, s.videos_done, s.videos_empty, s.videos_failed, s.videos_skipped


# ── skipping ─────────────────────────────────────────────────────────────────────────────────────


def test_a_second_run_skips_and_writes_nothing(done: Path) -> None:
    films, output = done / "films", done / "output"
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    again = run(options(films, output, workers=2, write_threads=1, log_stats=True)).summary
    assert books(again) == (2, 0, 0, 0, 2)
    assert again.seconds_skipped == pytest.approx(6)
    after = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
    assert not (output / ".staging").exists()


def test_only_what_is_new_or_changed_is_done(done: Path, tmp_path: Path) -> None:
    films, output = done / "films", done / "output"
    paint(films / "a.mp4", width=64, height=36, rate=10, seconds=2)
    paint(films / "c.mp4", width=64, height=36, rate=10, seconds=1)
    assert books(run(options(films, output)).summary) == (3, 2, 0, 0, 1)
    run(options(films, tmp_path / "fresh"))
    assert tree(output) == tree(tmp_path / "fresh")


def test_a_file_that_was_only_touched_is_done_again(done: Path) -> None:
    films, output = done / "films", done / "output"
    os.utime(films / "b.mp4", ns=(1, 1))
    assert books(run(options(films, output)).summary) == (2, 1, 0, 0, 1)


def test_overwrite_does_all_again(done: Path) -> None:
    films, output = done / "films", done / "output"
    before = tree(output)
    next((output / "clips").iterdir()).write_bytes(b"torn")
    assert books(run(options(films, output, overwrite=True)).summary) == (2, 2, 0, 0, 0)
    assert tree(output) == before


def next_name(changes: dict[str, Any]) -> str:
    return next(iter(changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"clip_length": 2.0},
        pytest.param({"generate_previews": False}, marks=pytest.mark.slow),
        pytest.param({"window_size": 10, "window_remainder": 5}, marks=pytest.mark.slow),
        pytest.param({"no_generate_embeddings": True}, marks=pytest.mark.slow),
        pytest.param({"keep": ("motion>=0.9",)}, marks=pytest.mark.slow),
        pytest.param({"shard_prefix": True}, marks=pytest.mark.slow),
        pytest.param({"chunk_seconds": 100}, marks=pytest.mark.slow),
        pytest.param({"limit_clips": 1}, marks=pytest.mark.slow),
        pytest.param({"min_clip_length": 9.0, "clip_length": 9.0}, marks=pytest.mark.slow),
    ],
    ids=next_name,
)
def test_other_options_replace_everything(
    changes: dict[str, Any], films: Path, tmp_path: Path
) -> None:
    """There and back: the tree is what either command alone writes."""
    (films / "b.mp4").unlink()
    first: dict[str, Any] = {"generate_previews": True, "no_generate_embeddings": False}
    second = first | changes
    run(options(films, tmp_path / "first", **first))
    run(options(films, tmp_path / "second", **second))
    output = tmp_path / "out"
    for changes_now, alone in ((first, "first"), (second, "second"), (first, "first")):
        summary = run(options(films, output, **changes_now)).summary
        assert summary.videos_skipped == 0
        assert tree(output) == tree(tmp_path / alone)


def test_a_dry_run_takes_nothing_away(done: Path) -> None:
    films, output = done / "films", done / "output"
    before = tree(output)
    run(options(films, output, dry_run=True, clip_length=2.0))
    documents = ("processed_clip_chunks/", "processed_videos/", ".finecut/")
    kept = {name: data for name, data in tree(output).items() if not name.startswith(documents)}
    assert kept == {name: before[name] for name in before if not name.startswith(documents)}
    run(options(films, output))
    assert tree(output) == before


def test_two_folders_in_one_output_are_not_mixed_up(done: Path, tmp_path: Path) -> None:
    films, output = done / "films", done / "output"
    before = tree(output)
    shutil.copytree(films, tmp_path / "others")
    summary = run(options(tmp_path / "others", output)).summary
    assert books(summary) == (2, 0, 0, 2, 0)
    assert summary.failed_by == {"begin: OtherVideo": 2}
    assert "about another video" in summary.failures[0].message
    without_list = {name: data for name, data in tree(output).items() if "failures" not in name}
    assert without_list == before
    moved = run(options(tmp_path / "others", output, overwrite=True)).summary
    assert books(moved) == (2, 2, 0, 0, 0)
    run(options(tmp_path / "others", tmp_path / "alone"))
    assert tree(output) == tree(tmp_path / "alone")


def test_which_options_matter() -> None:
    """Those that only say where, when and of which; all others change the configuration."""
    usual = Options(input=("a",), output="b")
    same = replace(usual, input=("c",), output="d", workers=7, scratch_mb=1, runner="FlinkRunner")
    assert configuration(same) == configuration(usual)
    for changed in ({"crf": 30}, {"keep": ("motion>1",)}, {"generate_captions": True}):
        assert configuration(replace(usual, **changed)) != configuration(usual)
    assert configuration(usual, embed="x") != configuration(usual, embed="y")
    unimportant = {f.name for f in fields(Options) if not f.metadata["matters"]}
    assert unimportant >= {"input", "output", "overwrite", "max_attempts", "verbose"}
    assert not unimportant & {"encoder", "clip_length", "window_size", "dry_run", "shard_prefix"}


def test_the_content_of_a_list_of_cuts_matters(tmp_path: Path) -> None:
    cuts = tmp_path / "cuts.csv"
    found = set()
    for text in ("video,start,end\na.mp4,0,1\n", "video,start,end\na.mp4,0,2\n"):
        cuts.write_text(text)
        found.add(configuration(Options(input=("a",), output="b", cuts=str(cuts))))
    assert len(found) == 2


# ── failures, and trying again ───────────────────────────────────────────────────────────────────


def failures(output: Path) -> list[Failure]:
    [path] = (output / "failures").iterdir()
    return [from_json(Failure, line) for line in path.read_text().split("\n")[:-1]]


def test_a_list_of_failures_is_an_input(films: Path, tmp_path: Path) -> None:
    """Names stay, although a list of one file alone would call it otherwise; so does the list."""
    output = tmp_path / "out"
    (films / "sub").mkdir()
    whole = (films / "b.mp4").read_bytes()
    for name in ("sub/x.mp4", "sub/y.mp4"):
        (films / name).write_bytes(b"no film")
    assert books(run(options(films, output)).summary) == (4, 2, 0, 2, 0)
    assert [failure.attempts for failure in failures(output)] == [1, 1]
    (films / "sub/x.mp4").write_bytes(whole)
    [listed] = (output / "failures").iterdir()
    retry = replace(options(films, output), input=(str(listed),))
    assert books(run(retry).summary) == (2, 1, 0, 1, 0)
    [left] = failures(output)
    assert (left.source.relative, left.attempts) == ("sub/y.mp4", 2)
    (films / "sub/y.mp4").write_bytes(whole)
    assert books(run(retry).summary) == (1, 1, 0, 0, 0)
    assert not list((output / "failures").iterdir())
    run(options(films, tmp_path / "fresh"))
    assert tree(output) == tree(tmp_path / "fresh")


@pytest.mark.slow
def test_a_video_that_fails_too_often_is_set_aside(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (films / "x.mp4").write_bytes(b"no film")
    for attempt in (1, 2):
        summary = run(options(films, output, max_attempts=2)).summary
        assert (summary.videos_failed, summary.videos_set_aside) == (1, 0)
        assert [failure.attempts for failure in failures(output)] == [attempt]
    for _ in range(2):
        summary = run(options(films, output, max_attempts=2)).summary
        assert books(summary) == (3, 0, 0, 1, 2)
        assert (summary.videos_failed, summary.videos_set_aside) == (1, 1)
        [failure] = failures(output)
        assert (failure.attempts, failure.set_aside) == (2, True)
        assert failure.message.count("could not be opened as a video container") == 1
    assert run(options(films, output, max_attempts=0)).summary.failed_by == {"probe: FilmError": 1}
    assert run(options(films, output, overwrite=True)).summary.videos_set_aside == 0
    (films / "x.mp4").write_bytes(b"no film, but another")
    summary = run(options(films, output, max_attempts=2)).summary
    assert (summary.videos_set_aside, failures(output)[0].attempts) == (0, 1)


def test_what_was_not_tried_stays_on_the_list(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (films / "x.mp4").write_bytes(b"no film")
    run(options(films, output))
    run(options(films, output, video_limit=1, overwrite=True))
    assert [failure.source.relative for failure in failures(output)] == ["x.mp4"]


def test_a_film_that_was_removed_is_set_aside_like_any_other() -> None:
    gone = Source("/nowhere/a.mp4", "/nowhere/a.mp4", "a.mp4", "12 34", 3, "it broke")
    writing = Writing(Layout("/out"), Shelf("/out", "/out/.staging/x"))
    assert list(begin(gone, writing, Again(most_attempts=3))) == [
        replace(gone, version="", attempts=0, trouble="")
    ]
    failure = set_aside(gone)
    assert failure.attempts == 3
    assert "it broke" in failure.message


def test_a_source_that_changes_during_the_work_is_no_finished_video(
    films: Path, tmp_path: Path
) -> None:
    from finecut.transforms.find.probe import probe_source
    from finecut.transforms.split.spans import chunks_of
    from finecut.transforms.write.close import SourceChanged, close_planned

    steps = plan(options(films, tmp_path / "out", clip_length=9.0, min_clip_length=9.0))
    [source] = begin(find_sources(steps.finding)[0], steps.writing, steps.again)
    assert isinstance(source, Source)
    [planned] = chunks_of(probe_source(source), steps.splitting)
    os.utime(films / "a.mp4", ns=(1, 1))
    with pytest.raises(SourceChanged, match="changed while"):
        list(close_planned(planned, steps.writing))
    assert list(begin(source, steps.writing, steps.again)) != [Skipped(source, 0, 4.0)]


# ── documents that somebody edited ───────────────────────────────────────────────────────────────


def test_what_documents_say_removes_nothing_but_clips(films: Path, tmp_path: Path) -> None:
    """Ids are used in paths to remove; only ids are."""
    output = tmp_path / "out"
    run(options(films, output, generate_previews=True))
    keep = tmp_path / "keep"
    keep.mkdir()
    mine = [tmp_path / "mine.mp4", keep / "a.webp", output / "my notes.txt", output / "clips/x.mp4"]
    for path in mine:
        path.write_bytes(b"mine")
    document = output / "processed_clip_chunks/a.mp4_0.json"
    said = json.loads(document.read_bytes())
    hostile = ["../../mine", "../../keep", "../..", "..", ".", "", "../clips", "x", 7, None, [1]]
    said["clips"] += hostile
    said["filtered_clips"] = "abc"
    document.write_text(json.dumps(said))
    notes = output / ".finecut/open"
    notes.mkdir(parents=True, exist_ok=True)
    note = {"old": hostile, "new": hostile, "chunks": 10**12, "names": [3]}
    (notes / "b.mp4.json").write_text(json.dumps(note))
    (output / "processed_videos/b.mp4.json").unlink()
    summary = run(options(films, output, limit_clips=1, overwrite=True)).summary
    assert books(summary) == (2, 2, 0, 0, 0)
    assert [path.read_bytes() for path in mine] == [b"mine"] * len(mine)


@pytest.mark.parametrize(
    "said",
    [
        "[" * 100_000,
        "[1]",
        "{}",
        '{"video": 7}',
        '{"num_clip_chunks": 1000000000}',
        '{"num_clip_chunks": "x", "num_total_clips": []}',
        "\xff\x00",
        '{"num_clip_chunks": 1e400}',
    ],
)
def test_documents_that_make_no_sense_are_written_anew(said: str, done: Path) -> None:
    films, output = done / "films", done / "output"
    before = tree(output)
    for path in ("processed_videos/b.mp4.json", ".finecut/open/b.mp4.json"):
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        (output / path).write_bytes(said.encode("latin-1"))
    assert books(run(options(films, output)).summary) == (2, 1, 0, 0, 1)
    assert tree(output) == before


def test_lines_that_are_no_failures_cost_nothing_else(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for name in ("y.mp4", "z\u2028z\x85.mp4"):
        (films / name).write_bytes(b"no film")
    run(options(films, output))
    [path] = (output / "failures").iterdir()
    good = path.read_bytes()
    bad = ['{"step"', "[]", "null", '{"source":"x"}', "\xff", good.decode().split("\n")[0][:-9]]
    bad += [line.replace('"attempts": 1', '"attempts": "3"') for line in good.decode().split("\n")]
    bad += [good.decode().split("\n")[0].replace('"name": "', '"name": "\\ud800')]
    path.write_bytes(good + "\n".join(bad).encode("latin-1", "replace"))
    summary = run(options(films, output, video_limit=1)).summary
    assert summary.videos_skipped == 1
    assert path.read_bytes() == good
    assert run(options(films, output)).summary.videos_failed == 2
    assert [failure.attempts for failure in failures(output)] == [2, 2]


def test_inputs_among_the_failures_are_only_inputs(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / "failures").mkdir(parents=True)
    film = output / "failures/v.mp4"
    film.write_bytes((films / "b.mp4").read_bytes())
    mine = output / "failures/my.txt"
    mine.write_text(str(films / "a.mp4"))
    for given in (film, mine):
        wanted = replace(options(films, output), input=(str(given),))
        assert run(wanted).summary.videos_done == 1
        assert given.exists()


def test_names_that_no_file_has_cost_themselves(films: Path, tmp_path: Path) -> None:
    listed = tmp_path / "films.txt"
    listed.write_text("films/a.mp4\n" + "x" * 300 + ".mp4\nfilms/nul\x00.mp4\n")
    wanted = replace(options(films, tmp_path / "out"), input=(str(listed),))
    assert books(run(wanted).summary) == (3, 1, 0, 2, 0)


def test_a_dry_run_leaves_nothing_unknown(films: Path, tmp_path: Path) -> None:
    """Not even where one of its chunks could not be closed."""
    output = tmp_path / "out"
    blocked = output / "processed_clip_chunks/a.mp4_0.json"
    (blocked / "in the way").mkdir(parents=True)
    run(options(films, output, dry_run=True))
    shutil.rmtree(blocked)
    run(options(films, output, chunk_seconds=100))
    run(options(films, tmp_path / "alone", chunk_seconds=100))
    failed = [name for name in tree(output) if name.startswith("failures/")]
    assert set(tree(output)) - set(failed) == set(tree(tmp_path / "alone"))


def test_a_video_that_was_begun_under_another_name_is_not_mixed_up(
    done: Path, tmp_path: Path
) -> None:
    films, output = done / "films", done / "output"
    (output / "processed_videos/b.mp4.json").unlink()
    shutil.copytree(films, tmp_path / "others")
    (tmp_path / "others/a.mp4").unlink()
    before = tree(output)
    summary = run(options(tmp_path / "others", output)).summary
    assert summary.failed_by == {"split: OtherVideo": 1}
    assert {name: data for name, data in tree(output).items() if "failures" not in name} == before


# ── runs side by side, and what dead ones left ───────────────────────────────────────────────────


def staging(tmp_path: Path, run: str) -> Shelf:
    return Shelf(str(tmp_path), f"{tmp_path}/.staging/{run}")


def left_by_the_dead(own: Shelf) -> None:
    """What a run leaves that is killed: a mark that nobody holds, and files."""
    with alive(own, "c", elsewhere=True):
        own.write(f"{own.staging}/x/y.mp4", b"half")
    mark = Path(own.staging, ALIVE)
    mark.write_text(mark.read_text().replace("true", "false"))


def test_what_a_dead_run_left_is_swept_and_a_living_one_is_not_touched(tmp_path: Path) -> None:
    dead, living, own = (staging(tmp_path, name) for name in ("dead", "living", "own"))
    left_by_the_dead(dead)
    with alive(living, "c"):
        living.write(f"{living.staging}/x/y.mp4", b"half")
        [other] = sweep_dead(own)
        assert (other.configuration, other.process) == ("c", os.getpid())
        assert not Path(dead.staging).exists()
        assert Path(living.staging, "x/y.mp4").exists()
    assert sweep_dead(own) == []
    assert not Path(living.staging).exists()


def test_an_empty_folder_is_of_a_run_that_was_killed_as_it_began(tmp_path: Path) -> None:
    empty, own = staging(tmp_path, "empty"), staging(tmp_path, "own")
    Path(empty.staging).mkdir(parents=True)
    with alive(own, "c"):
        assert sweep_dead(own) == []
        assert not Path(empty.staging).exists()
    assert not Path(own.staging).parent.exists()


def test_a_folder_that_nobody_marked_is_swept_when_it_is_old(tmp_path: Path) -> None:
    """It may be of a pipeline of one's own, or of workers elsewhere."""
    unmarked, own = staging(tmp_path, "unmarked"), staging(tmp_path, "own")
    unmarked.write(f"{unmarked.staging}/part", b"half")
    now = Path(unmarked.staging).stat().st_mtime
    assert sweep_dead(own, now + LONG_AGO / 2) == []
    assert Path(unmarked.staging).exists()
    assert sweep_dead(own, now + LONG_AGO * 2) == []
    assert not Path(unmarked.staging).exists()


def test_the_work_of_a_cluster_outlives_who_began_it(tmp_path: Path) -> None:
    away, own = staging(tmp_path, "away"), staging(tmp_path, "own")
    with alive(away, "c", elsewhere=True):
        pass
    now = Path(away.staging).stat().st_mtime
    assert [running.elsewhere for running in sweep_dead(own, now + LONG_AGO / 2)] == [True]
    assert sweep_dead(own, now + LONG_AGO * 2) == []
    assert not Path(away.staging).exists()


def test_a_run_with_other_options_beside_is_refused(films: Path, tmp_path: Path) -> None:
    wanted = options(films, tmp_path / "out")
    other = Shelf(wanted.output, f"{wanted.output}/.staging/other")
    refused = pytest.raises(OptionError, match="another run with other options")
    with alive(other, "other options"), refused:
        run(wanted)
    with alive(other, plan(wanted).writing.configuration):
        assert books(run(wanted).summary) == (2, 2, 0, 0, 0)


# ── what a run says of itself ────────────────────────────────────────────────────────────────────


def test_the_summary_of_a_run_is_written_down(films: Path, tmp_path: Path) -> None:
    (films / "x.mp4").write_bytes(b"no film")
    ran = run(options(films, tmp_path / "out", keep=("motion>=0.9",)))
    assert ran.path is not None
    said = json.loads(Path(ran.path).read_bytes())
    assert Path(ran.path).parent.parent == tmp_path / "out" / "runs"
    assert said["videos"] == {
        "found": 3,
        "done": 2,
        "empty": 0,
        "failed": 1,
        "skipped": 0,
        "set_aside": 0,
        "failed_by": {"probe: FilmError": 1},
    }
    assert (said["clips"]["planned"], said["clips"]["rejected_by"]) == (6, {"motion>=0.9": 6})
    assert said["film_seconds"]["rejected_by"] == {"motion>=0.9": 6.0}
    assert said["film_seconds"]["failed"] == 0
    assert said["balanced"] is True
    assert said["options"]["keep"] == ["motion>=0.9"]
    assert said["steps"]["cut"]["items"] == 6
    assert said["versions"]["apache-beam"]
    assert said["failures"][0]["source"]["relative"] == "x.mp4"
    assert to_json(ran.summary.failures[0])
