"""
A daemon that does what a test says: it speaks the socket protocol over a Unix socket, its store is a dict.

    with FakeDaemon() as fake:
        fake.on("get", lambda request: ...)       # replaces the answer of a method
        dcache.Client(fake.socket).get("key")

A handler returns the result of the request, raises Refusal(code, text), or returns one of the verdicts below.
Everything a client asked for stands in fake.requests.
"""
import os
import queue
import shutil
import socket
import tempfile
import threading
import time
from collections import namedtuple

import msgpack

Request = namedtuple("Request", "connection id method params")
EPOCH = "3f9a1c0e5b7d42866a0f1e2d3c4b5a69"
SECOND = 10 ** 9


class Refusal(Exception):
    def __init__(self, code, text="as the test wants"):
        super().__init__(text)
        self.code, self.text = code, text


class Verdict:
    """What a handler can do instead of answering."""
    def __init__(self, name, data=b""):
        self.name, self.data = name, data


SILENCE = Verdict("silence")  # never answer this request
CUT = Verdict("cut")          # close the connection


def raw(data):
    """Send these bytes as they are."""
    return Verdict("raw", data)


def boottime():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def pack(message):
    return msgpack.packb(message, use_bin_type=True)


def as_bytes(value):
    return value.encode() if isinstance(value, str) else value


class FakeDaemon:
    def __init__(self, path=None, bound_ns=SECOND, max_stale_ns=30 * SECOND, protocol=1, clock_offset_ns=0,
                 piece=None, backlog=64, accept=True, max_message=2 << 20, max_in_flight=1024):
        self.dir = None if path else tempfile.mkdtemp(prefix="dc-fake-")
        self.socket = path or os.path.join(self.dir, "d.sock")
        self.hello = {"server": "dcached 0.1.0", "protocol": protocol, "pod": "pod-f", "role": "writer",
                      "bound_ns": bound_ns, "max_stale_ns": max_stale_ns, "epoch": EPOCH,
                      "max_message": max_message, "max_key": 1024, "max_value": 1 << 20,
                      "max_in_flight": max_in_flight, "mget_max": 1024}
        self.clock_offset_ns = clock_offset_ns
        self.piece = piece  # answers leave in pieces of so many bytes
        self.backlog, self.accept = backlog, accept
        self.requests = []
        self.arrived = queue.Queue()  # the same, once they were answered or left unanswered
        self.connections = []
        self.accepted = 0
        self.taken = 0     # bytes, of all connections
        self.deaf = False  # takes bytes and looks at none of them
        self.store = {}
        self.seq = 4000
        self.handlers = {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("do_")}
        self.closing = False
        self.listener = None

    # ---- life ----

    def start(self):
        self.closing = False
        self.listener = socket.socket(socket.AF_UNIX)
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.listener.bind(self.socket)
        self.listener.listen(self.backlog)
        if self.accept:
            threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self):
        """As a daemon that died: the name stays, nobody listens, connections are closed."""
        self.closing = True
        if self.listener is not None:
            try:
                self.listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.listener.close()
            self.listener = None
        for connection in self.connections:
            self._cut(connection)
        self.connections = []

    def close(self):
        self.stop()
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.close()

    def now(self):
        """Its CLOCK_BOOTTIME: shifted, as in a clock namespace."""
        return boottime() + self.clock_offset_ns

    # ---- what a test says ----

    def on(self, method, handler):
        """handler(Request) answers from now on; a list of handlers is used up one by one, the last one stays."""
        if isinstance(handler, list):
            handlers = list(handler)
            take = lambda: handlers.pop(0) if len(handlers) > 1 else handlers[0]
            self.handlers[method] = lambda request: take()(request)
        else:
            self.handlers[method] = handler

    def wait(self, method, timeout=5):
        """The next request of that method that was dealt with and not waited for yet."""
        while True:
            request = self.arrived.get(timeout=timeout)
            if request.method == method:
                return request

    def asked(self, method):
        return [request for request in self.requests if request.method == method]

    def event(self, watch, event):
        for connection in list(self.connections):
            self._send(connection, pack([2, "event", [watch, event]]))

    def answer(self, request, result):
        """Answers a request that was met with SILENCE."""
        self._send(request.connection, pack([1, request.id, None, result]))

    def cut(self):
        for connection in list(self.connections):
            self._cut(connection)

    # ---- the methods ----

    def do_hello(self, _request):
        return {**self.hello, "clock_ns": self.now()}

    def do_ping(self, _request):
        return "pong"

    def reading(self, value=b"v", version=1, state=1, as_of=None, age_ms=0, source="pod-f", replaced=False):
        return [state, self.now() if as_of is None else as_of, value, version, 1700000000 * SECOND, source, age_ms,
                replaced]

    def read(self, key):
        key = as_bytes(key)
        if key not in self.store:
            return [0, self.now(), None, 0, 0, "", 0, False]
        value, version = self.store[key]
        if value is None:
            return [0, self.now(), None, version, 0, "", 0, False]
        return self.reading(value, version)

    def do_get(self, request):
        return self.read(request.params[0])

    def do_mget(self, request):
        return [self.read(key) for key in request.params[0]]

    def write(self, key, value, options):
        key, stored = as_bytes(key), self.store.get(as_bytes(key), (None, 0))
        version = options.get("version") or stored[1] + 1
        if version < stored[1]:
            return [1, stored[1], self.seq, EPOCH]
        if version == stored[1]:
            return [2 if stored[0] == value else 3, version, self.seq, EPOCH]
        self.seq += 1
        self.store[key] = (value, version)
        return [0, version, self.seq, EPOCH]

    def do_set(self, request):
        key, value, *rest = request.params
        return self.write(key, as_bytes(value), rest[0] if rest else {})

    def do_mset(self, request):
        return [self.write(item[0], as_bytes(item[1]), item[2] if len(item) > 2 else {})
                for item in request.params[0]]

    def do_delete(self, request):
        key, *rest = request.params
        return self.write(key, None, rest[0] if rest else {})

    def do_clear(self, _request):
        self.store = {}
        return [0, 0, self.seq, "c0ffee00" * 4]

    def do_watch(self, _request):
        return 1

    # ---- connections ----

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if self.closing:
                connection.close()
                return
            self.connections.append(connection)
            self.accepted += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    @staticmethod
    def _cut(connection):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _send(self, connection, data):
        step = self.piece or len(data)
        try:
            for start in range(0, len(data), step):
                connection.sendall(data[start:start + step])
        except OSError:
            pass

    def _serve(self, connection):
        unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=1 << 28)
        try:
            while data := connection.recv(1 << 16):
                self.taken += len(data)
                if self.deaf:
                    continue
                unpacker.feed(data)
                for message in unpacker:
                    request = Request(connection, *message[1:])
                    self._handle(request)
                    self.arrived.put(request)
        except OSError:
            pass
        finally:
            if connection in self.connections:
                self.connections.remove(connection)
            connection.close()

    def _handle(self, request):
        self.requests.append(request)
        handler = self.handlers.get(request.method)
        try:
            result = handler(request) if handler else Verdict("unknown")
        except Refusal as refusal:
            self._send(request.connection, pack([1, request.id, [refusal.code, refusal.text], None]))
            return
        if not isinstance(result, Verdict):
            self._send(request.connection, pack([1, request.id, None, result]))
        elif result.name == "unknown":
            self._send(request.connection, pack([1, request.id, [2, "no such method"], None]))
        elif result.name == "raw":
            self._send(request.connection, result.data)
        elif result.name == "cut":
            self._cut(request.connection)
