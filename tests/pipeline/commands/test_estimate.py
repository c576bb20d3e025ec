"""``finecut estimate``: what it says before a run is what the run then takes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finecut.io.media.source import probe
from finecut.io.media.testfilm.paint import Scene, paint
from finecut.io.records import Source, Span, Video
from finecut.io.storage.counted import bucket_in, objects_in, requests_in
from finecut.pipeline.cli.command import main
from finecut.pipeline.commands.estimate import EstimateCost, EstimateOptions
from finecut.pipeline.commands.estimate.choosing import some_of, strata
from finecut.pipeline.commands.estimate.places import PLACES, WATCHED_SECONDS, looked_at
from finecut.pipeline.commands.estimate.prices import REQUESTS, prices_for
from finecut.pipeline.commands.estimate.words import Estimate, lines_about
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.running import run
from finecut.transforms.amount import work_of
from finecut.transforms.split.scenes import CONTENT, Detection, Piece

#: How far from the truth an estimate may be.
NEAR = 0.25
#: Requests are counted, and so are clips and documents; only how many of them fail is not known.
NEAR_REQUESTS = 0.1
WHAT_RUNS: dict[str, Any] = {"clip_length": 2.0, "chunk_seconds": 8, "no_generate_embeddings": True}


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Five films: three sizes, three lengths, things that move and things that do not."""
    folder = tmp_path / "films"
    folder.mkdir()
    still, moving = Scene(velocity=(0.0, 0.0)), Scene(velocity=(60.0, 40.0), pan=40.0)
    for number, (width, height, seconds, scene) in enumerate(
        [
            (160, 90, 20, still),
            (160, 90, 12, moving),
            (320, 180, 11, moving),
            (320, 180, 8, still),
            (480, 270, 7, moving),
        ]
    ):
        path = str(folder / f"{number}.mp4")
        paint(path, width=width, height=height, rate=10, seconds=seconds, scenes=[scene])
    (folder / "text.mp4").write_text("no film")
    return folder


def estimated(films: Path, output: str, **options: Any) -> Estimate:
    return EstimateCost(EstimateOptions((str(films),), output=output, **options)).run()


