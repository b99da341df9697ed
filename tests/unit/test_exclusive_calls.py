"""Which calls look others up first, told from parameters that nobody has checked yet."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from queuectl_client.protocol.messages import Defaults
from queuectld.server.exclusive_calls import (
    CHECKED_AT_ONCE,
    adds_alone,
    adds_to_batch_alone,
    has_dependency_selector,
)
from queuectld.server.route import Caller, OpenBatch
from queuectld.store.records import FEW

PEER = cast(
    Caller,
    SimpleNamespace(
        batches={
            "looks": OpenBatch(Defaults({"depends_on": ["last"]})),
            "plain": OpenBatch(Defaults({"depends_on": ["a"]})),
        }
    ),
)


@pytest.mark.parametrize(
    "params",
    [
        {"command": "x", "depends_on": ["a", "last"]},
        {"command": "x", "dependsOn": [{"id": "label:k=v", "on": "any"}]},
        {"jobs": [{"command": "x"}, {"command": "x", "depends_on": ["3-9"]}]},
        {"jobs": [{"command": "x"}], "defaults": {"depends_on": ["@held"]}},
        {"token": "looks", "jobs": [{"command": "x"}]},
    ],
)
def test_a_selector_among_the_parents(params: dict[str, Any]) -> None:
    assert has_dependency_selector(PEER, params)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"command": "x", "depends_on": ["a", "17", {"batch": "b"}, "batch:b"]},
        {"token": "plain", "jobs": [{"command": "x"}]},
        {"token": ["looks"], "jobs": 5},
        {"jobs": ["last", None, ["last"]], "defaults": "last"},
        {"depends_on": "last"},
        {"depends_on": [None, 5, {}, {"id": ["last"]}]},
        {"jobs": {"depends_on": ["last"]}},
    ],
)
def test_none_or_rubbish(params: dict[str, Any]) -> None:
    assert not has_dependency_selector(PEER, params)


def test_many_jobs_are_added_alone() -> None:
    assert adds_alone(PEER, {"jobs": [{"command": "x"}] * (FEW + 1)})
    assert not adds_alone(PEER, {"jobs": [{"command": "x"}] * FEW})
    assert adds_alone(PEER, {"jobs": [{"command": "x", "depends_on": ["last"]}]})


def test_a_message_checked_in_slices_is_added_to_its_batch_alone() -> None:
    assert adds_to_batch_alone(PEER, {"token": "plain", "jobs": [{"command": "x"}] * (CHECKED_AT_ONCE + 1)})
    assert not adds_to_batch_alone(PEER, {"token": "plain", "jobs": [{"command": "x"}] * CHECKED_AT_ONCE})
    assert adds_to_batch_alone(PEER, {"token": "looks", "jobs": [{"command": "x"}]})
