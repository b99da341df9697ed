"""The wire's bytes: what is a message, what is none, and what is too much of one."""

import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_client.protocol import rpc
from queuectl_client.protocol.messages import REQUESTS, BadParams
from queuectl_client.protocol.rpc import Decoder, Limits, Notification, ProtocolError, Request, Response
from queuectl_client.protocol.vocabulary import ErrorCode

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.binary()
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
MSGIDS = st.integers(0, 2**32 - 1)


def decoded(data: bytes, *, step: int = 0, limits: Limits = rpc.DEFAULT_LIMITS) -> list[rpc.Message]:
    decoder = Decoder(limits)
    step = step or max(len(data), 1)
    return [message for at in range(0, len(data), step) for message in decoder.feed(data[at : at + step])]


def refusal(data: bytes, **options: Any) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        decoded(data, **options)
    return caught.value


def packed(value: Any) -> bytes:
    return bytes(msgpack.packb(value))


# Any language's client works, so these bytes never change.
GOLDEN = {
    "940001a673746174757390": Request(1, "status", []),
    "940002a7656e71756575659181a7636f6d6d616e64a2686a": Request(2, "enqueue", [{"command": "hj"}]),
    "940101c081a269640b": Response(1, None, {"id": 11}),
    "940103b16e6f745f666f756e643a206e6f206a6f62c0": Response(3, "not_found: no job", None),
    "9302a56576656e749181a36b6579c3": Notification("event", [{"key": True}]),
}


@pytest.mark.parametrize("golden", GOLDEN)
def test_golden_bytes(golden: str) -> None:
    assert decoded(bytes.fromhex(golden)) == [GOLDEN[golden]]


def test_what_is_sent_are_the_golden_bytes() -> None:
    assert rpc.request(1, "status").hex() == "940001a673746174757390"
    assert rpc.request(2, "enqueue", {"command": "hj"}).hex() == "940002a7656e71756575659181a7636f6d6d616e64a2686a"
    assert rpc.response(1, {"id": 11}).hex() == "940101c081a269640b"
    assert rpc.error_response(3, "not_found", "no job", plain=True).hex() == (
        "940103b16e6f745f666f756e643a206e6f206a6f62c0"
    )
    assert rpc.notification("event", {"key": True}).hex() == "9302a56576656e749181a36b6579c3"


@given(MSGIDS, st.text(max_size=50), st.dictionaries(st.text(max_size=9), VALUES, min_size=1, max_size=4))
def test_a_request_comes_back_as_it_was_sent(msgid: int, method: str, params: dict[str, Any]) -> None:
    assert decoded(rpc.request(msgid, method, params)) == [Request(msgid, method, [params])]


@given(st.lists(st.tuples(MSGIDS, VALUES), min_size=1, max_size=5), st.integers(1, 7))
def test_messages_are_found_however_the_stream_is_cut(answers: list[tuple[int, Any]], step: int) -> None:
    stream = b"".join(rpc.response(msgid, value) for msgid, value in answers)
    assert decoded(stream, step=step) == [Response(msgid, None, value) for msgid, value in answers]


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_messages_or_a_protocol_error(data: bytes, step: int) -> None:
    try:
        messages = decoded(data, step=step)
    except ProtocolError:
        return
    assert all(isinstance(message, Request | Response | Notification) for message in messages)


@given(st.lists(VALUES, max_size=6))
def test_any_value_is_a_message_or_a_protocol_error(value: list[Any]) -> None:
    try:
        messages = decoded(packed(value))
    except ProtocolError:
        return
    assert [list(message) for message in messages] == [value[1:]]


def test_the_messages_before_the_rubbish_come_first() -> None:
    decoder = Decoder()
    stream = decoder.feed(rpc.request(1, "status") + b"\xc1" + rpc.request(2, "status"))
    assert next(stream) == Request(1, "status", [])
    with pytest.raises(ProtocolError):
        next(stream)
    with pytest.raises(ProtocolError):
        list(decoder.feed(rpc.request(3, "status")))


def test_nothing_is_read_after_a_message_past_a_limit() -> None:
    decoder = Decoder()
    for data in (nested(40), rpc.request(3, "status")):
        with pytest.raises(ProtocolError):
            list(decoder.feed(data))


