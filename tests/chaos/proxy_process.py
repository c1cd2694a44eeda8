"""
The fault proxy in a process of its own, so that moving bytes takes no time from the runner or from other proxies.

    link = ProxyProcess(upstream, listen)
    link.stall("all")                # every method of Proxy that takes and gives plain values
    link.fired["stall"]              # what the faults had done when the last call returned
    link.thread                      # id of the thread that moves the bytes
"""
import collections
import gc
import os
import signal
import subprocess
import sys
import threading

import paths  # noqa: F401 pylint: disable=unused-import
import pickle

from proxy import Proxy
from waited import PREFERRED


class ProxyProcess:
    """upstream and listen as Proxy wants them; listen is a path."""

    def __init__(self, upstream, listen):
        self.address = listen
        self.fired = collections.Counter()
        self._lock = threading.Lock()
        self.process = subprocess.Popen([*PREFERRED, sys.executable, os.path.abspath(__file__)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._call("Proxy", upstream, listen)
        self.thread = self._call("thread")

    def _call(self, name, *args, **kwargs):
        with self._lock:
            pickle.dump((name, args, kwargs), self.process.stdin)
            self.process.stdin.flush()
            error, result, self.fired = pickle.load(self.process.stdout)
        if error:
            raise RuntimeError(f"proxy: {error}")
        return result

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._call(name, *args, **kwargs)

    def look(self):
        """What the faults have done by now."""
        self._call("count")
        return self.fired

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/schedstat", encoding="ascii") as f:
            return int(f.read().split()[0]) / 1e9

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Led(Proxy):
    """`next_upstream` is for one connection."""
    next_upstream = None

    def _accept(self):
        usual, chosen = self.upstream, self.next_upstream
        self.next_upstream = None
        self.upstream = chosen or usual
        super()._accept()
        self.upstream = usual
        self.fired["led"] += chosen is not None


class Served:
    """The proxy's side: Proxy with what cannot be handed through a pipe made plain."""

    def __init__(self, upstream, listen):
        self.proxy = Led(upstream, listen=listen, keep_messages=False)

    def lead_to(self, upstream):
        """New connections go there."""
        self.proxy.upstream = upstream

    def lead_next_to(self, upstream):
        """One new connection goes there; None: no more."""
        self.proxy.next_upstream = upstream

    def thread(self):
        return self.proxy.thread_id

    def drop_next_message(self):
        self.proxy.drop_next_message()

    def __getattr__(self, name):
        return getattr(self.proxy, name)


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    served = None
    while True:
        try:
            name, args, kwargs = pickle.load(source)
        except EOFError:
            break
        error = result = None
        try:
            if name == "Proxy":
                served = Served(*args, **kwargs)
            else:
                result = getattr(served, name)(*args, **kwargs)
        except Exception as e:  # pylint: disable=broad-except
            error = f"{name}: {e!r}"
        pickle.dump((error, result, dict(served.proxy.fired) if served else {}), sink)
        sink.flush()
    if served:
        served.proxy.close()


if __name__ == "__main__":
    main()
