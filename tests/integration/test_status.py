"""What `status` says of the Redis behind a pod, and that it follows what becomes of it."""
import os

from daemon import ACCEPTED
from private_redis import PrivateRedis

CONFIG = {"staleness": {"bound": "400ms"}}
SERVER = {"tcp": True, "repl_diskless_sync_delay": 0}


def test_status_follows_replicas_durability_and_failures_of_the_disk(start_daemon):
    with PrivateRedis(**{**SERVER, "save": "3600 1"}) as redis, PrivateRedis(**SERVER) as replica:
        daemon = start_daemon(redis, config=CONFIG)
        status = daemon.status()
        assert (status["redis_role"], status["redis_replicas"], status["redis_durability"],
                status["redis_persistence_trouble"]) == ("master", 0, "rdb", "")
        assert daemon.call("set", b"k", b"v")[0] == ACCEPTED
        replica.client().replicaof("127.0.0.1", redis.port)
        daemon.wait_until(lambda: daemon.status()["redis_replicas"] == 1)
        os.mkdir(os.path.join(redis.dir, "dump.rdb"))  # no file can take its place
        redis.client().bgsave()
        daemon.wait_until(lambda: daemon.status()["redis_persistence_trouble"] == "the last RDB save failed",
                          timeout=10)
        redis.client().config_set("appendonly", "yes")
        daemon.wait_until(lambda: daemon.status()["redis_durability"] == "aof everysec", timeout=10)


def test_status_says_why_and_when_the_epoch_last_changed(redis, start_daemon):
    daemon = start_daemon(redis, config=CONFIG)
    first = daemon.status()
    assert first["epoch_why"] == "the store is new" and first["epoch_age_ms"] < 10000
    daemon.wait_until(lambda: daemon.status()["epoch_age_ms"] > 300)
    redis.client().flushall()
    daemon.wait_until(lambda: daemon.status()["epoch"] != first["epoch"])
    status = daemon.status()
    assert "flushed" in status["epoch_why"] and status["epoch_age_ms"] < 300
