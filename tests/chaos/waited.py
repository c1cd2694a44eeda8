"""
For how long processes were ready to run and got no CPU: the kernel's account, which excuses upper limits of time.
And how processes that others wait for go before other work of the machine, where that is permitted.
"""
import os
import subprocess
import threading

import paths  # noqa: F401 pylint: disable=unused-import
from programs import program


def waited_s(pid):
    """Of the first thread of a process, since it began; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
            return int(f.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0


class Held:
    """held(): for how long the machine has held back the calling thread and these processes since it was made."""

    def __init__(self, *pids):
        self._pids = [threading.get_native_id(), *pids]
        self._before = {pid: waited_s(pid) for pid in self._pids}

    def __call__(self, *born):
        """born: processes that have begun since."""
        return sum(max(0, waited_s(pid) - self._before[pid]) for pid in self._pids) + sum(map(waited_s, born))


def _preferred():
    command = ["chrt", "--rr", "1"]
    try:
        if subprocess.run([*command, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return command
    except OSError:
        pass
    return []


# Put before the commands of daemons, Redis and links. (A nice value would not do: it counts within one session.)
PREFERRED = _preferred()


class Monitor:
    """chaos-stalls as a process. `processes()` gives {slot: (pod or "redis", pid)} of what is alive now."""

    def __init__(self, history, processes):
        self._processes, self._told, self._over = processes, {}, threading.Event()
        self.process = subprocess.Popen([program("chaos-stalls"), "--history", history, "--name", "15"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self):
        """Whoever was started since is told: what it waited for before counts all the same."""
        while True:
            for slot, (pod, pid) in self._processes().items():
                if self._told.get(slot) != pid:
                    self._told[slot] = pid
                    self.process.stdin.write(f"{slot} {pod} {pid}\n")
                    self.process.stdin.flush()
            if self._over.wait(0.02):
                return

    def end(self):
        self._over.set()
        self._thread.join()
        self.process.stdin.close()
        return self.process.wait(10)
