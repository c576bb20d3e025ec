"""From :class:`Options` to everything that shows them: flags, and the tables in the docs."""

from __future__ import annotations

import argparse
import difflib
import sys
import typing
from collections.abc import Callable, Container, Sequence
from dataclasses import Field
from typing import Any, NoReturn

from finecut.pipeline.cli.positional import dataset_first, is_number, is_rule
from finecut.pipeline.options import OptionError, Options, default_of, option_fields
from finecut.transforms.option import did_you_mean, spelled


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake with one line and exit code 2."""

    def __init__(self, **settings: Any) -> None:
        # A shortened flag of ours could swallow a runner's own.
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def is_hidden(f: Field[Any], kind: type[Any]) -> bool:
    """Whether this command has no choice there: help is silent of it, and to give it is refused."""
    return f.name in getattr(kind, "hidden", ())


def flag_of(f: Field[Any]) -> str:
    return "--" + f.name.replace("_", "-")


def add_flags(
    parser: argparse.ArgumentParser, without: Container[str] = (), kind: type[Any] = Options
) -> None:
    """One flag for each option, in groups."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    hints = typing.get_type_hints(kind)
    for f in option_fields(kind):
        if f.name in without:
            continue
        name = f.metadata["group"]
        if name not in groups:
            groups[name] = parser.add_argument_group(name)
        if f.metadata["positional"]:
            text = f.metadata["text"].replace("%", "%%")
            named = {key: f.metadata[key] for key in ("metavar", "choices")}
            groups[name].add_argument(f.name, help=text, **named)
        else:
            argument = _argument(f, hints[f.name])
            if is_hidden(f, kind):
                argument["help"] = argparse.SUPPRESS
            groups[name].add_argument(flag_of(f), **argument)


def parse_options(
    parser: Parser, arguments: Sequence[str], kind: type[Any] = Options, whole: bool = True
) -> tuple[Any, list[str]]:
    """The options given, checked, and the runner's own arguments among them.

    ``whole=False``: an input and an output need not be among them.
    """
    namespace, rest = parser.parse_known_args(_in_order(parser, arguments, kind))
    given = {f.name: getattr(namespace, f.name) for f in option_fields(kind)}
    for f in option_fields(kind):
        if is_many(f):
            given[f.name] = tuple(given[f.name] or ())
    options = kind(**given)
    try:
        check_rest(options, rest)
        options.check(whole)
    except OptionError as error:
        parser.error(str(error))
    return options, rest


def _in_order(parser: Parser, arguments: Sequence[str], kind: type[Any]) -> list[str]:
    """The command line with what has no flag in front."""
    if not any(f.metadata["positional"] for f in option_fields(kind)):
        return list(arguments)
    several = [f for f in option_fields(kind) if is_many(f)]
    return dataset_first(parser, arguments, {flag_of(f): _fitting(f) for f in several})


def _fitting(f: Field[Any]) -> Callable[[str], bool]:
    """Whether a word may be one of the values of an option that has several."""
    if f.metadata["known"]:
        return lambda word: spelled(word, f.metadata["known"]) in f.metadata["known"]
    if f.name == "keep":
        return is_rule
    return is_number if f.name.endswith("_edges") else lambda _: True


def check_rest(options: Any, rest: Sequence[str]) -> None:
    """Refuse what neither we nor the chosen runner knows."""
    if not rest:
        return
    kind = type(options)
    flags = [f for f in option_fields(kind) if not f.metadata["positional"]]
    known = [flag_of(f) for f in flags if not is_hidden(f, kind)]
    word = rest[0]
    flag = word.split("=", 1)[0]
    if not word.startswith("--"):
        raise OptionError(
            f"{word!r} does not belong to any flag: give values after their flag, as in "
            f"{known[0]} {word}"
        )
    near = difflib.get_close_matches(flag, known, n=1, cutoff=0.75)
    if not options.is_local and (not near or flag in _beam_flags()):
        return
    hint = f"did you mean {near[0]}?" if near else "--help lists all options."
    if options.is_local and "--runner" in known:
        hint += " Options of a Beam runner need --runner NAME."
    raise OptionError(f"unknown option {flag}: {hint}")


