"""Another user, where the tests may be one: as root a real one, else this user takes himself for somebody else.

Everything that looks at owners compares with `os.geteuid`, so for a plain user it is that which lies.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

STRANGER: Final = 65534 if os.geteuid() != 65534 else 65533
MAY_CHANGE_USER: Final = os.geteuid() == 0


@contextmanager
def as_stranger() -> Iterator[int]:
    """Within, this process acts as another user; the uid of that user. Only the effective one changes, so it ends."""
    if not MAY_CHANGE_USER:
        real = os.geteuid
        os.geteuid = lambda: STRANGER
        try:
            yield STRANGER
        finally:
            os.geteuid = real
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(STRANGER)
    os.seteuid(STRANGER)
    try:
        yield STRANGER
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
