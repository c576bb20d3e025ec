"""One run on several GPUs: a process for each, which does a part of this run's part.

    finecut curate --gpus 0,1 --part 2/3
        ├─▶ CUDA_VISIBLE_DEVICES=0   --part 2/6 ──┐  counts, four times a second, and what it did
        └─▶ CUDA_VISIBLE_DEVICES=1   --part 5/6 ──┴─▶ one line of progress, one set of final words

So a process has one GPU, as if the machine had no other, and parts write side by side as ever. What
one of them says on standard error is handed on, once where several say the same.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, Final

from finecut.io.errors import RunError
from finecut.io.records import from_json
from finecut.io.summary import Summary
from finecut.pipeline.choices.cutting import NVDEC
from finecut.pipeline.choices.running import ALL_GPUS, parse_gpus
from finecut.pipeline.cli.flags import words_of
from finecut.pipeline.cli.progress import Line, Progress
from finecut.pipeline.cli.stopping import TO_END, given_up_by
from finecut.pipeline.options import OptionError, Options
from finecut.transforms.find.parts import Part, parse_part
from finecut.transforms.find.videos import ELSEWHERE
from finecut.transforms.models.loading import num_gpus
from finecut.transforms.write.summary import NAMED_FAILURES

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
#: What a process is: Python's own words, and finecut's, found where it was found here.
CHILD: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from finecut.pipeline.cli.on_one_gpu import main; "
    "sys.exit(main(int(sys.argv[2]), sys.argv[3:]))"
)


def on_all_gpus(options: Options, count: Callable[[], int] = num_gpus) -> Options:
    """The same on every GPU of this machine, if nobody said which, and a step works on one."""
    several = options.is_local and options.gpus is None and _wants_gpu(options)
    several = several and options.watch is None  # which has no end to be shared
    if not several or (number := count()) < 2:
        return options
    return replace(options, gpus=",".join(map(str, range(number))))


def _wants_gpu(options: Options) -> bool:
    """Whether a step works on a GPU where there is one."""
    cut = options.decoder == NVDEC or options.encoder.endswith("_nvenc")
    steps = (*options.measuring, *options.making)
    return cut or any(step.needs.resources.needs_gpu for step in steps)


def gpus_of(options: Options, count: Callable[[], int] = num_gpus) -> list[str]:
    """The GPUs to share the work among, as :data:`VISIBLE` names them; none: whatever is there."""
    if options.gpus is None or not options.is_local:
        return []
    seen = count()
    if options.gpus == ALL_GPUS and seen < 2:
        return []
    wanted = range(seen) if options.gpus == ALL_GPUS else parse_gpus(options.gpus)
    if seen and max(wanted) >= seen:
        raise OptionError(
            f"--gpus {options.gpus}: there is no GPU {max(wanted)}, since torch sees {seen} here; "
            "they are counted from 0"
        )
    if not seen:
        sys.stderr.write("finecut: torch sees no GPU here, so all processes work on the CPU\n")
    named = [name for name in os.environ.get(VISIBLE, "").split(",") if name]
    return [named[each] if each < len(named) else str(each) for each in wanted]


class Shared:
    """What the processes of a run did together."""

    def __init__(self) -> None:
        self.summary = Summary()
        self.stats = Counter[str]()
        self.misdone: list[str] = []
        self.report = ""
        #: Why some did not come to their end, and the worst of their exit codes.
        self.broken: list[str] = []
        self.code = 0


def run_on(
    gpus: Sequence[str], options: Options, runner_arguments: Sequence[str], progress: Line | None
) -> Shared:
    """Do a run's work on these GPUs. Raises if none of the processes came to its end.

    ``progress`` is what shows how far they are together, if that is wanted.
    """
    parts = parse_part(options.part).divided(len(gpus))
    given = replace(options, gpus=None, workers=max(1, options.local_workers // len(gpus)))
    heard = _Heard()
    with contextlib.ExitStack() as at_work:
        processes: list[_Process] = []
        at_work.callback(lambda: _give_up(processes, heard))
        at_work.enter_context(given_up_by(lambda: _give_up(processes, heard)))
        for gpu, part in zip(gpus, parts, strict=True):
            words = [*words_of(replace(given, part=str(part))), *runner_arguments]
            processes.append(_Process(gpu, part, words, heard))
        with Progress(progress is not None, line=progress, read=lambda: _counts(processes)):
            for process in processes:
                process.wait()
    return _together(processes)


class _Heard:
    """What processes say on standard error: a line once, and none when the run is given up."""

    def __init__(self) -> None:
        self.lines: set[bytes] = set()
        self.lock = threading.Lock()
        self.stopped = False

    def hand_on(self, said: BinaryIO) -> None:
        for line in said:
            with self.lock:
                if not self.stopped and (line not in self.lines or not line.strip()):
                    self.lines.add(line)
                    sys.stderr.write(line.decode(errors="backslashreplace"))
                    sys.stderr.flush()


class _Process:
    """The process that works on one GPU."""

    def __init__(self, gpu: str, part: Part, words: Sequence[str], heard: _Heard) -> None:
        self.gpu, self.part = gpu, part
        self.counts: Mapping[str, int] = {}
        self.did: dict[str, Any] | None = None
        told, tells = os.pipe()
        given = [json.dumps(sys.path), str(tells), *words]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CHILD, *given],
                env={**os.environ, VISIBLE: gpu},
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[tells],
                start_new_session=True,  # Ctrl-C at a terminal is for its parent to hear
            )
        finally:
            os.close(tells)
        assert self.process.stderr is not None
        self.ended = threading.Event()
        self._handing_on = self._start(heard.hand_on, self.process.stderr)
        self._start(self._listen, os.fdopen(told, "rb"))

    def _start(self, work: Callable[[BinaryIO], object], said: Any) -> threading.Thread:
        thread = threading.Thread(target=work, args=(said,), name="finecut-gpu", daemon=True)
        thread.start()
        return thread

    def wait(self) -> None:
        self.ended.wait()
        self._handing_on.join(TO_END)

    def _listen(self, told: BinaryIO) -> None:
        with told:
            for line in told:
                # A process that is killed may leave half a line.
                with contextlib.suppress(ValueError):
                    said = json.loads(line)
                    self.counts = said.get("counts", self.counts)
                    self.did = said.get("did")
        # Here, and not where a signal may find it: whoever waits has a lock that others need.
        self.process.wait()
        self.ended.set()

    @property
    def trouble(self) -> str:
        """Why it did not come to its end."""
        code = self.process.returncode
        if self.did is not None and not code:
            return ""
        ended = f"ended with exit code {code}"
        if code < 0:
            ended = f"was ended by signal {-code}. Usually the machine had no memory left"
        return (
            f"the process for GPU {self.gpu} (part {self.part}) {ended}: its videos are not all "
            "done. Fix the cause, and run the same command again; everything finished stays "
            "finished"
        )


def _counts(processes: Sequence[_Process]) -> Counter[str]:
    total = Counter[str]()
    for process in processes:
        total.update(process.counts)
    return total


def _give_up(processes: Sequence[_Process], heard: _Heard) -> None:
    """End the processes that are at work. Each gives up its own run before it ends."""
    at_work = [each for each in processes if not each.ended.is_set()]
    if not at_work:
        return
    heard.stopped = True  # this process says it for all
    for process in at_work:
        process.process.send_signal(signal.SIGTERM)
    ends = time.monotonic() + TO_END
    for process in at_work:
        if not process.ended.wait(max(0.0, ends - time.monotonic())):
            process.process.kill()


def _together(processes: Sequence[_Process]) -> Shared:
    shared = Shared()
    found = 0
    for process in processes:
        if process.trouble:
            code = process.process.returncode
            shared.broken.append(process.trouble)
            shared.code = max(shared.code, code if code > 0 else RunError.exit_code)
        if (did := process.did) is not None:
            summary = from_json(Summary, json.dumps(did["summary"]))
            shared.summary += summary
            shared.stats.update(did["stats"])
            shared.misdone += did["misdone"]
            shared.report = did["report"] or shared.report
            # Each has seen all videos, and left out those of all others.
            found = max(found, summary.videos_found + did["stats"].get(ELSEWHERE, 0))
    if len(shared.broken) == len(processes):
        refused = shared.code == OptionError.exit_code
        raise (OptionError if refused else RunError)("; ".join(shared.broken))
    shared.stats[ELSEWHERE] = max(0, found - shared.summary.videos_found)
    # As many, and in the order, as one run names them.
    named = sorted(shared.summary.failures, key=lambda f: (f.source.name, f.step, f.lost_shots))
    shared.summary = replace(shared.summary, failures=tuple(named[:NAMED_FAILURES]))
    return shared
