"""Why a job or an attempt ended other than well: a code for programs, and words for people that begin with it."""

from typing import NamedTuple

from queuectl_client.protocol.vocabulary import ReasonCode


class Reason(NamedTuple):
    """A reason. Code and words are made together and stored together; the schema refuses one without the other."""

    code: ReasonCode
    text: str

    @classmethod
    def of(cls, code: ReasonCode, words: str = "") -> "Reason":
        """The reason of a code that has words of its own, or none."""
        return cls(code, f"{code}: {words}" if words else str(code))


CANCELLED = Reason.of(ReasonCode.CANCELLED)
