"""The fault proxy itself: a fault that does not happen proves nothing."""
import socket
import time

import pytest
import redis as redis_py

import resp
from private_redis import PrivateRedis
from proxy import DATA, SUBSCRIPTION, TO_CLIENT, TO_REDIS, Proxy

FRAMES = [b"+OK\r\n", b"-ERR x\r\n", b":12\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"$0\r\n\r\n",
          b"$4\r\na\r\nb\r\n", b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", b"%1\r\n+a\r\n:1\r\n", b"_\r\n", b"#t\r\n",
          b"|1\r\n+ttl\r\n:5\r\n$1\r\nx\r\n", b"PING inline\r\n"]


def test_frames_end_at_the_same_place_in_any_pieces():
    stream = b"".join(FRAMES)
    assert resp.Framer().feed(stream) == FRAMES
    for size in (1, 2, 3, 7):
        framer = resp.Framer()
        pieces = [stream[i:i + size] for i in range(0, len(stream), size)]
        assert [f for piece in pieces for f in framer.feed(piece)] == FRAMES


def test_what_is_no_resp_passes_unchanged():
    for stream in (b"*1\r\nnonsense\r\n", b"$x\r\nab", b"*1\r\n*z\r\n"):
        framer = resp.Framer()
        assert framer.feed(stream) + framer.feed(b"more") == [stream, b"more"]
        assert framer.broken


def test_encoded_commands_are_decoded():
    frame = resp.encode("SET", b"a\r\n", 12)
    assert resp.decode(frame) == [b"SET", b"a\r\n", b"12"]
    assert resp.command_of(frame) == b"SET"
    assert resp.command_of(b"ping\r\n") == b"PING"


@pytest.fixture(scope="module")
def server():
    with PrivateRedis(tcp=True) as redis:
        yield redis


@pytest.fixture(params=["unix", "tcp"])
def proxy(request, server, tmp_path):
    if request.param == "unix":
        proxy = Proxy(server.socket, listen=str(tmp_path / "proxy.sock"))
    else:
        proxy = Proxy(("127.0.0.1", server.port))
    with proxy:
        yield proxy


def client(proxy, timeout=5):
    options = {"socket_timeout": timeout, "retry_on_timeout": False}
    if proxy.address.startswith("unix:"):
        return redis_py.Redis(unix_socket_path=proxy.address[5:], **options)
    host, port = proxy.address.split(":")
    return redis_py.Redis(host=host, port=int(port), **options)


def subscriber(proxy, channel="c"):
    pubsub = client(proxy).pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(channel)
    proxy.wait_connections(data=0)
    pubsub.get_message(timeout=1)  # the confirmation
    return pubsub


def payload(pubsub, timeout=2):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        message = pubsub.get_message(timeout=0.05)
        if message:
            return message["data"]
    return None


def test_bytes_arrive_unchanged(proxy):
    value = bytes(range(256)) * 5000
    assert client(proxy).set("k", value)
    assert client(proxy).get("k") == value


def test_one_byte_at_a_time_gives_the_same(proxy):
    proxy.one_byte()
    assert client(proxy).set("k1", b"\r\n" * 50)
    assert client(proxy).get("k1") == b"\r\n" * 50
    assert proxy.fired["one_byte"] > 100


def test_the_connections_are_told_apart(proxy):
    data, pubsub = client(proxy), subscriber(proxy)
    data.ping()
    assert pubsub.connection and (proxy.count(DATA), proxy.count(SUBSCRIPTION)) == (1, 1)


def test_a_stall_brings_no_error_and_loses_nothing(proxy):
    data = client(proxy, timeout=0.2)
    data.ping()
    with data.client() as one:
        one.ping()
        for direction in (TO_REDIS, TO_CLIENT):
            before = proxy.fired["stall"]
            proxy.stall(direction=direction)
            sock = one.connection._sock
            sock.sendall(resp.encode("ECHO", direction))
            sock.settimeout(0.15)
            with pytest.raises(TimeoutError):
                sock.recv(100)
            proxy.resume()
            sock.settimeout(5)
            assert direction.encode() in sock.recv(100)
            assert proxy.fired["stall"] > before


