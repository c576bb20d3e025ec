"""Several GPUs: one process each, which together do what one does.

There need be no GPU: what is tested is who does what, in which environment, and how it ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from daemon import until
from faults import differences, staged, tree

from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.cli import on_one_gpu
from finecut.pipeline.cli.command import parser_of
from finecut.pipeline.cli.flags import parse_options, words_of
from finecut.pipeline.commands.curate import Curate
from finecut.pipeline.on_gpus import VISIBLE, gpus_of, on_all_gpus
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.running import run
from finecut.transforms.models.loading import num_gpus

NAMES = ("a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4", "f.mp4")
COMMAND = (sys.executable, "-m", "finecut", "curate")
MORE = ("--named-as", "/films", "--clip-length", "1", "--min-clip-length", "1")
without_gpu = pytest.mark.skipif(num_gpus() > 0, reason="here are GPUs")

#: A step that says on which GPU it worked, and does what the test wants on the second one.
STEP = """
import os, signal
from finecut import EachClip

class Where(EachClip):
    scores = ("gpu",)

    def look(self, clip, frames):
        gpu = os.environ["CUDA_VISIBLE_DEVICES"]
        if gpu == os.environ.get("KILLED"):
            os.kill(os.getpid(), signal.SIGKILL)
        return {"gpu": float(gpu)}
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number, name in enumerate(NAMES):
        paint(folder / name, width=96, height=64, rate=8, seconds=1 + number % 3)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


def test_a_command_line_gives_the_same_options() -> None:
    options = Options(
        input=("films", "more films"),
        output="out",
        dry_run=True,
        keep=("motion>0.1",),
        clip_length=2.5,
        bit_rate=1_500_000,
        named_as="--odd",
    )
    parsed, rest = parse_options(parser_of(Curate), words_of(options))
    assert (parsed, rest) == (options, [])


@without_gpu
def test_gpus_are_named_as_the_environment_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(gpus: str | None) -> list[str]:
        return gpus_of(Options(input=("films",), output="out", gpus=gpus))

    monkeypatch.delenv(VISIBLE, raising=False)
    assert (named(None), named("all"), named("1,0")) == ([], [], ["1", "0"])
    monkeypatch.setenv(VISIBLE, "4,GPU-5")
    assert named("0,1") == ["4", "GPU-5"]


def test_more_gpus_than_there_are_are_refused() -> None:
    options = Options(input=("films",), output="out", gpus="0,2")
    with pytest.raises(OptionError, match="there is no GPU 2, since torch sees 2 here"):
        gpus_of(options, lambda: 2)


def test_all_gpus_are_used_where_a_step_works_on_one() -> None:
    def used(**more: Any) -> str | None:
        return on_all_gpus(Options(input=("films",), output="out", **more), lambda: 3).gpus

    assert used(no_generate_embeddings=True) is None
    assert used(no_generate_embeddings=True, aesthetic_filter="score-only") == "0,1,2"
    assert used(no_generate_embeddings=True, decoder="nvdec") == "0,1,2"
    assert used(generate_captions=True, gpus="1") == "1"
    assert used(generate_captions=True, runner="DataflowRunner") is None


@pytest.mark.slow
def test_processes_write_what_one_writes_and_say_it_once(films: Path, tmp_path: Path) -> None:
    given = Options(
        input=(str(films),),
        output=str(tmp_path / "one"),
        named_as="/films",
        clip_length=1.0,
        min_clip_length=1.0,
    )
    whole = run(given)
    words = [*COMMAND, "--input", str(films), "--output", str(tmp_path / "out"), *MORE]
    done = subprocess.run([*words, "--gpus", "0,1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert differences(tree(tmp_path / "out"), tree(tmp_path / "one")) == []
    assert staged(tmp_path / "out") == []
    assert "videos   7 found = 6 done + 0 empty + 1 failed + 0 skipped\n" in done.stdout
    assert f"clips    {whole.summary.shots_kept} planned" in done.stdout
    assert done.stdout.count("videos   ") == 1
    assert done.stderr.count("torch sees no GPU") == (num_gpus() == 0)
    progress = [line for line in done.stderr.splitlines() if line.startswith("done ")]
    assert len(progress) == 1
    assert f"{whole.summary.shots_kept} clips, 7 of 7 videos" in progress[0]
    # A part of it: the processes do parts of that part.
    parts = [*COMMAND, "--input", str(films), "--output", str(tmp_path / "parts"), *MORE]
    for part in ("1/2", "2/2"):
        subprocess.run([*parts, "--gpus", "0,1", "--part", part], check=True, capture_output=True)
    assert differences(tree(tmp_path / "parts"), tree(tmp_path / "one")) == []
    ran = [json.loads(path.read_text()) for path in (tmp_path / "parts/runs").rglob("*.json")]
    assert sorted(each["options"]["part"] for each in ran) == ["1/4", "2/4", "3/4", "4/4"]


@pytest.mark.slow
def test_each_has_its_gpu_and_one_that_dies_costs_its_own_part(films: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(STEP)
    words = [*COMMAND, "--input", str(films), "--output", "out", *MORE, "--step", "own:Where"]
    words += ["--gpus", "0,1"]

    def curated(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    died = curated(KILLED="1")
    assert died.returncode == 1
    assert "the process for GPU 1 (part 2/2) was ended by signal 9" in died.stderr
    assert gpus_in(tmp_path / "out") == {0.0}
    again = curated()
    assert again.returncode == 0, again.stderr
    assert gpus_in(tmp_path / "out") == {0.0, 1.0}
    assert staged(tmp_path / "out") == []


def gpus_in(output: Path) -> set[float]:
    documents = [json.loads(path.read_text()) for path in (output / "metas/v0").iterdir()]
    return {each["scores"]["gpu"] for each in documents}


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_all_of_them(wanted: signal.Signals, tmp_path: Path) -> None:
    films, output = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    for number in range(8):
        paint(films / f"{number}.mp4", width=320, height=180, rate=15, seconds=60)
    words = [*COMMAND, "--input", str(films), "--output", str(output), *MORE]
    process = subprocess.Popen(
        [*words, "--gpus", "0,1", "--preset", "placebo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(list((output / "clips").glob("*.mp4"))) > 1)
    began = time.monotonic()
    process.send_signal(wanted)
    _, said = process.communicate(timeout=30)
    until(lambda: not any(str(output) in line for line in commands_at_work()))
    assert time.monotonic() - began < 15
    assert staged(output) == []
    assert "Traceback" not in said
    if wanted == signal.SIGINT:
        assert process.returncode == 130
        assert said.count("finecut: stopped.") == 1


def commands_at_work() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has just ended
    return found


def test_who_has_nobody_to_tell_notices() -> None:
    told, tells = os.pipe()
    command = on_one_gpu._Telling(Options())
    on_one_gpu._Telling.to = tells
    assert command._tell({"counts": {"x": 1}})
    assert os.read(told, 100) == b'{"counts": {"x": 1}}\n'
    os.close(told)
    assert not command._tell({"counts": {}})
    os.close(tells)
