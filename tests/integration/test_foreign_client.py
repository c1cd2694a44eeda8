"""
Clients that know nothing of libdcache-client: one written here from proto/PROTOCOL.md alone, and an existing
MessagePack-RPC library, pynvim's (package python3-pynvim).
"""
import socket
import struct
import time

import msgpack
import pytest

pynvim_rpc = pytest.importorskip("pynvim.msgpack_rpc")

ERROR_UNKNOWN_METHOD, ERROR_INVALID, ERROR_REFUSED = 2, 3, 5


class Stranger:
    """A socket, a packer, an unpacker."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.unpacker = msgpack.Unpacker(raw=False)
        self.id = 0

    def send(self, message):
        self.sock.sendall(msgpack.packb(message))

    def receive(self):
        while True:
            for message in self.unpacker:
                return message
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.unpacker.feed(data)

    def call(self, method, *params):
        self.id += 1
        self.send([0, self.id, method, list(params)])
        kind, number, error, result = self.receive()
        assert (kind, number) == (1, self.id)
        return error, result


@pytest.fixture
def daemon(redis, start_daemon):
    return start_daemon(redis, pod="pod-s")


@pytest.fixture
def stranger(daemon):
    client = Stranger(daemon.socket)
    yield client
    client.sock.close()


@pytest.fixture
def session(daemon):
    session = pynvim_rpc.socket_session(daemon.socket)
    session.error_wrapper = lambda error: RuntimeError(*error)  # as its owner is expected to
    yield session
    session.close()


def test_a_stranger_needs_no_hello(stranger):
    assert stranger.call("ping") == (None, "pong")


def test_hello_says_limits_bound_and_clock(stranger):
    error, hello = stranger.call("hello", {"client": "stranger", "protocol": 1})
    assert error is None
    assert hello["protocol"] == 1 and hello["pod"] == "pod-s" and hello["role"] == "writer"
    assert hello["bound_ns"] == 1_000_000_000
    assert abs(hello["clock_ns"] - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) < 5_000_000_000
    for limit in ("max_message", "max_key", "max_value", "max_in_flight"):
        assert hello[limit] > 0


def test_a_stranger_reads_what_it_wrote(stranger):
    error, (outcome, version, seq, epoch) = stranger.call("set", "key", b"value", {"version": 7})
    assert (error, outcome, version) == (None, 0, 7) and seq > 0 and len(epoch) == 32
    error, reading = stranger.call("get", "key")
    state, as_of, value, version, timestamp, source, age_ms, replaced = reading
    assert error is None and (state, value, version, source) == (1, b"value", 7, "pod-s")
    assert 0 <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) - as_of <= 1_000_000_000
    assert abs(timestamp / 1e9 - time.time()) < 60 and age_ms == 0 and replaced is False


def test_keys_are_bytes_whether_sent_as_str_or_bin(stranger):
    stranger.call("set", b"key", "text", {"version": 1})
    assert stranger.call("get", "key")[1][2] == b"text"


def test_write_outcomes_are_numbers(stranger):
    def outcome(value, version):
        return stranger.call("set", "k", value, {"version": version})[1][0]
    assert [outcome(b"a", 5), outcome(b"b", 4), outcome(b"a", 5), outcome(b"c", 5)] == [0, 1, 2, 3]
    assert stranger.call("delete", "k", {"version": 6})[1][0] == 0
    assert stranger.call("get", "k")[1][0] == 0


def test_several_keys_answer_in_their_order(stranger):
    error, written = stranger.call("mset", [["a", b"1", {"version": 1}], ["b", b"2"]])
    assert error is None and [w[0] for w in written] == [0, 0]
    error, readings = stranger.call("mget", ["b", "none", "a"])
    assert error is None and [r[2] for r in readings] == [b"2", None, b"1"]


def test_pipelined_requests_are_answered_by_their_ids(stranger):
    for number in range(50):
        stranger.send([0, number, "ping", []])
    assert sorted(stranger.receive()[1] for _ in range(50)) == list(range(50))


def test_one_byte_at_a_time_is_understood(stranger):
    for byte in msgpack.packb([0, 1, "set", ["slow", b"v", {"version": 1}]]):
        stranger.sock.sendall(struct.pack("B", byte))
    assert stranger.receive()[3][:2] == [0, 1]


@pytest.mark.parametrize("method, params, code", [
    ("nonsense", [], ERROR_UNKNOWN_METHOD),
    ("get", [], ERROR_INVALID),
    ("get", ["k", {"stong": True}], ERROR_INVALID),
    ("set", ["k", b"v", {"version": 2 ** 63}], ERROR_INVALID),
    ("set", ["k", b"v", {"version": 1.5}], ERROR_INVALID),
])
def test_errors_are_a_code_and_a_text_and_the_connection_lives(stranger, method, params, code):
    error, result = stranger.call(method, *params)
    assert result is None and error[0] == code and isinstance(error[1], str) and error[1]
    assert stranger.call("ping") == (None, "pong")


def test_a_notification_gets_no_answer(stranger):
    stranger.send([2, "ping", []])
    assert stranger.call("ping") == (None, "pong")


def test_a_watch_tells_what_changes(stranger):
    error, watch = stranger.call("watch", "w:")
    assert error is None
    other = Stranger(stranger.sock.getpeername())
    other.call("set", "w:1", b"v", {"version": 3})
    other.sock.close()
    kind, method, (number, event) = stranger.receive()
    assert (kind, method, number) == (2, "event", watch)
    assert event["key"] == b"w:1" and event["version"] == 3
    assert stranger.call("unwatch", watch) == (None, True)


def test_pynvim_reads_and_writes(session):
    assert session.request("ping") == "pong"
    outcome, version, _, _ = session.request("set", "py", b"\x00\xff", {"version": 2})
    assert (outcome, version) == (0, 2)
    assert session.request("get", "py", {"strong": True})[2:4] == [b"\x00\xff", 2]


def test_pynvim_gets_errors_as_errors(session):
    with pytest.raises(RuntimeError) as caught:
        session.request("nonsense")
    assert caught.value.args[0] == ERROR_UNKNOWN_METHOD
    assert session.request("ping") == "pong"


def test_pynvim_receives_events(session, stranger):
    watch = session.request("watch", "n:")
    stranger.call("set", "n:1", b"v", {"version": 1})
    kind, method, params = session.next_message()[:3]
    assert (kind, method) == ("notification", "event")
    assert params[0] == watch and params[1]["key"] == b"n:1"
