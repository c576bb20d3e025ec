"""``finecut doctor``: whether this machine can do what the options ask, found out by doing it."""

from __future__ import annotations

import sys

from finecut.io.errors import NOT_DONE
from finecut.pipeline.commands.base import DONE, VideoCommand


class Doctor(VideoCommand[bool]):
    name = "doctor"
    order = 22
    sentence = (
        "Find out by trying whether this machine can do what the options of curate ask: codecs, "
        "models, output."
    )
    more = "Takes the options of curate and needs no input. Ends with 1 if something does not work."
    usage = "[options of curate]"
    examples = (("before a long run", "finecut doctor --output dataset --generate-captions"),)
    heavy = "finecut.pipeline.commands.doctor.work"
    stores = ("cuts", "drop", "model_dir")
    whole = False

    def work(self) -> bool:
        from finecut.pipeline.commands.doctor.work import doctor

        return doctor(self.options, self.say)

    def say(self, text: str) -> None:
        """What was found is what was asked for: also with ``--quiet``."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def exit_code(self, result: bool) -> int:
        return DONE if result else NOT_DONE
