"""Every input that a fuzzer found to be of interest is read again: nothing unforeseen, and in little memory.

`python -m tests.compat.fuzz 300` looks for more of them.
"""

import tracemalloc
from pathlib import Path

import pytest

from tests.compat.fuzz import CORPUS, LONGEST, one_input, words

FILES = sorted(CORPUS.iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name[:12])
def test_an_input_of_the_corpus_is_read_or_refused(path: Path) -> None:
    data = path.read_bytes()
    tracemalloc.start()
    try:
        one_input(data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 16 << 20, "a few kilobytes must not become many megabytes"


def test_the_corpus_is_small_and_reaches_every_target() -> None:
    assert 50 < len(FILES) <= 500
    assert all(path.stat().st_size <= LONGEST for path in FILES)
    assert {path.read_bytes()[0] % 4 for path in FILES} == {0, 1, 2, 3}
    assert sum(one_input(path.read_bytes()) for path in FILES) > 100, "many are whole messages"


def test_the_fuzzer_knows_the_words_of_the_wire() -> None:
    assert {"enqueue", "job.get", "command", "depends_on", "timeout"} <= set(words())
