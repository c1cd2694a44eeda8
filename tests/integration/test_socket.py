"""What comes over the socket: the inputs of every kind that a client, or something that is none, can send."""
import random
import socket
import struct

import msgpack
import pytest

from daemon import ABSENT, ACCEPTED, BUSY, FRESH, INVALID, MALFORMED, TOO_LARGE, UNKNOWN_METHOD, Daemon
from private_redis import PrivateRedis
from sockets import differing, messages_of, read_all, refusal_of, request


@pytest.fixture(scope="module", name="redis")
def fixture_redis():
    with PrivateRedis() as redis:
        yield redis


@pytest.fixture(scope="module", name="daemon")
def fixture_daemon(redis):
    with Daemon(redis=redis.socket) as daemon:
        yield daemon


@pytest.fixture(name="client")
def fixture_client(daemon):
    with daemon.client() as client:
        yield client


def send_and_read_all(daemon, data, half_close=False):
    """Sends data on a connection of its own; the messages that came until the daemon closed."""
    with daemon.client() as client:
        try:
            client.sock.sendall(data)
            if half_close:
                client.sock.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # what it has read was enough for it to close; its answers are there to be read
        return messages_of(read_all(client.sock))


# ---- pieces and bursts ---------------------------------------------------------------------------------------


def test_one_byte_at_a_time_gives_the_same_as_whole(client):
    client.set(b"bytewise", b"v" * 300, version=1)
    data = request("get", b"bytewise")
    for at in range(len(data)):
        client.sock.sendall(data[at:at + 1])
    _, error, piecewise = client.receive()
    assert error is None
    assert piecewise[2:6] == client.call("get", b"bytewise")[2:6]


def test_every_truncation_is_dropped_without_an_answer(daemon):
    data = request("set", b"truncated", b"v", {"version": 9})
    for length in range(len(data)):
        assert send_and_read_all(daemon, data[:length], half_close=True) == []
    assert daemon.call("get", b"truncated")[0] == ABSENT


def test_a_frame_may_be_split_anywhere(client):
    first, second = request("ping", request_id=1), request("ping", request_id=2)
    data = first + second
    for at in range(1, len(data)):
        client.sock.sendall(data[:at])
        client.sock.sendall(data[at:])
        assert [client.receive(), client.receive()] == [(1, None, "pong"), (2, None, "pong")]


def test_two_requests_in_one_write_get_two_answers(client):
    client.sock.sendall(request("ping", request_id=1) + request("ping", request_id=2))
    assert sorted([client.receive(), client.receive()]) == [(1, None, "pong"), (2, None, "pong")]


def test_reused_ids_get_one_answer_each(client):
    client.sock.sendall(request("ping", request_id=5) * 3)
    assert [client.receive() for _ in range(3)] == [(5, None, "pong")] * 3


def test_a_burst_longer_than_a_turn_is_answered_whole(client):
    client.set(b"burst", b"x", version=1)
    data = b"".join(request("get", b"burst", request_id=i) for i in range(5000))
    client.sock.sendall(data)
    answers = [client.receive() for _ in range(5000)]
    assert [a[0] for a in answers] == list(range(5000))
    assert all(a[1] is None and a[2][2] == b"x" for a in answers)


def test_a_burst_of_misses_beyond_the_limit_in_flight_is_answered_whole(client):
    data = b"".join(request("get", b"miss%d" % i, request_id=i) for i in range(3000))
    client.sock.settimeout(20)
    client.sock.sendall(data)
    answers = {}
    for _ in range(3000):
        request_id, error, result = client.receive()
        answers[request_id] = (error, result)
    assert len(answers) == 3000
    assert all(error is None and result[0] == ABSENT for error, result in answers.values())


def test_half_close_still_gets_every_answer(daemon):
    daemon.call("set", b"half", b"v", {"version": 1})
    requests = [request("get", b"half", request_id=1), request("set", b"half", b"w", {"version": 2}, request_id=2),
                request("get", b"half-absent", request_id=3)]
    messages = send_and_read_all(daemon, b"".join(requests), half_close=True)
    assert sorted(m[1] for m in messages) == [1, 2, 3]
    assert all(m[2] is None for m in messages)


def test_half_close_in_a_long_burst_still_gets_every_answer(daemon):
    data = b"".join(request("get", b"h%d" % i, request_id=i) for i in range(2000))
    assert len(send_and_read_all(daemon, data, half_close=True)) == 2000


