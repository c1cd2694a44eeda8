"""Memory under clients that want it all: never more than the configured budgets and 32 MiB."""
import os
import resource
import struct
import time

import pytest

from daemon import ABSENT, PATIENCE, Daemon
from private_redis import PrivateRedis
from sockets import request

BUFFERS, CACHE = 8 << 20, 8 << 20
SANITIZED = "ASAN_OPTIONS" in os.environ
# The sanitizer keeps what was freed for a while.
LIMIT = BUFFERS + CACHE + (32 << 20) + ((1 << 30) if SANITIZED else 0)
CONFIG = {"limits": {"buffers": "8M", "timeout": "20s"}, "cache": {"max_memory": "8M"}, "log": {"level": "info"}}


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    """Enough for a thousand clients on our side."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(name="redis")
def fixture_redis():
    with PrivateRedis() as redis:
        yield redis


@pytest.fixture(name="daemon")
def fixture_daemon(redis):
    config = {**CONFIG, "staleness": {"bound": "20s"}}
    with Daemon(redis=redis.socket, pod="greedy", config=config) as daemon:
        yield daemon
        assert daemon.stop(timeout=20) == 0, daemon.log()


def connect(daemon, count):
    clients = [daemon.client(timeout=30) for _ in range(count)]
    daemon.wait_until(lambda: clients[0].call("stats")["connections"] == count)
    return clients


def send_what_fits(client, data):
    """How many of the bytes the socket took."""
    client.sock.setblocking(False)
    try:
        return client.sock.send(data)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        return 0
    finally:
        client.sock.settimeout(30)


def close_all(daemon, clients):
    for client in clients:
        client.close()
    daemon.wait_until(lambda: daemon.stats()["connections"] <= 1, timeout=20)
    assert daemon.stats()["buffered_bytes"] == 0


def test_unfinished_frames_of_a_thousand_connections(daemon):
    good, *clients = connect(daemon, 900)
    good.set(b"k", b"v")
    head = b"\x94\x00\x01\xa3set\x93\xc4\x01k\xc6" + struct.pack(">I", 1 << 20)
    sent = [send_what_fits(client, head) for client in clients]
    worst = 0
    for _ in range(20):
        sent = [n + send_what_fits(client, b"x" * 20000) for n, client in zip(sent, clients)]
        started = time.monotonic()
        assert good.get(b"k")["value"] == b"v"
        worst = max(worst, time.monotonic() - started)
        assert daemon.rss_bytes() < LIMIT
    stats = good.call("stats")
    assert sum(sent) > 2 * BUFFERS and stats["input_waits"] > 0, "the attack has to have had an effect"
    assert stats["buffered_bytes"] <= BUFFERS + 900 * 8192
    assert worst < 0.5 * PATIENCE
    close_all(daemon, [good, *clients])


def test_answers_that_a_thousand_connections_do_not_take(daemon):
    good, *clients = connect(daemon, 900)
    good.set(b"small", b"v")
    good.set(b"large", b"x" * 100_000)
    asked = request("get", b"large") * 20 + request("get", b"small") * 500 + request("mget", [b"large"] * 20)
    for client in clients:
        send_what_fits(client, asked)
    worst = 0
    for _ in range(20):
        started = time.monotonic()
        assert good.get(b"small")["value"] == b"v"
        worst = max(worst, time.monotonic() - started)
        assert daemon.rss_bytes() < LIMIT
        for client in clients[::7]:
            send_what_fits(client, asked)
    stats = good.call("stats")
    assert stats["buffered_bytes"] > BUFFERS / 2 or stats["closed_budget"] > 0
    assert worst < 0.5 * PATIENCE
    close_all(daemon, [good, *clients])


# Each waits for Redis, and holds something until then.
WAITING = {
    "get with a long key": lambda n: request("get", b"%d" % n + b"k" * 1000),
    "mget of one": lambda n: request("mget", [b"%d" % n]),
    "mget of many wrong": lambda n: request("mget", [b"!dcached:x"] * 1023 + [b"%d" % n]),
    "mset": lambda n: request("mset", [[b"!dcached:x", b""]] * 1023 + [[b"%d" % n, b"v"]]),
    "set": lambda n: request("set", b"%d" % n, b"v" * 4000),
    "inspect with a long key": lambda n: request("inspect", b"%d" % n + b"k" * 1000),
    "verify": lambda n: request("verify"),
}


@pytest.mark.parametrize("name", WAITING)
def test_requests_that_wait_for_a_redis_that_stands_still(redis, daemon, name):
    good, *clients = connect(daemon, 13)
    for i in range(1000):
        good.send("set", b"v%d" % i + b"k" * 900, b"v")
    good.set(b"k", b"v")
    redis.pause()
    for n, client in enumerate(clients):
        # A page of verify is a thousand questions to Redis.
        data = b"".join(WAITING[name](n * 800 + i) for i in range(50 if name == "verify" else 800))
        while data:
            taken = send_what_fits(client, data)
            data = data[taken:] if taken else b""
    assert good.get(b"k")["value"] == b"v"
    assert daemon.rss_bytes() < LIMIT, good.call("status")
    assert good.call("status")["waiting"] > 0
    redis.resume()
    daemon.wait_until(lambda: good.call("status")["waiting"] == 0, timeout=20)
    assert good.get(b"absent")["state"] == ABSENT
    close_all(daemon, [good, *clients])
    assert daemon.rss_bytes() < LIMIT
    with daemon.client() as client:
        assert client.call("mget", [b"k"])[0][2] == b"v"
        daemon.wait_until(lambda: client.call("status")["waiting"] == 0)


def test_a_client_that_walks_the_whole_table_again_and_again_holds_nobody_up(daemon):
    good, *walkers = connect(daemon, 5)
    for i in range(300):
        good.set(b"k%d" % i, b"v")
    pages = {"versions": request("versions", b"none of them", 0, 1000), "verify": request("verify", 0, 1000),
             "mget": request("mget", [b"k%d" % (i % 300) for i in range(1024)])}
    for data in pages.values():
        for walker in walkers:
            send_what_fits(walker, data * 200)
        deadline, worst = time.monotonic() + 0.5, 0
        while time.monotonic() < deadline:
            started = time.monotonic()
            assert good.get(b"k1")["value"] == b"v"
            worst = max(worst, time.monotonic() - started)
        assert worst < 0.25 * PATIENCE
    close_all(daemon, [good, *walkers])
