"""An option: a field of a frozen dataclass from which flags, help and tables are derived.

Whoever has choices declares them with it: the pipeline, and every step of
:mod:`finecut.transforms.steps`. Words are taken as they were meant: - and _ are alike, and what is
near is asked for. Standard library only: ``--help`` has to answer at once.
"""

import difflib
from collections.abc import Callable, Collection
from dataclasses import field
from typing import Any, Final

#: What a step's filter does: nothing, measure and reject, measure only.
DISABLE, ENABLE, SCORE_ONLY = FILTER_MODES = "disable", "enable", "score-only"
MOST_RATE: Final = 240
MOST_HEIGHT: Final = 4320
MOST_WORKERS: Final = 256
#: When an option of a step has an effect: while its filter rejects clips; while it works at all.
ENABLED, MEASURED = "enabled", "measured"

#: Models of many steps are chosen by these words: the one that fits, and a server.
AUTO, ENDPOINT = "auto", "endpoint"
#: The embedder that needs no download.
LITE: Final = "efficientnet-lite0"
#: Seconds that nobody waits longer than.
LONGEST_WAIT: Final = 86_400
#: What runs captioners.
TRANSFORMERS, VLLM = "transformers", "vllm"

ESTIMATE: Final = "estimating"
INPUT, CUT, SCENES, ENCODE = "input", "cutting", "cutting at scenes", "encoding"
LOOK, MODELS, PREVIEW = "measuring and filtering", "measuring with models", "windows and previews"
EMBED, CAPTIONS, MACHINES = "embeddings", "captions", "models and machines"
OUTPUT, RUN, LIMITS = "output", "running", "limits"
#: In this order help and tables list them.
GROUPS: Final = (
    ESTIMATE,
    INPUT,
    CUT,
    SCENES,
    ENCODE,
    LOOK,
    MODELS,
    EMBED,
    CAPTIONS,
    MACHINES,
    PREVIEW,
    OUTPUT,
    RUN,
    LIMITS,
)


def option(
    default: Any,
    group: str,
    text: str,
    *,
    choices: tuple[str, ...] | None = None,
    known: tuple[str, ...] = (),
    metavar: str | None = None,
    shown: str | None = None,
    parse: Callable[[str], Any] | None = None,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    matters: bool = True,
    positional: bool = False,
    refilter: bool = False,
    effective: str | None = None,
    without: str = "",
) -> Any:
    """A field that is an option: its default, the group it is listed in, and one sentence.

    What does not matter changes nothing that is written of a video, only where, when and of which.
    Numbers lie above ``above``, or from ``least`` on, and go up to ``most``. What is positional has
    no flag: it is written behind the command. ``choices`` are all there are; ``known`` are words
    that mean something among other texts. Either may be written with - or _.

    Of a step: ``refilter`` may change it for a finished output; ``effective`` says when it has an
    effect (:data:`ENABLED`, :data:`MEASURED`, or another word that the step's ``works_by`` knows),
    and ``without`` what it does nothing without; usually that is the step's switch.
    """
    metadata = {
        "above": above,
        "least": least,
        "most": most,
        "matters": matters,
        "positional": positional,
        "group": group,
        "text": text,
        "choices": choices,
        "known": known,
        "metavar": metavar,
        "shown": shown,
        "parse": parse,
        "refilter": refilter,
        "effective": effective,
        "without": without,
    }
    return field(default=default, metadata=metadata)


def filter_option(group: str, text: str) -> Any:
    """The option of a step that switches it on: measure, or reject clips, too."""
    return option(DISABLE, group, text, choices=FILTER_MODES, refilter=True)


def threshold_option(
    default: float | None,
    group: str,
    text: str,
    *,
    metavar: str = "X",
    shown: str | None = None,
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """A limit of a step's rules."""
    return option(
        default,
        group,
        text,
        metavar=metavar,
        shown=shown,
        least=least,
        most=most,
        refilter=True,
        effective=ENABLED,
    )


def rate_option(default: float, group: str, text: str) -> Any:
    """How many frames a second a step looks at."""
    return option(default, group, text, metavar="N", above=0, most=MOST_RATE, effective=MEASURED)


# ── words as they were meant ──────────────────────────────────────────────────────────────────────

#: How much two words have to have in common for one to be meant by the other.
NEAR: Final = 0.6


def spelled(word: str, known: Collection[str]) -> str:
    """The word as it is known, whichever of - and _ it was written with; others as they are."""
    if word in known:
        return word
    plain = word.replace("-", "_")
    return next((one for one in known if one.replace("-", "_") == plain), word)


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known word that was probably meant, if one is near enough."""
    plain = {one.replace("-", "_").lower(): one for one in known}
    near = difflib.get_close_matches(word.replace("-", "_").lower(), plain, n=1, cutoff=NEAR)
    return plain[near[0]] if near else None


def did_you_mean(word: str, known: Collection[str]) -> str:
    """What to write instead of a word that nobody knows."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else f"give one of {', '.join(known)}"
