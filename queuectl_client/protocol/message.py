"""Build requests from the parameters on the wire.

A request is a frozen dataclass whose fields are declared with `param`, which attaches the check of the field. See
`messages` for the requests.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Self, TypeVar

from queuectl_client.protocol import checks
from queuectl_client.protocol.checks import BadParams, Check
from queuectl_client.protocol.spelling import snake_case

T = TypeVar("T")


_REQUIRED: Any = MISSING


def param(check: Check[Any], default: T = _REQUIRED) -> T:
    """Declare a field of a request. Without a default the parameter is required; null counts as not given."""
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True, slots=True)
class Request:
    """The parameters of one call, checked."""

    SPELLINGS: ClassVar[Mapping[str, str]] = {}
    """Aliases of parameters, such as `id` for `ids`."""

    @classmethod
    def from_map(cls, params: Mapping[str, Any]) -> Self:
        """Return the checked request. Raise BadParams that names the parameter, its value and what is allowed."""
        known = {item.name: item.metadata["check"] for item in fields(cls)}
        values: dict[str, Any] = {}
        for given, value in params.items():
            name = cls._name_of(given, known)
            if value is not None:
                values[name] = known[name](given, value)
        for item in fields(cls):
            if item.default is MISSING and item.name not in values:
                raise BadParams(f"{item.name} is missing", item.name)
        request = cls(**values)
        request.check_together()
        return request

    def check_together(self) -> None:
        """Raise BadParams for an invalid combination of parameters."""

    @classmethod
    def _name_of(cls, given: object, known: Mapping[str, Any]) -> str:
        if isinstance(given, str):
            for name in (given, cls.SPELLINGS.get(given, given), snake_case(given)):
                if name in known:
                    return name
        raise checks.unknown("parameter", given, known)
