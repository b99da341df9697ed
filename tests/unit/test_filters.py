"""The filter language: what is read of a filter, and what is said of one that cannot be read."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_client.protocol import filters
from queuectl_client.protocol.attributes import KINDS, ValueKind
from queuectl_client.protocol.checks import BadParams
from queuectl_client.protocol.filters import All, Comparison, Either, Key, Not
from queuectl_client.protocol.filtervalues import Ago


def compared(source: str) -> tuple[str, str, tuple[Any, ...]]:
    """Key, operator and values of a filter that is one comparison."""
    read = filters.parse(source)
    assert isinstance(read, Comparison)
    return read.key.name, read.operator, read.values


@pytest.mark.parametrize(
    "source, expected",
    [
        ("state=failed", ("state", "=", ("failed",))),
        ("State == FAILED", ("state", "=", ("failed",))),
        ("queue!=default", ("queue", "!=", ("default",))),
        ("name~'x*'", ("name", "~", ("x*",))),
        ("name !~ x*", ("name", "!~", ("x*",))),
        ("name='it\\'s \\\\ \"so\"'", ("name", "=", ('it\'s \\ "so"',))),
        ("name=and", ("name", "=", ("and",))),
        ("name=none", ("name", "=", (None,))),
        ("name='none'", ("name", "=", ("none",))),
        ("attempts>2", ("attempts", ">", (2,))),
        ("backoff_base<=1.5", ("backoff_base", "<=", (1.5,))),
        ("exit_code in (1, 2)", ("exit_code", "in", (1, 2))),
        ("state not in (dead)", ("state", "not in", ("dead",))),
        ("signal=SIGKILL", ("signal", "=", (9,))),
        ("signal=term", ("signal", "=", (15,))),
        ("reason_code=timeout", ("reason_code", "=", ("timeout",))),
        ("reasonCode in (exit, Cannot-Start)", ("reason_code", "in", ("exit", "cannot-start"))),
        ("reason_code!=none", ("reason_code", "!=", (None,))),
        ("worker=w3", ("worker", "=", (3,))),
        ("duration>10s", ("duration", ">", (10,))),
        ("age<1h30m", ("age", "<", (5400,))),
        ("timeout=90", ("timeout", "=", (90,))),
        ("created_at>2h", ("created_at", ">", (Ago(7200),))),
        ("createdAt<now", ("created_at", "<", (Ago(0),))),
        ("run_at<+10m", ("run_at", "<", (Ago(-600),))),
        ("created_at>'2026-11-01T00:00:00Z'", ("created_at", ">", (1793491200000,))),
        ("paused", ("paused", "=", (True,))),
        ("paused=no", ("paused", "=", (False,))),
        ("needs.mem>=4G", ("needs", ">=", (4 << 30,))),
    ],
)
def test_a_comparison_is_read_by_the_kind_of_its_key(source: str, expected: tuple[str, str, tuple[Any, ...]]) -> None:
    assert compared(source) == expected


def test_labels_of_any_name_can_be_asked_for() -> None:
    assert filters.parse("label.user=ada") == Comparison(Key("label", ValueKind.TEXT, "user"), "=", ("ada",))
    assert filters.parse("label.a.b=1") == Comparison(Key("label", ValueKind.TEXT, "a.b"), "=", ("1",))
    assert filters.parse("label.'two words'=x") == Comparison(Key("label", ValueKind.TEXT, "two words"), "=", ("x",))


def test_not_binds_tighter_than_and_and_and_than_or() -> None:
    paused, once, ready = (filters.parse(flag) for flag in ("paused", "once", "ready"))
    assert filters.parse("not paused and once or ready") == Either((All((Not(paused), once)), ready))
    assert filters.parse("NOT (paused AND (once OR ready))") == Not(All((paused, Either((once, ready)))))
    assert filters.parse("paused or once and ready") == Either((paused, All((once, ready))))


@pytest.mark.parametrize(
    "source, position, words",
    [
        ("state=failed adn attempts>2", 13, ("adn", "and", "the end")),
        ("state=failed and", 16, ("at its end", "a key")),
        ("(paused", 7, ("at its end",)),
        ("paused)", 6, (")",)),
        ("state=", 6, ("a value",)),
        ("state", 5, ("operator", "=")),
        ("'x", 0, ("'x",)),
        ("stat=failed", 0, ("'stat'", "did you mean state")),
        ("zzzzz=failed", 0, ("zzzzz", "expected one of", "label.NAME")),
        ("once or state=faild", 14, ("faild", "did you mean failed", "pending")),
        ("reason_code=timout", 12, ("timout", "did you mean timeout", "crash-limit")),
        ("reason_code~time*", 11, ("cannot be compared with ~",)),
        ("attempts>two", 9, ("two", "a number")),
        ("attempts~3", 8, ("attempts", "~", "<=")),
        ("name>3", 4, ("name", "!~")),
        ("created_at=2026-01-01", 10, ("created_at", "<=")),
        ("created_at>soon", 11, ("soon", "ISO 8601")),
        ("duration>long", 9, ("long", "10m")),
        ("signal=NOPE", 7, ("NOPE", "SIGKILL")),
        ("paused=perhaps", 7, ("perhaps", "true or false")),
        ("attempts>none", 8, ("none", "=none")),
        ("exit_code in (1, none)", 17, ("none",)),
        ("label=3", 0, ("label.NAME",)),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(source: str, position: int, words: tuple[str, ...]) -> None:
    with pytest.raises(BadParams) as refused:
        filters.parse(source)
    assert refused.value.data == {"key": "filter", "position": position}
    for word in words:
        assert word in refused.value.message, refused.value.message
    assert f"(character {position + 1})" in refused.value.message


@pytest.mark.parametrize(
    "value, words",
    [
        ("", "invalid filter: ''; expected"),
        (None, "invalid filter: null; expected"),
        (b"\xff", "1 bytes"),
        ("name=" + "x" * 2000, "at most 2,000"),
        ("not " * 21 + "paused", "20 deep"),
        ("not(" * 21 + "paused" + ")" * 21, "20 deep"),
        ("(once and (ready or " * 11 + "paused" + "))" * 11, "20 deep"),
        (" or ".join(["seq=1"] * 101), "200 keys"),
        ("name~'*" + "?" * 256 + "'", "256 characters"),
        ("seq in (" + ",".join("1" * 200) + ")", "200 keys"),
    ],
)
def test_a_filter_is_bounded_before_anything_is_built_of_it(value: Any, words: str) -> None:
    with pytest.raises(BadParams, match=words):
        filters.text("filter", value)


def test_the_most_that_is_allowed_is_read() -> None:
    assert filters.text("filter", " or ".join(["seq=1"] * 100))
    assert filters.text("filter", "not " * 20 + "paused")
    assert filters.text("filter", "(" * 900 + "paused" + ")" * 900)
    assert filters.text("filter", "name='" + "(" * 1900 + "'")


@given(st.text(alphabet="()<>=!~,'\"\\ andortinsequp\n1é%_-.", max_size=40))
def test_any_text_is_a_filter_or_told_why_not(source: str) -> None:
    try:
        filters.text("filter", source)
    except BadParams as refused:
        assert refused.key == "filter"  # noqa: PT017  (whether it is refused is for the text to say)


def test_every_kind_of_key_has_its_operators() -> None:
    assert set(filters.OPERATORS) == set(ValueKind) == set(KINDS.values())


def test_the_parser_is_loaded_with_the_first_filter() -> None:
    program = (
        "import sys\n"
        "from queuectl_client.protocol import filters, messages\n"
        "assert 'lark' not in sys.modules\n"
        "filters.parse('paused')\n"
        "assert 'lark' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
