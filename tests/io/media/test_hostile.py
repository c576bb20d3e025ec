"""Files made to hurt: each has a stated outcome, takes little, and opens nothing else.

All cases go through one process of their own, under ``strace`` where there is one, so that what is
proved of one is proved of all: which files were opened, how long it took, how much memory.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import av
import pytest
from cutting_room import QUICK, planned_at, video_of
from doc_tables import HOSTILE, with_cases
from hostile import BAD_FILMS, CASES, table, write_all
from hostile_making import Case, Studio, flipped
from hostile_outcomes import PATIENCE, PEAK_MB, files_below, in_a_process, outcome
from places import BESIDE

from finecut.io.media.cutting import Recipe, cut
from finecut.io.media.frames.small_pictures import watch
from finecut.io.media.limits import FilmError, Limits
from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import Painting, paint
from finecut.io.records import Source
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

LONG_AGO = 1_000_000_000
BAD = Path(os.environ.get("FINECUT_SHARED", BESIDE)) / "videos/bad"

pytestmark = pytest.mark.xdist_group("hostile")


class Corpus(NamedTuple):
    """The files, and what a process of its own made of them."""

    films: Path
    canary: Path
    told: dict[str, dict[str, Any]]
    #: What the process opened, if that could be seen.
    opened: str | None
    #: When the canary was read last, before and after.
    read_last: tuple[int, int]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    home = tmp_path_factory.mktemp("hostile")
    films, studio = home / "films", Studio(home / "studio")
    write_all(films, studio)
    forget(studio.canary)
    before = studio.canary.stat().st_atime_ns
    trace = home / "trace"
    told = in_a_process(home / "work", [films / case.name for case in CASES], trace)
    after = studio.canary.stat().st_atime_ns
    opened = trace.read_text(encoding="utf-8") if trace.exists() else None
    return Corpus(films, studio.canary, told, opened, (before, after))


def forget(path: Path) -> None:
    """Make it look as if the file had not been read since it was written."""
    os.utime(path, (LONG_AGO, LONG_AGO + 1))


def notes_reads(path: Path) -> bool:
    """Whether the file system says when a file was read last (many do so once a day)."""
    control = path.with_name("control")
    shutil.copyfile(path, control)
    forget(control)
    control.read_bytes()
    return control.stat().st_atime_ns != LONG_AGO * 10**9


def ids(cases: tuple[Case, ...]) -> list[str]:
    return [case.name for case in cases]


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_each_file_has_its_stated_outcome(case: Case, corpus: Corpus) -> None:
    told = corpus.told[case.name]
    assert (told["state"], case.says in told["said"]) == (case.state, True), told["said"]
    assert told["seconds"] < PATIENCE
    assert told["mb"] < PEAK_MB


def test_there_are_many_cases_and_a_table_of_them() -> None:
    assert len(set(ids(CASES))) == len(CASES) >= 40
    assert table().count("\n") == len(CASES) + len(BAD_FILMS) + 1
    page = HOSTILE.read_text(encoding="utf-8")
    assert page == with_cases(page), "cases have changed: make tables"


def test_no_file_made_the_decoder_open_another(corpus: Corpus) -> None:
    if corpus.opened is None:
        pytest.skip("needs strace, and to be allowed to trace")
    assert str(corpus.films / "external.mov") in corpus.opened, "the trace proves nothing"
    assert str(corpus.canary) not in corpus.opened


def test_the_canary_was_not_read(corpus: Corpus) -> None:
    if not notes_reads(corpus.canary):
        pytest.skip("this file system does not note who read")
    before, after = corpus.read_last
    assert before == after == LONG_AGO * 10**9


@pytest.mark.parametrize(
    ("name", "trusting"),
    [
        ("external.mov", {"enable_drefs": "1", "use_absolute_path": "1"}),
        ("concat.mp4", {"safe": "0"}),
    ],
)
def test_who_trusts_them_would_open_it(name: str, trusting: dict[str, str], corpus: Corpus) -> None:
    """That nobody read the canary proves something only if these files do lead to it."""
    forget(corpus.canary)
    with av.open(str(corpus.films / name), options=trusting) as film:
        assert list(film.demux(video=0))
    if corpus.canary.stat().st_atime_ns == LONG_AGO * 10**9 and not notes_reads(corpus.canary):
        pytest.skip("this file system does not note who read")
    assert corpus.canary.stat().st_atime_ns != LONG_AGO * 10**9


def test_a_run_over_all_of_them_ends_and_its_books_balance(corpus: Corpus, tmp_path: Path) -> None:
    before = files_below(corpus.films.parent)
    output = tmp_path / "output"
    options = Options(
        input=(str(corpus.films),),
        output=str(output),
        clip_length=1.0,
        min_clip_length=0.5,
        preset="ultrafast",
        workers=2,
        no_generate_embeddings=True,
    )
    summary = run(options).summary
    assert summary.imbalances() == []
    assert files_below(corpus.films.parent) == before
    assert [path.name for path in tmp_path.iterdir()] == ["output"]
    failed = {
        json.loads(line)["source"]["relative"]
        for path in (output / "failures").iterdir()
        for line in path.read_text(encoding="utf-8").splitlines()
    }
    ended = {
        path.relative_to(output / "processed_videos").as_posix().removesuffix(".json"): document(
            path
        )
        for path in (output / "processed_videos").rglob("*.json")
    }
    for case in CASES:
        became = "failed" if case.name in failed else ended.get(case.name, "unseen")
        assert became == {"marked": "done"}.get(case.state, case.state), case.name
    assert summary.videos_found == len([case for case in CASES if case.state != "unseen"])
    assert summary.marked.get("decode", 0) >= 4


def document(path: Path) -> str:
    return "done" if json.loads(path.read_text(encoding="utf-8"))["num_total_clips"] else "empty"


@pytest.mark.parametrize(
    ("kind", "places"),
    [
        *((kind, 30) for kind in ("mp4", "mkv")),
        *(pytest.param(kind, 100, marks=pytest.mark.slow) for kind in ("mp4", "mkv")),
    ],
)
def test_flipped_bits_cost_frames_and_not_the_run(kind: str, places: int, tmp_path: Path) -> None:
    """So many places in each film: whatever happens is one of the outcomes, and said."""
    studio = Studio(tmp_path / "studio")
    film = {"mp4": studio.mp4, "mkv": studio.mkv}[kind]
    paths = []
    for seed in range(places):
        paths.append(tmp_path / f"flipped{seed}.{kind}")
        paths[-1].write_bytes(flipped(film, seed))
    told = in_a_process(tmp_path / "work", paths).values()
    states = [line["state"] for line in told]
    assert len(states) == places
    assert set(states) <= {"done", "marked", "empty", "failed"}
    assert states.count("failed") < places / 2
    assert all(line["said"] for line in told if line["state"] in ("marked", "failed"))
    assert max(line["seconds"] for line in told) < PATIENCE
    assert max(line["mb"] for line in told) < PEAK_MB


@pytest.mark.slow
@pytest.mark.skipif(not BAD.exists(), reason="the shared films are not here")
@pytest.mark.parametrize("name", BAD_FILMS)
def test_the_shared_broken_films_have_theirs(name: str, tmp_path: Path) -> None:
    assert outcome(BAD / name, tmp_path).state == BAD_FILMS[name][1]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Painting:
    folder = tmp_path_factory.mktemp("small")
    return paint(folder / "film.mp4", width=160, height=90, rate=15, seconds=3, sound="aac")


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(pixels=160 * 90 - 1), "160 by 90 = 14,400 pixels, and the limit is 14,399"),
        (Limits(seconds=2.5), "3 s long"),
        (Limits(frames=44), "45 frames or more; the limit is 44"),
        (Limits(streams=1), "--max-streams"),
    ],
)
def test_what_the_header_says_is_refused_before_it_is_decoded(
    limits: Limits, says: str, small: Painting
) -> None:
    with pytest.raises(FilmError, match=says):
        probe(small.path, Source("x", "x", "x"), Path(small.path).stat().st_size, limits)


def test_what_lies_just_within_the_limits_is_taken(small: Painting) -> None:
    limits = Limits(pixels=160 * 90, seconds=3, frames=45, streams=2)
    video = probe(small.path, Source("x", "x", "x"), Path(small.path).stat().st_size, limits)
    assert video == probe(small.path, Source("x", "x", "x"), Path(small.path).stat().st_size)
    assert len(list(watch(small.path, video, limits=limits))) == 45


@pytest.mark.parametrize("limits", [Limits(frames=20), Limits(pixels=160 * 90 - 1)])
def test_a_film_that_outgrows_them_is_given_up(
    limits: Limits, small: Painting, tmp_path: Path
) -> None:
    video = video_of(small)
    with pytest.raises(FilmError, match="the limit"):
        list(watch(small.path, video, limits=limits))
    work = cut(
        small.path, video, planned_at((0, 1), (1, 2)), Recipe(tmp_path, QUICK, limits=limits)
    )
    with pytest.raises(FilmError, match="the limit"):
        list(work)
    # What was finished before is there (a second is 15 frames), and what was begun is not.
    assert len(list(tmp_path.iterdir())) == (limits.pixels > 160 * 90)
