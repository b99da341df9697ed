"""The exception for requests that the daemon refuses."""

from collections.abc import Mapping
from typing import Any

from queuectl_client.protocol.vocabulary import ErrorCode


class Refused(Exception):
    """A refused request; nothing of it was stored.

    `message` is a sentence that names the value and what is allowed. The server converts it to an error on the wire.
    """

    def __init__(self, code: ErrorCode, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = dict(data) if data else None