def test_a_notification_of_a_client_gets_no_answer(client):
    client.sock.sendall(msgpack.packb([2, "set", [b"notified", b"v"]]) + request("ping"))
    assert client.receive() == (7, None, "pong")
    assert client.get(b"notified")["state"] == ABSENT


# ---- what is no request --------------------------------------------------------------------------------------

GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c403036a6b6c6d") + b"\x00" * 200,
    "resp": b"*1\r\n$4\r\nPING\r\n",
    "unused byte": b"\xc1",
    "array of 2^32-1": b"\xdd\xff\xff\xff\xff",
    "map of 2^32-1": b"\xdf\xff\xff\xff\xff",
    "str of 2^32-1": b"\xdb\xff\xff\xff\xff",
    "bin of 2^32-1": b"\xc6\xff\xff\xff\xff",
    "ext of 2^32-1": b"\xc9\xff\xff\xff\xff\x01",
    "nested arrays": b"\x91" * 100000,
    "nested maps": b"\x81\x01" * 100000,
    "more than a socket holds": b"\x91" * 5000000,
    "nil": b"\xc0",
    "empty array": b"\x90",
    "five elements": msgpack.packb([0, 1, "ping", [], 1]),
    "response": msgpack.packb([1, 1, None, 1]),
    "type 3": msgpack.packb([3, 1, "ping", []]),
    "float id": msgpack.packb([0, 1.5, "ping", []]),
    "negative id": msgpack.packb([0, -1, "ping", []]),
    "huge id": msgpack.packb([0, 2 ** 32, "ping", []]),
    "params is a map": msgpack.packb([0, 1, "ping", {}]),
    "method is an integer": msgpack.packb([0, 1, 5, []]),
    "timestamp": msgpack.packb(msgpack.Timestamp(1, 1)),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_malformed_input_gets_an_error_and_is_closed(daemon, name):
    # A valid request before it is answered still; one after it is not looked at.
    messages = send_and_read_all(daemon, request("ping", request_id=1) + GARBAGE[name] + request("ping") * 3)
    assert messages[0] == [1, 1, None, "pong"]
    assert len(messages) == 2, messages
    kind, _, error, result = messages[1]
    assert (kind, result) == (1, None)
    assert error[0] in (MALFORMED, TOO_LARGE) and error[1]
    assert daemon.call("ping") == "pong"


def test_random_bytes_never_harm_the_daemon(daemon):
    rng = random.Random(20240601)
    valid = [request("get", b"k"), request("set", b"k", b"v", {"version": 3}), request("mget", [b"a", b"b"]),
             request("hello", {"client": "x", "protocol": 1}), request("versions", b"", 0, 10)]
    for _ in range(1500):
        if rng.random() < 0.4:
            data = rng.randbytes(rng.randrange(1, 200))
        else:
            data = bytearray(rng.choice(valid))
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        send_and_read_all(daemon, bytes(data), half_close=True)
    assert daemon.call("ping") == "pong"


def test_a_message_over_the_limit_is_refused_with_its_id(daemon):
    limit = daemon.call("hello")["max_message"]
    head = b"\x94\x00\x2a\xa3set\x93\xc4\x01k" + b"\xc6" + struct.pack(">I", limit)
    messages = send_and_read_all(daemon, head)
    assert len(messages) == 1
    assert messages[0][1] == 42 and messages[0][2][0] == TOO_LARGE


# ---- well-formed, and wrong ----------------------------------------------------------------------------------


def test_an_unknown_method_is_an_error_and_keeps_the_connection(client):
    assert refusal_of(client, "frobnicate") == UNKNOWN_METHOD
    assert refusal_of(client, "get\x00") == UNKNOWN_METHOD
    assert client.call("ping") == "pong"


@pytest.mark.parametrize("params", [
    [], [b"k", {}, 1], [None], [5], [1.5], [[b"k"]], [{}], [b""], [True], [msgpack.ExtType(5, b"k")],
    [msgpack.Timestamp(5, 5)], [b"k", None], [b"k", []], [b"k", {"strnog": True}], [b"k", {"strong": 1}],
    [b"k", {"strong": True, b"strong": True}], [b"k", {"min_version": -1}], [b"k", {"min_version": 2 ** 63}],
    [b"k", {"min_version": "1"}], [b"k", {"min_version": 1.0}], [b"k", {"min_version": 1, "epoch": "short"}],
    [b"k", {"max_stale_ms": -1}], [b"k", {"max_stale_ms": 2 ** 64 - 1}], [b"k", {"timeout_ms": float("nan")}],
    [b"!dcached:x"],
])
def test_wrong_params_of_get_are_invalid(client, params):
    assert refusal_of(client, "get", *params) == INVALID
    assert client.call("ping") == "pong"


