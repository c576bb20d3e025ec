"""A runner that does a bundle again that failed, as those of clusters do."""

from __future__ import annotations

from typing import Any

from apache_beam.runners.portability.fn_api_runner import FnApiRunner


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
