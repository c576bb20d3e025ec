"""The command as people use it: what they type, what they see, and how it ends.

What a fresh process decides (start-up time, what stands on the screen, signals) is tried in one;
the rest calls :func:`finecut.pipeline.cli.command.main` here.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import av
import pyarrow.parquet as pq
import pytest

from finecut.io.media.testfilm.paint import paint
from finecut.io.records import Failure, from_json
from finecut.io.summary import Summary
from finecut.pipeline.cli.command import main
from finecut.pipeline.cli.final_words import problems
from finecut.pipeline.options import Options, option_fields

COMMAND = (sys.executable, "-m", "finecut.pipeline.cli.command")
PROGRESS = re.compile(r"(finding|probing|cutting|done) .*")
#: Clips of this length and no longer: the films here are short.
SHORT = ("--clip-length", "2")
#: Quickly, with nothing but clips made of them.
FAST = ("--preset", "ultrafast")
PLAIN = ("--no-generate-embeddings", *SHORT)


def finecut(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def names_below(folder: Path) -> set[str]:
    """The files at any depth; whatever is staged counts too, what each run says of itself not."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not path.is_dir() and path.relative_to(folder).parts[0] not in ("runs", "report")
    }


def tree(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names_below(folder)}


def count_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films, of 3 and 2 clips: ``a.mp4`` and ``sub/b.mkv``."""
    folder = tmp_path_factory.mktemp("good") / "films"
    (folder / "sub").mkdir(parents=True)
    paint(folder / "a.mp4", width=160, height=90, rate=15, seconds=6, sound="aac")
    paint(folder / "sub" / "b.mkv", width=160, height=90, rate=15, seconds=5)
    return folder


@pytest.fixture(scope="module")
def mixed(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a film too short for a clip, one that is cut off, and a text called .mp4."""
    folder = tmp_path_factory.mktemp("mixed") / "films"
    shutil.copytree(films, folder)
    paint(folder / "short.mp4", width=160, height=90, rate=15, seconds=1)
    paint(folder / "torn.mkv", width=160, height=90, rate=15, seconds=6)
    whole = (folder / "torn.mkv").read_bytes()
    (folder / "torn.mkv").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("This is not a film.\n", encoding="utf-8")
    return folder


class Run(NamedTuple):
    """A run of the command that came to its end."""

    code: int
    out: str
    err: str
    output: Path


