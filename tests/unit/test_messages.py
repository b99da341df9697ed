"""The requests: every method has one, checks what comes and says what is wrong."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_client.protocol import messages as wire
from queuectl_client.protocol import methods
from queuectl_client.protocol.messages import REQUESTS, BadParams, BatchAdd, BatchOpen, Enqueue, EnqueueMany, JobSpec
from queuectl_client.protocol.vocabulary import JobState
from queuectld.server.router import ROUTES

METHODS = (
    "enqueue enqueue_many batch.open batch.add batch.commit status list job.get job.wait job.logs job.cancel job.kill "
    "job.send job.pause job.resume job.hold job.release job.retry job.remove job.prune job.edit job.move job.explain "
    "dlq.list dlq.retry dlq.purge config.get config.set config.list config.unset queue.list queue.set "
    "queue.pause queue.resume queue.remove worker.start worker.stop worker.list worker.scale daemon.info "
    "daemon.drain daemon.shutdown events.subscribe hello ping"
)


def refusal(method: str, params: dict[str, Any]) -> BadParams:
    with pytest.raises(BadParams) as caught:
        REQUESTS[method].from_map(params)
    return caught.value


def test_what_is_sent_to_a_job_is_not_shown() -> None:
    shown = repr(REQUESTS["job.send"].from_map({"id": "a", "data": "hunter2", "eof": True}))
    assert shown == "JobSend(id='a', data of 7 bytes, eof=True)"


A_UUID = "2f1c9a52-7f6e-4c0b-9d35-0a3f5d9a7c11"


def test_every_method_of_the_interface_has_a_request() -> None:
    assert set(REQUESTS) == set(METHODS.split())


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("hello", {"client": "x", "protocol": 1}),
    ("ping", {}),
    ("enqueue", {"command": "a", "environment": {"A": "b"}, "umask": 18, "request": A_UUID}),
    ("enqueue_many", {"jobs": [{"command": "a"}, {"command": "b", "priority": 3}], "request": A_UUID}),
    ("batch.open", {"defaults": {"cwd": "/"}}),
    ("batch.add", {"token": "t", "jobs": [{"command": "a"}]}),
    ("batch.commit", {"token": "t", "request": A_UUID}),
    ("status", {}),
    ("list", {"state": ["dead", "failed"], "queue": "q", "label": {"a": "b"}, "name": "x*", "order": "newest",
              "since": "2026-11-24T03:08:02.123Z", "ids": ["3-9", "last"], "limit": 5, "after": "x"}),
    ("list", {"filter": "state=failed and attempts>2", "seqs": [3, 1], "keys": ["id", "created_at"], "batch": "b"}),
    ("job.get", {"id": "a"}),
    ("job.wait", {"ids": ["a", "b"], "any": True, "timeout": 0}),
    ("job.logs", {"id": "a", "attempt": 2, "stream": "stderr", "offset": -100, "limit": 10, "wait": True}),
    ("job.kill", {"ids": ["a"], "signal": 9}),
    ("job.send", {"id": "a", "data": b"\xff", "eof": True}),
    ("job.edit", {"id": "a", "changes": {"priority": 5, "timeout": None}, "rev": 0}),
    ("job.move", {"id": "a", "before": "b", "queue": "q"}),
    ("job.prune", {"states": ("dead",), "older_than": 5}),
    ("dlq.purge", {"all": True, "older_than": 5}),
    ("config.set", {"key": "max_retries", "value": 5}),
    ("queue.set", {"name": "q", "concurrency": 3, "rate": "10/m"}),
    ("queue.set", {"name": "q", "concurrency": 0, "rate": "none", "failure_limit": 0}),
    ("worker.start", {"count": 3, "detach": True, "job": "a"}),
    ("worker.stop", {"count": 1, "now": True, "wait": False}),
    ("worker.scale", {"count": 0}),
    ("daemon.drain", {"resume": True}),
    ("events.subscribe", {"since": 0, "kinds": ["job.dead"], "job": "a", "queue": "q", "pool": 1}),
]  # fmt: skip


KEPT_ELSEWHERE = {"command", "jobs", "defaults"}


@pytest.mark.parametrize("method, params", GOOD)
def test_a_request_holds_what_was_sent(method: str, params: dict[str, Any]) -> None:
    request = REQUESTS[method].from_map(params)
    for name in params.keys() - KEPT_ELSEWHERE:
        value = getattr(request, name)
        if isinstance(params[name], list):
            value = list(value)
        assert value == (1795489682123 if params[name] == "2026-11-24T03:08:02.123Z" else params[name]), name


def test_jobs_and_what_comes_with_them_are_kept() -> None:
    jobs = [{"command": "a", "umask": 18}, {"command": "b", "priority": 3, "cwd": "/x"}]
    many = EnqueueMany.from_map({"jobs": jobs, "defaults": {"cwd": "/", "environment": {"A": "b"}}})
    assert [(spec.command, spec.priority, spec.cwd) for spec in many.specs] == [("a", None, "/"), ("b", 3, "/x")]
    assert [(each.environment, each.umask) for each in many.submitters] == [({"A": "b"}, 18), ({"A": "b"}, None)]
    opened = BatchOpen.from_map({"defaults": {"cwd": "/"}})
    assert BatchAdd.from_map({"token": "t", "jobs": jobs}).under(opened.defaults).specs[0].cwd == "/"
    assert Enqueue.from_map({"command": "a", "priority": 2}).spec == JobSpec(command="a", priority=2)


@pytest.mark.parametrize(
    "method, params, word",
    [
        ("status", {"verbose": True}, "verbose"),
        ("list", {"state": "ded"}, "state"),
        ("list", {"stat": "dead"}, "did you mean state"),
        ("list", {"limit": 0}, "limit"),
        ("list", {"limit": 5001}, "limit"),
        ("list", {"label": "novalue"}, "label"),
        ("list", {"since": "soon"}, "since"),
        ("list", {"since": -5}, "since"),
        ("list", {"order": "up"}, "newest"),
        ("list", {"filter": "state=faild"}, "did you mean failed"),
        ("list", {"filter": 5}, "invalid filter: 5; expected"),
        ("list", {"keys": ["id", "colour"]}, "colour"),
        ("list", {"keys": ["labels"]}, "labels"),
        ("list", {"seqs": [0]}, "seqs"),
        ("list", {"seqs": [1], "ids": ["a"]}, "ids cannot be combined with seqs"),
        ("job.get", {}, "id"),
        ("job.get", {"id": None}, "id"),
        ("job.get", {"id": 0}, "id"),
        ("job.cancel", {"ids": []}, "ids"),
        ("job.cancel", {"ids": ["a", None]}, "ids"),
        ("job.wait", {"timeout": -1}, "timeout"),
        ("job.logs", {"id": "a", "limit": 2_000_000}, "limit"),
        ("job.logs", {"id": "a", "stream": "both"}, "stream"),
        ("job.kill", {"ids": "a", "signal": "NOPE"}, "signal"),
        ("job.kill", {"ids": "a", "signal": 0}, "signal"),
        ("job.edit", {"id": "a", "changes": {}}, "changes"),
        ("job.edit", {"id": "a", "changes": {"seq": 5}}, "seq"),
        ("job.move", {"id": "a"}, "first"),
        ("job.move", {"id": "a", "first": True, "last": True}, "expected one of first, last"),
        ("dlq.retry", {}, "all"),
        ("dlq.retry", {"ids": ["a"], "all": True}, "all"),
        ("dlq.purge", {"older_than": 5}, "all"),
        ("config.set", {"key": "a"}, "value"),
        ("config.set", {"key": "a", "value": [1]}, "value"),
        ("queue.set", {"name": "q", "rate": "10 a minute"}, "rate"),
        ("worker.start", {"count": 0}, "count"),
        ("worker.start", {"count": "2"}, "count"),
        ("events.subscribe", {"kinds": ["job.exploded"]}, "kinds"),
        ("enqueue", {"command": "a", "umask": 512}, "umask"),
        ("enqueue", {"command": "a", "request": "no spaces"}, "request"),
        ("enqueue", {"command": "a", "request": "request-17"}, "a UUID"),
        ("enqueue", {"command": "a", "maxRetries": 1, "max_retries": 2}, "max_retries is given twice"),
        ("job.send", {"id": "a"}, "nothing to send"),
        ("job.send", {"id": "a", "data": 5}, "data"),
        ("job.send", {"id": "a", "data": b"x" * 262_145}, "at most 262,144"),
        ("enqueue", {"command": "a", "environment": []}, "environment"),
        ("enqueue_many", {}, "jobs"),
        ("enqueue_many", {"jobs": []}, "jobs"),
        ("enqueue_many", {"jobs": [{"command": "a"}] * 10_001}, "10,000"),
        ("enqueue_many", {"jobs": [{"command": "a"}], "default": {}}, "did you mean defaults"),
        ("enqueue_many", {"jobs": [{"command": "a"}], "defaults": {"timeot": 5}}, "timeout"),
        ("batch.add", {"jobs": []}, "token"),
        ("batch.add", {"token": "t", "jobs": [], "request": A_UUID}, "request"),
    ],
)
def test_bad_params_say_what_is_wrong(method: str, params: dict[str, Any], word: str) -> None:
    assert word in refusal(method, params).message


def test_one_state_or_one_id_stands_for_a_list_of_it() -> None:
    assert wire.ListJobs.from_map({"state": "dead"}).state == (JobState.DEAD,)
    assert wire.JobCancel.from_map({"id": "a"}).ids == ("a",)
    assert wire.JobCancel.from_map({"ids": 17}).ids == ("17",)


def test_labels_can_be_given_as_words() -> None:
    assert wire.ListJobs.from_map({"label": ["a=b", "c=d=e"]}).label == {"a": "b", "c": "d=e"}
    assert wire.ListJobs.from_map({"label": "a=b"}).label == {"a": "b"}


def test_the_keys_of_the_config_have_one_spelling() -> None:
    for spelling in ("max_retries", "maxRetries", "max-retries", "MaxRetries"):
        assert wire.ConfigGet.from_map({"key": spelling}).key == "max_retries"


def test_params_are_accepted_in_camel_case() -> None:
    assert wire.DlqPurge.from_map({"all": True, "olderThan": 5}).older_than == 5


def test_an_enqueue_knows_the_job_and_its_submitter_apart() -> None:
    request = wire.Enqueue.from_map({"command": "a", "environment": {"A": "secret"}, "umask": 0o22, "cwd": "/x"})
    assert request.spec.cwd == "/x"
    assert (request.environment, request.umask) == ({"A": "secret"}, 0o22)
    assert "secret" not in repr(request)


def test_defaults_are_laid_under_each_job() -> None:
    defaults = {"cwd": "/d", "priority": 5, "environment": {"A": "d"}, "umask": 0o22, "delay": 5}
    jobs = [
        {"command": "a"},
        {"command": "b", "priority": 1, "environment": {"B": "j"}},
        {"command": "c", "run_at": "2026-11-24T03:08:02Z"},
    ]
    request = wire.EnqueueMany.from_map({"jobs": jobs, "defaults": defaults})
    assert [spec.cwd for spec in request.specs] == ["/d"] * 3
    assert [spec.priority for spec in request.specs] == [5, 1, 5]
    assert [submitter.environment for submitter in request.submitters] == [{"A": "d"}, {"B": "j"}, {"A": "d"}]
    assert [submitter.umask for submitter in request.submitters] == [0o22] * 3
    assert [spec.delay for spec in request.specs] == [5, 5, None]


def test_of_default_times_a_jobs_own_takes_the_place_whichever_key_says_it() -> None:
    moment = "2026-11-24T03:08:02Z"
    jobs = [{"command": "a"}, {"command": "b", "delay": 5}]
    request = wire.EnqueueMany.from_map({"jobs": jobs, "defaults": {"run_at": moment}})
    assert [spec.delay for spec in request.specs] == [None, 5]
    assert [spec.run_at is None for spec in request.specs] == [False, True]
    both = [{"command": "a", "delay": 5, "run_at": moment}]
    for default in ({"delay": 1}, {"run_at": moment}):
        with pytest.raises(BadParams, match="not both"):
            wire.EnqueueMany.from_map({"jobs": both, "defaults": default})


@pytest.mark.parametrize("job", [{"command": "a", "timeot": 5}, {}, "echo", None, {"command": "a", "umask": -1}])
def test_a_bad_job_among_many_is_numbered(job: Any) -> None:
    error = refusal("enqueue_many", {"jobs": [{"command": "a"}, {"command": "b"}, job]})
    assert error.message.startswith("job 3: ")
    assert error.data["index"] == 2


def test_a_batch_checks_its_defaults_at_once_and_its_jobs_under_them() -> None:
    with pytest.raises(BadParams):
        wire.BatchOpen.from_map({"defaults": {"priority": "high"}})
    opened = wire.BatchOpen.from_map({"defaults": {"priority": 3}})
    jobs = wire.BatchAdd.from_map({"token": "t", "jobs": [{"command": "a"}]}).under(opened.defaults)
    assert [spec.priority for spec in jobs.specs] == [3]


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
NAMES = sorted({key for _, params in GOOD for key in params} | {"command", "nonsense", "older_than"})


@given(
    method=st.sampled_from(sorted(REQUESTS)),
    params=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), ANYTHING, max_size=5),
)
def test_anything_is_a_request_or_bad_params(method: str, params: dict[str, Any]) -> None:
    try:
        request = REQUESTS[method].from_map(params)
    except BadParams:
        return
    assert REQUESTS[method].from_map(params) == request or method == "batch.open"  # its defaults have no equality


def test_every_method_has_its_place_in_the_table_and_its_parameters() -> None:
    """hello and ping belong to the connection: they are answered before any order among calls."""
    assert set(methods.METHODS) == set(REQUESTS) - {"hello", "ping"} == set(ROUTES)


def test_a_method_waits_by_a_parameter_only_where_it_has_one() -> None:
    for name, method in methods.METHODS.items():
        has_wait = "wait" in {field.name for field in fields(REQUESTS[name])}
        assert (method.wait is not None) == has_wait, name
