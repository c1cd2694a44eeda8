"""The simulated Redis of tests/sim/redis, behind the same few calls as a connection to a real one."""
import os
import select
import socket
import struct
import subprocess
import time

from daemon import build_dir
from resp import Framer


def encode(*arguments):
    """A command in RESP."""
    parts = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class Model:
    """Connections are numbers below 64. Every call gives the model the wall clock of this moment."""

    def __init__(self):
        path = os.path.join(build_dir(), "tests/sim/redis/redis_model_pipe")
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.output = {}
        self.closed = set()

    def order(self, letter, number=0, data=b""):
        now_us = time.time_ns() // 1000
        self.process.stdin.write(struct.pack("<cIQI", letter, number, now_us, len(data)) + data)
        self.process.stdin.flush()
        while True:
            kind, who, size = struct.unpack("<cII", self.process.stdout.read(9))
            if kind == b"e":
                return
            if kind == b"c":
                self.closed.add(who)
            self.output[who] = self.output.get(who, b"") + self.process.stdout.read(size)

    def open(self, number):
        self.output.pop(number, None)
        self.closed.discard(number)
        self.order(b"o", number)

    def send(self, number, data):
        self.order(b"d", number, data)

    def take(self, number, until):
        """Everything that it had to say. Ticks let WAITs end; 5 s without the end is enough."""
        deadline = time.monotonic() + 5
        while until not in self.output.get(number,
                                           b"") and number not in self.closed and time.monotonic() < deadline:
            self.order(b"t")
        return self.output.pop(number, b"")

    def close(self, number):
        self.order(b"x", number)

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(10) == 0


class Real:
    """The same with a PrivateRedis. `until` ends a reading: a text that the last answer holds."""

    def __init__(self, redis):
        self.redis = redis
        self.sockets = {}

    def open(self, number):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.redis.socket)
        self.sockets[number] = s

    def send(self, number, data):
        try:
            self.sockets[number].sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed by the server: the reading sees the end

    def take(self, number, until):
        """(everything that came, whether the server has closed the connection)"""
        s, framer, got = self.sockets[number], Framer(), b""
        deadline = time.monotonic() + 20
        while True:
            assert select.select([s], [], [], max(0, deadline - time.monotonic()))[0], (until, got)
            try:
                data = s.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            got += data
            if not data:
                return got, True
            if any(until in frame for frame in framer.feed(data)):
                return got, False

    def close(self, number):
        self.sockets.pop(number).close()

    def stop(self):
        for s in self.sockets.values():
            s.close()
