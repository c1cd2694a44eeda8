"""An application and an operator on a real daemon: libdcache-client and dcachectl, end to end."""
import json
import os
import subprocess

import pytest

from daemon import build_dir
from dcache import Client, Result

DCACHECTL = os.path.join(build_dir(), "client", "dcachectl", "dcachectl")


def ctl(daemon, *args):
    return subprocess.run([DCACHECTL, "-s", daemon.socket, *args], capture_output=True, text=True, timeout=20,
                          check=False)


@pytest.fixture(name="pod")
def fixture_pod(redis, start_daemon):
    return start_daemon(redis)


def test_a_write_in_one_pod_is_read_in_the_other(redis, start_daemon):
    one, other = start_daemon(redis), start_daemon(redis)
    with Client(one.socket) as writer, Client(other.socket) as reader:
        for version in (1, 2, 3):
            written = writer.set("k", b"v%d" % version, version=version)
            assert (written.result, written.version) == (Result.OK, version)
            reading = reader.get("k", min_version=version, epoch=written.epoch)
            assert (reading.result, reading.value) == (Result.OK, b"v%d" % version)
        assert writer.delete("k", version=4).result == Result.OK
        assert reader.get("k", strong=True).result == Result.ABSENT
        assert writer.set("k", "late", version=3).result == Result.STALE


def test_a_retried_write_commits_once(pod):
    with Client(pod.socket) as client:
        first = client.set("k", "v")
        again = client.set("k", "v", write_id=first.write_id, retry=True)
        assert again.result in (Result.OK, Result.DUPLICATE)
        assert (again.version, again.seq) == (first.version, first.seq)


def test_calls_go_on_through_kill_9_of_the_daemon(pod):
    with Client(pod.socket, timeout_ms=2000) as client:
        assert client.set("k", "v", version=7).result == Result.OK
        pod.kill()
        assert client.get("k").result == Result.E_UNREACHABLE
        pod.start()
        reading = client.get("k")
        assert (reading.result, reading.version) == (Result.OK, 7), client.error()


def test_a_stopped_daemon_gives_no_old_value(pod):
    with Client(pod.socket, timeout_ms=400) as client:
        client.set("k", "v")
        pod.pause()
        try:
            assert client.get("k").result == Result.E_TIMEOUT
        finally:
            pod.resume()
        assert client.get("k", timeout_ms=5000).value == b"v"


def test_the_operator_sees_what_the_application_did(pod):
    with Client(pod.socket) as client:
        client.set("user:1", "v", version=7)
    assert ctl(pod, "get", "user:1").stdout == "v"
    seen = json.loads(ctl(pod, "--json", "inspect", "user:1").stdout)
    assert seen["verdict"] == "fresh" and seen["redis"]["version"] == seen["cached"]["version"] == 7
    assert "Cache and Redis agree." in ctl(pod, "inspect", "user:1").stdout
    entries = json.loads(ctl(pod, "versions", "user:", "--json").stdout)["entries"]
    assert len(entries) == 1 and entries[0]["key"] == "user:1"
    assert (entries[0]["cached_version"], entries[0]["state"]) == (7, "fresh")
    assert ctl(pod, "verify").returncode == 0
    assert ctl(pod, "set", "user:1", "older", "--version", "6").returncode == 5
    stats = json.loads(ctl(pod, "stats", "--json").stdout)
    for name in "version_checks stale_rejected duplicates accepted hits misses refused errors reads".split():
        assert isinstance(stats[name], int), name
    assert stats["reads"] == stats["hits"] + stats["misses"] + stats["refused"] + stats["errors"]


def test_status_is_exit_6_once_redis_is_gone(pod, redis):
    assert ctl(pod, "status").returncode == 0
    redis.kill()
    pod.wait_until(lambda: not pod.status()["ready"])
    run = ctl(pod, "status")
    assert run.returncode == 6 and run.stdout.startswith("not ready: ")
    assert ctl(pod, "set", "k", "v").returncode in (6, 8)


def test_a_stopped_daemon_executes_no_write_after_its_deadline(pod):
    with Client(pod.socket) as client:
        assert client.set("k", "before", version=1).result == Result.OK
        pod.pause()
        try:
            late = client.set("k", "late", version=2, timeout_ms=200)
            assert late.result == Result.E_INDETERMINATE
        finally:
            pod.resume()
        pod.wait_until(lambda: pod.stats()["writes_refused"] == 1)
        assert client.get("k", strong=True).value == b"before"
        again = client.set("k", "late", version=2, write_id=late.write_id, retry=True)
        assert again.result == Result.OK


def test_a_stopped_daemon_executes_no_clear_after_its_deadline(redis, start_daemon):
    pod, other = start_daemon(redis), start_daemon(redis)
    with Client(pod.socket, timeout_ms=500) as client, Client(other.socket, timeout_ms=5000) as writer:
        epoch = writer.set("k", "before").epoch
        assert client.ping() == Result.OK
        pod.pause()
        try:
            assert client.clear().result == Result.E_INDETERMINATE
            assert writer.set("k", "since").result == Result.OK
        finally:
            pod.resume()
        pod.wait_until(lambda: pod.status()["epoch"] != epoch or pod.stats()["writes_refused"] == 1)
        reading = writer.get("k", strong=True)
        assert (reading.result, reading.value) == (Result.OK, b"since")
        assert writer.clear().result == Result.OK
        assert writer.get("k", strong=True).result == Result.ABSENT
