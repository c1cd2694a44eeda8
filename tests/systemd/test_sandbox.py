"""What the unit says of the sandbox is what the kernel says of the process, and a hook works in it."""
import os
import re
import time

import pytest

from daemon import ACCEPTED, RpcError
from machine import wait_until


def main_process(machine, unit="dcached"):
    """/proc/PID of the daemon, seen from outside."""
    return machine.path(f"/proc/{machine.main_pid(unit)}")


def status_of(process):
    with open(process + "/status", encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def limit_of(process, name):
    with open(process + "/limits", encoding="utf-8") as f:
        return int(re.search(rf"^Max {name} +\d+ +(\d+) ", f.read(), re.M)[1])


def mounts_of(process):
    """{mount point: options}; the last mount at a place counts."""
    with open(process + "/mounts", encoding="utf-8") as f:
        return {fields[1]: fields[3].split(",") for fields in map(str.split, f)}


def test_the_process_has_no_privilege_and_a_filter_for_system_calls(service):
    status = status_of(main_process(service))
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {status[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {""}
    user = int(service.run("id", "-u", "dcached").stdout)
    assert user > 0 and set(status["Uid"].split("\t")) == {str(user)}
    assert limit_of(main_process(service), "core file size") == 0
    # As many as the unit says, or as this machine's systemd can give.
    most = limit_of(service.path("/proc/1"), "open files")
    assert limit_of(main_process(service), "open files") == min(66000, most)


def test_everything_is_read_only_but_the_runtime_directory(service):
    process = main_process(service)
    mounts = mounts_of(process)
    assert "ro" in mounts["/"] and "rw" in mounts["/run/dcached"]
    for place in ("/home", "/root"):
        assert not os.listdir(process + "/root" + place)
    assert sorted(os.listdir(process + "/root/tmp")) == []
    devices = set(os.listdir(process + "/root/dev"))
    assert {"null", "urandom"} <= devices
    assert not devices & {"mem", "kmsg", "vda", "sda", "rtc0", "loop0"}
    # Of a /proc without other processes' folders only its own user's are left; 1 is root's.
    assert "subset=pid" in mounts["/proc"] and "hidepid=invisible" in mounts["/proc"]


def test_the_daemon_has_its_mounts_and_its_messages_for_itself_and_the_network_and_users_of_all(service):
    def same(name):
        return os.readlink(f"{main_process(service)}/ns/{name}") == os.readlink(service.path(f"/proc/1/ns/{name}"))
    assert [name for name in ("mnt", "ipc", "net", "user", "pid") if same(name)] == ["net", "user", "pid"]


def test_the_log_of_a_start_in_the_sandbox_has_no_warning_but_a_new_epoch(service):
    since = service.cursor()
    service.systemctl("restart", "dcached")
    service.wait_ready()
    daemon = [e for e in service.journal(since=since) if e.get("_COMM") == "dcached"]
    assert daemon and not [e["MESSAGE"] for e in daemon if e["PRIORITY"] < "6" and "new epoch" not in e["MESSAGE"]]


@pytest.fixture
def compile_hook(service, tmp_path):
    """compile_hook(source) -> a path in the machine. By hand, with the installed header, as a user does it."""
    made = []

    def compile_it(source, name):
        path = f"/usr/lib/dcached/{name}.so"
        service.write(f"/tmp/{name}.c", source)
        os.makedirs(service.path("/usr/lib/dcached"), exist_ok=True)
        service.run("cc", "-shared", "-fPIC", "-o", path, f"/tmp/{name}.c")
        service.write("/etc/dcached/dcached.conf", f"[cache]\non_set_local_cache = {path}\n")
        service.systemctl("restart", "dcached")
        service.wait_ready()
        made.append(path)
        return path
    yield compile_it
    service.remove("/usr/lib/dcached")


def test_a_hook_works_inside_the_sandbox(service, compile_hook):
    path = compile_hook(service.read("/usr/share/doc/dcached/examples/hook-example.c"), "example")
    with open(main_process(service) + "/maps", encoding="utf-8") as f:
        assert [line for line in f if line.rstrip().endswith(path) and " r-xp " in line]
    with service.client() as client:
        written = client.set(b"upper:hooked", b"small", version=time.time_ns())
        assert written["outcome"] == ACCEPTED
        reading = client.get(b"upper:hooked")
        assert (reading["value"], reading["replaced"]) == (b"SMALL", True)


HOOK_THAT_TRIES = """
#define _GNU_SOURCE
#include <dcache/hook.h>
#include <fcntl.h>
#include <stdio.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static char tried[256];

static int on_set(struct dcache_hook_set *set)
{
    int write_etc = open("/etc/dcached-was-here", O_CREAT | O_WRONLY, 0600) >= 0;
    int write_usr = open("/usr/lib/dcached/was-here", O_CREAT | O_WRONLY, 0600) >= 0;
    int code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
    int spaces = unshare(CLONE_NEWUSER) == 0;
    int packets = socket(AF_PACKET, SOCK_RAW, 0) >= 0;
    int root = setuid(0) == 0;
    int secret = open("/root/.profile", O_RDONLY) >= 0;

    set->replacement = tried;
    set->replacement_len = (size_t)snprintf(tried, sizeof tried, "%d%d%d%d%d%d%d", write_etc, write_usr, code,
                                            spaces, packets, root, secret);
    return DCACHE_HOOK_REPLACE;
}

extern const struct dcache_hook dcache_hook;
const struct dcache_hook dcache_hook = {.abi = DCACHE_HOOK_ABI, .on_set = on_set};
"""


def test_code_inside_the_daemon_cannot_write_files_make_code_or_gain_rights(service, compile_hook):
    compile_hook(HOOK_THAT_TRIES, "tries")
    with service.client() as client:
        client.set(b"tried", b"v", version=time.time_ns())
        assert client.get(b"tried")["value"] == b"0000000"


HOOK_THAT_NEVER_RETURNS = """
#include <dcache/hook.h>
#include <string.h>

static int on_set(struct dcache_hook_set *set)
{
    if (set->key_len == 4 && memcmp(set->key, "hang", 4) == 0)
        for (volatile int i = 0;; i++)
            ;
    return DCACHE_HOOK_KEEP;
}

extern const struct dcache_hook dcache_hook;
const struct dcache_hook dcache_hook = {.abi = DCACHE_HOOK_ABI, .on_set = on_set};
"""


def test_a_loop_that_does_not_turn_is_ended_by_the_watchdog(service, compile_hook):
    service.drop_in("dcached.service", "[Service]\nWatchdogSec=1s\n")
    compile_hook(HOOK_THAT_NEVER_RETURNS, "hangs")
    with service.client() as client:
        client.send("set", b"hang", b"v", {"version": time.time_ns(), "timeout_ms": 500})
        with pytest.raises((EOFError, ConnectionResetError)):
            client.receive()
    wait_until(lambda: service.show("dcached", "NRestarts") == "1")
    service.wait_ready()


def test_with_redis_on_a_unix_socket_the_daemon_needs_no_network(service):
    service.write("/etc/systemd/system/dcached.service.d/unix.conf",
                  service.read("/usr/share/doc/dcached/examples/redis-unix-socket.conf"))
    service.systemctl("daemon-reload")
    service.run("redis-cli", "config", "set", "save", "")
    service.drop_in("redis-server.service", "[Service]\nExecStart=\nExecStart=/usr/bin/redis-server "
                    "/etc/redis/redis.conf --supervised systemd --daemonize no "
                    "--unixsocket /run/redis/redis-server.sock --unixsocketperm 770\n")
    service.write("/etc/dcached/dcached.conf", "[redis]\naddr = unix:/run/redis/redis-server.sock\n")
    service.systemctl("restart", "redis-server", "dcached")
    service.wait_ready()
    process = main_process(service)
    assert os.readlink(process + "/ns/net") != os.readlink(service.path("/proc/1/ns/net"))
    with service.client() as client:
        try:
            assert client.set(b"unix", b"v", version=time.time_ns())["outcome"] == ACCEPTED
        except RpcError as error:
            raise AssertionError(error) from error
