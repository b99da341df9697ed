"""The child that takes over the pipes of what jobs left behind keeps nothing else of its worker open."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, select, sys
from queuectld.worker.leftover_pipes import LeftoverPipes
from queuectld.worker.loop import Loop

before = os.pipe()
loop, children = Loop(), []
pipes = LeftoverPipes(loop, forked=children.append, log=print)
reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
after = os.pipe()
pipes.take(reading)
pipes.hand_over()
ours = before if sys.argv[1] == "lower" else after
os.close(ours[1])
assert select.select([ours[0]], [], [], 20)[0], "the child holds its other end"
assert os.read(ours[0], 1) == b""
os.write(writing, b"x" * 65536)
os.write(writing, b"x") if select.select([], [writing], [], 20)[1] else sys.exit("nobody reads the pipe")
os.close(writing)
assert os.waitpid(children[0], 0)[1] == 0
"""


@pytest.mark.parametrize("which", ["lower", "higher"])
def test_it_holds_no_descriptor_of_its_worker_below_or_above_them(which: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, which], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
