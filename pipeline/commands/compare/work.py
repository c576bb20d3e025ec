"""``finecut compare``: both outputs are read by slices, shared out on this disk, and joined."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from finecut.io.dataset.arrangement import found
from finecut.io.dataset.output import Output
from finecut.io.errors import UserError
from finecut.io.layout import Layout
from finecut.io.storage import files as shelf
from finecut.io.storage.staging import temporary_folder
from finecut.pipeline.at_work import beside_runs, shelf_in
from finecut.pipeline.commands.chosen import path_beside
from finecut.pipeline.commands.compare import CannotCompare, Compare, CompareOptions
from finecut.pipeline.commands.report.work import output_at
from finecut.pipeline.page.compared import page_of
from finecut.transforms.compare.counting import Comparison
from finecut.transforms.compare.joining import Side, by_id, joined
from finecut.transforms.compare.pairs import FIELDS
from finecut.transforms.compare.reading import rows_of
from finecut.transforms.option import did_you_mean, nearest
from finecut.transforms.registry import SCORES


class Compared(NamedTuple):
    """What was found, and what to know of it."""

    found: Comparison
    troubles: list[str]


def compare(command: Compare) -> Compared:
    """Compare the two outputs that are asked for, and write what was found."""
    options = command.options
    places = {name: _place(options, name) for name in ("json", "html")}
    result = compared(options)
    if path := places["json"]:
        document = {"dataset": options.dataset, "other": options.other, **result.document()}
        _write(path, json.dumps(document, indent=4) + "\n")
    if path := places["html"]:
        _write(path, page_of(result, options.dataset, options.other))
    return Compared(result, [*_unknown(options, result)])


def _place(options: CompareOptions, name: str) -> str | None:
    given, flag = getattr(options, name), f"--{name}"
    for root in map(shelf.absolute, (options.dataset, options.other)):
        path = path_beside(given, root, flag=flag, command="compare")
    return path


def compared(options: CompareOptions) -> Comparison:
    """What is found, or :class:`CannotCompare`."""
    try:
        return _compared(options)
    except CannotCompare:
        raise
    except (OSError, UserError) as error:
        raise CannotCompare(f"the two cannot be compared: {error}") from error


def _compared(options: CompareOptions) -> Comparison:
    outputs = [_readable(root) for root in (options.dataset, options.other)]
    # Vectors of which the other has none are told by the names of files.
    named = [{*output.algorithms()} for output in outputs]
    algorithms = sorted(named[0] & named[1] - {*options.ignore})
    result = Comparison(options.tolerances, frozenset(options.ignore), options.examples)
    with temporary_folder() as folder:
        a, b = (Side(Path(folder) / name, by_id) for name in ("a", "b"))
        for side, output in zip((a, b), outputs, strict=True):
            side.put(rows_of(output, algorithms))
        result.add_all(joined(a, b, Path(folder)))
    return result


def _readable(root: str) -> Output:
    if found(Layout(shelf.absolute(root))).packed:
        return Output.at(root, packs=True)
    return output_at(root)


def _write(path: str, text: str) -> None:
    own = shelf_in(path.rpartition("/")[0])
    try:
        with beside_runs(own, only_marked=True):
            own.write(path, text.encode())
    except OSError as error:
        raise CannotCompare(
            f"{path} could not be written ({error}). Make room, or give a file in a folder that "
            "can be written to"
        ) from error
    finally:
        own.sweep()


def _unknown(options: CompareOptions, result: Comparison) -> Iterator[str]:
    """Names that nothing here has: usually they are misspelt."""
    scores = sorted({*result.scores, *result.vectors})
    for name in sorted({*options.tolerances} - {*scores}):
        yield f"--tolerance {name}: neither has this score; {did_you_mean(name, scores)}"
    # What is left out is not counted, so it cannot be known whether a custom score is there.
    for name in sorted({*options.ignore} - {*FIELDS, *SCORES}):
        if near := nearest(name, [*FIELDS, *SCORES]):
            yield f"--ignore {name}: did you mean {near}?"
