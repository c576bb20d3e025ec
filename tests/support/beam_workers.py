"""Pools of Beam's workers, as they are started on the machines of a cluster."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import grpc


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def pool_in(home: Path, python: Path) -> Iterator[str]:
    """The address of a pool of workers with a folder and a Python of its own."""
    port = free_port()
    # Workers are started by name, so their Python has to be the first on the path.
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    program = [str(python), "-m", "apache_beam.runners.worker.worker_pool_main"]
    pool = subprocess.Popen(
        [*program, "--service_port", str(port)],
        cwd=home,
        env=environment | {"TMPDIR": str(home), "HOME": str(home), "PATH": path},
        start_new_session=True,
    )
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
        yield f"127.0.0.1:{port}"
    finally:
        pool.terminate()
        pool.wait()
        # Workers whose driver was killed may wait for it for ever.
        with suppress(ProcessLookupError):
            os.killpg(pool.pid, signal.SIGKILL)
