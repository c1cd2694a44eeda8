"""Loss and failover on real servers: each is a new epoch, and nothing of the old one is served after."""
import os
import time

import pytest

from daemon import ABSENT, ACCEPTED, FAILED, FRESH, PATIENCE, RpcError
from private_redis import PrivateRedis

CONFIG = {"staleness": {"bound": "400ms"}}
SERVER = {"tcp": True, "repl_diskless_sync_delay": 0}
KEYS = [b"k%d" % i for i in range(8)]


def wait_for(condition, what, timeout=10):
    deadline = time.monotonic() + timeout * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def follow(replica, primary):
    replica.client().replicaof("127.0.0.1", primary.port)
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "the replica follows")


def caught_up(replica, primary):
    offset = primary.client().info("replication")["master_repl_offset"]
    wait_for(lambda: replica.client().info("replication")["slave_repl_offset"] >= offset, "the replica caught up")


class Store:
    """Two servers and the address that the pods know: what becomes of the store behind it."""

    def __init__(self, primary, other, proxy):
        self.primary, self.other, self.proxy = primary, other, proxy

    def stale_copy(self):
        """The other server has all that is stored now, and nothing of what follows."""
        follow(self.other, self.primary)
        caught_up(self.other, self.primary)
        self.other.client().replicaof("no", "one")

    def move(self):
        self.proxy.upstream = self.other.socket
        self.proxy.cut()

    def restart(self):
        self.primary.restart()

    def flush(self):
        self.primary.client().flushall()

    def stale_failover(self):
        self.primary.client().replicaof("127.0.0.1", self.other.port)
        self.move()

    def clean_failover(self):
        follow(self.other, self.primary)
        caught_up(self.other, self.primary)
        self.other.client().replicaof("no", "one")
        self.primary.client().replicaof("127.0.0.1", self.other.port)
        self.move()

    def rollback(self):
        follow(self.primary, self.other)
        self.primary.client().replicaof("no", "one")

    def away_and_back(self):
        """Nothing is lost: the server is nobody's replica for long enough to get other data."""
        self.primary.client().replicaof("127.0.0.1", 1)
        self.primary.client().replicaof("no", "one")


# What happens: what is there of the later writes then, and words of the reasons that pods may give.
EVENTS = {
    "restart": ("kept", ["run id"]),
    "flush": ("empty", ["flushed", "another pod"]),
    "stale_failover": ("older", ["run id"]),
    "clean_failover": ("kept", ["run id"]),
    "rollback": ("older", ["replication history"]),
    "away_and_back": ("kept", ["replication history"]),
}


@pytest.fixture(name="store")
def fixture_store(start_proxy):
    with PrivateRedis(appendonly="yes", **SERVER) as primary, PrivateRedis(**SERVER) as other:
        yield Store(primary, other, start_proxy(primary))


def state_of(client, key):
    try:
        return client.get(key)
    except RpcError:
        return {"state": FAILED}


@pytest.mark.parametrize("event", EVENTS)
def test_nothing_of_the_old_epoch_is_served_once_it_has_ended(store, start_daemon, event):
    left, reasons = EVENTS[event]
    pods = [start_daemon(store.proxy, config=CONFIG), start_daemon(store.proxy, config=CONFIG),
            start_daemon(store.proxy, config=CONFIG, role="reader")]
    clients = [pod.client() for pod in pods]
    first = [clients[0].set(key, b"first", version=1) for key in KEYS]
    store.stale_copy()  # its first replica begins another replication history, so another epoch
    begun = first[0]["epoch"]
    wait_for(lambda: len({pod.status()["epoch"] for pod in pods}) == 1 and
             all(pod.status()["ready"] and pod.status()["epoch"] != begun for pod in pods), "one epoch")
    pods[0].wait_until(lambda: pods[0].status()["writes_ok"])
    for key in KEYS:
        assert clients[0].set(key, b"second", version=2)["outcome"] == ACCEPTED
    for client in clients:
        assert all(client.get(key)["value"] == b"second" for key in KEYS)
    before = pods[0].status()

    getattr(store, event)()
    expected = {"kept": (FRESH, 2), "older": (FRESH, 1), "empty": (ABSENT, None)}[left]
    for pod, client in zip(pods, clients):
        wait_for(lambda p=pod: p.status()["run" if left == "kept" else "epoch"] !=
                 before["run" if left == "kept" else "epoch"], f"{event} is noticed")
        for key in KEYS:
            reading = state_of(client, key)
            if reading["state"] != FAILED:
                assert (reading["state"], reading.get("version") or None) == expected, reading
    wait_for(lambda: len({pod.status()["epoch"] for pod in pods}) == 1 and
             all(pod.status()["ready"] for pod in pods), "one epoch again")
    assert pods[0].status()["epoch"] != before["epoch"]
    whys = [pod.status()["epoch_why"] for pod in pods]
    assert all(any(words in why for words in [*reasons, "another pod set it"]) for why in whys), whys
    assert any(words in why for words in reasons for why in whys), whys
    for client in clients:
        for key in KEYS:
            assert (client.get(key)["state"], client.get(key).get("version") or None) == expected
        client.close()


def test_pods_that_notice_a_rollback_at_different_times_agree_on_one_new_epoch(store, start_daemon):
    pods = [start_daemon(store.proxy, config=CONFIG) for _ in range(4)]
    begun = pods[0].status()["epoch"]
    store.stale_copy()  # begins another epoch, which each pod sees at its next heartbeat
    wait_for(lambda: len({pod.status()["epoch"] for pod in pods} - {begun}) == 1 and
             all(pod.status()["ready"] and pod.status()["epoch"] != begun for pod in pods), "one epoch")
    for _ in range(5):
        epochs = [pod.stats()["epochs"] for pod in pods]
        before = pods[0].status()["epoch"]
        store.away_and_back()
        wait_for(lambda b=before: len({pod.status()["epoch"] for pod in pods} - {b}) == 1 and
                 all(pod.status()["ready"] and pod.status()["epoch"] != b for pod in pods), "one new epoch")
        after = pods[0].status()["epoch"]
        time.sleep(0.3)  # three heartbeats, in which a second renewal would be seen
        assert {pod.status()["epoch"] for pod in pods} == {after}
        assert [pod.stats()["epochs"] for pod in pods] == [n + 1 for n in epochs], [pod.log() for pod in pods]


def test_reads_go_on_while_meta_is_gone_and_no_epoch_can_be_set(start_daemon):
    with PrivateRedis(**SERVER) as store:
        daemon = start_daemon(store, config=CONFIG)
        with daemon.client() as client:
            for key in KEYS:
                client.set(key, b"v")
            admin = store.client()
            admin.hdel("dc:{0}!meta", "epoch")
            admin.config_set("min-replicas-to-write", 1)
            daemon.wait_until(lambda: "NOREPLICAS" in daemon.status()["writes_text"])
            for key in KEYS:  # one after the other: each fetch follows one that has shown a seq
                assert state_of(client, key)["state"] == FRESH, (key, daemon.log())
            assert daemon.stats()["refused"] == 0
