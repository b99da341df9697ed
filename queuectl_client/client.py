"""Client: one method for each verb, over a connection that opens by itself. No logic: the daemon decides.

`aio.AsyncClient` has the same methods; a test compares the two.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from queuectl_client.connection import Connection
from queuectl_client.job import Job, Missing
from queuectl_client.paging import changed, listed, output_pages
from queuectl_client.submission import Added, JobLike, described
from queuectl_client.upload import upload_jobs
from queuectl_client.waiting import Wait

Ref = str | int
"""An id, a seq, or a selector such as `last`, `3-9`, `label:k=v`, `@failed`."""


class Client(Connection):
    """A client of the daemon, which is started when none runs, unless that is forbidden.

    Every method raises QueuectlError or one of its subclasses for what the daemon refuses.
    """

    def enqueue(self, job: JobLike, /, **keys: Any) -> Job:
        """Store a job: a shell command, an argv, or a map, with any key of a job beside it. It is on disk afterwards.

        It gets this process's folder, environment and umask unless `cwd`, `environment` and `umask` say otherwise.
        """
        return Job(self, self.call("enqueue", **described(job, keys)))

    def enqueue_many(self, jobs: Iterable[JobLike], /, **defaults: Any) -> Added:
        """Store all of the jobs or none, in any number. `defaults` are default keys of each job."""
        return self.run(upload_jobs(jobs, defaults))

    def status(self) -> dict[str, Any]:
        """Counts by state, workers, paused queues."""
        return self._map("status")

    def jobs(self, **filters: Any) -> Iterator[Job]:
        """Yield all matching jobs, oldest first unless `order="newest"`. They are fetched in pages.

        The filters are the parameters of the wire's `list`: `state="dead"`, `filter="state=dead and attempts>2"`.
        """
        return (Job(self, job) for job in self.stream(listed(filters)))

    def get(self, id: Ref) -> Job:
        """Return one job with its attempts."""
        return Job(self, self.call("job.get", id=id))

    def wait(self, *ids: Ref, any: bool = False, timeout: float | None = None) -> list[Job]:
        """Wait until all jobs (`any`: one of them) have ended and return them; without ids, until nothing can run.

        Raise TimeoutError after `timeout` seconds.
        """
        wait = Wait(ids, any=any, timeout=timeout)
        return [Job(self, job) for job in self.stream(wait.jobs())]

    def log_page(self, id: Ref, **where: Any) -> dict[str, Any]:
        """Return a page of output, by `attempt`, `stream`, `offset`, `limit`; `wait`: block until there is some."""
        return self._map("job.logs", id=id, **where)

    def output(
        self, id: Ref, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None
    ) -> bytes:
        """Return the output so far of the newest attempt, or of `attempt`.

        `missing` is called with the number of dropped bytes at each gap (`log_max_bytes`).
        """
        return b"".join(self.stream(output_pages(id, attempt, stream, missing, wait=False)))

    def follow(
        self, id: Ref, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None
    ) -> Iterator[bytes]:
        """Yield the output as it is written, until the attempt has ended. `missing`: see `output`."""
        return self.stream(output_pages(id, attempt, stream, missing, wait=True))

    def cancel(self, *ids: Ref, dry_run: bool = False) -> list[Job]:
        """Cancel waiting or running jobs."""
        return self._each("job.cancel", ids=ids, dry_run=dry_run)

    def kill(self, *ids: Ref, signal: int | str = "SIGTERM", dry_run: bool = False) -> list[Job]:
        """Send a signal to all processes of running jobs; retries apply."""
        return self._each("job.kill", ids=ids, signal=signal, dry_run=dry_run)

    def pause(self, *ids: Ref, dry_run: bool = False) -> list[Job]:
        """Pause running jobs: stop all of their processes."""
        return self._each("job.pause", ids=ids, dry_run=dry_run)

    def resume(self, *ids: Ref, dry_run: bool = False) -> list[Job]:
        """Resume paused jobs."""
        return self._each("job.resume", ids=ids, dry_run=dry_run)

    def send_input(self, id: Ref, data: bytes | str = b"", *, eof: bool = False) -> list[Job]:
        """Write to the stdin of a running job with `stdin_open`, and wait until its worker has it. `eof`: close it."""
        return self._jobs("job.send", id=id, data=data, eof=eof)

    def hold(self, *ids: Ref, dry_run: bool = False) -> list[Job]:
        """Hold waiting jobs until they are released."""
        return self._each("job.hold", ids=ids, dry_run=dry_run)

    def release(self, *ids: Ref, dry_run: bool = False) -> list[Job]:
        """Release held jobs."""
        return self._each("job.release", ids=ids, dry_run=dry_run)

    def retry(self, *ids: Ref, dry_run: bool = False, **changes: Any) -> list[Job]:
        """Run ended jobs again, and failed ones now; `changes` (such as timeout=600) are made to each first."""
        return self._each("job.retry", ids=ids, dry_run=dry_run, changes=changes or None)

    def remove(self, *ids: Ref, dry_run: bool = False) -> list[Job]:
        """Remove jobs that are not running, with their output."""
        return self._each("job.remove", ids=ids, dry_run=dry_run)

    def prune(self, *, older_than: float = 0, states: Sequence[str] = ("completed", "cancelled")) -> int:
        """Remove jobs of these states that ended at least `older_than` seconds ago. Return their number."""
        answer = self.call("job.prune", older_than=older_than, states=states)
        return int(answer["removed"])

    def edit(self, id: Ref, changes: Mapping[str, Any], *, rev: int | None = None) -> list[Job]:
        """Change keys of a waiting job; None resets a key. `rev`: fail if the job was changed since it was read."""
        return self._jobs("job.edit", id=id, changes=dict(changes), rev=rev)

    def move(self, id: Ref, **place: Any) -> list[Job]:
        """Move a waiting job: `first`, `last`, `before` another job, or to another `queue`."""
        return self._jobs("job.move", id=id, **place)

    def explain(self, id: Ref) -> dict[str, Any]:
        """Explain why a job does not run: `rules`, its `position` in line, and the earliest start, `starts_at`."""
        return self._map("job.explain", id=id)

    def dlq_list(self, *, limit: int | None = None, after: str | None = None, **filters: Any) -> dict[str, Any]:
        """Return a page of dead jobs, `jobs` and `next`, by `queue`, `label`, `name`, `since`, `reason`, `filter`."""
        return self._map("dlq.list", limit=limit, after=after, **filters)

    def dlq_retry(
        self,
        *ids: Ref,
        all: bool = False,
        rate: str | None = None,
        changes: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        **filters: Any,
    ) -> list[Job]:
        """Run dead jobs again, with these changes; a `rate` such as `10/m` spreads them."""
        how = {"rate": rate, "changes": changes, "dry_run": dry_run, **filters}
        return self._each("dlq.retry", ids=ids or None, all=all, **how)

    def dlq_purge(
        self, *ids: Ref, all: bool = False, older_than: float | None = None, dry_run: bool = False, **filters: Any
    ) -> list[Job]:
        """Remove dead jobs; `older_than`: only those dead for at least this many seconds."""
        how = {"older_than": older_than, "dry_run": dry_run, **filters}
        return self._each("dlq.purge", ids=ids or None, all=all, **how)

    def config_get(self, key: str) -> Any:
        """Return the value of a config key."""
        return self.call("config.get", key=key)["value"]

    def config_set(self, key: str, value: Any) -> Any:
        """Set a config key and return the stored value."""
        return self.call("config.set", key=key, value=value)["value"]

    def config_unset(self, key: str) -> None:
        """Reset a config key to its default."""
        self.call("config.unset", key=key)

    def config_list(self) -> list[dict[str, Any]]:
        """Return all config keys, their values, and which are defaults."""
        return self._list("config.list", "config")

    def queues(self) -> list[dict[str, Any]]:
        """Return all queues with their counts and limits."""
        return self._list("queue.list", "queues")

    def queue_set(
        self, name: str, *, concurrency: int | None = None, rate: str | None = None, failure_limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Set the limits of a queue; 0, or the rate `none`, removes one. `failure_limit` failures in a row pause it."""
        limits = {"concurrency": concurrency, "rate": rate, "failure_limit": failure_limit}
        return self._list("queue.set", "queues", name=name, **limits)

    def queue_pause(self, name: str, *, wait: bool = False) -> list[dict[str, Any]]:
        """Pause a queue: start none of its jobs. `wait`: return once none of them is running."""
        return self._list("queue.pause", "queues", name=name, wait=wait)

    def queue_resume(self, name: str) -> list[dict[str, Any]]:
        """Resume a queue."""
        return self._list("queue.resume", "queues", name=name)

    def queue_remove(self, name: str) -> list[dict[str, Any]]:
        """Remove a queue that has no jobs; the queue as it was. Raises WrongState when it has some."""
        return self._list("queue.remove", "queues", name=name)

    def workers(self) -> list[dict[str, Any]]:
        """Return all workers."""
        return self._list("worker.list", "workers")

    def worker_start(self, count: int = 1, *, detach: bool = True) -> dict[str, Any]:
        """Start workers. Detached ones belong to the daemon; others drain when this connection closes."""
        return self._map("worker.start", count=count, detach=detach)

    def worker_stop(self, count: int | None = None, *, now: bool = False, wait: bool = True) -> dict[str, Any]:
        """Stop all workers, or `count` of them, after their current job; `now`: terminate their jobs."""
        return self._map("worker.stop", count=count, now=now, wait=wait)

    def worker_scale(self, count: int) -> list[dict[str, Any]]:
        """Set the number of detached workers."""
        return self._list("worker.scale", "workers", count=count)

    def daemon_info(self) -> dict[str, Any]:
        """Return the pid, version and file locations of the daemon."""
        return self._map("daemon.info")

    def daemon_drain(self, *, resume: bool = False) -> dict[str, Any]:
        """Stop starting jobs; `resume`: start them again."""
        return self._map("daemon.drain", resume=resume)

    def daemon_shutdown(self, *, now: bool = False) -> dict[str, Any]:
        """Drain the workers, then stop the daemon; `now`: terminate running jobs."""
        return self._map("daemon.shutdown", now=now)

    def events(self, *, since: int | None = None, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield events as they occur, from `since` on. Raise Gone if that is too old, ConnectionLost at the end."""
        self.call("events.subscribe", since=since, **filters)
        return (event.params for event in self.notifications() if event.method == "event")

    def _each(self, method: str, **params: Any) -> list[Job]:
        """Apply a change in pages and return all changed jobs."""
        jobs = self.stream(changed(method, params))
        return [Job(self, job) for job in jobs]

    def _jobs(self, method: str, **params: Any) -> list[Job]:
        return [Job(self, job) for job in self.call(method, **params)["jobs"]]

    def _list(self, method: str, key: str, **params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call(method, **params)[key]
        return found

    def _map(self, method: str, **params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.call(method, **params)
        return answer
