"""Compact sets of job numbers: about one bit each."""

from collections.abc import Iterator
from typing import Final

_BITS: Final = 1024
"""Numbers in one piece. A million consecutive ones take 0.3 MB; an isolated one takes a whole piece."""
PIECE_BYTES: Final = 300
"""Approximate memory of a piece."""


class SeqSet:
    """A set of numbers that iterates in order."""

    __slots__ = ("_count", "_pieces")

    def __init__(self) -> None:
        self._pieces: dict[int, bytearray] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, seq: int) -> bool:
        number, bit = divmod(seq, _BITS)
        piece = self._pieces.get(number)
        return piece is not None and bool(piece[bit >> 3] & (1 << (bit & 7)))

    @property
    def bytes(self) -> int:
        """Approximate memory use."""
        return PIECE_BYTES * len(self._pieces)

    def add(self, seq: int) -> bool:
        """Add a number. Return whether it is new."""
        number, bit = divmod(seq, _BITS)
        piece = self._pieces.get(number)
        if piece is None:
            piece = self._pieces[number] = bytearray(_BITS // 8)
        mask = 1 << (bit & 7)
        if piece[bit >> 3] & mask:
            return False
        piece[bit >> 3] |= mask
        self._count += 1
        return True

    def discard(self, seq: int) -> bool:
        """Remove a number. Return whether it was there."""
        if seq not in self:
            return False
        number, bit = divmod(seq, _BITS)
        self._pieces[number][bit >> 3] ^= 1 << (bit & 7)
        self._count -= 1
        return True

    def after(self, seq: int) -> Iterator[int]:
        """Yield the numbers above `seq`, in order. The set must not change meanwhile."""
        for number in sorted(each for each in self._pieces if each >= seq // _BITS):
            first = number * _BITS
            for place, byte in enumerate(self._pieces[number]):
                if byte:
                    base = first + place * 8
                    yield from (base + bit for bit in range(8) if byte >> bit & 1 and base + bit > seq)
