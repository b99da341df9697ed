"""Amounts of a named resource: whole numbers, or sizes with K, M, G or T (powers of 1024, as Slurm has them).

What there is of a resource and what a job needs of it are written alike, so both sides read them here.
"""

import re
from typing import Any, Final

MAX_AMOUNT: Final = 1 << 50
"""A pebibyte: more than one machine has of anything, far below what an integer column holds."""
NAME_WORDS: Final = "1 to 32 of a-z, 0-9 and underscore, beginning with a letter"
AMOUNT_WORDS: Final = f"a whole number from 1 to {MAX_AMOUNT:,}, or a size such as 512M, 4G, 1T"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_AMOUNT = re.compile(r"([0-9]{1,16})([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_FACTOR: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_RESERVED: Final = frozenset({
    "array_index", "attempt", "home", "job_id", "no_autostart", "queue", "run", "slots", "socket", "worker",
})  # fmt: skip
"""QUEUECTL_HOME and the like mean something else, and `slots` is a key of its own."""


def is_resource_name(name: str) -> bool:
    """Whether a resource may be called so."""
    return _NAME.fullmatch(name) is not None and name not in _RESERVED


def amount(value: Any) -> int:
    """The whole number that `2` or `'4G'` stands for. Raises ValueError for what is none, or is out of range."""
    number = value
    if isinstance(value, str):
        found = _AMOUNT.fullmatch(value.strip())
        if found is None:
            raise ValueError(value)
        number = int(found[1]) * _FACTOR[found[2].upper()]
    if type(number) is not int or not 1 <= number <= MAX_AMOUNT:
        raise ValueError(value)
    return number


def amount_text(value: int) -> str:
    """The amount as `amount` reads it, in the largest unit of which it is a whole number: `4G`, `3584M`, `1000`."""
    for unit in reversed(_FACTOR):
        if value and unit and not value % _FACTOR[unit]:
            return f"{value // _FACTOR[unit]}{unit}"
    return str(value)


def has_unit(text: str) -> bool:
    """Whether an amount was written as a size."""
    return not text.strip().isdecimal()
