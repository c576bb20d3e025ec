"""The house keeps its order: who may import whom, what may travel, who may catch everything.

Broad rules about the text of all modules, so that a new file is covered the moment it exists.
"""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
import typing
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from house import measured, modules
from places import ROOT

from finecut.io import records
from finecut.io.media.testfilm.paint import paint
from finecut.pipeline.commands.curate import CHILDREN
from finecut.pipeline.curation import curate
from finecut.pipeline.options import Options

#: From the top of the house to its ground; a room may import its own modules and those below.
ROOMS = ("front", "pipeline", "transforms", "io")
MODELS = "finecut.transforms.models"
#: Libraries that only some rooms may touch, and which ones.
KEEPERS = {
    "av": ("finecut.io.media",),
    "apache_beam.io.filesystem": ("finecut.io.storage.cloud.beam_stores",),
    "apache_beam.io.filesystems": ("finecut.io.storage.cloud.beam_stores",),
    "google": ("finecut.io.storage.cloud.gcs", "finecut.io.storage.cloud.gcs_blobs"),
    "botocore": ("finecut.io.storage.cloud.aws_profiles",),
    "obstore": ("finecut.io.storage.cloud.obstore_here",),
    "lance": ("finecut.io.tables.shards", "finecut.io.tables.lance_tables"),
    # Reading back for training, in the environment of who trains: see its docstring.
    "tensorflow": ("finecut.io.dataset.for_tensorflow",),
    "tensorflow_io": ("finecut.io.dataset.for_tensorflow",),
    "torch": (MODELS, "finecut.io.dataset.for_torch"),
    "transformers": (MODELS,),
    "urllib3": ("finecut.io.storage.web.connections", "finecut.io.storage.web.web_requests"),
}
CATCHES_EVERYTHING = "finecut.transforms.beam.guard"
#: What ``--help`` and a mistake in the command line have to do without.
HEAVY = {"apache_beam", "av", "google", "numpy", "pyarrow", "torch"}
LIGHT = ("finecut.pipeline.cli.command", "finecut.pipeline.cli.flags", "finecut.pipeline.options")


@cache
def trees() -> dict[str, ast.Module]:
    """Every module of the package, by its name, parsed."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts[1:] if room == "front" else parts
            name = ".".join(("finecut", *parts)).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module and every name that this code imports, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}: write finecut…"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def lies_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def room_of(module: str) -> int:
    """The number of a module's room; what is in none of the others is in the front."""
    room = module.partition(".")[2].partition(".")[0]
    return ROOMS.index(room) if room in ROOMS else 0


def test_there_is_a_house() -> None:
    assert len(trees()) > 20
    assert {room_of(name) for name in trees()} == {0, 1, 2, 3}


def test_the_house_keeps_its_measures() -> None:
    """What CONTRIBUTING has numbers of, and may not rise."""
    house = measured(modules())
    assert house.long_modules == house.wide_functions == house.full_rooms == []
    assert len(house.wide_calls) <= 5, house.wide_calls


def test_imports_go_one_way() -> None:
    looking_up = [
        f"{module} looks up to {name}"
        for module, tree in trees().items()
        for name in imports(tree)
        if name.startswith("finecut.") and room_of(name) < room_of(module)
    ]
    assert looking_up == []


def test_imports_make_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module, tree in trees().items():
        # What is imported at the top: inside functions and for the type checker circles are fine.
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = set(imports(ast.Module(list(top), [])))
        graph[module] = {name for name in names if name in trees() and name != module}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("library", KEEPERS)
def test_a_library_is_touched_only_by_its_keeper(library: str) -> None:
    touched = {
        module
        for module, tree in trees().items()
        if any(lies_in(name, library) for name in imports(tree))
    }
    others = {m for m in touched if not any(lies_in(m, keeper) for keeper in KEEPERS[library])}
    assert not others, f"only {', '.join(KEEPERS[library])} may import {library}"