@pytest.fixture(scope="module")
def curated(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``finecut curate --log-stats`` on the mixed folder, in a process of its own."""
    output = tmp_path_factory.mktemp("curated") / "output"
    done = finecut("curate", "--input", mixed, "--output", output, *PLAIN, "--log-stats")
    return Run(done.returncode, done.stdout, done.stderr, output)


# Help.


@pytest.mark.parametrize("arguments", [["--help"], ["curate", "--help"], []])
def test_help_answers_at_once(arguments: list[str]) -> None:
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        done = finecut(*arguments)
        seconds.append(time.perf_counter() - began)
        assert done.returncode == 0
        assert "usage: finecut" in done.stdout
        assert not done.stderr
    # The best of three: the machine may be busy with something else.
    assert min(seconds) < 0.5


def test_help_has_groups_and_a_sentence_or_two_for_each_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["curate", "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    groups = re.findall(r"^(\w+):$", shown, re.MULTILINE)
    assert groups == [
        *(
            "options",
            "input",
            "cutting",
            "encoding",
            "embeddings",
            "captions",
            "output",
            "running",
            "limits",
            "examples",
        )
    ]
    # Help breaks lines at any space or hyphen.
    joined = "".join(shown.split())
    for option in option_fields():
        text = option.metadata["text"]
        assert re.fullmatch(r"[A-Z].*\.", text), f"{option.name} has no sentence"
        assert len(re.findall(r"[.!?](?:\s|$)", text)) <= 2, f"{option.name} says too much"
        assert "--" + option.name.replace("_", "-") in shown
        assert "".join(text.split()) in joined


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"finecut \d+\.\d+\.\d+\n", capsys.readouterr().out)


# Mistakes.

MISTAKES: dict[str, tuple[Sequence[str], str]] = {
    "no input": (["--output", "out"], "give --input FOLDER"),
    "no output": (["--input", "films"], "give --output FOLDER"),
    "misspelt": (["--input", "films", "--output", "out", "--limit-clip", "3"], "--limit-clips"),
    "misspelt output": (["--input", "films", "--outptu", "out"], "did you mean --output"),
    "shortened": (
        ["--input", "films", "--output", "out", "--limit", "3"],
        "unknown option --limit (",
    ),
    "unknown": (["--input", "films", "--output", "out", "--zzz"], "--help"),
    "of a runner": (["--input", "films", "--output", "out", "--region=here"], "--runner"),
    "stray word": (["--output", "out", "--input", "films", "--verbose", "more"], "--input more"),
    "no value": (["--input", "films", "--output"], "--output"),
    "no such input": (["--input", "filmz", "--output", "out"], "Give a folder"),
    "empty input": (["--input", "", "--output", "out"], "give --input"),
    "not a video": (["--input", "films/notes.doc", "--output", "out"], ".mp4"),
    "not a": (["--input", "films", "--output", "out", "--clip-length", "ten"], "a number"),
    "no whole number": (["--input", "films", "--output", "out", "--workers", "2.5"], "whole"),
    "no rate": (["--input", "films", "--output", "out", "--bit-rate", "4Q"], "such as 4M"),
    "below zero": (["--input", "films", "--output", "out", "--clip-length", "-1"], "above 0"),
    "not finite": (["--input", "films", "--output", "out", "--clip-length", "nan"], "above 0"),
    "no such choice": (["--input", "films", "--output", "out", "--encoder", "x265"], "libx265"),
    "no such runner": (["--input", "films", "--output", "out", "--runner", "Sprinter"], "--runner"),
    "too short for a clip": (
        ["--input", "films", "--output", "out", "--clip-length", "1"],
        "give --min-clip-length 1 or less",
    ),
    "two bit rates": (
        ["--input", "films", "--output", "out", "--bit-rate", "4M", "--use-input-bit-rate"],
        "give only one of them",
    ),
    "quality and bit rate": (
        ["--input", "films", "--output", "out", "--bit-rate", "4M", "--crf", "20"],
        "give only one of --crf, --bit-rate",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_with_one_line_that_helps(
    mistake: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments, advice = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    Path("films").mkdir()
    Path("films/notes.doc").touch()
    with pytest.raises(SystemExit) as ended:
        main(["curate", *arguments])
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert re.fullmatch(r"finecut curate: .+\n", shown.err), shown.err
    assert advice in shown.err
    assert not shown.out
    assert not Path("out").exists()


@pytest.mark.parametrize("arguments", [["curat"], ["--input", "films"]])
def test_without_a_command_the_commands_are_named(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert re.fullmatch(r"finecut: .*curate.*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.json", '["a.mp4"'),
        ("list.json", '["a.mp4", 3]'),
        ("list.jsonl", "a.mp4\n"),
        ("list.txt", "gs://bucket/a.mp4\na.mp4\n"),
    ],
)
def test_a_list_that_cannot_be_used_is_a_mistake_too(
    name: str,
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    arguments = ["--input", str(tmp_path / name), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(["curate", *arguments])
    assert ended.value.code == 2
    assert only_sentence(capsys.readouterr().err).startswith("finecut curate: ")
    assert not caplog.records
    assert not names_below(tmp_path / "out")


def test_an_output_that_cannot_be_written_is_said_in_one_sentence(
    films: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "taken").touch()
    output = tmp_path / "taken" / "output"
    with pytest.raises(SystemExit) as ended:
        main(["curate", "--input", str(films), "--output", str(output)])
    assert ended.value.code in (1, 2)
    assert str(tmp_path / "taken") in only_sentence(capsys.readouterr().err)
    assert not caplog.records


def only_sentence(shown: str) -> str:
    """The one line on the screen that is not progress."""
    [line] = [line for line in shown.splitlines() if not PROGRESS.fullmatch(line)]
    assert "while running" not in line, "how the run is built is nobody's business"
    return line


def test_a_missing_encoder_is_found_before_any_work(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "libopenh264" in av.codecs_available:
        pytest.skip("this FFmpeg has every encoder there is an option for")
    arguments = ["--input", str(films), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(["curate", *arguments, "--encoder", "libopenh264"])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert re.fullmatch(r"finecut curate: .*'libopenh264'.*: libx264, .*vp9.*\n", shown.err)
    assert "h264_nvenc" not in shown.err or shutil.which("nvidia-smi")
    assert not shown.out
    assert not (tmp_path / "out").exists()


# A normal run: what is on the screen, and what is on the shelf.


def test_a_run_shows_only_its_progress_and_final_words(curated: Run) -> None:
    assert curated.code == 0
    assert curated.err
    assert all(PROGRESS.fullmatch(line) for line in curated.err.splitlines()), curated.err
    assert re.search(
        r"^videos +5 found = 2 done \+ 1 empty .*2 failed \+ 0 skipped$", curated.out, re.MULTILINE
    )


def test_the_books_balance_and_say_what_failed(curated: Run, mixed: Path) -> None:
    [list_of_failures] = (curated.output / "failures").iterdir()
    assert str(list_of_failures) in curated.out
    lines = list_of_failures.read_text(encoding="utf-8").splitlines()
    failures = [from_json(Failure, line) for line in lines]
    assert {failure.source.relative for failure in failures} == {"text.mp4", "torn.mkv"}
    for failure in failures:
        assert failure.source.uri == str(mixed / failure.source.relative)
        assert failure.message
        assert f"{failure.source.name}: {failure.message}" in curated.out
    lost = sum(len(failure.lost_shots) for failure in failures)
    clips = len(list((curated.output / "clips").iterdir()))
    assert lost >= 1
    assert clips >= 5
    assert f"{clips + lost} planned = {clips} kept + 0 rejected + {lost} failed" in curated.out


def test_only_whole_videos_are_called_processed(curated: Run) -> None:
    processed = names_below(curated.output / "processed_videos")
    assert processed == {"a.mp4.json", "sub/b.mkv.json", "short.mp4.json"}
    short = json.loads((curated.output / "processed_videos/short.mp4.json").read_bytes())
    assert short["num_total_clips"] == 0


def test_everything_on_the_shelf_is_whole(curated: Run) -> None:
    assert not (curated.output / ".staging").exists()
    clips = sorted((curated.output / "clips").iterdir())
    metas = sorted((curated.output / "metas/v0").iterdir())
    assert [clip.stem for clip in clips] == [meta.stem for meta in metas]
    for clip, meta in zip(clips, metas, strict=True):
        assert clip.suffix == ".mp4"
        document = json.loads(meta.read_bytes())
        assert document["clip_location"] == str(clip)
        assert document["num_frames"] == count_frames(clip)
        assert document["num_bytes"] == clip.stat().st_size


def test_stats_have_items_seconds_and_bytes_of_each_step(curated: Run) -> None:
    header, *rows = (line.split() for line in curated.out.split("\n\n")[-1].splitlines())
    assert header == ["step", "items", "seconds", "bytes"]
    stats = {row[0]: row[1:] for row in rows}
    assert {"probe", "cut", "PublishClips", "WriteMetas"} <= set(stats)
    assert float(stats["cut"][1]) > 0
    for step, folder in (("PublishClips", "clips"), ("WriteMetas", "metas/v0")):
        items, seconds, size = stats[step]
        written = list((curated.output / folder).iterdir())
        assert int(items) == len(written)
        assert float(seconds) >= 0
        assert int(size) == sum(path.stat().st_size for path in written)


WATCH = """
import runpy, sys
NETWORK = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "urllib.Request"}
PROCESS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"}
def watch(event, arguments):
    if event in NETWORK | PROCESS:
        print("asked for", event, arguments, file=sys.stderr)
