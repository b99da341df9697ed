"""The table of verbs, help, global options and what a mistyped word gets. Nothing here needs a daemon."""

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from queuectl_client.cli.framework import VerbCommand, VerbGroup
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.main import main
from queuectl_client.cli.meanings import DESTROYING, JOB_OPTIONS, OPTIONS, VERBS, meant
from queuectl_client.cli.root import root


def every_verb() -> Iterator[tuple[str, click.Command]]:
    """Every verb by the words it is called with."""
    ctx = click.Context(root)
    for name in root.list_commands(ctx):
        command = root.get_command(ctx, name)
        assert command is not None
        yield name, command
        if isinstance(command, VerbGroup):
            yield from ((f"{name} {inner}", verb) for inner, verb in command.commands.items())


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """The exit code and both outputs of `queuectl` with these words, in this process."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    out, err = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, out, err


@pytest.mark.parametrize(
    "words, command", list(every_verb()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_verb_has_help_with_an_example(
    words: str, command: click.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(command, VerbCommand | VerbGroup)
    code, out, err = run(capsys, *words.split(), "-h")
    assert (code, err) == (0, "")
    assert f"queuectl {words.split()[0]}" in command.example
    assert "Example" in out
    assert "--json" in out


@pytest.mark.parametrize(
    "alias, verb",
    [
        ("add", "enqueue"), ("submit", "enqueue"), ("ls", "list"), ("ps", "list"), ("inspect", "show"), ("log", "logs"),
        ("restart", "retry"), ("dead", "dlq"),
    ],
)  # fmt: skip
def test_aliases(alias: str, verb: str) -> None:
    ctx = click.Context(root)
    assert root.get_command(ctx, alias) is root.get_command(ctx, verb)


@pytest.mark.parametrize(
    "typed, near",
    [
        ("enqeue", "enqueue"), ("staus", "status"), ("woker", "worker"), ("lst", "list"), ("inspct", "inspect"),
        ("restrt", "restart"), ("completon", "completion"),
    ],
)  # fmt: skip
def test_a_mistyped_verb_is_told_its_nearest_neighbour(
    typed: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, typed)
    assert (code, out) == (2, "")
    assert f"No such command '{typed}'. Did you mean '{near}'?\n" in err


@pytest.mark.parametrize(
    "typed, meant",
    [
        ("clean", "'prune'"), ("delete", "'queuectl rm ID'"), ("del", "'queuectl rm ID'"),
        ("Remove", "'queuectl rm ID'"), ("group", "'queuectl queue list'"), ("parallel", "'queuectl worker scale N'"),
        ("start", "'queuectl worker start', 'queuectl daemon start' or 'queuectl release ID'"),
        ("stop", "'queuectl worker stop', 'queuectl daemon stop' or 'queuectl cancel ID'"),
        ("top", "'queuectl list --watch'"), ("info", "'queuectl show ID'"), ("cat", "'queuectl logs ID'"),
        ("tail", "'queuectl follow ID'"), ("stash", "'queuectl hold ID'"), ("-K", "'queuectl daemon stop'"),
        ("-C", "'queuectl prune'"), ("dlq requeue", "'queuectl dlq retry ID'"), ("dlq delete", "purge"),
        ("worker ls", "'list'"), ("queue create", "'queuectl queue set NAME"), ("cancle", "'cancel'"),
        ("clen", "'prune'"), ("enqueue --depends x true", "'--after'"), ("enqueue --prio 1 true", "'--priority'"),
    ],
)  # fmt: skip
def test_a_verb_of_another_program_is_told_what_means_it_here(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *typed.split())
    assert (code, out) == (2, "")
    assert "Did you mean " in err
    assert meant in err


def test_every_form_that_is_suggested_can_be_typed() -> None:
    ctx = click.Context(root)
    for noun, words in VERBS.items():
        for word, forms in words.items():
            command: click.Command | None = root.get_command(ctx, noun) if noun else root
            assert isinstance(command, VerbGroup)
            assert word not in command.all_names(ctx), f"{noun} {word} is a verb"
            for form in forms:
                _typed(f"{noun} {form}")
    for forms in OPTIONS.values():
        for form in forms:
            _typed(form)
    for option in JOB_OPTIONS.values():
        _typed(f"enqueue {option}")


def _typed(form: str) -> None:
    """Fail where a form names a verb or an option that is not there."""
    ctx, command = click.Context(root), root
    words = form.split()
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(ctx, words.pop(0))
        assert found is not None, form
        command = found
    options = {name for option in command.get_params(ctx) for name in option.opts} | {"--help"}
    assert {word for word in words if word.startswith("-")} <= options, form


def test_no_harmless_word_is_answered_with_a_verb_that_ends_or_removes() -> None:
    names = root.all_names(click.Context(root))
    for word in ("prime", "prug", "kin", "stove", "cell", "r", "step", "unseen", "candle", "purse"):
        assert not any(DESTROYING & set(form.split()) for form in meant("", word, names)), word
    assert meant("", "cancle", names) == ("cancel",)
    assert meant("dlq", "purg", ["list", "show", "retry", "purge"]) == ("purge",)


def test_a_verb_like_none_is_told_where_all_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert "queuectl --help" in run(capsys, "zzzz")[2]
    assert "queuectl dlq --help" in run(capsys, "dlq", "zzzz")[2]


def test_a_mistyped_verb_of_a_noun_is_told_its_neighbour(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "dlq", "lst")
    assert code == 2
    assert "list" in err


def test_an_option_of_the_command_itself_goes_behind_two_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "enqueue", "ls", "-l")
    assert code == 2
    assert "queuectl enqueue -- COMMAND -l" in err


@pytest.mark.parametrize("words", [["--version"], ["status", "--version"], ["dlq", "list", "--version"]])
def test_the_version_is_told_everywhere(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert out.startswith("queuectl ")


def parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Invocation:
    """The global options as a verb sees them."""
    seen: list[Invocation] = []
    monkeypatch.setattr(Invocation, "call", lambda self, *_, **__: seen.append(self) or {"jobs": [], "next": None})
    with pytest.raises(SystemExit):
        main(words)
    return seen[0]


@pytest.mark.parametrize(
    "words",
    [
        ["--json", "--socket", "/s", "--no-autostart", "--color", "never", "-q", "dlq", "list"],
        ["dlq", "--json", "--socket", "/s", "--no-autostart", "--color", "never", "-q", "list"],
        ["dlq", "list", "--json", "--socket", "/s", "--no-autostart", "--color", "never", "-q"],
        ["-q", "--json", "dlq", "--socket", "/s", "list", "--no-autostart", "--color", "never"],
    ],
)
def test_global_options_stand_before_the_verb_or_after_it(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = parsed(words, monkeypatch)
    assert (seen.json, seen.quiet, seen.autostart, seen.socket, seen.color) == (True, True, False, "/s", "never")


def test_without_a_verb_it_is_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"counts": {"pending": 4, "held": 2}, "workers": 3, "paused": []}
    monkeypatch.setattr(Invocation, "call", lambda self, method: answer if method == "status" else None)
    code, out, _ = run(capsys)
    assert code == 0
    assert out.splitlines() == [
        "Pending: 4", "Processing: 0", "Completed: 0", "Failed: 0", "Dead (DLQ): 0", "Active Workers: 3", "Held: 2",
    ]  # fmt: skip


def test_a_fault_of_our_own_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "from queuectl_client.cli.invocation import Invocation\n"
        "from queuectl_client.cli.main import main\n"
        "Invocation.call = lambda *_: 1 / 0\n"
        "main(['status'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "ZeroDivisionError" in done.stderr


def test_status_imports_nothing_that_it_does_not_need() -> None:
    program = (
        "import sys\n"
        "from queuectl_client.cli.invocation import Invocation\n"
        "from queuectl_client.cli.main import main\n"
        "Invocation.call = lambda *_: {'counts': {}, 'workers': 0, 'paused': []}\n"
        "try: main(['status'])\n"
        "except SystemExit: print(*sorted(sys.modules))\n"
    )
    environ = {**os.environ, "QUEUECTL_HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, env=environ)
    loaded = set(done.stdout.split())
    unwanted = {
        "asyncio",
        "peewee",
        "rich",
        "subprocess",
        "dataclasses",
        "queuectld",
        "queuectl_client.protocol.messages",
    }
    ours = {name for name in loaded if name.startswith("queuectl_client.cli.")}
    assert not loaded & unwanted
    names = ("main", "invocation", "root", "framework", "commands", "commands.status")
    assert ours == {f"queuectl_client.cli.{name}" for name in names}


INTERRUPTED = """
import os, signal, sys

