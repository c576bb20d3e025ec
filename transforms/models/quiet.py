"""What transformers says about itself while it loads, kept from those who did not ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from finecut.transforms.models.weights.folders import needed

INSTALL = "pip install 'finecut[models]'"


@contextmanager
def quiet(purpose: str = "load a model") -> Iterator[None]:
    """Without progress bars, lists of weights that were not wanted, and advice about folders."""
    logging = needed("transformers.utils.logging", INSTALL, purpose)
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
