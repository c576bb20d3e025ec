"""Prism runs what the local runner runs, shows the same, and its deaths cost a sentence."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from apache_beam.version import __version__ as BEAM
from curated import curated
from faults import differences, staged, tree
from on_prism import (
    FINECUT,
    PROGRAM,
    command,
    kill,
    needs_prism,
    pool,
    prisms,
    started,
    workers_of_pools,
)

from finecut.io.errors import RunError
from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.cli.command import main
from finecut.pipeline.engines import ends_with_us, in_process, prism
from finecut.pipeline.engines.prism import at_work, located, reason_in
from finecut.pipeline.options import OptionError

#: How often each death is tried. The moments are random; the seed is told when one fails.
DEATHS = int(os.environ.get("DEATHS", "3"))
FILMS, SECONDS = 6, 6


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number in range(FILMS):
        paint(folder / f"{number}.mp4", width=320, height=180, rate=12, seconds=SECONDS)
    return folder


@pytest.fixture(scope="module")
def local(films: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The dataset of the local runner, and what was said."""
    output = tmp_path_factory.mktemp("local") / "out"
    done = subprocess.run(
        command(films, output, "--runner", "local"), capture_output=True, text=True, check=True
    )
    return output, done.stdout


def without_figures(words: str) -> str:
    """Final words without names of folders and what differs from run to run."""
    return re.sub(
        r"[\d.:]+x real time.*|/\S+|(speed +)?[\d.]+ ((clips|rows) per second|s\b|MB/s).*",
        "…",
        words,
    )


def same(local: Path, output: Path) -> None:
    assert differences(tree(local), tree(output)) == []
    assert staged(output) == []


