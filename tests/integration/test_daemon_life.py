"""The life of a daemon beside a Redis that comes, goes and comes back."""
import time

from daemon import ABSENT, ACCEPTED, FRESH, INDETERMINATE, PATIENCE, REFUSED, UNAVAILABLE, RpcError
from private_redis import PrivateRedis
from proxy import DATA, TO_CLIENT
from sockets import refusal_of

BOUND = {"staleness": {"bound": "400ms"}}  # H = 100 ms, and the longest pause between two attempts, too
AOF = {"appendonly": "yes", "appendfsync": "always"}


def test_a_daemon_without_redis_says_so_refuses_and_serves_soon_after_it_is_there(redis, start_daemon):
    redis.stop()
    daemon = start_daemon(redis, config=BOUND, ready=False)
    with daemon.client() as client:
        daemon.wait_until(lambda: "cannot connect to Redis" in daemon.log())
        assert "waiting" in client.call("status")["redis_data"]
        assert refusal_of(client, "get", b"k", {"timeout_ms": 20}) == REFUSED
        assert refusal_of(client, "set", b"k", b"v", {"timeout_ms": 20}) == UNAVAILABLE
        # Long enough for the pauses between attempts to have grown to their longest.
        daemon.wait_until(lambda: client.call("stats")["redis_connect_failures"] > 12)
        redis.start()
        started = time.monotonic()
        daemon.wait_until(lambda: client.call("status")["ready"])
        # One pause, H and 100 ms; the rest is this machine's.
        assert time.monotonic() - started < (0.1 + 0.1 + 0.1 + 0.3) * PATIENCE
        daemon.wait_until(lambda: client.call("status")["writes_ok"])
        assert client.set(b"k", b"v", version=1)["outcome"] == ACCEPTED
        assert client.get(b"k")["value"] == b"v"


def test_the_clock_of_the_store_is_told_right_while_redis_is_away(redis, start_daemon):
    daemon = start_daemon(redis, config=BOUND)
    redis.stop()
    with daemon.client() as client:
        daemon.wait_until(lambda: client.call("status")["as_of_age_ms"] > 1000)
        asked = time.time_ns() // 1000
        told = client.call("status")["store_time_us"]
    # It is the clock of this machine; how long the answer of TIME took is not known, at most a heartbeat.
    assert asked - 5000 < told < time.time_ns() // 1000 + 400000


def test_a_killed_daemon_serves_again_within_a_second_and_knows_what_it_acknowledged(redis, start_daemon):
    daemon = start_daemon(redis)
    for version in range(1, 6):
        with daemon.client() as client:
            assert client.set(b"k", b"v%d" % version, version=version)["outcome"] == ACCEPTED
        daemon.kill()
        started = time.monotonic()
        daemon.start()
        assert time.monotonic() - started < 1 * PATIENCE
        reading = daemon.call("get", b"k")
        assert (reading[0], reading[2], reading[3]) == (FRESH, b"v%d" % version, version)


def try_set(client, key, value, **options):
    """The outcome, or the code of the error."""
    try:
        return client.set(key, value, **options)["outcome"]
    except RpcError as error:
        return -error.code


def test_a_killed_redis_comes_back_as_a_new_epoch_and_nothing_acknowledged_is_lost(start_daemon):
    with PrivateRedis(**AOF) as redis:
        writer, reader = start_daemon(redis, config=BOUND), start_daemon(redis, config=BOUND, role="reader")
        with writer.client() as client, reader.client() as other:
            assert "aof always" in client.call("status")["redis_durability"]
            for i in range(20):
                assert client.set(b"k%d" % i, b"v", version=i + 1)["outcome"] == ACCEPTED
            assert all(other.get(b"k%d" % i)["value"] == b"v" for i in range(20))
            before = client.call("status")
            redis.kill()
            assert try_set(client, b"k0", b"w", version=9, timeout_ms=100) in (-INDETERMINATE, -UNAVAILABLE)
            redis.start()
            for daemon, handle in ((writer, client), (reader, other)):
                daemon.wait_until(lambda h=handle: h.call("status")["ready"] and
                                  h.call("status")["epoch"] != before["epoch"])
                epochs, generation = handle.call("stats")["epochs"], handle.call("status")["generation"]
                assert epochs >= 2 and generation > 1
                # A reader may first have seen the run id, and then the epoch that the writer set.
                assert any(why in handle.call("status")["epoch_why"] for why in ("run id", "another pod set it"))
            # All of it comes from Redis again, not from what was cached before.
            misses = other.call("stats")["misses"]
            assert [other.get(b"k%d" % i)["version"] for i in range(1, 20)] == list(range(2, 21))
            assert other.call("stats")["misses"] == misses + 19
            writer.wait_until(lambda: client.call("status")["writes_ok"])
            assert client.set(b"k1", b"w", version=50)["epoch"] != before["epoch"]


