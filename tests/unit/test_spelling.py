"""The spellings of a word, and the known one that a mistyped one is near to."""

import pytest

from queuectl_client.protocol.spelling import MEANT_KEYS, MEANT_STATES, camel_case, hint, nearest, snake_case


@pytest.mark.parametrize("word", ["max_retries", "maxRetries", "max-retries", "MAX_RETRIES", "MaxRetries"])
def test_each_spelling_of_a_key_is_one_key(word: str) -> None:
    assert snake_case(word) == "max_retries"


def test_camel_case_is_what_json_has() -> None:
    assert camel_case("on_conflict") == "onConflict"
    assert snake_case(camel_case("no_retry_on")) == "no_retry_on"


def test_the_nearest_word_is_named_and_of_none_what_there_is() -> None:
    known = ("timeout", "queue")
    assert nearest("timout", known) == "timeout"
    assert nearest("x" * 10_000, known) is None
    assert hint("timout", known) == "; did you mean timeout?"
    assert hint("zzz", known, otherwise="there are two") == "; there are two"
    assert hint("zzz", known) == ""


def test_a_word_of_another_program_is_answered_by_its_meaning() -> None:
    assert hint("cmd", ["cwd", "command"], meanings=MEANT_KEYS) == "; did you mean command?"
    assert hint("retries", ["retries_left", "max_retries"], meanings=MEANT_KEYS) == "; did you mean max_retries?"
    assert hint("runing", ["pending", "processing"], meanings=MEANT_STATES) == "; did you mean processing?"
    assert hint("cmd", ["cwd"], meanings=MEANT_KEYS) == "; did you mean cwd?"
