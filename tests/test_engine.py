"""Another engine: Beam's portable job service, and workers elsewhere that share only the output.

Two pools of workers, each a process with a folder for temporary files of its own, are started as
they are on the machines of a cluster. The job service knows one address; behind it, a dispatcher
gives each worker it asks for to the next pool.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2 as fn_api
from apache_beam.portability.api import beam_fn_api_pb2_grpc as fn_grpc
from apache_beam.portability.api import beam_job_api_pb2 as job_api
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.local_job_service import BeamJob, LocalJobServicer
from faults import differences, staged, tree

from finecut.io.film.paint import paint
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


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def dispatcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Dispatcher]]:
    with ExitStack() as running:
        addresses = []
        for _ in range(POOLS):
            port, home = free_port(), tmp_path_factory.mktemp("pool")
            program = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"]
            # Workers are started by name, so their Python has to be the first on the path.
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            pool = subprocess.Popen(
                [*program, "--service_port", str(port)],
                cwd=home,
                env=os.environ | {"TMPDIR": str(home), "HOME": str(home), "PATH": path},
                start_new_session=True,
            )
            running.callback(pool.wait)
            running.callback(pool.terminate)
            addresses.append(f"127.0.0.1:{port}")
        for address in addresses:
            with grpc.insecure_channel(address) as channel:
                grpc.channel_ready_future(channel).result(timeout=60)
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
    for number in range(4):
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
    assert (together.summary.videos_done, together.summary.videos_failed) == (4, 1)
    assert differences(tree(tmp_path / "together"), tree(tmp_path / "alone")) == []
    assert staged(tmp_path / "together") == []
