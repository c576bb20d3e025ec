"""Rules: which clips are kept, said in terms of their scores. Standard library only.

    parse_rule("sharpness>=0.1")             # a rule of one's own
    verdict({"sharpness": 0.03}, rules)      # 'sharpness>=0.1': the rule that rejects the clip

Every score belongs to a family (the step that has to be switched on for it to be measured). A clip
that has not got the score a rule asks for is rejected by it: a filter that could not look lets
nothing in.
"""

from dataclasses import replace

from finecut.transforms.filter.comparing import SAMENESS, Rule, read_rule, verdict
from finecut.transforms.option import did_you_mean
from finecut.transforms.registry import FAMILIES, OWN, SCORES, SHORT
from finecut.transforms.step_base import Score

__all__ = [
    "FAMILIES",
    "OWN",
    "SHORT",
    "Rule",
    "parse_rule",
    "parse_rule_on_output",
    "unfit",
    "verdict",
]


def parse_rule(text: str, own: bool = False) -> Rule:
    """The rule this text says; it is named by the text, without spaces.

    With ``own`` it may speak of any score: a step of one's own may give it. Either of - and _ will
    do in a name.

    >>> parse_rule("motion >= 0.001")
    Rule(name='motion>=0.001', score='motion_global_mean', comparison='>=', limit=0.001)
    """
    said = read_rule(text)
    if said is None:
        raise ValueError(
            f"{text!r} is not a rule: write SCORE, a comparison and a number, such as "
            "'sharpness>=0.1', or, for scores that are labels, SCORE=LABEL or SCORE!=LABEL; of the "
            "metadata of videos, 'source.license=cc-by' or 'source.year>=2010'. Put the rule in "
            "quotes, because the shell treats > as a redirection"
        )
    rule = replace(said, score=SHORT.get(said.score, said.score))
    if rule.of_source:
        # Which fields there are, only the sources know.
        return rule
    if rule.score not in FAMILIES and not own:
        raise ValueError(
            f"{text!r} does not name a score: {did_you_mean(said.score, (*FAMILIES, *SHORT))}"
        )
    if rule.score in SCORES and (wrong := unfit(rule, SCORES[rule.score])):
        raise ValueError(f"{text!r} is not a rule: {wrong}")
    return rule


def parse_rule_on_output(text: str) -> Rule:
    """The rule this text says of clips that are finished.

    What is the same as a word is said of labels, which custom steps gave that nobody here knows.
    """
    said = read_rule(text)
    return parse_rule(text, own=said is not None and said.comparison in SAMENESS)


def unfit(rule: Rule, score: Score) -> str | None:
    """What to write instead of a rule that this score can never be compared by."""
    of_labels = rule.comparison in SAMENESS
    if not score.labels:
        number = "give a score, a comparison and a number, as in"
        return f"{score.name} is a number: {number} '{score.name}>=0.1'" if of_labels else None
    if not of_labels:
        labels = ", ".join(score.labels)
        return f"{score.name} is one of {labels}: give '{score.name}={score.labels[0]}'"
    if rule.limit not in score.labels:
        return f"{score.name} is never {rule.limit}: {did_you_mean(str(rule.limit), score.labels)}"
    return None
