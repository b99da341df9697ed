"""What of a job's output may reach a terminal."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_client.cli.output.terminal import TerminalFilter

SAFE = re.compile("(?:[^\x00-\x1f\x7f-\x9f]|\n|\t|\x1b\\[[0-9;:]*m)*", re.DOTALL)


def shown(data: bytes, *, colours: bool = True, piece: int | None = None) -> str:
    """The filtered text of data, fed in pieces of so many bytes."""
    terminal = TerminalFilter(colours=colours)
    size = piece or max(len(data), 1)
    return "".join(terminal.feed(data[at : at + size]) for at in range(0, len(data), size)) + terminal.feed(
        b"", last=True
    )


@pytest.mark.parametrize("piece", [None, 1, 2, 3])
@pytest.mark.parametrize(
    "data, safe",
    [
        (b"plain\n\tline\n", "plain\n\tline\n"),
        ("naïve ✓\n".encode(), "naïve ✓\n"),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m"),
        (b"\x1b[1;38:5:9mx", "\x1b[1;38:5:9mx\x1b[0m"),
        (b"\x1b[2J\x1b[Hhidden", "hidden"),
        (b"\x1b]0;title\x07after", "after"),
        (b"\x1b]8;;http://x\x1b\\link", "link"),
        (b"\x1bP+q544e\x1b\\after", "after"),
        (b"\x1b[6n\x1b[cafter", "after"),
        (b"\x1bcreset", "reset"),
        (b"\x1b(0after", "after"),
        (b"dos\r\nline\r\n", "dos\nline\n"),
        (b"10%\r20%\r", "10%\n20%\n"),
        (b"over\x08\x08write", "over\\x08\\x08write"),
        (b"bell\x07", "bell\\x07"),
        ("c1 \x9b2J".encode(), "c1 \\x9b2J"),
        (b"raw \x9b2J \xff", "raw \\x9b2J \\xff"),
        (b"\x1b]0;never ended\nnext line", "\\x1b]0;never ended\nnext line"),
        (b"cut \x1b[3", "cut \\x1b[3"),
    ],
)
def test_text_and_colours_pass_and_nothing_else(data: bytes, safe: str, piece: int | None) -> None:
    assert shown(data, piece=piece) == safe


def test_colours_can_be_switched_off() -> None:
    assert shown(b"\x1b[31mred\x1b[0m", colours=False) == "red"


def test_an_unfinished_sequence_holds_back_a_few_kilobytes_at_most() -> None:
    terminal = TerminalFilter()
    held = terminal.feed(b"\x1b]0;" + b"x" * 100_000)
    assert len(held) > 90_000


@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_give_anything_that_acts_on_a_terminal(data: bytes, piece: int) -> None:
    assert SAFE.fullmatch(shown(data, piece=piece))


@given(
    st.lists(
        st.sampled_from([b"\x1b", b"[", b"]", b"0;", b"m", b"\x07", b"\\", b"P", b"\r", b"\n", b"x", b"\xc2", b"\x9b"])
    )
)
def test_no_mix_of_sequences_gives_anything_that_acts_on_a_terminal(pieces: list[bytes]) -> None:
    assert SAFE.fullmatch(shown(b"".join(pieces), piece=1))


def test_a_long_run_of_returns_is_read_once() -> None:
    returns = TerminalFilter().feed(b"\r" * 1_000_000 + b"x")
    assert returns == "\n" * 1_000_000 + "x"
