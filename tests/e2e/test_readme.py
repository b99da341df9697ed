"""The README's tour, typed as it stands there: every command is run, and its output is what is printed below it."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.daemon import Home

README = Path(__file__).parents[2] / "README.md"

# What differs from run to run is compared by its form.
VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "TIME"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|min|h)\b"), "DURATION"),
    (re.compile(r"\b\d+(\.\d+)? (KiB|MiB)\b"), "SIZE"),
    (re.compile(r"^Folder: .*$", re.MULTILINE), "FOLDER"),
    # A row of `worker list`: which worker did how many jobs is chance, and so is who ran which attempt.
    (re.compile(r"^w\d+ .*$", re.MULTILINE), "WORKER"),
    # What a wait says after a second depends on how much is done by then.
    (re.compile(r"^Waiting for .*\n?", re.MULTILINE), ""),
    (re.compile(r"\bw\d+\b"), "WORKER"),
    (re.compile(r" {2,}"), "  "),
    (re.compile(r" +$", re.MULTILINE), ""),
)


def steps() -> list[tuple[str, str]]:
    """The tour's commands in their order, each with the output that is shown."""
    tour = README.read_text().partition("## A tour")[2].partition("\n## ")[0]
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", tour, re.DOTALL | re.MULTILINE):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = step.partition("\n")
            found.append((command, output))
    return found


def form(text: str) -> str:
    for pattern, word in VARIES:
        text = pattern.sub(word, text)
    return text.strip()


def test_the_tour_is_as_it_is_told(home: Home, tmp_path: Path) -> None:
    tour = steps()
    assert len(tour) > 10
    for command, output in tour:
        done = subprocess.run(
            ["bash", "-c", command],
            env=home.env | {"LC_ALL": "C.UTF-8", "TZ": "UTC", "COLUMNS": "80"},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert form(done.stdout) == form(output), f"$ {command}\n{done.stdout}"


def test_the_python_example_prints_what_it_says(home: Home) -> None:
    example = re.search(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert example is not None
    home.ok("worker", "start", "-d")
    done = subprocess.run(
        [sys.executable, "-c", example[1]], env=home.env, capture_output=True, text=True, timeout=60, check=True
    )
    assert [done.stdout.strip()] == re.findall("# (.*)", example[1])
