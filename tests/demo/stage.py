"""One Redis and three pods, each daemon behind a proxy of its own: where the scenarios happen."""
import contextlib
import os
import subprocess
import time

import dcache
from daemon import Daemon, build_dir
from private_redis import PrivateRedis
from proxy import Proxy

BOUND_S = 1.0              # D, the shipped default
HEARTBEAT_S = BOUND_S / 4  # H
PODS = {
    "writer": {"role": "writer"},
    "reader-1": {"role": "reader", "config": {"redis": {"reader_can_set_to_redis": "yes"}}},
    "reader-2": {"role": "reader"},
}


class Pod:
    """A daemon, the proxy between it and Redis, and one application that uses it through libdcache-client."""

    def __init__(self, name, stack, redis, folder):
        self.name = name
        self.proxy = stack.enter_context(Proxy(redis.socket, listen=os.path.join(folder, f"{name}.proxy")))
        self.daemon = Daemon(redis=self.proxy.address[5:], pod=name, dir=folder, **PODS[name])
        stack.callback(self._end)
        self.daemon.spawn(start_new_session=True)  # Ctrl-C is for the demo alone
        self._stack = stack
        self.client = None

    def _end(self):
        status = self.daemon.stop()
        log = self.daemon.log()
        self.daemon.remove()
        assert status == 0, f"{self.name} ended with {status}: {log[-2000:]}"

    def wait_ready(self):
        self.daemon.wait_until(lambda: self.daemon._answers(True), timeout=20)
        self.client = self.connect()

    def connect(self):
        """Another application of this pod, with a connection of its own."""
        return self._stack.enter_context(contextlib.closing(dcache.Cache(self.daemon.socket, timeout_ms=5000)))

    def get(self, key, **options):
        return self.client.get(key, **options)

    def version(self, key, **options):
        return self.get(key, **options).version

    def stats(self):
        return self.daemon.stats()

    def ctl(self, *args):
        """What dcachectl says; its exit status does not matter here."""
        command = [os.path.join(build_dir(), "client", "dcachectl", "dcachectl"), "-s", self.daemon.socket, *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.rstrip()

    def log_lines(self, text):
        return [line for line in self.daemon.log().split("\n") if text in line]


class World:
    """
    tell(text) is called with one line at a time about what happens. Everything lives in `folder`, which the
    caller makes and removes.
    """

    def __init__(self, folder, tell=lambda text: None):
        self.tell = tell
        self._stack = contextlib.ExitStack()
        try:
            self.redis = PrivateRedis()
            self._stack.callback(self.redis.remove)
            self.redis.start()
            self.pods = [Pod(name, self._stack, self.redis, folder) for name in PODS]
            for pod in self.pods:
                pod.wait_ready()
        except BaseException:
            self._stack.close()
            raise
        self.writer, self.reader_1, self.reader_2 = self.pods
        self.readers = self.pods[1:]

    def write(self, pod, key, version):
        """A set of that version; its value says which it is. Gives what the library gives."""
        return pod.client.set(key, value_of(key, version), version=version)

    def publish_again(self, message):
        """Sends a captured message once more, as a network that repeats and reorders would."""
        return self.redis.client().publish(message.channel, message.payload)

    def close(self):
        self._stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def value_of(key, version):
    return f"{key}@v{version}".encode()


def until(condition, what, timeout=5.0):
    """Calls condition until it gives something true; gives (that, seconds waited)."""
    begin = time.monotonic()
    while True:
        value = condition()
        waited = time.monotonic() - begin
        if value:
            return value, waited
        assert waited < timeout, f"not within {timeout:g} s: {what}"
        time.sleep(0.0005)


def boottime():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def ms(seconds):
    return f"{seconds * 1000:.1f} ms"
