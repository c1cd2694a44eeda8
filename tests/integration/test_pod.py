"""
The daemon where a sidecar lives: process 1 of a container with a read-only root without /run, as a user without a
name and without rights, under a filter of system calls, with an application of another user in the same group and
a boot clock of its own. It starts with what deploy/sidecar.yaml gives it.
"""
import errno
import os

import pytest

from pod import DAEMON, GROUP, STRANGER, Pod, namespaces_work, status_of
from private_redis import PrivateRedis

pytestmark = pytest.mark.skipif(not namespaces_work(), reason="needs root and namespaces of mounts, pids and time")


@pytest.fixture(name="redis")
def fixture_redis():
    with PrivateRedis(tcp=True, requirepass="secret") as redis:
        yield redis


@pytest.fixture(name="pod")
def fixture_pod(folder):
    pod = Pod(folder)
    yield pod
    assert pod.close() == 0, pod.log()


def test_a_daemon_with_a_read_only_root_and_a_nameless_user_serves_an_application_of_another_user(pod, redis):
    pod.start(redis)
    assert pod.serves()
    assert pod.ctl("set", "price", "42", "--version", "1").returncode == 0
    assert pod.ctl("get", "price").stdout == "42"
    assert status_of(pod.pid, "Uid") == str(DAEMON)
    socket = os.stat(pod.socket)
    assert (socket.st_uid, socket.st_gid, socket.st_mode & 0o777) == (DAEMON, GROUP, 0o660)


def test_the_daemon_is_process_one_without_rights_or_a_way_to_gain_them(pod, redis):
    pod.start(redis)
    with open(f"/proc/{pod.pid}/status", encoding="ascii") as f:
        status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
    assert status["NSpid"].split()[-1] == "1"
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_the_filter_of_system_calls_is_on_in_every_container(pod):
    program = "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); " \
              "[print(c.syscall(n, 0, 0), ctypes.get_errno()) for n in (425, 435)]"  # io_uring_setup, clone3
    assert pod.run("/usr/bin/python3", "-c", program).stdout == f"-1 {errno.EPERM}\n-1 {errno.ENOSYS}\n"


def test_the_root_of_the_pod_is_read_only_and_has_no_run(pod, redis):
    pod.start(redis)
    root = f"/proc/{pod.pid}/root"
    assert not any(os.path.exists(f"{root}/{name}") for name in ("run", "tmp", "var", "etc"))
    with pytest.raises(OSError):
        with open(f"{root}/file", "w", encoding="ascii"):
            pass


def test_the_name_of_the_pod_is_the_source_of_what_it_writes(pod, redis):
    pod.start(redis)
    assert pod.serves()
    assert pod.ctl("set", "price", "42").returncode == 0
    assert '"source":"shop-7d9f"' in pod.ctl("--json", "get", "price").stdout
    assert 'dcached_pod_info{pod="shop-7d9f",role="writer"} 1' in pod.http("/metrics")[1]


def test_an_application_outside_the_group_cannot_connect(pod, redis):
    pod.start(redis)
    done = pod.ctl("ping", uid=STRANGER, groups=STRANGER)
    assert done.returncode == 7
    assert "permission" in done.stderr
    assert pod.ctl("ping").returncode == 0


def test_an_application_can_put_no_socket_of_its_own_there_and_believes_no_other_daemon(pod, redis):
    pod.start(redis)
    done = pod.run("/usr/bin/mv", "/pod/dcached.sock", "/pod/other")
    assert done.returncode != 0 and "Read-only file system" in done.stderr
    assert pod.ctl("ping").returncode == 0
    assert pod.ctl("ping", server=STRANGER).returncode == 7


def test_values_are_fresh_where_the_boot_clocks_of_daemon_and_application_differ(pod, redis):
    pod.start(redis, clock=5_000_000)
    assert pod.serves()
    assert pod.ctl("set", "price", "42", "--version", "1").returncode == 0
    for clock in (0, 9_000_000):
        done = pod.ctl("--json", "get", "price", clock=clock)
        assert '"state":"fresh"' in done.stdout, done.stderr
    redis.stop()
    pod.wait_until(lambda: pod.ctl("get", "price", clock=9_000_000).returncode != 0)
