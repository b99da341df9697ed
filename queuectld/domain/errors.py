"""The one exception with which the daemon refuses a request."""

from collections.abc import Mapping
from typing import Any

from queuectl_client.protocol.vocabulary import ErrorCode


class Refused(Exception):
    """A request that is not carried out; nothing of it was stored.

    `message` is a sentence for people that names the value and what is allowed.
    The server turns it into the wire's error in one place.
    """

    def __init__(self, code: ErrorCode, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = dict(data) if data else None
