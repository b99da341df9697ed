"""Finds the route of a method, and converts exceptions to wire errors."""

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
"""Characters of a method name that an error repeats."""


class WireError(NamedTuple):
    """An error as sent to a client."""

    code: ErrorCode
    message: str
    data: Mapping[str, Any] | None = None


def find_route(method: str) -> Route:
    """Return the route of a method. Raises Refused (unknown_method), which suggests the nearest name."""
    if (route := ROUTES.get(method)) is not None:
        return route
    raise Refused(ErrorCode.UNKNOWN_METHOD, f"unknown method {method[:SHOWN]!r}{hint(method, ROUTES)}")


def wire_error(error: Exception) -> WireError:
    """Convert an exception. An unexpected one is logged, and the client gets no details."""
    match error:
        case Refused():
            return WireError(error.code, error.message, error.data)
        case BadParams():
            return WireError(ErrorCode.INVALID_PARAMS, error.message, error.data)
        case _:
            log.error("a request failed", exc_info=error)
            return WireError(ErrorCode.INTERNAL, "internal error in the daemon; see its log (queuectl daemon logs)")
