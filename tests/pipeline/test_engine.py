"""Another engine: Beam's portable job service, and workers elsewhere that share only the output.

Two pools of workers, each a process with a folder for temporary files of its own, are started as
they are on the machines of a cluster. The job service knows one address; behind it, a dispatcher
gives each worker it asks for to the next pool.
"""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2 as fn_api
from apache_beam.portability.api import beam_fn_api_pb2_grpc as fn_grpc
from apache_beam.portability.api import beam_job_api_pb2 as job_api
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.local_job_service import BeamJob, LocalJobServicer
from apache_beam.runners.portability.stager import Stager
from beam_workers import pool_in
from faults import differences, staged, tree
from performing import dedup, shard
from places import ROOT
from planted import planted, write_tables

from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.commands.dedup import DedupOptions
from finecut.pipeline.commands.shard import ShardOptions
from finecut.pipeline.options import Options
from finecut.pipeline.running import run

POOLS = 2


class Dispatcher(fn_grpc.BeamFnExternalWorkerPoolServicer):
    """Gives workers out to the pools in turn."""

    def __init__(self, addresses: list[str]) -> None:
        self.pools = [
            fn_grpc.BeamFnExternalWorkerPoolStub(grpc.insecure_channel(address))
            for address in addresses
        ]
        self.turn = itertools.cycle(range(len(addresses)))
        #: Which pool has which worker.
        self.started: dict[str, int] = {}

    def StartWorker(self, request: Any, context: Any) -> Any:
        self.started[request.worker_id] = pool = next(self.turn)
        return self.pools[pool].StartWorker(request)

    def StopWorker(self, request: Any, context: Any) -> Any:
        pool = self.started.get(request.worker_id)
        if pool is None:
            return fn_api.StopWorkerResponse()
        return self.pools[pool].StopWorker(request)


class Job(BeamJob):
    """A job of the service, on as many workers as there are pools."""

    def _invoke_runner(self) -> Any:
        self.set_state(job_api.JobState.RUNNING)
        runner = FnApiRunner(provision_info=self._provision_info)
        runner._num_workers = POOLS
        return runner.run_via_runner_api(self._pipeline_proto, self.pipeline_options())


