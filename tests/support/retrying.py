"""Runners that do a bundle again that failed, as those of clusters do (imported by their bare
names, too).
"""

from __future__ import annotations

import threading
from typing import Any

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

#: What makes workers of :class:`RestartingRunner` processes.
IN_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=1")


class RetryingRunner(FnApiRunner):
    """Beam's local runner, which makes so many attempts at each bundle.

    What a bundle gives is held back until it is done: nothing of an attempt that fails is left.
    """

    def __init__(self, attempts: int = 4) -> None:
        super().__init__()
        self.attempts = attempts
        #: Why attempts failed.
        self.failed: list[str] = []

    def _run_bundle(self, *arguments: Any) -> Any:
        for _ in range(self.attempts - 1):
            try:
                return self.attempt(*arguments)
            except Exception as error:
                self.failed.append(str(error))
        return self.attempt(*arguments)

    def attempt(self, *arguments: Any) -> Any:
        return super()._run_bundle(*arguments)


class RestartingRunner(RetryingRunner):
    """The same with workers that are processes: where one has ended, another takes its place."""

    def attempt(self, *arguments: Any) -> Any:
        context, bundle, *_ = arguments
        known = context.worker_handler_manager._cached_handlers
        for environment, handlers in known.items():
            known[environment] = [one for one in handlers if one.worker_thread.is_alive()]
        bundle._worker_handlers = None  # asked for again
        for handler in bundle.worker_handlers:
            threading.Thread(target=_fail_with, args=(handler,), daemon=True).start()
        return super().attempt(*arguments)


def _fail_with(handler: Any) -> None:
    """What a worker was asked fails when its process ends; Beam's runner waits for ever."""
    handler.worker_thread.join()
    for name, future in [*handler.control_conn._futures_by_id.items()]:
        ended = "the worker process has ended"
        future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=name, error=ended))
