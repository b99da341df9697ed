"""One boot, two readers: each is shown the boot clock with a shift of its own, and both name the same process."""

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from queuectld import boot
from queuectld.workerwire import procfs

NS_PER_TICK = 10_000_000
OFFSETS = st.integers(-(10**15), 10**15)


def shown(start_ns: int, offset_ns: int, *, state: str = "S", threads: int = 1) -> procfs.Process:
    """The process as proc(5) shows it to a reader in a time namespace, which rounds down to a tick."""
    ticks = (start_ns + offset_ns) // NS_PER_TICK
    fields = [state, "1", "42", "42", *["0"] * 13, str(threads), "0", str(ticks), "0"]
    with patch.object(procfs, "SHIFT_TICKS", offset_ns * 100 // 1_000_000_000):
        return procfs.Process(42, b"42 (a name) " + " ".join(fields).encode())


@given(start=st.integers(10**15, 10**16), one=OFFSETS, other=OFFSETS)
def test_a_start_time_is_the_same_to_every_reader(start: int, one: int, other: int) -> None:
    written = shown(start, one).start_time
    assert shown(start, other).started_at(written)
    assert not shown(start + 3 * NS_PER_TICK, other).started_at(written)


def test_whole_seconds_of_a_shift_change_nothing_at_all() -> None:
    assert {shown(10**16, seconds * 10**9).start_time for seconds in (-1000, 0, 1, 86_400)} == {10**9}


def test_offsets_are_read_by_name_and_by_number() -> None:
    assert boot.offset_from(b"monotonic           7         0\nboottime         1000       250\n") == 1_000_000_000_250
    assert boot.offset_from(b"1 7 0\n7 -5 500000000\n") == -4_500_000_000
    assert boot.offset_from(b"") == 0


def test_this_process_sees_itself_as_others_do() -> None:
    assert boot.boot_id() == boot.boot_id()
    assert boot.shift_ns() * 100 // 1_000_000_000 == procfs.SHIFT_TICKS


def test_a_zombie_is_alive_as_long_as_it_has_other_threads() -> None:
    assert shown(0, 0, state="Z", threads=2).is_alive
    assert not shown(0, 0, state="Z").is_alive
    assert not shown(0, 0, state="X", threads=2).is_alive
