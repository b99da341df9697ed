"""A signal reaches the daemon's loop though its byte cannot be written, and that is said in one line of the log."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from queuectld.eventloop import EventLoop

SIGNAL: Final = signal.SIGUSR1
PATIENCE: Final = 20
SCRIPT: Final = """
import logging, os, signal
from queuectld import logs
logs.to_stderr("info")
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.set_wakeup_fd(os.open("/dev/full", os.O_WRONLY | os.O_NONBLOCK))
os.kill(os.getpid(), signal.SIGUSR1)
logging.info("goes on")
"""


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    made = EventLoop()
    before = signal.getsignal(SIGNAL)
    yield made
    made.remove_signal_handler(SIGNAL)
    made.close()
    signal.signal(SIGNAL, before)


@pytest.mark.parametrize("writable", [True, False], ids=["written", "on a full disk"])
def test_a_signal_is_handled_once_whatever_becomes_of_its_byte(
    loop: EventLoop, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    calls: list[str] = []
    loop.add_signal_handler(SIGNAL, calls.append, "called")
    full = os.open("/dev/full", os.O_WRONLY | os.O_NONBLOCK)
    if not writable:
        kept = signal.set_wakeup_fd(full, warn_on_full_buffer=False)

    async def scenario() -> None:
        loop.call_soon(os.kill, os.getpid(), SIGNAL)
        async with asyncio.timeout(PATIENCE):
            while not calls:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # so that a second call would be seen

    try:
        loop.run_until_complete(scenario())
    finally:
        if not writable:
            signal.set_wakeup_fd(kept)
        os.close(full)
    assert calls == ["called"]


def test_a_byte_that_cannot_be_written_is_a_line_of_the_log_without_a_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert "ERROR exception ignored: [Errno 28] No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("INFO goes on\n")