def test_a_redis_that_comes_back_empty_takes_everything_cached_with_it(redis, start_daemon):
    daemon = start_daemon(redis, config=BOUND)
    with daemon.client() as client:
        first = client.set(b"k", b"v", version=7)
        redis.restart(kill=True)
        daemon.wait_until(lambda: client.call("status")["ready"] and
                          client.call("status")["epoch"] != first["epoch"])
        assert client.get(b"k")["state"] == ABSENT
        daemon.wait_until(lambda: client.call("status")["writes_ok"])
        # The history has ended: versions may start again.
        assert client.set(b"k", b"w", version=1)["outcome"] == ACCEPTED


def test_flushall_is_noticed_within_a_heartbeat(redis, start_daemon):
    daemon = start_daemon(redis, config=BOUND)
    with daemon.client() as client:
        epoch = client.set(b"k", b"v", version=7)["epoch"]
        redis.client().flushall()
        started = time.monotonic()
        daemon.wait_until(lambda: client.call("status")["epoch"] != epoch)
        assert time.monotonic() - started < 0.4 * PATIENCE
        assert client.get(b"k", timeout_ms=2000)["state"] == ABSENT


def test_every_read_is_counted_once_whatever_became_of_it(redis, start_daemon):
    daemon = start_daemon(redis, config={**BOUND, "limits": {"timeout": "50ms"}})
    with daemon.client() as client:
        client.set(b"k", b"v")
        asked = 0
        for fault in (lambda: None, redis.pause, redis.resume, lambda: redis.client().flushall()):
            fault()
            deadline = time.monotonic() + 0.6
            while time.monotonic() < deadline:
                client.call("mget", [b"k", b"absent%d" % asked, b"k"])
                asked += 3
        stats = client.call("stats")
        assert stats["reads"] == asked == sum(stats[n] for n in ("hits", "misses", "refused", "errors"))
        assert stats["refused"] > 0 and stats["hits"] > 0 and stats["misses"] > 0
        writes = ("accepted", "stale", "duplicate", "conflict", "local", "refused", "failed", "indeterminate")
        assert stats["writes"] == sum(stats["writes_" + name] for name in writes)


def test_records_are_removed_after_a_clear_whose_answer_was_lost(redis, start_proxy, start_daemon):
    proxy, raw = start_proxy(redis), redis.client()
    daemon = start_daemon(proxy, config=BOUND)
    with daemon.client() as client:
        for i in range(50):
            client.set(b"k%d" % i, b"v", version=1)
        proxy.stall(DATA, TO_CLIENT)
        clear = client.send("clear")
        daemon.wait_until(lambda: raw.hget("dc:{0}!meta", "cleared") != b"0")
        proxy.cut(DATA)
        proxy.resume(DATA, TO_CLIENT)
        assert client.receive_answer(clear)[0][0] == INDETERMINATE
        daemon.wait_until(lambda: not raw.keys("dc:{0}:k*"), timeout=20)  # nobody knows who should: 5 to 10 s
        daemon.wait_until(lambda: client.call("status")["writes_ok"] and client.call("status")["ready"])
        assert client.get(b"k1")["state"] == ABSENT


def test_another_pod_goes_on_with_the_sweep_of_one_that_was_killed(redis, start_daemon):
    raw = redis.client()
    clearing, other = start_daemon(redis, config=BOUND), start_daemon(redis, config=BOUND)
    start_daemon(redis, config=BOUND, role="reader")
    clearing.call("set", b"k", b"v")
    record, pipe = raw.get("dc:{0}:k"), raw.pipeline()
    for i in range(30000):
        pipe.set(f"dc:{{0}}:copy{i}", record)
    pipe.execute()
    clearing.call("clear")
    other.wait_until(lambda: raw.dbsize() < 29500)
    clearing.kill()
    assert raw.dbsize() > 1000 and raw.hget("dc:{0}!meta", "swept") is None
    other.wait_until(lambda: raw.hget("dc:{0}!meta", "swept") == raw.hget("dc:{0}!meta", "cleared"), timeout=30)
    assert not raw.keys("dc:{0}:copy*")
    clearing.start()  # so that it can end well
