"""`queuectl config`: every setting can be set, shown, listed and unset; what is wrong is told with what is allowed."""

import pytest

from queuectld.domain.settings import SETTINGS
from tests.support.daemon import Home
from tests.support.terminal import on_terminal

GIVEN = {
    "max_retries": ("0", "0"), "backoff_base": ("1.5", "1.5"), "backoff_max": ("2h", "7200"),
    "backoff_jitter": ("0.5", "0.5"), "timeout": ("10m", "600"), "stall_timeout": ("90", "90"),
    "kill_grace": ("500ms", "0.5"), "crash_limit": ("1", "1"), "shell": ("/bin/bash -ec", "/bin/bash -ec"),
    "path": ("/usr/bin:/bin", "/usr/bin:/bin"), "log_max_bytes": ("65536", "65536"), "slots": ("4", "4"),
    "resources": ("gpu=2, mem=16G", "gpu=2,mem=16G"), "keep_completed": ("7d", "604800"),
    "keep_cancelled": ("none", "none"), "keep_dead": ("30d", "2592000"), "split_output": ("yes", "true"),
}  # fmt: skip
"""For each setting what is typed, and what is shown of it."""


def test_every_setting_is_tried() -> None:
    assert GIVEN.keys() == SETTINGS.keys()


def test_every_setting_can_be_set_shown_listed_and_unset(home: Home) -> None:
    usual = {row["key"]: row["value"] for row in home.json("config", "list")}
    assert list(usual) == list(SETTINGS)
    for key, (typed, shown) in GIVEN.items():
        home.ok("config", "set", key.replace("_", "-"), typed)
        assert home.ok("config", "get", key) == f"{shown}\n"
    assert not any(row["default"] for row in home.json("config", "list"))
    listed = [line.split() for line in home.ok("config", "list").splitlines()]
    assert listed[0] == ["KEY", "VALUE", "FROM"]
    assert {row[0]: " ".join(row[1:-1]) for row in listed[1:]} == {key: shown for key, (_, shown) in GIVEN.items()}
    for key in GIVEN:
        home.ok("config", "unset", key)
    assert {row["key"]: row["value"] for row in home.json("config", "list")} == usual
    assert all(row["default"] for row in home.json("config", "list"))


@pytest.mark.parametrize(
    "words, said",
    [
        (["set", "resource", "gpu=2"], "did you mean resources?"),
        (["get", "keepDeath"], "did you mean keep_dead?"),
        (["unset", "tiemout"], "did you mean timeout?"),
        (["get", "zzzz"], "known: max_retries, "),
        (["set", "resources", "gpu=many"], "gpu=2,mem=16G"),
        (["set", "resources", "GPU=1"], "a-z"),
        (["set", "resources", "gpu"], "gpu=2,mem=16G"),
        (["set", "resources", "gpu=1,gpu=2"], "gpu=2,mem=16G"),
        (["set", "max_retries", "1001"], "0 to 1000"),
        (["set", "backoff_jitter", "-0.1"], "0 to 1"),
        (["set", "split_output", "maybe"], "true or false"),
        (["set", "shell", "bash"], "absolute path"),
        (["set", "slots", "0"], "from 1 to"),
        (["set", "timeout", "soon"], "1h30m"),
        (["set", "max_retries"], "VALUE"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(words: list[str], said: str, home: Home) -> None:
    done = home.cli("config", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert all(row["default"] for row in home.json("config", "list"))


def test_the_list_fits_a_terminal_of_80_columns(home: Home) -> None:
    home.ok("config", "set", "resources", ",".join(f"resource_number_{number}={number}" for number in range(1, 30)))
    lines = on_terminal(home, "config", "list", "--color", "never").decode().splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:]] == list(SETTINGS), "no key is cut"
    assert {line.split()[-1] for line in lines[1:]} == {"default", "set"}
