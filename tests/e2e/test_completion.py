"""Completion: what `queuectl` answers, and what bash, zsh and fish make of it."""

import os
import signal

import pytest

from queuectl_client.protocol.vocabulary import JobState
from tests.support.daemon import Home
from tests.support.programs import needs
from tests.support.shells import Shell


def offered(home: Home, line: str, shell: str = "zsh", **env: str) -> list[str]:
    """The lines that a shell gets for what is typed so far."""
    done = home.cli(env={"_QUEUECTL_COMPLETE": shell, "COMP_TEXT": line, "_QUEUECTL_PATIENCE": "30", **env})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def words(home: Home, line: str) -> list[str]:
    """The words alone, without what they are."""
    return [word.partition("\t")[0] for word in offered(home, line) if word != ":open"]


@pytest.fixture
def stocked(home: Home) -> Home:
    """alpha is held, beta waits, gamma is dead."""
    home.start_daemon()
    home.ok("config", "set", "resources", "gpu=2,mem=16G")
    home.ok("enqueue", "--id", "alpha", "--hold", "--label", "user=ada", "--queue", "nightly", "--", "echo", "a b")
    home.ok("enqueue", '{"id": "beta", "command": "sleep 600", "batch": "pack", "name": "long"}')
    assert home.cli("run", "--id", "gamma", "exit 3").returncode == 3
    home.ok("enqueue", "--id", "delta", "--hold", "--label", "two words=x", "true")
    return home


def test_jobs_with_which_a_verb_has_to_do_are_offered_with_their_commands(stocked: Home) -> None:
    assert offered(stocked, "queuectl show a")[0] == "alpha\theld  echo 'a b'"
    assert words(stocked, "queuectl show ") == ["delta", "gamma", "beta", "alpha", "last"]
    assert words(stocked, "queuectl cancel ") == ["delta", "beta", "alpha", "last", "all"]
    assert words(stocked, "queuectl release ")[:2] == ["delta", "alpha"]
    assert words(stocked, "queuectl release alpha ")[:1] == ["delta"]
    assert words(stocked, "queuectl dlq retry g") == ["gamma"]
    assert words(stocked, "queuectl dead show ") == ["gamma", "last"]
    assert words(stocked, "queuectl enqueue --after be") == ["beta"]
    assert words(stocked, "queuectl enqueue --after-failed batch:") == ["batch:pack"]
    assert words(stocked, "queuectl move alpha --before b") == ["beta"]
    assert words(stocked, "queuectl show 'x") == []


def test_selectors_are_offered(stocked: Home) -> None:
    assert words(stocked, "queuectl cancel @") == [f"@{state}" for state in JobState]
    assert words(stocked, "queuectl cancel @d") == ["@dead"]
    assert words(stocked, "queuectl cancel l") == ["last", "label:"]
    assert words(stocked, "queuectl cancel label:") == ["label:two words=", "label:user="]
    assert words(stocked, "queuectl cancel label:user=") == ["label:user=ada"]
    assert words(stocked, "queuectl cancel name:") == ["name:long"]
    assert words(stocked, "queuectl cancel batch:p") == ["batch:pack"]


def test_names_and_keys_are_offered(stocked: Home) -> None:
    assert words(stocked, "queuectl list --queue ") == ["default", "nightly"]
    assert words(stocked, "queuectl list --queue=n") == ["--queue=nightly"]
    assert words(stocked, "queuectl --json list --label user=") == ["user=ada"]
    assert words(stocked, "queuectl list --state f") == ["failed"]
    assert words(stocked, "queuectl list --name ") == ["long"]
    assert words(stocked, "queuectl enqueue --name ") == []
    assert words(stocked, "queuectl list --filter exi") == ["exit_code="]
    assert words(stocked, "queuectl list --filter state!=f") == ["state!=failed"]
    assert words(stocked, "queuectl list --filter queue=n") == ["queue=nightly"]
    assert words(stocked, "queuectl list --filter reason_code=cr") == ["reason_code=crash-limit", "reason_code=crashed"]
    assert words(stocked, "queuectl dlq list --reason st") == ["stalled"]
    assert words(stocked, "queuectl list --batch ") == ["pack"]
    assert words(stocked, "queuectl list --sort cr") == ["created_at", "crashes"]
    assert words(stocked, "queuectl list --columns id,labels,cre") == ["id,labels,created_at"]
    assert words(stocked, "queuectl queue pause n") == ["nightly"]
    assert words(stocked, "queuectl enqueue --needs ") == ["gpu=", "mem="]
    assert words(stocked, "queuectl config set max_") == ["max_retries"]
    assert "max_retries\t3" in offered(stocked, "queuectl config get ")
    assert words(stocked, "queuectl edit alpha prio") == ["priority="]
    assert words(stocked, "queuectl edit alpha uniq") == [], "what the daemon would refuse"
    assert words(stocked, "queuectl kill -s K") == ["KILL"]
    assert offered(stocked, "queuectl enqueue --cwd ") == [":folder"]
    assert offered(stocked, "queuectl run -- make -") == [":file"]


