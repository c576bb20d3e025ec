"""From :class:`Options` to everything that shows them: flags, and the tables in the docs.

A flag for several values gets from argparse every word up to the next flag, and then the dataset is
missing. So it is put in front:

    finecut refilter --keep 'motion>=1' OUT      ─▶      finecut refilter OUT --keep 'motion>=1'
"""

import argparse
import difflib
import functools
import re
import sys
import typing
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import Field
from typing import Any, Final, NoReturn

from finecut.pipeline.options import OptionError, Options, default_of, option_fields
from finecut.transforms.filter.rules import parse_rule
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


def may_lack(f: Field[Any]) -> bool:
    """Whether what has no flag need not be written either."""
    return f.metadata["positional"] and f.metadata["shown"] not in (None, "required")


def flag_of(f: Field[Any]) -> str:
    return "--" + f.name.replace("_", "-")


def add_flags(
    parser: argparse.ArgumentParser, without: Container[str] = (), kind: type[Any] = Options
) -> None:
    """One flag for each option, in groups."""
    group_of = functools.cache(parser.add_argument_group)
    hints = typing.get_type_hints(kind)
    for f in option_fields(kind):
        if f.name in without:
            continue
        group = group_of(f.metadata["group"])
        if f.metadata["positional"]:
            group.add_argument(
                f.name,
                help=f.metadata["text"].replace("%", "%%"),
                **{key: f.metadata[key] for key in ("metavar", "choices")},
                **({"nargs": "?", "default": default_of(f)} if may_lack(f) else {}),
            )
        else:
            argument = _argument(f, hints[f.name])
            hidden = {"help": argparse.SUPPRESS} if is_hidden(f, kind) else {}
            group.add_argument(flag_of(f), **argument | hidden)


def parse_options(
    parser: Parser, arguments: Sequence[str], kind: type[Any] = Options, whole: bool = True
) -> tuple[Any, list[str]]:
    """The options given, checked, and the runner's own arguments among them.

    ``whole=False``: an input and an output need not be among them.
    """
    namespace, rest = parser.parse_known_args(_in_order(parser, arguments, kind))
    for f in option_fields(kind):
        # argparse takes what need not be there for missing, when flags stand in front of it.
        if may_lack(f) and len(rest) == 1 and not _is_flag(rest[0]):
            setattr(namespace, f.name, getattr(namespace, f.name) or rest.pop())
    given = {f.name: getattr(namespace, f.name) for f in option_fields(kind)}
    many = {f.name: tuple(given[f.name] or ()) for f in option_fields(kind) if is_many(f)}
    options = kind(**given | many)
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
    fits = {flag_of(f): _fitting(f) for f in option_fields(kind) if is_many(f)}
    return dataset_first(parser, arguments, fits)


def _fitting(f: Field[Any]) -> Callable[[str], bool]:
    """Whether a word may be one of the values of an option that has several."""
    if f.metadata["known"]:
        return lambda word: spelled(word, f.metadata["known"]) in f.metadata["known"]
    if f.name == "keep":
        return lambda word: not word or _parses(functools.partial(parse_rule, own=True), word)
    return functools.partial(_parses, float if f.name.endswith("_edges") else str)


def _parses(parse: Callable[[str], object], word: str) -> bool:
    try:
        parse(word)
    except ValueError:
        return False
    return True


def check_rest(options: Any, rest: Sequence[str]) -> None:
    """Refuse what neither we nor the chosen runner knows."""
    if not rest:
        return
    kind, word = type(options), rest[0]
    flag = word.split("=", 1)[0]
    known = [
        flag_of(f)
        for f in option_fields(kind)
        if not (f.metadata["positional"] or is_hidden(f, kind))
    ]
    if not word.startswith("--"):
        raise OptionError(
            f"{word!r} does not belong to any flag: give values after their flag, as in "
            f"{known[0]} {word}"
        )
    near = difflib.get_close_matches(flag, known, n=1, cutoff=0.75)
    if not options.is_local and (not near or flag in _beam_flags()):
        return
    hint = f": did you mean {near[0]}?" if near else " (--help lists all options)."
    if options.is_local and "--runner" in known:
        hint += " Options of a Beam runner need --runner NAME."
    raise OptionError(f"unknown option {flag}{hint}")


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


