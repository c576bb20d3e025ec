"""Stand-ins for the images that ``templates/Dockerfile`` begins with: no registry is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from image.tools import ISOLATION, ROOT, NotHere, buildah, has_image, shown

PYTHON, LAUNCHER = "localhost/finecut-python:stand-in", "localhost/finecut-launcher:stand-in"
SUITE = "bookworm"
#: Debian's Python is spelt otherwise, and refuses pip; Python's own image does neither.
LIKE_PYTHONS = (
    "ln -sf python3 /usr/bin/python"
    " && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED"
    " && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/*.log"
)


def beam_image() -> str:
    """The image from which the Dockerfile takes Beam's boot program."""
    text = (ROOT / "templates/Dockerfile").read_text(encoding="utf-8")
    [name] = re.findall(r"COPY --from=(apache/beam_\S+)", text)
    return f"docker.io/{name}"


def make_bases(boot: Path) -> None:
    """All of them; those that are there already stay."""
    if not boot.is_file():
        raise NotHere(f"no boot program of Beam at {boot}: make prism builds it")
    if not has_image(PYTHON):
        _python()
    if not has_image(beam_image()):
        _scratch(beam_image(), boot, "/opt/apache/beam/boot")
    if not has_image(LAUNCHER):
        stub = ROOT / "templates/image/launcher.sh"
        _scratch(LAUNCHER, stub, "/opt/google/dataflow/python_template_launcher")


def _python() -> None:
    folder = Path(tempfile.mkdtemp(prefix="finecut-python-"))
    try:
        wanted = "python3,python3-pip,python3-venv,ca-certificates"
        how = ["--variant=minbase", f"--include={wanted}", SUITE, str(folder)]
        shown(["debootstrap", *how], stdout=subprocess.DEVNULL)
        name = buildah("from", "scratch")
        shown(["buildah", "add", "--quiet", name, str(folder), "/"])
        shown(["buildah", "run", *ISOLATION, name, "--", "sh", "-c", LIKE_PYTHONS])
        buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", name)
        buildah("commit", "--rm", "--squash", name, PYTHON)
    finally:
        shutil.rmtree(folder)


def _scratch(image: str, program: Path, place: str) -> None:
    """An image that holds one program."""
    name = buildah("from", "scratch")
    shown(["buildah", "add", "--quiet", "--chmod", "755", name, str(program), place])
    buildah("commit", "--rm", name, image)
