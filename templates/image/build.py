"""Build the image of ``templates/Dockerfile`` with buildah."""

from __future__ import annotations

import argparse
from pathlib import Path

from image.bases import LAUNCHER, PYTHON, make_bases
from image.tools import ISOLATION, ROOT, TAG, main_of, shown, volumes


def build(boot: Path, torch_index: str, torch_cuda: str) -> None:
    make_bases(boot)
    arguments = {
        "PYTHON_IMAGE": PYTHON,
        "LAUNCHER_IMAGE": LAUNCHER,
        "TORCH_INDEX": torch_index,
        "TORCH_CUDA": torch_cuda,
    }
    given = [word for item in arguments.items() for word in ("--build-arg", "=".join(item))]
    how = [*ISOLATION, "--layers", "--pull-never", "--format", "oci", *volumes(), *given]
    shown(["buildah", "bud", *how, "-t", TAG, "-f", "templates/Dockerfile", "."], cwd=ROOT)


def main() -> None:
    parser = argparse.ArgumentParser(prog="image", description=__doc__)
    parser.add_argument("--boot", type=Path, required=True, help="Beam's boot program")
    parser.add_argument("--torch-index", required=True, help="as in the Dockerfile")
    parser.add_argument("--torch-cuda", required=True, help="as in the Dockerfile")
    given = parser.parse_args()
    main_of(lambda: build(given.boot, given.torch_index, given.torch_cuda))


if __name__ == "__main__":
    main()
