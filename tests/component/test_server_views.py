"""What a client is shown of a job, an attempt, an event: forms of times and durations, and no secrets."""

import json

from queuectl_client.protocol import rpc
from queuectl_client.protocol.jobspec import JobSpec
from queuectl_client.protocol.vocabulary import EventKind, JobState, ReasonCode
from queuectld.domain.job import Attempt, Output
from queuectld.domain.retry import RetryPolicy
from queuectld.server.views import attempt_view, event_view, iso, job_view, seconds
from queuectld.store.records import Event
from tests.support.wire import a_job


def test_times_are_utc_with_milliseconds_and_durations_seconds() -> None:
    assert iso(1_795_491_735_004) == "2026-11-24T03:42:15.004Z"
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(None) is None
    assert seconds(1500) == 1.5
    assert seconds(2000) == 2
    assert isinstance(seconds(2000), int)
    assert seconds(None) is None


def test_a_job_shows_what_the_interface_promises() -> None:
    job = job_view(
        a_job(
            17,
            command=("echo", "a b"),
            state=JobState.PROCESSING,
            worker=12,
            retry=RetryPolicy(3, 2.0, 3600.0, 0.5, (75,), ("SIGKILL",)),
            timeout_ms=1500,
            depends_on=(("a", "completed"),),
        )
    )
    promised = (
        "id seq command state attempts max_retries created_at updated_at queue priority run_at started_at finished_at "
        "exit_code signal reason worker cwd name labels depends_on timeout runs crashes"
    )
    assert set(promised.split()) <= job.keys()
    assert job["command"] == ["echo", "a b"]
    assert job["worker"] == "w12"
    assert (job["timeout"], job["kill_grace"]) == (1.5, 10)
    assert (job["backoff_base"], job["backoff_jitter"]) == (2, 0.5)
    assert job["depends_on"] == [{"id": "a", "on": "completed"}]
    assert json.dumps(job)


def test_values_of_the_environment_and_the_input_are_shown_to_nobody() -> None:
    job = job_view(a_job(env={"B_TOKEN": "geheim", "A": "geheim"}, stdin="geheim\udcff"))
    assert job["env_names"] == ["A", "B_TOKEN"]
    assert job["stdin_bytes"] == 7
    assert b"geheim" not in rpc.response(1, job)


def test_a_job_printed_can_be_enqueued_again() -> None:
    job = job_view(a_job(command="echo hi", timeout_ms=5000, labels={"a": "b"}, name="n"))
    spec = JobSpec.from_map({key: value for key, value in job.items() if key != "id"})
    assert (spec.command, spec.timeout, spec.labels, spec.name) == ("echo hi", 5, {"a": "b"}, "n")


def test_text_that_is_not_utf8_travels_as_bytes() -> None:
    (answer,) = rpc.Decoder().feed(rpc.response(1, job_view(a_job(command="echo \udcff", cwd="/\udcfe"))))
    assert isinstance(answer, rpc.Response)
    assert answer.result["command"] == b"echo \xff"
    assert answer.result["cwd"] == b"/\xfe"


def test_an_attempt_tells_how_much_output_there_was_and_how_much_is_kept() -> None:
    output = {"stdout": Output(3, b"abc"), "stderr": Output(1000, None, (("a", 0, 100), ("b", 600, 400)))}
    attempt = Attempt(
        1,
        2,
        1,
        12,
        "host",
        1000,
        3500,
        2500,
        None,
        9,
        "signal 9 (SIGKILL)",
        ReasonCode.SIGNAL,
        False,
        77,
        1_500_000,
        0,
        4096,
        None,
        output,
    )
    told = attempt_view(1, attempt)
    assert (told["output_bytes"], told["output_dropped"]) == (1003, 500)
    assert (told["duration"], told["user_time"], told["worker"]) == (2.5, 1.5, "w12")
    assert (told["reason"], told["reason_code"], told["crashed"]) == ("signal 9 (SIGKILL)", "signal", False)


def test_an_event_leaves_out_what_does_not_apply() -> None:
    event = Event(7, 1000, EventKind.JOBS_ADDED, None, None, "default", None, None, {"first_seq": 1, "count": 3})
    assert event_view(event) == {
        "event_seq": 7,
        "time": "1970-01-01T00:00:01.000Z",
        "kind": "jobs.added",
        "queue": "default",
        "first_seq": 1,
        "count": 3,
    }
