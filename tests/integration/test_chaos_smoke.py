"""The chaos load and its checker on a real Redis and three daemons: without a fault nothing is violated."""
import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter

import pytest
from daemon import build_dir
from private_redis import PrivateRedis

SECONDS = 4


@pytest.fixture
def history():
    path = tempfile.mkdtemp(prefix="chaos-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def persistent_redis():
    with PrivateRedis(appendonly="yes", appendfsync="everysec", aof_use_rdb_preamble="no",
                      auto_aof_rewrite_percentage=0) as redis:
        yield redis


def program(name):
    return os.path.join(build_dir(), "tests", "chaos", name)


def expect_true(lives, operations):
    """TRUTH: daemons count what the load saw. (Who joins another's fetch cannot tell it from a hit.)"""
    seen = Counter()
    for kind, outcomes in operations.items():
        if kind != "answered":
            seen.update(outcomes)
    counted = {name: sum(life[name] for life in lives) for name in lives[0]}
    assert counted["reads"] == sum(seen.values())
    assert counted["hits"] + counted["misses"] == seen["value"] + seen["absent"]
    assert counted["refused"] == seen["version"] and counted["errors"] == 0


def test_without_a_fault_nothing_is_violated_and_nothing_refused(history, folder, persistent_redis, start_daemon):
    daemons = [start_daemon(persistent_redis, config={"log": {"level": "info"}}) for _ in range(3)]
    stats, report = os.path.join(folder, "stats"), os.path.join(folder, "report")
    aof = os.path.join(persistent_redis.dir, "appendonlydir")
    sockets = [word for d in daemons for word in ("--pod", d.socket)]
    checker = subprocess.Popen(
        [program("chaos-check"), "--history", history, "--aof", aof, "--live", "--eat", "--stats", stats,
         "--report", report, "--min-reads", str(10000 * SECONDS)], stdout=subprocess.PIPE, text=True)
    with open(os.path.join(history, "open"), "w", encoding="ascii"):
        pass
    load = subprocess.run([program("chaos-load"), "--history", history, *sockets, "--ttl-keys", "100",
                           "--seconds", str(SECONDS)], capture_output=True, text=True, timeout=60)
    with open(stats, "w", encoding="ascii") as f:
        names = ("reads", "hits", "misses", "refused", "errors")
        lives = [{"pod": n, **{name: d.stats()[name] for name in names}} for n, d in enumerate(daemons)]
        json.dump(lives, f)
    os.unlink(os.path.join(history, "open"))
    if load.returncode != 0:
        checker.terminate()
    text = checker.communicate(timeout=60)[0]
    print(load.stdout, text)
    assert load.returncode == 0, load.stderr
    assert checker.returncode == 0, text
    with open(report, encoding="utf-8") as f:
        result = json.load(f)
    totals = json.loads(load.stdout.splitlines()[-1])
    assert result["reads"] == totals["reads"] and result["commits"] > 2000
    expect_true(lives, result["operations"])
    assert totals["refused"] == 0 and result["unjudged_reads"] == 0 and result["streams_cut"] == 0
    assert not [name for name in os.listdir(history) if name.endswith(".seg")], "the checker eats what it judged"
