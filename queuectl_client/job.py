"""Job snapshots with methods to act on the job."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from queuectl_client.protocol.vocabulary import ENDED_STATES, JobState

Missing = Callable[[int], None] | None
"""Callback that gets the number of output bytes dropped at a gap."""


class JobRecord:
    """A snapshot of a job. Every key of the job's JSON is an attribute; `data` is the whole mapping."""

    id: str
    seq: int
    command: str | list[str]
    queue: str
    priority: int
    attempts: int
    max_retries: int
    runs: int
    crashes: int
    exit_code: int | None
    signal: int | None
    reason: str | None
    reason_code: str | None
    """A word of `ReasonCode`."""
    worker: str | None
    name: str | None
    labels: dict[str, str]
    cwd: str
    created_at: str
    updated_at: str
    run_at: str | None
    started_at: str | None
    finished_at: str | None
    attempts_list: list[dict[str, Any]]

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = dict(data)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(f"a job has no {name!r}") from None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state}>"

    def __eq__(self, other: object) -> bool:
        return self.data == other.data if isinstance(other, JobRecord) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.seq)

    @property
    def state(self) -> JobState:
        """The state of the job."""
        return JobState(self.data["state"])

    @property
    def has_ended(self) -> bool:
        """Whether the job has ended, and will not run again unless it is retried."""
        return self.state in ENDED_STATES


class JobMethods(Protocol):
    """Client methods that a Job calls."""

    def get(self, id: str, /) -> "Job": ...
    def wait(self, *ids: str, timeout: float | None) -> "list[Job]": ...
    def output(self, id: str, /, *, attempt: int | None, stream: str | None, missing: Missing) -> bytes: ...
    def follow(self, id: str, /, *, attempt: int | None, stream: str | None, missing: Missing) -> Iterator[bytes]: ...
    def cancel(self, *ids: str) -> "list[Job]": ...
    def kill(self, *ids: str, signal: int | str) -> "list[Job]": ...
    def retry(self, *ids: str) -> "list[Job]": ...
    def send_input(self, id: str, data: bytes | str, /, *, eof: bool) -> "list[Job]": ...


class Job(JobRecord):
    """A snapshot of a job, bound to its client. It never changes; methods return a new Job."""

    def __init__(self, client: JobMethods, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        self._client = client

    def refresh(self) -> "Job":
        """Return the current state of the job, with its attempts."""
        return self._client.get(self.id)

    def wait(self, timeout: float | None = None) -> "Job":
        """Wait until the job has ended and return it. Raise TimeoutError after `timeout` seconds."""
        return self._client.wait(self.id, timeout=timeout)[0]

    def output(self, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None) -> bytes:
        """Return the output so far of the newest attempt, or of `attempt`.

        `missing` is called with the number of dropped bytes at each gap (`log_max_bytes`).
        """
        return self._client.output(self.id, attempt=attempt, stream=stream, missing=missing)

    def follow(
        self, *, attempt: int | None = None, stream: str | None = None, missing: Missing = None
    ) -> Iterator[bytes]:
        """Yield the output as it is written, until the attempt has ended. `missing`: see `output`."""
        return self._client.follow(self.id, attempt=attempt, stream=stream, missing=missing)

    def cancel(self) -> "Job":
        """Cancel the job, waiting or running."""
        return self._client.cancel(self.id)[0]

    def kill(self, signal: int | str = "SIGTERM") -> "Job":
        """Send a signal to all processes of the job; retries apply."""
        return self._client.kill(self.id, signal=signal)[0]

    def send(self, data: bytes | str = b"", *, eof: bool = False) -> "Job":
        """Write to the stdin of the running job, which has `stdin_open`. `eof`: close it afterwards."""
        return self._client.send_input(self.id, data, eof=eof)[0]

    def retry(self) -> "Job":
        """Run the job again if it has ended; run it now if it waits for its backoff."""
        return self._client.retry(self.id)[0]
