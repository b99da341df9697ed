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
    """A job and the client it came over. Nothing here changes by itself: methods give a newer AsyncJob."""

    def __init__(self, client: "AsyncClient", data: Mapping[str, Any]) -> None:
        super().__init__(data)
        self._client = client

    async def refresh(self) -> "AsyncJob":
        """The job as it is now, with its attempts."""
        return await self._client.get(self.id)

    async def wait(self, timeout: float | None = None) -> "AsyncJob":
        """The job once it has ended. Raises TimeoutError after `timeout` seconds."""
        return (await self._client.wait(self.id, timeout=timeout))[0]

    async def output(self, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None) -> bytes:
        """What it has written so far, in its newest attempt unless another is named.

        `missing` is called with a number of bytes, where so many of it were dropped (`log_max_bytes`).
        """
        return await self._client.output(self.id, attempt=attempt, stream=stream, missing=missing)

    def follow(
        self, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None
    ) -> AsyncIterator[bytes]:
        """What it writes, as it comes, until the attempt has ended. `missing`: see `output`."""
        return self._client.follow(self.id, attempt=attempt, stream=stream, missing=missing)

    async def cancel(self) -> "AsyncJob":
        """End it for good, waiting or running."""
        return (await self._client.cancel(self.id))[0]

    async def kill(self, signal: int | str = "SIGTERM") -> "AsyncJob":
        """Send a signal to all of its processes; retries apply."""
        return (await self._client.kill(self.id, signal=signal))[0]

    async def send(self, data: bytes | str = b"", *, eof: bool = False) -> "AsyncJob":
        """Give it more to read while it runs, where it has `stdin_open`; `eof`: no more comes."""
        return (await self._client.send_input(self.id, data, eof=eof))[0]

    async def retry(self) -> "AsyncJob":
        """Run it again after it has ended; run it now when it waits for its backoff."""
        return (await self._client.retry(self.id))[0]


