"""Calls over a real socket: hello, errors, order, cancelling, batches, events, hanging up."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from queuectl_client.protocol import rpc
from queuectl_client.protocol.messages import REQUESTS
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.scheduler.jobs.bulk import BulkResult
from queuectld.server import session
from queuectld.server.router import ROUTES
from tests.support.eventually import eventually_async
from tests.support.wire import CallFailed, FrontDoor, a_job, scene


@scene
async def test_hello_says_who_answers_and_decides_the_form_of_errors(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        client = await door.connect()
        said = await client.call("hello", client="test", protocol=1)
        assert said["server"] == "queuectld 0.1.0"
        assert said["protocol"] == 1
        assert "events" in said["capabilities"]
        assert said["store"] == "/home/queuectl.db"
        with pytest.raises(CallFailed) as failed:
            await client.call("statu")
        assert failed.value.error == {
            "code": "unknown_method",
            "message": "unknown method 'statu'; did you mean status?",
            "data": None,
        }


@scene
async def test_without_hello_errors_are_one_string(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        client = await door.connect()
        with pytest.raises(CallFailed) as failed:
            await client.call("statu")
        assert failed.value.error == "unknown_method: unknown method 'statu'; did you mean status?"
        assert (await client.call("status"))["counts"]["pending"] == 4


@scene
async def test_hello_comes_first_or_not_at_all(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        client = await door.connect()
        await client.call("status")
        with pytest.raises(CallFailed) as failed:
            await client.call("hello")
        assert failed.value.error.startswith("wrong_state: ")
        assert (await (await door.connect()).call("hello", protocol=1))["protocol"] == rpc.PROTOCOL_VERSION


@scene
async def test_a_newer_client_is_told_which_side_to_upgrade(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        client = await door.connect()
        with pytest.raises(CallFailed) as failed:
            await client.call("hello", protocol=99)
        assert failed.value.error["code"] == "version"
        assert "speaks protocol 1, this client 99: upgrade the daemon" in failed.value.error["message"]
        assert failed.value.error["data"] == {"protocol": 1}
        await client.call("status")


@pytest.mark.parametrize("params", [{}, [1], [{}, {}], None, "x", 7, [[]]])
def test_params_of_the_wrong_form_are_an_error_and_the_connection_stays(tmp_path: Path, params: Any) -> None:
    @scene
    async def play() -> None:
        async with FrontDoor(tmp_path) as door:
            client = await door.connect()
            import msgpack

            client.send(msgpack.packb([0, 1, "status", params]))
            answer = await client.answer()
            assert answer.msgid == 1
            assert answer.error.startswith("invalid_params: params must be")
            await client.call("status")

    play()


@scene
async def test_bad_parameters_are_told_by_name_and_reach_no_service(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        client = await door.connect()
        await client.call("hello")
        with pytest.raises(CallFailed) as failed:
            await client.call("enqueue", command="true", timeut=5)
        assert failed.value.error["code"] == "invalid_params"
        assert "timeut" in failed.value.error["message"]
        assert "timeout" in failed.value.error["message"]
        assert door.recorder.names() == []


@scene
async def test_a_refusal_is_passed_on_with_its_data(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        door.recorder.replies["jobs.enqueue"] = Refused(ErrorCode.CONFLICT, "id a is taken by job 7", {"seq": 7})
        client = await door.connect()
        await client.call("hello")
        with pytest.raises(CallFailed) as failed:
            await client.call("enqueue", command="true", id="a")
        assert failed.value.error == {"code": "conflict", "message": "id a is taken by job 7", "data": {"seq": 7}}


@scene
async def test_an_error_nobody_foresaw_tells_no_secrets_and_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with FrontDoor(tmp_path) as door:
        door.recorder.replies["jobs.enqueue"] = RuntimeError("TOKEN=secret")
        client = await door.connect()
        with pytest.raises(CallFailed) as failed:
            await client.call("enqueue", command="true")
        assert failed.value.error.startswith("internal: ")
        assert "secret" not in failed.value.error
        await client.call("status")
    assert "a request failed" in caplog.text


@scene
async def test_an_answer_larger_than_a_message_is_refused_in_words(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        door.recorder.replies["jobs.cancel"] = BulkResult([a_job(command="x" * 1_000_000)] * 9, 9, 9, [], None)
        client = await door.connect()
        with pytest.raises(CallFailed) as failed:
            await client.call("job.cancel", ids=["all"])
        assert failed.value.error.startswith("too_large: done, but the answer")


@scene
async def test_adds_run_together_and_a_look_waits_for_them(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        gate = door.recorder.hold("jobs.enqueue")
        client = await door.connect()
        adds = [client.ask("enqueue", command=f"echo {number}") for number in range(3)]
        looks = [client.ask("status"), client.ask("list")]
        await eventually_async(lambda: len(door.recorder.calls) == 3)
        commands = [args[0].command for _, args in door.recorder.calls]
        assert commands == ["echo 0", "echo 1", "echo 2"], "they reach the service in the order they were sent"
        gate.set()
        answered = [(await client.answer()).msgid for _ in range(5)]
        assert sorted(answered) == adds + looks
        assert door.recorder.names()[3:] == ["jobs.status", "jobs.page"]


@scene
async def test_a_change_is_on_its_own(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        cancel = door.recorder.hold("jobs.cancel")
        client = await door.connect()
        for method, params in (
            ("enqueue", {"command": "true", "id": "a"}),
            ("job.cancel", {"ids": ["a"]}),
            ("job.cancel", {"ids": ["b"]}),
            ("enqueue", {"command": "true", "id": "c"}),
        ):
            client.ask(method, **params)
        await client.answer()
        await eventually_async(lambda: door.recorder.names() == ["jobs.enqueue", "jobs.cancel"])
        cancel.set()
        for _ in range(3):
            await client.answer()
        assert door.recorder.names() == ["jobs.enqueue", "jobs.cancel", "jobs.cancel", "jobs.enqueue"]
        assert door.recorder.ended == door.recorder.names()


@scene
async def test_a_waiting_call_holds_up_nobody(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        gate = door.recorder.hold("jobs.wait")
        client = await door.connect()
        wait = client.ask("job.wait", ids=["a"])
        assert (await client.call("status"))["workers"] == 3
        gate.set()
        answer = await client.answer()
        assert answer.msgid == wait
        assert answer.result["jobs"] == []
        assert answer.result["done"]


@pytest.mark.parametrize("at_once", [True, False])
def test_cancel_ends_a_waiting_call(tmp_path: Path, at_once: bool) -> None:
    @scene
    async def play() -> None:
        async with FrontDoor(tmp_path) as door:
            door.recorder.hold("jobs.wait")
            client = await door.connect()
            frames = [rpc.request(7, "job.wait", {"ids": ["a"]}), rpc.notification("cancel", {"msgid": 7})]
            if at_once:
                client.send(*frames)
            else:
                client.send(frames[0])
                await eventually_async(lambda: door.recorder.calls)
                client.send(frames[1])
            answer = await client.answer()
            assert answer.msgid == 7
            assert answer.error == "gone: the call was cancelled by its client"
            await client.call("status")
            assert "jobs.wait" not in door.recorder.ended

    play()


@scene
async def test_cancel_ends_a_wait_whose_turn_has_not_come(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        enqueue = door.recorder.hold("jobs.enqueue")
        door.recorder.hold("jobs.wait")
        client = await door.connect()
        client.ask("enqueue", command="true")
        wait = client.ask("job.wait", ids=["job_1"])
        client.send(rpc.notification("cancel", {"msgid": wait}))
        await eventually_async(lambda: door.recorder.calls)
        enqueue.set()
        assert [(await client.answer()).msgid for _ in range(2)] == [1, wait]


@scene
async def test_cancel_of_a_write_or_of_nothing_changes_nothing(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        gate = door.recorder.hold("jobs.enqueue")
        client = await door.connect()
        msgid = client.ask("enqueue", command="true")
        for params in ({"msgid": msgid}, {"msgid": 99}, {"msgid": "x"}, {}):
            client.send(rpc.notification("cancel", params))
        client.send(b"\x93\x02\xa6cancel\x07", rpc.notification("nobody.knows", {"this": [1, {}]}))
        await eventually_async(lambda: door.recorder.calls)
        gate.set()
        answer = await client.answer()
        assert answer.msgid == msgid
        assert answer.result["id"] == "job_1"


@scene
async def test_too_many_waits_are_told_busy(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        gate = door.recorder.hold("jobs.wait")
        client = await door.connect()
        waits = [client.ask("job.wait", ids=["a"]) for _ in range(session.MAX_WAITS + 1)]
        answer = await client.answer()
        assert answer.msgid == waits[-1]
        assert answer.error.startswith("busy: ")
        await client.call("status")
        gate.set()
        for _ in waits[:-1]:
            assert (await client.answer()).error is None


@scene
async def test_a_client_that_hangs_up_ends_its_waits_but_not_its_writes(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        write = door.recorder.hold("jobs.enqueue")
        door.recorder.hold("jobs.wait")
        client = await door.connect()
        await client.call("batch.open")
        client.ask("job.wait", ids=["a"])
        await eventually_async(lambda: "jobs.wait" in door.recorder.names())
        client.ask("enqueue", command="true")
        await eventually_async(lambda: "jobs.enqueue" in door.recorder.names())
        client.writer.transport.abort()
        write.set()
        await eventually_async(lambda: {"-jobs.wait", "jobs.enqueue"} <= set(door.recorder.ended))
        await eventually_async(lambda: door.recorder.names()[-1] == "jobs.batch_discard")
        assert door.recorder.calls[-1][1] == ("token-1",)
        assert door.recorder.owners_gone == 1


@scene
async def test_a_client_that_sends_no_more_still_reads_its_answers(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        gate = door.recorder.hold("jobs.enqueue")
        client = await door.connect()
        msgid = client.ask("enqueue", command="true")
        client.writer.write_eof()
        await eventually_async(lambda: door.recorder.calls)
        gate.set()
        assert (await client.answer()).msgid == msgid
        assert await client.is_closed()


@scene
async def test_a_batch_has_its_defaults_and_belongs_to_its_connection(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        client, other = await door.connect(), await door.connect()
        token = (await client.call("batch.open", defaults={"priority": 5, "umask": 0o22}))["token"]
        added = await client.call("batch.add", token=token, jobs=[{"command": "a"}, {"command": "b", "priority": 1}])
        assert added == {"ids": ["job_1"], "seqs": [1]}
        _, specs, submitters = door.recorder.calls[-1][1]
        assert [spec.priority for spec in specs] == [5, 1]
        assert [submitter.umask for submitter in submitters] == [0o22, 0o22]
        with pytest.raises(CallFailed, match="not_found: no such open batch: 'token-1'"):
            await other.call("batch.add", token=token, jobs=[{"command": "c"}])
        await client.call("batch.add", token=token, jobs=[{"command": "c", "queue": "night"}])
        hint = {"paused": ["default", "night"], "workers": 1, "slots": 1, "draining": False}
        committed = {"count": 1, "first_seq": 1, "last_seq": 1, "hint": hint}
        assert await client.call("batch.commit", token=token) == committed, "the hint is asked for by its queues"
        client.writer.transport.abort()
        await eventually_async(lambda: door.recorder.owners_gone)
        assert "jobs.batch_discard" not in door.recorder.names(), "a committed batch is nobody's to drop"


@scene
async def test_events_come_after_the_answer_without_gap_or_double(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        door.service.happen(5)
        client = await door.connect()
        assert await client.call("events.subscribe", since=2) == {"event_seq": 2}
        door.service.happen(2, exit_code=0, run_at_ms=1_700_000_000_123)
        events = []
        for _ in range(5):
            message = await client.read()
            assert isinstance(message, rpc.Notification)
            assert message.method == "event"
            events.append(message.params[0])
        assert [event["event_seq"] for event in events] == [3, 4, 5, 6, 7]
        assert events[-1] == {
            "event_seq": 7,
            "time": "2023-11-14T22:13:20.000Z",
            "kind": "job.pending",
            "job": "job_1",
            "seq": 1,
            "queue": "default",
            "state": "pending",
            "exit_code": 0,
            "run_at": "2023-11-14T22:13:20.123Z",
        }


@scene
async def test_events_that_are_no_longer_kept_are_gone(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        door.service.happen(9)
        del door.recorder.events[:5]
        client = await door.connect()
        await client.call("hello")
        with pytest.raises(CallFailed) as failed:
            await client.call("events.subscribe", since=2)
        assert failed.value.error["code"] == "gone"
        assert failed.value.error["data"] == {"oldest": 6}


@scene
async def test_a_subscriber_that_reads_late_misses_no_event_and_costs_no_memory(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        client = await door.connect()
        await client.call("events.subscribe")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(40):
            door.service.happen(500, words="x" * 200)
            await asyncio.sleep(0)
        unread = sum(len(each._transport.get_write_buffer_size() * b".") for each in door.connections._since)
        assert unread < 4_000_000, "of 5 MB of events most are still where they are stored"
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        seqs = []
        while len(seqs) < 20_000:
            message = await client.read()
            assert isinstance(message, rpc.Notification)
            seqs.append(message.params[0]["event_seq"])
        assert seqs == list(range(1, 20_001))
        assert (await client.call("status"))["workers"] == 3


@scene
async def test_an_ending_daemon_answers_what_it_has_accepted_and_keeps_the_pools(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        enqueue = door.recorder.hold("jobs.enqueue")
        door.recorder.hold("jobs.wait")
        writer, waiter = await door.connect(), await door.connect()
        asked = [writer.ask("enqueue", command="true"), writer.ask("status")]
        waiter.ask("job.wait", ids=["a"])
        await eventually_async(lambda: len(door.recorder.calls) == 2)
        going = asyncio.ensure_future(door.connections.close_all(20))
        assert await waiter.is_closed(), "a wait is not answered: its client asks the next daemon again"
        enqueue.set()
        assert [(await writer.answer()).msgid for _ in asked] == asked
        assert await writer.is_closed()
        await going
        assert door.recorder.owners_gone == 0


def test_every_request_of_the_protocol_has_a_route() -> None:
    # `hello` and `ping` are the session's own.
    assert set(ROUTES) == set(REQUESTS) - {"hello", "ping"}


@scene
async def test_the_daemon_says_who_it_is(tmp_path: Path) -> None:
    async with FrontDoor(tmp_path) as door:
        said = await (await door.connect()).call("daemon.info")
        assert said == {
            "pid": 1, "version": "0.1.0", "store": "/home/queuectl.db", "started_at": "2023-11-14T22:13:20.123Z"
        }  # fmt: skip
