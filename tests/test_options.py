"""Options live once: flags, README and defaults say the same."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from finecut.pipeline.flags import Parser, add_flags, parse_options, readme_table
from finecut.pipeline.options import OptionError, Options, option_fields

README = Path(__file__).parents[1] / "README.md"
NEEDED = ["--input", "films", "--output", "out"]


def parse(*arguments: str) -> Options:
    parser = Parser(prog="finecut curate")
    add_flags(parser)
    return parse_options(parser, arguments)[0]


def test_the_readme_shows_every_option() -> None:
    text = README.read_text(encoding="utf-8")
    [shown] = re.findall(r"<!-- options:.*?-->\n(.*?)\n<!-- end of options -->", text, re.DOTALL)
    assert shown == readme_table()


def test_flags_and_fields_have_the_same_defaults() -> None:
    assert parse(*NEEDED) == Options(input=("films",), output="out")


def test_every_flag_reaches_its_field() -> None:
    """Each option, given a value that is not its default, changes that field and no other."""
    other: dict[str, tuple[list[str], Any]] = {
        "input": (["--input", "a", "b", "--input", "c"], ("a", "b", "c")),
        "output": (["--output", "elsewhere"], "elsewhere"),
        "encoder": (["--encoder", "libsvtav1"], "libsvtav1"),
        "audio": (["--audio", "none"], "none"),
        "bit_rate": (["--bit-rate", "1.5M"], 1_500_000),
        "named_as": (["--named-as", "/data"], "/data"),
        "preset": (["--preset", "slow"], "slow"),
        "runner": (["--runner", "DirectRunner"], "DirectRunner"),
    }
    for field in option_fields():
        flag = "--" + field.name.replace("_", "-")
        if field.name in other:
            arguments, value = other[field.name]
        elif isinstance(field.default, bool):
            arguments, value = [flag], True
        else:
            arguments, value = [flag, "9"], 9
        given = arguments if field.name in ("input", "output") else NEEDED + arguments
        missing = NEEDED[2:] if field.name == "input" else NEEDED[:2]
        parsed = parse(*(given + missing if field.name in ("input", "output") else given))
        base = Options(input=parsed.input, output=parsed.output)
        change: dict[str, Any] = {field.name: value}
        assert parsed == dataclasses.replace(base, **change), field.name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": ()}, "--input FOLDER"),
        ({"output": ""}, "--output FOLDER"),
        ({"clip_length": 0.0}, "--clip-length 0"),
        ({"clip_stride": -1.0}, "--clip-stride -1"),
        ({"clip_length": float("nan")}, "--clip-length nan"),
        ({"chunk_seconds": 0}, "--chunk-seconds 0"),
        ({"video_limit": 0}, "--video-limit 0"),
        ({"limit_clips": -1}, "--limit-clips -1"),
        ({"min_clip_length": 11.0}, "write --min-clip-length 10 or less"),
        ({"bit_rate": 1000, "use_input_bit_rate": True}, "write one of them"),
        ({"crf": 20, "bit_rate": 1000}, "contradicts a bit rate"),
        ({"crf": 20, "encoder": "libopenh264"}, "write --bit-rate instead"),
        ({"encoder_threads": 0}, "--encoder-threads 0"),
    ],
)
def test_contradictions_say_what_to_write_instead(changes: dict[str, Any], words: str) -> None:
    good = Options(input=("films",), output="out")
    assert good.check() is good
    with pytest.raises(OptionError, match=re.escape(words)):
        dataclasses.replace(good, **changes).check()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--clip-lenght", "5"], "did you mean --clip-length?"),
        (["--num_workers=3"], "need --runner NAME"),
        (["films2"], "belongs to no flag"),
        (["--clip-length", "ten"], "'ten' is not a number"),
        (["--bit-rate", "fast"], "a rate like 4M or 800K"),
        (["--encoder", "x264"], "invalid choice"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(*["--input", "films", "--output", "out", *arguments])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_runners_own_options_are_passed_on() -> None:
    parser = Parser(prog="finecut curate")
    add_flags(parser)
    own = ["--flink_master=host:8081", "--num_workers=3", "--option_of_tomorrow=1"]
    options, rest = parse_options(parser, [*NEEDED, "--runner", "FlinkRunner", *own])
    assert rest == own
    assert not options.is_local
    with pytest.raises(SystemExit):
        parse_options(parser, [*NEEDED, "--runner", "FlinkRunner", "--clip-lenght=3"])
