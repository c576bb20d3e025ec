"""Which clips are kept, besides what the filters of steps say."""

from __future__ import annotations

from dataclasses import dataclass

from finecut.transforms.option import LOOK, option


@dataclass(frozen=True, kw_only=True)
class JudgeChoices:
    keep: tuple[str, ...] = option(
        (),
        LOOK,
        "Keep only clips that satisfy this rule, as in 'sharpness>=0.1' or 'motion>0.001' (= and "
        "!= where a score is a word). The scores it needs are measured; several rules must all "
        "be satisfied.",
        metavar="RULE",
        shown="all clips",
    )

    step: tuple[str, ...] = option(
        (),
        LOOK,
        "Add a custom step: package.module:Name, or the name under which an installed package "
        "registers it. Add @PLACE to choose when it runs: after cut, judged, scored, previewed, "
        "embedded or captioned.",
        metavar="STEP",
        shown="none",
    )

    step_option: tuple[str, ...] = option(
        (),
        LOOK,
        "Set an option of such a step, as in Brightness.brightness_threshold=0.4.",
        metavar="STEP.OPTION=VALUE",
        shown="none",
        matters=False,
    )

    drop: tuple[str, ...] = option(
        (),
        LOOK,
        "Reject the clips on this list before any model processes them: a folder that finecut "
        "dedup wrote, a .parquet file with one column id, or a text file with one id per line.",
        metavar="LIST",
        shown="none",
    )
