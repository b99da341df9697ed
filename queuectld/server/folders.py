"""Checks that no other user can remove or replace the contents of a folder, by the rules of sshd's StrictModes
(sshd_config(5)).

The folder and its parents must belong to root or to this user, and must not be writable by others unless sticky (/tmp).
As in Debian's sshd, a group whose only member is this user does not count as others.
"""

import os
import stat
from pathlib import Path
from typing import Final

_OVERFLOW: Final = Path("/proc/sys/kernel/overflowuid")
_ALL_USERS: Final = "4294967295"
"""The length of the one line of uid_map in the first user namespace (user_namespaces(7))."""


def weakness(folder: Path) -> str | None:
    """Describe who could change the contents of the folder and how to fix that; None if nobody. Raises OSError."""
    real = Path(os.path.realpath(folder))
    return _weakness_of(real) or next(filter(None, map(_weakness_above, real.parents)), None)


def _weakness_of(folder: Path) -> str | None:
    found = os.stat(folder)
    is_ours = found.st_uid == os.geteuid()
    if found.st_mode & stat.S_ISVTX:
        if is_ours or found.st_uid == 0:
            return None
        return f"the folder {folder} belongs to user {found.st_uid}, who could remove its files"
    if not is_ours:
        return f"the folder {folder} belongs to user {found.st_uid}; a socket there could be replaced"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write in the folder {folder}; close it with: chmod go-w {folder}"
    return None


def _weakness_above(folder: Path) -> str | None:
    found = os.stat(folder)
    if found.st_uid not in (0, os.geteuid()) and not _is_nobody_here(found.st_uid):
        return f"the folder {folder} belongs to user {found.st_uid}, who could replace its contents"
    if found.st_mode & stat.S_ISVTX:
        return None
    others = stat.S_IWOTH if _is_own_group(found.st_gid) else stat.S_IWOTH | stat.S_IWGRP
    if found.st_mode & others:
        return f"others may write in {folder} and replace its contents; close it with: chmod go-w {folder}"
    return None


def _is_own_group(gid: int) -> bool:
    """Whether this is the user's private group, with no other member."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_gid == gid and set(group.gr_mem) <= {user.pw_name}


def _is_nobody_here(uid: int) -> bool:
    """Whether the uid is the overflow uid of this user namespace, which stands for unmapped users (containers)."""
    try:
        mapped = Path("/proc/self/uid_map").read_text().split()
        return uid == int(_OVERFLOW.read_text()) and mapped[2] != _ALL_USERS
    except (OSError, ValueError, IndexError):
        return False
