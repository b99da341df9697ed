"""Reasons: why a job or an attempt did not succeed, as a code for programs and a text that begins with it."""

from typing import NamedTuple

from queuectl_client.protocol.vocabulary import ReasonCode


class Reason(NamedTuple):
    """A reason. Code and text are stored together; the schema rejects one without the other."""

    code: ReasonCode
    text: str

    @classmethod
    def of(cls, code: ReasonCode, words: str = "") -> "Reason":
        """Build a reason whose text is the code, followed by `words` if given."""
        return cls(code, f"{code}: {words}" if words else str(code))


CANCELLED = Reason.of(ReasonCode.CANCELLED)
