"""What tests in several files ask for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from footage import painted

from finecut.io.film.paint import Painting


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Painting]:
    """Paint a case of the footage, once."""
    folder = tmp_path_factory.mktemp("films")
    return lambda name: painted(name, folder)
