"""``finecut describe`` shows the pipeline that would run: steps, what flows, what is asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from finecut.pipeline.cli.command import main

#: The way of a film, and what is handed on at each station.
WAY = {
    "FindVideos": "Source",
    "ProbeVideos": "Video",
    "SplitVideos": "reels: PlannedChunk",
    "ShareOutChunks": "PlannedChunk",
    "CutClips": "Clip",
    "WriteClips": "clips: Written",
    "Summarise": "Summary",
}
GUARDED = ("ProbeVideos", "CutClips", "WriteClips", "CloseEmptyVideos")


@pytest.fixture
def description(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    films = tmp_path / "films"
    films.mkdir()
    arguments = ["--input", str(films), "--output", str(tmp_path / "output"), "--workers", "3"]
    assert main(["describe", *arguments]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["films"], "describing makes nothing"
    shown = capsys.readouterr()
    assert not shown.err
    return shown.out


def steps_of(description: str) -> dict[str, tuple[str, str]]:
    """Name → what goes in and what comes out, of the steps of the whole and of no inner ones."""
    shown = description.split("\n\n", maxsplit=1)[0].splitlines()[1:]
    rows = [re.fullmatch(r"  (\S+) +(.+) → (.+)", line) for line in shown]
    return {row[1]: (row[2], row[3]) for row in rows if row}


def test_the_way_of_a_film_is_shown_in_order(description: str) -> None:
    steps = steps_of(description)
    assert [name for name in steps if name in WAY] == list(WAY)
    for name, flow in WAY.items():
        assert steps[name][1].startswith(flow), name
    assert steps["CutClips"][0] == "PlannedChunk"
    assert steps["WriteClips"][0] == "Clip"


def test_accidents_are_shown_as_an_output(description: str) -> None:
    steps = steps_of(description)
    for name in GUARDED:
        assert "failures: Failure" in steps[name][1]


def test_what_flows_is_named_and_light(description: str) -> None:
    words = set(re.findall(r"\w+", description))
    assert not words & {"Any", "bytes", "bytearray", "ndarray", "VideoFrame", "lambda"}


def test_resources_are_those_of_the_options(description: str) -> None:
    resources = description.split("\n\n")[2]
    assert resources.startswith("Resources\n")
    assert "3 workers" in resources
    assert "libx264 with 1 thread" in resources


def test_rules_are_said_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--input", "films", "--output", "out", "--motion-filter", "enable"]
    assert main(["describe", *arguments, "--keep", "unsafe<=0.2", "--generate-previews"]) == 0
    said = capsys.readouterr().out
    rules = said.split("\n\n")[1]
    assert [" ".join(line.split()) for line in rules.splitlines()[1:]] == [
        "motion keeps clips with motion_global_mean >= 0.00098",
        "motion keeps clips with motion_per_patch_min_256 >= 1e-06",
        "unsafe<=0.2 keeps clips with unsafe_max <= 0.2",
    ]
    for step in ("KeepByMeasures", "Score unsafe", "KeepBy unsafe", "MakePreviews"):
        assert step in said
    assert "Score text" not in said


def test_another_runner_is_described_without_being_started(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--input", "gs://films", "--output", "gs://dataset", "--runner", "DataflowRunner"]
    assert main(["describe", *arguments, "--region=europe-west4"]) == 0
    shown = capsys.readouterr().out
    assert "DataflowRunner" in shown
    # Only the local runner deals out the work beforehand, and needs the longest reels first.
    assert "Longest first" not in shown


SUBSCRIPTION = "projects/project-1/subscriptions/films"
MODEL = ["--aesthetic-filter", "enable"]
HINTS = "resource hints are ignored; steps with other hints only get workers of their own"


@pytest.mark.parametrize(
    ("runner", "options", "said"),
    [
        ("DataflowRunner", MODEL, ["Dataflow: supports everything that this pipeline uses"]),
        ("prism", [], ["prism: supports everything that this pipeline uses"]),
        (
            "FlinkRunner",
            [f"--subscription={SUBSCRIPTION}"],
            ["Flink, streaming: not supported: in Python, only Dataflow and the direct runner"],
        ),
        ("SparkRunner", MODEL, ["Spark 3: elements are dealt out", f"Spark 3: {HINTS}"]),
        ("PortableRunner", [], []),
    ],
)
def test_what_the_engine_lacks_is_said(
    runner: str, options: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--input", "gs://films", "--output", "gs://dataset", "--runner", runner]
    assert main(["describe", *arguments, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    engine = [line.removeprefix("  engine").strip() for line in lines if "  engine " in line]
    assert len(engine) == len(said)
    assert all(line.startswith(words) for line, words in zip(engine, said, strict=True)), engine


@pytest.mark.parametrize(
    "models",
    [
        ["--model-dir", "gs://nobody/models"],
        ["--embedding-algorithm", "gs://nobody/model"],
        ["--embedding-algorithm", "org/model"],
        ["--generate-captions", "--captioning-algorithm", "org/captioner"],
    ],
)
def test_nobody_elsewhere_is_asked(
    models: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert main(["describe", "--input", "films", "--output", "out", *models]) == 0
    assert "embeds 8 frames" in capsys.readouterr().out
