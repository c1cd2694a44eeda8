"""The rights that dcached(8) lists for a Redis user are enough, and each is used."""
import json
import os
import re
import shlex
import subprocess
import time

import pytest

from daemon import PATIENCE, REPO
from private_redis import PrivateRedis
from test_dcachectl import DCACHECTL, environment


def listed(user):
    """The rules that dcached(8) gives a user: patterns, and rights without their plus."""
    with open(os.path.join(REPO, "daemon", "man", "dcached.8.scd"), encoding="utf-8") as f:
        (rules,) = re.findall(rf"^ACL SETUSER {user} on >PASSWORD (.*?)^```", f.read(), re.M | re.S)
    before, after = rules.split("-@all")
    return before.split(), [right.removeprefix("+") for right in after.split()]


PATTERNS, RIGHTS = listed("shop")
READER_PATTERNS, READER_RIGHTS = listed("shop-reader")


@pytest.fixture(scope="module", name="primary")
def fixture_primary():
    """A durable primary with a replica that follows it."""
    lasting = {"appendonly": "yes", "appendfsync": "always", "repl_diskless_sync_delay": 0}
    with PrivateRedis(tcp=True, **lasting) as primary, PrivateRedis(tcp=True) as replica:
        replica.client().replicaof("127.0.0.1", primary.port)
        deadline = time.monotonic() + 10 * PATIENCE
        client = primary.client(single_connection_client=True)
        while client.publish("pulse", "") or client.execute_command("WAIT", 1, 100) != 1:
            assert time.monotonic() < deadline, "the replica does not follow"
        yield primary


@pytest.fixture(name="start_with")
def fixture_start_with(primary, folder, start_daemon):
    """start_with(patterns, rights, db=0, ...) -> a daemon with the guard on with just this user."""
    client = primary.client()
    client.flushall()
    client.script_flush()
    client.acl_log_reset()
    path = os.path.join(folder, "password")
    with open(path, "w", encoding="ascii") as f:
        f.write("secret\n")
    os.chmod(path, 0o600)

    def start(patterns, rights, db=0, role="writer", **options):
        patterns = [pattern.replace(":invalidate:0:", f":invalidate:{db}:") for pattern in patterns]
        client.execute_command("ACL", "SETUSER", role, "reset", "on", ">secret", *patterns, "-@all",
                               *(f"+{right}" for right in rights))
        login = {"username": role, "password_file": path, "db": db}
        config = {"redis": login, "staleness": {"min_replicas": 1}}
        return start_daemon(primary, role=role, config=config, **options)
    return start


def ctl(daemon, *args):
    command = [DCACHECTL, "-s", daemon.socket, "--timeout", "1s", *args]
    return subprocess.run(command, capture_output=True, text=True,
                          env=environment(), check=False)


def warnings(daemon):
    """What doctor does not find in order: {check: level}."""
    findings = json.loads(ctl(daemon, "doctor", "--json").stdout)["findings"]
    return {f["check"]: f["level"] for f in findings if f["level"] in ("WARN", "FAIL")}


def misses_rights(daemon):
    """Whether doctor says so. A subscription without its PING is there for a moment before each refusal."""
    return warnings(daemon).get("rights") == "FAIL"


def refused_by_redis(primary):
    return {entry["object"] for entry in primary.client().acl_log()}


def use_everything(daemon):
    """Every way to write, read and look; returns the exit codes."""
    lines = [("set", "k", "v", "--version", "5"), ("set", "k", "other", "--version", "5"), ("get", "k"),
             ("delete", "k", "--version", "6"), ("set", "j", "v"), ("clear", "--yes"), ("verify",)]
    return [ctl(daemon, *line).returncode for line in lines]


ALL_WELL = [0, 5, 0, 0, 0, 0, 0]  # 5: conflict


def test_a_writer_pod_has_all_it_needs(primary, start_with):
    daemon = start_with(PATTERNS, RIGHTS)
    assert use_everything(daemon) == ALL_WELL
    # The sweep behind the clear.
    daemon.wait_until(lambda: primary.client().hget("dc:{0}!meta", "swept"), timeout=10)
    assert warnings(daemon) == {}
    assert refused_by_redis(primary) == set()
    primary.client().script_flush()
    assert ctl(daemon, "set", "k", "v", "--version", "7").returncode == 0


