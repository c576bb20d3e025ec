"""The programs that build an image here, and the words for one that is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TAG = "localhost/finecut:here"
#: ``chroot`` needs no daemon, no namespaces of users and no network of its own.
ISOLATION = ("--isolation", "chroot")
CERTIFICATES = Path("/etc/ssl/certs")
#: What is needed, and what brings it.
NEEDED = {
    "buildah": "apt install buildah",
    "debootstrap": "apt install debootstrap",
}


class NotHere(Exception):
    """Something that has to be there first; the text says how to get it."""


def require_tools() -> None:
    missing = [f"{name} ({how})" for name, how in NEEDED.items() if shutil.which(name) is None]
    if missing:
        raise NotHere(f"not on the PATH: {', '.join(missing)}")
    if os.geteuid():
        raise NotHere("only root can make and enter root file systems: run it as root")


def buildah(*words: str) -> str:
    """What buildah answers."""
    done = subprocess.run(["buildah", *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def shown(words: Sequence[str], **settings: Any) -> None:
    """A command that takes its time: its own lines are the progress."""
    print("+", *words, flush=True)
    subprocess.run(words, check=True, **settings)


def volumes() -> list[str]:
    """The machine's certificates, where it has its own, so that pip inside trusts its index."""
    return ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"] if CERTIFICATES.is_dir() else []


def has_image(name: str) -> bool:
    found = subprocess.run(["buildah", "images", "--quiet", name], capture_output=True, check=False)
    return found.returncode == 0 and bool(found.stdout.strip())


def configuration(image: str) -> dict[str, Any]:
    """What the image says of itself: its user, folder, entry point, environment, layers."""
    answer: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))
    return answer


@contextmanager
def container(image: str) -> Iterator[str]:
    """A root file system of the image, removed afterwards."""
    name = buildah("from", "--pull-never", image)
    try:
        yield name
    finally:
        buildah("rm", name)


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """Its files, to look at."""
    with container(image) as name:
        try:
            yield Path(buildah("mount", name))
        finally:
            buildah("umount", name)


def main_of(work: Any) -> None:
    """Do it, or end with a sentence."""
    try:
        require_tools()
        work()
    except NotHere as error:
        sys.exit(f"image: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"image: {error.cmd[0]} ended with {error.returncode}; its own words are above")
