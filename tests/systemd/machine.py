"""
A machine of one's own: a real systemd as process 1 of its own namespaces, over the root file system of this one,
or over a tree that debootstrap made. What is written there is in memory, and gone with it. Network: a loopback.
Needs root and the right to mount.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(REPO, "tests", "integration"))

from daemon import Client  # pylint: disable=wrong-import-position

BUILD = os.environ.get("DCACHED_RELEASE_BUILD", os.path.join(REPO, "build-system"))
SOCKET = "/run/dcached/dcached.sock"


class CannotBoot(Exception):
    """No systemd can be process 1 here; the text says why."""


def wait_until(condition, seconds=10, what=""):
    """What condition() gives as soon as it is true; AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, what or "not in time"
        time.sleep(0.02)


class Machine:
    """Use as a context manager. run(...) is a command in it, path(...) a file in it as seen from outside."""

    def __init__(self, kept=(), lower="/"):
        self.base = tempfile.mkdtemp(prefix="dc-machine-")
        self.log = open(os.path.join(self.base + ".log"), "w+", encoding="utf-8")
        self.pid = None
        self.unshare = subprocess.Popen(
            # It ends with this process, however that ends.
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--mount", "--uts", "--ipc", "--cgroup",
             "--net", "--fork", "--kill-child", os.path.join(HERE, "boot.sh"), self.base, lower, *kept],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            self.wait_for_boot()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def said(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read().strip()[-500:]

    def wait_for_boot(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.unshare.poll() is not None:
                raise CannotBoot(self.said() or f"unshare: status {self.unshare.returncode}")
            children = subprocess.run(["pgrep", "-P", str(self.unshare.pid)], capture_output=True, text=True,
                                      check=False).stdout.split()
            if children and self.is_systemd(children[0]):
                self.pid = int(children[0])
                state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.05)
        raise CannotBoot("it did not come up within 60 s: " + self.said())

    @staticmethod
    def is_systemd(pid):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
                return f.read().strip() == "systemd"
        except OSError:
            return False

    def close(self):
        self.unshare.kill()  # and with it process 1, and with that everything in the machine
        self.unshare.wait()
        self.log.close()
        os.unlink(self.base + ".log")
        shutil.rmtree(self.base, ignore_errors=True)

    # ---- commands and files -----------------------------------------------------------------------------

    def run(self, *command, check=True, text=None, timeout=60):
        result = subprocess.run(["nsenter", "-t", str(self.pid), "-a", *command], capture_output=True, text=True,
                                input=text, check=False, timeout=timeout,
                                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"})
        assert not check or result.returncode == 0, (command, result.stdout, result.stderr)
        return result

    def path(self, path):
        return f"/proc/{self.pid}/root{path}"

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(path), mode)

    def read(self, path):
        with open(self.path(path), encoding="utf-8") as f:
            return f.read()

    def remove(self, path):
        if os.path.isdir(self.path(path)):
            shutil.rmtree(self.path(path))
        elif os.path.lexists(self.path(path)):
            os.unlink(self.path(path))

    def exists(self, path):
        return os.path.lexists(self.path(path))

    # ---- units ------------------------------------------------------------------------------------------

    def systemctl(self, *args, check=True):
        return self.run("systemctl", *args, check=check)

    def show(self, unit, name):
        return self.systemctl("show", unit, f"--property={name}", "--value").stdout.strip()

    def main_pid(self, unit="dcached"):
        """As seen inside; 0: none."""
        return int(self.show(unit, "MainPID"))

    def drop_in(self, unit, text):
        """Adds to a unit; "" takes the addition away."""
        folder = f"/etc/systemd/system/{unit}.d"
        if text:
            self.write(f"{folder}/{unit}.conf", text)  # one of another name would hide that of the template
        else:
            self.remove(folder)
        self.systemctl("daemon-reload")

    def journal(self, unit="dcached.service", since=None):
        """The entries of a unit, oldest first, each a dict. since: a cursor()."""
        after = [f"--after-cursor={since}"] if since else []
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "-o", "json", "-u", unit, *after).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def cursor(self):
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "-n", "0", "--show-cursor").stdout.splitlines()
        return lines[-1].removeprefix("-- cursor: ")

    def messages(self, unit="dcached.service", since=None):
        return "\n".join(str(entry["MESSAGE"]) for entry in self.journal(unit, since))

    def install(self):
        self.run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet")
        self.systemctl("daemon-reload")
        self.run("systemd-sysusers")
        self.run("systemd-tmpfiles", "--create", "dcached.conf")

    def uninstall(self):
        self.run("ninja", "-C", BUILD, "uninstall")
        self.systemctl("daemon-reload")

    # ---- the daemon -------------------------------------------------------------------------------------

    def client(self, socket=SOCKET):
        return Client(self.path(socket), timeout=10)

    def wait_ready(self, socket=SOCKET, seconds=10):
        """Until reads are served and writes are proven."""
        def ready():
            try:
                with self.client(socket) as client:
                    status = client.call("status")
                    return status["ready"] and status["writes_ok"]
            except (OSError, EOFError):
                return False
        wait_until(ready, seconds, f"{socket} is not ready")
