"""What the workers' side has for the dispatcher: outcomes, claims that nobody runs, and that there is something to do.

It stands between the two, so that neither has to know the other.
"""

import asyncio

from queuectld.domain.outcome import Outcome


class Inbox:
    """Keeps what has come until a turn takes it; a turn that could not be stored puts it back."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.claims: list[tuple[int, int]] = []
        """Claims (seq, run) that nobody runs, and that are not stored as pending again yet."""
        self._wake = asyncio.Event()

    def report(self, outcome: Outcome) -> None:
        """An execution ended."""
        self.outcomes.append(outcome)
        self._wake.set()

    def return_claim(self, seq: int, run: int) -> None:
        """A worker was given this claim, and nobody has begun to run it."""
        self.claims.append((seq, run))
        self._wake.set()

    def wake(self) -> None:
        """Have a turn taken: a worker became free, or a limit changed."""
        self._wake.set()

    async def woken(self) -> None:
        """Return when a turn is to be taken."""
        await self._wake.wait()
        self._wake.clear()

    def take_outcomes(self) -> list[Outcome]:
        """The outcomes, which are the caller's to store from now on."""
        outcomes, self.outcomes = self.outcomes, []
        return outcomes

    def take_claims(self) -> list[tuple[int, int]]:
        """The claims, which are the caller's to store as pending from now on."""
        claims, self.claims = self.claims, []
        return claims
