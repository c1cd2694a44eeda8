"""dcachectl doctor: what it finds, and that its advice fits the cause."""
import json
import os
import re
import subprocess
import time

import pytest

from fake_daemon import EPOCH
from private_redis import PrivateRedis
from test_dcachectl import DCACHECTL, STATUS, check_golden, ctl, environment


def now_us():
    return time.time_ns() // 1000


def doctor(fake, *args, canary=True, **changes):
    """Runs it against a daemon whose status is STATUS with the changes."""
    status = {**STATUS, "redis_durability": "aof always", "redis_replicas": 0, "refused": 0,
              "store_time_us": None, "redis_data": "ready", "redis_subscription": "ready", **changes}
    delivered = [0]

    def write(_request):
        delivered[0] = 1
        return [0, 1, 4712, EPOCH]
    fake.on("canary", write)
    fake.on("status", lambda r: {**status, "store_time_us": status["store_time_us"] or now_us(),
                                 "last": 4711 + (delivered[0] if canary else 0)})
    return ctl(fake, "doctor", *args)


def level_of(run, check):
    (line,) = [line for line in run.stdout.split("\n") if re.match(rf"\w+ +{check}  ", line)]
    return line.split()[0]


def normal(text):
    return re.sub(r"\d+ us(?=,|\n)", "N us", re.sub(r"\d+ ms from", "N ms from", text))


def test_doctor_finds_nothing_wrong_with_what_is_healthy(fake):
    run = doctor(fake)
    assert run.returncode == 0, run.stdout
    check_golden("doctor_healthy.txt", normal(run.stdout))


FINDINGS = {
    "reads": ({"ready": False, "reason": "no usable connection to Redis"}, "FAIL"),
    "rights": ({"writes_ok": False, "writes_text": "no right to write: NOPERM"}, "FAIL"),
    "heartbeat": ({"round_trip_us": 200000}, "WARN"),
    "store clock": ({"store_time_us": 1000000}, "WARN"),
    "durability": ({"redis_durability": "none"}, "WARN"),
    "eviction": ({"redis_eviction": "allkeys-lru"}, "WARN"),
    "replicas": ({"redis_replicas": 1}, "WARN"),
    "cache": ({"hits": 100, "entries_bytes": 60 << 20}, "WARN"),
    "refusals": ({"refused": 100}, "INFO"),
    "consistency": ({"inconsistencies": 1}, "FAIL"),
    "records": ({"bad_records": 1}, "WARN"),
    "writes": ({"writes_indeterminate": 3}, "INFO"),
}
MORE_FINDINGS = [
    ("durability", {"redis_durability": "rdb"}, "WARN"), ("durability", {"redis_durability": "aof always"}, "OK"),
    ("durability", {"redis_durability": "aof everysec"}, "WARN"),
    ("durability", {"redis_durability": "aof no"}, "WARN"),
    ("durability", {"redis_persistence_trouble": "the last write to the AOF failed"}, "FAIL"),
    ("durability", {"redis_durability": "unknown: no right to CONFIG GET"}, "WARN"),
    ("eviction", {"redis_used_bytes": (1 << 30) - 1}, "WARN"),
    ("eviction", {"redis_eviction": "allkeys-lru", "redis_max_bytes": 0}, "OK"),
    ("eviction", {"redis_eviction": "unknown"}, "WARN"), ("replicas", {"min_replicas": 1}, "FAIL"),
    ("replicas", {"min_replicas": 1, "redis_replicas": 1}, "OK"), ("consistency", {"lost": 1}, "WARN"),
]


@pytest.mark.parametrize("check, changes, level", [(c, *v) for c, v in FINDINGS.items()] + MORE_FINDINGS)
def test_doctor_says_the_level_of_each_finding_and_fails_only_for_fail(fake, check, changes, level):
    run = doctor(fake, **changes)
    assert level_of(run, check) == level, run.stdout
    assert run.returncode == (1 if level == "FAIL" else 0)
    assert "-> " in run.stdout or level in ("OK", "INFO")
    answer = json.loads(doctor(fake, "--json", **changes).stdout)
    (finding,) = [f for f in answer["findings"] if f["check"] == check]
    assert finding["level"] == level and (finding["remedy"] != "") == (level in ("WARN", "FAIL"))
    assert answer["healthy"] == (level != "FAIL")


def test_doctor_fails_when_the_canary_does_not_come_back(fake):
    run = doctor(fake, "--timeout", "300ms", canary=False)
    assert run.returncode == 1 and level_of(run, "canary") == "FAIL" and "did not come back" in run.stdout


