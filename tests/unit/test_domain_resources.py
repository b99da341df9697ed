"""What there is of slots and resources, and who keeps what from whom."""

import pytest

from queuectl_client.protocol.amounts import amount, is_resource_name
from queuectld.domain.resources import (
    PLAIN,
    SLOTS,
    Demand,
    Resources,
    Supply,
    demand,
    read_demand,
    read_supplies,
    reserve,
    variables,
)


@pytest.mark.parametrize(
    "given, number", [(2, 2), ("2", 2), ("4K", 4096), ("1m", 1 << 20), ("16G", 16 << 30), ("2GiB", 2 << 30)]
)  # fmt: skip
def test_amounts(given: object, number: int) -> None:
    assert amount(given) == number


@pytest.mark.parametrize("given", [0, -1, 1.5, True, "", "G", "1.5G", "1P", "9999T", None])
def test_what_is_no_amount(given: object) -> None:
    with pytest.raises(ValueError):
        amount(given)


def test_a_resource_may_not_be_called_as_what_means_something_else_already() -> None:
    assert [name for name in ("gpu", "home", "socket", "GPU", "a b", "slots", "x_1") if is_resource_name(name)] == [
        "gpu", "x_1"
    ]  # fmt: skip


def test_supplies_of_things_are_numbered_and_sizes_are_not() -> None:
    assert read_supplies("gpu=2, mem=16G") == {"gpu": Supply(2, True), "mem": Supply(16 << 30, False)}
    assert read_supplies(None) == {}
    for text in ("gpu", "gpu=0", "gpu=1,gpu=2", "=1", "gpu=1,,"):
        with pytest.raises(ValueError):
            read_supplies(text)


def test_a_demand_is_the_same_however_its_needs_were_written() -> None:
    one, other = demand(2, {"gpu": 1, "a": 3}), demand(2, {"a": 3, "gpu": 1})
    assert one == other
    assert read_demand(one.key()) == one
    assert (PLAIN.key(), read_demand("")) == ("", PLAIN)


def test_numbers_are_the_lowest_free_ones() -> None:
    there = Resources(4, read_supplies("gpu=3"))
    first, second = Demand(1, (("gpu", 1),)), Demand(1, (("gpu", 2),))
    assert there.pick_numbers(first) == {"gpu": (0,)}
    there.acquire(first, {"gpu": (0,)})
    there.acquire(second, there.pick_numbers(second))
    assert there.shortages(first, {}) == ["gpu"]
    there.release(first, {"gpu": (0,)})
    assert there.pick_numbers(first) == {"gpu": (0,)}
    assert variables({"gpu": (1, 2)}, {"gpu": 2, "mem": 5}) == {
        "QUEUECTL_GPU": "1,2", "CUDA_VISIBLE_DEVICES": "1,2", "QUEUECTL_MEM": "5"
    }  # fmt: skip


def test_who_does_not_fit_keeps_things_from_those_behind_and_slots_only_when_nothing_else_is_short() -> None:
    there = Resources(2, read_supplies("gpu=1"))
    wanted = Demand(2, (("gpu", 1),))
    there.acquire(Demand(1, (("gpu", 1),)), {"gpu": (0,)})
    reserved: dict[str, int] = {}
    reserve(wanted, there.shortages(wanted, {}), reserved)
    assert reserved == {"gpu": 1}
    there.release(Demand(1, (("gpu", 1),)), {"gpu": (0,)})
    there.acquire(PLAIN, {})
    reserved = {}
    reserve(wanted, there.shortages(wanted, {}), reserved)
    assert reserved == {"gpu": 1, SLOTS: 2}
    assert there.shortages(PLAIN, reserved) == [SLOTS]
    assert there.exceeding_total(Demand(3)) == [(SLOTS, 3)]
