"""Verbs on the settings kept in the store."""

from collections.abc import Mapping
from typing import Any, Final

from queuectl_client.protocol import messages as wire
from queuectld.scheduler.service import Service
from queuectld.server.route import Caller, Route
from queuectld.server.views import setting_view


async def get(service: Service, _caller: Caller, request: wire.ConfigGet) -> Any:
    """One setting; without a key all of them."""
    if request.key is None:
        return {"config": [setting_view(setting) for setting in service.config.list()]}
    return setting_view(service.config.get(request.key))


async def list_settings(service: Service, _caller: Caller, _request: wire.ConfigList) -> Any:
    """All settings."""
    return {"config": [setting_view(setting) for setting in service.config.list()]}


async def set_value(service: Service, _caller: Caller, request: wire.ConfigSet) -> Any:
    """The setting as it is now."""
    return setting_view(await service.config.set(request.key, request.value))


async def unset(service: Service, _caller: Caller, request: wire.ConfigUnset) -> Any:
    """The setting at its default."""
    return setting_view(await service.config.unset(request.key))


ROUTES: Final[Mapping[str, Route]] = {
    "config.get": Route(get),
    "config.list": Route(list_settings),
    "config.set": Route(set_value),
    "config.unset": Route(unset),
}
