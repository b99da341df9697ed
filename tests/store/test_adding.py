"""Jobs come in: ids, numbers, unique keys, repeats, all or nothing."""

import asyncio

import pytest

from queuectl_client.protocol.vocabulary import ErrorCode, JobState
from queuectld.domain.errors import Refused
from queuectld.domain.job import Options
from queuectld.domain.retry import RetryPolicy
from tests.store import verbs
from tests.store.lab import ENVIRONMENT, Lab, in_lab, new


@in_lab
async def test_a_job_gets_a_number_and_an_id_of_it(lab: Lab) -> None:
    first, second = await lab.add(), await lab.add()
    assert (first.seq, first.id, second.seq, second.id) == (1, "job_1", 2, "job_2")
    assert first.state is JobState.PENDING
    assert first.ready
    assert lab.kinds() == ["job.pending", "job.pending"]


@in_lab
async def test_what_is_read_is_what_was_answered_and_what_was_asked_for(lab: Lab) -> None:
    asked = new(
        ("printf", "%s", "a\udcffb"), id="x.1", name="nightly", labels={"k": "ä"}, queue="q", priority=-3,
        retry=RetryPolicy(5, 1.5, 60.0, 0.25, (1, "SIGTERM"), (2,)), timeout_ms=1500, stall_timeout_ms=9,
        kill_grace_ms=1, cwd="/tmp/\udcfe", umask=0o22, env={"A\udcff": "\udc80"}, stdin="in\udcff", unique_key="u",
        on_conflict="skip", key="k", key_limit=2, slots=3, needs={"gpu": 1}, once=True,
        split_output=True, stdin_open=True,
    )  # fmt: skip
    answered = await verbs.add(lab.store, asked, now=lab.now)
    read = await lab.get(answered.seq)
    assert read == answered
    for name in ("command", "id", "queue", "priority", "options"):
        assert getattr(read, name) == getattr(asked, name), name
    usual = [name for name, value in Options._field_defaults.items() if getattr(asked.options, name) == value]
    assert not usual, "each option is asked for otherwise than it is by default, so that none is lost unseen"
    await lab.store.config_set("resources", "gpu=1", now=lab.now)
    workers = await lab.hire(3)
    claimed = await lab.claim(workers[0])
    assert claimed.command == asked.command
    assert claimed.options._replace(env=asked.options.env) == asked.options
    assert await lab.store.queries.environment(claimed.environment_id) == asked.environment


@in_lab
async def test_wherever_a_job_comes_to_stand_it_is_read_as_it_was_answered(lab: Lab) -> None:
    dead = await lab.add("false", retry=RetryPolicy(1, 2, 60))
    await lab.turn([lab.end(await lab.claim(), 1)])
    for asked in (
        new(hold=True), new(delay_ms=5), new(run_at_ms=lab.wall_ms + 9), new(run_at_ms=1), new(batch="b"),
        new(depends_on=((dead.id, "completed"),)), new(key="k"), new(key="k"),
    ):  # fmt: skip
        answered = await verbs.add(lab.store, asked, now=lab.now)
        assert await lab.get(answered.seq) == answered


@in_lab
async def test_a_taken_id_is_a_conflict_that_names_the_job(lab: Lab) -> None:
    await lab.add(id="nightly")
    with pytest.raises(Refused) as refused:
        await lab.add(id="nightly")
    assert refused.value.code is ErrorCode.CONFLICT
    assert refused.value.data == {"id": "nightly", "seq": 1}
    assert (await lab.store.counts()).by_state[JobState.PENDING] == 1
    assert (await lab.add()).seq == 2


@in_lab
async def test_a_number_whose_id_is_taken_is_skipped(lab: Lab) -> None:
    await lab.add(id="job_3")
    await lab.add()
    assert (await lab.add()).id == "job_4"
    added = await lab.store.intake.add_many([new(), new(id="job_6"), new()], now=lab.now)
    assert added.ids == ["job_5", "job_6", "job_7"]


@in_lab
async def test_a_listing_can_be_enqueued_again_under_its_own_ids(lab: Lab) -> None:
    added = await lab.store.intake.add_many([new(id=f"job_{n}") for n in range(1, 5)], now=lab.now)
    assert added.ids == ["job_1", "job_2", "job_3", "job_4"]
    assert added.seqs == [1, 2, 3, 4]


@in_lab
async def test_numbers_are_never_given_twice(lab: Lab) -> None:
    await lab.add()
    last = await lab.add()
    await verbs.remove(lab.store, [last.seq], now=lab.now)
    assert (await lab.add()).seq == 3
    await verbs.remove(lab.store, [3], now=lab.now)
    await lab.restart()
    assert (await lab.add()).seq == 4


