"""Option type for states of jobs: in any case, several separated by commas."""

from collections.abc import Sequence
from typing import Any, Final

import click

from queuectl_client.protocol.spelling import MEANT_STATES, hint
from queuectl_client.protocol.vocabulary import JobState

STATES: Final = tuple(str(state) for state in JobState)


class State(click.ParamType[tuple[str, ...]]):
    """One or more states. The error for an unknown one suggests the nearest."""

    name = "state"

    def __init__(self, states: Sequence[str] = STATES) -> None:
        self._states = states

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the metavar for the help."""
        del param, ctx
        return f"[{'|'.join(self._states)}],…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the states as sent to the daemon."""
        if isinstance(value, tuple):
            return value
        return tuple(self._one(part.strip(), param, ctx) for part in value.split(",") if part.strip() or not value)

    def _one(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        state = text.lower().removeprefix("@")
        if state not in self._states:
            near = hint(state, self._states, meanings=MEANT_STATES)
            self.fail(f"{text!r} is not one of {', '.join(map(repr, self._states))}{near}", param, ctx)
        return state
