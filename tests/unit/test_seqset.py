"""Sets of job numbers behave as sets, and stay small."""

from hypothesis import given
from hypothesis import strategies as st

from queuectld.domain.seqset import SeqSet

NUMBERS = st.integers(1, 5000)


@given(st.lists(st.tuples(st.booleans(), NUMBERS)), NUMBERS)
def test_it_is_a_set(steps: list[tuple[bool, int]], start: int) -> None:
    model: set[int] = set()
    made = SeqSet()
    for adds, seq in steps:
        changes = (seq not in model) if adds else (seq in model)
        assert (made.add(seq) if adds else made.discard(seq)) is changes
        (model.add if adds else model.discard)(seq)
    assert len(made) == len(model)
    assert all((seq in made) is (seq in model) for _, seq in steps)
    assert list(made.after(0)) == sorted(model)
    assert list(made.after(start)) == sorted(seq for seq in model if seq > start)


def test_a_million_that_follow_one_another_take_up_little() -> None:
    made = SeqSet()
    for seq in range(1, 1_000_001):
        made.add(seq)
    assert len(made) == 1_000_000
    assert made.bytes < 400_000
