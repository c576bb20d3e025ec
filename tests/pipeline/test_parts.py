"""Parts: runs that share the input write one output, one after another or side by side."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from faults import differences, staged, tree

from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.cli.command import main
from finecut.pipeline.curation import curate
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import plan
from finecut.pipeline.running import Ran, run
from finecut.transforms.find.inputs import find_sources
from finecut.transforms.find.lists import failures_in
from finecut.transforms.find.parts import WHOLE, Part

#: Names that do not depend on where a test is run.
ROOT = "/films"
NAMES = ("a.mp4", "b.mp4", "c.mp4", "sub/d.mp4", "sub/e.mp4", "sub/f.mp4")
BROKEN = ("broken.mp4", "sub/broken too.mp4")
ALL = [f"{ROOT}/{name}" for name in (*NAMES, *BROKEN)]
#: More parts than there are videos.
PARTS = WHOLE.divided(64)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    (folder / "sub").mkdir()
    for number, name in enumerate(NAMES):
        paint(folder / name, width=96, height=64, rate=8, seconds=1 + number % 3)
    for name in BROKEN:
        (folder / name).write_bytes(b"no video")
    return folder


def options(films: Path, output: Path, part: object = None, **more: Any) -> Options:
    given = {
        "named_as": ROOT,
        "clip_length": 1.0,
        "min_clip_length": 1.0,
        "workers": 1,
        "no_generate_embeddings": True,
    }
    part = None if part is None else str(part)
    return Options(input=(str(films),), output=str(output), part=part, **{**given, **more})


@pytest.fixture(scope="module")
def whole(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one run writes."""
    output = tmp_path_factory.mktemp("whole") / "out"
    assert run(options(films, output)).summary.videos_failed == len(BROKEN)
    return output


def part_of(name: str) -> Part:
    return next(part for part in PARTS if name in part)


def part_without(*names: str) -> Part:
    return next(part for part in PARTS if not any(name in part for name in names))


def listed(output: Path) -> list[tuple[str, int]]:
    """What failed, and how many times."""
    [path] = (output / "failures").iterdir()
    return [(each.source.name, each.attempts) for each in failures_in(str(path))]


def test_every_video_is_in_one_part() -> None:
    for of in (1, 2, 7, 100):
        parts = WHOLE.divided(of)
        assert [sum(name in part for part in parts) for name in ALL] == [1] * len(ALL)
    for name in ALL:
        assert sum(name in each for each in Part(2, 3).divided(4)) == (name in Part(2, 3))


def test_parts_side_by_side_write_what_one_run_writes(
    films: Path, whole: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"

    def curated(part: Part) -> Ran:
        return run(options(films, output, part))

    with ThreadPoolExecutor(4) as pool:
        ran = list(pool.map(curated, WHOLE.divided(4)))
    assert differences(tree(output), tree(whole)) == []
    assert staged(output) == []
    page = (output / "report" / "index.html").read_text()
    data = [path.name for path in (output / "report" / "data").iterdir()]
    assert data
    assert all(name in page for name in data)
    assert {each.summary.videos_found + each.elsewhere for each in ran} == {len(ALL)}
    assert sum(each.summary.videos_found for each in ran) == len(ALL)


def test_a_part_again_does_nothing(films: Path, tmp_path: Path) -> None:
    given = options(films, tmp_path / "out", part_of(ALL[0]))
    first = run(given).summary
    assert first.videos_done
    before = tree(tmp_path / "out")
    again = run(given).summary
    assert (again.videos_skipped, again.videos_done) == (first.videos_done, 0)
    assert differences(tree(tmp_path / "out"), before) == []


def test_a_part_leaves_failures_of_others_on_the_list(films: Path, tmp_path: Path) -> None:
    one, other = ALL[len(NAMES) :]
    assert part_of(one) != part_of(other)
    output = tmp_path / "out"
    for name in (one, other, one):
        run(options(films, output, part_of(name)))
    assert listed(output) == [(one, 2), (other, 1)]
    # Whoever takes them all goes on from there.
    run(options(films, output))
    assert listed(output) == [(one, 3), (other, 2)]


def test_a_pipeline_of_ones_own_takes_its_part_too(films: Path, tmp_path: Path) -> None:
    one, other = ALL[len(NAMES) :]
    output = tmp_path / "out"
    run(options(films, output, part_of(other)))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        curate(pipeline, options(films, output, part_of(one)))
    assert listed(output) == [(one, 1), (other, 1)]
    assert staged(output) == []


def test_a_part_without_a_video_is_no_mistake(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = str(part_without(*ALL))
    words = ["curate", "--input", str(films), "--output", str(tmp_path / "out"), "--part", part]
    words += ["--named-as", ROOT]
    assert main(words) == 0
    assert f"part {part} has none of the {len(ALL)} videos" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    words[2] = str(tmp_path / "empty")
    assert main(words) == 1
    assert "no videos found" in capsys.readouterr().err


def test_times_of_cuts_are_looked_for_among_all_videos(films: Path, tmp_path: Path) -> None:
    cuts = tmp_path / "cuts.csv"
    given = options(films, tmp_path / "out", part_without(*ALL), cuts=str(cuts), clip_length=10.0)
    cuts.write_text("a.mp4,0,1\n")
    run(given)
    cuts.write_text("z.mp4,0,1\n")
    with pytest.raises(OptionError, match=r"lists z.mp4, but none of the 8 videos"):
        run(given)


def test_a_limit_counts_before_the_videos_are_divided(films: Path, tmp_path: Path) -> None:
    finding = plan(options(films, tmp_path / "out", "1/2", video_limit=3)).finding
    assert len(find_sources(finding)) == 3


def test_a_part_is_no_other_configuration(films: Path, tmp_path: Path) -> None:
    plans = [plan(options(films, tmp_path / "out", part)) for part in (None, "1/4", "2/4")]
    assert len({each.writing.configuration for each in plans}) == 1


@pytest.mark.slow
def test_processes_side_by_side_write_what_one_run_writes(
    films: Path, whole: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    words = ["curate", "--input", str(films), "--output", str(output), "--named-as", ROOT]
    words += ["--clip-length", "1", "--min-clip-length", "1", "--workers", "1"]
    words += ["--no-generate-embeddings"]
    command = [sys.executable, "-m", "finecut", *words, "--part"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    parts = [subprocess.Popen([*command, f"{number}/4"], **pipes) for number in range(1, 5)]
    said = [part.communicate() for part in parts]
    assert "Traceback" not in str(said)
    assert differences(tree(output), tree(whole)) == []
    assert staged(output) == []
