"""The hook of `[cache] on_set_local_cache` in the running daemon."""
import os

import pytest

from daemon import ACCEPTED, FRESH, KEPT_LOCAL, PERMISSION, WRITE_FAILED, build_dir

HOOK = {"cache": {"on_set_local_cache": os.path.join(build_dir(), "conf", "hook-example.so")}}


@pytest.fixture(name="pods")
def fixture_pods(shared_redis, start_daemon, request):
    """A plain writer and a reader with the hook: it rejects empty values and replaces those of upper:* keys."""
    prefix = {"redis": {"key_prefix": request.node.name[:60] + ":"}}
    return (start_daemon(shared_redis, config=prefix),
            start_daemon(shared_redis, role="reader", config={**prefix, **HOOK}))


def test_a_replaced_value_is_served_marked_and_left_out_of_verify(pods):
    writer, reader = pods
    with writer.client() as w, reader.client() as r:
        w.set(b"upper:a", b"quiet", version=1)
        for _ in range(2):  # fetched, then from the cache
            reading = r.get(b"upper:a")
            assert (reading["value"], reading["version"], reading["replaced"]) == (b"QUIET", 1, True)
        version = w.set(b"upper:a", b"silent", version=2)["version"]
        reading = r.get(b"upper:a", min_version=version)
        assert (reading["value"], reading["replaced"]) == (b"SILENT", True)
        assert r.call("inspect", b"upper:a")["cached"]["replaced"] is True
        assert r.call("verify")["different"] == []
        assert w.get(b"upper:a")["value"] == b"silent"
        assert r.call("stats")["hook_replaced"] == 2


def test_a_rejected_value_is_never_cached_and_the_older_copy_goes(pods):
    writer, reader = pods
    with writer.client() as w, reader.client() as r:
        watch = r.call("watch")
        w.set(b"k", b"first", version=1)
        assert r.get(b"k")["value"] == b"first"
        version = w.set(b"k", b"", version=2)["version"]
        fetched = r.get(b"k", min_version=version)
        assert (fetched["state"], fetched["value"]) == (FRESH, b"")
        seen = r.call("inspect", b"k")
        assert seen["cached"] is None and seen["floor"]["version"] == 2
        assert r.call("stats")["hook_rejected"] >= 2, "the message and the fetch"
        event = r.receive_event()
        while event[1]["kind"] != "hook":
            event = r.receive_event()
        assert event[0] == watch and (event[1]["key"], event[1]["version"]) == (b"k", 2)


def test_a_local_set_that_the_hook_rejects_is_no_success(pods):
    _, reader = pods
    with reader.client() as r:
        assert r.set(b"k", b"mine", version=3)["outcome"] == KEPT_LOCAL
        written = r.call("mset", [[b"k", b"", {"version": 4}], [b"upper:k", b"x", {"version": 1}]])
        assert written[0][:2] == [WRITE_FAILED, PERMISSION] and "hook" in written[0][2]
        assert written[1][0] == KEPT_LOCAL
        assert r.get(b"upper:k")["value"] == b"X"


def test_the_hook_of_a_writer_sees_its_own_writes(shared_redis, start_daemon):
    daemon = start_daemon(shared_redis, config={**HOOK, "redis": {"key_prefix": "own:"}})
    with daemon.client() as client:
        assert client.set(b"upper:k", b"low", version=1)["outcome"] == ACCEPTED
        assert client.get(b"upper:k")["value"] == b"LOW"
        assert shared_redis.client().get(b"own:{0}:upper:k").endswith(b"low")