@in_lab
async def test_many_are_stored_in_order_and_told_once(lab: Lab) -> None:
    added = await lab.store.intake.add_many([new(f"echo {n}") for n in range(2500)], now=lab.now)
    assert added.seqs == list(range(1, 2501))
    assert lab.kinds() == ["jobs.added"]
    assert lab.events[0].detail == {"first_seq": 1, "last_seq": 2500, "count": 2500}
    assert (await lab.store.counts()).by_state[JobState.PENDING] == 2500
    assert (await lab.get(2500)).command == "echo 2499"


@pytest.mark.parametrize("count", [10, 2500])
def test_of_many_a_refused_one_lets_none_in(count: int, tmp_path: object) -> None:
    @in_lab
    async def scenario(lab: Lab) -> None:
        await lab.add(id="mine")
        jobs = [new() for _ in range(count)]
        jobs[-2] = new(id="mine")
        with pytest.raises(Refused) as refused:
            await lab.store.intake.add_many(jobs, now=lab.now)
        assert refused.value.code is ErrorCode.CONFLICT
        assert refused.value.message.startswith(f"job {count - 1}: ")
        assert refused.value.data is not None
        assert refused.value.data["index"] == count - 2
        assert (await lab.store.counts()).by_state[JobState.PENDING] == 1
        assert [job.id for job in (await lab.store.queries.page(_all())).jobs] == ["mine"]

    scenario(tmp_path)  # type: ignore[arg-type]


def _all() -> object:
    from queuectld.store.records import ListQuery

    return ListQuery()


@in_lab
async def test_the_same_id_twice_in_one_request_is_refused(lab: Lab) -> None:
    with pytest.raises(Refused, match=r"job 2: .*'a' is given twice") as refused:
        await lab.store.intake.add_many([new(id="a"), new(id="a")], now=lab.now)
    assert refused.value.data == {"id": "a", "index": 1}  # no number: there never was such a job
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(token, [new(id="a", unique_key="u")], now=lab.now)
    with pytest.raises(Refused, match=r"'a' is given twice"):
        await lab.store.intake.add_to_upload(token, [new(id="a")], now=lab.now)
    with pytest.raises(Refused, match=r"'u' is given twice"):
        await lab.store.intake.add_to_upload(token, [new(unique_key="u")], now=lab.now)


@in_lab
async def test_a_repeated_request_gets_the_first_answer_and_stores_nothing(lab: Lab) -> None:
    first = await verbs.add(lab.store, new("one"), now=lab.now, request="r-1")
    assert await verbs.add(lab.store, new("one"), now=lab.now, request="r-1") == first
    many = await lab.store.intake.add_many([new(), new()], now=lab.now, request="r-2")
    await lab.restart()
    assert await lab.store.intake.add_many([new(), new()], now=lab.now, request="r-2") == many
    assert (await lab.store.counts()).by_state[JobState.PENDING] == 3
    await verbs.remove(lab.store, [first.seq], now=lab.now)
    assert (await verbs.add(lab.store, new("one"), now=lab.now, request="r-1")).id == first.id
    with pytest.raises(Refused, match="r-1"):
        await lab.store.intake.add_many([new()], now=lab.now, request="r-1")


@in_lab
async def test_a_refused_request_may_be_asked_again(lab: Lab) -> None:
    await lab.add(id="a")
    with pytest.raises(Refused):
        await verbs.add(lab.store, new(id="a"), now=lab.now, request="r")
    await verbs.remove(lab.store, [1], now=lab.now)
    assert (await verbs.add(lab.store, new(id="a"), now=lab.now, request="r")).seq == 2


@in_lab
async def test_a_unique_key_is_free_when_its_job_has_ended(lab: Lab) -> None:
    first = await lab.add(unique_key="u")
    with pytest.raises(Refused) as refused:
        await lab.add(unique_key="u")
    assert refused.value.data == {"id": first.id, "seq": first.seq, "key": "unique_key"}
    assert (await lab.add(unique_key="u", on_conflict="skip")).id == first.id
    await lab.turn([lab.end(await lab.claim())])
    second = await lab.add(unique_key="u")
    assert second.id != first.id
    with pytest.raises(Refused, match="now held by"):
        await verbs.retry(lab.store, [first.seq], now=lab.now)


@in_lab
async def test_replacing_cancels_the_waiting_holder_of_the_key_but_no_running_one(lab: Lab) -> None:
    first = await lab.add(unique_key="u")
    second = await lab.add(unique_key="u", on_conflict="replace")
    replaced = await lab.get(first.seq)
    assert replaced.state is JobState.CANCELLED
    assert replaced.reason is not None
    assert replaced.reason.startswith("cancelled")
    assert (await lab.claim()).id == second.id
    with pytest.raises(Refused, match="processing"):
        await lab.add(unique_key="u", on_conflict="replace")


