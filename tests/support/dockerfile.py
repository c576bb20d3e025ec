"""The Dockerfile of the image, read step by step, and the other files of its room."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from places import ROOT

ROOM = ROOT / "templates"


@dataclass(frozen=True)
class Step:
    """One instruction: its name, and all that follows it on one line."""

    name: str
    rest: str

    @property
    def flags(self) -> dict[str, str]:
        return dict(re.findall(r"--([a-z]+)=(\S+)", self.rest.split(" /")[0]))

    @property
    def paths(self) -> list[str]:
        return [word for word in self.rest.split() if not word.startswith("--")]


def steps_of(text: str) -> list[Step]:
    """The instructions of a Dockerfile, without comments, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"[ \t]*\\\n\s*", " ", "\n".join(lines))
    steps = []
    for line in filter(str.strip, joined.splitlines()):
        name, _, rest = line.strip().partition(" ")
        assert name.isupper(), f"no instruction: {line!r}"
        assert rest, f"no arguments: {line!r}"
        steps.append(Step(name, rest.strip()))
    return steps


def expanded(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: values.get(match[1], ""), text)


STEPS = steps_of((ROOM / "Dockerfile").read_text(encoding="utf-8"))
ARGS = dict(step.rest.partition("=")[::2] for step in STEPS if step.name == "ARG")


def all_of(name: str) -> list[Step]:
    return [step for step in STEPS if step.name == name]


def environment() -> dict[str, str]:
    """What ENV sets, all of it."""
    values: dict[str, str] = {}
    for step in all_of("ENV"):
        for word in shlex.split(step.rest):
            name, _, value = word.partition("=")
            values[name] = expanded(value, {"PATH": "/usr/bin"} | ARGS | values)
    return values


def pinned(package: str) -> str:
    text = (ROOT / "constraints/gcp.txt").read_text(encoding="utf-8")
    [version] = re.findall(rf"^{re.escape(package)}==(\S+)", text, re.MULTILINE)
    return str(version)