sys.addaudithook(watch)
runpy.run_module("finecut.pipeline.cli.command", run_name="__main__")
"""


def test_the_direct_runner_is_the_local_one_without_network_or_other_processes(
    films: Path, tmp_path: Path
) -> None:
    arguments = ["curate", "--input", films, "--output", tmp_path / "output", *SHORT]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            WATCH,
            *map(str, arguments),
            "--runner",
            "DirectRunner",
            "--no-isolation",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(PROGRESS.fullmatch(line) for line in done.stderr.splitlines()), done.stderr
    assert len(list((tmp_path / "output/clips").iterdir())) == 5


def test_verbose_says_of_each_video_and_clip_what_is_done(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = finecut("curate", "--input", films, "--output", output, *PLAIN, "--verbose")
    assert done.returncode == 0
    clips = {path.stem for path in (output / "clips").iterdir()}
    assert set(re.findall(r"^cut (\S+): ", done.stderr, re.MULTILINE)) == clips
    videos = set(names_below(output / "processed_videos"))
    for word in ("probed", "finished"):
        said = re.findall(rf"^{word} .*/films/(.+): ", done.stderr, re.MULTILINE)
        assert {f"{name}.json" for name in said} == videos
    assert "WARNING" not in done.stderr


# Runs that made nothing.


def test_a_folder_of_broken_files_ends_with_a_sentence(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    shutil.copy(mixed / "text.mp4", films)
    shutil.copy(mixed / "short.mp4", films)
    output = tmp_path / "output"
    assert main(["curate", "--input", str(films), "--output", str(output)]) == 1
    shown = capsys.readouterr()
    assert "2 found = 0 done + 1 empty + 1 failed" in shown.out
    assert re.fullmatch(r"finecut: no clips were made: .+\.", shown.err.splitlines()[-1])
    assert {name.split("/")[0] for name in names_below(output)} == {
        ".finecut",
        "failures",
        "processed_clip_chunks",
        "processed_videos",
    }


@pytest.mark.parametrize("given", ["films", "films/*.mp4"])
def test_an_empty_folder_ends_with_a_sentence(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "films").mkdir()
    output = tmp_path / "output"
    assert main(["curate", "--input", str(tmp_path / given), "--output", str(output)]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"finecut: no videos found in .*films.*\.mp4.*\.", line)
    assert not output.exists() or not names_below(output)


def test_books_that_do_not_balance_are_a_problem() -> None:
    options = Options(input=("films",), output="output")
    good = Summary(videos_found=3, videos_done=2, videos_empty=1, shots_planned=4, shots_kept=4)
    assert problems(options, good) == []
    lost_video = Summary(videos_found=3, videos_done=2, shots_planned=4, shots_kept=4)
    lost_shot = Summary(videos_found=1, videos_done=1, shots_planned=4, shots_kept=3)
    for summary in (lost_video, lost_shot):
        [sentence] = problems(options, summary)
        assert sentence.startswith("the counts do not add up: ")


# What may be given, and what is taken of it.


def curate(*arguments: str | Path) -> int:
    return main(["curate", *map(str, arguments), *FAST])


@pytest.mark.parametrize(
    ("given", "found"),
    [
        # Each kind is also tried without a run, in tests/transforms/find/.
        (["list.json"], {"a.mp4", "sub/b.mkv"}),
        (["films/sub/b.mkv"], {"b.mkv"}),
        (["films", "list.txt", "films/*.mp4"], {"a.mp4", "sub/b.mkv"}),
        *(
            pytest.param(given, found, marks=pytest.mark.slow)
            for given, found in (
                (["films"], {"a.mp4", "sub/b.mkv"}),
                (["films/*.mp4"], {"a.mp4"}),
                (["films/**"], {"a.mp4", "sub/b.mkv"}),
                (["films/**/*.m*"], {"a.mp4", "sub/b.mkv"}),
                (["list.txt"], {"a.mp4", "sub/b.mkv"}),
                (["list.jsonl"], {"b.mkv"}),
                (["list.csv"], {"a.mp4"}),
                (["films/a.mp4", "films/sub"], {"a.mp4", "sub/b.mkv"}),
            )
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_inputs_of_all_kinds_are_taken(
    given: list[str],
    found: set[str],
    films: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(films, "films")
    Path("list.txt").write_text(f"# all\nfilms/a.mp4\n\n{tmp_path}/films/sub/b.mkv\nfilms/a.mp4\n")
    Path("list.json").write_text('["films/a.mp4", {"path": "films/sub/b.mkv"}]')
    Path("list.jsonl").write_text('{"video": "films/sub/b.mkv"}\n')
    Path("list.csv").write_text("title,path\nFirst,films/a.mp4\n")
    only = ("--dry-run", "--no-isolation", *PLAIN)
    assert curate("--input", *given, "--output", "output", *only) == 0
    assert names_below(Path("output/processed_videos")) == {f"{name}.json" for name in found}


def test_relative_and_absolute_paths_give_the_same(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(films)
    assert curate("--input", ".", "--output", os.path.relpath(tmp_path / "output"), *PLAIN) == 0
    relative = (tmp_path / "output").rename(tmp_path / "relative")
    monkeypatch.chdir("/")
    assert curate("--input", films, "--output", tmp_path / "output", *PLAIN) == 0
    assert tree(relative) == tree(tmp_path / "output")


def test_video_limit_takes_the_first_by_path(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    assert curate("--input", films, "--output", output, *PLAIN, "--video-limit", "1") == 0
    assert names_below(output / "processed_videos") == {"a.mp4.json"}
    assert len(list((output / "clips").iterdir())) == 3


def test_limit_clips_is_a_cap_for_each_video(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    assert curate("--input", films, "--output", output, *PLAIN, "--limit-clips", "1") == 0
    assert len(list((output / "clips").iterdir())) == 2
    metas = [json.loads(path.read_bytes()) for path in (output / "metas/v0").iterdir()]
    assert {meta["source_video"] for meta in metas} == {f"{films}/a.mp4", f"{films}/sub/b.mkv"}
    assert [meta["duration_span"] for meta in metas] == [[0, 2], [0, 2]]


def test_no_upload_clips_writes_everything_else(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    assert curate("--input", films, "--output", output, *SHORT, "--no-upload-clips") == 0
    folders = {name.split("/")[0] for name in names_below(output)}
    vectors = {"efficientnet-lite0_embd", "efficientnet-lite0_embd_parquet"}
    documents = {"metas", "catalogue", "processed_clip_chunks", "processed_videos", ".finecut"}
    assert folders == {*documents, *vectors}
    assert len(list((output / "metas/v0").iterdir())) == 5


def test_dry_run_writes_documents_of_videos_and_chunks_only(films: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    assert curate("--input", films, "--output", output, *PLAIN, "--dry-run") == 0
    folders = {name.split("/")[0] for name in names_below(output)}
    assert folders == {"processed_clip_chunks", "processed_videos"}
    document = json.loads((output / "processed_clip_chunks/a.mp4_0.json").read_bytes())
    assert document["num_clips_passed"] == 3


def test_an_output_inside_the_input_is_not_taken_for_input(films: Path, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    shutil.copytree(films, folder)
    trees = []
    for _ in range(2):
        assert curate("--input", folder, "--output", folder / "clipped", *PLAIN) == 0
        trees.append(tree(folder / "clipped"))
    assert trees[0] == trees[1]


# Being stopped.

SECONDS = ("--clip-length", "1", "--min-clip-length", "1")


@pytest.fixture(scope="module")
def one_long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One reel that, with a preset that takes its time, is not cut while a test waits."""
    folder = tmp_path_factory.mktemp("long")
    paint(folder / "long.mp4", width=320, height=180, rate=15, seconds=60)
    return folder


