"""The house in numbers: ``make house`` prints them, and CONTRIBUTING has those of the last change.

A number says where to look and never that something is good: see what it counts before you change
code for its sake.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("front", "io", "transforms", "pipeline")
LONGEST_MODULE, MOST_PARAMETERS, MANY_ARGUMENTS, MOST_FILES = 400, 6, 5, 20


class Place(NamedTuple):
    """A number, and where it was counted."""

    number: int
    where: str


class House(NamedTuple):
    """What was counted, and the places that are worth a look."""

    modules: int
    statements: int
    imports: int
    lengths: list[int]
    long_modules: list[Place]
    wide_functions: list[Place]
    wide_calls: list[Place]
    #: Folders with too many modules, which nobody looks through.
    full_rooms: list[Place]


def modules() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def measured(paths: list[Path]) -> House:
    """The numbers of these modules."""
    house = House(len(paths), 0, 0, [], [], [], [], [])
    for folder, number in Counter(path.parent for path in paths).items():
        if number > MOST_FILES:
            house.full_rooms.append(Place(number, str(folder.relative_to(ROOT))))
    statements = imports = 0
    for path in paths:
        text, where = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        tree = ast.parse(text, where)
        if (lines := text.count("\n")) > LONGEST_MODULE:
            house.long_modules.append(Place(lines, where))
        statements += sum(counts_as_statement(node) for node in ast.walk(tree))
        imports += sum(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                house.lengths.append(1 + (node.end_lineno or node.lineno) - node.lineno)
                if (count := positional_parameters(node)) > MOST_PARAMETERS:
                    place = f"{where}:{node.lineno} {node.name}"
                    house.wide_functions.append(Place(count, place))
            elif isinstance(node, ast.Call) and (count := positional(node)) >= MANY_ARGUMENTS:
                house.wide_calls.append(Place(count, f"{where}:{node.lineno}"))
    return house._replace(statements=statements, imports=imports)


def counts_as_statement(node: ast.AST) -> bool:
    """Docstrings and comments explain; they are not counted."""
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return isinstance(node, ast.stmt) and not text


def positional_parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    named = [*node.args.posonlyargs, *node.args.args]
    return sum(parameter.arg not in ("self", "cls") for parameter in named)


def positional(node: ast.Call) -> int:
    return sum(not isinstance(argument, ast.Starred) for argument in node.args)


def files_that_name(option: str, paths: list[Path]) -> list[str]:
    """The modules in which an option, a field of Options, is named: where it flows through."""
    return [
        str(path.relative_to(ROOT))
        for path in paths
        if option in set(words(ast.parse(path.read_text(encoding="utf-8"))))
    ]


def words(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.keyword) and node.arg is not None:
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def shown(house: House, most: int) -> str:
    """The numbers, with the first few places of each kind."""
    lengths = sorted(house.lengths)
    lines = [
        f"{house.modules} modules, {house.statements} statements, {house.imports} of them imports",
        f"functions: median {statistics.median(lengths):.0f} lines, "
        f"p90 {lengths[len(lengths) * 9 // 10]}, longest {lengths[-1]}",
    ]
    for title, found in (
        (f"modules over {LONGEST_MODULE} lines", house.long_modules),
        (f"functions with more than {MOST_PARAMETERS} positional parameters", house.wide_functions),
        (f"calls with {MANY_ARGUMENTS} or more positional arguments", house.wide_calls),
        (f"folders with more than {MOST_FILES} modules", house.full_rooms),
    ):
        lines.append(f"{len(found)} {title}")
        ranked = sorted(found, reverse=True)[:most]
        lines += [f"    {place.number:5d}  {place.where}" for place in ranked]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=5, help="places shown of each kind")
    parser.add_argument("--option", default="text_threshold", help="follow this field of Options")
    asked = parser.parse_args()
    paths = modules()
    sys.stdout.write(shown(measured(paths), asked.most) + "\n")
    through = files_that_name(asked.option, paths)
    sys.stdout.write(f"{len(through)} modules name the option {asked.option}: {through}\n")


if __name__ == "__main__":
    main()
