"""What others get is what is here: the wheel, the sdist and the constraints.

An editable install imports straight from the repository, so it cannot tell that the wheel lacks a
module, that the sdist lacks what the build reads, or that a pin no longer fits what setup.py asks
for. Both archives are therefore built here, from a copy of the tree, without network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import ROOT

ROOMS = ("front", "pipeline", "transforms", "io")
CONSTRAINTS = {  # file -> the extras it pins
    "gcp.txt": ("gcp", "s3", "azure", "models", "train", "lance", "yaml", "dev"),
    "tensorflow.txt": ("tensorflow", "dev"),
}
LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "*.py[cod]", ".*", "*.egg-info")

# One worker builds the archives for all of these tests, instead of each worker its own.
pytestmark = pytest.mark.xdist_group("packaging")


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints, with no network for pip and none of our own paths on sys.path."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done.stdout


def copy_tree(target: Path) -> Path:
    """The parts of the repository that a package is made of, somewhere else."""
    target.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, target)
        elif path.name in (*ROOMS, "constraints", "docs", "templates", "tests"):
            shutil.copytree(path, target / path.name, ignore=LEFT_BEHIND)
    return target


def files_under(root: Path, *folders: str) -> set[str]:
    return {
        path.relative_to(root).as_posix()
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file()
    }


@dataclass(frozen=True)
class Built:
    source: Path  # the copy both were built from
    wheel: Path
    sdist: Path

    def in_wheel(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def in_sdist(self) -> set[str]:
        with tarfile.open(self.sdist) as archive:
            files = [member.name for member in archive.getmembers() if member.isfile()]
        return {name.split("/", 1)[1] for name in files}

    def wheel_text(self, name: str) -> str:
        """A file of the wheel's own folder of facts: METADATA, entry_points.txt."""
        with zipfile.ZipFile(self.wheel) as archive:
            (path,) = [n for n in archive.namelist() if n.endswith(f".dist-info/{name}")]
            return archive.read(path).decode()

    def metadata(self) -> Message:
        return HeaderParser().parsestr(self.wheel_text("METADATA"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("packaging")
    source, out = copy_tree(folder / "source"), folder / "out"
    # Given neither --sdist nor --wheel, build makes the wheel *from* the sdist: one that lacks
    # something the build reads fails here.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=folder)
    (wheel,) = out.glob("finecut-*.whl")
    (sdist,) = out.glob("finecut-*.tar.gz")
    return Built(source, wheel, sdist)


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(built: Built) -> None:
    expected = {
        f"finecut/{name.removeprefix('front/')}" for name in files_under(built.source, *ROOMS)
    }
    found = {name for name in built.in_wheel() if ".dist-info/" not in name}
    assert {"finecut/__init__.py", "finecut/py.typed"} <= expected
    assert expected - found == set(), (
        "in the repository, but not in the wheel. A file that is not Python has to be named in "
        "package_data in setup.py"
    )
    assert found - expected == set(), "in the wheel, but not in the rooms"


def test_the_sdist_is_enough_to_read_install_and_test_the_project(built: Built) -> None:
    expected = files_under(built.source, *ROOMS, "constraints", "docs", "templates", "tests") | {
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "MANIFEST.in",
        "Makefile",
        "README.md",
        "mkdocs.yml",
        "pyproject.toml",
        "setup.py",
    }
    assert expected - built.in_sdist() == set(), "not in the sdist: name it in MANIFEST.in"


def test_the_wheel_says_what_it_is(built: Built) -> None:
    metadata = built.metadata()
    assert metadata["Name"] == "finecut"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0" or metadata["License"] == "Apache-2.0"
    extras = ["gcp", "s3", "azure", "tensorflow", "models", "screen"]
    extras += ["train", "lance", "yaml", "dev"]
    assert metadata.get_all("Provides-Extra") == extras
    assert "finecut = finecut.pipeline.cli.command:main" in built.wheel_text("entry_points.txt")
    assert any(name.endswith("/LICENSE") for name in built.in_wheel())


def test_a_module_that_would_be_lost_stops_the_build(tmp_path: Path) -> None:
    source = copy_tree(tmp_path / "source")
    orphan = source / "transforms" / "orphans" / "orphan.py"
    orphan.parent.mkdir()
    orphan.touch()
    with pytest.raises(AssertionError, match=r"transforms/orphans/orphan\.py would be missing"):
        run(sys.executable, "setup.py", "--quiet", "--name", cwd=source)


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_are_pins_and_name_no_host_or_path(name: str) -> None:
    lines = (ROOT / "constraints" / name).read_text(encoding="utf-8").splitlines()
    pin = re.compile(r"[a-z0-9][a-z0-9._-]*==[A-Za-z0-9.!]+( ; [^/@]+)?")
    for line in lines:
        assert line.startswith("#") or pin.fullmatch(line), line
        assert not re.search(r"://|--|@|(^|[\s'\"])[/~]", line), line


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_pin_all_that_finecut_asks_for(built: Built, name: str, python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.99"}
    pins = {}
    for line in (ROOT / "constraints" / name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate(environment):
                assert pin.name not in pins, f"{pin.name} is pinned twice for Python {python}"
                (specifier,) = pin.specifier
                pins[canonicalize_name(pin.name)] = specifier.version

    asked = [Requirement(text) for text in built.metadata().get_all("Requires-Dist", [])]
    wanted = [
        requirement
        for requirement in asked
        if requirement.marker is None
        or any(requirement.marker.evaluate(environment | {"extra": e}) for e in CONSTRAINTS[name])
    ]
    assert len(wanted) > 10  # the base, and what the extras add
    for requirement in wanted:
        pinned = pins.get(canonicalize_name(requirement.name))
        assert pinned, f"{requirement} has no pin for Python {python}: run `make constraints`"
        assert requirement.specifier.contains(pinned, prereleases=True), (
            f"{requirement} does not allow its pin, {pinned}: run `make constraints`"
        )


@pytest.mark.slow
def test_the_installed_wheel_runs_from_anywhere(built: Built, tmp_path: Path) -> None:
    """The dependencies are borrowed from this environment, its editable finecut is not: a folder
    named in a .pth file is searched for modules, but the .pth files inside it are not obeyed, and
    an editable install is one of those."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    (site,) = home.glob("lib/python*/site-packages")
    pip = (sys.executable, "-m", "pip")
    run(*pip, "install", "--no-deps", "--target", site, built.wheel, cwd=tmp_path)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")

    where = run(
        python, "-c", "import finecut.pipeline.cli.command as m; print(m.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(site), where
    assert "usage: finecut" in run(python, site / "bin" / "finecut", "--help", cwd=tmp_path)

    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in sorted(built.in_wheel())
        if name.endswith(".py")
    ]
    lookup = "import sys; from importlib.util import find_spec as find"
    lookup += "; print(*[find(name).origin for name in sys.argv[1:]], sep='\\n')"
    origins = run(python, "-c", lookup, *modules, cwd=tmp_path).splitlines()
    assert len(origins) == len(modules) > 0
    for origin in origins:
        assert Path(origin).is_relative_to(site), origin
