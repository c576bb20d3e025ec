"""A runner with two pools of workers that does a bundle again when a worker dies, as clusters do.

``finecut curate --runner on_pools.OnPools`` has it in its own process, so that it dies with it.
With ``--right-fitting``, machines with a GPU are those of the second pool; else, all are of one
kind, and both pools have one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2, endpoints_pb2
from retrying import RetryingRunner

#: Names the variable that names the addresses of the two pools.
POOLS = "FINECUT_TESTS_POOLS"
#: What it runs on.
KIND = common_urns.environments.EXTERNAL.urn
#: What tells whether those that cut have a GPU, and all others with them.
CUTTING = "CutClips/Cut"
GPU = common_urns.resource_hints.ACCELERATOR.urn


class OnPools(RetryingRunner):
    """Beam's local runner on two pools of workers. Who died is replaced."""

    def __init__(self) -> None:
        super().__init__(attempts=4)
        self.one_kind = False
        self.pools = [_at(address) for address in os.environ[POOLS].split(",")]

    def run_via_runner_api(self, pipeline_proto: Any, options: Any) -> Any:
        parts = pipeline_proto.components
        on_gpu = {
            name: any(hint == GPU for hint in each.resource_hints)
            for name, each in parts.environments.items()
        }
        cutting = (each for each in parts.transforms.values() if each.unique_name == CUTTING)
        self.one_kind = on_gpu[next(cutting).environment_id]
        for name, each in parts.environments.items():
            each.urn, each.payload = KIND, self.pools[on_gpu[name]]
        return super().run_via_runner_api(pipeline_proto, options)

    def attempt(self, *arguments: Any) -> Any:
        manager, stage = arguments[0].worker_handler_manager, arguments[1]
        name = stage.stage.environment
        workers = self._staffed(manager, name)
        stage._worker_handlers = workers
        with _missed(workers):
            return super().attempt(*arguments)

    def _staffed(self, manager: Any, kind: str) -> list[Any]:
        """Workers of this kind that are alive: of one kind there is one in each pool, and bundles
        go to one after the other.
        """
        if any(_is_dead(worker) for worker in manager._cached_handlers[kind]):
            manager._cached_handlers[kind].clear()
        if not self.one_kind:
            return list(manager.get_worker_handlers(kind, 1))
        for number, pool in enumerate(self.pools, 1):
            manager._environments[kind].payload = pool
            workers = manager.get_worker_handlers(kind, number)
        return list(workers)


@contextmanager
def _missed(workers: list[Any]) -> Iterator[None]:
    """Within, who waits for a worker that dies is told. Beam's own runner waits for ever."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            for worker in filter(_is_dead, workers):
                worker.control_conn.abort(RuntimeError("a worker died"))

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()


def _is_dead(worker: Any) -> bool:
    connection = worker.control_conn
    return connection._input is not None and not connection._read_thread.is_alive()


def _at(address: str) -> bytes:
    endpoint = endpoints_pb2.ApiServiceDescriptor(url=address)
    payload = beam_runner_api_pb2.ExternalPayload(endpoint=endpoint)
    return bytes(payload.SerializeToString())
