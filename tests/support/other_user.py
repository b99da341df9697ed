"""Another user: a real one if the tests run as root, else simulated.

All checks of owners compare with `os.geteuid`, so it is replaced when the tests run as a plain user.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

OTHER_UID: Final = 65534 if os.geteuid() != 65534 else 65533
MAY_CHANGE_USER: Final = os.geteuid() == 0


@contextmanager
def as_other_user() -> Iterator[int]:
    """Act as another user within the block; yields its uid. Only the effective uid changes, so it can be restored."""
    if not MAY_CHANGE_USER:
        real = os.geteuid
        os.geteuid = lambda: OTHER_UID
        try:
            yield OTHER_UID
        finally:
            os.geteuid = real
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(OTHER_UID)
    os.seteuid(OTHER_UID)
    try:
        yield OTHER_UID
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
