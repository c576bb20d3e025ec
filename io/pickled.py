"""A vector out of a pickle, without unpickling it.

A pickle is a program, and whoever unpickles one does what it says. This reads the few steps that an
array of numbers is made of, calls nothing, and refuses every other step::

    _reconstruct(ndarray, (0,), b"b")  then its state: (1, shape, dtype, order, the bytes)
    _frombuffer(the bytes, dtype, shape, order)                    (protocol 5)
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Steps that say nothing of what is made, and steps whose argument is what they make.
SILENT: Final = {"PROTO", "FRAME"}
PLAIN: Final = {
    "BININT",
    "BININT1",
    "BININT2",
    "SHORT_BINUNICODE",
    "BINUNICODE",
    "SHORT_BINBYTES",
    "BINBYTES",
    "BINBYTES8",
    "BYTEARRAY8",
}
FIXED: Final[dict[str, Any]] = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "EMPTY_TUPLE": (),
}
TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

#: NumPy 2 keeps its inside in ``_core``, older ones in ``core``.
RECONSTRUCT: Final = {"numpy._core.multiarray _reconstruct", "numpy.core.multiarray _reconstruct"}
FROM_BUFFER: Final = {"numpy._core.numeric _frombuffer", "numpy.core.numeric _frombuffer"}
ARRAY, DTYPE = "numpy ndarray", "numpy dtype"
FLOATS: Final = {"f2", "f4", "f8"}


class NoVector(ValueError):
    """A pickle that holds no array of numbers, or does more than that; the message says what."""


@dataclass(frozen=True)
class _Name:
    """A function or class that the pickle names; it is not looked up."""

    name: str


@dataclass
class _Made:
    """What would be made by a call; nothing is called."""

    by: str
    arguments: tuple[Any, ...]
    state: Any = None


class _Mark:
    """Where a tuple begins on the stack."""


def read_vector(data: bytes) -> NDArray[Any]:
    """The array of floats in this pickle, or :class:`NoVector`."""
    try:
        return _array(_built(data))
    except NoVector:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise NoVector(f"it is cut short or no pickle ({error})") from error


def _built(data: bytes) -> Any:
    """What the pickle would make, as :class:`_Made`."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for step, argument, _ in pickletools.genops(data):
        name = step.name
        if name == "STOP":
            return stack.pop()
        if name in SILENT:
            continue
        if name in PLAIN:
            stack.append(argument)
        elif name in FIXED:
            stack.append(FIXED[name])
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in {"BINPUT", "LONG_BINPUT"}:
            memo[argument] = stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            stack.append(memo[argument])
        else:
            _assemble(name, argument, stack)
    raise NoVector("it is cut short: it has no end")


def _assemble(name: str, argument: Any, stack: list[Any]) -> None:
    """The steps that make one thing of several."""
    if name == "MARK":
        stack.append(_Mark())
    elif name in TUPLES:
        stack[-TUPLES[name] :] = [tuple(stack[-TUPLES[name] :])]
    elif name == "TUPLE":
        begin = max(place for place, item in enumerate(stack) if isinstance(item, _Mark))
        stack[begin:] = [tuple(stack[begin + 1 :])]
    elif name == "GLOBAL":
        stack.append(_known(str(argument)))
    elif name == "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        stack.append(_known(f"{module} {attribute}"))
    elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise NoVector("it calls what is no function")
        stack.append(_Made(function.name, arguments))
    elif name == "BUILD":
        state = stack.pop()
        if not isinstance(stack[-1], _Made):
            raise NoVector("it sets the state of what has none")
        stack[-1].state = state
    else:
        raise NoVector(f"it takes a step ({name}) that no array of numbers needs")


def _known(name: str) -> _Name:
    if name not in {ARRAY, DTYPE, *RECONSTRUCT, *FROM_BUFFER}:
        raise NoVector(
            f"it would call {name.replace(' ', '.')[:80]!r}, which no array of numbers needs"
        )
    return _Name(name)


def _array(made: Any) -> NDArray[Any]:
    if not isinstance(made, _Made):
        raise NoVector(f"it holds a {type(made).__name__} and no array")
    if made.by in RECONSTRUCT:
        _version, shape, dtype, fortran, data = made.state
        order = "F" if fortran else "C"
    elif made.by in FROM_BUFFER:
        data, dtype, shape, order = made.arguments
    else:
        raise NoVector("it holds a type of numbers and no array")
    kind = _dtype(dtype)
    if not isinstance(data, bytes | bytearray) or math.prod(shape) * kind.itemsize != len(data):
        raise NoVector(f"its numbers do not fill an array of the shape {shape}")
    numbers: NDArray[Any] = np.frombuffer(bytes(data), kind)
    shaped: NDArray[Any] = numbers.reshape(shape, order="F" if order == "F" else "C")
    return shaped


def _dtype(made: Any) -> np.dtype[Any]:
    if not isinstance(made, _Made) or made.by != DTYPE or made.arguments[0] not in FLOATS:
        raise NoVector("it holds no floats")
    kind: np.dtype[Any] = np.dtype(("<" if made.state[1] == "<" else ">") + made.arguments[0])
    return kind