def test_a_stall_of_the_subscription_leaves_the_data(proxy, server):
    data, pubsub = client(proxy), subscriber(proxy)
    data.ping()
    proxy.stall(which=SUBSCRIPTION)
    server.client().publish("c", "late")
    assert data.ping()
    assert payload(pubsub, 0.2) is None
    proxy.heal()
    assert payload(pubsub) == b"late"


def test_exactly_one_wanted_message_is_dropped_and_the_link_lives(proxy, server):
    pubsub = subscriber(proxy)
    drop = proxy.drop_next_message(lambda data: data.startswith(b"b"))
    for text in (b"a", b"b1", b"b2"):
        server.client().publish("c", text)
    assert [payload(pubsub), payload(pubsub)] == [b"a", b"b2"]
    assert drop.wait() and drop.message.payload == b"b1" and drop.message.channel == b"c"
    assert proxy.fired["drop"] == 1
    assert [m.payload for m in proxy.messages] == [b"a", b"b1", b"b2"]
    assert proxy.wait_message(lambda data: data == b"b2")
    assert proxy.count(SUBSCRIPTION) == 1


def test_a_message_is_dropped_when_bytes_come_one_by_one(server, tmp_path):
    with Proxy(server.socket, listen=str(tmp_path / "inner.sock")) as inner, \
            Proxy(str(tmp_path / "inner.sock"), listen=str(tmp_path / "outer.sock")) as outer:
        inner.one_byte()
        pubsub = subscriber(outer)
        drop = outer.drop_next_message()
        server.client().publish("c", "first")
        server.client().publish("c", "second")
        assert payload(pubsub) == b"second" and drop.fired


def test_a_delay_holds_back_and_keeps_the_order(proxy):
    one = client(proxy).client()
    one.ping()
    proxy.delay(30, jitter_ms=50, direction=TO_CLIENT)
    begin = time.monotonic()
    one.connection._sock.sendall(b"".join(resp.encode("ECHO", n) for n in range(10)))
    answers = [one.connection.read_response() for _ in range(10)]
    assert answers == [b"%d" % n for n in range(10)]
    assert time.monotonic() - begin >= 0.03
    assert proxy.fired["delay"] >= 1


def test_what_a_delay_holds_back_arrives_when_healed(proxy):
    one = client(proxy, timeout=30).client()
    one.ping()
    proxy.delay(20000, direction=TO_CLIENT)
    one.connection._sock.sendall(b"".join(resp.encode("ECHO", n) for n in range(3)))
    deadline = time.monotonic() + 5
    while not proxy.fired["delay"] and time.monotonic() < deadline:
        time.sleep(0.005)
    assert proxy.fired["delay"] >= 1
    begin = time.monotonic()
    proxy.heal()
    assert [one.connection.read_response() for _ in range(3)] == [b"0", b"1", b"2"]
    assert time.monotonic() - begin < 10


def test_a_cut_ends_the_chosen_connections(proxy):
    data, pubsub = client(proxy).client(), subscriber(proxy)
    data.ping()
    assert proxy.cut(which=SUBSCRIPTION) == 1
    with pytest.raises(redis_py.ConnectionError):
        pubsub.connection.read_response()
    assert data.ping()
    assert proxy.cut(reset=True) == 1


@pytest.mark.parametrize("count", [0, 1, 5, 9])
def test_a_cut_comes_after_exactly_so_many_bytes(proxy, count):
    one = client(proxy).client()
    one.ping()
    proxy.cut_after(count)
    one.connection._sock.sendall(resp.encode("ECHO", "x" * 20))
    received = b""
    while True:
        piece = one.connection._sock.recv(100)
        if not piece:
            break
        received += piece
    assert received == (b"$20\r\n" + b"x" * 20)[:count]
    assert proxy.fired["cut_after"] == 1


@pytest.mark.parametrize("at", [0, 1, 5, 9, 26])
def test_a_cut_in_a_frame_waits_for_one_that_is_long_enough(proxy, at):
    data = client(proxy).client()
    data.ping()
    proxy.cut_frame(at)
    sock, received = data.connection._sock, b""
    sock.sendall(resp.encode("ECHO", "") + resp.encode("ECHO", "x" * 20))
    while piece := sock.recv(100):
        received += piece
    short, long = b"$0\r\n\r\n", b"$20\r\n" + b"x" * 20 + b"\r\n"
    assert received == (short[:at] if at < len(short) else short + long[:at])
    assert proxy.fired["cut_after"] == 1


