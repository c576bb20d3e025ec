"""Weather: trouble that is no clip's, and what a run does about it.

    a store that is still busy after all patience ─▶ the engine does the bundle again
    a GPU that is dead until its process ends     ─▶ the process ends, and the engine starts another
    clip after clip that a step marks             ─▶ the run stops

Whatever is for the engine leaves the bundle as a :class:`ForTheEngine`, past all guards. An engine
that makes one attempt at each bundle would end the whole run because of one object, so there a busy
store costs a video and is listed, as an accident is; the next run does the video again. And on this
machine nobody starts another process, so the run stops with a sentence.
"""

import logging
import os
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

from finecut.io.records import Source
from finecut.io.storage.retry import away, has_outlasted, outlasted_at
from finecut.transforms.write.secrets import redacted

LOG: Final = logging.getLogger("finecut")

#: How a process ends whose GPU is dead (``EX_IOERR``).
DEAD_DEVICE: Final = 74


class ForTheEngine(Exception):
    """Trouble of no clip: no guard keeps it, and the bundle fails with it."""


class StoreBusy(ForTheEngine):
    """A store that was still busy when all patience was over."""


class DeviceLost(ForTheEngine):
    """A GPU that answers nothing any more in this process."""


class TooManyMarked(ForTheEngine):
    """A step that marks one clip after the other."""


@dataclass(frozen=True)
class Weather:
    """What a run does about trouble that is no clip's; without arguments: nothing."""

    #: Whether a bundle may fail: usually because the engine does it again.
    retries: bool = False
    #: The process that planned the run and is not ended for a GPU; nothing: none is.
    home: str = ""

    def pass_on(self, error: Exception, doing: str) -> None:
        """Raise what is for the engine, or end this process if its GPU is dead."""
        if self.retries and has_outlasted(error):
            address = outlasted_at(error)
            raise StoreBusy(
                f"{doing}, and a store was still busy after all attempts "
                f"({f'{address}: ' if address else ''}{type(error).__name__}: {_line(error)}). "
                "Usually it is overloaded, or the network to it is down. A runner that tries again "
                "does this part of the work again; if the command ended with this, the store was "
                "away for long: run the same command again to continue"
            ) from error
        if self.home and is_lost_device(error):
            words = (
                f"{doing}, and the GPU, or the program that works on it, stopped responding "
                f"({type(error).__name__}: {_line(error)}). Everything else that this process "
                "asks it would fail, too, so"
            )
            if self.home != this_process():
                end_process(
                    f"{words} the process ends, and the runner starts another. If that happens "
                    "again and again, check the GPU with nvidia-smi"
                )
            raise DeviceLost(
                f"{words} the run stopped before it marks clips with this. Usually the driver or "
                "the GPU failed (nvidia-smi shows whether it still works), or the code of a model "
                "has a bug: run the same command again to continue. If it stops at the same video "
                "again, run without that step, or with its model on the CPU"
            ) from error


#: Nothing is expected: whatever breaks is an accident.
FAIR: Final = Weather()
#: Of commands that say what lies in a dataset: they rather end than say it of what they could not
#: see, also where nothing is done again.
STRICT: Final = Weather(retries=True)


def at_work(step: str, source: Source) -> str:
    """How sentences about weather begin."""
    return f"{step} was working on {source.name}"


def this_process() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"


def end_process(words: str) -> None:
    """End this worker process without a word to its engine, which sees that it is gone."""
    LOG.error("%s", words)
    sys.stderr.write(f"finecut: {words}\n")
    sys.stderr.flush()
    os._exit(DEAD_DEVICE)


def _line(error: BaseException) -> str:
    """The first line of what it says; CUDA adds three of advice for programmers."""
    return redacted((str(error) or repr(error)).strip().splitlines()[0].rstrip("."))


# ── sentences that come back through an engine ───────────────────────────────────────────────────

_KINDS: Final = "|".join(kind.__name__ for kind in (StoreBusy, DeviceLost, TooManyMarked))
_SENTENCE: Final = re.compile(rf"weather\.(?:{_KINDS}): (.+)")
#: What an engine writes behind it.
_AFTER: Final = re.compile(r" \[while running|\\n|\n")


def sentence_of(error: BaseException | str) -> str:
    """What one of these says, in the text that an engine made of it; nothing if there is none.

    >>> sentence_of("File x\\nfinecut.transforms.beam.weather.StoreBusy: it is [while running 'a']")
    'it is'
    """
    if isinstance(error, ForTheEngine):
        return _AFTER.split(str(error))[0]
    found = _SENTENCE.search(str(error))
    return _AFTER.split(found[1])[0] if found else redacted(away(error))


# ── GPUs ─────────────────────────────────────────────────────────────────────────────────────────

#: What torch calls errors of a device, and vLLM the end of the process that works on it.
DEVICE_ERRORS: Final = frozenset({"AcceleratorError", "EngineDeadError"})
#: How torch, the libraries behind it and ONNX Runtime begin what they say of one.
DEVICE_WORDS: Final = (
    "cuda error",
    "cuda failure",
    "cudnn error",
    "cudnn_status_",
    "cublas_status_",
    "hip error",
    "device-side assert",
)
FULL_WORDS: Final = ("out of memory", "allocate memory", "status_alloc_failed")
ENGINE_DEAD: Final = "EngineDeadError"


def out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch might have worked."""
    words = str(error).lower()
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return full or any(said in words for said in FULL_WORDS)


def device_answers() -> bool | None:
    """Whether torch's GPU still does anything in this process; ``None`` if it has none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def is_lost_device(
    error: BaseException, answers: Callable[[], bool | None] = device_answers
) -> bool:
    """Whether a GPU is dead for this process: a question that fits nowhere, or that it cannot do,
    leaves it alive.

    A model may sit in another process of this machine, which all others ask: it is lost, too, when
    that one has ended.
    """
    if _asks_nobody(error):
        return True
    kinds = {kind.__name__ for kind in type(error).__mro__}
    words = str(error).lower()
    of_device = bool(kinds & DEVICE_ERRORS) or (
        isinstance(error, RuntimeError) and any(said in words for said in DEVICE_WORDS)
    )
    if not of_device or out_of_memory(error):
        return False
    return ENGINE_DEAD in kinds or answers() is not True


def _asks_nobody(error: BaseException) -> bool:
    """Whether a connection broke to a model in another process."""
    if not isinstance(error, EOFError | ConnectionError):
        return False
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_globals.get("__name__", "").startswith("multiprocessing."):
            return True
        at = at.tb_next
    return False


# ── clips that are marked ────────────────────────────────────────────────────────────────────────


class InARow:
    """How many clips each step has marked since the last one that it did not mark."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._rows: Counter[str] = Counter()

    def see(self, marks: Collection[str], looked_at: bool) -> Iterator[str]:
        """The steps that have marked too many, now that they have marked this clip, too; only one
        that was ``looked_at`` to the end speaks for the others.

        >>> rows = InARow(2)
        >>> [list(rows.see(marks, True)) for marks in (["a"], ["b"], ["a"], ["a", "b"])]
        [[], [], [], ['a']]
        """
        with self._lock:
            if looked_at:
                for step in [step for step in self._rows if step not in marks]:
                    del self._rows[step]
            self._rows.update(marks)
            full = [step for step in marks if 0 < self.most <= self._rows[step]]
        yield from full
