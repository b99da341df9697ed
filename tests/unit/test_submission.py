"""From what was asked for to a job with everything decided."""

from typing import Any

import pytest

from queuectl_client.protocol.jobspec import JobSpec
from queuectl_client.protocol.submissions import Submitter
from queuectld.domain.errors import Refused
from queuectld.domain.job import NewJob
from queuectld.domain.settings import SETTINGS
from queuectld.scheduler.jobs.editing import stored_changes
from queuectld.scheduler.jobs.submission import Submission

Map = dict[str, Any]


def _made(keys: Map, settings: Map | None = None, environment: dict[str, str] | None = None) -> NewJob:
    values = {name: setting.default for name, setting in SETTINGS.items()} | (settings or {})
    spec = JobSpec.from_map({"command": "true"} | keys)
    return Submission(values.__getitem__).new_job(spec, Submitter(environment or {}, 0))


def test_keys_of_control_arrive() -> None:
    needs = {"mem": "1K", "gpu": 1}
    keys = {"key": "k", "key_limit": 3, "slots": 2, "stall_timeout": 1.5, "batch": "b", "needs": needs}
    made = _made(keys, {"resources": "gpu=1,mem=2K"})
    job = made.options
    assert (job.key, job.key_limit, job.slots, job.stall_timeout_ms, made.batch) == ("k", 3, 2, 1500, "b")
    assert list(job.needs.items()) == [("gpu", 1), ("mem", 1024)]
    usual = _made({}, {"stall_timeout": 9})
    plain = usual.options
    assert (plain.key, plain.key_limit, plain.slots, plain.needs, plain.stall_timeout_ms) == (None, 1, 1, {}, 9000)
    assert (usual.delay_ms, usual.run_at_ms, usual.priority) == (0, None, 0)


def test_of_many_jobs_that_differ_in_their_command_alone_each_is_as_it_would_be_by_itself() -> None:
    values = {name: setting.default for name, setting in SETTINGS.items()}
    submission, submitter = Submission(values.__getitem__), Submitter({"A": "1"}, 0)
    specs = [JobSpec.from_map({"command": each, "name": "n", "labels": {"a": "b"}, "delay": 2}) for each in "ab"]
    made = [submission.new_job(spec, submitter) for spec in specs]
    assert made == [Submission(values.__getitem__).new_job(spec, submitter) for spec in specs]


def test_what_null_stands_for_in_an_edit() -> None:
    values = {name: setting.default for name, setting in SETTINGS.items()}
    nothing = dict.fromkeys(("once", "labels", "priority", "queue", "slots", "key", "timeout", "max_retries"))
    assert stored_changes(nothing, values.__getitem__) == {
        "once": False, "labels": {}, "priority": 0, "queue": "default", "slots": 1, "key": None,
        "timeout_ms": None, "retry": {"max_retries": values["max_retries"]},
    }  # fmt: skip


@pytest.mark.parametrize(
    "keys, settings, words",
    [
        ({"needs": {"gpu": 1}}, {}, "defined: none"),
        ({"needs": {"gqu": 1}}, {"resources": "gpu=1"}, "did you mean gpu"),
        ({"needs": {"gpu": 2}}, {"resources": "gpu=1"}, "more than there is in all, 1"),
        ({"needs": {"mem": 5 << 30}}, {"resources": "mem=4G"}, "mem=5G is more than there is in all, 4G"),
        ({"slots": 5}, {"slots": 4}, "more than there are in all, 4"),
    ],
)
def test_what_there_is_not_is_refused(keys: Map, settings: Map, words: str) -> None:
    with pytest.raises(Refused, match=words):
        _made(keys, settings)


def test_a_job_added_by_a_job_does_not_get_its_resources() -> None:
    sent = {"QUEUECTL_RUN": "1", "QUEUECTL_GPU": "0", "CUDA_VISIBLE_DEVICES": "0", "QUEUECTL_HOME": "/h", "A": "1"}
    assert _made({}, {"resources": "gpu=1"}, sent).environment == {"QUEUECTL_HOME": "/h", "A": "1"}
    by_hand = {"CUDA_VISIBLE_DEVICES": "3"}
    assert _made({}, {"resources": "gpu=1"}, by_hand).environment == by_hand
