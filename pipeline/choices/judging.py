"""Which clips are kept, besides what the filters of steps say."""

from __future__ import annotations

from dataclasses import dataclass

from finecut.transforms.option import LOOK, option


@dataclass(frozen=True, kw_only=True)
class JudgeChoices:
    keep: tuple[str, ...] = option(
        (),
        LOOK,
        "Keep only clips of which this is true, as in 'sharpness>=0.1' or 'motion>0.001' (= and != "
        "where a score is a word); what it needs is measured; of several, all must hold.",
        metavar="RULE",
        shown="all clips",
    )

    step: tuple[str, ...] = option(
        (),
        LOOK,
        "Put a step of your own among the others, package.module:Name or the name it has in an "
        "installed package; @PLACE behind it says after what: cut, judged, scored, previewed, "
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
        "Reject the clips on this list before any model looks at them: a folder that finecut dedup "
        "wrote, a .parquet with one column id, or a text with one id in a line.",
        metavar="LIST",
        shown="none",
    )
