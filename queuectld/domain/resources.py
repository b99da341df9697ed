"""Slots and named resources: totals, use, and reservations.

Jobs are considered in the order in which they run. One that does not fit reserves what it needs, so that small jobs do
not starve a big one. It reserves slots only if nothing else is short: a worker would stand idle for a resource
that may be busy for hours.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from queuectl_client.protocol.amounts import amount, amount_text, has_unit, is_resource_name

SLOTS: Final = "slots"
MAX_NUMBERED: Final = 1024
"""A resource of up to this many, written without a unit, is numbered: jobs are given specific ones, such as GPUs."""
VISIBLE_DEVICES: Final = "CUDA_VISIBLE_DEVICES"
"""Read by programs that use a GPU."""

Granted = Mapping[str, tuple[int, ...]]


class Demand(NamedTuple):
    """What a job occupies while it runs: slots, and amounts of resources, sorted by name."""

    slots: int = 1
    needs: tuple[tuple[str, int], ...] = ()

    def key(self) -> str:
        """Return the part of the lane key besides the queue; empty for most jobs."""
        return "" if self == PLAIN else f"{self.slots} {json.dumps(dict(self.needs), separators=(',', ':'))}"


PLAIN: Final = Demand()


def demand(slots: int, needs: Mapping[str, int]) -> Demand:
    """Build the demand of a job."""
    return Demand(slots, tuple(sorted(needs.items())))


def read_demand(key: str) -> Demand:
    """Inverse of `Demand.key`."""
    if not key:
        return PLAIN
    slots, _, needs = key.partition(" ")
    return demand(int(slots), json.loads(needs))


class Supply(NamedTuple):
    """Total of a resource; `numbered`: jobs are told which ones they have."""

    amount: int
    numbered: bool

    def text(self, much: int) -> str:
        """Return an amount of it as a person writes it: a size with its unit (`4G`), else a number."""
        return amount_text(much) if self.amount > MAX_NUMBERED else str(much)


def read_supplies(text: str | None) -> dict[str, Supply]:
    """Parse resources such as `gpu=2,mem=16G`. Raises ValueError if invalid or named twice."""
    supplies: dict[str, Supply] = {}
    for part in text.split(",") if text else ():
        name, equals, much = part.strip().partition("=")
        if not equals or not is_resource_name(name) or name in supplies:
            raise ValueError(text)
        number = amount(much)
        supplies[name] = Supply(number, number <= MAX_NUMBERED and not has_unit(much))
    return supplies


@dataclass(slots=True)
class Resources:
    """Totals and use. `slots` None: as many as there are workers."""

    slots: int | None = None
    supplies: dict[str, Supply] = field(default_factory=dict)
    workers: int = 0
    used: dict[str, int] = field(default_factory=dict)
    taken: dict[str, set[int]] = field(default_factory=dict)

    def total(self, name: str) -> int:
        """Return the total of a resource; 0 if it is unknown."""
        if name == SLOTS:
            return self.workers if self.slots is None else self.slots
        supply = self.supplies.get(name)
        return supply.amount if supply is not None else 0

    def text(self, name: str, much: int) -> str:
        """Return an amount of the resource as a person writes it."""
        supply = self.supplies.get(name)
        return str(much) if supply is None else supply.text(much)

    def free(self, name: str) -> int:
        """Return the free amount; negative if the total was lowered meanwhile."""
        return self.total(name) - self.used.get(name, 0)

    def exceeding_total(self, wanted: Demand) -> list[tuple[str, int]]:
        """Return the resources of which the demand exceeds the total, with the amounts demanded."""
        return [(name, much) for name, much in _parts(wanted) if much > self.total(name)]

    def shortages(self, wanted: Demand, reserved: Mapping[str, int]) -> list[str]:
        """Return the resources of which too little is free now, without what others have reserved."""
        return [name for name, much in _parts(wanted) if self.free(name) - reserved.get(name, 0) < much]

    def pick_numbers(self, wanted: Demand) -> Granted:
        """Return the lowest free numbers of the numbered resources."""
        granted = {}
        for name, much in wanted.needs:
            supply = self.supplies.get(name)
            if supply is not None and supply.numbered:
                busy = self.taken.get(name, ())
                granted[name] = tuple([number for number in range(supply.amount) if number not in busy][:much])
        return granted

    def acquire(self, wanted: Demand, granted: Granted) -> None:
        """Add the demand and these numbers to the use."""
        for name, much in _parts(wanted):
            self.used[name] = self.used.get(name, 0) + much
        for name, numbers in granted.items():
            self.taken.setdefault(name, set()).update(numbers)

    def release(self, wanted: Demand, granted: Granted) -> None:
        """Remove the demand and these numbers from the use."""
        for name, much in _parts(wanted):
            self.used[name] -= much
        for name, numbers in granted.items():
            self.taken[name].difference_update(numbers)


def reserve(wanted: Demand, shortages: list[str], reserved: dict[str, int]) -> None:
    """Add the demand of a job that does not fit to the reservations."""
    for name, much in _parts(wanted):
        if name != SLOTS or shortages == [SLOTS]:
            reserved[name] = reserved.get(name, 0) + much


def variables(granted: Granted, needs: Mapping[str, int]) -> dict[str, str]:
    """Return the environment variables for granted resources: numbers if numbered, else amounts."""
    values = {}
    for name, much in needs.items():
        numbers = granted.get(name)
        values[variable(name)] = str(much) if numbers is None else ",".join(map(str, numbers))
    if "gpu" in granted:
        values[VISIBLE_DEVICES] = values[variable("gpu")]
    return values


def variable(name: str) -> str:
    """Return the name of the environment variable of a resource."""
    return f"QUEUECTL_{name.upper()}"


def _parts(wanted: Demand) -> tuple[tuple[str, int], ...]:
    return ((SLOTS, wanted.slots), *wanted.needs)