@pytest.fixture(scope="module")
def dispatcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Dispatcher]]:
    with ExitStack() as running:
        homes = [tmp_path_factory.mktemp("pool") for _ in range(POOLS)]
        python = Path(sys.executable)
        addresses = [running.enter_context(pool_in(home, python)) for home in homes]
        dispatcher = Dispatcher(addresses)
        server = grpc.server(ThreadPoolExecutor(4))
        fn_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(dispatcher, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        running.callback(server.stop, None)
        yield f"127.0.0.1:{port}", dispatcher


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for number in range(2):
        paint(folder / f"{number}.mp4", width=64, height=36, rate=10, seconds=3 + number)
    (folder / "torn.mp4").write_bytes((folder / "0.mp4").read_bytes()[:900])
    return folder


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of the job service."""
    servicer = LocalJobServicer(beam_job_type=Job)
    port = servicer.start_grpc_server()
    yield f"localhost:{port}"
    servicer.stop()


def options(films: Path, output: Path, **others: Any) -> Options:
    return Options(
        input=(str(films),),
        output=str(output),
        clip_length=1.0,
        min_clip_length=0.5,
        chunk_seconds=2,
        generate_previews=True,
        preview_target_height=36,
        motion_filter="score-only",
        **others,
    )


@pytest.mark.slow
def test_two_pools_of_workers_write_what_one_machine_writes(
    films: Path, dispatcher: tuple[str, Dispatcher], service: str, tmp_path: Path
) -> None:
    address, dispatched = dispatcher
    alone = run(options(films, tmp_path / "alone"))
    together = run(
        options(films, tmp_path / "together", runner="PortableRunner"),
        [
            f"--job_endpoint={service}",
            "--environment_type=EXTERNAL",
            f"--environment_config={address}",
        ],
    )
    assert {*dispatched.started.values()} == {*range(POOLS)}
    assert together.summary == alone.summary
    assert (together.summary.videos_done, together.summary.videos_failed) == (2, 1)
    assert differences(tree(tmp_path / "together"), tree(tmp_path / "alone")) == []
    assert staged(tmp_path / "together") == []


@pytest.mark.slow
def test_two_pools_of_workers_find_the_duplicates_that_one_machine_finds(
    dispatcher: tuple[str, Dispatcher], service: str, tmp_path: Path
) -> None:
    address, dispatched = dispatcher
    dispatched.started.clear()
    ids, vectors, pairs = planted(240, 16)
    write_tables(tmp_path / "vectors", ids, vectors, 9)
    for name, more in (("alone", {}), ("together", {"runner": "PortableRunner"})):
        told: dict[str, Any] = {"embeddings": str(tmp_path / "vectors"), "clusters": 4, **more}
        arguments = [
            f"--job_endpoint={service}",
            "--environment_type=EXTERNAL",
            f"--environment_config={address}",
        ]
        found = dedup(
            DedupOptions(dataset=str(tmp_path / name), eps=0.1, **told), arguments if more else []
        )[1]
        assert found.removed >= 0.95 * len(pairs)
    assert {*dispatched.started.values()} == {*range(POOLS)}
    assert differences(tree(tmp_path / "together"), tree(tmp_path / "alone")) == []
    assert staged(tmp_path / "together/dedup") == []


@pytest.mark.slow
def test_two_pools_of_workers_shard_what_one_machine_shards(
    films: Path, dispatcher: tuple[str, Dispatcher], service: str, tmp_path: Path
) -> None:
    address, _ = dispatcher
    run(options(films, tmp_path / "data"))
    told = ShardOptions(
        dataset=str(tmp_path / "data"),
        output=str(tmp_path / "alone"),
        shard_clips=2,
        drop=(str(tmp_path / "drop.txt"),),
    )
    [first, *_] = sorted((tmp_path / "data" / "clips").iterdir())
    (tmp_path / "drop.txt").write_text(f"{first.stem}\n")
    alone = shard(told)
    together = shard(
        dataclasses.replace(told, output=str(tmp_path / "together"), runner="PortableRunner"),
        [
            f"--job_endpoint={service}",
            "--environment_type=EXTERNAL",
            f"--environment_config={address}",
        ],
    )
    assert alone.books.written > 4
    assert together.books == alone.books
    assert differences(tree(tmp_path / "together"), tree(tmp_path / "alone")) == []
    assert staged(tmp_path / "together") == []


def staged_package(folder: Path) -> Path:
    """What Beam sends to workers for ``--setup_file``."""
    options = PipelineOptions([f"--setup_file={ROOT / 'setup.py'}"])
    Stager.create_job_resources(options, str(folder))
    [package] = folder.glob("finecut-*.tar.gz")
    return package


def environment_with(package: Path, folder: Path) -> Path:
    """The Python of a new environment that has this package and nothing else of ours.

    What it needs is borrowed: a folder named in a .pth file is searched, but the .pth files in it
    (an editable install is one) are not obeyed.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--target", site, package),
        ],
        check=True,
    )
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return folder / "bin/python"


@pytest.mark.slow
def test_the_staged_package_runs_a_worker(films: Path, tmp_path: Path) -> None:
    """All that a worker needs is in what is sent to it: in an environment of nothing else."""
    for name in ("staged", "home"):
        (tmp_path / name).mkdir()
    python = environment_with(staged_package(tmp_path / "staged"), tmp_path / "venv")
    where = subprocess.run(
        [python, "-c", "import finecut.io.storage.files as m; print(m.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(tmp_path / "venv")
    alone = run(options(films, tmp_path / "alone"))
    with pool_in(tmp_path / "home", python) as address:
        there = run(
            options(films, tmp_path / "there", runner="PortableRunner"),
            [
                "--job_endpoint=embed",
                "--environment_type=EXTERNAL",
                f"--environment_config={address}",
            ],
        )
    # The evidence of a failure names the files of the package, which lie elsewhere.
    listed = [dataclasses.replace(ran.summary, failures=()) for ran in (there, alone)]
    assert listed[0] == listed[1]
    found = differences(tree(tmp_path / "there"), tree(tmp_path / "alone"))
    assert [name for name in found if not name.startswith("failures/")] == []
