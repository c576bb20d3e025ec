"""``finecut doctor``: whether this machine can do what the options ask, found out by doing it."""

from __future__ import annotations

import sys

from finecut.io.errors import NOT_DONE
from finecut.pipeline.commands.base import DONE, Page, VideoCommand


class Doctor(VideoCommand[bool]):
    name = "doctor"
    page = Page(
        "Test whether this machine can do what the options of curate ask for: codecs, models, "
        "output.",
        "Takes the options of curate, but needs no input. The exit code is 1 if something "
        "does not work.",
        examples=(("before a long run", "finecut doctor --output dataset --generate-captions"),),
        usage="[options of curate]",
    )
    does = "finecut.pipeline.commands.doctor.work:doctor"
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
