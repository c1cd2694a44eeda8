"""The sampler finds what no promise allows in a world broken past dcached; trace tells how it came to that."""
import json
import os
import subprocess
import time

import pytest

from daemon import FRESH, PATIENCE, build_dir

DCACHECTL = os.path.join(build_dir(), "client", "dcachectl", "dcachectl")
FAST = {"staleness": {"bound": "300ms"}, "verify": {"interval": "20ms", "samples": "8"},
        "cache": {"max_memory": "8M"}}


def ctl(daemon, *args):
    return subprocess.run([DCACHECTL, "-s", daemon.socket, *args], capture_output=True, text=True, timeout=60,
                          check=False)


def kinds(client, key):
    return [(event["kind"], event["detail"]) for event in client.call("trace", key)["events"]
            if not event["all_keys"]]


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds * PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(name="pod")
def fixture_pod(redis, start_proxy, start_daemon):
    return start_daemon(start_proxy(redis), config=FAST)


def write_past_dcached(redis, client, key, version):
    """A newer record that nobody was told of: no message, and meta as it was."""
    seq = client.call("inspect", key)["redis"]["seq"]
    raw = redis.client()
    record = raw.get(b"dc:{0}:" + key)
    raw.set(b"dc:{0}:" + key, b"1%019d%019d" % (version, seq + 1) + record[39:])


def test_an_inconsistency_is_found_logged_with_its_events_and_dropped(redis, pod):
    with pod.client() as client:
        client.set(b"k", b"v", version=3)
        until(lambda: client.call("stats")["verify_checked"] > 0)
        reads = client.call("stats")["reads"]
        begin = time.monotonic()
        write_past_dcached(redis, client, b"k", 4)
        until(lambda: client.call("stats")["verify_differs_bound"] == 1)
        assert time.monotonic() - begin >= 0.3
        stats = client.call("stats")
        assert stats["verify_differs"] >= 1 and stats["verify_inconsistent_ppm"] > 0 and stats["reads"] == reads
        assert ("inconsistent", "newer") in kinds(client, b"k")
        # It was dropped, so the next read fetches what Redis has.
        assert (client.get(b"k")["version"], client.get(b"k")["state"]) == (4, FRESH)
    lines = [line for line in pod.log().split("\n") if "INCONSISTENT" in line]
    assert len(lines) == 1, lines
    for part in (" error ", "key=k", "cached_version=3", "redis_version=4", "entered the cache (write)",
                 "differs from Redis"):
        assert part in lines[0], lines


def test_without_a_fault_thousands_of_looks_find_nothing(redis, pod, start_daemon):
    other = start_daemon(redis, config=FAST)
    with pod.client() as one, other.client() as two:
        end = time.monotonic() + 2
        version = 0
        while time.monotonic() < end:
            version += 1
            for i in range(20):
                (one if i % 2 else two).set(b"key-%d" % i, b"%d" % version)
                (two if i % 2 else one).get(b"key-%d" % i)
        for client in (one, two):
            stats = client.call("stats")
            assert stats["verify_checked"] > 100 / PATIENCE
            assert stats["verify_differs_bound"] == stats["verify_lost"] == stats["verify_inconsistent_ppm"] == 0


def test_what_redis_has_lost_is_counted_apart_and_dropped(redis, pod):
    with pod.client() as client:
        client.set(b"k", b"v", version=3)
        redis.client().delete(b"dc:{0}:k")
        until(lambda: client.call("stats")["verify_lost"] == 1)
        assert client.call("stats")["verify_differs_bound"] == 0
        assert client.get(b"k")["version"] == 0


def test_verify_fails_for_what_still_differs_after_the_bound(redis, start_daemon):
    pod = start_daemon(redis, config={**FAST, "verify": {"interval": "0"}})
    with pod.client() as client:
        client.set(b"k", b"v", version=3)
        client.set(b"fine", b"v", version=3)
        assert ctl(pod, "verify").returncode == 0
        write_past_dcached(redis, client, b"k", 4)
        run = ctl(pod, "verify", "--json", "--wait", "200ms")
        assert run.returncode == 1, run.stderr
        answer = json.loads(run.stdout)
        assert [(d["key"], d["remains"]) for d in answer["different"]] == [("k", True)]
        assert answer["different"][0]["differs_ms"] >= 500
        assert client.call("stats")["verify_checked"] == 0


def test_trace_tells_a_write_here_and_its_message_there(redis, start_daemon):
    one, other = start_daemon(redis), start_daemon(redis)
    with one.client() as a, other.client() as b:
        b.set(b"k", b"old", version=1)
        # Its message, or a fetch before it: what comes then is of the write below.
        until(lambda: any(kind == "receive" for kind, _ in kinds(a, b"k")))
        written = a.set(b"k", b"v", version=7)
        until(lambda: b.get(b"k")["version"] == 7)
        own = kinds(a, b"k")
        own = own[own.index(("write", "set")):]
        assert ("acknowledge", "accepted") in own
        # The answer of the write, or its message, comes first; that one brings it into the cache.
        assert (("fill", "write") in own) != (("receive", "applied") in own), own
        event = b.call("trace", b"k")["events"][-1]
        assert (event["kind"], event["version"], event["seq"], event["source"]) == (
            "receive", 7, written["seq"], "pod-0")
        run = ctl(other, "trace", "k")
        assert run.returncode == 0 and "message received (applied)" in run.stdout and "from pod-0" in run.stdout


def test_trace_shows_refusals_under_a_partition_and_the_way_back(redis, start_proxy, start_daemon):
    proxy = start_proxy(redis)
    pod = start_daemon(proxy, config=FAST)
    with pod.client() as client:
        client.set(b"k", b"v", version=3)
        proxy.stall()
        until(lambda: client.call("status")["ready"] is False)
        for _ in range(3):
            with pytest.raises(Exception):
                client.get(b"k", timeout_ms=20)
        proxy.heal()
        until(lambda: client.call("status")["ready"] is True)
        trace = client.call("trace", b"k")["events"]
    names = [event["kind"] for event in trace]
    assert names.index("not_ready") < names.index("refuse") < len(names) - 1 - names[::-1].index("ready")


def test_a_small_recorder_says_how_far_back_it_reaches_and_none_that_there_is_none(redis, start_daemon):
    small = start_daemon(redis, config={"trace": {"events": "8"}})
    with small.client() as client:
        for i in range(50):
            client.set(b"key-%d" % i, b"v")
        trace = client.call("trace", b"key-0")
        assert trace["overwritten"] and trace["reach_ms"] < 60_000
        assert [event for event in trace["events"] if not event["all_keys"]] == []
        assert client.call("stats")["trace_events"] > 100
    none = start_daemon(redis, config={"trace": {"events": "0"}})
    with none.client() as client:
        client.set(b"k", b"v")
        assert client.call("trace", b"k") == {"events": [], "recorder": False, "overwritten": False,
                                              "reach_ms": None}
