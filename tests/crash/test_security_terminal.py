"""Nothing that a job is called, does or writes can act on the terminal of whoever looks at it."""

import re
import subprocess
import sys
from unicodedata import category

import pytest

from queuectl_client import Client
from queuectl_client.protocol import rpc
from tests.support.daemon import QUEUECTLD, Home
from tests.support.raw import answers, connected
from tests.support.terminal import Terminal, on_terminal

EVIL = (
    "\x1b]0;title\x07\x1b]8;;http://x\x1b\\\x1b[2J\x1b[H\x1b[?1049h\x1b[6n\x1b[5i\x1bP1$r\x1b\\\x1bc\x9b31m\x85\r"
    "\x08\x7f\x0e\u202eabc\u2028\u200b[bold red]x[/]:skull:\udcff"
)
"""Titles, links, clearing, a question to the terminal, the printer, a reset, C1, overprinting, bidi, markup."""
PLAIN = EVIL.encode("utf-8", "surrogatepass").decode("utf-8", "ignore")
"""As far as a name and a label may hold it: they are UTF-8."""
TABLES = [["list"], ["show", "job_1"], ["list", "--json"], ["show", "job_1", "--json"], ["events", "--since", "0"],
          ["worker", "list"], ["queue", "list"], ["wait", "job_1"], ["dlq", "list"], ["dlq", "show", "job_1"],
          ["cancel", "last"], ["logs", "job_1"], ["logs", "-f", "job_1"], ["daemon", "logs"], ["doctor"]]  # fmt: skip

ALLOWED = re.compile(rb"\x1b\[[0-9;]*m")
"""Colours alone."""


def harmless(shown: bytes, what: object, *, text: bool = False) -> None:
    """Fails where a terminal would do more than show text in colours. `text`: of a job, in whatever script it is."""
    rest = ALLOWED.sub(b"", shown).replace(b"\r\n", b"\n").decode("utf-8").replace("\t", "").replace("\n", "")
    acts = [letter for letter in rest if category(letter) == "Cc" or not (text or letter.isprintable())]
    assert acts == [], (what, shown)


@pytest.fixture
def full(home: Home) -> Home:
    """A home with a dead and a waiting job, both as evil as can be."""
    home.ok("worker", "start", "-d")
    with Client(autostart=False, environ=home.env) as asking:
        labels = {f"k{PLAIN}": PLAIN}
        evil = {"name": PLAIN, "labels": labels, "cwd": f"/{EVIL}"}
        asking.enqueue(f": {EVIL}; printf '{EVIL}'; exit 3", max_retries=0, **(evil | {"cwd": "/"}))
        asking.wait(1, timeout=30)
        asking.enqueue(["./" + EVIL, EVIL], max_retries=0, **evil)
        asking.wait(2, timeout=30)
        asking.enqueue("true", hold=True, **evil)
    return home


def test_no_verb_passes_anything_on_that_acts(full: Home) -> None:
    for words in TABLES:
        harmless(on_terminal(full, *words), words)
    for words in (["show", "job_2"], ["logs", "job_2"]):
        harmless(on_terminal(full, *words), words)
    shown = on_terminal(full, "list", columns=400)
    assert b"[bold red]" in shown, "markup is shown as it is"
    assert b":skull:" in shown
    assert b"\\x1b]0;title" in shown


WORDS = """
import sys
from queuectl_client.cli.main import main
from queuectl_client.cli.root import SECTIONS, root

evil, asked = sys.argv[1], []
for section in SECTIONS.values():
    for verb in section:
        noun = root.get_command(None, verb)
        names = [[verb]] if not hasattr(noun, "entries") else [[verb, inner] for inner in noun.entries]
        for words in names:
            asked += [[*words, evil], [*words, "--" + evil], [*words, "--limit=" + evil], [*words, evil, evil, evil]]
            asked += [[*words, "--state", evil], [*words, "--filter", evil], [*words, "--sort", evil], [verb, evil]]
for words in [[evil], ["--" + evil], ["--color", evil], ["--socket", "/" + evil, "list"], *asked]:
    if words[0] in ("run", "enqueue", "completion") or words[:2] == ["daemon", "logs"]:
        words = [words[0], "--queue", *words[1:]]
    try:
        main([*words, "--no-autostart"])
    except SystemExit:
        pass
print(len(asked))
"""
"""Every verb with an evil word in each place."""


def test_no_error_about_what_was_typed_acts(home: Home) -> None:
    """The terminal is that of whoever typed it, or of whoever has a script type it: `queuectl show "$name"`."""
    evil = "\x1b]0;PWN\x07\x1b[2J\x9b31m\x08\u202ex"
    done = subprocess.run(
        [sys.executable, "-c", WORDS, evil], env=home.env, capture_output=True, timeout=120, check=False
    )
    assert int(done.stdout.split()[-1]) > 200
    assert done.stderr.count(b"Error: ") > 200
    assert b"fault" not in done.stderr
    assert b"\\x1b]0;PWN" in done.stderr
    harmless(done.stderr, "errors")
    terminal = Terminal(home, ["list", evil])
    assert terminal.end() == 4
    harmless(terminal.shown, "list")


