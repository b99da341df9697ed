"""What a machine has of slots and named resources, what of it is in use, and who may take what is left.

Jobs are looked at in the order in which they are to run. One that does not fit keeps what it needs from all that come
after it, so that a big job is not starved by small ones. Slots it keeps only when nothing else is short: until then a
worker would stand idle for a resource that is busy for hours.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from queuectl_client.protocol.amounts import amount, has_unit, is_resource_name

SLOTS: Final = "slots"
MAX_NUMBERED: Final = 1024
"""A resource of so many, written without a unit, is one of numbered things; of memory no job is told which bytes."""
VISIBLE_DEVICES: Final = "CUDA_VISIBLE_DEVICES"
"""What programs that use a GPU look at."""

Granted = Mapping[str, tuple[int, ...]]


class Demand(NamedTuple):
    """What a job takes while it runs: slots, and amounts of resources in the order of their names."""

    slots: int = 1
    needs: tuple[tuple[str, int], ...] = ()

    def key(self) -> str:
        """What tells the lane of such jobs from others of the same queue; empty for most jobs."""
        return "" if self == PLAIN else f"{self.slots} {json.dumps(dict(self.needs), separators=(',', ':'))}"


PLAIN: Final = Demand()


def demand(slots: int, needs: Mapping[str, int]) -> Demand:
    """What a job with these two keys takes."""
    return Demand(slots, tuple(sorted(needs.items())))


def read_demand(key: str) -> Demand:
    """What `Demand.key` was made of."""
    if not key:
        return PLAIN
    slots, _, needs = key.partition(" ")
    return demand(int(slots), json.loads(needs))


class Supply(NamedTuple):
    """How much there is of a resource; `numbered`: jobs are told which ones of it are theirs."""

    amount: int
    numbered: bool


def read_supplies(text: str | None) -> dict[str, Supply]:
    """The resources of `gpu=2,mem=16G`. Raises ValueError for anything else, or for one named twice."""
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
    """What there is and what is in use. `slots` None: as many as there are workers."""

    slots: int | None = None
    supplies: dict[str, Supply] = field(default_factory=dict)
    workers: int = 0
    used: dict[str, int] = field(default_factory=dict)
    taken: dict[str, set[int]] = field(default_factory=dict)

    def total(self, name: str) -> int:
        """How much there is in all; 0 of what is not there."""
        if name == SLOTS:
            return self.workers if self.slots is None else self.slots
        supply = self.supplies.get(name)
        return supply.amount if supply is not None else 0

    def free(self, name: str) -> int:
        """How much nobody uses; below 0 where the total was lowered meanwhile."""
        return self.total(name) - self.used.get(name, 0)

    def exceeding_total(self, wanted: Demand) -> list[tuple[str, int]]:
        """What of it there is not enough of even when nobody else runs, and how much was asked for."""
        return [(name, much) for name, much in _parts(wanted) if much > self.total(name)]

    def shortages(self, wanted: Demand, reserved: Mapping[str, int]) -> list[str]:
        """What there is not enough of now, besides what others have reserved."""
        return [name for name, much in _parts(wanted) if self.free(name) - reserved.get(name, 0) < much]

    def pick_numbers(self, wanted: Demand) -> Granted:
        """The lowest free numbers of those resources that are numbered."""
        granted = {}
        for name, much in wanted.needs:
            supply = self.supplies.get(name)
            if supply is not None and supply.numbered:
                busy = self.taken.get(name, ())
                granted[name] = tuple([number for number in range(supply.amount) if number not in busy][:much])
        return granted

    def acquire(self, wanted: Demand, granted: Granted) -> None:
        """Use so much, and these numbers of it."""
        for name, much in _parts(wanted):
            self.used[name] = self.used.get(name, 0) + much
        for name, numbers in granted.items():
            self.taken.setdefault(name, set()).update(numbers)

    def release(self, wanted: Demand, granted: Granted) -> None:
        """Use so much no longer."""
        for name, much in _parts(wanted):
            self.used[name] -= much
        for name, numbers in granted.items():
            self.taken[name].difference_update(numbers)


def reserve(wanted: Demand, shortages: list[str], reserved: dict[str, int]) -> None:
    """Keep what a job that does not fit needs from those that come after it."""
    for name, much in _parts(wanted):
        if name != SLOTS or shortages == [SLOTS]:
            reserved[name] = reserved.get(name, 0) + much


def variables(granted: Granted, needs: Mapping[str, int]) -> dict[str, str]:
    """What a job finds in its environment of the resources it has: numbers of things, else amounts."""
    values = {}
    for name, much in needs.items():
        numbers = granted.get(name)
        values[variable(name)] = str(much) if numbers is None else ",".join(map(str, numbers))
    if "gpu" in granted:
        values[VISIBLE_DEVICES] = values[variable("gpu")]
    return values


def variable(name: str) -> str:
    """The environment variable that tells of a resource."""
    return f"QUEUECTL_{name.upper()}"


def _parts(wanted: Demand) -> tuple[tuple[str, int], ...]:
    return ((SLOTS, wanted.slots), *wanted.needs)
