"""The thin side of queuectl: the Python SDK and the command line.

`from queuectl_client import Client, AsyncClient`. Names are imported when they are first used, so that the command
line pays for none that it does not need. Nothing here imports the daemon.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not from `typing`: a Ctrl-C while it loads would find nobody to end quietly
if TYPE_CHECKING:
    from typing import Any, Final

    from queuectl_client.aio import AsyncClient, AsyncJob
    from queuectl_client.client import Client
    from queuectl_client.errors import QueuectlError
    from queuectl_client.job import Job
    from queuectl_client.version import __version__

__all__ = ["AsyncClient", "AsyncJob", "Client", "Job", "QueuectlError", "__version__"]

_HOMES: Final = {
    "AsyncClient": "aio",
    "AsyncJob": "aio",
    "Client": "client",
    "Job": "job",
    "QueuectlError": "errors",
    "__version__": "version",
}


def __getattr__(name: str) -> Any:
    """Import the name's module (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