def test_verbs_and_options_are_offered_with_what_they_do(home: Home) -> None:
    assert offered(home, "queuectl stat") == ["status\tShow the number of jobs in each state and of workers."]
    assert words(home, "queuectl re") == ["resume", "release", "retry"]
    assert words(home, "queuectl rest") == ["restart"], "another name, when no first name begins so"
    assert words(home, "queuectl dlq re") == ["retry"]
    assert words(home, "queuectl list --fil") == ["--filter"]
    assert words(home, "queuectl --js") == ["--json"]
    assert words(home, "queuectl nonsense ") == []
    assert words(home, "queuectl completion ") == ["bash", "zsh", "fish"]


def test_without_a_daemon_nothing_is_said_and_none_is_started(home: Home) -> None:
    assert offered(home, "queuectl show ") == []
    assert offered(home, "queuectl list --queue ") == []
    assert offered(home, "queuectl show ", QUEUECTL_JOB_ID="job_1", _QUEUECTL_PATIENCE="0.3") == []
    assert not home.lock.exists()


def test_a_daemon_that_hangs_does_not_hang_the_shell(home: Home) -> None:
    daemon = home.start_daemon()
    home.ok("enqueue", "true")
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        # A call would wait for its answer for longer than this.
        done = home.cli(env={"_QUEUECTL_COMPLETE": "zsh", "COMP_TEXT": "queuectl show "}, timeout=9)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


def test_bash_gets_the_part_that_it_replaces(stocked: Home) -> None:
    """bash takes = : and @ for the ends of words."""
    assert offered(stocked, "queuectl cancel @dea", "bash", COMP_CUR="dea") == ["dead"]
    assert offered(stocked, "queuectl cancel label:us", "bash", COMP_CUR="us") == [":open", "user="]
    assert offered(stocked, "queuectl cancel label:user=", "bash", COMP_CUR="") == ["ada"]
    assert offered(stocked, "queuectl list --queue=n", "bash", COMP_CUR="n") == ["nightly"]
    assert offered(stocked, "queuectl cancel label:t", "bash", COMP_CUR="t") == [":open", "two\\ words="]


@pytest.mark.parametrize("name", ["bash", *(pytest.param(name, marks=needs(name)) for name in ("zsh", "fish"))])
def test_a_real_shell_completes(stocked: Home, name: str) -> None:
    shell = Shell(stocked, name)
    try:
        shell.completed("queuectl canc", "cancel")
        shell.completed("queuectl show al", "alpha")
        shell.completed("queuectl cancel @dea", "@dead")
        shell.completed("queuectl cancel label:us", "label:user=")
        shell.completed("queuectl cancel label:user=a", "label:user=ada")
        shell.completed("queuectl list --queue=ni", "--queue=nightly")
        shell.completed("queuectl list --columns id,fini", "id,finished_at")
        shell.completed("queuectl config set max_", "max_retries")
        shell.completed("queuectl release ", "alpha", "delta")
        shell.completed("true | queuectl dlq retry g", "gamma")
        shell.completed("queuectl enqueue --cwd sta", "state/")
        if name != "bash":  # which shows words alone
            shell.completed("queuectl show ", "sleep 600")
    finally:
        shell.close()
