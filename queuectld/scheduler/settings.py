"""The effective settings: the stored ones over the defaults."""

from collections.abc import Sequence
from typing import NamedTuple

from queuectld.domain.settings import SETTINGS, Value, setting_name, setting_value
from queuectld.scheduler.clock import Clock
from queuectld.store.store import Store


class SettingValue(NamedTuple):
    """The effective value of a setting. `is_default`: it is not set in the store."""

    key: str
    value: Value
    is_default: bool


class ConfigService:
    """Reads and changes settings. A change affects jobs that are enqueued or started afterwards."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._values: dict[str, Value] = {}
        self._read()

    def value(self, name: str) -> Value:
        """Return the effective value of a setting, spelled as in SETTINGS."""
        return self._values[name]

    def get(self, key: str) -> SettingValue:
        """Return a setting by any spelling of its name. Raises Refused (invalid_params) for an unknown one."""
        name = setting_name(key)
        return SettingValue(name, self._values[name], name not in self._store.config())

    def list(self) -> Sequence[SettingValue]:
        """Return all settings, in the order of SETTINGS."""
        return [self.get(name) for name in SETTINGS]

    async def set(self, key: str, value: object) -> SettingValue:
        """Store a setting. Raises Refused (invalid_params) for an unknown key or an invalid value."""
        name = setting_name(key)
        await self._store.config_set(name, setting_value(name, value), now=self._clock.now())
        self._read()
        return self.get(name)

    async def unset(self, key: str) -> SettingValue:
        """Reset a setting to its default."""
        name = setting_name(key)
        await self._store.config_unset(name, now=self._clock.now())
        self._read()
        return self.get(name)

    def _read(self) -> None:
        stored = self._store.config()
        self._values = {name: stored.get(name, setting.default) for name, setting in SETTINGS.items()}
