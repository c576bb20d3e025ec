"""``finecut curate`` in one of several processes: the same command, with words for its parent only.

What it did so far, and at the end what came of it, goes as lines of JSON to the descriptor that it
was given. When nobody listens there any more, its parent has died, and it stops as if asked to.
"""

import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from finecut.io.records import to_json
from finecut.pipeline.cli.command import execute, parser_of
from finecut.pipeline.cli.outlets import outlets
from finecut.pipeline.cli.own_process import set_environment
from finecut.pipeline.commands.base import DONE
from finecut.pipeline.commands.curate import Curate

if TYPE_CHECKING:
    from finecut.pipeline.running import Ran

#: Seconds between two reports.
EVERY: Final = 0.25


def main(tells: int, words: Sequence[str]) -> int:
    """The exit code of this command line, whose words go to that descriptor."""
    with outlets(alone=True) as out:
        set_environment()
        _Telling.to = tells
        return execute(_Telling, words, parser_of(Curate), out, alone=True)


@dataclass(frozen=True)
class _Telling(Curate):
    """It says what came of it to its parent, and nothing to people."""

    name = ""
    to = 0

    def work(self) -> "Ran":
        from finecut.pipeline.running import run
        from finecut.transforms.beam.metrics import BOARD

        ended = threading.Event()
        read = BOARD.since()

        def report() -> None:
            while not ended.wait(EVERY):
                if not self._tell({"counts": read()}):
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

        reporter = threading.Thread(target=report, name="finecut-reporter", daemon=True)
        reporter.start()
        try:
            ran = run(self.options, self.runner_arguments)
        finally:
            ended.set()
            reporter.join()
        did = {
            "summary": json.loads(to_json(ran.summary)),
            "stats": ran.stats,
            "misdone": ran.misdone,
            "report": ran.report,
        }
        self._tell({"counts": read(), "did": did})
        return ran

    def _tell(self, what: dict[str, Any]) -> bool:
        """Whether somebody listens."""
        data = memoryview(f"{json.dumps(what)}\n".encode())
        try:
            while data:
                data = data[os.write(self.to, data) :]
        except OSError:
            return False
        return True

    def tell(self, _result: "Ran", _seconds: float) -> Iterator[str]:
        yield from ()

    def answer(self, _result: "Ran") -> Iterator[str]:
        yield from ()

    def problems(self, _result: "Ran") -> Sequence[str]:
        return ()

    def exit_code(self, _result: "Ran") -> int:
        return DONE
