"""What a module asks of Python's own library that the Python at work does not have.

mypy reads the same code for the oldest Python that is allowed, but believes what it was told of the
library: that ``logging.StreamHandler[TextIO]`` is well said, where Python 3.10 ended, because that
class could not be subscripted yet. So names are looked up in the library itself, and subscripted
classes have to bear it. Annotations are left out: nobody evaluates them.

Needs nothing but Python, so that every interpreter can be asked::

    python3.11 tests/lacking.py pipeline transforms io
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

#: What stands where nothing of that name is.
NOTHING = object()


def lacking(text: str) -> list[str]:
    """What this module wants and Python lacks: the line, and what is wrong with it."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return [f"{error.lineno}: {error.msg}"]
    known: dict[str, Any] = {}
    found = []
    for node in _evaluated(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found += _imported(node, known)
    for node in _evaluated(tree):
        if isinstance(node, ast.Attribute) and isinstance(_meant(node.value, known), ModuleType):
            if _meant(node, known) is NOTHING:
                found.append(f"{node.lineno}: there is no {ast.unparse(node)}")
        elif isinstance(node, ast.Subscript) and not _bears_subscripts(_meant(node.value, known)):
            found.append(f"{node.lineno}: {ast.unparse(node.value)} cannot be subscripted")
    return sorted(found)


def _evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """A tree without annotations, and without what only type checkers read."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        if isinstance(node, ast.If) and name == "body" and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _evaluated(child)


def _imported(node: ast.Import | ast.ImportFrom, known: dict[str, Any]) -> list[str]:
    """Note what the names mean that are imported from the library; those it lacks come back."""
    found = []
    for alias in node.names:
        within = node.module or "" if isinstance(node, ast.ImportFrom) else alias.name
        if getattr(node, "level", 0) or within.partition(".")[0] not in _library():
            continue
        whole = f"{within}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
        meaning = _named(within, alias.name if isinstance(node, ast.ImportFrom) else "")
        if meaning is NOTHING:
            found.append(f"{node.lineno}: there is no {whole}")
        elif alias.asname or isinstance(node, ast.ImportFrom):
            known[alias.asname or alias.name] = meaning
        else:
            top = whole.partition(".")[0]
            known[top] = sys.modules[top]
    return found


def _library() -> frozenset[str]:
    # A module that later Pythons have is none of this one's, and none of anybody else's either.
    return sys.stdlib_module_names | {"annotationlib", "compression", "tomllib"}


def _named(module: str, name: str) -> Any:
    """What a name means in a module of the library."""
    try:
        inside = importlib.import_module(module)
        return getattr(inside, name) if name else inside
    except AttributeError:
        return _named(f"{module}.{name}", "")
    except ModuleNotFoundError:
        return NOTHING


def _meant(node: ast.AST, known: dict[str, Any]) -> Any:
    """What a name, or a name in a module, means; ``None`` where that is not the library's."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute) and isinstance(
        inside := _meant(node.value, known), ModuleType
    ):
        return getattr(inside, node.attr, NOTHING)
    return None


def _bears_subscripts(meaning: Any) -> bool:
    if not isinstance(meaning, type):
        return True
    return hasattr(meaning, "__class_getitem__") or hasattr(type(meaning), "__getitem__")


def main(places: list[str]) -> int:
    """Say what these modules, and those below these folders, want and Python lacks."""
    paths = [path for place in map(Path, places) for path in sorted(place.rglob("*.py"))]
    said = [f"{path}:{line}" for path in paths for line in lacking(path.read_text("utf-8"))]
    print(
        *said
        or [f"{len(paths)} modules ask for nothing that Python {sys.version.split()[0]} lacks"],
        sep="\n",
    )
    return 1 if said or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
