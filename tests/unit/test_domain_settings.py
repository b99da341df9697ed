"""Settings: every spelling of a key, every range, and a sentence for what is not allowed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.domain.errors import Refused
from queuectld.domain.settings import SETTINGS, setting_name, setting_value

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers()), st.just({})
)


@pytest.mark.parametrize("spelled", ["maxRetries", "max-retries", "max_retries", "MAX_RETRIES"])
def test_all_spellings_are_one_key(spelled: str) -> None:
    assert setting_name(spelled) == "max_retries"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_its_own_name_and_takes_its_default(name: str) -> None:
    assert setting_name(name) == name
    setting = SETTINGS[name]
    assert setting_value(name, setting.default) == setting.default
    assert setting.allowed
    assert setting.about


def test_how_long_jobs_are_kept_takes_units() -> None:
    assert setting_value("keep_completed", "7d") == 604_800
    assert setting_value("keep_dead", "90s") == setting_value("keep_dead", 90) == 90
    assert setting_value("keep_cancelled", "1.5h") == 5400
    assert setting_value("timeout", "1h30m") == setting_value("stall_timeout", "90m") == 5400
    assert (setting_value("kill_grace", "500ms"), setting_value("backoff_max", "2d")) == (0.5, 172_800)
    for wrong in ("7x", "d", "0s", "-1d", "9999w", ""):
        with pytest.raises(Refused, match="1h30m or 7d"):
            setting_value("keep_completed", wrong)
    for bare in ("7", " 30 ", "0.2", "1e3"):
        with pytest.raises(Refused, match=f"did you mean {bare.strip()}d"):
            setting_value("keep_completed", bare)


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("maxRetry", "max_retries"),
        ("backof_base", "backoff_base"),
        ("time-out", "timeout"),
        ("kill_grase", "kill_grace"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(given: str, near: str) -> None:
    with pytest.raises(Refused) as refused:
        setting_name(given)
    assert refused.value.code is ErrorCode.INVALID_PARAMS
    assert given in refused.value.message
    assert near in refused.value.message


def test_a_key_near_to_nothing_lists_them_all() -> None:
    with pytest.raises(Refused, match="max_retries, backoff_base"):
        setting_name("zzzzzz")


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("max_retries", "5", 5),
        ("max_retries", 0, 0),
        ("max_retries", "1000", 1_000),
        ("backoff_base", "2", 2),
        ("backoff_base", "1.5", 1.5),
        ("backoff_jitter", "1", 1),
        ("timeout", "none", None),
        ("timeout", None, None),
        ("timeout", "0.5", 0.5),
        ("split_output", "yes", True),
        ("split_output", "Off", False),
        ("shell", "/bin/bash -o pipefail -c", "/bin/bash -o pipefail -c"),
    ],
)
def test_values(name: str, given: Any, value: Any) -> None:
    read = setting_value(name, given)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("max_retries", "-1"),
        ("max_retries", 1_001),
        ("max_retries", 2.5),
        ("max_retries", True),
        ("max_retries", "many"),
        ("max_retries", "9" * 5_000),
        ("max_retries", None),
        ("backoff_base", "0.5"),
        ("backoff_base", "1001"),
        ("backoff_base", "nan"),
        ("backoff_base", "inf"),
        ("backoff_base", 10**400),
        ("backoff_base", False),
        ("backoff_max", -1),
        ("backoff_jitter", 1.01),
        ("timeout", 0),
        ("timeout", -3),
        ("timeout", "1e30"),
        ("split_output", "maybe"),
        ("shell", "sh -c"),
        ("shell", ""),
        ("shell", "/bin/sh '-c"),
        ("path", "/bin\0/sbin"),
        ("log_max_bytes", 100),
    ],
)
def test_bad_values_are_told_with_what_is_allowed(name: str, given: Any) -> None:
    with pytest.raises(Refused) as refused:
        setting_value(name, given)
    assert refused.value.code is ErrorCode.INVALID_PARAMS
    assert refused.value.message.startswith(f"invalid {name}: {given!r}; expected ")
    assert SETTINGS[name].allowed in refused.value.message
    assert refused.value.data == {"key": name}


@given(st.sampled_from(sorted(SETTINGS)), ANYTHING)
def test_whatever_is_given_is_read_or_refused(name: str, given: Any) -> None:
    try:
        value = setting_value(name, given)
    except Refused:
        return
    assert setting_value(name, value) == value, "a value read once reads the same again"
