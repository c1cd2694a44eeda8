"""dcached@NAME: several daemons; what the watchdog thinks of them; the password as a credential."""
import os
import time

import pytest

from daemon import ABSENT, ACCEPTED, FRESH
from machine import wait_until

# Ticks of the core and connections no longer come once the file is there; the loop turns, as timers that repeat do
# come: the one that feeds the watchdog.
NO_TICKS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
#include <uv.h>

int uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t timeout, uint64_t repeat)
{
    int (*real)(uv_timer_t *, uv_timer_cb, uint64_t, uint64_t) = dlsym(RTLD_NEXT, "uv_timer_start");

    return repeat == 0 && access("/run/dcached/no-ticks", F_OK) == 0 ? 0 : real(timer, callback, timeout, repeat);
}
"""


def socket_of(name):
    return f"/run/dcached/{name}.sock"


@pytest.fixture(scope="module")
def instances(machine):
    """
    one and two: healthy, with prefixes of their own. away: its Redis is not there. frozen: its core stands still.
    For all of them the watchdog waits for a second.
    """
    names = ("one", "two", "away", "frozen")
    machine.systemctl("start", "redis-server")
    machine.drop_in("dcached@.service", "[Service]\nWatchdogSec=1s\n")
    machine.write("/tmp/no-ticks.c", NO_TICKS)
    os.makedirs(machine.path("/usr/lib/dcached-test"), exist_ok=True)
    machine.run("cc", "-shared", "-fPIC", "-o", "/usr/lib/dcached-test/no-ticks.so", "/tmp/no-ticks.c", "-ldl")
    machine.drop_in("dcached@frozen.service",
                    "[Service]\nEnvironment=LD_PRELOAD=/usr/lib/dcached-test/no-ticks.so\n")
    for name in names:
        port = 1 if name == "away" else 6379
        machine.write(f"/etc/dcached/{name}.conf", f"[pod]\nid = {name}\n"
                      f"[redis]\naddr = localhost:{port}\nkey_prefix = {name}:\n")
    machine.systemctl("start", *(f"dcached@{name}.socket" for name in names),
                      *(f"dcached@{name}.service" for name in names))
    for name in names:
        if name != "away":
            machine.wait_ready(socket_of(name))
    machine.write("/run/dcached/no-ticks", "")
    machine.frozen_since = time.monotonic()
    yield machine
    machine.systemctl("stop", "dcached@*.socket", "dcached@*.service")
    for name in names:
        machine.remove(f"/etc/dcached/{name}.conf")
    machine.remove("/run/dcached/no-ticks")
    machine.remove("/usr/lib/dcached-test")
    machine.drop_in("dcached@frozen.service", "")
    machine.drop_in("dcached@.service", "")


def restarts(machine, name):
    return int(machine.show(f"dcached@{name}", "NRestarts"))


def test_two_instances_have_their_own_socket_configuration_and_data(instances):
    with instances.client(socket_of("one")) as one, instances.client(socket_of("two")) as two:
        assert one.set(b"whose", b"one's", version=1)["outcome"] == ACCEPTED
        assert one.get(b"whose")["value"] == b"one's"
        assert two.get(b"whose")["state"] == ABSENT
        assert [one.call("status")["pod"], two.call("status")["pod"]] == ["one", "two"]
    mode = os.stat(instances.path(socket_of("one"))).st_mode & 0o777
    assert mode == 0o660


def test_an_instance_stops_without_the_other(instances):
    instances.systemctl("stop", "dcached@one.socket", "dcached@one.service")
    assert not instances.exists(socket_of("one"))
    with instances.client(socket_of("two")) as two:
        assert two.call("ping") is not None
    instances.systemctl("start", "dcached@one.service")
    instances.wait_ready(socket_of("one"))


def test_an_instance_without_a_configuration_fails_and_says_so(instances):
    since = instances.cursor()
    assert instances.systemctl("start", "dcached@nobody.service", check=False).returncode != 0
    wait_until(lambda: instances.show("dcached@nobody", "ActiveState") == "failed")
    assert "/etc/dcached/nobody.conf" in instances.messages("dcached@nobody.service", since)
    instances.systemctl("stop", "dcached@nobody.socket")
    instances.systemctl("reset-failed", "dcached@nobody.service")


@pytest.fixture
def guarded(service):
    """A Redis that wants a password."""
    service.run("redis-cli", "config", "set", "requirepass", "s3cret of redis")
    service.write("/etc/credstore/dcached.redis-password", "s3cret of redis\n", 0o600)
    yield service
    service.run("redis-cli", "-a", "s3cret of redis", "config", "set", "requirepass", "")
    service.remove("/etc/credstore/dcached.redis-password")


def test_the_password_is_a_credential_that_only_the_daemon_can_read(guarded):
    guarded.systemctl("restart", "dcached")
    guarded.wait_ready()
    credentials = "/run/credentials/dcached.service"
    seen = guarded.path(f"/proc/{guarded.main_pid()}/root{credentials}/redis-password")
    assert os.stat(seen).st_mode & 0o007 == 0
    allowed = guarded.run("setpriv", "--reuid=nobody", "--clear-groups", "--regid=nogroup", "cat",
                          f"{credentials}/redis-password", check=False)
    assert allowed.returncode != 0
    with open(guarded.path(f"/proc/{guarded.main_pid()}/environ"), "rb") as f:
        assert b"s3cret" not in f.read()
    assert "s3cret" not in guarded.messages()
    # A reload checks the configuration first, and finds the credential as the daemon did.
    guarded.systemctl("reload", "dcached")
    guarded.wait_ready()


def test_without_the_credential_the_daemon_starts_and_says_what_redis_wants(guarded):
    guarded.remove("/etc/credstore/dcached.redis-password")
    since = guarded.cursor()
    guarded.systemctl("restart", "dcached")
    wait_until(lambda: "NOAUTH" in guarded.messages(since=since))
    assert guarded.show("dcached", "ActiveState") == "active"


def test_a_core_without_progress_is_ended_by_the_watchdog_though_the_loop_turns(instances):
    wait_until(lambda: restarts(instances, "frozen") > 0, 40)
    said = instances.messages("dcached@frozen.service")
    assert "no progress" in said and "Watchdog timeout" in said
    # Not at once, either: it had the patience that the slowest Redis needs.
    assert time.monotonic() - instances.frozen_since > 15


def test_the_watchdog_has_nothing_against_a_daemon_whose_redis_is_away(instances):
    wait_until(lambda: time.monotonic() - instances.frozen_since > 18, 40)
    assert [restarts(instances, name) for name in ("one", "two", "away")] == [0, 0, 0]
    with instances.client(socket_of("two")) as two:
        two.set(b"still", b"v", version=time.time_ns())
        assert two.get(b"still")["state"] == FRESH
    with instances.client(socket_of("away")) as away:
        assert not away.call("status")["ready"]
