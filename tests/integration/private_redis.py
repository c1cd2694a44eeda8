"""A redis-server of one's own: Unix socket in a fresh directory, optionally a loopback port."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import redis


def free_port():
    """A loopback port that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class PrivateRedis:
    """
    PrivateRedis(tcp=True, appendonly="yes").start(); use as a context manager to have it stopped and removed.

    options are lines of redis.conf with `_` for `-`; a list gives several lines. `socket` is the path of the
    Unix socket, `port` the loopback port (None without tcp). Data survives stop, kill and restart as far as
    the options make Redis keep it; `remove` deletes the directory.
    """

    def __init__(self, tcp=False, port=None, server="redis-server", **options):
        self.dir = tempfile.mkdtemp(prefix="dcached-redis-")
        self.socket = os.path.join(self.dir, "redis.sock")
        self.port = port or (free_port() if tcp else None)
        self.server = server
        self.options = {"save": '""', "appendonly": "no", "loglevel": "notice", "databases": 16}
        self.options.update(options)
        self.process = None

    def _write_config(self):
        lines = [f"unixsocket {self.socket}", "unixsocketperm 700", f"dir {self.dir}", "bind 127.0.0.1",
                 f"port {self.port or 0}", f"logfile {self.dir}/redis.log", "daemonize no"]
        for name, values in self.options.items():
            for value in values if isinstance(values, (list, tuple)) else [values]:
                lines.append(f"{name.replace('_', '-')} {value}")
        path = os.path.join(self.dir, "redis.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        return path

    def start(self, wait=True):
        """Starts the server and, with wait, returns only once it answers."""
        assert self.process is None, "already running"
        server = self.server if isinstance(self.server, list) else [self.server]
        self.process = subprocess.Popen([*server, self._write_config()], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while wait and not self._answers():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.005)
        return self

    def _answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(1)
                s.connect(self.socket)
                s.sendall(b"PING\r\n")
                answer = s.recv(64)
                return answer.startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def client(self, **kwargs):
        """A redis-py client on the Unix socket; answers are bytes."""
        return redis.Redis(unix_socket_path=self.socket, **kwargs)

    def log(self):
        try:
            with open(os.path.join(self.dir, "redis.log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def _end(self, signum):
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signum)
            self.process.wait(10)
            self.process = None

    def stop(self):
        """Orderly shutdown (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self):
        """kill -9."""
        self._end(signal.SIGKILL)

    def restart(self, kill=False):
        """A new server process on the same directory, socket and port: another run id."""
        if kill:
            self.kill()
        else:
            self.stop()
        return self.start()

    def pause(self):
        """SIGSTOP: connections stay, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def remove(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *exc):
        self.remove()
