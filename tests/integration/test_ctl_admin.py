"""What administrators see and turn through a real daemon: clients, log-level, config, and the lines of status."""
import json
import os
import re
import subprocess
import time

import pytest

from daemon import INVALID, PATIENCE, PERMISSION, RpcError, build_dir
from test_access import call_as
from test_dcachectl import DCACHECTL, environment
from test_reload import again, lines, reload

ROOT = pytest.mark.skipif(os.getuid() != 0, reason="changes the user")


def ctl(daemon, *args, **env):
    return subprocess.run([DCACHECTL, "-s", daemon.socket, *args], capture_output=True, text=True, timeout=20,
                          env=environment(**env), check=False)


def clients(daemon):
    run = ctl(daemon, "clients", "--json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)["clients"]


# ---- clients --------------------------------------------------------------------------------------------------

def test_clients_shows_who_is_connected_and_what_each_did(redis, start_daemon):
    daemon = start_daemon(redis)
    with daemon.client() as busy, daemon.client():
        for _ in range(3):
            busy.get(b"k")
        asking, silent, known = {}, {}, {}
        for client in clients(daemon):
            kind = {"clients": asking, "": silent, "get": known}[client["last_method"]]
            kind.update(client)
        me = {"uid": os.getuid(), "gid": os.getgid(), "pid": os.getpid(), "access": "read,write,admin",
              "socket": "main", "in_flight": 0, "input_bytes": 0, "queued_bytes": 0}
        assert {**known, **me, "answered": 3} == known
        assert {**silent, **me, "answered": 0} == silent
        assert silent["age_ms"] >= silent["idle_ms"] and known["age_ms"] < 60000
        assert asking["in_flight"] == 1 and asking["pid"] not in (0, os.getpid())
        assert len({asking["client"], silent["client"], known["client"]}) == 3
        table = ctl(daemon, "clients").stdout.splitlines()
        assert table[0].split() == "CLIENT NAME WHO ACCESS AGE ASKED ANSWERED QUEUED LAST".split()
        who = f"{os.getuid()}:{os.getgid()} pid {os.getpid()} read,write,admin"
        assert sum(who in " ".join(line.split()) for line in table) == 2
        assert any(re.search(r" 3 +0 B  get [\d.]+ \w+ ago$", line) for line in table), table


def test_clients_shows_what_each_calls_itself_harmless_to_a_terminal(redis, start_daemon):
    daemon = start_daemon(redis, config={"log": {"level": "debug"}})
    with daemon.client() as client:
        assert client.call("clients")["clients"][0]["name"] == ""
        for name, shown in ("web-1", "web-1"), ("\x1b[31m\u00e9\n", "?[31m???"), ("x" * 200, "x" * 31):
            client.call("hello", {"client": name})
            assert client.call("clients")["clients"][0]["name"] == shown
            assert f'name={shown}' in daemon.log() or f'name="{shown}"' in daemon.log()
        (own,) = [c for c in clients(daemon) if c["last_method"] == "clients" and c["name"] != shown]
        assert own["name"] == "dcachectl"


def test_clients_shows_the_number_of_the_log_a_method_that_there_is_not_and_what_is_not_taken(redis, start_daemon):
    daemon = start_daemon(redis)
    with daemon.client() as slow:
        with pytest.raises(RpcError):
            slow.call("nonsense")
        (seen,) = [c for c in clients(daemon) if c["last_method"] == "unknown"]
        connected = [line for line in lines(daemon, "client connected") if f"pid={os.getpid()}" in line]
        assert any(f"client={seen['client']} " in line for line in connected)
        slow.set(b"big", b"x" * 500000)
        for _ in range(6):
            slow.send("get", b"big")

        def stuck():
            return [c for c in clients(daemon) if c["client"] == seen["client"] and c["queued_bytes"] > 400000]
        (client,) = daemon.wait_until(stuck)
        assert client["last_method"] == "get" and client["answered"] >= 3


def test_the_idle_time_counts_from_the_last_request(redis, start_daemon):
    daemon = start_daemon(redis)
    with daemon.client() as client:
        client.call("ping")

        def idle():
            return [c for c in clients(daemon) if c["last_method"] == "ping" and c["idle_ms"] >= 50]
        daemon.wait_until(idle)
        client.call("ping")
        (seen,) = [c for c in clients(daemon) if c["last_method"] == "ping"]
        assert seen["idle_ms"] < seen["age_ms"] and seen["age_ms"] >= 50


def test_pages_of_clients_hold_every_client_once(redis, start_daemon):
    daemon = start_daemon(redis)
    others = [daemon.client() for _ in range(7)]
    with daemon.client() as client:
        client.call("ping")
        seen, cursor = [], 0
        while True:
            page = client.call("clients", cursor, 3)
            assert len(page["clients"]) <= 3
            seen += [c["client"] for c in page["clients"]]
            cursor = page["cursor"]
            if cursor == 0:
                break
        assert len(seen) == len(set(seen)) == 8
        assert client.call("clients", 2**64 - 1) == {"cursor": 0, "clients": []}
        assert client.call("clients", 2**32) == {"cursor": 0, "clients": []}
    for other in others:
        other.close()


def test_as_many_clients_as_there_may_be_are_shown_and_hold_nobody_up(redis, start_daemon):
    daemon = start_daemon(redis, config={"limits": {"connections": "302"}})
    with daemon.client() as client:
        others = [daemon.client() for _ in range(300)]
        daemon.wait_until(lambda: client.call("stats")["connections"] == 301)
        assert len(clients(daemon)) == 302  # dcachectl itself is one
        daemon.wait_until(lambda: client.call("stats")["connections"] == 301)
        before = client.call("stats")["buffered_bytes"]
        slowest = 0
        for _ in range(20):
            begin = time.monotonic()
            assert len(client.call("clients")["clients"]) == 301
            slowest = max(slowest, time.monotonic() - begin)
        assert slowest < 0.5 * PATIENCE
        assert client.call("stats")["buffered_bytes"] <= before + 4096  # nothing is kept of a page
    for other in others:
        other.close()


@ROOT
def test_clients_shows_what_each_may_and_which_socket_it_used(redis, start_daemon, folder):
    os.chmod(folder, 0o755)
    daemon = start_daemon(redis, config={
        "listen": {"socket": f"{folder}/dcached.sock", "socket_mode": "0666",
                   "admin_socket": f"{folder}/dcached-admin.sock"},
        "access": {"read": "0", "write": "0 1001"}})
    with daemon.client() as reader:
        reader.call("ping")
        by_socket = {c["socket"]: c for c in clients(daemon)}
        assert by_socket["main"]["access"] == "read,write" and by_socket["admin"]["access"] == "read,write,admin"


def test_a_full_daemon_says_so_and_leaves_the_admin_socket_to_the_operator(redis, start_daemon, folder):
    daemon = start_daemon(redis, config={
        "limits": {"connections": 2},
        "listen": {"socket": f"{folder}/dcached.sock", "admin_socket": f"{folder}/dcached-admin.sock"}})
    with daemon.client() as one:
        daemon.wait_until(lambda: one.call("stats")["connections"] == 1)  # who looked at its start has gone
        two = daemon.client()
        assert two.call("ping") == "pong"
        run = ctl(daemon, "get", "k")
        assert run.returncode == 1 and "busy" in run.stderr and "[limits] connections" in run.stderr, run.stderr
        assert [c["socket"] for c in clients(daemon)] == ["main", "main", "admin"]
        assert "client turned away" in daemon.log()
        two.close()


@ROOT
@pytest.mark.parametrize("verb", ["clients", "log-level", "config"])
def test_who_is_no_administrator_is_told_so(redis, start_daemon, folder, verb):
    method = verb.replace("-", "_")
    os.chmod(folder, 0o755)
    daemon = start_daemon(redis, config={"listen": {"socket": f"{folder}/dcached.sock", "socket_mode": "0666"},
                                         "access": {"admin": "1001"}})
    code, text = call_as(1002, daemon.socket, method)
    assert code == PERMISSION and "[access] admin" in text
    assert call_as(1001, daemon.socket, method)[0] is None
    run = ctl(daemon, verb)
    assert run.returncode == 7 and run.stdout == "" and run.stderr.startswith("dcachectl: permission: ")


@pytest.mark.parametrize("verb", ["clients", "log-level", "config"])
def test_an_administrators_verb_finds_the_admin_socket(redis, start_daemon, folder, verb):
    admin = f"{folder}/dcached-admin.sock"
    daemon = start_daemon(redis, config={"listen": {"socket": f"{folder}/dcached.sock", "admin_socket": admin}})
    assert ctl(daemon, verb).returncode == 0
    assert ctl(daemon, verb, "--admin-socket", daemon.socket).returncode == 7
    assert ctl(daemon, verb, DCACHED_ADMIN_SOCKET=daemon.socket).returncode == 7
    assert subprocess.run([DCACHECTL, verb, f"--admin-socket={admin}"], env=environment(), check=False,
                          stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("method, params", [
    ("clients", ["x"]), ("clients", [0, 0]), ("clients", [0, 1001]), ("clients", [0, 1, 2]), ("log_level", [1]),
    ("log_level", [""]), ("log_level", ["Debug"]), ("log_level", ["debug\x00"]), ("log_level", ["info", "x"]),
    ("config", [1]),
])
def test_wrong_params_are_invalid(redis, start_daemon, method, params):
    daemon = start_daemon(redis)
    with daemon.client() as client:
        with pytest.raises(RpcError) as caught:
            client.call(method, *params)
        assert caught.value.code == INVALID and client.call("ping") == "pong"


# ---- log-level ------------------------------------------------------------------------------------------------

def level(daemon, *args):
    run = ctl(daemon, "log-level", *args)
    assert run.returncode == 0, run.stderr
    return run.stdout


def is_debug(daemon):
    """Whether the daemon logs debug lines now."""
    before = len(lines(daemon, "client gone"))
    with daemon.client() as client:
        client.call("ping")
    daemon.wait_until(lambda: daemon.stats()["connections"] == 1)
    return len(lines(daemon, "client gone")) > before


def test_a_level_that_is_set_holds_at_once_and_the_log_says_who_set_it(redis, start_daemon):
    daemon = start_daemon(redis, config={"log": {"level": "info"}})
    assert level(daemon) == "info\n" and not is_debug(daemon)
    assert level(daemon, "debug") == "debug until the next reload or restart; configured is info\n"
    assert is_debug(daemon)
    (line,) = lines(daemon, "log level set")
    assert "before=info now=debug" in line and f"uid={os.getuid()} pid=" in line
    assert json.loads(level(daemon, "--json")) == {"level": "debug", "configured": "info"}
    assert level(daemon, "info") == "info\n" and not is_debug(daemon)
    assert level(daemon, "info") == "info\n" and len(lines(daemon, "log level set")) == 2


def test_even_the_level_error_does_not_hide_who_set_it(redis, start_daemon):
    daemon = start_daemon(redis, config={"log": {"level": "error"}})
    level(daemon, "warning")
    level(daemon, "error")
    assert len(lines(daemon, "log level set")) == 2


def test_a_reload_brings_the_configured_level_back_and_a_failed_one_does_not(redis, start_daemon):
    daemon = start_daemon(redis, config={"log": {"level": "info"}})
    level(daemon, "debug")
    assert "reload failed" in reload(daemon, log={"level": "loud"})
    assert level(daemon).startswith("debug ")
    assert "reloaded" in reload(daemon, log={"level": "info"})
    assert level(daemon) == "info\n"


def test_a_restart_brings_the_configured_level_back(redis, start_daemon):
    daemon = start_daemon(redis, config={"log": {"level": "info"}})
    level(daemon, "debug")
    assert daemon.stop() == 0
    daemon.start()
    assert level(daemon) == "info\n"


def test_an_unknown_level_is_exit_2_names_those_there_are_and_changes_nothing(redis, start_daemon):
    daemon = start_daemon(redis, config={"log": {"level": "info"}})
    run = ctl(daemon, "log-level", "loud")
    assert run.returncode == 2 and run.stdout == ""
    assert run.stderr == "dcachectl: invalid: level: error, warning, info or debug expected\n"
    assert ctl(daemon, "log-level", "").returncode == 2
    assert level(daemon) == "info\n"


# ---- config ---------------------------------------------------------------------------------------------------

def test_config_is_what_print_config_prints_and_the_password_is_in_neither(redis, start_daemon, folder):
    password = os.path.join(folder, "password")
    with open(password, "w", encoding="utf-8") as f:
        f.write("hunter2\n")
    os.chmod(password, 0o600)
    redis.client().execute_command("ACL", "SETUSER", "pod", "on", ">hunter2", "~*", "&*", "+@all")
    env = {"DCACHED_CACHE_DEFAULT_TTL": "90s"}
    daemon = start_daemon(redis, env=env, config={"redis": {"username": "pod", "password_file": password}})
    command = [os.path.join(build_dir(), "daemon", "dcached"), "--config", daemon.conf, "--print-config"]
    printed = subprocess.run(command, env=environment(**env), capture_output=True, text=True, check=True)
    shown = ctl(daemon, "config").stdout
    assert shown == printed.stdout
    assert "; environment DCACHED_CACHE_DEFAULT_TTL\ndefault_ttl = 90s\n" in shown
    assert "; password = ***\n" in shown
    assert "hunter2" not in shown + ctl(daemon, "config", "--json").stdout


def test_config_as_json_has_every_key_with_its_origin(redis, start_daemon):
    daemon = start_daemon(redis, env={"DCACHED_LIMITS_TIMEOUT": "2s"})
    answer = json.loads(ctl(daemon, "config", "--json").stdout)
    assert answer["path"] == daemon.conf and answer["password"] is False
    keys = {f"{k['section']}.{k['key']}": k for k in answer["keys"]}
    assert len(keys) == len(answer["keys"]) > 35
    timeout, bound, pod = keys["limits.timeout"], keys["staleness.bound"], keys["pod.id"]
    assert (timeout["value"], timeout["from"], timeout["where"], timeout["live"]) == \
        ("2s", "environment", "DCACHED_LIMITS_TIMEOUT", True)
    assert (bound["value"], bound["from"], bound["where"], bound["live"]) == ("1s", "default", "", False)
    assert pod["from"] == "file" and pod["where"] == f"{daemon.conf}:2"


def test_config_shows_what_is_in_force_after_a_reload(redis, start_daemon):
    daemon = start_daemon(redis)
    reload(daemon, staleness={"bound": "2s", "max_stale": "40s"})
    shown = ctl(daemon, "config").stdout
    assert "\nbound = 1s\n" in shown and "\nmax_stale = 40s\n" in shown
    line = next(i for i, text in enumerate(open(daemon.conf, encoding="utf-8"), 1) if text.startswith("max_stale"))
    assert f"; {daemon.conf}:{line}\nmax_stale" in shown


# ---- status, and files that are not whole -----------------------------------------------------------------------

def test_status_says_when_the_configuration_was_loaded_why_a_reload_failed_and_what_waits(redis, start_daemon):
    daemon = start_daemon(redis)
    shown = ctl(daemon, "status").stdout
    said = re.search(r"^config +(\S+), loaded (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC$", shown, re.M)
    assert said[1] == daemon.conf
    loaded = time.mktime(time.strptime(said[2], "%Y-%m-%d %H:%M:%S")) - time.timezone
    assert abs(loaded - time.time()) < 60
    assert "reload failed" not in shown and "waiting for a restart" not in shown
    reload(daemon, staleness={"bound": "2s"})
    reload(daemon, cache={"default_ttl": "soon"})
    shown = ctl(daemon, "status").stdout
    assert re.search(r"^ +the last reload failed: \S+\.conf:\d+: \[cache\] default_ttl: ", shown, re.M), shown
    assert re.search(r"^ +waiting for a restart: staleness.bound: 1s -> 2s needs a restart$", shown, re.M), shown
    reload(daemon, cache={"default_ttl": "0"}, staleness={"bound": "1s"})
    shown = ctl(daemon, "status").stdout
    assert "reload failed" not in shown and "waiting for a restart" not in shown


@pytest.mark.parametrize("end, why", [(-3, "ends within a line"), (0, "is empty")], ids=["cut", "empty"])
def test_a_reload_of_a_file_that_is_half_written_changes_nothing(redis, start_daemon, end, why):
    daemon = start_daemon(redis, config={"limits": {"timeout": "2000ms"}})
    with open(daemon.conf, encoding="utf-8") as f:
        whole = f.read()
    for text, answer in ((whole[:end], "reload failed"), (whole, "need_restart=0")):
        with open(daemon.conf, "w", encoding="utf-8") as f:
            f.write(text)
        assert answer in again(daemon)
        assert (why in daemon.status()["config_error"]) == (text != whole)
    assert "\ntimeout = 2s\n" in ctl(daemon, "config").stdout


def test_a_start_from_a_file_without_its_last_newline_is_good_and_warns(redis, start_daemon, folder):
    conf = os.path.join(folder, "conf")
    with open(conf, "w", encoding="utf-8") as f:
        f.write("[pod]\nid = a")
    run = subprocess.run([os.path.join(build_dir(), "daemon", "dcached"), "--config", conf, "--check-config"],
                         env=environment(), capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "ok\n")
    assert run.stderr == f"warning: {conf}: ends within a line, and a reload refuses that; a newline at its end\n"