@in_lab
async def test_a_replaced_job_waits_for_nobody(lab: Lab) -> None:
    await lab.add(id="a")
    await lab.add(id="b", unique_key="u", depends_on=(("a", "any"),))
    await lab.add(id="c", unique_key="u", on_conflict="replace")
    (worker,) = await lab.hire()
    assert await lab.drain(worker) == ["a", "c"]
    assert (await lab.get(2)).state is JobState.CANCELLED


@in_lab
async def test_who_waits_for_a_replaced_job_knows_at_once(lab: Lab) -> None:
    await lab.add(id="a", unique_key="u")
    await lab.add(id="b", depends_on=(("a", "completed"),))
    third = await lab.add(id="c", unique_key="u", on_conflict="replace", depends_on=(("b", "completed"),))
    assert (await lab.get(2)).state is JobState.CANCELLED
    assert third.state is JobState.CANCELLED


@in_lab
async def test_two_of_one_request_with_one_key_conflict(lab: Lab) -> None:
    with pytest.raises(Refused, match=r"job 2: .*'u' is given twice"):
        await lab.store.intake.add_many([new(unique_key="u"), new(unique_key="u")], now=lab.now)
    added = await lab.store.intake.add_many(
        [new(unique_key="u"), new(unique_key="u", on_conflict="skip"), new()], now=lab.now
    )  # fmt: skip
    assert (added.seqs, added.skipped) == ([1, 1, 2], [1])


@in_lab
async def test_what_became_of_a_unique_key_is_told_also_to_who_asks_again(lab: Lab) -> None:
    first = await lab.store.intake.add(new(unique_key="u"), now=lab.now)
    assert (first.skipped, first.replaced) == (False, None)
    for _ in range(2):
        again = await lab.store.intake.add(new(unique_key="u", on_conflict="skip"), now=lab.now, request="s")
        assert (again.job.id, again.skipped, again.replaced) == (first.job.id, True, None)
    for _ in range(2):
        place = await lab.store.intake.add(new(unique_key="u", on_conflict="replace"), now=lab.now, request="r")
        assert (place.job.id, place.skipped, place.replaced) == ("job_2", False, first.job.id)


@in_lab
async def test_an_environment_is_stored_once_for_each_content(lab: Lab) -> None:
    await lab.add(environment={"A": "1", "B": "2"})
    await lab.add(environment={"B": "2", "A": "1"})
    await lab.add(environment={"A": "\udcff"})
    await lab.hire(3)
    claimed = (await lab.turn(free=lab.workers)).claimed
    numbers = [each.environment_id for each in claimed]
    assert numbers[0] == numbers[1] != numbers[2]
    assert await lab.store.queries.environment(numbers[2]) == {"A": "\udcff"}
    for each in claimed:
        await lab.turn([lab.end(each)])
    await verbs.remove(lab.store, [1], now=lab.now)
    assert await lab.store.queries.environment(numbers[0]) == {"A": "1", "B": "2"}
    await verbs.remove(lab.store, [2], now=lab.now)
    with pytest.raises(LookupError):
        await lab.store.queries.environment(numbers[0])
    assert await lab.store.queries.environment(numbers[2]) == {"A": "\udcff"}


@in_lab
async def test_an_environment_that_went_comes_back_under_another_number(lab: Lab) -> None:
    """Workers keep environments that they have seen by their numbers."""
    await lab.add()
    await verbs.remove(lab.store, [1], now=lab.now)
    await lab.add(environment={"NEW": "1"})
    await lab.add()
    with pytest.raises(LookupError):
        await lab.store.queries.environment(1)
    assert [await lab.store.queries.environment(number) for number in (2, 3)] == [{"NEW": "1"}, ENVIRONMENT]


@in_lab
async def test_an_environment_lives_through_a_removal_and_an_addition_in_one_commit(lab: Lab) -> None:
    await lab.add()
    gone = [verbs.remove(lab.store, [seq], now=lab.now) for seq in (1, 9)]
    await asyncio.gather(gone[0], lab.add(), gone[1], return_exceptions=True)
    (claimed,) = (await lab.turn(free=await lab.hire())).claimed
    assert await lab.store.queries.environment(claimed.environment_id) == ENVIRONMENT


@in_lab
async def test_the_environments_of_a_batch_that_is_no_more_go_with_it(lab: Lab) -> None:
    token = await lab.store.intake.open_upload(now=lab.now)
    await lab.store.intake.add_to_upload(token, [new(environment={"SECRET": "1"})] * 3, now=lab.now)
    await lab.store.intake.discard_upload(token)
    with pytest.raises(LookupError):
        await lab.store.queries.environment(1)
