"""finecut's front door in Python: ``from finecut.pipeline import Options, curate, run``.

The names are looked up when they are used, so that importing this package stays cheap. No module
in here may have the name of one of them: importing it would put the module in the name's place.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from finecut.pipeline.options import OptionError, Options

if TYPE_CHECKING:
    from finecut.pipeline.curation import Curated, curate
    from finecut.pipeline.running import Ran, run

__all__ = ["Curated", "OptionError", "Options", "Ran", "curate", "run"]

_HOME = {"Curated": "curation", "curate": "curation", "Ran": "running", "run": "running"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
