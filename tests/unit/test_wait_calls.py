"""The calls of a wait: slices of ids that fit into a message, the time they share, and pages after them."""

from typing import Any

import pytest

from queuectl_client.protocol import rpc
from queuectl_client.waiting import Wait, slices


def answer(jobs: list[Any], following: str | None = None, **more: Any) -> dict[str, Any]:
    return {"done": True, "jobs": jobs, "next": following, "first_failure": None, **more}


def told(wait: Wait, answers: dict[str, dict[str, Any]]) -> list[Any]:
    """All jobs of a wait that is over."""
    found = []
    for pages in wait.pages:
        found += pages.jobs
        while pages.params is not None:
            found += pages.take(answers[pages.params["after"]])
    return found


def test_ids_of_any_number_go_in_calls_that_fit_into_a_message() -> None:
    ids: list[str | int] = ["x" * 128] * 50_000 + ["ü" * 1024] * 5_000
    cut = list(slices(ids))
    assert [each for some in cut for each in some] == ids
    assert len(cut) > 1
    assert all(len(rpc.request(2**31, "job.wait", {"ids": list(some)})) < rpc.MAX_MESSAGE_BYTES for some in cut)
    assert list(slices(())) == []
    assert len(list(slices([f"job_{seq}" for seq in range(100_000)]))) == 1


def test_all_have_ended_before_a_job_is_told_and_the_pages_come_in_the_order_of_the_ids() -> None:
    wait = Wait(["x" * 128] * 50_000)
    first = wait.params
    assert first is not None
    assert first["ids"][0] == "x" * 128
    wait.ended(answer([1, 2], "a"))
    assert wait.params is not None
    wait.ended(answer([4], None, first_failure={"id": "bad"}))
    assert wait.params is None
    assert told(wait, {"a": answer([3])}) == [1, 2, 3, 4]
    assert wait.first_failure == {"id": "bad"}


def test_without_ids_one_call_is_made() -> None:
    wait = Wait(())
    assert wait.params == {"timeout": None}
    wait.ended(answer([]))
    assert wait.params is None
    assert told(wait, {}) == []


def test_the_time_of_every_call_counts_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("queuectl_client.waiting.time.monotonic", lambda: clock[0])
    wait = Wait(["x" * 128] * 50_000, timeout=3)
    lefts = []
    for passes in (1.0, 5.0):
        clock[0] += passes
        assert wait.params is not None
        lefts.append(wait.params["timeout"])
        wait.ended(answer([1], None))
    assert lefts == [2.0, 0.0]


def test_when_time_is_over_nothing_more_is_asked() -> None:
    wait = Wait(["x" * 128] * 50_000, timeout=0)
    wait.ended(answer([1], "a", done=False))
    assert wait.params is None
    assert not wait.done


def test_a_limit_of_0_asks_for_no_pages() -> None:
    wait = Wait(["a"], limit=0)
    wait.ended(answer([], "a"))
    assert wait.pages[0].params is None


def test_a_daemon_that_has_forgotten_is_asked_anew_and_nothing_is_told_twice() -> None:
    wait = Wait(["1-9"], keys=["id"])
    wait.ended(answer([1, 2, 3], "old.3"))
    (pages,) = wait.pages
    assert pages.params is not None
    pages.forgotten()
    assert pages.params == {"ids": ["1-9"], "any": None, "timeout": 0, "keys": ["id"]}
    assert pages.take(answer([1, 2], "new.2")) == []
    assert pages.take(answer([3, 4], "new.4")) == [4]
    assert pages.take(answer([5])) == [5]
    assert pages.params is None
