"""One command for many jobs: which numbers, what is filled in where, and what cannot be filled in safely."""

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_client.cli.jobinput.templates import MOST_JOBS, Template, read_array
from queuectl_client.errors import InvalidParams


@pytest.mark.parametrize(
    "text, numbers, at_once",
    [
        ("1-3", [1, 2, 3], None),
        ("7", [7], None),
        ("1,3,7-9", [1, 3, 7, 8, 9], None),
        ("0-90:30", [0, 30, 60, 90], None),
        ("1-9:2%3", [1, 3, 5, 7, 9], 3),
        ("3-4, 1-3", [3, 4, 1, 2], None),
        ("5-5%1", [5], 1),
    ],
)
def test_numbers(text: str, numbers: list[int], at_once: int | None) -> None:
    array = read_array(text)
    assert (list(array.numbers), array.at_once) == (numbers, at_once)


def test_a_long_range_is_not_spelled_out() -> None:
    assert isinstance(read_array(f"1-{MOST_JOBS}").numbers, range)


@pytest.mark.parametrize(
    "text", ["", "a", "1-", "-1", "9-1", "1-9:0", "1,,2", "1-3%", "1-3%0", "1-3%x", "1-1000001", "1-2000000000", "²"]
)
def test_what_is_no_array_is_named(text: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        read_array(text)
    assert repr(text) in caught.value.message


@pytest.mark.parametrize("text", ["1-99999999999", "1-2000000000", "9" * 5000, "5-9:1000000001"])
def test_a_number_that_is_too_high_is_told_what_is_allowed(text: str) -> None:
    with pytest.raises(InvalidParams, match="expected numbers up to 1,000,000,000"):
        read_array(text)


def test_more_at_once_than_an_array_has_jobs_at_most_is_refused() -> None:
    with pytest.raises(InvalidParams, match="1 to 1,000,000"):
        read_array("1-3%" + "9" * 5000)


def test_places_are_filled_or_the_item_comes_last() -> None:
    assert Template("work {} > {}.out", of_lines=False).filled("7") == "work 7 > 7.out"
    assert Template("work", of_lines=True).filled("a b") == "work 'a b'"
    assert Template("work", of_lines=False).filled("7") == "work"
    assert Template(["work"], of_lines=False).filled("7") == ["work"]
    assert Template("mv {} {}.old", of_lines=True).filled("a b") == "mv 'a b' 'a b'.old"
    assert Template(["convert", "{}", "out/{}.png"], of_lines=True).filled("a b'c") == [
        "convert",
        "a b'c",
        "out/a b'c.png",
    ]
    assert Template(["convert"], of_lines=True).filled("$(x)") == ["convert", "$(x)"]


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30))
def test_whatever_a_line_holds_is_one_word_for_the_shell(item: str) -> None:
    command = Template("printf %s {}", of_lines=True).filled(item)
    assert isinstance(command, str)
    assert shlex.split(command) == ["printf", "%s", item]


def test_the_shell_reads_the_line_and_runs_none_of_it() -> None:
    for item in ("$(echo no)", "`echo no`", "a'b\"c", "a\\", "*", "~", "-n", "a;b", "{}", "!x"):
        command = Template("printf '<%s>' {}", of_lines=True).filled(item)
        assert isinstance(command, str)
        assert subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True).stdout == f"<{item}>"


@pytest.mark.parametrize(
    "command, why",
    [
        ('echo "{}"', "character 7 is inside double quotes"),
        ("echo '{}'", "inside single quotes"),
        ("echo `echo {}`", "inside backquotes"),
        ("echo \\{}", "follows \\"),
        ("echo ${}", "follows $"),
        ("cat <<E\n{}\nE", "follows <<"),
        ('echo "a\\"{}"', "inside double quotes"),
    ],
)
def test_a_place_that_cannot_be_filled_safely_is_refused(command: str, why: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        Template(command, of_lines=True)
    assert why in caught.value.message
    assert Template(command, of_lines=False).filled("7") == command.replace("{}", "7")


@pytest.mark.parametrize(
    "command", ["echo 'a' {}", 'echo "a" {} "b"', "echo 'it'\\''s' {}", "f() { g; }; f {}", "a <b {}"]
)
def test_a_place_beside_quotes_is_one(command: str) -> None:
    assert Template(command, of_lines=True).filled("x y") == command.replace("{}", "'x y'")