@pytest.fixture(scope="module")
def many_short_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reels that begin and end all the time."""
    folder = tmp_path_factory.mktemp("short")
    paint(folder / "0.mp4", width=160, height=90, rate=15, seconds=2)
    for number in range(1, 800):
        shutil.copy(folder / "0.mp4", folder / f"{number}.mp4")
    return folder


@pytest.mark.parametrize(
    ("films", "preset", "wanted"),
    [
        ("one_long_film", "placebo", signal.SIGINT),
        ("many_short_films", "ultrafast", signal.SIGTERM),
        pytest.param("one_long_film", "placebo", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("many_short_films", "ultrafast", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_within_seconds_and_leaves_nothing_torn(
    films: str,
    preset: str,
    wanted: signal.Signals,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    output = tmp_path / "output"
    stop_a_run(request.getfixturevalue(films), preset, output, wanted)
    clips = list((output / "clips").iterdir())
    assert clips
    for clip in clips:
        assert clip.suffix == ".mp4"
        assert count_frames(clip) == 15
    for name in names_below(output) - {f"clips/{clip.name}" for clip in clips}:
        data = (output / name).read_bytes()
        if name.endswith(".pickle"):
            assert pickle.loads(data).shape == (1, 2560), name
        elif name.endswith(".parquet"):
            assert pq.read_table(io.BytesIO(data)).num_rows, name
        else:
            assert json.loads(data), name


DEAF = """
import hashlib
from finecut.pipeline.cli.stopping import stopping
with stopping():
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)
"""


@pytest.mark.parametrize("wanted", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_when_the_main_thread_is_not_listening(wanted: signal.Signals) -> None:
    """Python runs handlers in the main thread only, when it comes round to it. One that is deep in
    C, or just falling asleep until a worker ends, does not: one signal in fifteen waited so."""
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            process.send_signal(wanted)
            assert process.wait(timeout=5) == 128 + wanted
        finally:
            process.kill()


def stop_a_run(films: Path, preset: str, output: Path, wanted: signal.Signals) -> None:
    """Start a run, signal it when its first clip appears, and see it end."""
    arguments = ["--input", str(films), "--output", str(output), *SECONDS, "--preset", preset]
    with subprocess.Popen(
        [*COMMAND, "curate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            wait_for_a_file_in(output / "clips", process)
            process.send_signal(wanted)
            began = time.monotonic()
            out, err = process.communicate(timeout=20)
            seconds = time.monotonic() - began
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
        finally:
            process.kill()
    assert not (output / ".staging").exists()
    assert process.returncode == 128 + wanted
    assert seconds < 5
    assert not out
    assert "finecut: stopped." in err
    assert "Traceback" not in err


def wait_for_a_file_in(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not folder.is_dir() or not any(folder.iterdir()):
        assert process.poll() is None, "ended before the first file appeared"
        assert time.monotonic() < deadline, "no file appeared"
        time.sleep(0.02)