def options_table(kind: type[Any] = Options, groups: bool = False, added: bool = False) -> str:
    """The options as a Markdown table; ``groups``: a table and a heading for each group;
    ``added``: only those that this kind adds to another's.
    """
    rows: dict[str, list[str]] = {}
    for f in option_fields(kind):
        if is_hidden(f, kind) or (added and f.name not in kind.__annotations__):
            continue
        value = "" if is_switch(f) else f" {_value_name(f)}"
        name = _value_name(f) if f.metadata["positional"] else f"{flag_of(f)}{value}"
        rows.setdefault(f.metadata["group"] if groups else "", []).append(
            f"| `{name}` | {shown_default(f)} | {f.metadata['text']} |"
        )
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
        return argument | {
            "choices": f.metadata["choices"],
            "metavar": "|".join(f.metadata["choices"]),
            "type": _chosen(f),
            "default": default_of(f),
        }
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


def words_of(options: Any, without: Container[str] = ()) -> list[str]:
    """The command line that gives these options, without those that are as they are anyway."""
    first: list[str] = []
    words: list[str] = []
    for f in option_fields(type(options)):
        value: Any = getattr(options, f.name)
        if f.name in without or value == default_of(f):
            continue
        if f.metadata["positional"]:
            first.append(value)
        elif is_switch(f):
            words.append(flag_of(f))
        elif is_many(f):
            words += [flag_of(f), *value]
        else:
            words.append(f"{flag_of(f)}={value}")
    return [*first, *words]


def _value_name(f: Field[Any]) -> str:
    choices = "\\|".join(f.metadata["choices"] or ())
    return choices or str(f.metadata["metavar"] or f.name.upper())


def with_tables(page: str) -> str:
    """docs/options.md with every table as it is now."""
    # It imports all commands.
    from finecut.pipeline.cli.option_kinds import dataset_options, video_options

    tables = {f"options of {name}": options_table(kind) for name, kind in dataset_options().items()}
    for name, kind in video_options().items():
        tables[f"options of {name}"] = options_table(kind, added=True)
    for name, table in {"options": options_table(groups=True), **tables}.items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->\n")
        if not end:
            raise ValueError(f"there is no place for the {name}: write <!-- {name} --> and its end")
        page = "".join((before, begin, "\n", table, "\n\n", end, after))
    return page


if __name__ == "__main__":
    sys.stdout.write(with_tables(sys.stdin.read()))


_NUMBER: Final = re.compile(r"-\d+|-\d*\.\d+")


def dataset_first(
    parser: argparse.ArgumentParser,
    words: Sequence[str],
    fits: Mapping[str, Callable[[str], bool]],
) -> list[str]:
    """The words with the dataset in front, if a flag for several would have swallowed it.

    ``fits`` tells, by flag, what may be a value of it. Nothing is moved where a word stands alone.
    """
    if "--" in words:
        return list(words)
    #: Words at the end of those that a flag for several took, and those that are none of its own.
    taken: list[int] = []
    foreign: list[int] = []
    known, alone, place = parser._option_string_actions, False, 0
    while place < len(words):
        flag, equals, _ = words[place].partition("=")
        if not _is_flag(flag):
            return list(words)
        #: The place of the next flag.
        end = next((n for n in range(place + 1, len(words)) if _is_flag(words[n])), len(words))
        action = known.get(flag)
        if equals or (action is not None and action.nargs == 0):
            place += 1
        elif action is None:
            # Of a runner: it may have a value or not, so the word behind it may be the dataset.
            alone |= end > place + 1
            place = min(end, place + 2)
        elif action.nargs != "+":
            place += 2
        else:
            if end - place > 2:
                (taken if fits[flag](words[end - 1]) else foreign).append(end - 1)
            place = end
    found = foreign or ([] if alone else taken)
    if not found:
        return list(words)
    chosen = found[-1]
    return [words[chosen], *words[:chosen], *words[chosen + 1 :]]


def _is_flag(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not _NUMBER.fullmatch(word)
