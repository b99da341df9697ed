"""`queuectl worker start` in the foreground: shows what the workers of one pool do, and ends them when it is told to.

The workers are the daemon's children. This process owns their pool by its connection: when it is gone, killed or not,
the daemon drains the pool; when the daemon is gone, this takes the pool up again at the next one.
"""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output.render import duration, escape, parse_time, plural, result_text
from queuectl_client.errors import ConnectionLost, DaemonUnreachable, Gone, NoDaemon, NotFound

if TYPE_CHECKING:
    from queuectl_client.connection import Connection
    from queuectl_client.protocol.rpc import Notification

Event = Mapping[str, Any]

RETURN_WITHIN_S: Final = 5.0
"""How long the next daemon is awaited before one is started."""
TAKE_UP_WITHIN_S: Final = 10.0
"""How long a daemon keeps a pool for its client."""

STOPPING: Final = b"\nStopping: the workers finish their current job. Press Ctrl-C again to exit without waiting.\n"


def run_pool(invocation: Invocation, count: int) -> int:
    """Start a pool of `count` workers and show what they do until the last has ended.

    The exit code is 0, or 1 where the pool was lost because this client did not take it up in time.
    """
    from uuid import uuid4

    client = invocation.client()
    # With a request, for a daemon that goes away before it has answered: the next one gives the same pool.
    started = client.call("worker.start", count=count, request=str(uuid4()))
    pool = ForegroundPool(invocation, started)
    invocation.say(f"Started {plural(count, 'worker')}. Ctrl-C to stop once current jobs are done.")
    signal.signal(signal.SIGINT, pool.on_signal)
    signal.signal(signal.SIGTERM, pool.on_signal)
    while not pool.watched_to_its_end(client):
        invocation.say("The daemon is gone; its workers keep running. Waiting for it to come back …")
        client = pool.connect_again()
    return int(pool.was_too_late)


class ForegroundPool:
    """What is known of the pool: its workers, the last event seen, and what it was told."""

    def __init__(self, invocation: Invocation, started: Mapping[str, Any]) -> None:
        self._invocation = invocation
        self._id: int = started["pool"]
        self._seen: int = started["event_seq"]
        self._alive: set[str] = set()
        self._stopping = False
        self._lost = False
        self.was_too_late = False
        """Whether the workers ended because this client was away for too long, stopped for instance."""
        self._know(started["workers"])

    def watched_to_its_end(self, client: "Connection") -> bool:
        """Show events until no worker is left: True. False when the daemon went away before."""
        try:
            if self._lost:
                self._take_up(client)
            self._watch(client)
        except ConnectionLost:
            self._lost = True
            return False
        return True

    def connect_again(self) -> "Connection":
        """A connection to the next daemon. Raises NoDaemon when there is none and none may be started."""
        from queuectl_client.paths import resolve
        from queuectl_client.returning import wait_for_daemon

        self._invocation.close()
        try:
            # A service manager may be about to start the next one, and two of them would be one too many.
            within = RETURN_WITHIN_S if self._invocation.autostart else TAKE_UP_WITHIN_S
            wait_for_daemon(resolve(socket=self._invocation.socket), within, self._invocation.say).close()
        except NoDaemon:
            if not self._invocation.autostart:
                raise
        return self._invocation.client()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Stop the pool; a second Ctrl-C does not wait for it.

        The stop goes out on a connection of its own: the main one is in the middle of a read, which goes on afterwards.
        """
        del frame
        if self._stopping:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self._stopping = True
        if not self._invocation.quiet:
            # Not `say`: the signal may have come in the middle of a write, and a stream cannot be entered twice.
            os.write(sys.stderr.fileno(), STOPPING)
        self._stop()

    def _take_up(self, client: "Connection") -> None:
        """Make the pool ours at this daemon."""
        try:
            self._know(client.call("worker.start", pool=self._id)["workers"])
        except NotFound:
            # Its last worker ended in between, or it drains already.
            workers = client.call("worker.list")["workers"]
            self._know([one for one in workers if one["pool"]["id"] == self._id])
        self._lost = False
        self._invocation.say("The daemon is back.")
        if not self._alive and not self._stopping:
            self._invocation.error(f"the workers have ended: no client took them over within {TAKE_UP_WITHIN_S:.0f} s")
            self.was_too_late = True
        if self._stopping:
            self._stop()

    def _watch(self, client: "Connection") -> None:
        try:
            client.call("events.subscribe", since=self._seen, pool=self._id)
        except Gone:
            # So long away that events were thrown away meanwhile: go on from now.
            client.call("events.subscribe", pool=self._id)
        if not self._alive and self._is_over(client):
            return
        for notification in self._told(client):
            if notification.method != "event":
                continue
            self._take(notification.params)
            if not self._alive and self._is_over(client):
                return

    def _told(self, client: "Connection") -> Iterator["Notification"]:
        """What the daemon tells. One that is silent is said to be, and waited for: it goes on, or is replaced."""
        said = False
        while True:
            try:
                for notification in client.notifications():
                    said = False
                    yield notification
            except ConnectionLost:
                raise
            except DaemonUnreachable as silent:
                if not said:
                    self._invocation.say(f"{silent.message}; its workers keep running")
                said = True

    def _stop(self) -> None:
        from queuectl_client.connection import Connection

        try:
            other = Connection(self._invocation.socket, autostart=False)
            try:
                other.call("worker.stop", pool=self._id, wait=False)
            finally:
                other.close()
        except DaemonUnreachable:
            return  # the connection is lost as well; it is stopped once the pool is taken up again

    def _is_over(self, client: "Connection") -> bool:
        """Whether the pool wants no workers any more; else one that died is about to be replaced."""
        try:
            client.call("worker.start", pool=self._id)
        except NotFound:
            return True
        return False

    def _know(self, workers: list[dict[str, Any]]) -> None:
        self._alive = {one["id"] for one in workers}

    def _take(self, event: Event) -> None:
        """Keep count of the workers, and show what happened to a job."""
        self._seen = event["event_seq"]
        worker, kind = event.get("worker"), event["kind"]
        if worker is None:
            return
        if kind == "worker.started":
            self._alive.add(worker)
        elif kind == "worker.ended":
            self._alive.discard(worker)
        line = job_line(event)
        if line is None:
            return
        self._invocation.data(f"[Worker {event.get('worker_number', worker)}] {line}")
        sys.stdout.flush()


def job_line(event: Event) -> str | None:
    """What is said of an event of a job; None when it is of no interest here."""
    match event["kind"]:
        case "job.processing":
            return f"Processing job {escape(event['job'])}"
        case "job.completed":
            return "Job completed"
        case "job.failed":
            return f"Job failed: {result_text(event)}{_retry_in(event)}"
        case "job.dead":
            return f"Job failed: {result_text(event)}; moved to the DLQ"
        case "job.cancelled":
            return f"Job cancelled: {escape(event['job'])}"
        case "job.pending":
            return "Job interrupted; it runs again"
    return None


def _retry_in(event: Event) -> str:
    if not event.get("run_at"):
        return ""
    gap = (parse_time(event["run_at"]) - parse_time(event["time"])).total_seconds()
    return f", retry in {duration(max(gap, 0))}"
