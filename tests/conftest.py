"""What tests in several files ask for."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis
import pytest
from footage import painted

from finecut.io.film.paint import Painting

# How long an example takes says more about who else uses the machine than about the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Painting]:
    """Paint a case of the footage, once."""
    folder = tmp_path_factory.mktemp("films")
    return lambda name: painted(name, folder)
