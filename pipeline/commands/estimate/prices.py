"""Prices: a table that comes with finecut, or the user's own, and what a run costs by it.

{"dated": "2025-06", "currency": "USD", "checked": false,
 "regions": {"us-central1": {
     "machines": {"n1-standard-4": {"cpus": 4, "per_hour": 0.19}},
     "requests": {"write": 0.005, "read": 0.0004, "delete": 0},      for a thousand of each
     "gigabyte_month": 0.02}}}
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from finecut.io.storage import files as shelf
from finecut.pipeline.options import OptionError
from finecut.transforms.option import did_you_mean

SHIPPED: Final = "prices.json"
#: Which requests have a price each.
REQUESTS: Final = ("write", "read", "delete")
FORMAT: Final = "docs/estimating.md describes the format"


@dataclass(frozen=True)
class Prices:
    """What one machine and one region's store cost."""

    region: str
    machine: str
    cpus: float
    per_hour: float
    #: For a thousand requests of each kind.
    requests: Mapping[str, float]
    gigabyte_month: float
    currency: str
    dated: str
    #: Whether somebody has compared the table with what is billed.
    checked: bool

    def of_work(self, cpu_hours: float) -> float:
        """What machines cost whose cores are all busy for that long."""
        return cpu_hours / self.cpus * self.per_hour

    def of_requests(self, numbers: Mapping[str, float]) -> float:
        """What so many requests of each kind cost."""
        return sum(self.requests[kind] * number / 1000 for kind, number in numbers.items())


def prices_for(region: str, machine: str, path: str | None = None) -> Prices:
    """The prices of a machine in a region, by the table in this file; an :class:`OptionError` says
    what is wrong with it, or what to write instead.
    """
    table = _table(path)
    regions = table["regions"]
    if region not in regions:
        raise OptionError(f"--region {region} has no prices: {did_you_mean(region, [*regions])}")
    here = regions[region]
    if machine not in here["machines"]:
        known = [*here["machines"]]
        raise OptionError(
            f"--machine {machine} has no price in {region}: {did_you_mean(machine, known)}"
        )
    chosen = here["machines"][machine]
    return Prices(
        region=region,
        machine=machine,
        cpus=chosen["cpus"],
        per_hour=chosen["per_hour"],
        requests={kind: here["requests"][kind] for kind in REQUESTS},
        gigabyte_month=here["gigabyte_month"],
        currency=table["currency"],
        dated=table["dated"],
        checked=table["checked"],
    )


def _table(path: str | None) -> dict[str, Any]:
    if path is None:
        text = files(__package__).joinpath(SHIPPED).read_text(encoding="utf-8")
        return _checked(json.loads(text), "the built-in table of prices")
    named = f"--prices {path}"
    try:
        table = json.loads(shelf.read(shelf.absolute(path)))
    except OSError as error:
        raise OptionError(
            f"{named} cannot be read ({error.strerror or error}): give a table of prices as JSON"
        ) from error
    except ValueError as error:
        raise OptionError(f"{named} is not JSON ({error}): {FORMAT}") from error
    return _checked(table, named)


def _checked(table: Any, named: str) -> dict[str, Any]:
    """The table, if everything in it has its kind."""
    if wrong := _wrong(table):
        raise OptionError(f"{named}: {wrong}: {FORMAT}")
    checked: dict[str, Any] = table
    return checked


def _wrong(table: Any) -> str:
    """What is wrong first; empty: nothing."""
    if not isinstance(table, dict):
        return "it is not an object"
    kinds = {"dated": str, "currency": str, "checked": bool, "regions": dict}
    for key, kind in kinds.items():
        if not isinstance(table.get(key), kind):
            return f"{key!r} is missing, or is not what it has to be ({kind.__name__})"
    return next(filter(None, (_wrong_in(name, at) for name, at in table["regions"].items())), "")


def _wrong_in(region: str, at: Any) -> str:
    machines = at.get("machines") if isinstance(at, dict) else None
    requests = at.get("requests") if isinstance(at, dict) else None
    if not isinstance(machines, dict) or not isinstance(requests, dict):
        return f"region {region!r} has no 'machines' or no 'requests'"
    numbers = {f"requests: {kind}": requests.get(kind) for kind in REQUESTS}
    numbers["gigabyte_month"] = at.get("gigabyte_month")
    for name, machine in machines.items():
        for key in ("cpus", "per_hour"):
            value = machine.get(key) if isinstance(machine, dict) else None
            numbers[f"{name}: {key}"] = value if key == "per_hour" or value else None
    wrong = next((name for name, value in numbers.items() if not _is_price(value)), None)
    return (wrong and f"region {region!r}, {wrong!r} is missing, or is not a price") or ""


def _is_price(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value) and value >= 0
