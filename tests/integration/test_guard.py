"""The replica guard ([staleness] min_replicas) on a real primary and its replica."""
import os
import time

import pytest

from daemon import ACCEPTED, FRESH, PATIENCE, REFUSED, RpcError
from private_redis import PrivateRedis
from sockets import refusal_of

D = 0.4
BOUND = {"bound": "400ms"}
GUARDED = {"staleness": {**BOUND, "min_replicas": "1"}}
SERVER = {"tcp": True, "repl_diskless_sync_delay": 0, "repl_ping_replica_period": 3600}


def wait_for(condition, what, timeout=10):
    deadline = time.monotonic() + timeout * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def is_refused(client):
    try:
        client.get(b"k")
    except RpcError as error:
        return error.code == REFUSED
    return False


@pytest.fixture(name="pair")
def fixture_pair():
    """A primary and a replica that follows it and has acknowledged something."""
    with PrivateRedis(**SERVER) as primary, PrivateRedis(**SERVER) as replica:
        replica.client().replicaof("127.0.0.1", primary.port)
        client = primary.client(single_connection_client=True)

        def acknowledged():
            # A WAIT behind nothing is answered at once; a new replica is fed only after its first acknowledgement.
            client.publish("pulse", "")
            return client.execute_command("WAIT", 1, 100) == 1
        wait_for(acknowledged, "the replica follows")
        yield primary, replica
        replica.resume()


def test_a_publish_moves_the_offset_that_wait_waits_for(pair):
    """What the guard rests on: acknowledgements from before a split do not answer a WAIT behind a PUBLISH."""
    primary, replica = pair
    client = primary.client(single_connection_client=True)
    client.set("x", 1)

    def caught_up():
        info = client.info("replication")
        return info["slave0"]["offset"] == info["master_repl_offset"]
    wait_for(caught_up, "everything is acknowledged")
    replica.pause()
    assert client.execute_command("WAIT", 1, 20) == 1  # the old acknowledgement
    before = client.info("replication")["master_repl_offset"]
    started = time.monotonic()
    client.publish("pulse", "")
    assert client.info("replication")["master_repl_offset"] > before
    assert client.execute_command("WAIT", 1, 50) == 0
    assert time.monotonic() - started >= 0.05
    assert client.info("replication")["connected_slaves"] == 1  # the primary itself has noticed nothing
    replica.resume()
    wait_for(lambda: client.execute_command("WAIT", 1, 100) == 1, "the replica acknowledges again")


def test_with_its_replica_the_guard_refuses_nothing_and_changes_no_key(pair, start_daemon):
    primary, _ = pair
    pods = [start_daemon(primary, config=GUARDED), start_daemon(primary, config=GUARDED, role="reader")]
    with pods[0].client() as writer, pods[1].client() as reader:
        assert writer.set(b"k", b"v", version=1)["outcome"] == ACCEPTED
        keys = set(primary.client().keys("*"))
        ended = time.monotonic() + 4 * D
        while time.monotonic() < ended:
            assert writer.get(b"k")["state"] == reader.get(b"k")["state"] == FRESH
            assert reader.get(b"k", strong=True)["value"] == b"v"
        for pod in pods:
            assert pod.stats()["refused"] == 0
        assert set(primary.client().keys("*")) == keys


def test_an_old_primary_serves_on_without_the_guard_and_is_refused_within_d_with_it(pair, start_daemon):
    primary, replica = pair
    plain = start_daemon(primary, config={"staleness": BOUND})
    guarded = start_daemon(primary, config=GUARDED, role="reader")
    with plain.client() as off, guarded.client() as on:
        off.set(b"k", b"old", version=1)
        assert on.get(b"k")["value"] == b"old"
        # The split: the replica is promoted elsewhere and commits; the pods still reach the old primary.
        replica.client().replicaof("no", "one")
        promoted = time.monotonic()
        new = start_daemon(replica, config={"staleness": BOUND})
        new.wait_until(lambda: new.status()["writes_ok"])
        with new.client() as elsewhere:
            assert elsewhere.set(b"k", b"new", version=2)["outcome"] == ACCEPTED
        wait_for(lambda: is_refused(on), "reads are refused")
        assert time.monotonic() - promoted < 5 * PATIENCE
        for _ in range(20):
            assert refusal_of(on, "get", b"k") == REFUSED
            assert refusal_of(on, "get", b"other", {"strong": True}) == REFUSED
        status = guarded.status()
        assert not status["ready"] and "0 of 1 replicas acknowledged" in status["reason"]
        assert "min_replicas" in status["reason"]
        assert off.get(b"k")["value"] == b"old"  # that is what the guard is for


def test_a_replica_that_falls_silent_ends_reads_within_d_and_they_come_back_with_it(pair, start_daemon):
    primary, replica = pair
    daemon = start_daemon(primary, config=GUARDED)
    with daemon.client() as client:
        client.set(b"k", b"v", version=1)
        assert client.get(b"k")["state"] == FRESH
        replica.pause()
        silent = time.monotonic()
        wait_for(lambda: not daemon.status()["ready"], "the lease ends")
        # As of the last heartbeat that was acknowledged; the rest is polling.
        assert time.monotonic() - silent < (D + 0.3) * PATIENCE
        assert refusal_of(client, "get", b"k") == REFUSED
        assert primary.client().info("replication")["connected_slaves"] == 1
        assert daemon.stats()["heartbeats_unguarded"] > 0
        replica.resume()
        daemon.wait_until(lambda: daemon.status()["ready"])
        assert client.get(b"k")["value"] == b"v"


@pytest.mark.parametrize("lacks, word", [
    ("-wait", "WAIT"),
    ("resetchannels &cache:invalidate:0:dc:{0}", "{0}:pulse"),
])
def test_a_right_that_the_guard_needs_is_named(pair, folder, start_daemon, lacks, word):
    primary, _ = pair
    path = os.path.join(folder, "password")
    with open(path, "w", encoding="ascii") as f:
        f.write("secret\n")
    os.chmod(path, 0o600)
    primary.client().execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", "~dc:*", "allchannels",
                                     "+@all", *lacks.split())
    daemon = start_daemon(primary, ready=False,
                          config={**GUARDED, "redis": {"username": "app", "password_file": path}})
    daemon.wait_until(lambda: word in daemon.status()["reason"] and "permissions" in daemon.status()["reason"])
    assert not daemon.status()["ready"]
    assert word in daemon.log()
