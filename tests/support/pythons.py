"""Run the demo and the core of the quick suite with every Python that this machine has.

``make test-pythons`` runs this. Each Python that setup.py allows gets an environment of its own,
with what finecut itself needs and what these tests need: no models, no cloud, no torch. One that
does not run, or for which packages cannot be had, is named and left out. One whose demo or tests
fail makes an error of it all, and so does a machine that has none.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from places import ROOT

CONSTRAINTS = ROOT / "constraints" / "gcp.txt"
#: What the tests below import beside finecut.
NEEDED = ("hypothesis", "packaging", "pytest", "pytest-xdist", "setuptools", "wheel")
#: From a film to clips and documents, and reading them back. Left out are tests that take minutes
#: (of resuming, verifying, child processes: the demo runs that, too) or need the cloud's libraries.
CORE = (
    *("clock", "cutting", "describe", "given", "keep", "layout", "manual", "options", "pythons"),
    *(
        "quality",
        "training_frames",
        "records",
        "retry",
        "rules",
        "run",
        "sampling",
        "scenes",
        "scratch",
    ),
    *("files", "sound", "split", "step", "windows", "write"),
)
ASK = "import sys, ensurepip, venv; print(*sys.version_info[:3], sep='.')"
Version = tuple[int, ...]


class Python(NamedTuple):
    """An interpreter, and which it is."""

    path: str
    version: Version

    @property
    def minor(self) -> str:
        return ".".join(map(str, self.version[:2]))


def floor() -> Version:
    """The oldest Python that setup.py allows."""
    [said] = re.findall(r'python_requires=">=([\d.]+)"', (ROOT / "setup.py").read_text("utf-8"))
    return tuple(map(int, said.split(".")))


def candidates(path: str) -> Iterator[str]:
    """Every program on this search path that is called after a Python, ``python3.12``."""
    for folder in filter(None, path.split(os.pathsep)):
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208
        except OSError:
            continue
        yield from (f"{folder}/{name}" for name in names if re.fullmatch(r"python3\.\d+", name))


def answers(program: str) -> Version | str:
    """Which Python a program is, or what it says instead."""
    try:
        done = subprocess.run([program, "-c", ASK], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[0]
    return tuple(map(int, done.stdout.strip().split(".")))


def interpreters(programs: Iterable[str], oldest: Version) -> tuple[list[Python], list[str]]:
    """The first that runs of each version from the oldest on, and a line for each that has none.

    A version manager puts programs on the path that only say which versions it could start.
    """
    found: dict[str, Python] = {}
    lines: dict[str, str] = {}
    for program in programs:
        name = Path(program).name
        version = answers(program)
        if isinstance(version, str):
            lines.setdefault(name, f"{program} does not run: {version}")
        elif version[: len(oldest)] >= oldest:
            python = Python(program, version)
            found.setdefault(python.minor, python)
    of_found = {f"python{minor}" for minor in found}
    missing = [line for name, line in lines.items() if name not in of_found]
    return sorted(found.values(), key=lambda python: python.version), missing


def environment(python: Python, home: Path) -> str:
    """Make it, or say why there is none."""
    pip = [str(home / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install"]
    steps: list[Sequence[str]] = [
        [python.path, "-m", "venv", str(home)],
        [*pip, "--quiet", "-c", str(CONSTRAINTS), *NEEDED],
        [*pip, "--quiet", "-c", str(CONSTRAINTS), "--no-build-isolation", "-e", str(ROOT)],
    ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
    return ""


def failed_in(home: Path) -> str:
    """Run the demo and the tests there; what failed, or nothing."""
    tests = [str(path) for name in CORE for path in ROOT.glob(f"tests/**/test_{name}.py")]
    work = {
        "the demo": [str(home / "bin/finecut"), "demo", "--folder", str(home / "demo")],
        "the tests": [
            *(str(home / "bin/python"), "-m", "pytest", "-q", "-m", "not slow", *tests),
            *("-p", "no:cacheprovider"),
        ],
    }
    for name, command in work.items():
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            return name
    return ""


def main(homes: Path, named: Sequence[str]) -> int:
    """Try all Pythons on the path, or those that are named; 0 if all went well that could."""
    programs = named or list(candidates(os.environ.get("PATH", os.defpath)))
    pythons, lines = interpreters(programs, floor())
    bad, good = [], []
    for python in pythons:
        say(f"Python {'.'.join(map(str, python.version))}")
        home = homes / python.minor
        if why := environment(python, home):
            lines.append(f"{python.path} has no environment: {why}")
        elif failed := failed_in(home):
            bad.append(f"Python {python.minor}: {failed} failed")
        else:
            good.append(python.minor)
    for line in lines:
        say(f"left out: {line}")
    for line in bad:
        say(line)
    say(f"the demo and the tests went well on Python {', '.join(good) or '(none)'}")
    return 0 if good and not bad else 1


def say(line: str) -> None:
    print(f"test-pythons: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