@pytest.mark.parametrize("words", [["EVIL"], ["--EVIL"], ["serve", "--socket", "/EVIL"]])
def test_no_error_of_the_daemons_command_acts(home: Home, words: list[str]) -> None:
    evil = "\x1b]0;PWN\x07\x1b[2J\x9b31m"
    typed = [word.replace("EVIL", evil * (30 if "serve" in words else 1)) for word in words]
    done = subprocess.run([QUEUECTLD, *typed], env=home.env, capture_output=True, timeout=30, check=False)
    assert done.returncode
    assert b"PWN" in done.stderr
    harmless(done.stderr, words)


def test_the_daemons_log_is_shown_harmlessly_whatever_got_into_it(home: Home) -> None:
    """A library, or the interpreter as it dies, writes to its stderr as it likes."""
    home.ok("status")
    with (home.logs / "queuectld.log").open("a") as log:
        log.write("\x1b]0;PWN\x07\x1b[2Jgone\n")
    harmless(shown := on_terminal(home, "daemon", "logs"), "logs")
    assert b"gone" in shown
    following = Terminal(home, ["daemon", "logs", "-f"])
    following.wait_for(b"gone")
    following.press(b"\x03")
    assert following.end() == 130
    harmless(following.shown.replace(b"^C", b""), "logs -f")


def test_output_passes_colours_and_raw_passes_all(full: Home) -> None:
    with Client(autostart=False, environ=full.env) as asking:
        job = asking.enqueue(r"printf '\033[31mred\033[0m \033]0;title\007\033[2J\033[10;10Hmoved\n'").wait(30)
    harmless(shown := on_terminal(full, "logs", job.id), "logs")
    assert b"\x1b[31mred\x1b[0m " in shown
    assert b"title" not in shown
    assert b"\x1b]0;title\x07\x1b[2J" in on_terminal(full, "logs", "--raw", job.id)
    assert b"\x1b[31m" not in on_terminal(full, "logs", "--color", "never", job.id)


@pytest.mark.parametrize("command", [
    "head -c 300000 /dev/urandom", "head -c 300000 /dev/zero", r"printf '%300000s' | tr ' ' '\r'",
    r"printf '%300000s' | tr ' ' '\033'", r"printf '\033]0;'; head -c 300000 /dev/zero | tr '\0' x",
], ids=["random", "zeros", "returns", "escapes", "a title without end"])  # fmt: skip
def test_any_bytes_are_shown_harmlessly_and_kept_as_they_are(home: Home, command: str) -> None:
    home.ok("worker", "start", "-d")
    home.ok("enqueue", f"({command}) | tee {home.path}/written")
    home.ok("wait")
    shown = on_terminal(home, "logs", "job_1")
    harmless(shown, command, text=True)
    with Client(autostart=False, environ=home.env) as asking:
        assert asking.output("job_1") == (home.path / "written").read_bytes()


def test_errors_and_hints_are_harmless(full: Home) -> None:
    for words in (["show", PLAIN], ["enqueue", "--id", PLAIN, "true"], ["config", "set", PLAIN, PLAIN],
                  ["queue", "pause", PLAIN], [PLAIN], ["enqueue", f'{{"command": "true", "{PLAIN[-20:]}": 1}}'],
                  ["enqueue", "-f", f"/{PLAIN}"], ["--socket", f"/{PLAIN}", "--no-autostart", "status"]):  # fmt: skip
        done = full.cli(*[word.replace("\0", "") for word in words])
        assert done.returncode in (2, 3, 4, 5), (words, done)
        harmless(done.stderr.encode("utf-8", "surrogateescape"), words)


def test_the_daemons_log_is_harmless_and_tells_no_command(full: Home) -> None:
    with connected(full.socket) as end:
        end.sendall(rpc.request(1, f"no{PLAIN}", {}) + rpc.request(2, "enqueue", {"command": "x", PLAIN: 1}))
        for answer in answers(end, 2):
            assert answer.error
    harmless(full.daemon_log().encode(), "the log")
    assert "title" not in full.daemon_log()


def test_a_command_is_one_word_to_its_shell(home: Home) -> None:
    home.ok("worker", "start", "-d")
    with Client(autostart=False, environ=home.env) as asking:
        for command, output in {
            "printf '%s' \"$0\"": b"/bin/sh",
            "-n; echo $?": b"127\n",
            "+e; echo $?": b"127\n",
            "--; echo $?": b"127\n",
            "echo 'a' \"b $(echo c)\" `echo d`": b"a b c d\n",
            "echo one\necho two": b"one\ntwo\n",
            "'": None,
        }.items():
            job = asking.enqueue(command, max_retries=0).wait(30)
            said = asking.output(job.id)
            assert output is None or said.splitlines()[-1:] == output.splitlines()[-1:], (command, said)
            assert b"requires an argument" not in said
            assert b"llegal option" not in said
        args = ["printf", "<%s>", "$HOME", "a b", "`x`", "'\"", ""]
        job = asking.enqueue(args).wait(30)
        assert asking.output(job.id) == b"<$HOME><a b><`x`><'\"><>"
