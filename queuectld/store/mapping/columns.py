"""SQL expressions for the keys by which jobs can be filtered, sorted and shown.

Every key of `attributes.KINDS` has an expression here, over the one row of `job`. Times are Unix time in milliseconds,
durations milliseconds. Each `?` takes the time of the query, as Unix time in milliseconds.
"""

from collections.abc import Mapping
from typing import Final

from queuectl_client.protocol.attributes import ATTRIBUTES, KINDS

_NAMED_OTHERWISE: Final[Mapping[str, str]] = {
    "queue": "(SELECT q.name FROM queue AS q WHERE q.id = queue)",
    "batch": "(SELECT b.name FROM bundle AS b WHERE b.id = bundle)",
    # An argv, and a command that is not UTF-8, are converted by an SQL function (`functions`).
    "command": "iif(typeof(command) = 'text', command, command_text(command, argv))",
    "cwd": "iif(typeof(cwd) = 'text', cwd, command_text(cwd, NULL))",
    # A job ends when it is cancelled; when it waited for its next run then, the newest one had ended long before. The
    # inner SELECT gives the row's own keys other names, for `attempt` has columns of theirs.
    "duration": "iif(state = 'cancelled' AND ending IS NULL AND started_ms IS NOT NULL, "
    "(SELECT a.duration_ms FROM (SELECT seq AS job_seq, run AS job_run) JOIN attempt AS a "
    "ON a.seq = job_seq AND a.run = job_run), iif(state = 'processing', ?, finished_ms) - started_ms)",
    "age": "? - created_ms",
    "hold": "state = 'held'",
    "ready": "lane IS NOT NULL",
}
COLUMNS: Final[Mapping[str, str]] = {
    key: f"({_NAMED_OTHERWISE[key]})" if key in _NAMED_OTHERWISE else f'"{ATTRIBUTES[key].field}"' for key in KINDS
}
