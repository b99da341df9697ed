"""From a method's name to its handler, and from whatever a handler raises to the wire's error.

This is the one place where the daemon's errors become those of the wire.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from queuectl_client.protocol.checks import BadParams
from queuectl_client.protocol.spelling import hint
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.server.route import Route
from queuectld.server.verbs import batches, config, daemon, dlq, events, jobs, queues, workers

log = logging.getLogger(__name__)

ROUTES: Final[Mapping[str, Route]] = {
    **jobs.ROUTES,
    **batches.ROUTES,
    **dlq.ROUTES,
    **config.ROUTES,
    **queues.ROUTES,
    **workers.ROUTES,
    **daemon.ROUTES,
    **events.ROUTES,
}

SHOWN: Final = 64
"""Characters of a method's name that an error repeats."""


class WireError(NamedTuple):
    """An error as it goes over the wire."""

    code: ErrorCode
    message: str
    data: Mapping[str, Any] | None = None


def find_route(method: str) -> Route:
    """Where calls of `method` go. Refused (unknown_method) names the nearest method there is."""
    if (route := ROUTES.get(method)) is not None:
        return route
    raise Refused(ErrorCode.UNKNOWN_METHOD, f"unknown method {method[:SHOWN]!r}{hint(method, ROUTES)}")


def wire_error(error: Exception) -> WireError:
    """What a client is told of an error. One that nobody foresaw is logged, and the client is told no more of it."""
    match error:
        case Refused():
            return WireError(error.code, error.message, error.data)
        case BadParams():
            return WireError(ErrorCode.INVALID_PARAMS, error.message, error.data)
        case _:
            log.error("a request failed", exc_info=error)
            return WireError(ErrorCode.INTERNAL, "an error in the daemon; its log tells more (queuectl daemon logs)")
