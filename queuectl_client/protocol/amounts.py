"""Amounts of a named resource: whole numbers, or sizes with K, M, G or T (powers of 1024, as in Slurm).

The same syntax is used for the supply of a resource and for a job's needs.
"""

import re
from typing import Any, Final

MAX_AMOUNT: Final = 1 << 50
"""One pebibyte: more than any machine has, and far below the limit of an integer column."""
NAME_WORDS: Final = "1 to 32 of a-z, 0-9 and underscore, beginning with a letter"
AMOUNT_WORDS: Final = f"a whole number from 1 to {MAX_AMOUNT:,}, or a size such as 512M, 4G, 1T"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_AMOUNT = re.compile(r"([0-9]{1,16})([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_FACTOR: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_RESERVED: Final = frozenset({
    "array_index", "attempt", "home", "job_id", "no_autostart", "queue", "run", "slots", "socket", "worker",
})  # fmt: skip
"""Names whose variable QUEUECTL_<NAME> has another meaning, and `slots`, which is a key of its own."""


def is_resource_name(name: str) -> bool:
    """Return whether this is a valid name of a resource."""
    return _NAME.fullmatch(name) is not None and name not in _RESERVED


def amount(value: Any) -> int:
    """Return the amount of `2` or `'4G'` as a whole number. Raise ValueError if it is invalid or out of range."""
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
    """Return the text of an amount in the largest unit that divides it: `4G`, `3584M`, `1000`."""
    for unit in reversed(_FACTOR):
        if value and unit and not value % _FACTOR[unit]:
            return f"{value // _FACTOR[unit]}{unit}"
    return str(value)


def has_unit(text: str) -> bool:
    """Return whether an amount is written with a unit."""
    return not text.strip().isdecimal()
