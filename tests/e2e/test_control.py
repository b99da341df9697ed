"""How many, after what, and why, against a daemon with workers: what a program sees over the SDK."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl_client import Client
from queuectl_client.errors import Conflict, InvalidParams, NotFound
from tests.support.daemon import Home
from tests.support.eventually import eventually


@pytest.fixture
def client(home: Home) -> Iterator[Client]:
    home.start_daemon()
    with Client(autostart=False, environ=home.env) as made:
        made.worker_start(3)
        yield made


def _gate(path: Path) -> str:
    """A command that says that it runs, and goes on until the gate is opened."""
    os.mkfifo(path)
    return f"echo > {path}.in; read line < {path}"


def _open(path: Path) -> None:
    path.write_text("\n")


def _overlap(client: Client, home: Home, count: int, **keys: Any) -> int:
    """How many of so many jobs were seen to run at once, at most. Each holds its own mark while it runs."""
    folder = home.path / "marks"
    folder.mkdir(exist_ok=True)
    command = f"touch {folder}/$QUEUECTL_JOB_ID; ls {folder} | wc -l; sleep 0.05; rm {folder}/$QUEUECTL_JOB_ID"
    added = client.enqueue_many([command] * count, **keys)
    client.wait(*added.ids, timeout=60)
    return max(int(client.output(id)) for id in added.ids)


def test_a_queue_runs_no_more_than_its_concurrency(client: Client, home: Home) -> None:
    (row,) = client.queue_set("q", concurrency=1)
    assert (row["concurrency"], row["rate"]) == (1, None)
    assert _overlap(client, home, 6, queue="q") == 1


def test_jobs_of_a_key_wait_for_one_another(client: Client, home: Home) -> None:
    assert _overlap(client, home, 6, key="customer-7") == 1
    assert _overlap(client, home, 9, key="other", key_limit=2) <= 2


def test_the_slots_of_the_config_bound_what_runs(client: Client, home: Home) -> None:
    client.config_set("slots", 2)
    assert _overlap(client, home, 6) <= 2
    assert _overlap(client, home, 3, slots=2) == 1
    with pytest.raises(InvalidParams, match="slots: 3 is more than there are in all, 2"):
        client.enqueue("true", slots=3)


def test_a_rate_holds_jobs_back_and_opens_by_itself(client: Client) -> None:
    client.queue_set("q", rate="2/h")
    added = client.enqueue_many(["true"] * 3, queue="q")
    client.wait(*added.ids[:2], timeout=30)
    told = client.explain(added.ids[2])
    assert [rule["rule"] for rule in told["rules"]] == ["rate"]
    assert told["starts_at"] == told["rules"][0]["until"] is not None
    assert client.queue_set("q", rate="none")[0]["rate"] is None
    client.wait(*added.ids, timeout=30)
    client.queue_set("fast", rate="2/s")
    added = client.enqueue_many(["true"] * 5, queue="fast")
    assert [job.state for job in client.wait(*added.ids, timeout=30)] == ["completed"] * 5


def test_a_job_is_told_its_gpu_and_what_needs_too_much_is_refused(client: Client, home: Home) -> None:
    assert client.config_set("resources", "gpu=2,mem=16G") == "gpu=2,mem=16G"
    job = client.enqueue("echo $QUEUECTL_GPU $CUDA_VISIBLE_DEVICES $QUEUECTL_MEM", needs={"gpu": 2, "mem": "1G"}).wait()
    assert client.output(job.id) == b"0,1 0,1 1073741824\n"
    assert client.get(job.id).granted == {"gpu": [0, 1]}
    assert _overlap(client, home, 5, needs={"gpu": 1}) <= 2
    for needs, words in (({"gpus": 1}, "did you mean gpu"), ({"gpu": 3}, "more than there is"), ({"mem": "1Q"}, "4G")):
        with pytest.raises(InvalidParams, match=words):
            client.enqueue("true", needs=needs)


def test_a_job_that_says_nothing_any_more_is_ended(client: Client) -> None:
    job = client.enqueue("echo once; sleep 600", stall_timeout=0.2, max_retries=1).wait(timeout=30)
    assert job.state == "dead"
    assert (job.reason or "").startswith("stalled")


def test_failures_in_a_row_pause_a_queue_until_it_is_resumed(client: Client) -> None:
    client.queue_set("q", failure_limit=2)
    added = client.enqueue_many(["exit 3"] * 9, queue="q", max_retries=1)
    row = eventually(lambda: next((q for q in client.queues() if q["name"] == "q" and q["paused"]), None))
    assert "2 executions in a row failed" in row["reason"]
    waiting = [job for job in client.jobs(ids=added.ids) if job.state == "pending"]
    assert waiting
    (rule,) = [rule for rule in client.explain(waiting[-1].id)["rules"] if rule["rule"] == "paused"]
    assert "in a row failed" in rule["text"]
    client.queue_resume("q")
    eventually(lambda: next((q for q in client.queues() if q["name"] == "q" and q["paused"]), None))


def test_pausing_may_wait_until_nothing_of_the_queue_runs(client: Client, home: Home) -> None:
    gate = home.path / "gate"
    job = client.enqueue(_gate(gate), queue="q")
    os.mkfifo(f"{gate}.in")
    Path(f"{gate}.in").read_text()
    asked = client.send("queue.pause", {"name": "q", "wait": True})
    with Client(autostart=False, environ=home.env) as other:
        eventually(lambda: "q" in other.status()["paused"])
        assert other.get(job.id).state == "processing"
        _open(gate)
    assert client.result(asked, None)["queues"][0]["counts"]["processing"] == 0


def test_a_batch_has_a_job_that_follows_all_of_it(client: Client) -> None:
    client.enqueue_many(
        [{"command": "echo first", "batch": "nightly"}, {"command": "exit 1", "batch": "nightly", "max_retries": 1}]
    )
    good = client.enqueue("echo good", depends_on=[{"batch": "nightly"}])
    bad = client.enqueue("echo bad", depends_on=[{"batch": "nightly", "on": "dead"}])
    client.wait(good.id, bad.id, timeout=30)
    assert (client.get(good.id).state, client.get(bad.id).state) == ("cancelled", "completed")
    assert client.get(good.id).reason.startswith("dependency batch:nightly")
    assert client.get(bad.id).depends_on == [{"id": "batch:nightly", "on": "dead"}]


def test_lines_of_one_request_name_each_other_but_not_in_a_circle(client: Client) -> None:
    jobs = [{"command": "true", "id": "b", "depends_on": ["a"]}, {"command": "true", "id": "a"}]
    client.enqueue_many(jobs)
    assert [job.state for job in client.wait("a", "b", timeout=30)] == ["completed", "completed"]
    with pytest.raises(Conflict, match="dependency cycle"):
        client.enqueue_many([{"command": "true", "id": x, "depends_on": [y]} for x, y in ("xy", "yx")])
    with pytest.raises(NotFound, match="job 1: depends_on: no such job: 'nobody'"):
        client.enqueue_many([{"command": "true", "depends_on": ["nobody"]}])


def test_explain_says_what_holds_a_job_back_and_where_it_stands(client: Client) -> None:
    client.queue_set("q", rate="none")
    client.queue_pause("q")
    client.enqueue_many(["true"] * 3, queue="q")
    job = client.enqueue("true", queue="q")
    told = client.explain(job.id)
    assert [rule["rule"] for rule in told["rules"]] == ["paused", "position"]
    assert (told["position"], told["position_exact"], told["starts_at"]) == (4, True, None)
    client.move(job.id, first=True)
    assert client.explain(job.id)["position"] == 1
    client.daemon_drain()
    assert client.explain(job.id)["rules"][0]["rule"] == "draining"
    client.daemon_drain(resume=True)
    later = client.enqueue("true", delay=600)
    told = client.explain(later.id)
    assert [rule["rule"] for rule in told["rules"]] == ["delay"]
    assert told["rules"][0]["until"] == told["starts_at"]
    assert told["position"] is None


def test_dead_jobs_run_again_at_a_rate(client: Client) -> None:
    added = client.enqueue_many(["exit 1"] * 3, max_retries=1)
    client.wait(*added.ids, timeout=30)
    jobs = client.dlq_retry(all=True, rate="1/h")
    assert [job.run_at is None for job in jobs] == [True, False, False]


def test_a_pipelined_call_finds_what_was_sent_before_it_and_not_what_came_after(client: Client) -> None:
    client.config_set("slots", 1)
    gate = client.enqueue("sleep 60", id="gate")
    first = client.send("enqueue", {"command": "true", "id": "first", "hold": True, "labels": {"k": "v"}})
    after = client.send("enqueue", {"command": "true", "id": "after", "depends_on": ["last"]})
    label = client.send("enqueue", {"command": "true", "id": "label", "depends_on": ["label:k=v"]})
    later = client.send("enqueue", {"command": "true", "id": "later", "labels": {"k": "v"}})
    jobs = {job["id"]: job for job in map(client.result, (first, after, label, later))}
    assert jobs["after"]["depends_on"] == [{"id": "first", "on": "completed"}]
    assert jobs["label"]["depends_on"] == [{"id": "first", "on": "completed"}]
    assert [jobs[id]["seq"] for id in ("first", "after", "label", "later")] == [2, 3, 4, 5]
    gate.cancel()
