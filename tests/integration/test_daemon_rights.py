"""What a Redis user may not do: named in the status and in one line of the log, and nothing else breaks."""
import os

import pytest

from daemon import STORE, UNAVAILABLE
from sockets import refusal_of

BOUND = {"staleness": {"bound": "400ms"}}
ALL = "on >secret ~dc:* &cache:invalidate:0:dc:{0} +@all"


@pytest.fixture(name="start_as")
def fixture_start_as(redis, folder, start_daemon):
    """start_as(rules, password=..., **options) -> a daemon that logs in as a user with these ACL rules."""
    path = os.path.join(folder, "password")

    def start(rules, password="secret", **options):
        redis.client().execute_command("ACL", "SETUSER", "app", "reset", *rules.split())
        with open(path, "w", encoding="ascii") as f:
            f.write(password + "\n")
        os.chmod(path, 0o600)
        login = {"username": "app", "password_file": path}
        return start_daemon(redis, config={**BOUND, "redis": login}, **options)
    return start


def users_of(redis):
    """Whom the connections of daemons run as."""
    return {c["user"] for c in redis.client().client_list() if c["cmd"] != "client|list"}


def test_a_user_without_a_password_is_no_other_user(redis, start_daemon):
    redis.client().execute_command("ACL", "SETUSER", "app", "reset", *ALL.split())
    daemon = start_daemon(redis, config={**BOUND, "redis": {"username": "app"}}, ready=False)
    daemon.wait_until(lambda: "authenticating: WRONGPASS" in daemon.log() or "connected to Redis" in daemon.log())
    assert "connected to Redis" not in daemon.log() and not daemon.status()["ready"]


def test_a_user_that_needs_no_password_has_none(redis, start_daemon):
    redis.client().execute_command("ACL", "SETUSER", "app", "reset", *ALL.replace(">secret", "nopass").split())
    daemon = start_daemon(redis, config={**BOUND, "redis": {"username": "app"}})
    assert daemon.call("set", b"k", b"v")[0] == 0 and users_of(redis) == {"app"}
    assert "configuration" in daemon.log() and "no password was found" in daemon.log()


def test_user_and_password_are_all_it_takes(start_as):
    daemon = start_as(ALL)
    assert daemon.call("set", b"k", b"v")[0] == 0
    assert daemon.call("get", b"k")[2] == b"v"
    assert "secret" not in daemon.log()


# What the user lacks, the key of the status that names it, and the word it names it by.
MISSING = {
    "info": ("-info", "redis_data", "info"),
    "getrange": ("-getrange", "writes_text", "getrange"),
    "hmget": ("-hmget", "reason", "hmget"),
    "time": ("-time", "reason", "time"),
    "publish": ("-publish", "writes_text", "publish"),
    "set": ("-set", "writes_text", "set"),
    "hset": ("-hset", "writes_text", "hset"),
    "eval": ("-eval -evalsha", "writes_text", "eval"),
    "subscribe": ("-subscribe", "redis_subscription", "subscribe"),
    "ping": ("-ping", "redis_subscription", "ping"),
    "channel": ("resetchannels", "redis_subscription", "channel"),
    "keys": ("resetkeys ~other:*", "reason", "permissions to access"),  # 7.0: "one of the keys", 8.0: "a key"
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_right_is_named(start_as, name):
    lacks, where, word = MISSING[name]
    daemon = start_as(f"{ALL} {lacks}", ready=False)
    daemon.wait_until(lambda: word in daemon.status()[where].lower())
    assert any(word in line.lower() for line in daemon.log().splitlines()
               if " warning " in line or " error " in line), daemon.log()
    status = daemon.status()
    assert not (status["ready"] and status["writes_ok"])
    with daemon.client() as client:
        assert refusal_of(client, "set", b"k", b"v", {"timeout_ms": 50}) == UNAVAILABLE


def test_a_wrong_password_is_named_and_the_right_one_is_taken_without_a_restart(redis, start_as):
    daemon = start_as(ALL, password="wrong", ready=False)
    daemon.wait_until(lambda: "WRONGPASS" in daemon.status()["redis_data"])
    assert "WRONGPASS" in daemon.log()
    redis.client().execute_command("ACL", "SETUSER", "app", ">wrong")
    daemon.wait_until(lambda: daemon.status()["ready"] and daemon.status()["writes_ok"])


def test_a_right_withdrawn_while_running_is_said_with_the_next_write_that_needs_it(redis, start_as):
    daemon = start_as(ALL)
    daemon.wait_until(lambda: daemon.status()["writes_ok"])
    redis.client().execute_command("ACL", "SETUSER", "app", "-eval", "-evalsha")
    with daemon.client() as client:
        def refused_and_said():
            assert refusal_of(client, "set", b"k", b"v") == STORE
            return not daemon.status()["writes_ok"]
        daemon.wait_until(refused_and_said)
    assert "NOPERM" in daemon.status()["writes_text"]
    assert daemon.status()["ready"]
    redis.client().execute_command("ACL", "SETUSER", "app", "+eval", "+evalsha")
    daemon.wait_until(lambda: daemon.status()["writes_ok"])  # no write is needed for that
    assert daemon.call("set", b"k", b"v")[0] == 0


def test_rights_given_back_while_running_are_enough(redis, start_as):
    daemon = start_as(f"{ALL} -publish", ready=False)
    daemon.wait_until(lambda: "PUBLISH" in daemon.status()["writes_text"])
    redis.client().execute_command("ACL", "SETUSER", "app", "+publish")
    daemon.wait_until(lambda: daemon.status()["writes_ok"])
    assert daemon.call("set", b"k", b"v")[0] == 0


def test_without_the_right_to_config_only_durability_is_unknown(start_as):
    daemon = start_as(f"{ALL} -config")
    assert daemon.status()["redis_durability"] == "unknown: no right to CONFIG GET"
