"""The documents say what the code says: states, methods, codes, settings; their links lead somewhere."""

import re
from pathlib import Path

import pytest

from queuectl_client.protocol.attributes import KINDS
from queuectl_client.protocol.messages import REQUESTS
from queuectl_client.protocol.vocabulary import ErrorCode, EventKind, JobState, ReasonCode
from queuectld.domain.settings import SETTINGS
from queuectld.domain.states import ALLOWED
from tests.architecture.sources import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NOT_HISTORY = [path for path in DOCUMENTS if path.name != "CHANGELOG.md" and path.parent.name != "decisions"]
"""The changelog and the decisions name modules as they were at the time."""
MODULES = [
    str(path.relative_to(ROOT))
    for folder in ("queuectl_client", "queuectld", "tests")
    for path in ROOT.joinpath(folder).glob("**/*.py")
]
WORD = re.compile(r"`([^`]+)`")


def text(path: str) -> str:
    return (ROOT / path).read_text()


def rows(document: str) -> list[list[str]]:
    """The cells of every table row."""
    return [
        [cell.strip() for cell in line.strip().strip("|").replace("\\|", "/").split("|")]
        for line in document.splitlines()
        if line.startswith("|")
    ]


def words(cell: str) -> set[str]:
    return set(WORD.findall(cell))


def test_the_state_table_is_the_codes() -> None:
    told = {row[0].strip("`"): words(row[2]) for row in rows(text("docs/state-machine.md")) if len(row) == 3}
    for state in JobState:
        assert told[state] == {str(after) for after in ALLOWED[state]}, state


def test_every_method_is_told_and_no_other() -> None:
    methods = text("docs/protocol.md").partition("## Methods")[2].partition("## Events")[0]
    told = {method for row in rows(methods)[2:] for method in words(row[0])}
    assert told == set(REQUESTS)


def test_every_key_of_a_filter_is_told() -> None:
    told = words(text("docs/protocol.md").partition("The keys are")[2].partition("\n\n")[0])
    assert told - {"invalid_params", "data.position", "keys"} == {*KINDS, "label.NAME", "needs.RESOURCE"}


@pytest.mark.parametrize("kind", [ErrorCode, EventKind], ids=["codes", "events"])
def test_every_word_of_the_wire_is_told(kind: type[ErrorCode] | type[EventKind]) -> None:
    told = words(text("docs/protocol.md"))
    assert {str(word) for word in kind} - told == set()


def test_every_code_of_a_reason_is_told() -> None:
    told = words(text("docs/state-machine.md").partition("## Reasons")[2])
    assert {str(code) for code in ReasonCode} - told == set()


def test_every_setting_is_told_with_its_default() -> None:
    settings = text("docs/operations.md").partition("## Settings")[2]
    told = {row[0].strip("`"): row[1].strip("`") for row in rows(settings) if len(row) == 3}
    for name, setting in SETTINGS.items():
        assert name in told
        if name != "path":
            assert told[name] == ("none" if setting.default is None else str(setting.default).lower())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = document if not path else (document.parent / path)
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("document", NOT_HISTORY, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_named_in_backticks_exist(document: Path) -> None:
    """A path is given from the root or from any folder of the product or the tests: `jobspec.py`, `store/store.py`."""
    named = re.findall(r"`([\w./]+\.py)(?:::[^`]*)?`", document.read_text())
    missing = {name for name in named if not any(f"/{module}".endswith(f"/{name}") for module in MODULES)}
    assert missing == set()


def test_every_decision_is_listed() -> None:
    listed = set(re.findall(r"\]\((\d{4}-[^)]+)\)", text("docs/decisions/README.md")))
    assert listed == {path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md")}


@pytest.mark.parametrize("name", ["run", "test"])
def test_the_readme_has_each_command_as_one_line(name: str) -> None:
    """`.ci/run` takes them from here."""
    block = re.search(rf"<!-- command: {name} -->\n```sh\n(.+)\n```\n", text("README.md"))
    assert block is not None
    assert block[1].startswith("python3 -m venv .venv && ")


def test_text_fits_an_editor() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in DOCUMENTS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 120 and not line.startswith("|")
    ]
    assert long == []


def anchors(file: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
