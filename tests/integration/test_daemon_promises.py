"""What users of several pods are promised: tombstones, lives, invalidation, min_version, permitted staleness."""
import time

import pytest

from daemon import ABSENT, ACCEPTED, FRESH, MIN_VERSION, OLDER, OTHER_EPOCH, PATIENCE, REFUSED, STALE
from sockets import refusal_of

D = 0.4
BOUND = {"staleness": {"bound": "400ms", "max_stale": "5s"}}


@pytest.fixture(name="start")
def fixture_start(shared_redis, start_daemon, request):
    """start(**config sections) -> a daemon of this test's own key prefix."""
    def start(redis=shared_redis, role="writer", **config):
        prefix = {"redis": {"key_prefix": request.node.name[:60] + ":"}}
        return start_daemon(redis, role=role, config={**prefix, **config})
    return start


# ---- tombstones and lives ------------------------------------------------------------------------------------


def test_a_tombstone_keeps_older_writes_out_in_every_pod(start):
    one, two = start(), start()
    with one.client() as a, two.client() as b:
        a.set(b"k", b"v", version=5)
        assert b.get(b"k")["value"] == b"v"
        deleted = a.delete(b"k", version=8)
        assert deleted["outcome"] == ACCEPTED
        reading = b.get(b"k", min_version=8, epoch=deleted["epoch"])
        assert (reading["state"], reading["value"], reading["version"]) == (ABSENT, None, 8)
        older = b.set(b"k", b"again", version=7)
        assert (older["outcome"], older["version"]) == (OLDER, 8)
        assert b.set(b"k", b"reborn", version=9)["outcome"] == ACCEPTED
        assert a.get(b"k", min_version=9)["value"] == b"reborn"


def test_a_tombstone_lives_as_long_as_its_ttl(start):
    with start().client() as client:
        client.set(b"k", b"v", version=5)
        client.delete(b"k", version=8, ttl_ms=50)
        assert client.set(b"k", b"w", version=6)["outcome"] == OLDER
        deadline = time.monotonic() + 5
        while client.set(b"k", b"w", version=6)["outcome"] == OLDER:
            assert time.monotonic() < deadline
        assert client.get(b"k", strong=True)["version"] == 6


def test_a_value_is_gone_when_its_life_ends_in_every_pod(start):
    one, two = start(), start()
    with one.client() as a, two.client() as b:
        a.set(b"k", b"v", version=1, ttl_ms=250)
        ends = time.monotonic() + 0.26  # it was committed before the answer; Redis counts in whole milliseconds
        asked = time.monotonic()
        assert b.get(b"k", strong=True)["state"] in (FRESH, ABSENT)
        while asked < ends:
            asked = time.monotonic()
            states = [c.get(b"k")["state"] for c in (a, b)]
        assert states == [ABSENT, ABSENT]
        assert b.call("stats")["hits"] > 0 and a.call("stats")["hits"] > 0


def test_the_default_ttl_is_that_of_the_configuration(start):
    with start(cache={"default_ttl": "1h"}).client() as client:
        client.set(b"k", b"v")
        left = client.call("inspect", b"k")["redis"]["expires_in_ms"]
        assert 3500_000 < left <= 3600_000
        client.set(b"k", b"v", ttl_ms=0)
        assert client.call("inspect", b"k")["redis"]["expires_in_ms"] is None


# ---- what other pods get -------------------------------------------------------------------------------------


def test_propagate_invalidate_drops_copies_and_carries_no_value(start):
    one, two = start(cache={"propagate": "invalidate"}), start()
    with one.client() as a, two.client() as b:
        b.call("watch", b"k")
        a.set(b"k", b"v", version=1)
        assert b.receive_event()[1]["kind"] == "update"
        seen = b.call("inspect", b"k")
        assert seen["cached"] is None and seen["floor"]["version"] == 1
        misses = b.call("stats")["misses"]
        assert b.get(b"k")["value"] == b"v"
        assert b.call("stats")["misses"] == misses + 1
        # A single call can ask for the other way.
        a.set(b"k", b"w", version=2, invalidate=False)
        assert b.receive_event()[1]["version"] == 2
        assert b.get(b"k")["value"] == b"w"
        assert b.call("stats")["misses"] == misses + 1
        # The writer's own copy stays in any case.
        assert a.call("inspect", b"k")["cached"]["version"] == 2


def test_min_version_is_never_answered_with_less_in_any_pod(start):
    one, two = start(), start()
    with one.client() as a, two.client() as b:
        for version in range(1, 200):
            written = a.set(b"k", b"%d" % version, version=version)
            reading = b.get(b"k", min_version=version, epoch=written["epoch"])
            assert (reading["value"], reading["version"]) == (b"%d" % version, version)
        assert refusal_of(b, "get", b"k", {"min_version": 500, "epoch": written["epoch"]}) == MIN_VERSION
        assert refusal_of(b, "get", b"k", {"min_version": 1, "epoch": "0" * 32}) == OTHER_EPOCH