@pytest.mark.parametrize("params", [
    [b"k"], [b"k", 5], [b"k", None], [b"k", [b"v"]], [b"", b"v"], [b"k", b"v", {"version": 0}],
    [b"k", b"v", {"version": -1}], [b"k", b"v", {"version": 2 ** 63}], [b"k", b"v", {"version": 2 ** 64 - 1}],
    [b"k", b"v", {"version": 1.0}], [b"k", b"v", {"version": float("nan")}], [b"k", b"v", {"version": "1"}],
    [b"k", b"v", {"version": True}], [b"k", b"v", {"ttl_ms": -1}], [b"k", b"v", {"ttl_ms": 2 ** 64 - 1}],
    [b"k", b"v", {"write_id": b"short"}], [b"k", b"v", {"retry": True}], [b"k", b"v", {"invalidate": 1}],
    [b"!dcached:x", b"v"],
])
def test_wrong_params_of_set_are_invalid_and_write_nothing(client, params):
    before = client.call("stats")["writes"]
    assert refusal_of(client, "set", *params) == INVALID
    assert client.call("stats")["writes"] == before


@pytest.mark.parametrize("method, params", [
    ("ping", [1]), ("clear", [b"k"]), ("stats", [{}]), ("status", [None]), ("hello", [5]),
    ("hello", [{"nonsense": 1}]), ("mget", []), ("mget", [b"k"]), ("mget", [[b"k", 5]]), ("mget", [[b"k"] * 1025]),
    ("mset", [[[b"k"]]]), ("mset", [[[b"k", b"v", {"timeout_ms": 5}]]]), ("mset", [[[b"k", b"v"]] * 1025]),
    ("delete", []), ("delete", [b"k", b"v"]), ("inspect", []), ("inspect", [b""]), ("versions", [5]),
    ("versions", [b"", 0, 0]), ("versions", [b"", 0, 1001]), ("verify", [-1]), ("watch", [5]), ("unwatch", []),
    ("unwatch", ["x"]), ("trace", []), ("trace", [b""]), ("trace", [b"k", 0]), ("trace", [b"k", 1001]),
    ("clear", [{"version": 1}]), ("clear", [{"deadline": "soon"}]), ("clear", [{}, {}]),
])
def test_wrong_params_are_invalid(client, method, params):
    assert refusal_of(client, method, *params) == INVALID
    assert client.call("ping") == "pong"


@pytest.mark.parametrize("key", [b"a", b"k" * 1024, b"with\x00nul", b"with\nnewline", b"\xff\xfe\x80",
                                 b"\x1b[31m"])
def test_any_bytes_can_be_a_key(client, key):
    written = client.set(key, b"of " + key)
    assert written["outcome"] == ACCEPTED
    reading = client.get(key)
    assert (reading["state"], reading["value"], reading["version"]) == (FRESH, b"of " + key, written["version"])
    assert client.call("inspect", key)["key"] == key


def test_a_str_key_is_the_key_of_its_bytes(client):
    client.set("schlüssel", "wert")
    assert client.get("schlüssel".encode())["value"] == "wert".encode()


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_a_value_up_to_the_limit_comes_back_byte_for_byte(client, size):
    value = random.Random(size).randbytes(size)
    assert client.set(b"sized", value)["outcome"] == ACCEPTED
    assert client.get(b"sized")["value"] == value
    assert client.get(b"sized", strong=True)["value"] == value


def test_a_key_or_value_over_the_limit_is_too_large_and_keeps_the_connection(client):
    assert refusal_of(client, "get", b"k" * 1025) == TOO_LARGE
    assert refusal_of(client, "set", b"k" * 1025, b"v") == TOO_LARGE
    assert refusal_of(client, "set", b"k", b"v" * ((1 << 20) + 1)) == TOO_LARGE
    assert client.call("ping") == "pong"


