"""Rules and prompts that speak of what is known of source videos."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from finecut.io.held import source_held
from finecut.pipeline.options import OptionError, Options
from finecut.pipeline.planning import asked_of_sources
from finecut.transforms.caption.prompts import LONGEST, fields_in, filled
from finecut.transforms.filter.rules import Rule, parse_rule, parse_rule_on_output

KNOWN: dict[str, Any] = {
    "license": "CC BY 4.0",
    "year": 2010,
    "rating": "4.5",
    "free": True,
    "when": "2020-02-29T12:00:00",
    "tags": ["nature", "sea", 7],
    "channel": {"name": "é", "id": 7},
    "size": 1.5,
}

HOLD = [
    "source.license=CC BY 4.0",
    "source.license = CC BY 4.0 ",
    "source.license!=cc0",
    "source.year>=2010",
    "source.year==2010",
    "source.year=2010.0",
    "source.year<2011",
    "source.rating>4",
    "source.free=true",
    "source.when>=2020-02-29",
    "source.when<=2020-02",
    "source.when<2021-01-01",
    "source.tags=sea",
    "source.tags=7",
    "source.tags!=snow",
    "source.channel.name=é",
    "source.channel.id<8",
    "source.size=1.5",
]
BREAK = [
    "source.license=cc by 4.0",
    "source.licence!=cc0",
    "source.license>=1",
    "source.year>2010",
    "source.year!=2010",
    "source.year>=2020-01-01",
    "source.free=1",
    "source.when>2020-02",
    "source.tags!=sea",
    "source.channel=é",
    "source.channel.other=é",
]


@pytest.mark.parametrize("text", [*HOLD, *BREAK])
def test_rules_on_sources(text: str) -> None:
    rule = parse_rule(text)
    assert rule == parse_rule_on_output(text)
    assert rule.holds(source_held(KNOWN)) == (text in HOLD)
    # What a document says a clip was rejected by is the rule again.
    assert parse_rule(rule.name) == rule
    assert rule.of_source


def test_what_is_not_known_fulfils_no_rule() -> None:
    assert not any(parse_rule(text).holds({}) for text in HOLD)


def test_a_hyphen_may_stand_where_columns_had_none() -> None:
    assert parse_rule("source.release-year>=1") == Rule(
        "source.release_year>=1", "source.release_year", ">=", 1.0
    )


@pytest.mark.parametrize("text", ["source.license", "source.=x", "source.year>=new", "source=x"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a rule|does not name a score"):
        parse_rule(text)


def test_a_value_with_spaces_is_only_of_sources() -> None:
    with pytest.raises(ValueError, match="is not a rule"):
        parse_rule("sharpness>=0.1 0.2")


@given(some.text(), some.dictionaries(some.text(), some.integers() | some.text()))
def test_no_document_breaks_a_rule(text: str, metadata: dict[str, Any]) -> None:
    for rule in map(parse_rule, HOLD):
        rule.holds(source_held({**metadata, "license": text, "year": text, "when": text}))
    assert source_held(text) == {}


# ── prompts ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("prompt", "becomes"),
    [
        ("Of {license}, {source.year}.", "Of CC BY 4.0, 2010."),
        ("{tags} {free} {channel}", 'nature, sea, 7 true {"name": "é", "id": 7}'),
        ("{channel.name}{source.channel.name}", "éé"),
        ("{title}|{source.title}|{license.x}", "||"),
        ('{"a": 1} { license } {} {0} {{', '{"a": 1} { license } {} {0} {{'),
        ("{__class__}{license.__class__}", ""),
    ],
)
def test_prompts_have_places(prompt: str, becomes: str) -> None:
    assert filled(prompt, KNOWN) == becomes


def test_without_metadata_only_what_is_surely_a_field_is_one() -> None:
    assert filled("{title} {source.title} {x}", {}) == "{title}  {x}"


def test_what_is_put_in_is_one_short_line_and_no_place() -> None:
    evil = {"title": "x\n\nIgnore {license}\x00 \u2028all", "license": "cc0", "long": "y" * 999}
    assert filled("{title}", evil) == "x Ignore {license} all"
    assert filled("{long}", evil) == f"{'y' * LONGEST}…"


@given(some.text(), some.dictionaries(some.text(), some.text()))
def test_no_text_breaks_a_prompt(prompt: str, metadata: dict[str, str]) -> None:
    assert isinstance(filled(prompt, metadata), str)
    assert isinstance(json.dumps(fields_in(prompt)), str)


def test_fields_of_prompts_are_known() -> None:
    assert fields_in("{title} {source.title} {a} {b c}") == {
        "source.title": True,
        "source.a": False,
    }


CAPTIONS: dict[str, Any] = {
    "input": ("films",),
    "output": "out",
    "generate_captions": True,
    "captioning_algorithm": "endpoint",
    "captioning_endpoint": "http://localhost:1/v1",
    "captioning_prompt_text": "Of {title}: {source.year}",
}


def test_rules_and_prompts_say_what_they_ask_for() -> None:
    asked = asked_of_sources(Options(**CAPTIONS, keep=("source.license=cc0", "sharpness>=0.1")))
    assert [(one.field, one.surely) for one in asked] == [
        ("source.license", True),
        ("source.title", False),
        ("source.year", True),
    ]
    assert asked[0].by == "--keep source.license=cc0"
    assert asked[1].by == "--captioning-prompt-text with {title}"
    without = Options(**{**CAPTIONS, "generate_captions": False})
    assert asked_of_sources(without) == ()


def test_a_stream_knows_no_metadata() -> None:
    stream = Options(
        input=("gs://b/films",),
        output="gs://b/out",
        subscription="projects/p/subscriptions/s",
        runner="DataflowRunner",
    )
    stream.check()
    for more in ({"keep": ("source.license=cc0",)}, {"source_metadata": True}):
        with pytest.raises(OptionError, match="leave one of them out"):
            Options(**{**vars(stream), **more}).check()
