"""SIGHUP: what can change changes, what cannot is named, and a bad file changes nothing."""
import os
import re
import signal
import socket
import threading
import time

import pytest

from dcache import OK, Client
from exposition import value_of
from http_raw import scrape
from private_redis import free_port


def hang_up(daemon):
    daemon.process.send_signal(signal.SIGHUP)


def lines(daemon, word):
    return [line for line in daemon.log().splitlines() if word in line]


def reload(daemon, **sections):
    """Writes the configuration with these changes, and waits for the line that says what came of it."""
    before = len(lines(daemon, "reload"))
    for section, keys in sections.items():
        daemon.config.setdefault(section, {}).update(keys)
    daemon.write_config()
    return again(daemon, before)


def again(daemon, before=None):
    before = len(lines(daemon, "reload")) if before is None else before
    hang_up(daemon)
    return daemon.wait_until(lambda: lines(daemon, "reload")[before:])[-1]


def test_a_good_file_changes_what_can_change(redis, start_daemon):
    daemon = start_daemon(redis, config={"log": {"level": "info"}})
    assert not lines(daemon, "client connected")
    line = reload(daemon, log={"level": "debug"}, cache={"default_ttl": "5s"}, staleness={"tombstone_ttl": "1h"})
    assert 'changed=3 changes="cache.default_ttl: 0 -> 5s, staleness.tombstone_ttl: 24h -> 1h, log.level' in line
    assert "need_restart=0" in line
    with daemon.client() as client:
        client.set(b"k", b"v")
        assert 3000 < redis.client().pttl("dc:{0}:k") <= 5000
    assert daemon.wait_until(lambda: lines(daemon, "client connected"))
    status = daemon.status()
    assert status["config_error"] == "" and status["config_restart"] == ""
    assert abs(status["config_loaded_ms"] - time.time() * 1000) < 60000


def test_what_cannot_change_is_named_with_both_values_and_the_rest_holds(redis, start_daemon):
    daemon = start_daemon(redis)
    line = reload(daemon, staleness={"bound": "2s"}, pod={"role": "reader"}, log={"level": "info"})
    assert "staleness.bound: 1s -> 2s needs a restart" in line
    assert "pod.role: writer -> reader needs a restart" in line
    assert "log.level: debug -> info" in line
    status = daemon.status()
    assert "staleness.bound" in status["config_restart"]
    assert status["bound_ms"] == 1000 and status["role"] == "writer"
    assert "need_restart=0" in reload(daemon, staleness={"bound": "1s"}, pod={"role": "writer"})
    assert daemon.status()["config_restart"] == ""


def test_a_bad_file_changes_nothing_and_every_error_is_said_with_its_line(redis, start_daemon):
    daemon = start_daemon(redis)
    line = reload(daemon, log={"level": "info", "colour": "red"}, cache={"default_ttl": "soon"})
    assert "reload failed" in line and "errors=2" in line
    said = [x for x in lines(daemon, " configuration ") if "error" in x]
    assert any(re.search(r"\.conf:\d+: \[log\] has no key", x) for x in said), said
    assert any(re.search(r"\.conf:\d+: \[cache\] default_ttl: ", x) for x in said), said
    assert re.search(r"\.conf:\d+: ", daemon.status()["config_error"])
    with daemon.client():
        pass
    before = len(lines(daemon, "client connected"))
    with daemon.client() as client:
        client.call("ping")
    daemon.wait_until(lambda: len(lines(daemon, "client connected")) > before)  # still debug
    del daemon.config["log"]["colour"]
    assert "errors" not in reload(daemon, cache={"default_ttl": "0"})
    assert daemon.status()["config_error"] == ""


def test_a_bad_reload_is_a_metric_until_a_good_one(redis, start_daemon):
    daemon = start_daemon(redis, config={"metrics": {"listen": f"127.0.0.1:{free_port()}"}})

    def good():
        return value_of(scrape(daemon), "dcached_config_last_reload_successful")

    def loaded():
        return value_of(scrape(daemon), "dcached_config_loaded_timestamp_seconds")
    at_start = loaded()
    assert good() == 1 and abs(at_start - time.time()) < 3600
    reload(daemon, log={"level": "nonsense"})
    assert (good(), loaded()) == (0, at_start)
    reload(daemon, log={"level": "info"})
    assert good() == 1 and loaded() > at_start


