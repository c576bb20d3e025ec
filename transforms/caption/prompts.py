"""What captioners are asked, in our own words; ``--captioning-prompt-text`` replaces it.

Three kinds of footage, as in NeMo Curator: anything (``default``), a camera in a car (``av``), and
a camera that watches a street (``av-surveillance``).
"""

from __future__ import annotations

from typing import Final

DEFAULT, AV, AV_SURVEILLANCE = VARIANTS = "default", "av", "av-surveillance"

CAPTION: Final = {
    DEFAULT: (
        "Describe this video in detail: who and what is to be seen, what happens from beginning to "
        "end, the place and the light, how the camera moves, and the mood. Say only what the "
        "pictures show."
    ),
    AV: (
        "These pictures come from a camera in a driving car. Describe the drive: what the car "
        "itself does (its speed, its lane, turns, stops), how the vehicles around it move, and "
        "everything that matters for safety: people on foot and on bicycles, lane markings, "
        "traffic signs and lights, anyone who drives aggressively. Name landmarks, the road, the "
        "weather and the light. Say only what the pictures show."
    ),
    AV_SURVEILLANCE: (
        "These pictures come from a camera that is mounted above a street and does not move. "
        "Describe the traffic: which vehicles come and go and how they move, and everything that "
        "matters for safety: people on foot and on bicycles, lane markings, traffic signs and "
        "lights, anyone who drives aggressively, accidents and near misses. Name landmarks, the "
        "road, the weather and the light. Say only what the pictures show."
    ),
}

#: Put before the first caption when it is asked for once more.
SECOND: Final = (
    "Here is a first description of this video. Look again, correct what is wrong in it, and add "
    "what is missing:"
)

ENHANCE: Final = {
    DEFAULT: (
        "You are given the caption of a video. Write it again, richer in detail and longer than it "
        "was, in clear and plain language. Keep every fact, invent none, and answer with the new "
        "caption only."
    ),
    AV: (
        "You are given the caption of a video from a camera in a driving car. Write it again, "
        "richer in detail and longer than it was: the drive, the other vehicles, people, signs and "
        "dangers, and one sentence that sums it up. Keep every fact, invent none, and answer with "
        "the new caption only."
    ),
    AV_SURVEILLANCE: (
        "You are given the caption of a video from a camera above a street or in a car. Write it "
        "again, richer in detail and longer than it was: the traffic, people, signs and dangers, "
        "and one sentence that sums it up. Keep every fact, invent none, and answer with the new "
        "caption only."
    ),
}


def second_question(question: str, second: str, caption: str) -> str:
    """What is asked in the second pass: the first question, and the first caption to improve."""
    return f"{question}\n\n{second}\n\n{caption}"