def _beam_flags() -> set[str]:
    """Every flag Beam knows for one of its runners."""
    from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

    parser = _BeamArgumentParser(add_help=False, conflict_handler="resolve")
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)
    return set(parser._option_string_actions)


def shown_default(f: Field[Any]) -> str:
    if f.metadata["shown"]:
        return str(f.metadata["shown"])
    value = default_of(f)
    if isinstance(value, bool):
        return "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def options_table(kind: type[Any] = Options, groups: bool = False) -> str:
    """The options as a Markdown table; ``groups``: a table and a heading for each group."""
    rows: dict[str, list[str]] = {}
    for f in option_fields(kind):
        if is_hidden(f, kind):
            continue
        value = "" if is_switch(f) else f" {_value_name(f)}"
        name = _value_name(f) if f.metadata["positional"] else f"{flag_of(f)}{value}"
        row = f"| `{name}` | {shown_default(f)} | {f.metadata['text']} |"
        rows.setdefault(f.metadata["group"] if groups else "", []).append(row)
    head = "| option | default | meaning |\n| --- | --- | --- |\n"
    return "\n\n".join(
        (f"### {group.capitalize()}\n\n" if group else "") + head + "\n".join(lines)
        for group, lines in rows.items()
    )


def _argument(f: Field[Any], kind: Any) -> dict[str, Any]:
    text = f"{f.metadata['text']} [{shown_default(f)}]".replace("%", "%%")
    if is_switch(f):
        return {"action": "store_true", "help": text}
    argument: dict[str, Any] = {"help": text, "metavar": f.metadata["metavar"]}
    if f.metadata["choices"]:
        # The choices are for help and completion: a value that is none of them is refused before.
        argument["choices"] = f.metadata["choices"]
        argument["metavar"] = "|".join(f.metadata["choices"])
        return argument | {"type": _chosen(f), "default": default_of(f)}
    if is_many(f):
        return argument | {"nargs": "+", "action": "extend"}
    parse = f.metadata["parse"] or next(
        (t for t in (int, float) if t is kind or t in typing.get_args(kind)), str
    )
    return argument | {"type": _named(parse), "default": default_of(f)}


def _named(parse: Any) -> Any:
    """A parser whose error says which value, and what to write instead."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError:
            wanted = {int: "a whole number", float: "a number"}.get(
                parse, "a rate such as 4M or 800K"
            )
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None

    return convert


def _chosen(f: Field[Any]) -> Callable[[str], str]:
    """A parser of one of the choices, whose error says which may have been meant."""
    choices = f.metadata["choices"]

    def choose(text: str) -> str:
        word = spelled(text, choices)
        if word not in choices:
            raise argparse.ArgumentTypeError(f"{text} is unknown: {did_you_mean(word, choices)}")
        return word

    return choose


def is_many(f: Field[Any]) -> bool:
    return isinstance(default_of(f), tuple)


def is_switch(f: Field[Any]) -> bool:
    return isinstance(default_of(f), bool)


def _value_name(f: Field[Any]) -> str:
    if f.metadata["choices"]:
        return str("\\|".join(f.metadata["choices"]))
    return str(f.metadata["metavar"] or f.name.upper())


def with_tables(page: str) -> str:
    """docs/options.md with every table as it is now."""
    from finecut.pipeline.commands.registry import dataset_options  # it imports all commands

    tables = {"options": options_table(groups=True)}
    tables |= {
        f"options of {name}": options_table(kind) for name, kind in dataset_options().items()
    }
    for name, table in tables.items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->\n")
        if not end:
            raise ValueError(f"there is no place for the {name}: write <!-- {name} --> and its end")
        page = "".join((before, begin, "\n", table, "\n\n", end, after))
    return page


if __name__ == "__main__":
    sys.stdout.write(with_tables(sys.stdin.read()))
