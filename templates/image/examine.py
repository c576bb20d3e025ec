"""Look into a built image: what it weighs, and what has no business in it.

layers    size and instruction of each
trouble   secrets, tests of ours, compilers, a user with rights, packages that contradict
licences  of every Python package, by kind
doctor    finecut's own, as the image's user
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from image.tools import (
    ISOLATION,
    ROOT,
    TAG,
    NotHere,
    configuration,
    container,
    has_image,
    main_of,
    mounted,
)

COMPILERS = re.compile(r"(gcc|g\+\+|cc|c\+\+|clang|tcc|rustc|go|nvcc|ld|as)(-[\d.]+)?")
#: Files that hold what nobody else may know, by their names and by their first words.
SECRET_NAMES = re.compile(
    r"\.netrc|\.pgpass|\.npmrc|\.pypirc|pip\.conf|id_(rsa|dsa|ecdsa|ed25519)|credentials(\.json|\.db)?"
    r"|application_default_credentials\.json|\.env|\.git-credentials|\.dockercfg"
)
SECRET_WORDS = re.compile(
    rb"-----BEGIN (?:RSA |EC |OPENSSH |ENCRYPTED )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}"
    rb"|\bAKIA[0-9A-Z]{16}\b|\"private_key_id\": *\"[0-9a-f]{40}\""
)
SECRET_SETTINGS = re.compile(r"TOKEN|SECRET|PASSW|API_?KEY|CREDENTIALS", re.IGNORECASE)
#: Longer files are models, programs and pictures.
LONGEST_TEXT = 1_000_000
#: A layer that no instruction of ours made.
BASE = "(base)"
#: Folders of the kernel's, which are empty in an image.
NOT_FILES = ("proc", "sys", "dev")
PACKAGES = ("dist-packages", "site-packages")
LICENCES = """
import json
from importlib.metadata import distributions
def said(meta):
    of = [c.split(" :: ")[-1] for c in meta.get_all("Classifier", []) if c.startswith("License")]
    text = meta.get("License-Expression") or "; ".join(of)
    return text or (meta.get("License") or "").split("\\n")[0] or "not said"
