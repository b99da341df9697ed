"""The dispatcher's inbox: outcomes, returned claims and wake-ups from the worker pool.

It decouples the two, so that neither imports the other.
"""

import asyncio

from queuectld.domain.outcome import Outcome


class Inbox:
    """Holds items until a turn takes them; a turn that fails puts them back."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.claims: list[tuple[int, int]] = []
        """Claims (seq, run) that no worker runs and that are to be stored as pending."""
        self._wake = asyncio.Event()

    def report(self, outcome: Outcome) -> None:
        """An execution ended."""
        self.outcomes.append(outcome)
        self._wake.set()

    def return_claim(self, seq: int, run: int) -> None:
        """Return a claim that no worker has started."""
        self.claims.append((seq, run))
        self._wake.set()

    def wake(self) -> None:
        """Request a turn: a worker became free, or a limit changed."""
        self._wake.set()

    async def woken(self) -> None:
        """Wait until a turn is requested."""
        await self._wake.wait()
        self._wake.clear()

    def take_outcomes(self) -> list[Outcome]:
        """Remove and return the outcomes; the caller stores them."""
        outcomes, self.outcomes = self.outcomes, []
        return outcomes

    def take_claims(self) -> list[tuple[int, int]]:
        """Remove and return the claims; the caller stores them as pending."""
        claims, self.claims = self.claims, []
        return claims
