"""What a step cannot work without, as it declares it, and what is said of that.

``resources`` place it on a cluster; ``describe`` lists all of it; ``doctor`` tries packages and
files one by one; a run on this machine is refused before any work where one is missing. Light,
because options are made of steps.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from finecut.transforms.models.resources import Resources

NO_RESOURCES: Final = Resources()


class Missing(NamedTuple):
    """Something that a step needs and that is not here: what it is, and what helps."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} is missing here: {self.remedy}"


@dataclass(frozen=True)
class Needs:
    """What a step cannot work without."""

    #: CPUs, memory and GPUs of each worker.
    resources: Resources = NO_RESOURCES
    #: Its models, as options name them: they lie in --model-dir or come from the hub.
    models: tuple[str, ...] = ()
    #: Modules that have to be installed, and finecut's extra or the command that installs them.
    packages: tuple[str, ...] = ()
    extra: str = ""
    command: str = ""
    #: Addresses that it speaks to while it works.
    hosts: tuple[str, ...] = ()
    #: Files that it reads, on each machine that works.
    files: tuple[str, ...] = ()

    @property
    def install(self) -> str:
        """What installs its packages."""
        return self.command or f"pip install 'finecut[{self.extra}]'".replace("[]", "")

    def missing(self) -> Iterator[Missing]:
        """What of its packages and files is not on this machine."""
        for package in self.packages:
            if not _is_installed(package):
                yield Missing(f"the Python package {package}", f"run `{self.install}`")
        for file in self.files:
            if not Path(file).exists():
                yield Missing(f"the file {file}", "put it there, or name another one")

    def lines(self) -> Iterator[str]:
        """All but resources, in words."""
        said = (
            (self.models, f"the model {' and the model '.join(self.models)}"),
            (self.packages, f"{', '.join(self.packages)} ({self.install})"),
            (self.hosts, f"a way to {', '.join(self.hosts)}"),
            (self.files, f"the file {', '.join(self.files)}"),
        )
        return (words for given, words in said if given)


NOTHING: Final = Needs()


def _is_installed(package: str) -> bool:
    """Found without importing it: that would take long."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # of a package that is not there, or hidden by a test
        return False
