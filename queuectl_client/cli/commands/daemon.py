"""`queuectl daemon`: start, stop, restart and look at the daemon."""

import os
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from queuectl_client.cli.framework import noun, pass_invocation
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.output import render
from queuectl_client.cli.output.printing import fields
from queuectl_client.errors import ConnectionLost, DaemonUnreachable, NoDaemon, WrongState

if TYPE_CHECKING:
    from queuectl_client.paths import Paths

NOT_REACHABLE: Final = 3
EXIT_WITHIN_S: Final = 30.0
"""The daemon answers what it has accepted and exits, within 5 s, or 15 where somebody has locked its store."""

STILL_STOPPING: Final = (
    "\nThe daemon stops when its jobs have ended. To end them: queuectl daemon stop --now. "
    "To keep it running: queuectl daemon start"
)


@noun("daemon", example="queuectl daemon start\nqueuectl daemon status\nqueuectl daemon logs -f")
def daemon() -> None:
    """The daemon, queuectld, that keeps the queue. Most verbs start it where there is none."""


@daemon.verb("start", example="queuectl daemon start")
@pass_invocation
def start(invocation: Invocation) -> None:
    """Start the daemon, and with it the detached workers it had.

    One that runs stays as it is; one that drains starts jobs again, also where a stop waits for running jobs.
    """
    _start(invocation)
    client = invocation.client(autostart=False)
    info = client.call("daemon.info")
    if info["draining"]:
        _resume(invocation, info)
    # One that a client had started by itself since the last stop runs without them.
    client.call("worker.scale")
    _tell(invocation, client.call("daemon.info"))


@daemon.verb("stop", example="queuectl daemon stop\nqueuectl daemon stop --now")
@click.option("--now", is_flag=True, help="Terminate running jobs: TERM, then KILL.")
@pass_invocation
def stop(invocation: Invocation, now: bool) -> None:
    """Let all workers finish their current job, then stop the daemon.

    Ctrl-C does not cancel the stop: the daemon goes on with it. `queuectl daemon start` does, as long as jobs run.
    """
    client = invocation.client(autostart=False)
    try:
        process = DaemonProcess(client.call("daemon.info")["pid"])
    except (NoDaemon, ProcessLookupError):
        invocation.say("No daemon is running.")
        return
    with process:
        try:
            for left in client.call("daemon.shutdown", now=now).get("left", ()):
                invocation.warn(f"left behind: {left}")
        except ConnectionLost:
            pass  # another stop was answered first; what was wanted is seen by its end
        except KeyboardInterrupt:
            invocation.say(STILL_STOPPING)
            raise
        process.wait()
    invocation.say("The daemon has stopped.")


@daemon.verb("restart", example="queuectl daemon restart")
@pass_invocation
def restart(invocation: Invocation) -> None:
    """Replace the daemon by a new one. Running jobs go on; the new daemon takes them back."""
    try:
        process = DaemonProcess(invocation.client(autostart=False).call("daemon.info")["pid"])
    except (NoDaemon, ProcessLookupError):
        pass  # then there is none to replace
    else:
        with process:
            process.terminate()
            process.wait()
    invocation.close()
    _start(invocation)
    _tell(invocation, invocation.client(autostart=False).call("daemon.info"))


@daemon.verb("status", example="queuectl daemon status\nqueuectl daemon status --json")
@pass_invocation
def status(invocation: Invocation) -> int:
    """Show whether the daemon runs, and where it keeps its things. Exit 3 when it does not."""
    try:
        info = invocation.client(autostart=False).call("daemon.info")
    except NoDaemon:
        invocation.say("No daemon is running. Start one with: queuectl daemon start")
        return NOT_REACHABLE
    if invocation.json:
        invocation.document(info)
        return 0
    fields(invocation, _described(info))
    return 0


@daemon.verb("drain", example="queuectl daemon drain\nqueuectl daemon drain --resume")
@click.option("--resume", is_flag=True, help="Start jobs again.")
@pass_invocation
def drain(invocation: Invocation, resume: bool) -> None:
    """Start no more jobs, of any queue; those that run go on. Until it is resumed or the daemon is started anew."""
    answer = invocation.call("daemon.drain", resume=resume)
    if invocation.json:
        invocation.document(answer)
    else:
        told = "is draining: it starts no jobs until it is resumed" if answer["draining"] else "starts jobs"
        invocation.say(f"The daemon {told}.")