def test_what_arrives_while_the_other_direction_stands_still_is_counted(proxy, server):
    pubsub = subscriber(proxy)
    proxy.stall(direction=TO_REDIS)
    before = proxy.fired["half_open"]
    server.client().publish("c", "one way")
    assert payload(pubsub) == b"one way"
    proxy.count()  # once it has the lock the turn that wrote the message is over
    assert proxy.fired["half_open"] > before
    proxy.resume()
    before = proxy.fired["half_open"]
    server.client().publish("c", "both ways")
    assert payload(pubsub) == b"both ways" and proxy.fired["half_open"] == before


def test_a_cut_counts_what_was_held_back_and_will_not_arrive(proxy):
    one, other = client(proxy).client(), client(proxy).client()
    for each in (one, other):
        each.ping()
    proxy.stall(direction=TO_REDIS)
    one.connection.send_command("PING")
    assert proxy.cut() == 2
    proxy.resume()
    assert proxy.fired["stall"] == 1


def test_refused_connections_are_refused_until_healed(proxy):
    proxy.refuse()
    with pytest.raises(redis_py.ConnectionError):
        client(proxy).ping()
    proxy.heal()
    assert client(proxy).ping()


def test_a_dead_redis_closes_the_connection(tmp_path):
    with PrivateRedis() as server, Proxy(server.socket, listen=str(tmp_path / "p.sock")) as proxy:
        one = client(proxy).client()
        one.ping()
        server.kill()
        assert one.connection._sock.recv(10) == b""
        with pytest.raises(redis_py.ConnectionError):
            client(proxy).ping()


def test_half_a_frame_before_the_end_arrives(tmp_path):
    path = str(tmp_path / "fake.sock")
    with socket.socket(socket.AF_UNIX) as fake:
        fake.bind(path)
        fake.listen(1)
        with Proxy(path, listen=str(tmp_path / "p.sock")) as proxy:
            one = socket.socket(socket.AF_UNIX)
            one.settimeout(5)
            one.connect(proxy.address[5:])
            served, _ = fake.accept()
            served.sendall(b"$10\r\nhalf")
            served.close()
            assert one.recv(100) == b"$10\r\nhalf" and one.recv(100) == b""
            one.close()


def test_a_closed_proxy_leaves_no_socket_behind(server, tmp_path):
    path = tmp_path / "gone.sock"
    with Proxy(server.socket, listen=str(path)):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
    assert not path.exists()


def test_a_request_is_answered_in_its_turn_and_never_seen_by_redis(server, proxy):
    direct, conn = server.client(), client(proxy)
    direct.set("counter", 5)
    proxy.answer_next(b"-READONLY no\r\n", command=b"INCRBY")
    pipe = conn.pipeline(transaction=False)
    pipe.get("counter").incr("counter").get("counter")
    first, second, third = pipe.execute(raise_on_error=False)
    assert (first, third) == (b"5", b"5") and isinstance(second, redis_py.ReadOnlyError)
    assert conn.incr("counter") == 6 and proxy.fired["answer"] == 1


def test_a_forwarded_request_is_done_though_its_answer_is_replaced(server, proxy):
    server.client().set("counter", 5)
    proxy.answer_next(b"-ERR odd\r\n", command=b"INCRBY", forward=True)
    with pytest.raises(redis_py.ResponseError, match="odd"):
        client(proxy).incr("counter")
    assert server.client().get("counter") == b"6"


def test_a_corrupt_frame_is_no_resp(proxy):
    conn = client(proxy)
    conn.ping()
    proxy.corrupt_next()
    with pytest.raises(redis_py.InvalidResponse):
        conn.get("key")
    assert proxy.fired["corrupt"] == 1


def test_a_corrupt_message_is_a_good_frame_with_another_payload(server, proxy):
    pubsub = subscriber(proxy)
    proxy.corrupt_next(message=True)
    server.client().publish("c", b"Message")
    assert payload(pubsub) == bytes([ord("M") ^ 0x80]) + b"essage"
    server.client().publish("c", b"Message")
    assert payload(pubsub) == b"Message"