@pytest.mark.parametrize("version", [1, 2 ** 53 + 1, 2 ** 63 - 1])
def test_versions_up_to_the_limit_are_exact(client, version):
    key = b"v%d" % version
    assert client.set(key, b"x", version=version)["version"] == version
    assert client.get(key, strong=True)["version"] == version


def test_mget_answers_each_key_in_its_place(client):
    client.set(b"m1", b"one", version=1)
    client.set(b"m3", b"three", version=3)
    one, absent, reserved, three, again = client.call("mget", [b"m1", b"m-absent", b"!dcached:x", b"m3", b"m1"])
    assert (one[2], one[3], three[2], three[3], again[2]) == (b"one", 1, b"three", 3, b"one")
    assert absent[0] == ABSENT
    assert reserved[:2] == [4, INVALID]
    assert client.call("mget", []) == []


def test_an_mget_longer_than_a_message_answers_the_rest_too_large(client):
    value = b"b" * (1 << 20)
    for i in range(6):
        client.set(b"big%d" % i, value)
    answers = client.call("mget", [b"big%d" % i for i in range(6)])
    assert [a[0] for a in answers].count(FRESH) == 3
    assert [a[:2] for a in answers if a[0] == 4] == [[4, TOO_LARGE]] * 3


def test_mset_answers_each_item_in_its_place(client):
    client.set(b"ms2", b"new", version=9)
    items = [[b"ms1", b"a"], [b"ms2", b"old", {"version": 3}], [b"!dcached:x", b"v"],
             [b"ms4", b"d", {"version": 4}]]
    answers = client.call("mset", items)
    assert [a[0] for a in answers] == [ACCEPTED, 1, 5, ACCEPTED]
    assert answers[1][1] == 9 and answers[2][1] == INVALID and answers[3][1] == 4


def test_watch_tells_of_the_keys_with_its_prefix(client, daemon):
    watch = client.call("watch", b"w:")
    with daemon.client() as other:
        other.set(b"elsewhere", b"v")
        version = other.set(b"w:1", b"v")["version"]
        other.delete(b"w:1")
    first, second = client.receive_event(), client.receive_event()
    assert first[0] == second[0] == watch
    assert (first[1]["kind"], first[1]["key"], first[1]["version"]) == ("update", b"w:1", version)
    assert (second[1]["kind"], second[1]["key"]) == ("delete", b"w:1")
    assert client.call("unwatch", watch) is True
    assert client.call("unwatch", watch) is False


def test_the_seventeenth_watch_of_a_connection_is_busy(client):
    for _ in range(16):
        client.call("watch")
    assert refusal_of(client, "watch") == BUSY


def test_one_client_cannot_end_the_watch_of_another(client, daemon):
    watch = client.call("watch", b"mine")
    assert daemon.call("unwatch", watch) is False


def test_verify_finds_nothing_different_and_walks_to_the_end(client):
    for i in range(200):
        client.set(b"verify%d" % i, b"v")
    cursor, checked = 0, 0
    while True:
        page = client.call("verify", cursor, 50)
        assert page["different"] == [] and page["unknown"] == 0
        checked, cursor = checked + page["checked"], page["cursor"]
        if cursor == 0:
            break
    assert checked >= 200


def stored(client, key):
    """(seq, version) of the record in Redis."""
    seen = client.call("inspect", key)["redis"]
    return seen["seq"], seen["version"]


def test_verify_finds_what_redis_has_newer(redis, client):
    client.set(b"newer", b"v", version=3)
    raw, key = redis.client(), "dc:{0}:newer"
    record = raw.get(key)
    # As after a write whose message was lost: a higher seq and version, and nobody was told.
    raw.set(key, b"1%019d%019d" % (4, stored(client, b"newer")[0] + 1) + record[39:])
    found = differing(client, b"newer")
    assert [(d["cached_version"], d["redis_version"]) for d in found] == [(3, 4)]
    assert 0 <= found[0]["differs_ms"] < 10_000
    raw.set(key, record)
    assert differing(client, b"newer") == []


def test_verify_finds_what_redis_has_lost(redis, client):
    client.set(b"lost", b"v", version=3)
    raw, key = redis.client(), "dc:{0}:lost"
    record = raw.get(key)
    raw.delete(key)
    assert [(d["cached_version"], d["redis_version"], d["differs_ms"]) for d in differing(client, b"lost")] == [
        (3, 0, None)]
    raw.set(key, record)
    # What is as old as the copy, or older, is no difference.
    assert differing(client, b"lost") == []