def test_a_reader_pod_has_all_it_needs(primary, start_with):
    writer = start_with(PATTERNS, RIGHTS)
    reader = start_with(READER_PATTERNS, READER_RIGHTS, role="reader")
    assert ctl(writer, "set", "k", "v", "--version", "5").returncode == 0
    for line in (("get", "k"), ("get", "--strong", "k"), ("verify",)):
        assert ctl(reader, *line).returncode == 0, line
    assert warnings(reader) == {}
    assert refused_by_redis(primary) <= {"script|load"}  # asked for in vain; a reader runs no script


@pytest.mark.parametrize("right", READER_RIGHTS)
def test_a_reader_pod_uses_each_of_its_rights(primary, start_with, right):
    start_with(PATTERNS, RIGHTS, db=1).stop()  # leaves an epoch
    rights = [r for r in READER_RIGHTS if r != right]
    reader = start_with(READER_PATTERNS, rights, db=1, role="reader", ready=False)
    reader.wait_until(lambda: right in refused_by_redis(primary))
    if right == "config|get":
        reader.wait_until(lambda: reader.status()["ready"])
        assert warnings(reader) == {"durability": "WARN"}
    else:
        reader.wait_until(lambda: misses_rights(reader), timeout=20)


# What breaks without a right, where it shows first: a key of the status, the log, or, if nothing that a client
# sees depends on it, Redis' own log of refusals alone.
SHOWS = {
    "info": "redis_data", "select": "redis_data", "subscribe": "redis_subscription", "ping": "redis_subscription",
    "eval": "writes_text", "evalsha": "writes_text", "set": "writes_text", "hset": "writes_text",
    "getrange": "writes_text", "publish": "reason", "hmget": "reason", "time": "reason", "wait": "reason",
    "config|get": "redis_durability", "get": "conflict", "scan": "log", "del": "log", "hget": "log",
    "script|load": None, "hdel": None,
}
REFUSED = re.compile("NOPERM|can't run this command|no permissions|no right to")


def test_the_list_of_the_page_is_the_one_that_is_tried():
    assert set(SHOWS) == set(RIGHTS) and set(READER_RIGHTS) < set(RIGHTS)


@pytest.mark.parametrize("right", SHOWS)
def test_without_any_one_right_something_breaks_that_is_noticed(primary, start_with, right):
    daemon = start_with(PATTERNS, [r for r in RIGHTS if r != right], db=1, ready=False)
    shows = SHOWS[right]
    if shows in daemon.status():
        daemon.wait_until(lambda: REFUSED.search(daemon.status()[shows]), timeout=10)
    else:
        daemon.wait_until(lambda: daemon.status()["ready"] and daemon.status()["writes_ok"], timeout=10)
        codes = use_everything(daemon)
        assert codes == ([0, 1, *ALL_WELL[2:]] if shows == "conflict" else ALL_WELL)
        if shows == "log":
            daemon.wait_until(lambda: "cleared records stay in Redis" in daemon.log(), timeout=10)
    daemon.wait_until(lambda: right in refused_by_redis(primary))
    if shows in ("redis_data", "redis_subscription", "writes_text", "reason"):
        daemon.wait_until(lambda: misses_rights(daemon), timeout=20)
    if shows == "redis_durability":
        daemon.wait_until(lambda: daemon.status()["ready"] and daemon.status()["writes_ok"])
        assert warnings(daemon) == {"durability": "WARN"}


def test_the_guide_gives_the_rights_of_the_page():
    with open(os.path.join(REPO, "docs", "security.md"), encoding="utf-8") as f:
        (line,) = re.findall(r"^redis-cli .* (acl setuser .*)$", f.read(), re.M)
    words = shlex.split(line)
    assert words[5:] == [*PATTERNS, "-@all", *(f"+{right}" for right in RIGHTS)]