class AsyncClient(AsyncConnection):
    """A client of the daemon, which is started when none runs, unless that is forbidden.

    Every method raises QueuectlError or one of its subclasses for what the daemon refuses.
    """

    async def enqueue(self, job: JobLike, /, **keys: Any) -> AsyncJob:
        """Store a job; see Client.enqueue. It is on disk afterwards."""
        return AsyncJob(self, await self.call("enqueue", **described(job, keys)))

    async def enqueue_many(self, jobs: Iterable[JobLike], /, **defaults: Any) -> Added:
        """Store all of the jobs or none, however many. `defaults` are keys laid under each."""
        return await self.run(upload_jobs(jobs, defaults))

    async def status(self) -> dict[str, Any]:
        """Counts by state, workers, paused queues."""
        return await self._map("status")

    async def jobs(self, **filters: Any) -> AsyncIterator[AsyncJob]:
        """All jobs that match, oldest first unless `order="newest"`, in pages: memory does not grow with the queue."""
        async for job in self.stream(listed(filters)):
            yield AsyncJob(self, job)

    async def get(self, id: Ref) -> AsyncJob:
        """One job with its attempts."""
        return AsyncJob(self, await self.call("job.get", id=id))

    async def wait(self, *ids: Ref, any: bool = False, timeout: float | None = None) -> list[AsyncJob]:
        """The jobs once each has ended (`any`: one of them), however many; without ids, once nothing can run.

        Raises TimeoutError after `timeout` seconds.
        """
        wait = Wait(ids, any=any, timeout=timeout)
        return [AsyncJob(self, job) async for job in self.stream(wait.jobs())]

    async def log_page(self, id: Ref, **where: Any) -> dict[str, Any]:
        """A piece of a job's output, by `attempt`, `stream`, `offset`, `limit`; `wait`: once there is something."""
        return await self._map("job.logs", id=id, **where)

    async def output(
        self, id: Ref, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None
    ) -> bytes:
        """What the job has written so far, in its newest attempt unless another is named.

        `missing` is called with a number of bytes, where so many of it were dropped (`log_max_bytes`).
        """
        return b"".join([piece async for piece in self.stream(output_pages(id, attempt, stream, missing, wait=False))])

    def follow(
        self, id: Ref, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None
    ) -> AsyncIterator[bytes]:
        """What the job writes, as it comes, until the attempt has ended. `missing`: see `output`."""
        return self.stream(output_pages(id, attempt, stream, missing, wait=True))

    async def cancel(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Cancel waiting or running jobs."""
        return await self._each("job.cancel", ids=ids, dry_run=dry_run)

    async def kill(self, *ids: Ref, signal: int | str = "SIGTERM", dry_run: bool = False) -> list[AsyncJob]:
        """Send a signal to all processes of running jobs; retries apply."""
        return await self._each("job.kill", ids=ids, signal=signal, dry_run=dry_run)

    async def pause(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Stop all processes of running jobs."""
        return await self._each("job.pause", ids=ids, dry_run=dry_run)

    async def resume(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Let stopped jobs go on."""
        return await self._each("job.resume", ids=ids, dry_run=dry_run)

    async def send_input(self, id: Ref, data: bytes | str = b"", *, eof: bool = False) -> list[AsyncJob]:
        """Give a running job that has `stdin_open` more to read; `eof`: no more comes. Returns when it has it."""
        return await self._jobs("job.send", id=id, data=data, eof=eof)

    async def hold(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Hold waiting jobs until they are released."""
        return await self._each("job.hold", ids=ids, dry_run=dry_run)

    async def release(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Release held jobs."""
        return await self._each("job.release", ids=ids, dry_run=dry_run)

    async def retry(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Run ended jobs again, and failed ones now."""
        return await self._each("job.retry", ids=ids, dry_run=dry_run)

    async def remove(self, *ids: Ref, dry_run: bool = False) -> list[AsyncJob]:
        """Forget jobs that do not run, with their output."""
        return await self._each("job.remove", ids=ids, dry_run=dry_run)

    async def prune(self, *, older_than: float = 0, states: Sequence[str] = ("completed", "cancelled")) -> int:
        """Forget ended jobs of these states that ended so many seconds ago, or more. How many they were."""
        answer = await self.call("job.prune", older_than=older_than, states=states)
        return int(answer["removed"])

    async def edit(self, id: Ref, changes: Mapping[str, Any], *, rev: int | None = None) -> list[AsyncJob]:
        """Change keys of a waiting job; None: back to the default. `rev`: only if it still is the one that was read."""
        return await self._jobs("job.edit", id=id, changes=dict(changes), rev=rev)

    async def move(self, id: Ref, **place: Any) -> list[AsyncJob]:
        """Give a waiting job another place: `first`, `last`, `before` another job, or another `queue`."""
        return await self._jobs("job.move", id=id, **place)

    async def explain(self, id: Ref) -> dict[str, Any]:
        """Why a job does not run: `rules`, its `position` in line, and when it `starts_at` the earliest."""
        return await self._map("job.explain", id=id)

    async def dlq_list(self, *, limit: int | None = None, after: str | None = None, **filters: Any) -> dict[str, Any]:
        """A page of dead jobs, `jobs` and `next`, by `queue`, `label`, `name`, `since`, `reason`, `filter`."""
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
        """Run dead jobs again, with these changes; with a `rate` such as `10/m` one after the other."""
        how = {"rate": rate, "changes": changes, "dry_run": dry_run, **filters}
        return await self._each("dlq.retry", ids=ids or None, all=all, **how)

    async def dlq_purge(
        self, *ids: Ref, all: bool = False, older_than: float | None = None, dry_run: bool = False, **filters: Any
    ) -> list[AsyncJob]:
        """Forget dead jobs; `older_than`: those that have been dead for so many seconds."""
        how = {"older_than": older_than, "dry_run": dry_run, **filters}
        return await self._each("dlq.purge", ids=ids or None, all=all, **how)

    async def config_get(self, key: str) -> Any:
        """The value of a key of the config."""
        return (await self.call("config.get", key=key))["value"]

    async def config_set(self, key: str, value: Any) -> Any:
        """Set a value; it is the value as it is kept that is returned."""
        return (await self.call("config.set", key=key, value=value))["value"]

    async def config_unset(self, key: str) -> None:
        """Back to the default."""
        await self.call("config.unset", key=key)

    async def config_list(self) -> list[dict[str, Any]]:
        """All keys, their values, and which are defaults."""
        return await self._list("config.list", "config")

    async def queues(self) -> list[dict[str, Any]]:
        """All queues with their counts and limits."""
        return await self._list("queue.list", "queues")

    async def queue_set(
        self, name: str, *, concurrency: int | None = None, rate: str | None = None, failure_limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Set the limits of a queue; 0, or the rate `none`, for no limit. So many failures in a row pause it."""
        limits = {"concurrency": concurrency, "rate": rate, "failure_limit": failure_limit}
        return await self._list("queue.set", "queues", name=name, **limits)

    async def queue_pause(self, name: str, *, wait: bool = False) -> list[dict[str, Any]]:
        """Start no job of the queue until it is resumed; `wait`: return once none of it runs any more."""
        return await self._list("queue.pause", "queues", name=name, wait=wait)

    async def queue_resume(self, name: str) -> list[dict[str, Any]]:
        """Start its jobs again."""
        return await self._list("queue.resume", "queues", name=name)

    async def workers(self) -> list[dict[str, Any]]:
        """All workers."""
        return await self._list("worker.list", "workers")

    async def worker_start(self, count: int = 1, *, detach: bool = True) -> dict[str, Any]:
        """Start workers. Detached they belong to the daemon; else they drain when this connection closes."""
        return await self._map("worker.start", count=count, detach=detach)

    async def worker_stop(self, count: int | None = None, *, now: bool = False, wait: bool = True) -> dict[str, Any]:
        """End all workers, or `count` of them, once their job has ended; `now`: end their jobs too."""
        return await self._map("worker.stop", count=count, now=now, wait=wait)

    async def worker_scale(self, count: int) -> list[dict[str, Any]]:
        """Set the number of detached workers."""
        return await self._list("worker.scale", "workers", count=count)

    async def daemon_info(self) -> dict[str, Any]:
        """Who the daemon is and where its files are."""
        return await self._map("daemon.info")

    async def daemon_drain(self, *, resume: bool = False) -> dict[str, Any]:
        """Claim no more jobs; `resume`: claim them again."""
        return await self._map("daemon.drain", resume=resume)

    async def daemon_shutdown(self, *, now: bool = False) -> dict[str, Any]:
        """Drain the workers, then end the daemon; `now`: end running jobs too."""
        return await self._map("daemon.shutdown", now=now)

    async def events(self, *, since: int | None = None, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        """Events as they come, from `since` on. Raises Gone when that is too long ago, ConnectionLost at the end."""
        await self.call("events.subscribe", since=since, **filters)
        async for told in self.notifications():
            if told.method == "event":
                yield told.params

    async def _each(self, method: str, **params: Any) -> list[AsyncJob]:
        """The jobs that it was done to, however many a selector stands for, call by call."""
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