print(json.dumps({d.name: [d.version, said(d.metadata)] for d in distributions()}))
"""


class Layer(NamedTuple):
    """A step of the image, and what it added."""

    size: int
    made_by: str


def layers(config: dict[str, Any]) -> list[Layer]:
    """Every layer with the instruction that made it, the first one first."""
    manifest = json.loads(config["Manifest"])
    history = [step for step in config["OCIv1"]["history"] if not step.get("empty_layer")]
    sizes = [layer["size"] for layer in manifest["layers"]]
    # A base that was flattened has fewer entries than layers.
    made_by = [BASE] * (len(sizes) - len(history))
    made_by += [step.get("created_by") or BASE for step in history][-len(sizes) :]
    return [Layer(size, _short(by)) for size, by in zip(sizes, made_by, strict=True)]


def _short(made_by: str) -> str:
    """The instruction, without what the builder writes around it.

    >>> _short("|2 A=1 B=2 /bin/sh -c pip check"), _short("/bin/sh -c #(nop) COPY dir:0f3a in io")
    ('pip check', 'COPY io')
    """
    text = re.sub(r"^(\|\d+ .*?)?/bin/sh -c (#\(nop\) +)?", "", made_by).strip()
    return re.sub(r"(dir|file|multi):[0-9a-f]+ in ", "", text).replace("/bin/sh", BASE, 1)


def files_of(root: Path) -> Iterator[Path]:
    """Every plain file that is not a published package's: what an index gives to all is no secret,
    and some packages bring keys for tests of theirs.
    """
    for folder, folders, names in os.walk(root):
        place = Path(folder)
        if place == root:
            folders[:] = [name for name in folders if name not in NOT_FILES]
        elif place.name in PACKAGES:
            folders[:] = [name for name in folders if name == "finecut"]
        yield from (place / name for name in names if not (place / name).is_symlink())


def secrets_in(root: Path, config: dict[str, Any]) -> Iterator[str]:
    for setting in config["OCIv1"]["config"].get("Env", []):
        if SECRET_SETTINGS.search(setting.partition("=")[0]):
            yield f"a setting that looks like a secret: {setting.partition('=')[0]}"
    for path in files_of(root):
        if SECRET_NAMES.fullmatch(path.name):
            yield f"a file that looks like a secret: /{path.relative_to(root)}"
        elif (
            path.is_file()
            and path.stat().st_size < LONGEST_TEXT
            and SECRET_WORDS.search(path.read_bytes())
        ):
            yield f"a private key: /{path.relative_to(root)}"


def strays_in(root: Path) -> Iterator[str]:
    """Programs and files that a worker has no use for, and an intruder has."""
    for folder in ("bin", "usr/bin", "usr/local/bin"):
        for path in sorted((root / folder).glob("*")):
            if COMPILERS.fullmatch(path.name):
                yield f"a compiler: /{path.relative_to(root)}"
    ours = next(iter(root.glob("usr/*/lib/python3*/*-packages/finecut")), None)
    if ours is None:
        yield "finecut is not installed"
        return
    for name in ("tests", "benchmarks", ".git"):
        for place in (ours, ours.parent, root / "opt/finecut"):
            if (place / name).exists() and _is_ours(place / name):
                yield f"{name} of ours: /{(place / name).relative_to(root)}"


def _is_ours(folder: Path) -> bool:
    """Others install packages called ``tests``, too."""
    own = ROOT / folder.name
    return own.is_dir() and {path.name for path in folder.iterdir()} >= {
        path.name for path in own.iterdir() if path.is_dir() and path.name != "__pycache__"
    }


def rights_in(config: dict[str, Any], root: Path) -> Iterator[str]:
    """A user without rights, who may write where the image starts him."""
    own = config["OCIv1"]["config"]
    user, folder = own.get("User", ""), own.get("WorkingDir", "/")
    if not user.isdigit() or user == "0":
        yield f"it runs as {user or 'root'}"
    elif (root / folder.lstrip("/")).stat().st_uid != int(user):
        yield f"its working folder {folder} is not its user's: every worker would die there"


def inside(image: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a fresh container, as the image's own user and in its own folder."""
    with container(image) as name:
        command = ["buildah", "run", *ISOLATION, name, "--", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def contradictions(image: str) -> Iterator[str]:
    """What ``pip check`` says, but for packages that are there for their weights only."""
    text = (ROOT / "constraints/weights.txt").read_text(encoding="utf-8")
    for_weights = {_plain(name) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}
    for line in inside(image, "pip", "check").stdout.splitlines():
        if line and _plain(line.split()[0]) not in for_weights and "No broken" not in line:
            yield f"pip check: {line}"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licences(image: str) -> dict[str, list[str]]:
    """Packages by licence."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for name, (version, said) in sorted(
        json.loads(inside(image, "python", "-c", LICENCES).stdout).items()
    ):
        by_kind[said[:60]].append(f"{name} {version}")
    return dict(by_kind)


def examine(image: str) -> list[str]:
    """Print everything; what is wrong comes back."""
    if not has_image(image):
        raise NotHere(f"no image {image}: make image builds it")
    config = configuration(image)
    found = layers(config)
    print(f"\n{image}: {sum(layer.size for layer in found) / 1e9:.2f} GB in {len(found)} layers")
    for layer in found:
        print(f"{layer.size / 1e6:10.1f} MB  {layer.made_by[:100]}")
    with mounted(image) as root:
        wrong = [*rights_in(config, root), *strays_in(root), *secrets_in(root, config)]
    kinds = licences(image)
    print(f"\nlicences of {sum(map(len, kinds.values()))} Python packages")
    for kind, packages in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"{len(packages):5}  {kind}: {', '.join(packages[:4])}{' …' * (len(packages) > 4)}")
    wrong += [
        f"under the AGPL: {', '.join(p)}" for k, p in kinds.items() if re.search("AGPL|Affero", k)
    ]
    wrong += contradictions(image)
    doctor = inside(image, "finecut", "doctor")
    print(f"\n{doctor.stdout}{doctor.stderr}")
    if doctor.returncode:
        wrong.append(f"finecut doctor ends with {doctor.returncode}")
    for line in wrong:
        print(f"image: {line}", file=sys.stderr)
    return wrong


def main() -> None:
    def work() -> None:
        if examine(sys.argv[1] if len(sys.argv) > 1 else TAG):
            sys.exit(1)

    main_of(work)


if __name__ == "__main__":
    main()