def test_doctor_names_no_daemon_as_a_finding(folder):
    run = subprocess.run([DCACHECTL, "-s", os.path.join(folder, "none"), "doctor", "--json"], capture_output=True,
                         text=True, env=environment(), check=False)
    assert run.returncode == 1 and json.loads(run.stdout)["findings"][0]["level"] == "FAIL"


def test_doctor_sends_nothing_raw_to_the_terminal(fake):
    assert "\x1b" not in doctor(fake, **{"reason": "\x1b[31m", "ready": False}).stdout


def test_doctor_sees_a_real_canary_come_back_through_redis(start_daemon):
    with PrivateRedis() as redis:
        daemon = start_daemon(redis)
        run = subprocess.run([DCACHECTL, "-s", daemon.socket, "doctor", "--json"], capture_output=True, text=True,
                             env=environment(), check=False)
        answer = json.loads(run.stdout)
        by_check = {finding["check"]: finding for finding in answer["findings"]}
        assert run.returncode == 0, answer
        assert by_check["canary"]["level"] == by_check["store clock"]["level"] == "OK", answer
        assert 0 < answer["canary_committed_us"] and 0 < answer["canary_seen_us"] < 2000000
        assert by_check["eviction"]["level"] == "OK" and "no maxmemory" in by_check["eviction"]["cause"]
        assert any(b"canary" in key for key in redis.client().keys())


def test_a_pod_without_an_id_of_its_own_is_told_of(redis, start_daemon):
    own, default = start_daemon(redis, pod="own"), start_daemon(redis, pod="default-pod")
    assert examine(default)["pod"]["level"] == "INFO" and "pod" not in examine(own)


def test_doctor_tells_what_an_evicting_redis_means(start_daemon):
    with PrivateRedis() as redis:
        redis.client().config_set("maxmemory", "100mb")
        redis.client().config_set("maxmemory-policy", "allkeys-lru")
        daemon = start_daemon(redis)
        status = daemon.status()
        assert (status["redis_eviction"], status["redis_max_bytes"]) == ("allkeys-lru", 100 << 20)
        assert status["redis_used_bytes"] > 0
        finding = examine(daemon)["eviction"]
        assert finding["level"] == "WARN" and "allkeys-lru" in finding["cause"]
        assert "noeviction" in finding["remedy"]


def test_doctor_of_a_reader_pod_writes_nothing(redis, start_daemon):
    start_daemon(redis)
    reader = start_daemon(redis, role="reader")
    before = redis.client().dbsize()
    run = subprocess.run([DCACHECTL, "-s", reader.socket, "doctor"], capture_output=True, text=True,
                         env=environment(), check=False)
    assert run.returncode == 0 and "not tried" in run.stdout and redis.client().dbsize() == before


# ---- Redis away -----------------------------------------------------------------------------------------------

def examine(daemon, *args):
    """The findings of a run against a real daemon: {check: finding}."""
    command = [DCACHECTL, "-s", daemon.socket, "doctor", "--json", *args]
    run = subprocess.run(command, capture_output=True, text=True,
                         env=environment(), check=False)
    return {finding["check"]: finding for finding in json.loads(run.stdout)["findings"]}


NEEDS_REDIS = ("heartbeat", "store clock", "durability", "eviction", "replicas", "canary")
AWAY = {
    "unknown name": ("nosuchhost.invalid:6379", ("unknown node", "temporary failure"), ("name", "resolver")),
    "nobody listens": ("127.0.0.1:1", ("connection refused",), ("start Redis",)),
    "no socket": ("/nowhere/redis.sock", ("no such file",), ("path of its socket",)),
}


@pytest.mark.parametrize("name", AWAY)
def test_without_redis_the_cause_is_the_link_s_and_nothing_else_is_judged(start_away, name):
    address, causes, remedies = AWAY[name]
    daemon = start_away(address)
    daemon.wait_until(lambda: any(cause in daemon.status()["redis_data"] for cause in causes), timeout=20)
    found = examine(daemon)
    assert found["redis"]["level"] == found["reads"]["level"] == "FAIL"
    assert any(cause in found["redis"]["cause"] for cause in causes) and address in found["redis"]["cause"]
    assert any(remedy in found["redis"]["remedy"] for remedy in remedies)
    for check in ("rights", *NEEDS_REDIS):
        said = found[check]["level"], found[check]["cause"]
        assert said == ("INFO", "not tried: no connection to Redis"), check


@pytest.fixture(name="start_away")
def fixture_start_away(start_daemon):
    """start_away(address) -> a daemon whose Redis is not there."""
    class Nowhere:
        def __init__(self, address):
            self.socket = address
    return lambda address: start_daemon(Nowhere(address), ready=False)


