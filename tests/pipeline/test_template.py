"""The Flex Template: one form for all options, and what is filled in comes back as options."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from places import ROOT

from finecut.pipeline.cli.flags import Parser, add_flags, is_many, is_switch, parse_options
from finecut.pipeline.commands.launch import launchable
from finecut.pipeline.options import OptionError, Options, default_of, option_fields
from finecut.pipeline.template import (
    ELSEWHERE,
    arguments_of,
    commands,
    metadata,
    metadata_text,
    offered,
    words_for,
)

PARAMETERS = {told["name"]: told for told in metadata()["parameters"]}
NEEDED = ["--input=gs://b/films", "--output=gs://b/clips", "--runner=DataflowRunner"]

#: Something else than the default for every parameter, as a form would pass it.
FILLED_IN = {
    "input": ("gs://b/films,gs://b/more", ("gs://b/films", "gs://b/more")),
    "output": ("gs://b/clips", "gs://b/clips"),
    "drop": ("dataset/dedup, more.txt", ("dataset/dedup", "more.txt")),
    "step": ("own:Colours,own:Shapes@cut", ("own:Colours", "own:Shapes@cut")),
    "step_option": ("A.b=1,A.c=2", ("A.b=1", "A.c=2")),
    "keep": ("motion>=0.1, quality_sharpness>=2", ("motion>=0.1", "quality_sharpness>=2")),
    "resources": ("cut:cpus=2,embed:cpus=3", ("cut:cpus=2", "embed:cpus=3")),
    "bit_rate": ("4M", 4_000_000),
    "cuts": ("gs://b/cuts.json", "gs://b/cuts.json"),
    "accelerator": ("nvidia-tesla-t4", "nvidia-tesla-t4"),
}


def parsed(*arguments: str) -> tuple[Options, list[str]]:
    """As a launcher does it, but for what contradicts each other."""
    parser = Parser(prog="launch")
    add_flags(parser)
    namespace, rest = parser.parse_known_args(arguments_of(arguments))
    given = {f.name: getattr(namespace, f.name) for f in option_fields()}
    for f in option_fields():
        if is_many(f):
            given[f.name] = tuple(given[f.name] or ())
    return Options(**given), rest


def filled_in(name: str) -> tuple[str, Any]:
    """What a form passes for a parameter, and what the option is then."""
    if name in FILLED_IN:
        return FILLED_IN[name]
    [f] = [f for f in option_fields() if f.name == name]
    kind = PARAMETERS[name]["paramType"]
    if kind == "BOOLEAN":
        return "true", True
    if kind == "ENUM":
        value = f.metadata["choices"][-1]
        return value, value
    if kind == "NUMBER":
        least = f.metadata["least"] if f.metadata["least"] is not None else f.metadata["above"]
        number = (least or 0) + 1
        return str(number), number
    return "a text, with a comma", "a text, with a comma"


def test_the_committed_metadata_is_that_of_the_options() -> None:
    committed = (ROOT / "templates/metadata.json").read_text(encoding="utf-8")
    assert committed == metadata_text(), (
        "the options have changed: python -m finecut.pipeline.template > templates/metadata.json"
    )


def test_each_command_that_can_be_launched_has_a_committed_template() -> None:
    folder = ROOT / "templates/metadata"
    assert sorted(path.stem for path in folder.iterdir()) == sorted(commands())
    assert {"dedup", "shard", "refilter", "verify", "compact"} <= {*commands()}
    for command in commands():
        committed = (folder / f"{command}.json").read_text(encoding="utf-8")
        assert committed == metadata_text(command), "the options have changed: make tables"


@pytest.mark.parametrize("command", commands())
def test_what_the_form_of_a_command_passes_are_its_options(command: str) -> None:
    """All of its parameters at the same time, each with another value than the default."""
    kind = launchable()[command].Options
    fields = {f.name: f for f in option_fields(kind)}
    given: list[str] = [f"--command={command}", "--job_name=one"]
    expected: dict[str, Any] = {}
    for told in metadata(command)["parameters"][1:]:
        f, text = fields[told["name"]], "gs://b/some/more"
        value: Any = text
        if told["paramType"] == "BOOLEAN":
            text, value = "true", True
        elif told["paramType"] == "ENUM":
            text = value = told["enumOptions"][-1]["value"]
        elif told["paramType"] == "NUMBER":
            value = (f.metadata["least"] or 0) + 1
            text = str(value)
        elif is_many(f):
            text, value = "sharpness>=0.1,motion>0.2", ("sharpness>=0.1", "motion>0.2")
        given.append(f"--{f.name}={text}")
        expected[f.name] = value
    # A form passes them in any order.
    name, *words = words_for(given[::-1])
    assert name == command
    parser = Parser(prog="launch")
    add_flags(parser, kind=kind)
    namespace, rest = parser.parse_known_args(words)
    assert rest == ["--job_name=one"]
    for name, value in expected.items():
        found = getattr(namespace, name)
        assert (tuple(found) if is_many(fields[name]) else found) == value, name


def test_a_command_that_cannot_be_launched_is_refused() -> None:
    with pytest.raises(OptionError, match=r"command=summary cannot be launched: give one of dedup"):
        words_for(["--command=summary", "--dataset=gs://b/d"])
    assert words_for(NEEDED) == arguments_of(NEEDED)


@pytest.mark.parametrize("command", ["", *commands()])
def test_the_service_understands_it(command: str) -> None:
    json_format = pytest.importorskip("google.protobuf.json_format")
    dataflow = pytest.importorskip("google.cloud.dataflow_v1beta3")
    spec = json.loads((ROOT / "templates/spec.json").read_text(encoding="utf-8"))
    spec["metadata"] = json.loads(metadata_text(command))
    json_format.ParseDict(spec, dataflow.ContainerSpec.pb()(), ignore_unknown_fields=False)


def test_every_option_is_a_parameter_unless_the_service_decides_it() -> None:
    assert {*PARAMETERS} | ELSEWHERE == {f.name for f in option_fields()}
    assert ELSEWHERE.isdisjoint(PARAMETERS)
    required = {name for name, told in PARAMETERS.items() if not told["isOptional"]}
    assert required == {"input", "output"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_what_a_form_passes_is_the_option(name: str) -> None:
    text, value = filled_in(name)
    for pattern in PARAMETERS[name].get("regexes", []):
        assert re.fullmatch(pattern, text)
    options, rest = parsed(f"--{name}={text}")
    assert rest == []
    assert getattr(options, name) == value
    others = [f for f in option_fields() if f.name != name]
    assert all(getattr(options, f.name) == default_of(f) for f in others)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_default_is_one(name: str) -> None:
    """What the form shows as the default, passed, changes nothing."""
    if (default := PARAMETERS[name].get("defaultValue")) is None:
        return
    for pattern in PARAMETERS[name].get("regexes", []):
        assert re.fullmatch(pattern, default)
    assert parsed(f"--{name}={default}") == (Options(), [])


@pytest.mark.parametrize("name", [f.name for f in offered() if is_switch(f)])
def test_switches_are_said_in_words(name: str) -> None:
    for word, value in (("true", True), ("True", True), ("false", False), ("False", False)):
        assert getattr(parsed(f"--{name}={word}")[0], name) is value
    with pytest.raises(OptionError, match=f"write --{name}=true or false"):
        arguments_of([f"--{name}=maybe"])
    with pytest.raises(OptionError, match="has no value"):
        arguments_of([f"--{name}"])


def test_what_was_left_empty_was_not_given() -> None:
    assert parsed(*(f"--{name}=" for name in PARAMETERS)) == (Options(), [])


def test_words_that_are_no_numbers_do_not_pass_the_form() -> None:
    for told in PARAMETERS.values():
        if told["paramType"] == "NUMBER":
            [pattern] = told["regexes"]
            for word in ("", "ten", "1,5", "--", "0x10"):
                assert not re.fullmatch(pattern, word), told["name"]


@pytest.mark.parametrize("path", ["/films", "s3://b/films", "gs://", "gs://b/films, /more"])
def test_films_of_a_machine_do_not_pass_the_form(path: str) -> None:
    [pattern] = PARAMETERS["input"]["regexes"]
    assert not re.fullmatch(pattern, path)


def test_commas_in_names_are_quoted() -> None:
    options, _ = parsed('--input="gs://b/a, b",gs://b/c')
    assert options.input == ("gs://b/a, b", "gs://b/c")


def test_beams_own_arguments_pass() -> None:
    own = ["--project=p", "--region=us-central1", "--experiments=a,b", "--job_name=films"]
    parser = Parser(prog="launch")
    add_flags(parser)
    options, rest = parse_options(parser, arguments_of([*NEEDED, *own, "--clip_length=5"]))
    assert (options.runner, options.clip_length, rest) == ("DataflowRunner", 5.0, own)
