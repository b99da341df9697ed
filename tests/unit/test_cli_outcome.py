"""What the end of a job makes of the exit code of a command that waited for it: by its code, never by its words."""

from typing import Any

import pytest

from queuectl_client.cli.output.outcome import exit_code


@pytest.mark.parametrize(
    ("job", "code"),
    [
        ({"state": "completed", "exit_code": 0}, 0),
        ({"state": "cancelled", "reason_code": "dependency"}, 130),
        ({"state": "dead", "reason_code": "timeout", "signal": 15}, 124),
        ({"state": "dead", "reason_code": "stalled", "signal": 9}, 124),
        ({"state": "dead", "reason_code": "stalled", "reason": "no sign of life", "exit_code": 3}, 124),
        ({"state": "dead", "reason_code": "signal", "reason": "timeout", "signal": 9}, 137),
        ({"state": "dead", "reason_code": "exit", "reason": "stalled", "exit_code": 3}, 3),
        ({"state": "dead", "reason_code": "cannot-start"}, 1),
        ({"state": "processing"}, 1),
    ],
)
def test_the_exit_code_follows_the_code(job: dict[str, Any], code: int) -> None:
    assert exit_code(job) == code
