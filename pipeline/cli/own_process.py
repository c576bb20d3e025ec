"""What makes the command fast and quiet: changes to a process that is for nothing else.

    environment         libraries' own threads and settings
    import_lean         Beam without what a local run never asks it for, and without collecting
    quiet_libraries     whose words are shown
    look_here_too       modules are found where the command was started

Nothing else in finecut touches these, nor ``sys.modules``, hooks, signals or the collector: a
program that calls us decides them for itself. Standard library only, until something is imported.
"""

import gc
import importlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, Final, TextIO

ENVIRONMENT: Final = {
    # There is a worker for each core already. NumPy's own threads wait for each other by spinning.
    "OPENBLAS_NUM_THREADS": "1",
    # SVT-AV1 prints its settings past FFmpeg's log; only its errors are of interest to a user.
    "SVT_LOG": "1",
}

#: Beam's part that moves models in and out of a GPU's memory, which imports torch: a second, and
#: 180 MB. It is not used here, and Beam does without it where it cannot be imported.
MANAGER: Final = "apache_beam.ml.inference.model_manager"
#: Beam imports what it can be connected to, where it is installed: pandas for data frames, Google's
#: clients for its own file system (ours is :mod:`finecut.io.storage.cloud.gcs`), BigQuery, Pub/Sub
#: and Dataflow, and those of MongoDB. That is more than half of the time until the first video is
#: opened, and a third of the memory of each process.
UNUSED: Final = ("pandas", "apache_beam.io.gcp", "google.cloud.dataflow", "apitools", "bson")
#: What a lost connection is called; gRPC itself is imported only by who needs it.
LOST: Final = "RpcError"


def set_environment() -> None:
    """What nobody set otherwise; before the libraries that read it are imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def look_here_too() -> None:
    """Modules are found where the command was started, too, behind all that is installed.

    Python does so for ``python -m``, and not for installed commands.
    """
    here = os.getcwd()  # noqa: PTH109 - the path is a list of texts
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)


def ignore_warnings() -> None:
    """Libraries warn their developers; whoever cuts videos cannot act on it."""
    warnings.simplefilter("ignore")


def import_lean(module: str, without_unused: bool = True) -> None:
    """Import what does a command's work, fast, and Beam without its managers of models.

    ``without_unused``: also without what a run on this machine never asks Beam for. Who wants
    pandas imports it afterwards as ever; Beam does without for as long as the process lives. So
    not where a job is handed over to a cluster, nor where custom steps may use all that Beam has.
    """
    # Thousands of functions and classes are made, and none is garbage.
    gc.disable()
    try:
        if without_unused:
            # It warns where there is no MongoDB.
            logging.getLogger("apache_beam.io.mongodbio").setLevel(logging.ERROR)
            with without(*UNUSED):
                importlib.import_module("apache_beam")
        _import_inference()
        _remember_signatures()
        importlib.import_module(module)
        importlib.import_module("finecut.io.media.limits").return_large_blocks()
    finally:
        gc.freeze()
        gc.enable()


def _import_inference() -> None:
    with without(MANAGER):
        inference = importlib.import_module("apache_beam.ml.inference.base")
    # What Beam measures memory with is forgotten along with that part.
    vars(inference)["resource"] = importlib.import_module("resource")


def _remember_signatures() -> None:
    """Beam asks each step for the signatures of all its methods, six times for each pipeline: that
    is a tenth of a short run, and most of the methods are those of the base class.
    """
    core = importlib.import_module("apache_beam.transforms.core")
    ask = core.get_function_args_defaults
    known: dict[FunctionType, tuple[list[str], list[Any]]] = {}

    def remembered(method: Any) -> tuple[list[str], list[Any]]:
        function = getattr(method, "__func__", None)
        if not isinstance(function, FunctionType):
            return ask(method)
        if function not in known:
            known[function] = ask(method)
        names, defaults = known[function]
        return [*names], [*defaults]

    vars(core)["get_function_args_defaults"] = remembered


@contextmanager
def without(*names: str) -> Iterator[None]:
    """These modules cannot be imported for a while; those that have been already stay.

    Only for what gets along without them: who tries to import one is told that there is none.
    """
    missing = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


# ── logs ─────────────────────────────────────────────────────────────────────────────────────────


class Handler(logging.StreamHandler[TextIO]):
    """Ours, to be told from what a host program has set up."""


def quiet_libraries(verbose: bool) -> None:
    """Beam talks about itself at every start; only errors concern who did not ask."""
    logging.getLogger("apache_beam").setLevel(logging.WARNING if verbose else logging.ERROR)
    # Its local runner says that threads are not parallel: ours spend their time outside Python.
    logging.getLogger("apache_beam.runners.portability").setLevel(logging.ERROR)
    _show_logs(logging.NOTSET if verbose else logging.ERROR)
    if verbose:
        logging.getLogger("finecut").setLevel(logging.DEBUG)


@contextmanager
def said_once(is_local: bool) -> Iterator[None]:
    """Within, Beam does not show, stack and all, what comes as an error a moment later."""
    if not is_local:
        with _without_stacks():
            yield
        return
    worker = logging.getLogger("apache_beam.runners.common")
    level = worker.level
    worker.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        worker.setLevel(level)


@contextmanager
def _without_stacks() -> Iterator[None]:
    """Within, neither the log nor the threads of Beam's that speak with an engine show stacks.

    Where an error leaves through here nothing is set back: these threads notice one by one that
    their connection is lost, and the next command shows logs as it wants them.
    """
    mine = [h for h in logging.getLogger().handlers if isinstance(h, Handler) and h.level]
    for handler in mine:
        handler.addFilter(_is_no_stack)
    before = threading.excepthook

    def hook(args: Any) -> None:
        if not mine or LOST not in {kind.__name__ for kind in args.exc_type.__mro__}:
            before(args)

    threading.excepthook = hook
    yield
    threading.excepthook = before
    for handler in mine:
        handler.removeFilter(_is_no_stack)


def _is_no_stack(record: logging.LogRecord) -> bool:
    return record.name != "root" and not record.name.startswith("apache_beam")


def _show_logs(level: int) -> None:
    """From this level on, unless the program that calls us has a handler of its own.

    Without any, the first library that warns makes one, which shows all warnings after it.
    """
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, Handler)]:
        root.removeHandler(old)
    if not root.handlers:
        handler = Handler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        handler.setLevel(level)
        root.addHandler(handler)
