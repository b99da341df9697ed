"""Throws bytes at what reads them first: the frame reader, the checks of every request, and the frames of workers.

    python -m tests.compat.fuzz 300        # seconds, with atheris (pip install atheris); else with hypothesis
    python -m tests.compat.fuzz --merge    # keep of what was found only what reaches new code

What is found goes to a folder of its own; `--merge` brings it into `corpus/`, which `test_corpus` reads again each
time. The first byte of an input says where it goes.
"""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import msgpack

Step = tuple[str, int, int]
CORPUS = Path(__file__).with_name("corpus")
FOUND = Path(tempfile.gettempdir()) / "queuectl-fuzz"
LONGEST = 4096
TOLD_EVERY = 100_000


def one_input(data: bytes) -> int:
    """Read one input as the daemon would. Raises whatever nobody foresaw. The number of messages that were whole."""
    if not data:
        return 0
    return _TARGETS[data[0] % len(_TARGETS)](data[1:])


def _stream(data: bytes) -> int:
    """As clients send it, in one piece."""
    return _feed(data, len(data) or 1)


def _pieces(data: bytes) -> int:
    """The same in pieces of as many bytes as the first says. It has to mean the same."""
    size = (data[0] % 16 or 1) if data else 1
    whole, cut = [], []
    assert _feed(data[1:], len(data) or 1, whole) == _feed(data[1:], size, cut)
    assert repr(whole) == repr(cut)
    return len(cut)


def _request(data: bytes) -> int:
    """A method and its parameters, `[method, params]`, without the frame around them."""
    try:
        call = msgpack.unpackb(data, unicode_errors="surrogateescape")
    except (ValueError, TypeError, msgpack.UnpackException):
        return 0  # no MessagePack, which is for the other targets to refuse
    match call:
        case [str(method), dict(params)]:
            _check(method, params)
            return 1
    return 0


def _worker(data: bytes) -> int:
    """As a worker sends it."""
    from queuectld.pool.link import MAX_CONTAINERS, MAX_FRAME_BYTES
    from queuectld.pool.outcomes import outcome_from_map
    from queuectld.workerwire.frames import Frames, WireError

    count = 0
    try:
        for kind, body in Frames(MAX_FRAME_BYTES, MAX_CONTAINERS).feed(data):
            count += 1
            if kind == "ended":
                outcome_from_map(body)
    except (WireError, KeyError, TypeError, ValueError):
        pass  # what the link answers by closing
    return count


_TARGETS: list[Callable[[bytes], int]] = [_stream, _pieces, _request, _worker]


def _feed(data: bytes, size: int, told: list[Any] | None = None) -> int:
    from queuectl_client.protocol import rpc

    decoder = rpc.Decoder(rpc.Limits(message_bytes=2048, containers=200, values=1000, items=500))
    count = 0
    try:
        for start in range(0, len(data), size):
            for message in decoder.feed(data[start : start + size]):
                count += 1
                if told is not None:
                    told.append(message)
                if isinstance(message, rpc.Request):
                    _call(message)
    except rpc.ProtocolError as error:
        _brief(error.text)
    return count


def _call(message: Any) -> None:
    from queuectl_client.protocol import rpc

    try:
        params = rpc.params_of(message.params)
    except ValueError:
        return
    _check(message.method, params)


def _check(method: str, params: Mapping[str, Any]) -> None:
    """What is accepted can be shown, and what is not is refused in a sentence."""
    from queuectl_client.protocol.messages import REQUESTS, BadParams
    from queuectl_client.protocol.submissions import BatchAdd, Defaults

    known = REQUESTS.get(method)
    if known is None:
        return
    try:
        request = known.from_map(params)
        if isinstance(request, BatchAdd):
            request.under(Defaults())
    except BadParams as error:
        _brief(error.message)
        return
    repr(request)


def _brief(sentence: str) -> None:
    """What is refused is refused in a sentence, not by sending it back."""
    assert len(sentence) < 1000, sentence