@daemon.verb("logs", example="queuectl daemon logs -n 50\nqueuectl daemon logs -f")
@click.option("-f", "--follow", "following", is_flag=True, help="Keep printing new lines.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, metavar="N", help="Number of lines."
)
@pass_invocation
def logs(invocation: Invocation, following: bool, lines: int) -> None:
    """Show the end of the daemon's own log. Under systemd it is in the journal instead."""
    path = _paths(invocation).daemon_log
    if not os.path.isfile(path):
        invocation.say(f"No log file {path}: no daemon has written one. Under systemd: journalctl --user -u queuectld")
        return
    sys.stdout.flush()
    # tail is woken by the kernel and copes with a log that is replaced; there is nothing to add to it.
    tail = ["tail", "-n", str(lines), *(["-F"] if following else []), "--", path]
    if not sys.stdout.isatty():
        os.execvp("tail", tail)
    _show(invocation, tail)


def _show(invocation: Invocation, command: Sequence[str]) -> None:
    """What a program says, made safe for the terminal, until it has ended."""
    import subprocess

    from queuectl_client.cli.output.follow import PAGE, Sink

    sink = Sink(invocation)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        while piece := os.read(program.stdout.fileno(), PAGE):
            sink.write(piece)
    sink.end()


class DaemonProcess:
    """The daemon's process, held by a descriptor, so that no other process of its pid is ever signalled."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor = os.pidfd_open(pid)

    def __enter__(self) -> "DaemonProcess":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def terminate(self) -> None:
        """Ask it to answer what it has accepted and to leave its workers to the next daemon."""
        signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)

    def wait(self) -> None:
        """Return when it has ended. Raises DaemonUnreachable when it does not."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        if not poller.poll(EXIT_WITHIN_S * 1000):
            raise DaemonUnreachable(f"the daemon (pid {self._pid}) did not exit within {EXIT_WITHIN_S:.0f} s")


def _paths(invocation: Invocation) -> "Paths":
    from queuectl_client.paths import resolve

    return resolve(socket=invocation.socket)


def _start(invocation: Invocation) -> None:
    """A daemon runs afterwards: this one's, or one that was there."""
    from queuectl_client.autostart import START_WITHIN_S, start_daemon

    start_daemon(_paths(invocation), os.environ, time.monotonic() + START_WITHIN_S, by_hand=True)


def _resume(invocation: Invocation, info: Mapping[str, Any]) -> None:
    """Have a draining daemon start jobs again; where it is too late for that, replace it once it has ended."""
    client = invocation.client(autostart=False)
    try:
        client.call("daemon.drain", resume=True)
    except (WrongState, ConnectionLost, NoDaemon):
        with suppress(ProcessLookupError), DaemonProcess(info["pid"]) as process:
            process.wait()
        invocation.close()
        _start(invocation)
        invocation.say("The daemon that was stopping has ended, so another one was started.")
        return
    if info.get("stopping"):
        invocation.say("The daemon was stopping; the stop is cancelled and it starts jobs again.")
    else:
        invocation.say("The daemon was draining; it starts jobs again.")


def _described(info: dict[str, Any]) -> list[tuple[str, str]]:
    since = info["started_at"]
    if isinstance(since, int | float):
        since = datetime.fromtimestamp(since, UTC).isoformat()
    told = [("Daemon", f"running, pid {info['pid']}"), ("Version", str(info["version"]))]
    told.append(("Since", render.full_time(since)))
    if info.get("stopping"):
        told.append(("Stopping", "when its jobs have ended. Keep it running with: queuectl daemon start"))
    elif info.get("draining"):
        told.append(("Draining", "yes. Resume with: queuectl daemon drain --resume"))
    return told + [
        (key.capitalize(), render.escape(info[key])) for key in ("workers", "socket", "store", "logs") if key in info
    ]


def _tell(invocation: Invocation, info: dict[str, Any]) -> None:
    if invocation.json:
        invocation.document(info)
    else:
        invocation.say(f"The daemon is running, pid {info['pid']}.")
