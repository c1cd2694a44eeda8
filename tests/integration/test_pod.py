"""
The daemon where a sidecar lives: a read-only root without /run, a user without a name and without rights,
an application of another user in the same group, a limit of memory, a boot clock of its own. By namespaces; the
manifest of deploy/ is what it follows.
"""
import os
import signal
import subprocess
import time

import pytest

from daemon import PATIENCE, REPO, build_dir
from private_redis import PrivateRedis

DAEMON, APP, STRANGER, GROUP = 54321, 54322, 54323, 54000  # no user or group has these numbers
LIMIT = 128 << 20  # of deploy/sidecar.yaml


def namespaces_work():
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--mount", "--time", "--boottime", "1000", "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not namespaces_work(), reason="needs root and namespaces of mounts and time")


class Pod:
    """A daemon and the programs beside it, each in a container of its own; they share a folder for the socket."""

    def __init__(self, folder):
        self.folder, self.process = folder, None
        os.chmod(folder, 0o755)
        for name in ("root", "socket", "secret"):
            os.mkdir(os.path.join(folder, name))
        # As Kubernetes makes an emptyDir with fsGroup, and a Secret: a link to a link, readable by the group.
        os.chown(self.path("socket"), 0, GROUP)
        os.chmod(self.path("socket"), 0o2770)
        os.chmod(self.path("secret"), 0o755)
        os.mkdir(self.path("secret", "..2026"))
        with open(self.path("secret", "..2026", "password"), "w", encoding="ascii") as f:
            f.write("secret\n")
        os.chown(self.path("secret", "..2026", "password"), 0, GROUP)
        os.chmod(self.path("secret", "..2026", "password"), 0o440)
        os.symlink("..2026", self.path("secret", "..data"))
        os.symlink("..data/password", self.path("secret", "password"))

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def command(self, uid, gid, groups, *words, clock=0):
        time_of = ["--time", "--boottime", str(clock), "--monotonic", str(clock)] if clock else []
        return ["unshare", "--mount", "--propagation", "private", *time_of,
                os.path.join(REPO, "tests/integration/pod_root.sh"), self.path("root"), build_dir(),
                self.path("socket"), self.path("secret"), str(uid), str(gid), str(groups), *words]

    def start(self, redis, clock=0, prefix=(), **variables):
        env = {"PATH": os.environ["PATH"], "DCACHED_POD_ID": "shop-7d9f",
               "DCACHED_LISTEN_SOCKET": "/pod/dcached.sock",
               "DCACHED_LISTEN_SOCKET_MODE": "0660", "DCACHED_LISTEN_SOCKET_GROUP": str(GROUP),
               "DCACHED_REDIS_ADDR": f"127.0.0.1:{redis.port}", "DCACHED_REDIS_PASSWORD_FILE": "/secret/password",
               "DCACHED_LOG_FORMAT": "json", **variables}
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *self.command(DAEMON, GROUP, GROUP, "/build/daemon/dcached", clock=clock)], env=env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 10 * PATIENCE
        while self.ctl("status").returncode != 0:
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return self

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def ctl(self, *words, uid=APP, groups=GROUP, clock=0, stdin=""):
        """dcachectl in a container of its own, as the application's user."""
        return subprocess.run(
            self.command(uid, uid, groups, "/build/client/dcachectl/dcachectl", "-s", "/pod/dcached.sock", *words,
                         clock=clock), capture_output=True, text=True, input=stdin,
            env={"PATH": os.environ["PATH"]})

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                return self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process and self.process.wait()


@pytest.fixture(name="redis")
def fixture_redis():
    with PrivateRedis(tcp=True, requirepass="secret") as redis:
        yield redis


@pytest.fixture(name="pod")
def fixture_pod(folder):
    pod = Pod(folder)
    yield pod
    assert pod.stop() == 0, pod.log()


def status_of(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(line.split()[1] for line in f if line.startswith(field + ":"))


def test_a_daemon_with_a_read_only_root_and_a_nameless_user_serves_an_application_of_another_user(pod, redis):
    pod.start(redis)
    assert pod.ctl("set", "price", "42", "--version", "1").returncode == 0
    assert pod.ctl("get", "price").stdout == "42"
    assert status_of(pod.process.pid, "Uid") == str(DAEMON)
    assert int(status_of(pod.process.pid, "CapBnd"), 16) == 0
    socket = os.stat(pod.path("socket", "dcached.sock"))
    assert (socket.st_uid, socket.st_gid, socket.st_mode & 0o777) == (DAEMON, GROUP, 0o660)
    assert "secret" not in pod.log().replace("/secret/", "")


def test_the_root_of_the_pod_is_read_only_and_has_no_run(pod, redis):
    pod.start(redis)
    root = f"/proc/{pod.process.pid}/root"
    assert not any(os.path.exists(f"{root}/{name}") for name in ("run", "tmp", "var", "etc"))
    with pytest.raises(OSError):
        with open(f"{root}/file", "w", encoding="ascii"):
            pass


def test_an_application_outside_the_group_cannot_connect(pod, redis):
    pod.start(redis)
    done = pod.ctl("ping", uid=STRANGER, groups=STRANGER)
    assert done.returncode == 7
    assert "permission" in done.stderr
    assert pod.ctl("ping").returncode == 0


def test_values_are_fresh_where_the_boot_clocks_of_daemon_and_application_differ(pod, redis):
    pod.start(redis, clock=5_000_000)
    assert pod.ctl("set", "price", "42", "--version", "1").returncode == 0
    for clock in (0, 9_000_000):
        done = pod.ctl("--json", "get", "price", clock=clock)
        assert '"state":"fresh"' in done.stdout, done.stderr
    redis.stop()
    deadline = time.monotonic() + 10 * PATIENCE
    while pod.ctl("get", "price", clock=9_000_000).returncode == 0:
        assert time.monotonic() < deadline, "served without proof"


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="a sanitizer maps terabytes")
def test_the_memory_of_the_manifest_is_enough_for_a_full_cache(pod, redis):
    pod.start(redis, prefix=["prlimit", f"--data={LIMIT}"], DCACHED_CACHE_MAX_MEMORY="64M")
    pid = pod.process.pid
    from dcache import Client  # pylint: disable=import-outside-toplevel
    with Client(pod.path("socket", "dcached.sock"), timeout_ms=10000) as client:
        value = b"v" * 60_000
        for i in range(1500):
            assert client.set(b"key:%d" % i, value).result == 0
        assert client.get(b"key:1499").value == value
    assert int(status_of(pid, "VmHWM")) * 1024 < LIMIT
    assert "out of memory" not in pod.log().lower()
