"""Values near the largest max_value that there can be."""
import os

from daemon import ACCEPTED, PATIENCE

SIZE = 70_000_000
SLACK = (32 << 20) + ((1 << 30) if "ASAN_OPTIONS" in os.environ else 0)  # a sanitizer keeps what was freed
CONFIG = {"cache": {"max_value": "96M", "max_memory": "400M"},
          "limits": {"buffers": "256M", "timeout": "60s"},
          "staleness": {"bound": "20s"}, "log": {"level": "info"}}


def test_a_value_of_70_megabytes_is_stored_and_read_and_costs_no_connection(redis, start_daemon):
    daemon = start_daemon(redis, config=CONFIG)
    value = b"0123456789" * (SIZE // 10)
    with daemon.client(timeout=60) as client:
        before = client.call("stats")["redis_connects"]
        assert client.set(b"k", value, version=1)["outcome"] == ACCEPTED
        assert client.get(b"k")["value"] == value
        assert client.get(b"k", strong=True)["value"] == value
        assert client.call("stats")["redis_connects"] == before
    assert "lost" not in daemon.log()
    # What was queued for Redis has gone: the value is in the cache, and in no buffer.
    daemon.wait_until(lambda: daemon.rss_bytes() < SIZE + SLACK, timeout=5 * PATIENCE)