def test_clear_empties_every_pod_and_begins_a_new_epoch(start):
    one, two = start(), start()
    with one.client() as a, two.client() as b:
        before = a.set(b"k", b"v", version=9)
        assert b.get(b"k")["value"] == b"v"
        cleared = dict(zip(("outcome", "version", "seq", "epoch"), a.call("clear")))
        assert cleared["outcome"] == ACCEPTED and cleared["epoch"] != before["epoch"]
        assert a.get(b"k")["state"] == ABSENT
        two.wait_until(lambda: b.call("status")["epoch"] == cleared["epoch"])
        assert b.get(b"k")["state"] == ABSENT
        assert refusal_of(b, "get", b"k", {"min_version": 9, "epoch": before["epoch"]}) == OTHER_EPOCH
        assert b.set(b"k", b"w", version=1)["outcome"] == ACCEPTED


# ---- permitted staleness -------------------------------------------------------------------------------------


def wait_for_the_lease_to_end(daemon, client):
    daemon.wait_until(lambda: client.call("status")["as_of_age_ms"] > 1000 * D)


def test_a_lost_redis_is_refused_or_answered_stale_as_the_call_permits(redis, start):
    daemon = start(redis, **BOUND)
    with daemon.client() as client:
        client.set(b"k", b"v", version=3)
        redis.pause()
        wait_for_the_lease_to_end(daemon, client)
        assert refusal_of(client, "get", b"k", {"timeout_ms": 50}) == REFUSED
        reading = client.get(b"k", max_stale_ms=4000, timeout_ms=50)
        assert (reading["state"], reading["value"], reading["version"]) == (STALE, b"v", 3)
        assert 1000 * D <= reading["age_ms"] < 4000
        assert refusal_of(client, "get", b"k", {"max_stale_ms": 1, "timeout_ms": 50}) == REFUSED
        assert refusal_of(client, "get", b"unknown", {"max_stale_ms": 4000, "timeout_ms": 50}) == REFUSED
        newer = {"max_stale_ms": 4000, "min_version": 4, "timeout_ms": 50}
        assert refusal_of(client, "get", b"k", newer) == REFUSED
        redis.resume()
        daemon.wait_until(lambda: client.call("status")["ready"])
        assert client.get(b"k")["state"] == FRESH


def test_the_policy_permits_stale_answers_up_to_its_end(redis, start):
    policy = {"bound": "400ms", "on_partition": "stale", "max_stale": "1s"}
    daemon = start(redis, staleness=policy, limits={"timeout": "20ms"})
    with daemon.client() as client:
        client.set(b"k", b"v", version=3)
        redis.pause()
        wait_for_the_lease_to_end(daemon, client)
        assert client.get(b"k")["state"] == STALE
        daemon.wait_until(lambda: client.call("status")["as_of_age_ms"] > 1000)
        assert refusal_of(client, "get", b"k") == REFUSED
        assert client.call("stats")["stale_served"] == 1
        redis.resume()


def test_a_deleted_key_is_no_value_however_stale_the_answer_may_be(redis, start):
    daemon = start(redis, **BOUND)
    with daemon.client() as client:
        client.set(b"k", b"v", version=3)
        client.delete(b"k", version=4)
        redis.pause()
        wait_for_the_lease_to_end(daemon, client)
        assert refusal_of(client, "get", b"k", {"max_stale_ms": 4000, "timeout_ms": 50}) == REFUSED
        redis.resume()


# ---- events --------------------------------------------------------------------------------------------------


def test_a_watcher_sees_what_happens_as_it_happens(redis, start):
    one, two = start(redis, **BOUND), start(redis, **BOUND)
    with one.client() as a, two.client() as b:
        watch = b.call("watch", b"user:")
        set_ = a.set(b"user:1", b"v", version=5)
        a.set(b"other", b"v", version=5)
        deleted = a.delete(b"user:1", version=6)
        events = [b.receive_event() for _ in range(2)]
        assert [e[0] for e in events] == [watch, watch]
        expected = [("update", 5, set_["seq"]), ("delete", 6, deleted["seq"])]
        assert [(e[1]["kind"], e[1]["version"], e[1]["seq"]) for e in events] == expected
        assert all(e[1]["source"] == one.config["pod"]["id"] for e in events)
        cleared = a.call("clear")
        kinds = []
        while "ready" not in kinds:
            kinds.append(b.receive_event()[1]["kind"])
        assert kinds[0:1] == ["epoch"] or kinds[0:2] == ["not_ready", "epoch"]
        assert b.call("status")["epoch"] == cleared[3]