def test_only_the_guard_catches_everything() -> None:
    broad = [
        f"{module}, line {node.lineno}"
        for module, tree in trees().items()
        if module != CATCHES_EVERYTHING
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or {name.id for name in names_in(node.type)} & {"Exception", "BaseException"}
        )
    ]
    assert broad == []


def names_in(node: ast.AST) -> list[ast.Name]:
    return [part for part in ast.walk(node) if isinstance(part, ast.Name)]


@pytest.mark.parametrize("module", LIGHT)
def test_the_command_line_is_light(module: str) -> None:
    code = f"import sys; before = set(sys.modules); import {module}"
    code += "; print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not HEAVY & set(done.stdout.split())


def test_children_do_without_beam() -> None:
    """Its import costs more than all that they need, at each start and in each process."""
    named = {name for name, tree in trees().items() if "preload(__name__" in ast.unparse(tree)}
    assert len(named) >= 3
    modules = sorted({*CHILDREN, *named})
    code = f"import sys, {', '.join(modules)}; print('apache_beam' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False"]


def test_a_command_imports_of_beam_only_what_it_needs(tmp_path: Path) -> None:
    paint(tmp_path / "film.mp4", width=64, height=36, rate=10, seconds=2)
    code = (
        "import gc, sys; from finecut.pipeline.cli.command import main; "
        "assert main() == 0; assert gc.isenabled(); "
        "from finecut.pipeline.cli.own_process import MANAGER, UNUSED; "
        "print(*{*UNUSED, MANAGER, 'torch'} & {*sys.modules}); "
        "import pandas, apache_beam.typehints.pandas_type_compatibility"
    )
    words = ["curate", "--quiet", "--no-report", "--no-generate-embeddings"]
    paths = ["--input", str(tmp_path / "film.mp4"), "--output", str(tmp_path / "dataset")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words, *paths],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_no_file_of_the_pipeline_hides_the_standard_library() -> None:
    """A file that is run by its path puts its own folder before the standard library."""
    names = {m.split(".")[2] for m in trees() if m.startswith("finecut.pipeline.")}
    assert not names & sys.stdlib_module_names


NOUNS = [
    noun
    for noun in vars(records).values()
    if dataclasses.is_dataclass(noun) and isinstance(noun, type)
]


@pytest.mark.parametrize("noun", NOUNS)
def test_records_are_frozen_and_carry_no_bytes(noun: type) -> None:
    assert noun.__dataclass_params__.frozen  # type: ignore[attr-defined]
    for name, kind in typing.get_type_hints(noun).items():
        assert plain_types(kind) <= {bool, float, int, str, type(None), *NOUNS}, name


def plain_types(kind: object) -> set[object]:
    """The types a hint is made of: ``Mapping[str, tuple[float, ...]]`` → ``{str, float}``."""
    parts = [part for part in typing.get_args(kind) if part is not ...]
    return {kind} if not parts else {plain for part in parts for plain in plain_types(part)}


class OurSteps(PipelineVisitor):
    """The steps of a pipeline that our code named, not those inside Beam's own transforms."""

    def __init__(self) -> None:
        self.steps: list[AppliedPTransform] = []

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        parent = transform_node.parent.transform if transform_node.parent else None
        if parent is None or type(parent).__module__.startswith("finecut."):
            self.steps.append(transform_node)

    def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
        if transform_node.full_label:  # the pipeline itself has none
            self.visit_transform(transform_node)


def test_every_step_has_a_name_for_people_and_light_records_to_pass_on(tmp_path: Path) -> None:
    pipeline = beam.Pipeline("FnApiRunner")
    curate(pipeline, Options(input=(str(tmp_path),), output=str(tmp_path / "output")))
    ours = OurSteps()
    pipeline.visit(ours)
    labels = [step.full_label for step in ours.steps]
    assert len(labels) > 20
    assert not [label for label in labels if set("<>()") & set(label) or "lambda" in label]
    flows = {str(c.element_type) for step in ours.steps for c in step.outputs.values()}
    assert not [flow for flow in flows if "Any" in flow or "bytes" in flow or "ndarray" in flow]
