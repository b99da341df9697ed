"""Which control group a process is in, from what the kernel writes of it."""

import pytest

from queuectld.workerwire import cgroup
from queuectld.workerwire.cgroup import path_from

PURE = "29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
OTHERS = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
HYBRID = OTHERS + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
SERVICE = "/user.slice/user-1000.slice/user@1000.service/app.slice/queuectld.service"
BELOW = f"29 22 0:26 {SERVICE} /my\\040groups rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "path"),
    [
        pytest.param(f"0::{SERVICE}\n", PURE, f"/sys/fs/cgroup{SERVICE}", id="version 2 alone"),
        pytest.param("9:cpu:/\n0::/init.scope\n", HYBRID, "/sys/fs/cgroup/unified/init.scope", id="beside version 1"),
        pytest.param("0::/\n", PURE, "/sys/fs/cgroup", id="the root"),
        pytest.param("0::/a:b c\n", PURE, "/sys/fs/cgroup/a:b c", id="a colon and a blank in its name"),
        pytest.param(f"0::{SERVICE}/x\n", BELOW, "/my groups/x", id="a part of the tree is mounted"),
        pytest.param(f"0::{SERVICE}\n", BELOW, "/my groups", id="the root of that part"),
        pytest.param(f"0::{SERVICE}2\n", BELOW, None, id="outside the part that is mounted"),
        pytest.param(f"0::{SERVICE}2\n", BELOW + PURE, f"/sys/fs/cgroup{SERVICE}2", id="in the second mount"),
        pytest.param("0::/../other\n", PURE, None, id="of another namespace"),
        pytest.param("0::/a\n", OTHERS, None, id="version 2 is not mounted"),
        pytest.param("9:cpu:/a\n", HYBRID, None, id="version 1 alone"),
        pytest.param("", "", None, id="nothing is told"),
    ],
)
def test_the_folder_of_a_control_group(cgroup: str, mountinfo: str, path: str | None) -> None:
    assert path_from(cgroup, mountinfo) == path


@pytest.mark.parametrize(
    "own, moved",
    [
        ("/sys/fs/cgroup/app/queuectl-worker-3-77", [("/sys/fs/cgroup/app", "cgroup.procs", b"0")]),
        ("/sys/fs/cgroup/app/queuectld.service", []),
        (None, []),
    ],
)
def test_who_was_started_by_a_job_leaves_the_group_of_its_worker_and_nobody_else_does(
    own: str | None, moved: list[tuple[str, str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, str, bytes]] = []
    monkeypatch.setattr(cgroup, "own", lambda: own)
    monkeypatch.setattr(cgroup, "_write", lambda *what: written.append(what))
    cgroup.leave_worker_group()
    assert written == moved
