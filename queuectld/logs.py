"""The daemon's log: one line per entry on stderr, or in queuectld.log once the daemon is detached.

It never contains commands, environments or output of jobs. Control characters are escaped, so that external text cannot
forge a line or move the cursor of a terminal.
"""

import logging
import os
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

from queuectl_client.plainfile import open_plain
from queuectld.server.socketfile import PRIVATE_FILE, open_private_folder

log = logging.getLogger(__name__)

ROTATE_BYTES: Final = 8 * 1024 * 1024
"""A log longer than this is set aside as queuectld.log.1 when a daemon starts."""

ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x0A}
"""C0 and C1 control characters, except newlines, which the formatter handles."""


class LineFormatter(logging.Formatter):
    """Formats entries as `2026-11-24T03:08:02.123Z WARNING words`; tracebacks are indented below their entry.

    Errors of the operating system have no traceback: the line contains the error and its location.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Format an entry without control characters."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry = f"{at}.{int(record.msecs):03d}Z {record.levelname} {record.getMessage()}"
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OSError):
            entry += f": {error}{_location(error.__traceback__)}"
        elif record.exc_info:
            entry += "\n" + self.formatException(record.exc_info)
        return escaped(entry).replace("\n", "\n    ")


def _location(trace: TracebackType | None) -> str:
    """Return the location where it was raised."""
    frames = traceback.extract_tb(trace)
    return f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""


def escaped(text: str) -> str:
    """Replace control characters except newlines with `\\xNN`, and lone surrogates with `\\udcNN`."""
    return text.translate(ESCAPES).encode("utf-8", "backslashreplace").decode("utf-8")


def to_stderr(level: str) -> None:
    """Log entries of `level` and above to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Without this, a closed reader of the log causes tracebacks on stderr.
    logging.raiseExceptions = False
    sys.unraisablehook = _log_unraisable


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Log an exception that Python cannot raise, such as a failed write to the wake-up descriptor of signals."""
    error = unraisable.exc_value or unraisable.exc_type()
    log.error("%s", unraisable.err_msg or "exception ignored", exc_info=error)


def redirect_to(path: Path) -> None:
    """Redirect stdout and stderr to the end of `path`, mode 0600, after rotating a long log. Raises OSError."""
    os.close(open_private_folder(path.parent))
    if path.exists() and path.stat().st_size > ROTATE_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    descriptor = open_plain(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
