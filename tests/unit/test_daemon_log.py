"""The lines of the daemon's own log."""

import logging
import sys
from pathlib import Path

from queuectld.logs import LineFormatter


def line_of(error: BaseException) -> str:
    try:
        raise error
    except BaseException:
        entry = logging.LogRecord("queuectld", logging.ERROR, __file__, 1, "it %s", ("failed",), sys.exc_info())
    return LineFormatter().format(entry)


def test_what_the_system_refused_is_said_in_one_line_with_its_place() -> None:
    line = line_of(OSError(12, "Cannot allocate memory"))
    assert line.count("\n") == 0
    assert " ERROR it failed: [Errno 12] Cannot allocate memory (" in line
    assert f"({Path(__file__).name}:" in line


def test_a_fault_of_ours_has_its_traceback() -> None:
    lines = line_of(ValueError("odd")).splitlines()
    assert lines[0].endswith(" ERROR it failed")
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[-1] == "    ValueError: odd"
