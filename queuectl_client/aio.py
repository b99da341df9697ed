"""AsyncClient: the verbs of Client for asyncio, over the same session core. Any number of tasks may call at once.

`client.Client` has the same methods; a test compares the two.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from queuectl_client.aioconnection import AsyncConnection
from queuectl_client.job import JobRecord, Missing
from queuectl_client.paging import changed, listed, output_pages
from queuectl_client.submission import Added, JobLike, described
from queuectl_client.upload import upload_jobs
from queuectl_client.waiting import Wait

Ref = str | int
"""An id, a seq, or a selector such as `last`, `3-9`, `label:k=v`, `@failed`."""


class AsyncJob(JobRecord):
    """A snapshot of a job, bound to its client. It never changes; methods return a new AsyncJob."""

    def __init__(self, client: "AsyncClient", data: Mapping[str, Any]) -> None:
        super().__init__(data)
        self._client = client

    async def refresh(self) -> "AsyncJob":
        """Return the current state of the job, with its attempts."""
        return await self._client.get(self.id)

    async def wait(self, timeout: float | None = None) -> "AsyncJob":
        """Wait until the job has ended and return it. Raise TimeoutError after `timeout` seconds."""
        return (await self._client.wait(self.id, timeout=timeout))[0]

    async def output(self, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None) -> bytes:
        """Return the output so far of the newest attempt, or of `attempt`.

        `missing` is called with the number of dropped bytes at each gap (`log_max_bytes`).
        """
        return await self._client.output(self.id, attempt=attempt, stream=stream, missing=missing)

    def follow(
        self, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None
    ) -> AsyncIterator[bytes]:
        """Yield the output as it is written, until the attempt has ended. `missing`: see `output`."""
        return self._client.follow(self.id, attempt=attempt, stream=stream, missing=missing)

    async def cancel(self) -> "AsyncJob":
        """Cancel the job, waiting or running."""
        return (await self._client.cancel(self.id))[0]

    async def kill(self, signal: int | str = "SIGTERM") -> "AsyncJob":
        """Send a signal to all processes of the job; retries apply."""
        return (await self._client.kill(self.id, signal=signal))[0]

    async def send(self, data: bytes | str = b"", *, eof: bool = False) -> "AsyncJob":
        """Write to the stdin of the running job, which has `stdin_open`. `eof`: close it afterwards."""
        return (await self._client.send_input(self.id, data, eof=eof))[0]

    async def retry(self) -> "AsyncJob":
        """Run the job again if it has ended; run it now if it waits for its backoff."""
        return (await self._client.retry(self.id))[0]


class AsyncClient(AsyncConnection):
    """A client of the daemon, which is started when none runs, unless that is forbidden.

    Every method raises QueuectlError or one of its subclasses for what the daemon refuses.
    """

    async def enqueue(self, job: JobLike, /, **keys: Any) -> AsyncJob:
        """Store a job and return it once it is on disk; see Client.enqueue."""
        return AsyncJob(self, await self.call("enqueue", **described(job, keys)))

    async def enqueue_many(self, jobs: Iterable[JobLike], /, **defaults: Any) -> Added:
        """Store all of the jobs or none, in any number. `defaults` are default keys of each job."""
        return await self.run(upload_jobs(jobs, defaults))

    async def status(self) -> dict[str, Any]:
        """Counts by state, workers, paused queues."""
        return await self._map("status")

    async def jobs(self, **filters: Any) -> AsyncIterator[AsyncJob]:
        """Yield all matching jobs, oldest first unless `order="newest"`. They are fetched in pages."""
        async for job in self.stream(listed(filters)):
            yield AsyncJob(self, job)

    async def get(self, id: Ref) -> AsyncJob:
        """Return one job with its attempts."""
        return AsyncJob(self, await self.call("job.get", id=id))

    async def wait(self, *ids: Ref, any: bool = False, timeout: float | None = None) -> list[AsyncJob]:
        """Wait until all jobs (`any`: one of them) have ended and return them; without ids, until nothing can run.

        Raise TimeoutError after `timeout` seconds.
        """
        wait = Wait(ids, any=any, timeout=timeout)
        return [AsyncJob(self, job) async for job in self.stream(wait.jobs())]

    async def log_page(self, id: Ref, **where: Any) -> dict[str, Any]:
        """Return a page of output, by `attempt`, `stream`, `offset`, `limit`; `wait`: block until there is some."""
        return await self._map("job.logs", id=id, **where)

    async def output(
        self, id: Ref, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None
    ) -> bytes:
        """Return the output so far of the newest attempt, or of `attempt`.

        `missing` is called with the number of dropped bytes at each gap (`log_max_bytes`).
        """
        return b"".join([piece async for piece in self.stream(output_pages(id, attempt, stream, missing, wait=False))])

    def follow(
        self, id: Ref, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None
    ) -> AsyncIterator[bytes]:
        """Yield the output as it is written, until the attempt has ended. `missing`: see `output`."""
        return self.stream(output_pages(id, attempt, stream, missing, wait=True))

    async def cancel(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Cancel waiting or running jobs."""
        return await self._each("job.cancel", ids=ids, dry_run=dry_run)

    async def kill(self, *ids: Ref, signal: int | str = "SIGTERM", dry_run: bool = False) -> list[AsyncJob]:
        """Send a signal to all processes of running jobs; retries apply."""
        return await self._each("job.kill", ids=ids, signal=signal, dry_run=dry_run)

    async def pause(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Pause running jobs: stop all of their processes."""
        return await self._each("job.pause", ids=ids, dry_run=dry_run)

    async def resume(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Resume paused jobs."""
        return await self._each("job.resume", ids=ids, dry_run=dry_run)

    async def send_input(self, id: Ref, data: bytes | str = b"", *, eof: bool = False) -> list[AsyncJob]:
        """Write to the stdin of a running job with `stdin_open`, and wait until its worker has it. `eof`: close it."""
        return await self._jobs("job.send", id=id, data=data, eof=eof)

    async def hold(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Hold waiting jobs until they are released."""
        return await self._each("job.hold", ids=ids, dry_run=dry_run)

    async def release(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Release held jobs."""
        return await self._each("job.release", ids=ids, dry_run=dry_run)

    async def retry(self, *ids: Ref, dry_run: bool = False, **changes: Any) -> list[AsyncJob]:
        """Run ended jobs again, and failed ones now; `changes` (such as timeout=600) are made to each first."""
        return await self._each("job.retry", ids=ids, dry_run=dry_run, changes=changes or None)

    async def remove(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Remove jobs that are not running, with their output."""
        return await self._each("job.remove", ids=ids, dry_run=dry_run)

    async def prune(self, *, older_than: float = 0, states: Sequence[str] = ("completed", "cancelled")) -> int:
        """Remove jobs of these states that ended at least `older_than` seconds ago. Return their number."""
        answer = await self.call("job.prune", older_than=older_than, states=states)
        return int(answer["removed"])

    async def edit(self, id: Ref, changes: Mapping[str, Any], *, rev: int | None = None) -> list[AsyncJob]:
        """Change keys of a waiting job; None resets a key. `rev`: fail if the job was changed since it was read."""
        return await self._jobs("job.edit", id=id, changes=dict(changes), rev=rev)

    async def move(self, id: Ref, **place: Any) -> list[AsyncJob]:
        """Move a waiting job: `first`, `last`, `before` another job, or to another `queue`."""
        return await self._jobs("job.move", id=id, **place)

    async def explain(self, id: Ref) -> dict[str, Any]:
        """Explain why a job does not run: `rules`, its `position` in line, and the earliest start, `starts_at`."""
        return await self._map("job.explain", id=id)

    async def dlq_list(self, *, limit: int | None = None, after: str | None = None, **filters: Any) -> dict[str, Any]:
        """Return a page of dead jobs, `jobs` and `next`, by `queue`, `label`, `name`, `since`, `reason`, `filter`."""
        return await self._map("dlq.list", limit=limit, after=after, **filters)

    async def dlq_retry(
        self,
        *ids: Ref,
        all: bool = False,
        rate: str | None = None,
        changes: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        **filters: Any,
    ) -> list[AsyncJob]:
        """Run dead jobs again, with these changes; a `rate` such as `10/m` spreads them."""
        how = {"rate": rate, "changes": changes, "dry_run": dry_run, **filters}
        return await self._each("dlq.retry", ids=ids or None, all=all, **how)

    async def dlq_purge(
        self, *ids: Ref, all: bool = False, older_than: float | None = None, dry_run: bool = False, **filters: Any
    ) -> list[AsyncJob]:
        """Remove dead jobs; `older_than`: only those dead for at least this many seconds."""
        how = {"older_than": older_than, "dry_run": dry_run, **filters}
        return await self._each("dlq.purge", ids=ids or None, all=all, **how)

    async def config_get(self, key: str) -> Any:
        """Return the value of a config key."""
        return (await self.call("config.get", key=key))["value"]

    async def config_set(self, key: str, value: Any) -> Any:
        """Set a config key and return the stored value."""
        return (await self.call("config.set", key=key, value=value))["value"]

    async def config_unset(self, key: str) -> None:
        """Reset a config key to its default."""
        await self.call("config.unset", key=key)

    async def config_list(self) -> list[dict[str, Any]]:
        """Return all config keys, their values, and which are defaults."""
        return await self._list("config.list", "config")

    async def queues(self) -> list[dict[str, Any]]:
        """Return all queues with their counts and limits."""
        return await self._list("queue.list", "queues")

    async def queue_set(
        self, name: str, *, concurrency: int | None = None, rate: str | None = None, failure_limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Set the limits of a queue; 0, or the rate `none`, removes one. `failure_limit` failures in a row pause it."""
        limits = {"concurrency": concurrency, "rate": rate, "failure_limit": failure_limit}
        return await self._list("queue.set", "queues", name=name, **limits)

    async def queue_pause(self, name: str, *, wait: bool = False) -> list[dict[str, Any]]:
        """Pause a queue: start none of its jobs. `wait`: return once none of them is running."""
        return await self._list("queue.pause", "queues", name=name, wait=wait)

    async def queue_resume(self, name: str) -> list[dict[str, Any]]:
        """Resume a queue."""
        return await self._list("queue.resume", "queues", name=name)

    async def queue_remove(self, name: str) -> list[dict[str, Any]]:
        """Remove a queue that has no jobs; the queue as it was. Raises WrongState when it has some."""
        return await self._list("queue.remove", "queues", name=name)

    async def workers(self) -> list[dict[str, Any]]:
        """Return all workers."""
        return await self._list("worker.list", "workers")

    async def worker_start(self, count: int = 1, *, detach: bool = True) -> dict[str, Any]:
        """Start workers. Detached ones belong to the daemon; others drain when this connection closes."""
        return await self._map("worker.start", count=count, detach=detach)

    async def worker_stop(self, count: int | None = None, *, now: bool = False, wait: bool = True) -> dict[str, Any]:
        """Stop all workers, or `count` of them, after their current job; `now`: terminate their jobs."""
        return await self._map("worker.stop", count=count, now=now, wait=wait)

    async def worker_scale(self, count: int) -> list[dict[str, Any]]:
        """Set the number of detached workers."""
        return await self._list("worker.scale", "workers", count=count)

    async def daemon_info(self) -> dict[str, Any]:
        """Return the pid, version and file locations of the daemon."""
        return await self._map("daemon.info")

    async def daemon_drain(self, *, resume: bool = False) -> dict[str, Any]:
        """Stop starting jobs; `resume`: start them again."""
        return await self._map("daemon.drain", resume=resume)

    async def daemon_shutdown(self, *, now: bool = False) -> dict[str, Any]:
        """Drain the workers, then stop the daemon; `now`: terminate running jobs."""
        return await self._map("daemon.shutdown", now=now)

    async def events(self, *, since: int | None = None, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        """Yield events as they occur, from `since` on. Raise Gone if that is too old, ConnectionLost at the end."""
        await self.call("events.subscribe", since=since, **filters)
        async for notification in self.notifications():
            if notification.method == "event":
                yield notification.params

    async def _each(self, method: str, **params: Any) -> list[AsyncJob]:
        """Apply a change in pages and return all changed jobs."""
        jobs = self.stream(changed(method, params))
        return [AsyncJob(self, job) async for job in jobs]

    async def _jobs(self, method: str, **params: Any) -> list[AsyncJob]:
        return [AsyncJob(self, job) for job in (await self.call(method, **params))["jobs"]]

    async def _list(self, method: str, key: str, **params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.call(method, **params))[key]
        return found

    async def _map(self, method: str, **params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.call(method, **params)
        return answer
