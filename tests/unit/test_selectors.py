"""What a text stands for where jobs are named."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_client.protocol import filters
from queuectl_client.protocol.checks import BadParams
from queuectl_client.protocol.selectors import Criteria, Last, One, is_selector, number, parse


@pytest.mark.parametrize(
    "text, filtered",
    [
        ("label:user=ada", "label.user=ada"),
        ("label:user=a=b", "label.user='a=b'"),
        ("name:x*", "name~'x*'"),
        ("batch:b", "batch=b"),
        ("@failed", "state=failed"),
        ("@Failed", "state=failed"),
    ],
)
def test_a_selector_is_short_for_a_filter(text: str, filtered: str) -> None:
    assert parse(text) == Criteria(filters.parse(filtered), may_be_empty=text.startswith("@"))


def test_the_others() -> None:
    assert parse("all") == Criteria(None, may_be_empty=True)
    assert parse("3-9") == Criteria(None, 3, 9)
    assert isinstance(parse("last"), Last)
    for text in ("17", "job_7", "a-9", "-9", "3-", "1-2-3", "9" * 40, "1-" + "9" * 40, "x:y", "LAST", ""):
        selector = parse(text)
        assert isinstance(selector, One)
        assert selector.text == text


@given(st.one_of(st.text(max_size=20), st.from_regex(r"(@|label:|name:|batch:|\d+-)\w*", fullmatch=True)))
def test_any_text_is_one_of_these_or_refused(text: str) -> None:
    with suppress(BadParams):
        assert isinstance(parse(text), One | Last | Criteria)


def test_a_bad_one_names_the_parameter() -> None:
    for text in ("@hled", "label:k", "name:"):
        with pytest.raises(BadParams) as refused:
            parse(text, "depends_on")
        assert refused.value.key == refused.value.data["key"] == "depends_on"


def test_a_number_is_written_in_plain_digits() -> None:
    assert [number(text) for text in ("7", "007", "9" * 18)] == [7, 7, int("9" * 18)]
    assert [number(text) for text in ("", "+7", "7 ", "\u0663", "9" * 19, "1_0")] == [None] * 6


def test_what_is_a_selector_among_parents() -> None:
    for text in ("last", "all", "3-9", "label:k=v", "name:x*", "@dead", "@Dead", "@nonsense", "label:k", "batch:"):
        assert is_selector(text)
    for other in ("17", "job_7", "batch:b", "batch:3-9", "a-9", ""):
        assert not is_selector(other)
