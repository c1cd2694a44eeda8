"""Reader pods: local sets, and those that may write to Redis."""
import pytest

from daemon import (ABSENT, ACCEPTED, CONFLICT, DUPLICATE, FRESH, KEPT_LOCAL, LOCAL, MIN_VERSION, OLDER,
                    PERMISSION)
from sockets import refusal_of


@pytest.fixture(name="pods")
def fixture_pods(shared_redis, start_daemon, request):
    config = {"redis": {"key_prefix": request.node.name[:60] + ":"}}
    return start_daemon(shared_redis, config=config), start_daemon(shared_redis, role="reader", config=config)


def test_a_local_set_is_kept_by_its_pod_alone(shared_redis, pods):
    writer, reader = pods
    with writer.client() as w, reader.client() as r:
        before = shared_redis.client().info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
        written = r.set(b"k", b"mine", version=5)
        assert (written["outcome"], written["version"], written["epoch"]) == (KEPT_LOCAL, 5, "")
        assert r.set(b"k", b"mine", version=5)["outcome"] == KEPT_LOCAL, "a repetition makes it no commit"
        reading = r.get(b"k")
        assert (reading["state"], reading["value"], reading["version"]) == (LOCAL, b"mine", 5)
        assert w.get(b"k")["state"] == ABSENT
        assert r.get(b"k", strong=True)["state"] == ABSENT, "a strong read ignores it"
        after = shared_redis.client().info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
        assert before == after


def test_a_local_set_passes_the_stale_detector_first(pods):
    writer, reader = pods
    with writer.client() as w, reader.client() as r:
        w.set(b"k", b"committed", version=10)
        assert r.get(b"k")["version"] == 10
        older = r.set(b"k", b"old", version=9)
        assert (older["outcome"], older["version"]) == (OLDER, 10)
        assert r.set(b"k", b"committed", version=10)["outcome"] == DUPLICATE
        assert r.set(b"k", b"other", version=10)["outcome"] == CONFLICT
        assert r.get(b"k")["value"] == b"committed"
        assert "STALE DATA REJECTED" in reader.log()
        assert r.set(b"k", b"newer", version=11)["outcome"] == KEPT_LOCAL
        assert r.get(b"k")["state"] == LOCAL


def test_a_local_set_goes_at_the_next_commit_of_its_key(pods):
    writer, reader = pods
    with writer.client() as w, reader.client() as r:
        r.call("watch", b"k")
        r.set(b"k", b"mine", version=50)
        # A lower version than the local one: local sets raise no floor.
        w.set(b"k", b"committed", version=3)
        while r.receive_event()[1]["kind"] != "update":
            pass
        reading = r.get(b"k")
        assert (reading["state"], reading["value"], reading["version"]) == (FRESH, b"committed", 3)


def test_a_local_set_counts_for_no_min_version_and_goes_with_its_generation(pods):
    writer, reader = pods
    with writer.client() as w, reader.client() as r:
        r.set(b"k", b"mine", version=50)
        assert r.get(b"k")["state"] == LOCAL
        assert refusal_of(r, "get", b"k", {"min_version": 1}) == MIN_VERSION
        epoch = w.call("clear")[3]
        reader.wait_until(lambda: r.call("status")["epoch"] == epoch)
        assert r.get(b"k")["state"] == ABSENT


def test_a_reader_may_not_delete_clear_or_take_an_auto_version(pods):
    _, reader = pods
    with reader.client() as r:
        assert refusal_of(r, "delete", b"k") == PERMISSION
        assert refusal_of(r, "clear") == PERMISSION
        assert refusal_of(r, "set", b"k", b"v") == PERMISSION
        assert r.call("hello")["role"] == "reader"


def test_a_reader_that_may_set_to_redis_commits(shared_redis, start_daemon):
    config = {"redis": {"key_prefix": "may:", "reader_can_set_to_redis": "yes"}}
    one = start_daemon(shared_redis, role="reader", config=config)
    two = start_daemon(shared_redis, role="reader", config=config)
    with one.client() as a, two.client() as b:
        written = a.set(b"k", b"v", version=4)
        assert written["outcome"] == ACCEPTED
        reading = b.get(b"k", min_version=4, epoch=written["epoch"])
        assert (reading["state"], reading["value"], reading["source"]) == (FRESH, b"v", one.config["pod"]["id"])
        assert a.delete(b"k")["outcome"] == ACCEPTED