def test_a_file_that_is_missing_unreadable_a_fifo_or_a_directory_changes_nothing(redis, start_daemon):
    daemon = start_daemon(redis)
    os.unlink(daemon.conf)
    assert "reload failed" in again(daemon)
    assert "No such file" in daemon.status()["config_error"]
    os.mkfifo(daemon.conf)
    assert "reload failed" in again(daemon)
    assert "is a FIFO" in daemon.status()["config_error"]
    os.unlink(daemon.conf)
    os.mkdir(daemon.conf)
    assert "reload failed" in again(daemon)
    assert "is a directory" in daemon.status()["config_error"]
    os.rmdir(daemon.conf)
    daemon.write_config()
    assert "need_restart=0" in again(daemon)


@pytest.mark.skipif(os.getuid() != 0, reason="changes the user")
def test_a_file_that_may_not_be_read_changes_nothing(redis, start_daemon, folder):
    os.chmod(folder, 0o777)
    os.chmod(redis.dir, 0o755)
    os.chmod(redis.socket, 0o777)
    daemon = start_daemon(redis, dir=folder,
                          prefix=["setpriv", "--reuid", "1001", "--regid", "1001", "--clear-groups"])
    os.chmod(daemon.conf, 0o600)
    assert "reload failed" in again(daemon)
    assert "Permission denied" in daemon.status()["config_error"]
    os.chmod(daemon.conf, 0o644)
    assert "need_restart=0" in again(daemon)


def test_signals_in_quick_succession_end_with_the_last_file(redis, start_daemon):
    daemon = start_daemon(redis)
    path, new = daemon.conf, daemon.conf + ".new"
    for i in range(15):  # as many lines as the log takes of one kind
        daemon.config["limits"] = {"timeout": f"{100 + i}ms"}
        daemon.conf = new
        daemon.write_config()
        os.rename(new, path)
        hang_up(daemon)
    daemon.conf = path
    daemon.wait_until(lambda: any("-> 114ms" in x for x in lines(daemon, "reloaded")))
    assert not any("need_restart=1" in x for x in lines(daemon, "reloaded"))
    assert daemon.process.poll() is None


def test_reloads_under_load_refuse_no_request(redis, start_daemon):
    daemon = start_daemon(redis)
    failed, done, count = [], threading.Event(), [0]

    def load(key):
        with Client(daemon.socket, timeout_ms=5000) as client:
            while not done.is_set():
                results = client.set(key, b"v").result, client.get(key).result
                failed.extend(r for r in results if r != OK)
                count[0] += 1
    threads = [threading.Thread(target=load, args=(f"k{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for i in range(15):
        assert "reloaded" in reload(daemon, limits={"buffers": f"{16 + i % 2}M"},
                                    verify={"interval": f"{1 + i % 2}s"}, log={"level": "info"},
                                    access={"read": "0" if i % 2 else "0 1"})
    done.set()
    for thread in threads:
        thread.join()
    assert not failed and count[0] > 100
    stats = daemon.stats()
    assert stats["refused"] == 0 and stats["requests_denied"] == 0


def test_systemd_hears_of_the_reload_and_of_its_end(redis, start_daemon, folder):
    path = os.path.join(folder, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(10)
        daemon = start_daemon(redis, env={"NOTIFY_SOCKET": path})

        def next_with(word):
            while True:
                text = notify.recv(4096).decode()
                if word in text:
                    return text
        next_with("READY=1")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        hang_up(daemon)
        text = next_with("RELOADING=1")
        usec = int(re.search(r"^MONOTONIC_USEC=(\d+)$", text, re.M)[1])
        assert before <= usec <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert "READY=1" in next_with("READY=1")
