"""Rules: what is said, what is meant, and what a wrong one is told."""

from __future__ import annotations

import pytest

from finecut.transforms.filter.rules import (
    FAMILIES,
    SHORT,
    Rule,
    parse_rule,
    parse_rule_on_output,
    verdict,
)


@pytest.mark.parametrize(
    ("text", "value", "kept"),
    [
        ("sharpness>=0.1", 0.1, True),
        ("sharpness>0.1", 0.1, False),
        ("sharpness<=0.1", 0.1, True),
        ("sharpness<0.1", 0.1, False),
        (" sharpness >= 1e-3 ", 0.002, True),
        ("sharpness>=-1", 0.0, True),
    ],
)
def test_comparisons(text: str, value: float, kept: bool) -> None:
    rule = parse_rule(text)
    assert verdict({"sharpness": value}, [rule]) == (None if kept else rule.name)


@pytest.mark.parametrize(("short", "score"), SHORT.items())
def test_short_names(short: str, score: str) -> None:
    assert parse_rule(f"{short}>=1") == Rule(f"{short}>=1", score, ">=", 1.0)
    assert score in FAMILIES


def test_the_first_rule_that_does_not_hold_speaks() -> None:
    rules = [parse_rule("sharpness>=0.1"), parse_rule("motion>=1"), parse_rule("frozen<1")]
    scores = {"sharpness": 0.5, "motion_global_mean": 0.1, "frozen": 1.0}
    assert verdict(scores, rules) == "motion>=1"


def test_a_score_that_is_not_there_rejects() -> None:
    assert verdict({}, [parse_rule("unsafe<=0.5")]) == "unsafe<=0.5"
    assert verdict({"unsafe_max": float("nan")}, [parse_rule("unsafe<=0.5")]) == "unsafe<=0.5"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sharpness", "write SCORE, a comparison and a number"),
        ("sharpness=0.1", "give a score, a comparison and a number"),
        ("sharpness>=lots", "write SCORE, a comparison and a number"),
        ("sharpness>=nan", "write SCORE, a comparison and a number"),
        ("beauty>=1", "give one of motion_global_mean"),
        ("", "is not a rule"),
    ],
)
def test_wrong_rules_are_told_what_to_write(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_rule(text)


@pytest.mark.parametrize(
    ("text", "value", "kept"),
    [
        ("camera=static", "static", True),
        ("camera==static", "static", True),
        ("camera = static", "moving", False),
        ("camera!=static", "moving", True),
        ("camera!=static", "static", False),
        ("camera=static", 1.0, False),
        ("camera>=1", "static", False),
        ("camera=1", 1.0, True),
    ],
)
def test_labels_are_the_same_or_not(text: str, value: float | str, kept: bool) -> None:
    rule = parse_rule(text, own=True)
    assert verdict({"camera": value}, [rule]) == (None if kept else rule.name)
    assert verdict({}, [rule]) == rule.name


def test_of_finished_clips_labels_are_believed() -> None:
    assert parse_rule_on_output("camera=static") == Rule("camera=static", "camera", "=", "static")
    for text in ("beauty>=1", "sharpness=0.1"):
        with pytest.raises(
            ValueError, match=r"does not name a score|give a score, a comparison and a number"
        ):
            parse_rule_on_output(text)