def test_a_decoder_tells_whether_it_stands_in_a_message() -> None:
    decoder, frame = Decoder(), rpc.request(1, "status")
    assert not decoder.half_read
    assert not list(decoder.feed(frame[:-1]))
    assert decoder.half_read
    assert list(decoder.feed(frame[-1:])) == [Request(1, "status", [])]
    assert not decoder.half_read


@pytest.mark.parametrize(
    "value",
    [
        5, None, [], {}, "text", [0], [0, 1], [3, 1, "a", []], [True, 1, "a", []], [0, -1, "a", []], [1, True, 0, 0],
        [0, True, "a", []],
        [0, 1.0, "a", []], [1, "1", None, None], [2, 5, []], [2, "a"], [0, 1, b"a", []],
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(value: Any) -> None:
    assert refusal(packed(value)).code == ErrorCode.INVALID_PARAMS


def test_a_malformed_request_tells_which_call_it_was() -> None:
    assert refusal(packed([0, 7, 5, []])).msgid == 7
    assert refusal(packed([0, 7, "a", [], "more"])).msgid == 7
    assert refusal(packed([1, 7])).msgid is None


@pytest.mark.parametrize("value", [msgpack.ExtType(5, b"abc"), msgpack.ExtType(5, b""), msgpack.Timestamp(5)])
def test_an_extension_type_is_no_value_and_the_stream_goes_on(value: Any) -> None:
    first, second = Decoder().feed(packed([0, 1, "enqueue", [{"command": value}]]) + rpc.request(2, "status"))
    assert isinstance(first, Request)
    with pytest.raises(BadParams):
        REQUESTS["enqueue"].from_map(rpc.params_of(first.params))
    assert second == Request(2, "status", [])


@pytest.mark.parametrize("key", [b"\x01", b"\xc0", b"\x90", b"\x80", b"\xca\x00\x00\x00\x00", b"\xd4\x05\x00"])
def test_a_notification_is_ignored_whatever_its_keys_are(key: bytes) -> None:
    odd = b"\x93\x02\xa1x\x91\x81" + key + b"\x02"
    told, asked = Decoder().feed(odd + rpc.request(2, "status"))
    assert isinstance(told, rpc.Notification)
    assert asked == Request(2, "status", [])
    with pytest.raises(ValueError, match="parameters go by name"):
        rpc.params_of(told.params)


@pytest.mark.parametrize("params", [[5], [[]], [{}, {}], {}, None, "text", 5])
def test_params_of_the_wrong_form_are_an_error_and_the_stream_goes_on(params: Any) -> None:
    decoder = Decoder()
    (request,) = decoder.feed(packed([0, 1, "a", params]))
    assert isinstance(request, Request)
    with pytest.raises(ValueError, match="params"):
        rpc.params_of(request.params)
    assert list(decoder.feed(rpc.request(2, "b"))) == [Request(2, "b", [])]


def test_params_are_no_or_one_map() -> None:
    assert rpc.params_of([]) == {}
    assert rpc.params_of([{"a": 1}]) == {"a": 1}


# Text that is not UTF-8


def test_text_that_is_not_utf8_travels_as_bin() -> None:
    assert decoded(rpc.request(1, "a", {"command": "ls \udcff", "n\udcfe": ["ä", ("\udc80",)]})) == [
        Request(1, "a", [{"command": b"ls \xff", b"n\xfe": ["ä", [b"\x80"]]}])
    ]


def test_a_lone_surrogate_that_is_no_byte_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match=r"U\+D800"):
        rpc.request(1, "a", {"command": "\ud800"})


@pytest.mark.parametrize("value", [2**64, object(), {1, 2}])
def test_what_messagepack_does_not_know_cannot_be_sent(value: Any) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        rpc.request(1, "a", {"key": value})


def test_str_that_is_not_utf8_from_a_plain_client_is_taken_as_its_bytes() -> None:
    assert decoded(b"\x94\x00\x01\xa1a\x91\x81\xa1c\xa2l\xff") == [Request(1, "a", [{"c": "l\udcff"}])]


# Limits

SMALL = Limits(message_bytes=1000, depth=5, containers=20, values=100, items=50)
HEAD = b"\x94\x00\x01\xa1a"


def nested(levels: int) -> bytes:
    """A request in which `levels` lists and maps are within one another, the request itself the first."""
    return HEAD + b"\x91" * (levels - 2) + b"\x90"


def test_a_message_may_be_as_long_as_the_limit() -> None:
    room = SMALL.message_bytes - len(HEAD) - 3
    fits = HEAD + b"\xda" + room.to_bytes(2) + b"x" * room
    assert len(decoded(fits, limits=SMALL)) == 1
    longer = HEAD + b"\xda" + (room + 1).to_bytes(2) + b"x" * (room + 1)
    assert refusal(longer, limits=SMALL).code == ErrorCode.TOO_LARGE
    assert refusal(longer, limits=SMALL, step=7).code == ErrorCode.TOO_LARGE
    assert refusal(longer[:-50] + b"x" * 2000, limits=SMALL, step=300).code == ErrorCode.TOO_LARGE


def test_many_messages_may_be_longer_than_one() -> None:
    frame = rpc.request(1, "a", {"key": "x" * 400})
    assert len(decoded(frame * 20, limits=SMALL)) == 20
    assert len(decoded(frame * 20, limits=SMALL, step=333)) == 20


def test_half_a_message_past_the_limit_is_refused_before_it_is_whole() -> None:
    assert refusal(HEAD + b"\xdb\xff\xff\xff\xff" + b"x" * 1000, limits=SMALL, step=100).code == ErrorCode.TOO_LARGE


@pytest.mark.parametrize("map_too", [False, True])
def test_depth_is_limited(map_too: bool) -> None:
    assert len(decoded(nested(32))) == 1
    data = HEAD + b"\x91\x81\xa1k" * 15 + b"\x91\x90" if map_too else nested(33)
    assert refusal(data).code == ErrorCode.TOO_LARGE
    assert refusal(nested(1000)).code == ErrorCode.TOO_LARGE
    assert refusal(nested(100_000)).text


def test_depth_is_found_among_many_shallow_values() -> None:
    deep: Any = []
    for _ in range(31):
        deep = [deep]
    assert refusal(packed([0, 1, "a", [{"jobs": [{"command": "x"}] * 100 + [deep]}]])).code == ErrorCode.TOO_LARGE


@pytest.mark.parametrize(
    "params",
    [
        [[]] * 30,  # containers
        [[1] * 40] * 3,  # values
        [1] * 51,  # items of a list
        [{str(key): 1 for key in range(51)}],  # items of a map
    ],
)
def test_the_number_of_values_is_limited(params: Any) -> None:
    assert refusal(packed([0, 1, "a", params]), limits=SMALL).code == ErrorCode.TOO_LARGE


def test_limits_hold_for_each_message_anew() -> None:
    assert len(decoded(packed([0, 1, "a", [[]] * 15]) * 10, limits=SMALL)) == 10


def test_ten_thousand_jobs_are_within_the_limits() -> None:
    job = {
        "command": "echo",
        "labels": {"a": "b"},
        "env": {"A": "b"},
        "depends_on": ["x"],
        "retry_on": [1],
        "queue": "q",
    }
    assert len(decoded(rpc.request(1, "enqueue_many", {"jobs": [job] * 10_000}))) == 1


FLOODS = {
    "empty maps": HEAD + b"\xdc\xff\xff" + b"\xdd\x00\x01\x00\x00" + b"\x80" * 1_000_000,
    "declared lists within lists": HEAD + b"\xdd\x00\x01\xff\xff" * 1000,
    "a declared list of 4 billion": HEAD + b"\xdd\xff\xff\xff\xff",
    "a declared map of 4 billion": HEAD + b"\xdf\xff\xff\xff\xff",
    "a declared string of 4 GiB": HEAD + b"\xdb\xff\xff\xff\xff",
    "lists of short strings": HEAD + b"\xdc\x00\x20" + (b"\xdd\x00\x01\x00\x00" + b"\xa2ab" * 65536) * 32,
}


@pytest.mark.parametrize("flood", FLOODS)
def test_memory_stays_bounded(flood: str) -> None:
    data = FLOODS[flood]
    tracemalloc.start()
    try:
        decoded(data, step=65536)
    except ProtocolError:
        pass  # or not whole yet: both are fine, a great deal of memory is not
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * len(data) + 40_000_000
    if len(data) < 10_000:
        assert peak < 100_000
