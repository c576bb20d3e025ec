"""``finecut summary``: what lies there adds up to what runs said, and what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from curated import Curated, curated

from finecut.io.layout import Layout
from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.cli.command import main
from finecut.pipeline.commands.summary import SummaryOptions, SumUp
from finecut.pipeline.commands.summary.work import Sums, missing_parts
from finecut.pipeline.options import Options
from finecut.pipeline.running import run
from finecut.transforms.find.parts import WHOLE, Part


@pytest.fixture
def dataset(tmp_path: Path) -> Curated:
    return curated(tmp_path)


def sums(root: Path) -> Sums:
    return SumUp(SummaryOptions(str(root))).run()


def run_of(root: Path) -> dict[str, Any]:
    [path] = (root / "runs").glob("*/summary.json")
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def test_it_says_of_one_run_what_the_run_said(dataset: Curated) -> None:
    told = run_of(dataset.root)
    # What the captioner said was added by hand.
    document = sums(dataset.root).document
    assert document["balanced"]
    for name in ("videos", "clips", "film_seconds"):
        said = {key: value for key, value in document[name].items() if key != "unfinished"}
        assert said == told[name], name


def test_the_final_words_of_a_whole_dataset(
    dataset: Curated, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["summary", str(dataset.root)]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "videos   3 found = 3 done + 0 empty + 0 failed",
        "clips    12 planned = 11 kept + 1 rejected + 0 failed",
        "rejected 1 by motion>0.005",
        "vectors  11 of efficientnet-lite0",
        *(line for line in shown.out.splitlines() if line.startswith("length ")),
    ]
    assert shown.err == ""


def test_sums_for_programs(dataset: Curated, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", str(dataset.root), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["clips"]["kept"], told["clips"]["rejected_by"]) == (11, {"motion>0.005": 1})
    assert told["parts"] == {"of": 0, "missing": []}


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("metas/v0", "1 missing or broken document"),
        ("processed_clip_chunks", "clips were planned, but"),
        ("processed_videos", "1 unfinished video"),
    ],
)
def test_what_does_not_add_up_is_said(
    folder: str, words: str, dataset: Curated, capsys: pytest.CaptureFixture[str]
) -> None:
    min((dataset.root / folder).glob("*.json")).unlink()
    assert main(["summary", str(dataset.root)]) == 3
    assert words in capsys.readouterr().err


def test_what_strangers_wrote_is_no_trouble(dataset: Curated) -> None:
    (dataset.root / "failures").mkdir(exist_ok=True)
    lines = ['{"source": 7, "lost_shots": {"a": 1}}', "[]", "{", '{"source": {"name": ["x"]}}']
    (dataset.root / "failures" / "x.jsonl").write_text("\n".join(lines))
    note = Path(Layout(str(dataset.root)).open_video("x.mp4"))
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text('{"names": [{}], "new": [1, "../x"]}')
    meta = min((dataset.root / "metas/v0").glob("*.json"))
    meta.write_text('{"windows": [3, {"a_caption_status": []}], "models": {"x_embedding": 7}}')
    chunk = min((dataset.root / "processed_clip_chunks").glob("*.json"))
    chunk.write_text('{"video": 3, "clips": ["../../x"], "filtered_clips": 7}')
    told = sums(dataset.root)
    assert told.bad
    json.dumps(told.document, allow_nan=False)


def options(films: Path, output: Path, part: Part | None, **more: Any) -> Options:
    return Options(
        input=(str(films),),
        output=str(output),
        named_as="/films",
        clip_length=1.0,
        min_clip_length=1.0,
        workers=1,
        no_generate_embeddings=True,
        part=None if part is None else str(part),
        **more,
    )


def test_parts_are_summed_up_and_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films, output = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    for name in ("a.mp4", "b.mp4"):
        paint(films / name, width=64, height=64, rate=8, seconds=2)
    (films / "broken.mp4").write_bytes(b"no video")
    for part in WHOLE.divided(3):
        run(options(films, output, part))
    assert main(["summary", str(output)]) == 0
    words = capsys.readouterr().out
    assert "videos   3 found = 2 done + 0 empty + 1 failed\n" in words
    assert "clips    4 planned = 4 kept + 0 rejected + 0 failed\n" in words
    # Another configuration, of which one part has not run.
    for part in WHOLE.divided(3)[:2]:
        run(options(films, output, part, crf=30))
    assert main(["summary", str(output)]) == 3
    assert "1 of 3 parts has not finished: run --part 3/3" in capsys.readouterr().err
    run(options(films, tmp_path / "dry", None, dry_run=True))
    assert main(["summary", str(tmp_path / "dry")]) == 0


def test_the_newest_run_says_whether_there_are_parts() -> None:
    seconds = iter(range(99))

    def ran(part: str | None, digest: str = "x", **more: object) -> dict[str, Any]:
        options, made = {"part": part}, {"digest": digest}
        return {"started": next(seconds), "options": options, "configuration": made, **more}

    assert missing_parts([]) == (0, [])
    assert missing_parts([ran(None), ran("1/2")]) == (0, [])
    assert missing_parts([ran("2/2"), ran(None), ran("1/2")]) == (2, [])
    assert missing_parts([ran("2/2"), ran("1/2", "y"), ran("1/4")]) == (2, [Part(1, 2)])
    assert missing_parts([ran("2/2", command="refilter"), ran("1/2")]) == (0, [])
    assert missing_parts([{"options": 7}, ran("1/2")]) == (0, [])
    same = [ran("1/2", "y", started=0), ran("2/2", started=0), ran("1/2", started=0)]
    assert missing_parts(same) == missing_parts(same[::-1]) == (2, [Part(2, 2)])


def test_where_there_is_nothing_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["summary", str(tmp_path)])
    assert "contains no finished clips" in capsys.readouterr().err
