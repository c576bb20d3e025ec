"""What goes wrong with servers: three kinds, by whether it helps to ask again."""

from __future__ import annotations

from finecut.transforms.models.weights.folders import WeightsMissing


class EndpointError(WeightsMissing):
    """A server gave no usable answer; the message says what happened, why, and what helps."""


class EndpointDown(EndpointError):
    """It could not be reached, was too slow, or said that it could not now."""


class EndpointRefused(EndpointError):
    """It understood, and does not want to; asking again would change nothing."""


class EndpointGarbled(EndpointError):
    """It answered something that is no answer."""
