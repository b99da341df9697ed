"""The settings in force: defaults, overlaid by what the store holds."""

from collections.abc import Sequence
from typing import NamedTuple

from queuectld.domain.settings import SETTINGS, Value, setting_name, setting_value
from queuectld.scheduler.clock import Clock
from queuectld.store.store import Store


class SettingValue(NamedTuple):
    """One setting as it stands. `is_default`: nobody has set it."""

    key: str
    value: Value
    is_default: bool


class ConfigService:
    """Reads and changes settings. A change holds for what is enqueued and started afterwards."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._values: dict[str, Value] = {}
        self._read()

    def value(self, name: str) -> Value:
        """The value in force of the setting `name`, spelled as in SETTINGS."""
        return self._values[name]

    def get(self, key: str) -> SettingValue:
        """One setting, by any spelling of its name. Refused (invalid_params) when there is none such."""
        name = setting_name(key)
        return SettingValue(name, self._values[name], name not in self._store.config())

    def list(self) -> Sequence[SettingValue]:
        """All settings, in the order of their table."""
        return [self.get(name) for name in SETTINGS]

    async def set(self, key: str, value: object) -> SettingValue:
        """Store a setting. Refused (invalid_params) for an unknown key or a value it does not take."""
        name = setting_name(key)
        await self._store.config_set(name, setting_value(name, value), now=self._clock.now())
        self._read()
        return self.get(name)

    async def unset(self, key: str) -> SettingValue:
        """Back to the default."""
        name = setting_name(key)
        await self._store.config_unset(name, now=self._clock.now())
        self._read()
        return self.get(name)

    def _read(self) -> None:
        stored = self._store.config()
        self._values = {name: stored.get(name, setting.default) for name, setting in SETTINGS.items()}
