"""A dcached of one's own, and the smallest MessagePack-RPC client that can talk to it."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import msgpack

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# What a sanitizer may make of a limit of time.
PATIENCE = 10 if "ASAN_OPTIONS" in os.environ else 1


def build_dir():
    """$DCACHED_BUILD, or build/ of the repository."""
    return os.environ.get("DCACHED_BUILD", os.path.join(REPO, "build"))


class RpcError(Exception):
    """The daemon answered with an error [code, text]."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


# Codes of proto/rpc.h.
(MALFORMED, UNKNOWN_METHOD, INVALID, TOO_LARGE, REFUSED, INDETERMINATE, BUSY, PERMISSION, TIMEOUT, STORE, CORRUPT,
 INTERNAL, MIN_VERSION, OTHER_EPOCH, UNAVAILABLE) = range(1, 16)

ABSENT, FRESH, STALE, LOCAL, FAILED = range(5)  # states of a reading
READING = ("state", "as_of", "value", "version", "timestamp", "source", "age_ms", "replaced")
ACCEPTED, OLDER, DUPLICATE, CONFLICT, KEPT_LOCAL, WRITE_FAILED = range(6)  # outcomes of a write
WRITTEN = ("outcome", "version", "seq", "epoch")


class Client:
    """
    One connection. call(method, *params) returns the result or raises RpcError; send and receive_answer do the
    two halves for pipelining. Keys and values are bytes. Notifications that arrive are kept in `events`.
    """

    def __init__(self, path, timeout=10):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout)
        self.sock.connect(path)
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=1 << 30)
        self.next_id = 0
        self.events = []
        self.answers = {}

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    @staticmethod
    def request(request_id, method, *params):
        return msgpack.packb([0, request_id, method, list(params)], use_bin_type=True)

    def send(self, method, *params):
        """Sends one request, returns its id."""
        self.next_id += 1
        self.sock.sendall(self.request(self.next_id, method, *params))
        return self.next_id

    def receive(self):
        """The next message: (id, error, result), or a notification [method, params]. EOFError at the end."""
        while True:
            try:
                message = self.unpacker.unpack()
                return tuple(message[1:])
            except msgpack.OutOfData:
                data = self.sock.recv(1 << 16)
                if not data:
                    raise EOFError("the daemon closed the connection") from None
                self.unpacker.feed(data)

    def receive_answer(self, request_id):
        """(error, result) of that request; others that arrive first are kept."""
        while request_id not in self.answers:
            message = self.receive()
            if len(message) == 2:
                self.events.append(message)
            else:
                self.answers[message[0]] = message[1:]
        return self.answers.pop(request_id)

    def call(self, method, *params):
        error, result = self.receive_answer(self.send(method, *params))
        if error is not None:
            raise RpcError(*error)
        return result

    def receive_event(self):
        """The next notification: (watch, map)."""
        while not self.events:
            message = self.receive()
            if len(message) == 2:
                self.events.append(message)
            else:
                self.answers[message[0]] = message[1:]
        return tuple(self.events.pop(0)[1])

    # The methods as one would write them.

    def get(self, key, **options):
        """A reading as a dict; its names are READING."""
        return dict(zip(READING, self.call("get", key, *([options] if options else []))))

    def set(self, key, value, **options):
        return dict(zip(WRITTEN, self.call("set", key, value, *([options] if options else []))))

    def delete(self, key, **options):
        return dict(zip(WRITTEN, self.call("delete", key, *([options] if options else []))))


class Daemon:
    """
    Daemon(redis=private_redis.socket).start(); use as a context manager to have it stopped and removed.

    redis: path of a Unix socket, or HOST:PORT. config: {"section": {"key": value}} on top of what is needed
    to run here. `socket` is its path, `log()` what it wrote to stderr. With ready=True start returns only once
    plain reads are served and (for a pod that may write) writes are proven; otherwise once it answers a ping.
    """

    def __init__(self, redis="127.0.0.1:1", pod="pod-a", role="writer", config=None, env=None, dir=None,
                 prefix=None):
        self.own_dir = dir is None
        self.dir = dir or tempfile.mkdtemp(prefix="dcached-")
        self.socket = os.path.join(self.dir, f"{pod}.sock")
        self.conf = os.path.join(self.dir, f"{pod}.conf")
        self.log_path = os.path.join(self.dir, f"{pod}.log")
        addr = f"unix:{redis}" if str(redis).startswith("/") else redis
        self.config = {"pod": {"id": pod, "role": role}, "listen": {"socket": self.socket, "socket_mode": "0600"},
                       "redis": {"addr": addr}, "log": {"level": "debug"}}
        for section, keys in (config or {}).items():
            self.config.setdefault(section, {}).update(keys)
        self.socket = self.config["listen"]["socket"]
        self.env = env or {}
        self.prefix = prefix or []  # command put before the daemon's, such as ["strace", "-c"]
        self.process = None

    def write_config(self):
        with open(self.conf, "w", encoding="utf-8") as f:
            for section, keys in self.config.items():
                f.write(f"[{section}]\n")
                for key, value in keys.items():
                    f.write(f"{key} = {value}\n")

    def spawn(self, **popen):
        """Starts the process and does not wait for anything."""
        assert self.process is None, "already running"
        self.write_config()
        env = {k: v for k, v in os.environ.items() if not k.startswith("DCACHED_")}
        env.update(self.env)
        binary = os.path.join(build_dir(), "daemon", "dcached")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.prefix, binary, "--config", self.conf],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, **popen)
        return self

    def start(self, ready=True, timeout=10, **popen):
        self.spawn(**popen)
        deadline = time.monotonic() + timeout
        while not self._answers(ready):
            assert self.process.poll() is None, f"exit {self.process.returncode}: {self.log()}"
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.005)
        return self

    def _answers(self, ready):
        try:
            with self.client(timeout=2) as client:
                if not ready:
                    return client.call("ping") == "pong"
                status = client.call("status")
                return bool(status["ready"]) and (bool(status["writes_ok"]) or not self._may_write())
        except (OSError, EOFError):
            return False

    def _may_write(self):
        return (self.config["pod"]["role"] == "writer" or
                self.config["redis"].get("reader_can_set_to_redis") == "yes")

    def client(self, timeout=10):
        return Client(self.socket, timeout)

    def call(self, method, *params):
        """One call over a connection of its own."""
        with self.client() as client:
            return client.call(method, *params)

    def stats(self):
        return self.call("stats")

    def status(self):
        return self.call("status")

    def wait_until(self, condition, timeout=5):
        """Polls condition() until it is true; the log is in the failure."""
        deadline = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.005)

    def log(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _end(self, signum, timeout):
        if self.process is not None:
            process, self.process = self.process, None
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.send_signal(signum)
            return process.wait(timeout)
        return None

    def stop(self, timeout=10):
        """SIGTERM; returns the exit status."""
        return self._end(signal.SIGTERM, timeout)

    def kill(self):
        """kill -9."""
        return self._end(signal.SIGKILL, 10)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def remove(self):
        self.kill()
        if self.own_dir:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *exc):
        self.remove()
