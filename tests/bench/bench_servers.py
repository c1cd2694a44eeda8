"""
All servers at once, in one directory, and on which CPU each of them runs.

There are two daemons: `small` as shipped, for values of 100 bytes, and `large` for those of 1 KiB.
"""
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../integration"))

from daemon import Daemon, build_dir  # noqa: E402
from private_redis import PrivateRedis  # noqa: E402

CLIENT_CPU, SERVER_CPU = 0, 1
VALUE = {"small": b"v" * 100, "large": b"v" * 1024}


def tool(name):
    return os.path.join(build_dir(), "tests", "bench", name)


def pin(pid, cpu):
    """All threads of the process."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {cpu})


def on_cpu(cpu):
    """For subprocess.Popen."""
    return {"preexec_fn": lambda: os.sched_setaffinity(0, {cpu})}


def recv_until(sock, done):
    data = b""
    while not done(data):
        chunk = sock.recv(1 << 16)
        assert chunk, "the server closed the connection"
        data += chunk
    return data


def answer_bytes(path, request):
    """How long the answer is: what comes until nothing came for 100 ms."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(request)
        s.settimeout(0.1)
        data = b""
        with contextlib.suppress(TimeoutError):
            while True:
                data += s.recv(1 << 16)
        return len(data)


class Process:
    """A server that is no class of its own; there once its socket takes connections."""

    def __init__(self, command, path, **popen):
        self.socket = path
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **popen)
        deadline = time.monotonic() + 10
        while not self._connects():
            assert self.process.poll() is None and time.monotonic() < deadline, command
            time.sleep(0.005)

    def _connects(self):
        with socket.socket(socket.AF_UNIX) as s:
            return os.path.exists(self.socket) and s.connect_ex(self.socket) == 0

    def remove(self):
        self.process.kill()
        self.process.wait()


class Servers:
    """store: the daemons' Redis. redis and memcached: the ones to compare with. Use as a context manager."""

    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.dir = tempfile.mkdtemp(prefix="dcached-bench-")
        self.stack.callback(shutil.rmtree, self.dir, ignore_errors=True)
        try:
            self._start()
        except BaseException:
            self.stack.close()
            raise

    def _start(self):
        # A daemon that is stopped while 100,000 messages are published must not be cut off.
        self.store = self._keep(PrivateRedis(client_output_buffer_limit="pubsub 0 0 0")).start()
        self.redis = self._keep(PrivateRedis()).start()
        self.memcached = self.start_memcached("memcached", 1024)
        # Both as one would configure them: the budget holds the keys, the index is made for such entries.
        self.dcached = {"small": self.start_dcached("pod-a"),
                        "large": self.start_dcached("pod-b", redis={"key_prefix": "large:"},
                                                    cache={"max_memory": "192M", "entry_size": 1088})}
        self.echoes = {}

    def _keep(self, server):
        self.stack.callback(server.remove)
        return server

    def start_dcached(self, pod, **config):
        # Long deadlines: a machine that is busy with something else is not to be measured as a lost store.
        config = {"log": {"level": "info"}, "staleness": {"bound": "10s"}, "limits": {"timeout": "10s"}, **config}
        return self._keep(Daemon(redis=self.store.socket, pod=pod, dir=self.dir, config=config)).start()

    def start_memcached(self, name, megabytes):
        path = os.path.join(self.dir, name)
        return self._keep(Process(["memcached", "-s", path, "-t", "1", "-R", "500", "-m", str(megabytes),
                                   "-u", "root"], path))

    def start_echo(self, request, answer):
        """An echo that takes requests and gives answers of these lengths; one for each pair."""
        if (request, answer) not in self.echoes:
            path = os.path.join(self.dir, f"echo-{request}-{answer}")
            command = [tool("echo"), path, str(request), str(answer)]
            self.echoes[request, answer] = self._keep(Process(command, path))
        return self.echoes[request, answer]

    def start_process(self, command, path, **popen):
        return self._keep(Process(command, path, **popen))

    def fill(self, keys, size):
        """The same keys in all three."""
        value = VALUE[size]
        fill_dcached(self.dcached[size], keys, value)
        with self.redis.client() as client:
            for i in range(0, len(keys), 1000):
                client.mset({key: value for key in keys[i:i + 1000]})
        fill_memcached(self.memcached.socket, keys, value)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stack.close()


def fill_dcached(daemon, keys, value, touch=0):
    """Sets the keys and asks for each of them `touch` times."""
    with daemon.client(timeout=30) as client:
        for i in range(0, len(keys), 500):
            part = keys[i:i + 500]
            written = client.call("mset", [[key, value] for key in part])
            assert all(w[0] == 0 for w in written), written[0]
            for _ in range(touch):
                client.call("mget", part)


def fill_memcached(path, keys, value):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        for i in range(0, len(keys), 100):
            part = keys[i:i + 100]
            s.sendall(b"".join(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value) for key in part))
            answer = recv_until(s, lambda data, want=len(part): data.count(b"\r\n") == want)
            assert answer == b"STORED\r\n" * len(part), answer[:100]


def memcached_stats(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(b"stats\r\n")
        text = recv_until(s, lambda data: data.endswith(b"END\r\n")).decode()
    return dict(line.split()[1:3] for line in text.splitlines() if line.count(" ") >= 2)


def cpu_ns(pid):
    """Time on a CPU of all threads."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total
