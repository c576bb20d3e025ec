"""Launching commands on a dataset: the jobs that clusters are given, and what becomes of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as api
from curated import ALGORITHM, Curated, curated
from keyed import keyed_in, unsure
from performing import verify

from finecut.io.layout import Layout
from finecut.pipeline.cli.command import main, parser_of
from finecut.pipeline.cli.flags import parse_options
from finecut.pipeline.commands.base import Command, all_commands
from finecut.pipeline.commands.compact import Compact, CompactOptions
from finecut.pipeline.commands.launch import Launch, Launching, launchable
from finecut.pipeline.commands.launch.work import job_of, of_every_job, words_on_worker
from finecut.pipeline.commands.verify import VerifyOptions
from finecut.transforms.verify.report import read_report

OWN = [
    *("--project=project", "--region=us-central1", "--temp_location=gs://bucket/temp"),
    *("--staging_location=gs://bucket/staging", "--dry_run=True", "--no_auth"),
    *("--sdk_container_image=region-docker.example/project/finecut:1", "--job_name=one"),
]
#: What commands need besides a dataset.
NEEDED: dict[str, list[str]] = {
    "shard": ["--output", "gs://bucket/shards"],
    "verify": ["--quick", "--report", "gs://bucket/findings.jsonl"],
    "refilter": ["--keep", "motion>0.1", "sharpness>=0.2"],
    "forget": ["--source", "long.mp4"],
    "search": ["red boat", "--ids", "gs://bucket/ids.txt", "--limit", "7"],
    "unpack": ["--output", "gs://bucket/files"],
}
ON_DATASETS = [name for name in launchable() if name != "curate"]


@pytest.fixture
def dataset(tmp_path: Path) -> Curated:
    return curated(tmp_path)


def command_of(name: str, *words: str) -> Command[Any, Any]:
    """As it is typed behind ``finecut launch``."""
    kind, rest = Launch.meant([name, *words])
    options, arguments = parse_options(parser_of(kind), rest, kind.Options)
    launched = kind(options, arguments)
    assert isinstance(launched, Launching)
    return launched.command


def test_what_leaves_something_in_a_dataset_can_be_launched() -> None:
    for name, kind in all_commands().items():
        answers = name in (
            "summary",
            "describe",
            "estimate",
            "doctor",
            "demo",
            "completion",
            "compare",
        )
        assert kind.launchable is not (answers or name == "launch"), name


@pytest.mark.parametrize("name", ON_DATASETS)
def test_its_job_is_one_that_dataflow_takes(name: str, dataset: Curated) -> None:
    pytest.importorskip("apache_beam.runners.dataflow.dataflow_runner")
    # Only a job that is built whole needs something to look at.
    place = str(dataset.root) if launchable()[name].builds else "gs://bucket/dataset"
    words = [place, *NEEDED.get(name, []), "--runner", "DataflowRunner", *OWN]
    command = command_of(name, *words)
    pipeline = job_of(command)
    assert list(unsure(keyed_in(pipeline))) == []
    result: Any = pipeline.run()
    proto: api.Pipeline = result.job.proto_pipeline
    steps = [step for step in proto.components.transforms.values() if not step.subtransforms]
    if command.builds:
        assert len(steps) > 10
    else:
        assert any(step.unique_name.startswith(name.capitalize()) for step in steps)


@pytest.mark.parametrize("name", ON_DATASETS)
def test_a_worker_does_what_was_typed(name: str) -> None:
    words = ["gs://bucket/dataset", *NEEDED.get(name, []), "--runner", "DataflowRunner", *OWN]
    command = command_of(name, *words)
    first, *rest = words_on_worker(command)
    assert first == name
    kind = launchable()[name]
    options, arguments = parse_options(parser_of(kind), rest, kind.Options)
    here = "runner" in getattr(kind.Options, "hidden", ())
    assert options.runner == ("local" if here else "DataflowRunner")
    given = vars(command.options) | {"runner": options.runner}
    assert vars(options) == given
    assert arguments == ([] if here else of_every_job(OWN))
    assert not any(word.startswith(("--job_name", "--dry_run")) for word in arguments)


def test_what_cannot_be_launched_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["summary", "d"], "summary cannot be launched: give one of curate, dedup"),
        (["dedup", "d"], "launch needs a cluster: add --runner NAME"),
        (["report", "d"], "use finecut report"),
        (["verify", "d", "--runner", "DataflowRunner"], "give --report FILE"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["launch", *words])
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


# ── handed over to an engine that works in this process ──────────────────────────────────────────


def done(name: str, *words: str) -> None:
    command = command_of(name, *words, "--runner", "FnApiRunner")
    job_of(command).run().wait_until_finish()


def test_a_launched_verification_writes_its_report(dataset: Curated, tmp_path: Path) -> None:
    [first, *_] = sorted((dataset.root / "clips").iterdir())
    first.unlink()
    report = tmp_path / "found/findings.jsonl"
    done("verify", str(dataset.root), "--quick", "--report", str(report))
    found = read_report(report.read_bytes().splitlines())
    assert ("clip-missing", f"clips/{first.name}") in {(f.kind, f.path) for f in found.wrong}
    typed = verify(VerifyOptions(str(dataset.root), quick=True, show=1000, workers=2))
    assert found == typed
    assert [path.name for path in report.parent.iterdir()] == [report.name], "it sweeps"


def test_a_launched_compaction_rebuilds_the_catalogue(dataset: Curated) -> None:
    layout = Layout(str(dataset.root))
    # What the captioner said was added by hand.
    Compact(CompactOptions(str(dataset.root), rebuild=True)).run()
    before = Path(layout.catalogue(), "clips.parquet").read_bytes()
    Path(layout.catalogue(), "clips.parquet").write_bytes(b"")
    done("compact", str(dataset.root), "--rebuild")
    assert Path(layout.catalogue(), "clips.parquet").read_bytes() == before
    assert not Path(layout.staging()).exists()


@pytest.mark.slow
def test_a_worker_conducts_commands_of_several_jobs(dataset: Curated, tmp_path: Path) -> None:
    """And those that work in one process: the files are those of the same command typed here."""
    shards, typed = tmp_path / "shards", tmp_path / "typed"
    words = [str(dataset.root), "--vectors", ALGORITHM, "--output"]
    done("shard", *words, str(shards))
    finecut = [sys.executable, "-m", "finecut.pipeline.cli.command"]
    subprocess.run([*finecut, "shard", *words, str(typed)], check=True, capture_output=True)
    tars = sorted(path.name for path in typed.glob("*.tar"))
    assert tars
    for name in (*tars, "index.parquet"):
        assert (shards / name).read_bytes() == (typed / name).read_bytes()
    done("report", str(dataset.root), "--into", str(tmp_path / "page"))
    assert (tmp_path / "page/index.html").exists()


def test_a_command_that_fails_on_a_worker_fails_the_job(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"finecut report ended with 2 on a worker: .*no-dataset"):
        done("report", str(tmp_path / "no-dataset"))
