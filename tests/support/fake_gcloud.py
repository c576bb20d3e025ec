"""The programs of the room of the cloud, run where gcloud and docker are ours."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dockerfile import ROOM

WHERE = {"PROJECT": "p", "BUCKET": "b"}
WITH_IMAGE = WHERE | {"IMAGE": "registry.example/p/finecut:1"}
NEEDED = ("input=gs://b/films", "output=gs://b/clips")

#: Writes down what it is called with, keeps what it is to copy, and says what it is told to.
GCLOUD = """
import json, os, shutil, sys
from pathlib import Path

folder = Path(os.environ["FAKE_GCLOUD"])
words = sys.argv[1:]
with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps([Path(sys.argv[0]).name, *words]) + "\\n")
for option in ("--config", "--metadata-file"):
    if option in words:
        shutil.copy(words[words.index(option) + 1], folder / option.strip("-"))
if words[:2] == ["storage", "cp"]:
    shutil.copy(words[2], folder / "copied")
answers = json.loads((folder / "answers.json").read_text())
for beginning, said in answers.items():
    if " ".join(words).startswith(beginning):
        answer = said.pop(0) if len(said) > 1 else said[0]
        (folder / "answers.json").write_text(json.dumps(answers))
        sys.stderr.write(answer.get("err", ""))
        sys.stdout.write(answer.get("out", ""))
        sys.exit(answer.get("code", 0))
"""


@dataclass
class Done:
    code: int
    out: str
    err: str
    calls: list[list[str]]

    @property
    def shown(self) -> list[list[str]]:
        """The commands that were printed."""
        lines = [line for line in self.err.splitlines() if line.startswith("+ ")]
        return [shlex.split(line[2:]) for line in lines]


@dataclass
class Programs:
    """Runs a program of the room where gcloud and docker are ours."""

    folder: Path
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        binaries = self.folder / "bin"
        binaries.mkdir()
        for name in ("gcloud", "docker"):
            program = binaries / name
            program.write_text(f"#!{sys.executable}\n{GCLOUD}", encoding="utf-8")
            program.chmod(0o755)

    def run(self, program: str, *arguments: str, **settings: str) -> Done:
        (self.folder / "answers.json").write_text(json.dumps(self.answers), encoding="utf-8")
        (self.folder / "calls.jsonl").write_text("", encoding="utf-8")
        usual = {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "FAKE_GCLOUD": str(self.folder),
            "POLL_SECONDS": "0",
        }
        done = subprocess.run(
            [str(ROOM / program), *arguments],
            cwd=self.folder,
            env=usual | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        lines = (self.folder / "calls.jsonl").read_text(encoding="utf-8").splitlines()
        return Done(done.returncode, done.stdout, done.stderr, [json.loads(line) for line in lines])


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def listed(text: str) -> list[str]:
    """What gcloud makes of a list, with another delimiter where one is given."""
    delimiter = ","
    if text.startswith("^"):
        _, delimiter, text = text.split("^", 2)
    return text.split(delimiter)
