"""A library leaves the program that imports it as it was.

One fresh interpreter imports the libraries that finecut is made of, as anybody could, and then each
module of ours, one after the other: what has changed after which is what that module did.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator

from places import ROOT

ROOMS = ("io", "transforms", "pipeline")
#: The command.
COMMAND = ("finecut.pipeline.cli",)
#: What begins a process that is for nothing else, and what such a one calls.
FOR_OUR_OWN = ("finecut.io.process.child", "finecut.io.media.limits")
#: What only those may call, and change: by assigning to it, or by a method that changes it.
CALLS = {
    "os.putenv",
    "gc.freeze",
    "gc.disable",
    "signal.signal",
    "signal.set_wakeup_fd",
    "warnings.simplefilter",
    "warnings.filterwarnings",
    "logging.basicConfig",
    "logging.disable",
    "faulthandler.enable",
}
THINGS = ("sys.modules", "sys.path", "os.environ", "warnings.filters")
CHANGING = {"append", "insert", "extend", "update", "setdefault", "pop", "clear", "remove"}
LOGGING = {"setLevel", "addHandler", "removeHandler"}

SEEN = """
import gc, importlib, json, logging, os, signal, sys, threading, warnings

def loggers():
    known = {"": logging.getLogger(), **logging.getLogger().manager.loggerDict}
    return {name: one for name, one in known.items() if isinstance(one, logging.Logger)}

def seen():
    return {
        "environment": dict(os.environ),
        "signals": {str(each): repr(signal.getsignal(each)) for each in signal.valid_signals()},
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "modules that are none": sorted(name for name in sys.modules if sys.modules[name] is None),
        "sys.path": list(sys.path),
        "hooks": [repr(each) for each in (*sys.meta_path, *sys.path_hooks, sys.excepthook)],
        "levels": {name: one.level for name, one in loggers().items() if one.level},
        "handlers": {name: repr(one.handlers) for name, one in loggers().items() if one.handlers},
        "warnings": [repr(each) for each in (*warnings.filters, warnings.showwarning)],
        "collector": [gc.isenabled(), gc.get_freeze_count(), *gc.get_threshold()],
        "folder": os.getcwd(),
    }

def parts(modules):
    return {
        (name, key): id(value)
        for name, module in modules.items()
        for key, value in list(getattr(module, "__dict__", {}).items())
        if name.split(".")[0] not in ("finecut", "__main__")
        and not isinstance(value, (int, float, str, dict, list, type(sys)))
    }
"""
LIBRARIES = (
    SEEN
    + """
for module in sys.argv[1:]:
    try:
        importlib.import_module(module)
    except ImportError:
        pass
print(json.dumps(sorted(name for name in sys.modules if name.split(".")[0] != "finecut")))
"""
)
OURS = (
    SEEN
    + """
libraries, ours = json.load(sys.stdin)
for module in libraries:
    try:
        importlib.import_module(module)
    except Exception:  # what another library imports half, or only in a way of its own
        pass
mine = dict(sys.modules)
before, whole = seen(), parts(mine)
for module in ours:
    try:
        importlib.import_module(module)
    except ImportError as error:
        if (error.name or "").split(".")[0] == "finecut":
            raise
        continue
    after = seen()
    for what, value in after.items():
        if value != before[what]:
            print(f"{module} changes {what}: {before[what]} -> {value}")
    before = after
for place, now in parts(mine).items():
    if whole.get(place, now) != now:
        print(f"{place[1]} of {place[0]} is another")
"""
)


def modules() -> Iterator[str]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if path.name != "__main__.py":
                yield ".".join(("finecut", *parts)).removesuffix(".__init__")


def python(code: str, *arguments: str, told: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        input=told,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_imports_change_nothing() -> None:
    ours = list(modules())
    libraries = json.loads(python(LIBRARIES, *ours).splitlines()[-1])
    assert python(OURS, told=json.dumps([libraries, ours])) == ""


def test_only_the_command_changes_its_process() -> None:
    """Also when something is called: the process belongs to who imported us."""
    found = []
    for module in modules():
        if module.startswith(COMMAND) or module in FOR_OUR_OWN:
            continue
        path = ROOT.joinpath(*module.split(".")[1:])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            found += [f"{module}, line {line}: {what}" for line, what in _changed(node)]
    assert found == []


def _changed(node: ast.AST) -> Iterator[tuple[int, str]]:
    """What of the process this changes, and where."""
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        owner, _, method = name.rpartition(".")
        if name in CALLS or method in LOGGING or (owner in THINGS and method in CHANGING):
            yield node.lineno, name
    elif isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
        targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
        names = (ast.unparse(target) for target in targets)
        yield from ((node.lineno, name) for name in names if name.startswith(THINGS))