LINK_TEXTS = [
    ("waiting 9 ms: authenticating: WRONGPASS invalid username-password pair or user is disabled.",
     "password_file"),
    ("waiting 9 ms: asking for INFO: NOAUTH Authentication required.", "password_file"),
    ("waiting 9 ms: selecting the database: ERR DB index is out of range", "[redis] db"),
    ("waiting 9 ms: asking for INFO: NOPERM this user has no permissions", "rights that dcached(8) lists"),
    ("waiting 9 ms: the server is not a master", "address of the primary"),
    ("waiting 9 ms: permission denied", "unixsocketperm"),
    ("waiting 9 ms: no answer in time", "stopped or overloaded"),
    ("waiting 9 ms: preparing: LOADING Redis is loading the dataset in memory", "loaded its data"),
    ("connecting", "again in a second"),
]


@pytest.mark.parametrize("text, remedy", LINK_TEXTS)
@pytest.mark.parametrize("link", ["redis_data", "redis_subscription"])
def test_the_remedy_fits_what_the_link_says(fake, link, text, remedy):
    answer = json.loads(doctor(fake, "--json", "--timeout", "300ms", canary=False, **{link: text}).stdout)
    (finding,) = [f for f in answer["findings"] if f["check"] == "redis"]
    assert finding["level"] == "FAIL" and text in finding["cause"] and remedy in finding["remedy"]


def test_a_right_to_the_channel_that_is_withdrawn_is_a_finding_of_rights(redis, start_daemon):
    daemon = start_daemon(redis)
    redis.client().execute_command("ACL", "SETUSER", "default", "resetchannels")
    daemon.wait_until(lambda: "NOPERM" in daemon.status()["redis_subscription"])
    found = examine(daemon, "--timeout", "500ms")
    assert found["rights"]["level"] == "FAIL" and "channel" in found["rights"]["cause"]
    assert "dcached(8)" in found["rights"]["remedy"]


def test_a_guard_without_its_right_is_a_finding_of_rights(redis, start_daemon):
    redis.client().execute_command("ACL", "SETUSER", "default", "resetchannels", "&cache:invalidate:0:dc:{0}")
    daemon = start_daemon(redis, ready=False, config={"staleness": {"min_replicas": "1"}})
    daemon.wait_until(lambda: "NOPERM" in daemon.status()["reason"])
    found = examine(daemon, "--timeout", "500ms")
    assert found["rights"]["level"] == "FAIL" and ":pulse" in found["rights"]["cause"]
    assert "dcached(8)" in found["rights"]["remedy"]
    assert "bring the replicas back" not in daemon.status()["reason"]


def test_a_daemon_that_is_there_and_does_not_answer_is_to_be_restarted(redis, start_daemon):
    daemon = start_daemon(redis)
    daemon.pause()
    finding = examine(daemon, "--timeout", "300ms")["daemon"]
    daemon.resume()
    assert finding["level"] == "FAIL" and "timeout" in finding["cause"]
    assert "systemctl status dcached" in finding["remedy"] and "start dcached, or" not in finding["remedy"]


# ---- what was, and what is ------------------------------------------------------------------------------------

def counted(fake, first, later):
    """The findings when the figures of the first status differ from those of the later ones."""
    asked = []
    base = {**STATUS, "redis_durability": "aof always", "redis_replicas": 0, "redis_data": "ready",
            "redis_subscription": "ready", "role": "reader", "writes_ok": False}

    def status(_request):
        asked.append(1)
        return {**base, "store_time_us": now_us(), **(first if len(asked) == 1 else later)}
    fake.on("status", status)
    answer = json.loads(ctl(fake, "doctor", "--json").stdout)
    return {finding["check"]: finding for finding in answer["findings"]}


def test_refusals_of_long_ago_are_told_and_not_warned_of(fake):
    same = {"reads": 3, "refused": 1, "writes_indeterminate": 2}
    found = counted(fake, same, same)
    assert found["refusals"]["level"] == found["writes"]["level"] == "INFO"
    assert "1 of 3 reads since the start" in found["refusals"]["cause"]


def test_refusals_of_now_are_warned_of(fake):
    found = counted(fake, {"reads": 1000000, "refused": 1, "writes_indeterminate": 1},
                    {"reads": 1000100, "refused": 6, "writes_indeterminate": 3})
    assert found["refusals"]["level"] == found["writes"]["level"] == "WARN"
    assert "5 of 100 reads" in found["refusals"]["cause"] and "2 writes" in found["writes"]["cause"]


def test_a_few_refusals_among_very_many_reads_are_no_warning(fake):
    found = counted(fake, {"reads": 1000, "refused": 1}, {"reads": 101000, "refused": 2})
    assert found["refusals"]["level"] == "INFO"
