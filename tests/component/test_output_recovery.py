"""What a killed worker had written of its run is kept under the run's own name."""

from pathlib import Path

from queuectld.domain.job import Output
from queuectld.pool import output_recovery
from queuectld.workerwire.outputfiles import final_name


def write(logs: Path, name: str, data: bytes) -> None:
    path = logs / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def test_little_goes_into_the_row_and_leaves_no_file(tmp_path: Path) -> None:
    write(tmp_path, "worker-3.both.0.log", b"text\n")
    write(tmp_path, "worker-4.both.0.log", b"of another\n")
    assert output_recovery.output(tmp_path, 3, 7, 1) == {"both": Output(5, b"text\n")}
    assert not (tmp_path / "worker-3.both.0.log").exists()
    assert (tmp_path / "worker-4.both.0.log").exists()


def test_pieces_that_have_their_final_name_already_are_found_too(tmp_path: Path) -> None:
    """The worker was killed while it renamed its files."""
    first, second = final_name(7, 1, "both"), final_name(7, 1, "both", 90_000)
    write(tmp_path, first, b"a" * 10)
    write(tmp_path, "worker-3.both.90000.log", b"b" * 20)
    write(tmp_path, final_name(7, 2, "both"), b"of another run")
    pieces = ((first, 0, 10), (second, 90_000, 20))
    assert output_recovery.output(tmp_path, 3, 7, 1) == {"both": Output(90_020, None, pieces)}
    assert (tmp_path / second).read_bytes() == b"b" * 20
    # Nothing is lost when that is done again, by a daemon that did not live to store it.
    assert output_recovery.output(tmp_path, 3, 7, 1) == {"both": Output(90_020, None, pieces)}