class Interrupt:
    # As somebody who presses Ctrl-C while this module is looked for.
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from queuectl_client.cli.main import main
sys.argv[1:] = ["status"]
main()
"""


@pytest.mark.parametrize(
    "module", ["click", "queuectl_client.cli.root", "queuectl_client.errors", "queuectl_client.connection"]
)
def test_a_ctrl_c_while_it_loads_ends_it_without_a_word(module: str) -> None:
    program = INTERRUPTED.replace("sys.argv[1]", repr(module))
    environ = {**os.environ, "QUEUECTL_HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, env=environ)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_nothing_that_takes_long_is_loaded_before_a_ctrl_c_is_handled() -> None:
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import queuectl_client.cli.main\n"
        "print(*sorted(set(sys.modules) - before - set(sys.builtin_module_names)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["__future__", "queuectl_client", "queuectl_client.cli", "queuectl_client.cli.main"]


def test_a_short_option_means_one_thing_everywhere() -> None:
    """But for those that every program has twice: -f (a file, to follow), -n (a name, lines), -d, -w of old."""
    meanings: dict[str, set[str]] = {}
    for _, command in every_verb():
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                long = next((name for name in option.opts if name.startswith("--")), "")
                for short in option.opts:
                    if not short.startswith("--"):
                        meanings.setdefault(short, set()).add(long)
    assert {short: names for short, names in meanings.items() if len(names) > 1} == {
        "-f": {"--file", "--follow"}, "-n": {"--name", "--lines", "--no-newline"},
    }  # fmt: skip
