"""Words that somebody meant: spelled with - or _, misspelled, or in another place of the line."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from finecut.pipeline.beam_yaml.step import options_of
from finecut.pipeline.cli.command import main, parsers
from finecut.pipeline.cli.flags import Parser, parse_options
from finecut.pipeline.cli.option_kinds import dataset_options
from finecut.pipeline.commands.refilter import RefilterOptions
from finecut.pipeline.commands.shard import ShardOptions
from finecut.pipeline.options import OptionError, Options, option_fields
from finecut.pipeline.planning import plan
from finecut.pipeline.template import arguments_of
from finecut.transforms.filter.rules import parse_rule
from finecut.transforms.option import did_you_mean, spelled

NEEDED = ["--input", "films", "--output", "out"]
#: An option, what is written, what is meant.
SPELLINGS = [
    ("splitting_algorithm", "fixed-stride", "fixed_stride"),
    ("motion_filter", "score_only", "score-only"),
    ("encoder", "h264-nvenc", "h264_nvenc"),
    ("encoder", "libvpx_vp9", "libvpx-vp9"),
    ("embedding_algorithm", "efficientnet_lite0", "efficientnet-lite0"),
    ("embedding_algorithm", "cosmos_embed1_224p", "cosmos-embed1-224p"),
]


def of_curate(words: list[str]) -> Options:
    parser: Parser = parsers()[1]["curate"]
    return parse_options(parser, words)[0]


@pytest.mark.parametrize(("name", "written", "meant"), SPELLINGS)
def test_either_sign_is_taken_wherever_options_come_from(
    name: str, written: str, meant: str
) -> None:
    from finecut.pipeline.beam_options import FinecutOptions

    flag = "--" + name.replace("_", "-")
    changes: dict[str, Any] = {name: written}
    given = [
        Options(**changes),
        dataclasses.replace(Options(), **changes),
        of_curate([*NEEDED, flag, written]),
        of_curate([*NEEDED, f"{flag}={written}"]),
        of_curate([*NEEDED, *arguments_of([f"--{name}={written}"])]),
        FinecutOptions([*NEEDED, flag, written]).options(),
        options_of("Curate", {name: written}),
    ]
    assert {getattr(options, name) for options in given} == {meant}


def test_either_sign_makes_the_same_dataset() -> None:
    one, other = (
        plan(Options(("films",), output="out", motion_filter=mode)).writing.configuration
        for mode in ("score_only", "score-only")
    )
    assert one == other


def test_commands_of_afterwards_take_either_sign() -> None:
    assert RefilterOptions("out", motion_filter="score_only").check().motion_filter == "score-only"
    parser = parsers()[1]["refilter"]
    told, _ = parse_options(parser, ["out", "--text-filter=score_only"], RefilterOptions)
    assert told.text_filter == "score-only"


def test_a_folder_keeps_its_name() -> None:
    assert Options(embedding_algorithm="models/my_own-model").embedding_algorithm == (
        "models/my_own-model"
    )


def test_no_choice_differs_from_another_in_its_signs_only() -> None:
    kinds: list[type[Any]] = [Options, *dataset_options().values()]
    for kind in kinds:
        for f in option_fields(kind):
            words = (*(f.metadata["choices"] or ()), *f.metadata["known"])
            assert len({word.replace("_", "-") for word in words}) == len({*words}), f.name


def test_a_score_is_spelled_with_either_sign() -> None:
    assert parse_rule("motion-global-mean>=1") == parse_rule("motion_global_mean>=1")
    assert parse_rule("motion-patch >= 1").name == "motion_patch>=1"
    assert parse_rule("motion>=-1").limit == -1


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("sharpnes>=0.1", "'sharpnes>=0.1' does not name a score: did you mean sharpness?"),
        ("Sharpness>=0.1", "did you mean sharpness?"),
        ("aesthetics>4", "did you mean aesthetic?"),
        ("motion_mean>=0.1", "did you mean motion_global_mean?"),
    ],
)
def test_a_score_that_is_misspelled_is_told(rule: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        parse_rule(rule)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["curate", *NEEDED, "--encoder", "x264"],
            "x264 is unknown: did you mean libx264?",
        ),
        (["curate", *NEEDED, "--motion-filter", "scoreonly"], "did you mean score-only?"),
        (["curate", *NEEDED, "--motion-filter", "perhaps"], "give one of disable, enable, score"),
        (["curate", *NEEDED, "--keep", "sharpnes>1"], "did you mean sharpness?"),
        (["shard", "out", "--output", "s", "--need", "captions"], "did you mean caption?"),
        (["shard", "out", "--output", "s", "--bin-by", "resolutoin"], "did you mean resolution?"),
    ],
)
def test_a_word_that_is_misspelled_is_told(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_in_python_a_value_that_is_misspelled_is_told() -> None:
    with pytest.raises(OptionError, match=r"did you mean content\?"):
        Options(("films",), output="out", splitting_algorithm="contents").check()


# Where the dataset is written.


@pytest.mark.parametrize(
    ("words", "keep", "drop"),
    [
        ("--keep motion>=1 OUT", ("motion>=1",), ()),
        ("--keep motion>=1 text<1 OUT", ("motion>=1", "text<1"), ()),
        ("--drop a.txt OUT", (), ("a.txt",)),
        ("--drop a.txt b.txt OUT", (), ("a.txt", "b.txt")),
        ("--keep motion>=1 OUT --drop a.txt", ("motion>=1",), ("a.txt",)),
        ("--keep motion>=1 OUT --drop a.txt b.txt", ("motion>=1",), ("a.txt", "b.txt")),
        ("--keep motion>=1 text<1 --drop a.txt OUT", ("motion>=1", "text<1"), ("a.txt",)),
        ("--quiet --keep motion>=1 --workers 2 --drop a.txt OUT", ("motion>=1",), ("a.txt",)),
        ("--keep=motion>=1 OUT", ("motion>=1",), ()),
        ("--keep motion>=1 -- OUT", ("motion>=1",), ()),
        ("--keep '' OUT", ("",), ()),
        ("--drop '' OUT", (), ("",)),
        ("OUT --keep motion>=1 text<1 --drop a.txt", ("motion>=1", "text<1"), ("a.txt",)),
        ("--drop a.txt b.txt --keep motion>=1 OUT", ("motion>=1",), ("a.txt", "b.txt")),
        ("--keep motion>=1 --quiet OUT --drop a.txt b.txt", ("motion>=1",), ("a.txt", "b.txt")),
    ],
)
def test_the_dataset_may_stand_behind_options_that_take_several(
    words: str, keep: tuple[str, ...], drop: tuple[str, ...]
) -> None:
    given = [word.replace("''", "") for word in words.split()]
    told, rest = parse_options(parsers()[1]["refilter"], given, RefilterOptions)
    assert (told.dataset, told.keep, told.drop, rest) == ("OUT", keep, drop, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--keep motion>=1", "required: DATASET"),
        ("--drop OUT", "required: DATASET"),
        ("", "required: DATASET"),
        ("--keep motion>=1 OUT1 OUT2", "'OUT1' is not a rule"),
    ],
)
def test_a_dataset_that_is_missing_or_not_the_only_one_is_told(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_options(parsers()[1]["refilter"], words.split(), RefilterOptions)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_runners_own_options_do_not_hide_the_dataset() -> None:
    words = ["--keep", "motion>=1", "OUT", "--runner", "FlinkRunner", "--flink_master", "host"]
    told, rest = parse_options(parsers()[1]["refilter"], words, RefilterOptions)
    assert (told.dataset, told.keep) == ("OUT", ("motion>=1",))
    assert rest == ["--flink_master", "host"]
    words = ["--runner", "FlinkRunner", "--keep", "motion>=1", "text<1", "--some_switch", "OUT"]
    told, rest = parse_options(parsers()[1]["refilter"], words, RefilterOptions)
    assert (told.dataset, told.keep) == ("OUT", ("motion>=1", "text<1"))


def test_shards_know_their_dataset_as_well() -> None:
    words = ["--output", "S", "--need", "caption", "vector", "OUT", "--bin-by", "aspect"]
    told, _ = parse_options(parsers()[1]["shard"], words, ShardOptions)
    assert (told.dataset, told.need) == ("OUT", ("caption", "vector"))


# Words alone.


def test_a_word_is_spelled_as_it_is_known() -> None:
    assert spelled("a_b", ("a-b", "c")) == "a-b"
    assert spelled("d_e", ("a-b", "c")) == "d_e"
    assert did_you_mean("contnet", ("content", "x")) == "did you mean content?"
    assert did_you_mean("zzz", ("content", "x")) == "give one of content, x"
