"""`doctor` in a home that this user may not read: words and an exit code, whatever it cannot look at."""

import json
from contextlib import nullcontext

import pytest

from queuectld import offline
from tests.support.daemon import Home
from tests.support.other_user import MAY_CHANGE_USER, as_other_user


@pytest.mark.parametrize("what", ["home", "folder above it", "store", "state"])
def test_a_home_that_may_not_be_read_is_named(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    home.ok("enqueue", "--hold", "true")
    home.ok("daemon", "stop")
    above = home.path / "above"
    monkeypatch.setenv("QUEUECTL_HOME", str(above / "home" if what == "folder above it" else home.path))
    closed = {"home": home.path, "folder above it": above, "store": home.store, "state": home.state}[what]
    if what == "folder above it":
        (above / "home").mkdir(parents=True)
    elif MAY_CHANGE_USER and what != "home":
        home.path.chmod(0o755)
    assert offline.run("doctor", None, socket=None, force=False) == 0  # loads what it needs
    capsys.readouterr()
    mode = closed.stat().st_mode & 0o777
    closed.chmod(0)
    try:
        with as_other_user() if MAY_CHANGE_USER else nullcontext():
            code = offline.run("doctor", None, socket=None, force=False)
    finally:
        closed.chmod(mode)
    said, errors = capsys.readouterr()
    problems = [finding for finding in json.loads(said) if finding["level"] == "problem"]
    assert (code, errors) == (1, "")
    assert any(str(closed) in finding["said"] for finding in problems)
    assert all(finding["way_out"] for finding in problems)
