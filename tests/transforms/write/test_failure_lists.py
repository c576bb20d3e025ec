"""Lists of what failed in a job: few are one file, many are several, and nothing is lost."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from finecut.io.layout import Layout
from finecut.io.records import Failure, Source, from_json
from finecut.io.storage.publishing import Shelf
from finecut.pipeline.options import Options
from finecut.pipeline.planning import failures_path
from finecut.pipeline.running import run
from finecut.transforms.find.inputs import Finding, find_sources
from finecut.transforms.find.lists import failures_in, named_as_input, piece_of, pieces_of
from finecut.transforms.find.parts import WHOLE, Part
from finecut.transforms.write.failure_lists import WriteFailures

VIDEOS, EACH, MOST = 100, 4, 40
NAME = "0123456789ab.jsonl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The failures of an output."""
    (tmp_path / "out/.finecut").mkdir(parents=True)
    return tmp_path / "out/failures"


def failure(video: int, attempts: int = 1, clip: int = 0) -> Failure:
    name = f"films/{video:03}.mp4"
    source = Source(f"/in/{name}", name, name)
    return Failure("cut", source, "LostShot", "no file", lost_shots=(f"{clip}",), attempts=attempts)


def write(folder: Path, failures: Iterable[Failure], tried: Container[str] = WHOLE) -> None:
    path, root = str(folder / NAME), str(folder.parent)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        own = Shelf(root, Layout(root).staging_of("run"))
        made = pipeline | beam.Create([*failures]).with_output_types(Failure)
        _ = made | WriteFailures(own, path, tried, MOST)


def listed(folder: Path) -> dict[str, list[Failure]]:
    """What each file says."""
    return {
        path.name: [from_json(Failure, line) for line in path.read_text().splitlines()]
        for path in sorted(folder.glob("*"))
    }


def told(folder: Path) -> list[Failure]:
    return sorted(
        (one for lines in listed(folder).values() for one in lines),
        key=lambda one: (one.source.name, one.lost_shots),
    )


@pytest.fixture
def many(folder: Path) -> list[Failure]:
    failures = [failure(video, clip=clip) for video in range(VIDEOS) for clip in range(EACH)]
    write(folder, failures)
    return failures


def test_many_failures_are_in_files_of_some_lines(folder: Path, many: list[Failure]) -> None:
    files = listed(folder)
    of = VIDEOS * EACH // MOST
    assert {*files} == {Path(piece_of(NAME, number, of)).name for number in range(of)}
    assert max(map(len, files.values())) < 2 * MOST
    assert told(folder) == many
    # What failed of a video stands in one file, so each of them can be tried alone.
    several = [{one.source.name for one in lines} for lines in files.values()]
    assert sum(map(len, several)) == VIDEOS


def test_few_are_in_one_file_and_take_the_place_of_many(folder: Path, many: list[Failure]) -> None:
    again = [failure(7, attempts=2)]
    write(folder, again)
    assert listed(folder) == {NAME: again}
    write(folder, [])
    assert listed(folder) == {}


def test_what_others_listed_stays(folder: Path, many: list[Failure]) -> None:
    mine, others = Part(1, 3), [one for one in many if one.source.name not in Part(1, 3)]
    again = [failure(n, attempts=2) for n in range(VIDEOS) if failure(n).source.name in mine]
    write(folder, again[:5], mine)
    assert len(listed(folder)[NAME]) == 5
    assert told(folder) == sorted(
        [*others, *again[:5]], key=lambda one: (one.source.name, one.lost_shots)
    )


@pytest.mark.parametrize("given", ["failures", "failures/*.jsonl", "failures/0123456789ab*.jsonl"])
def test_all_files_together_are_an_input(folder: Path, many: list[Failure], given: str) -> None:
    inputs = (str(folder.parent / given),)
    found = find_sources(Finding(inputs, failed=str(folder / NAME)))
    assert [source.name for source in found] == sorted({one.source.name for one in many})
    assert {(source.attempts, source.trouble) for source in found} == {(1, "no file")}
    assert named_as_input(str(folder / NAME)) == str(folder / "0123456789ab*.jsonl")


def test_what_is_tried_again_is_listed_where_it_was(folder: Path, many: list[Failure]) -> None:
    def path_for(given: str) -> str:
        return failures_path(Options(input=(str(folder / given),), output=str(folder.parent)))

    assert path_for("0123456789ab*.jsonl") == str(folder / NAME)
    # Only this file is tried, so nothing else is done with.
    one = Path(piece_of(NAME, 3, VIDEOS * EACH // MOST)).name
    assert path_for(one) == str(folder / one)
    assert path_for("0123*.jsonl") not in (str(folder / NAME), str(folder / "0123.jsonl"))
    assert len(find_sources(Finding((str(folder / one),)))) < VIDEOS / 4


def test_a_local_run_goes_on_with_what_a_cluster_listed(tmp_path: Path) -> None:
    """It has one list, and nothing stays in files of the other kind."""
    films, output = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (films / name).write_bytes(b"no video")
    given = Options(input=(str(films),), output=str(output), workers=1)
    assert run(given).summary.videos_failed == 2
    path = failures_path(given)
    first, second = Path(path).read_text().splitlines()
    Path(path).unlink()
    for number, line in enumerate((first, second)):
        Path(piece_of(path, number, 2)).write_text(f"{line}\n")
    run(given)
    assert pieces_of(path) == [path]
    assert [one.attempts for one in failures_in(path)] == [2, 2]
