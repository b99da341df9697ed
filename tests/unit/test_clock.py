"""Store time goes on whatever the wall clock does."""

from hypothesis import given
from hypothesis import strategies as st

from queuectld.scheduler.clock import Clock
from queuectld.store.records import TimeAnchor


class FakeTimes:
    """A boot time and a wall time that a test moves."""

    def __init__(self, boottime: int = 50_000, wall: int = 1_700_000_000_000) -> None:
        self.boottime = boottime
        self.wall = wall

    def clock(self, anchor: TimeAnchor | None, boot: str = "boot-1", shift_ms: int = 0) -> Clock:
        """As a reader has it who is shown the boot time shifted by so much."""
        times = {"boottime": lambda: self.boottime + shift_ms, "wall": lambda: self.wall}
        return Clock(anchor, boot=boot, shift_ms=shift_ms, **times)


def test_a_new_store_begins_at_wall_time() -> None:
    times = FakeTimes()
    assert times.clock(None).now() == (times.wall, times.wall)


@given(step=st.integers(-(10**11), 10**11), passed=st.integers(0, 10**9))
def test_a_step_of_the_wall_clock_moves_no_store_time(step: int, passed: int) -> None:
    times = FakeTimes()
    clock = times.clock(None)
    before = clock.now().store_ms
    times.boottime += passed
    times.wall += passed + step
    assert clock.now().store_ms == before + passed


def test_a_restart_within_a_boot_goes_on_by_boot_time() -> None:
    times = FakeTimes()
    anchor = times.clock(None).anchor()
    times.boottime += 7_000
    times.wall -= 3_600_000
    assert times.clock(anchor).now().store_ms == anchor.store_ms + 7_000


@given(shifts=st.tuples(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9)), passed=st.integers(0, 10**9))
def test_the_next_daemon_may_be_shown_the_boot_clock_shifted(shifts: tuple[int, int], passed: int) -> None:
    times = FakeTimes()
    before = times.clock(None, shift_ms=shifts[0])
    anchor = before.anchor()
    times.boottime += passed
    times.wall -= 3_600_000
    after = times.clock(anchor, shift_ms=shifts[1])
    assert after.now() == before.now()
    assert after.anchor() == before.anchor()


@given(back=st.integers(1, 50_000), passed=st.integers(-(10**9), 10**9))
def test_a_boot_clock_that_went_back_takes_store_time_nowhere_but_on(back: int, passed: int) -> None:
    times = FakeTimes()
    anchor = times.clock(None).anchor()
    times.boottime -= back
    times.wall += passed
    clock = times.clock(anchor)
    assert clock.now().store_ms == anchor.store_ms + max(0, passed)
    times.boottime += 5
    assert clock.now().store_ms == anchor.store_ms + max(0, passed) + 5


def test_across_boots_it_goes_on_by_the_wall_clock_and_never_back() -> None:
    times = FakeTimes()
    anchor = times.clock(None).anchor()
    later = FakeTimes(boottime=100, wall=times.wall + 90_000)
    assert later.clock(anchor, boot="boot-2").now().store_ms == anchor.store_ms + 90_000
    earlier = FakeTimes(boottime=100, wall=times.wall - 90_000)
    assert earlier.clock(anchor, boot="boot-2").now().store_ms == anchor.store_ms


def test_an_anchor_restored_in_its_own_moment_changes_nothing() -> None:
    times = FakeTimes()
    clock = times.clock(None)
    times.boottime += 1234
    assert times.clock(clock.anchor()).now() == clock.now()