def with_atheris(options: list[str]) -> None:
    """Until libFuzzer's options end it. Does not return."""
    import atheris

    instrumented = ["queuectl_client.protocol", "queuectld.pool", "queuectld.workerwire", "queuectld.domain"]
    with atheris.instrument_imports(include=instrumented):
        import queuectl_client.protocol.messages  # noqa: F401

    inputs = messages = 0

    def throw(data: bytes) -> None:
        nonlocal inputs, messages
        inputs += 1
        messages += one_input(data)
        if inputs % TOLD_EVERY == 0:  # libFuzzer leaves without a word of ours
            print(f"{inputs:,} inputs, {messages:,} messages", file=sys.stderr)

    atheris.Setup([sys.argv[0], *options], throw)
    atheris.Fuzz()


def with_hypothesis(seconds: int) -> None:
    """Where atheris cannot be installed: pieces of the corpus one behind the other, and any bytes between them."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    pieces = st.sampled_from([path.read_bytes() for path in sorted(CORPUS.iterdir())]) | st.binary(max_size=64)
    cuts = st.tuples(pieces, st.just(0) | st.integers(0, 200), st.just(LONGEST) | st.integers(1, 200))
    messages = 0

    @settings(max_examples=seconds * 300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(cuts, min_size=1, max_size=4))
    def throw(parts: list[tuple[bytes, int, int]]) -> None:
        nonlocal messages
        messages += one_input(b"".join(piece[start : start + length] for piece, start, length in parts))

    throw()
    print(f"{messages:,} messages, nothing unforeseen")


def words() -> list[str]:
    """What a fuzzer would not guess: methods and the keys of their parameters."""
    from queuectl_client.protocol.jobspec import JobSpec
    from queuectl_client.protocol.messages import REQUESTS

    keys = {name for kind in REQUESTS.values() for name in getattr(kind, "__dataclass_fields__", ())}
    return sorted({*REQUESTS, *keys, *JobSpec._fields, "ended", "hello", "started_ms", "exit_code", "kind"})


def merge() -> None:
    """Add to the corpus what takes a way through our code that none of it has taken, the shortest first."""
    known: set[Step] = set()
    for path in CORPUS.iterdir():
        known |= way_of(path.read_bytes())
    for path in sorted(FOUND.iterdir(), key=lambda path: path.stat().st_size):
        data = path.read_bytes()
        way = way_of(data)
        if way - known and len(data) <= LONGEST:
            known |= way
            (CORPUS / hashlib.sha1(data).hexdigest()).write_bytes(data)
    print(f"{len(list(CORPUS.iterdir()))} inputs, {len(known):,} steps")


def way_of(data: bytes) -> set[Step]:
    """The steps from line to line of queuectl's own code that this input takes."""
    taken: set[Step] = set()

    def trace(frame: FrameType, _event: str, _arg: object) -> Any:
        code = frame.f_code
        if "queuectl" not in code.co_filename or "fuzz" in code.co_filename:
            return None
        last = 0

        def step(frame: FrameType, event: str, _arg: object) -> Any:
            nonlocal last
            taken.add((code.co_filename, last, frame.f_lineno if event == "line" else -1))
            last = frame.f_lineno
            return step

        return step

    sys.settrace(trace)
    try:
        one_input(data)
    finally:
        sys.settrace(None)
    return taken


def main(arguments: list[str]) -> int:
    """Fuzz for so many seconds, or `--merge` what was found. The exit code is that of the fuzzer."""
    if arguments[0] == "--merge":
        merge()
        return 0
    try:
        import atheris  # noqa: F401
    except ImportError:
        with_hypothesis(int(arguments[0]))
        return 0
    FOUND.mkdir(exist_ok=True)
    dictionary = FOUND.with_suffix(".dict")
    # Each word with the byte before it that MessagePack begins a short text with.
    dictionary.write_text("".join(f'"\\x{0xA0 + len(word):02x}{word}"\n' for word in words() if len(word) < 32))
    command = [f"-max_len={LONGEST}", "-timeout=10", "-rss_limit_mb=1024", f"-artifact_prefix={FOUND}/crash-"]
    command += [f"-max_total_time={arguments[0]}", f"-dict={dictionary}", str(FOUND), str(CORPUS)]
    # libFuzzer ends its process, so it gets one of its own.
    return subprocess.run([sys.executable, "-m", "tests.compat.fuzz", "--run", *command], check=False).returncode


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        with_atheris(sys.argv[2:])
    sys.exit(main(sys.argv[1:] or ["60"]))
