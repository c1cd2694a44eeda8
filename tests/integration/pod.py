"""
The pod of deploy/sidecar.yaml without a cluster: a daemon and programs beside it, each in a container of its own,
made by namespaces (pod_root.sh). What the manifest says of the daemon is read from it; what depends on the machine
(the address of Redis, ports, where volumes are mounted) is replaced.
"""
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

from daemon import PATIENCE, REPO, build_dir
from private_redis import free_port

DAEMON, APP, STRANGER, GROUP = 54321, 54322, 54323, 54000  # no user or group has these numbers


def namespaces_work():
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--time", "--boottime", "1000", "true"],
        capture_output=True).returncode == 0


def manifest():
    """The spec of the pod."""
    import yaml  # pylint: disable=import-outside-toplevel
    with open(os.path.join(REPO, "deploy", "sidecar.yaml"), encoding="utf-8") as f:
        objects = {o["kind"]: o for o in yaml.safe_load_all(f)}
    return objects["Deployment"]["spec"]["template"]["spec"]


def status_of(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(line.split()[1] for line in f if line.startswith(field + ":"))


class Pod:
    """`spec` is the manifest's; `folder` holds the volumes: socket, an emptyDir, and secret."""

    def __init__(self, folder):
        self.folder, self.process, self.env = folder, None, {}
        self.spec = manifest()
        self.sidecar = self.spec["initContainers"][0]
        self.port = free_port()
        os.chmod(folder, 0o755)
        for name in ("root", "socket", "secret"):
            os.mkdir(os.path.join(folder, name))
        # As Kubernetes makes an emptyDir with fsGroup: open to all; and a Secret: a link to a link, for the group.
        os.chown(self.path("socket"), 0, GROUP)
        os.chmod(self.path("socket"), 0o2777)
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

    @property
    def pid(self):
        """The daemon, seen from outside; it is process 1 of its container."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            return int(f.read())

    @property
    def socket(self):
        """The daemon's socket as it is seen from outside of the pod."""
        return self.path("socket", "dcached.sock")

    def environment(self, redis, **variables):
        """What the manifest gives the daemon, and what it says on another machine."""
        names = {e["name"]: e["value"] if "value" in e else "shop-7d9f" for e in self.sidecar["env"]}
        return {**names, "PATH": f"/build/client/dcachectl:{os.environ['PATH']}",
                "DCACHED_LISTEN_SOCKET": "/pod/dcached.sock", "DCACHED_SOCKET": "/pod/dcached.sock",
                "DCACHED_LISTEN_SOCKET_GROUP": str(GROUP), "DCACHED_REDIS_ADDR": f"127.0.0.1:{redis.port}",
                "DCACHED_REDIS_PASSWORD_FILE": "/secret/password",
                "DCACHED_METRICS_LISTEN": f"127.0.0.1:{self.port}", **variables}

    def command(self, uid, gid, groups, *words, clock=0):
        sockets = self.path("socket") + ("" if uid == DAEMON else ":ro")  # as the manifest mounts it
        time_of = ["--time", "--boottime", str(clock), "--monotonic", str(clock)] if clock else []
        return ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", *time_of,
                os.path.join(REPO, "tests/integration/pod_root.sh"), self.path("root"), build_dir(),
                sockets, self.path("secret"), str(uid), str(gid), str(groups), *words]

    def start(self, redis, clock=0, prefix=(), preexec=None, **variables):
        """Returns once the startup probe is satisfied: Kubernetes starts the application then."""
        self.env = self.environment(redis, **variables)
        return self.start_again(clock, prefix, preexec)

    def start_again(self, clock=0, prefix=(), preexec=None):
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(
                [*prefix, *self.command(DAEMON, GROUP, GROUP, "/build/daemon/dcached", clock=clock)], env=self.env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=preexec)
        return self.wait_until(lambda: self.probe("startupProbe"))

    def wait_until(self, condition, timeout=10):
        deadline = time.monotonic() + timeout * PATIENCE
        while not condition():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return self

    def probe(self, name):
        """What the kubelet finds when it does as the manifest says."""
        probe = self.sidecar[name]
        if "exec" in probe:
            words = self.command(DAEMON, GROUP, GROUP, *probe["exec"]["command"])
            return subprocess.run(words, env=self.env, capture_output=True).returncode == 0
        return 200 <= self.http(probe["httpGet"]["path"])[0] < 400

    def http(self, path):
        """(status, text); status 0: nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2 * PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def run(self, *words, uid=APP, groups=GROUP, clock=0, stdin="", server=DAEMON):
        """A program in a container of its own, as the application's user."""
        return subprocess.run(self.command(uid, uid, groups, *words, clock=clock), capture_output=True, text=True,
                              input=stdin, env={"PATH": os.environ["PATH"], "DCACHED_SERVER_UID": str(server)})

    def ctl(self, *words, **options):
        return self.run("/build/client/dcachectl/dcachectl", "-s", "/pod/dcached.sock", *words, **options)

    def serves(self):
        return self.ctl("wait", "--for=ready", "--timeout", f"{10 * PATIENCE}s").returncode == 0

    def end(self, signum=signal.SIGTERM):
        """As the kubelet does it: a signal, and a kill when the time of grace is over. Its exit status."""
        os.kill(self.pid, signum)
        try:
            return self.process.wait(self.spec["terminationGracePeriodSeconds"])
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def close(self):
        """0 if it ended well, or did not run."""
        return self.end() if self.process is not None and self.process.poll() is None else 0