def size_of(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_clips_bytes_and_requests_are_what_the_run_then_makes(films: Path, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    output = f"{bucket_in(bucket)}/output"
    told = estimated(films, output, sample=3, **WHAT_RUNS)
    assert not objects_in(bucket).exists(), "nothing is written to the output"
    asked = len(requests_in(bucket))

    did = run(Options((str(films),), output=output, **WHAT_RUNS)).summary
    assert told.is_exact
    assert told.total.clips == did.shots_planned == 28
    assert (told.seen.found, len(told.seen.failures)) == (did.videos_found, did.videos_failed)
    assert told.clip_bytes == pytest.approx(did.clip_bytes, rel=NEAR)
    assert told.bytes_written == pytest.approx(size_of(objects_in(bucket)), rel=NEAR)
    made = Counter(request.kind for request in requests_in(bucket)[asked:])
    assert told.requests is not None
    for kind in REQUESTS:
        assert told.requests[kind] == pytest.approx(made[kind], rel=NEAR_REQUESTS), kind
    words = "\n".join(lines_about(told))
    assert "videos    6 found = 5 to do + 1 failed + 0 finished" in words
    assert "clips     28, together" in words
    assert "which nobody has checked" in words

    again = estimated(films, output, sample=3, **WHAT_RUNS)
    assert (again.seen.finished, again.sample, again.problems) == (5, None, [])
    assert "videos    6 found = 0 to do + 1 failed + 5 finished" in "\n".join(lines_about(again))


@pytest.mark.slow
@pytest.mark.parametrize("splitting", ["fixed_stride", "content"])
def test_what_it_takes_is_what_the_run_then_takes(
    splitting: str, films: Path, tmp_path: Path
) -> None:
    """On a disk, with all that belongs to a run, and with scenes that nobody has counted."""
    for number, (width, seconds) in enumerate([(640, 40), (1280, 20), (960, 30), (320, 240)]):
        path, height = str(films / f"long {number}.mp4"), width * 9 // 16
        # The longest has a first scene that lasts as long as all that follow.
        cuts = list(range(4 if seconds < WATCHED_SECONDS else seconds // 2, seconds - 2, 4))
        paint(path, width=width, height=height, rate=15, seconds=seconds, cuts=cuts)
    given = [f"--input={films}", f"--output={tmp_path}/out", f"--splitting-algorithm={splitting}"]
    options = {"splitting_algorithm": splitting}
    told = estimated(films, f"{tmp_path}/out", sample=5, **options)
    assert not (tmp_path / "out").exists()
    # What a process takes to start is known where the command stands alone.
    text = _said(["estimate", "--sample=5", *given])
    used = _processor_time(["curate", *given])
    [document] = (tmp_path / "out/runs").glob("*/summary.json")
    clips = json.loads(document.read_text())["clips"]["planned"]
    assert told.total.clips == pytest.approx(clips, rel=0 if told.is_exact else NEAR)
    assert told.bytes_written == pytest.approx(size_of(tmp_path / "out"), rel=NEAR)
    said = re.search(r"work .*\((\d+):(\d+) of one core\)", text)
    assert said, text
    assert 60 * int(said[1]) + int(said[2]) == pytest.approx(used, rel=NEAR)


MEASURED = """
import sys
from finecut.io.process.processor_time import processor_seconds
from finecut.pipeline.cli.command import main
assert main(sys.argv[1:]) == 0
print("took", processor_seconds())
"""


def _said(words: list[str], *program: str) -> str:
    called = [sys.executable, *(program or ("-m", "finecut")), *words]
    done = subprocess.run(called, capture_output=True, text=True, check=True, env={**os.environ})
    return done.stdout


def _processor_time(words: list[str]) -> float:
    """What a command takes in a process of its own, with its children."""
    return float(_said(words, "-c", MEASURED).rpartition("took ")[2])


def test_an_empty_folder_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--input", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(["estimate", "--quiet", *given]) == 1
    assert "no videos found in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# ── the sample ───────────────────────────────────────────────────────────────────────────────────


def video(name: str, seconds: float, width: int = 640) -> Video:
    source = Source(name, name, name)
    rate, height = 25.0, width * 9 // 16
    return Video(
        source, 1, 0, width, height, rate, int(seconds * rate), seconds, "h264", "yuv420p", None,
        1000, 0,
    )  # fmt: skip


def test_every_video_is_spoken_for_once() -> None:
    videos = [video(f"{n}", 10 + n, 320 * (1 + n % 4)) for n in range(50)]
    speaking = strata(videos, 7)
    assert len(speaking) <= 7
    spoken_for = [one.name for _, members in speaking for one in members]
    assert sorted(spoken_for) == sorted(one.name for one in videos)
    for speaker, members in speaking:
        assert speaker in members
        assert all(0.2 < work_of(one, 1) / work_of(speaker, 1) < 5 for one in members)


def test_few_videos_speak_for_themselves() -> None:
    videos = [video("a", 5), video("b", 500)]
    assert [(one.name, len(members)) for one, members in strata(videos, 10)] == [("a", 1), ("b", 1)]


def test_one_huge_video_is_sampled_once_and_speaks_for_those_like_it() -> None:
    speaking = strata([video("huge", 10_000), *(video(f"{n}", 1, 320) for n in range(5))], 3)
    assert [one.name for one, _ in speaking] == ["huge"]
    assert len(speaking[0][1]) == 6


def pieces(number: int, length: float = 10.0) -> list[Piece]:
    return [
        Piece(int(n * 100), int((n + 1) * 100), Span(n * length, (n + 1) * length))
        for n in range(number)
    ]


@pytest.mark.parametrize(
    ("number", "seconds", "taken"),
    [
        (2, 20, [0, 1]),
        (3, 20, [0, 1, 2]),
        (100, 20, [49, 50]),
        (100, 60, [23, 24, 25, 73, 74, 75]),
    ],
)
def test_pieces_are_taken_from_the_middle(number: int, seconds: float, taken: list[int]) -> None:
    chosen = [piece.first // 100 for piece in some_of(pieces(number), seconds)]
    assert len(chosen) == len(taken)
    assert all(abs(one - other) <= 1 for one, other in zip(chosen, taken, strict=True))


def test_a_piece_that_comes_twice_is_taken_once() -> None:
    assert len(some_of([*pieces(2), *pieces(2)], 20)) == 2


# ── where scenes are looked for ──────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Video:
    """A film whose first third is one scene, and the rest a new one every four seconds."""
    path = tmp_path_factory.mktemp("late") / "late.mp4"
    cuts = [*range(160, 470, 4)]
    paint(path, width=64, height=36, rate=10, seconds=480, cuts=cuts)
    return probe(str(path), Source(str(path), str(path), path.name), path.stat().st_size)


def test_scenes_are_looked_for_all_over_a_video(late: Video) -> None:
    detection = Detection(CONTENT)
    truth = list(detection.pieces(late))
    looked = looked_at(late, detection)
    # Places begin at key frames, which this film has every 25 seconds.
    assert WATCHED_SECONDS <= looked.seconds <= WATCHED_SECONDS + PLACES * 25
    assert len(looked.found) * late.duration / looked.seconds == pytest.approx(len(truth), rel=0.15)
    first = looked_at(replace(late, duration=WATCHED_SECONDS), detection)
    assert len(first.found) * late.duration / first.seconds < 0.6 * len(truth)


def test_what_is_cut_of_it_is_where_it_is_in_the_video(late: Video) -> None:
    detection = Detection(CONTENT)
    truth = {(piece.first, piece.end): piece.span for piece in detection.pieces(late)}
    looked = looked_at(late, detection)
    assert len(looked.found) - len(looked.there) <= PLACES - 1
    within = [piece for piece in looked.there if piece.first > 1600]
    assert len(within) > 10
    for piece in within:
        span = truth[piece.first, piece.end]
        assert (piece.span.start, piece.span.end) == pytest.approx((span.start, span.end))
    for piece in looked.there:
        assert piece.span.start == pytest.approx(piece.first / late.framerate)


def test_a_video_that_cannot_be_divided_is_watched_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "one key.mp4"
    options = {"keyint": "100000", "min-keyint": "100000", "scenecut": "0"}
    paint(path, width=64, height=36, rate=10, seconds=150, gop=100000, codec_options=options)
    film = probe(str(path), Source(str(path), str(path), path.name), path.stat().st_size)
    looked = looked_at(film, Detection(CONTENT))
    assert (looked.seconds, looked.found) == (WATCHED_SECONDS, looked.there)
    assert looked.found[0].span.start < 1


# ── prices ───────────────────────────────────────────────────────────────────────────────────────

TABLE: dict[str, Any] = {
    "dated": "2030-01",
    "checked": True,
    "currency": "EUR",
    "regions": {
        "here": {
            "machines": {"mine": {"cpus": 2, "per_hour": 0.5}},
            "requests": {"write": 4, "read": 2, "delete": 1},
            "gigabyte_month": 0.1,
        }
    },
}


def table(folder: Path, **changed: Any) -> str:
    path = folder / "prices.json"
    path.write_text(json.dumps({**TABLE, **changed}))
    return str(path)


def test_money_is_hours_and_requests_by_the_table(tmp_path: Path) -> None:
    prices = prices_for("here", "mine", table(tmp_path))
    assert prices.of_work(8) == 2.0
    assert prices.of_requests({"write": 500, "read": 1000, "delete": 2000}) == 6.0
    assert (prices.currency, prices.dated, prices.checked) == ("EUR", "2030-01", True)


def test_the_built_in_table_has_the_defaults_and_says_that_it_is_to_be_checked() -> None:
    options = EstimateOptions()
    prices = prices_for(options.region, options.machine)
    assert not prices.checked
    assert re.fullmatch(r"\d{4}-\d\d", prices.dated)


@pytest.mark.parametrize(
    ("region", "machine", "changed", "said"),
    [
        ("hare", "mine", {}, "--region hare has no prices: did you mean here?"),
        ("here", "mime", {}, "--machine mime has no price in here: did you mean mine?"),
        ("here", "mine", {"regions": []}, "'regions' is missing, or is not what it has to be"),
        ("here", "mine", {"dated": 2030}, "'dated' is missing"),
        ("here", "mine", {"regions": {"here": {}}}, "'here' has no 'machines'"),
        (
            "here",
            "mine",
            {"regions": {"here": {**TABLE["regions"]["here"], "gigabyte_month": -1}}},
            "'gigabyte_month' is missing, or is not a price",
        ),
        (
            "here",
            "mine",
            {"regions": {"here": {**TABLE["regions"]["here"], "machines": {"mine": {"cpus": 0}}}}},
            "'mine: cpus' is missing, or is not a price",
        ),
    ],
)
def test_a_table_that_is_wrong_is_refused(
    region: str, machine: str, changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=re.escape(said)):
        prices_for(region, machine, table(tmp_path, **changed))


@pytest.mark.parametrize(("text", "said"), [(None, "cannot be read"), ("{", "is not JSON")])
def test_a_table_that_is_none_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OptionError, match=said):
        prices_for("here", "mine", str(path))