@needs_prism
def test_a_job_writes_and_says_what_the_local_runner_does(
    films: Path, local: tuple[Path, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    done = subprocess.run(command(films, output), capture_output=True, text=True, check=True)
    same(local[0], output)
    assert without_figures(done.stdout) == without_figures(local[1])
    # Of a machine that is busy, the first line may come before the first clip.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("probing ")]
    assert all(re.search(r"\b\d+ clips?\b", line) for line in lines), lines
    counted = [int(re.search(r"(\d+) clips?\b", line)[1]) for line in lines]  # type: ignore[index]
    clips = [*output.glob("clips/*.mp4"), *output.glob("filtered_clips/*.mp4")]
    assert counted == sorted(counted)
    assert lines[-1].startswith(
        f"done       {len(clips)} clips, {FILMS} of {FILMS} videos probed, 100%"
    )
    assert not prisms()


@needs_prism
@pytest.mark.slow
def test_workers_of_their_own_do_the_same(
    films: Path, local: tuple[Path, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with pool(tmp_path / "home") as where:
        done = subprocess.run(
            command(films, output, *where), capture_output=True, text=True, check=True
        )
    same(local[0], output)
    assert without_figures(done.stdout) == without_figures(local[1])
    assert done.stderr.splitlines()[-1].startswith("done ")


@needs_prism
@pytest.mark.slow
def test_beams_own_name_and_options_go_on_working(
    films: Path, local: tuple[Path, str], tmp_path: Path
) -> None:
    words = [f"--prism_location={PROGRAM}", "--environment_type=LOOPBACK"]
    output = tmp_path / "out"
    subprocess.run(command(films, output, "--runner", "PrismRunner", *words), check=True)
    same(local[0], output)


@needs_prism
@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [False, True], ids=["threads", "pool"])
def test_the_commands_on_a_dataset_do_the_same_there(tmp_path: Path, elsewhere: bool) -> None:
    with pool(tmp_path / "home") as where:
        on_prism = ["--runner", "prism", *(where if elsewhere else ())]
        here = everything_after(tmp_path / "work", "--runner", "local", "--workers", "1")
        there = everything_after(tmp_path / "work", *on_prism)
    assert differences(here[0], there[0]) == []
    assert here[1] == there[1]


@pytest.mark.slow
def test_the_commands_on_a_dataset_do_the_same_with_one_worker_and_two(tmp_path: Path) -> None:
    one, two = (
        everything_after(tmp_path / "work", "--runner", "local", "--workers", workers)
        for workers in ("1", "2")
    )
    assert differences(one[0], two[0]) == []
    assert one[1] == two[1]


def everything_after(work: Path, *runner: str) -> tuple[dict[str, bytes], list[str]]:
    """What the commands write that follow curation, and what they say."""
    # One name for all runners: what is written names its dataset.
    dataset = str(curated(work).root)
    rule = ["--motion-filter", "enable", "--motion-global-mean-threshold", "0.01"]
    said = [
        done("dedup", dataset, "--into", f"{work}/dedup", "--eps", "0.1", *runner),
        done("search", dataset, "film", "--ids", f"{work}/found.txt", *runner),
        done("shard", dataset, "--output", f"{work}/shards", *runner),
        done("verify", dataset, "--shards", f"{work}/shards", *runner),
        done("refilter", dataset, "--yes", *rule, *runner),
        done("report", dataset, *runner),
        done("compact", dataset, *runner),
    ]
    # What tells when it was made is not the same in two runs of one engine, either.
    lasting = {
        path: data
        for path, data in tree(work).items()
        if path != "output/report/index.html"
        and not path.startswith("output/runs/")
        and not path.endswith("summary.json")
    }
    shutil.rmtree(work)
    return lasting, [without_figures(words) for words in said]


def done(*words: str) -> str:
    """What a command says at its end, and how it ends: this dataset is not without faults."""
    ended = subprocess.run([FINECUT, *words], capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    return f"{ended.stdout}{ended.returncode}"


# ── deaths ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> random.Random:
    seed = random.randrange(10**6)
    request.node.user_properties.append(("seed", seed))
    print(f"seed {seed}")
    return random.Random(seed)


def when_at_work(output: Path, process: subprocess.Popen[str], clips: int) -> None:
    """Until so many clips lie there, or the process has ended."""
    while process.poll() is None and len(list(output.glob("clips/*.mp4"))) < clips:
        time.sleep(0.02)


def again(words: list[str], local: Path, output: Path) -> None:
    """The same command goes on from there."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    same(local, output)


@needs_prism
@pytest.mark.slow
def test_a_worker_that_dies_costs_a_sentence_and_no_work(
    films: Path, local: tuple[Path, str], tmp_path: Path, moments: random.Random
) -> None:
    with pool(tmp_path / "home") as where:
        for turn in range(DEATHS):
            output = tmp_path / f"out{turn}"
            words = command(films, output, *where, "--quiet")
            process = started(words)
            when_at_work(output, process, moments.randrange(1, FILMS * SECONDS // 2 - 2))
            workers = workers_of_pools()
            assert workers or process.poll() is not None
            for worker in workers:
                kill(worker)
            _, err = process.communicate(timeout=120)
            if process.returncode:
                [said] = err.splitlines()
                assert said.startswith("finecut: --runner prism gave up on the job (")
                assert "SDK worker disconnected" in said
                assert "run the same command again to continue" in said
                assert staged(output) == []
            assert not prisms()
            again(words, local[0], output)


@needs_prism
@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [False, True], ids=["threads", "pool"])
def test_a_driver_that_dies_takes_prism_with_it(
    films: Path, local: tuple[Path, str], tmp_path: Path, moments: random.Random, elsewhere: bool
) -> None:
    with pool(tmp_path / "home") as where:
        for turn in range(DEATHS):
            output = tmp_path / f"out{turn}"
            words = command(films, output, *(where if elsewhere else ()), "--quiet")
            process = started(words)
            when_at_work(output, process, moments.randrange(0, FILMS * SECONDS // 2 - 2))
            kill(process.pid)
            process.communicate()
            gone(lambda: not prisms())
            again(words, local[0], output)


@needs_prism
@pytest.mark.slow
def test_half_of_the_work_is_kept_when_a_job_is_killed_at_half(tmp_path: Path) -> None:
    """What is finished is committed: nothing waits for the end of the job."""
    number, films, output = 40, tmp_path / "films", tmp_path / "out"
    films.mkdir()
    for each in range(number):
        paint(films / f"{each}.mp4", width=320, height=180, rate=12, seconds=SECONDS)
    process = started(command(films, output, "--quiet"))
    when_at_work(output, process, number * SECONDS // 2 // 2)
    kill(process.pid)
    process.communicate()
    gone(lambda: not prisms())
    said = subprocess.run(command(films, output), capture_output=True, text=True, check=True).stdout
    skipped = int(re.search(r"(\d+) skipped", said)[1])  # type: ignore[index]
    assert skipped >= 0.45 * number, said


@needs_prism
@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_stopped_ends_at_once_and_leaves_nothing_staged(
    films: Path,
    local: tuple[Path, str],
    tmp_path: Path,
    moments: random.Random,
    sign: signal.Signals,
) -> None:
    for turn in range(DEATHS):
        output = tmp_path / f"out{turn}"
        words = command(films, output, "--quiet")
        process = started(words)
        when_at_work(output, process, moments.randrange(0, FILMS * SECONDS // 2 - 2))
        process.send_signal(sign)
        _, err = process.communicate(timeout=60)
        if process.returncode:
            assert "Traceback" not in err, err
            assert staged(output) == []
        gone(lambda: not prisms())
        again(words, local[0], output)


@needs_prism
@pytest.mark.slow
def test_prism_itself_may_die(films: Path, local: tuple[Path, str], tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = command(films, output, "--quiet")
    process = started(words)
    when_at_work(output, process, 2)
    for engine in prisms():
        kill(engine)
    _, err = process.communicate(timeout=120)
    [said] = err.splitlines()
    # Which of the two depends on whether Beam still heard of the state that the job was in.
    assert re.match(r"finecut: --runner prism (stopped responding|gave up on the job) \(", said)
    assert staged(output) == []
    again(words, local[0], output)


def gone(is_gone: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not is_gone():
        assert time.monotonic() < until
        time.sleep(0.05)


# ── without it ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Prism."""
    for name in ("HOME", "XDG_CACHE_HOME", "GOBIN", "PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def test_who_has_none_is_told_how_to_get_it(nowhere: Path) -> None:
    with pytest.raises(OptionError) as refused:
        located()
    said = str(refused.value)
    assert f"go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}" in said
    assert "make prism" in said
    assert f"at {nowhere}/finecut/beam-{BEAM}/prism" in said


def test_it_is_found_where_make_puts_it_and_on_the_path(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = prism.cache()
    place.parent.mkdir(parents=True)
    on_path = nowhere / "path/prism"
    on_path.parent.mkdir()
    on_path.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert located() == str(on_path)
    place.touch(mode=0o755)
    assert located() == str(place)
    assert located(["--prism_location", str(on_path)]) == str(on_path)


def test_a_place_without_a_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=f"--prism_location {tmp_path}/p is not a program"):
        located([f"--prism_location={tmp_path}/p"])


@pytest.mark.parametrize("runner", ["prism", "PrismRunner"])
def test_workers_that_would_never_come_are_refused(
    runner: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before Prism is looked for, and before anything is written."""
    (tmp_path / "films").mkdir()
    words = ["--input", str(tmp_path / "films"), "--output", str(tmp_path / "out")]
    process = ["--environment_type=PROCESS", '--environment_config={"command": "boot"}']
    with pytest.raises(SystemExit) as ended:
        main(["curate", *words, "--runner", runner, *process])
    assert ended.value.code == 2
    said = capfd.readouterr().err
    assert "--environment_type=PROCESS does not work with --runner prism" in said
    assert "the job waits for ever" in said
    assert "LOOPBACK" in said
    assert "--environment_type=EXTERNAL --environment_config=HOST:PORT" in said
    assert not (tmp_path / "out").exists()


def test_a_job_may_take_longer_than_an_answer() -> None:
    """Beam's own limit is five minutes; a user's comes later, so that it counts."""
    arguments = prism.Prism(["--job_server_timeout=9"], 1, "").arguments
    limits = [word for word in arguments if word.startswith("--job_server_timeout=")]
    assert limits == [f"--job_server_timeout={prism.FOR_EVER}", "--job_server_timeout=9"]


def test_what_ends_with_this_process() -> None:
    external = ["--environment_type=EXTERNAL"]
    assert ends_with_us("local", [])
    assert ends_with_us("prism", external)
    assert in_process("prism", [])
    assert not in_process("prism", external)
    assert in_process("PrismRunner", ["--environment_type", "LOOPBACK"])
    # One that others started goes on without us.
    assert not ends_with_us("PrismRunner", ["--job_endpoint=localhost:1"])
    assert not ends_with_us("FlinkRunner", [])


def test_a_program_that_dies_at_once_costs_a_sentence(tmp_path: Path) -> None:
    program = tmp_path / "prism"
    program.write_text("#!/bin/sh\necho 'panic: no port' >&2\nexit 2\n")
    program.chmod(0o755)
    with (
        pytest.raises(RunError, match=rf"{program} does not work \(no port\)"),
        at_work([f"--prism_location={program}"]),
    ):
        raise AssertionError("it does not work")


def test_the_log_names_who_is_to_blame() -> None:
    lines = [
        '{"level":"INFO","msg":"[SDK] cut a.mp4"}',
        '{"level":"ERROR","msg":"[SDK] Traceback\\n  ...\\nOSError: no space"}',
        "not json",
        "[]",
        '{"level":"ERROR","msg":"job failed","error":"SDK worker disconnected"}',
    ]
    assert reason_in(lines) == (
        "SDK worker disconnected; the last error of a worker: Traceback ... OSError: no space"
    )
    assert reason_in([]) == ""


def test_launching_there_makes_no_sense(tmp_path: Path) -> None:
    words = [FINECUT, "launch", "--input", str(tmp_path), "--output", str(tmp_path / "o")]
    done = subprocess.run(
        [*words, "--runner", "prism"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "launch needs a cluster" in done.stderr
