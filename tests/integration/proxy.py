"""
A proxy between dcached and Redis that makes faults on command.

    with Proxy(upstream=redis.socket, listen="/tmp/x/proxy.sock") as proxy:
        proxy.stall()                  # silent partition: nothing arrives, no error
        proxy.resume()

It knows RESP, so it can take one pub/sub message out of the stream while the link lives on, and it tells the
data connection from the subscription by having seen SUBSCRIBE on it. One thread moves the bytes; a control
call has taken effect when it returns.

`which` selects connections: ALL, DATA or SUBSCRIPTION, those made later included. `direction` selects one way
or both: TO_REDIS, TO_CLIENT, BOTH. `fired` counts what every fault really did.
"""
import collections
import os
import random
import selectors
import socket
import threading
import time

import resp
from proxy_parts import (ALL, BOTH, DATA, QUEUE_LIMIT, SUBSCRIPTION, TO_CLIENT, TO_REDIS, Answer, Connection, Drop,
                         Message)


BYTES_OF_A_TURN = 256  # of a connection that gets them one by one, so that the others have their turn; picked


class Proxy:
    """
    upstream and listen: path of a Unix socket, or (host, port). Without listen: a free loopback port.
    `upstream` may be changed while running; new connections use it.
    """

    def __init__(self, upstream, listen=("127.0.0.1", 0), seed=1, keep_messages=True):
        self.upstream = upstream
        self.fired = collections.Counter()
        self.messages = []  # every pub/sub message that Redis sent, the dropped ones included
        self._keep_messages = keep_messages
        self._listen = listen
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        self._condition = threading.Condition(self._lock)
        self._connections = []
        self._stalled = set()   # (which, direction)
        self._delays = {}       # (which, direction) -> (low, high) seconds
        self._one_byte = set()  # (which, direction)
        self._drops = []
        self._answers = []
        self._corrupt = []      # (which, direction) of frames, or SUBSCRIPTION alone: of messages
        self._listener = None
        self._running = True
        self._wake_in, self._wake_out = socket.socketpair()
        for sock in (self._wake_in, self._wake_out):
            sock.setblocking(False)
        self._open_listener()
        self._thread = threading.Thread(target=self._loop, name="proxy", daemon=True)
        self._thread.start()

    # ---- control ------------------------------------------------------------------------------------------

    @property
    def address(self):
        """As `[redis] addr` wants it."""
        return "unix:" + self._listen if isinstance(self._listen, str) else "%s:%d" % self._listen

    def stall(self, which=ALL, direction=BOTH):
        """Holds everything back, without error or end of file, until resume."""
        self._add(self._stalled, which, direction)

    def resume(self, which=ALL, direction=BOTH):
        with self._changing():
            ways = set(_ways(which, direction)) if which != ALL else \
                {way for way in self._stalled if direction in (BOTH, way[1])}
            self._lift(ways)

    def delay(self, ms, jitter_ms=0, which=ALL, direction=BOTH):
        """Each piece arrives ms to ms + jitter_ms later; 0 ends it for what comes then."""
        with self._changing():
            for way in _ways(which, direction):
                self._delays.pop(way, None)
                if ms or jitter_ms:
                    self._delays[way] = (ms / 1000, (ms + jitter_ms) / 1000)

    def one_byte(self, on=True, which=ALL, direction=BOTH):
        """Hands over one byte per write."""
        if on:
            self._add(self._one_byte, which, direction)
        else:
            with self._changing():
                self._one_byte -= set(_ways(which, direction))

    @property
    def thread_id(self):
        """The kernel's number of the thread that moves the bytes."""
        return self._thread.native_id

    def cut(self, which=ALL, reset=False):
        """
        Closes connections now; gives back how many. reset: with RST where the socket is TCP. What a stall holds
        back never arrives.
        """
        with self._changing():
            chosen = [c for c in self._connections if _chosen(c, which)]
            self.fired["stall"] += self._held(chosen, self._stalled)
            for connection in chosen:
                self._end(connection, reset)
            self.fired["cut"] += len(chosen)
            return len(chosen)

    def cut_after(self, count, which=ALL, direction=TO_CLIENT):
        """Cuts each connection that is open now after `count` more bytes in that direction."""
        with self._changing():
            for connection in self._connections:
                for pipe in connection.pipes:
                    if _chosen(connection, which) and direction in (BOTH, pipe.direction):
                        pipe.cut_in = count

    def cut_frame(self, at, which=ALL, direction=TO_CLIENT):
        """Cuts each connection that is open now before that byte of its next frame that is longer."""
        with self._changing():
            for connection in self._connections:
                for pipe in connection.pipes:
                    if _chosen(connection, which) and direction in (BOTH, pipe.direction):
                        pipe.cut_at = at

    def refuse(self, on=True):
        """New connections are refused (ECONNREFUSED, or no socket at all); open ones live on."""
        with self._changing():
            if on and self._listener:
                self._close_listener()
                self.fired["refuse"] += 1
            elif not on and not self._listener:
                self._open_listener()

    def drop_next_message(self, predicate=None):
        """Takes the next message whose payload the predicate likes out of the stream, once; gives a Drop."""
        with self._changing():
            drop = Drop(predicate, self._condition)
            self._drops.append(drop)
            return drop

    def answer_next(self, line, command=None, count=1, forward=False):
        """
        The next `count` requests on data connections are answered with this line, such as b"-READONLY no\\r\\n",
        and Redis never sees them; with forward it does, and its answers are replaced. command: of that name only.
        """
        with self._changing():
            self._answers += [Answer(line, command, forward)] * count

    def corrupt_next(self, which=DATA, direction=TO_CLIENT, message=False):
        """
        Flips the high bit of the next frame's first byte. No other byte of RESP can be told from a good one. With
        message: of the first byte of the next pub/sub message's payload.
        """
        with self._changing():
            self._corrupt.append(SUBSCRIPTION if message else (which, direction))

    def wait_message(self, predicate=None, timeout=5):
        """The first captured message, old ones included, whose payload the predicate likes."""
        def found():
            return next((m for m in self.messages if predicate is None or predicate(m.payload)), None)
        with self._condition:
            message = self._condition.wait_for(found, timeout)
        assert message, "no such message came through the proxy"
        return message

    def count(self, which=ALL):
        """Open connections."""
        with self._lock:
            return sum(_chosen(c, which) for c in self._connections)

    def wait_connections(self, data=1, subscription=1, timeout=5):
        """Until at least that many connections of each kind are open."""
        with self._condition:
            good = self._condition.wait_for(lambda: self.count(DATA) >= data
                                            and self.count(SUBSCRIPTION) >= subscription, timeout)
        assert good, "connections: data %d, subscription %d" % (self.count(DATA), self.count(SUBSCRIPTION))

    def forget_frames(self):
        """Whatever still waits for its frame or byte to come does not happen."""
        with self._changing():
            self._drops.clear()
            self._answers.clear()
            self._corrupt.clear()
            for connection in self._connections:
                for pipe in connection.pipes:
                    pipe.cut_in = pipe.cut_at = None

    def heal(self):
        """Ends every fault; what was held back arrives."""
        with self._changing():
            self._lift(set(self._stalled))
            self._delays.clear()
            self._one_byte.clear()
            self.forget_frames()
            for connection in self._connections:
                for pipe in connection.pipes:
                    pipe.hurry()
            if not self._listener:
                self._open_listener()

    def close(self):
        with self._changing():
            self._running = False
        self._thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    # ---- inside -------------------------------------------------------------------------------------------

    def _changing(self):
        return _Changing(self._lock, self._wake_in)

    def _add(self, target, which, direction):
        with self._changing():
            target.update(_ways(which, direction))

    def _lift(self, ways):
        """Ends stalls; those that held something back have fired."""
        self.fired["stall"] += self._held(self._connections, ways)
        self._stalled -= ways

    def _held(self, connections, ways):
        return sum(pipe.holds() for c in connections for pipe in c.pipes if self._set(ways, pipe))

    def _open_listener(self):
        family = socket.AF_UNIX if isinstance(self._listen, str) else socket.AF_INET
        self._listener = socket.socket(family)
        if family == socket.AF_INET:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(self._listen)
        self._listener.listen(64)
        self._listener.setblocking(False)
        if family == socket.AF_INET:
            self._listen = self._listener.getsockname()

    def _close_listener(self):
        self._listener.close()
        self._listener = None
        if isinstance(self._listen, str):
            os.unlink(self._listen)

    def _end(self, connection, reset=False):
        if connection in self._connections:
            self._connections.remove(connection)
            connection.end(reset)
            self._condition.notify_all()

    def _set(self, target, pipe):
        return (ALL, pipe.direction) in target or (pipe.connection.kind, pipe.direction) in target

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        redis = socket.socket(socket.AF_UNIX if isinstance(self.upstream, str) else socket.AF_INET)
        redis.settimeout(1)
        try:
            redis.connect(self.upstream)
        except OSError:
            client.close()
            redis.close()
            return
        for sock in (client, redis):
            sock.setblocking(False)
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.append(Connection(client, redis))
        self.fired["accepted"] += 1
        self._condition.notify_all()

    def _read(self, pipe):
        try:
            data = pipe.source.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            pipe.ended = True
            pipe.push(pipe.framer.rest(), time.monotonic())
            return
        low, high = self._delays.get((ALL, pipe.direction)) \
            or self._delays.get((pipe.connection.kind, pipe.direction)) or (0, 0)
        wait = self._random.uniform(low, high)
        if wait:
            self.fired["delay"] += 1
        due = time.monotonic() + wait
        for frame in pipe.framer.feed(data):
            frame = frame if pipe.framer.broken else self._seen(pipe, frame)
            if frame:
                pipe.push(self._corrupted(pipe, frame), due)
            if pipe.connection.expected and pipe.connection.kind == DATA:
                self._answer(pipe.connection, due)

    def _seen(self, pipe, frame):
        """Looks at a whole frame; gives back what is to be forwarded in its place, None for nothing."""
        connection = pipe.connection
        if pipe.direction == TO_REDIS:
            return self._request_seen(connection, frame)
        if connection.kind == SUBSCRIPTION:
            return self._push_seen(frame)
        answer = connection.expected.popleft() if connection.expected else None
        return answer.line if answer else frame

    def _request_seen(self, connection, frame):
        if connection.kind == SUBSCRIPTION:
            return frame
        command = resp.command_of(frame)
        if command in (b"SUBSCRIBE", b"PSUBSCRIBE"):
            connection.kind = SUBSCRIPTION
            self._condition.notify_all()
            return frame
        answer = next((a for a in self._answers if a.command in (None, command)), None)
        connection.expected.append(answer)
        if not answer:
            return frame
        self._answers.remove(answer)
        self.fired["answer"] += 1
        return frame if answer.forward else None

    def _answer(self, connection, due):
        """Answers what Redis has not seen, once everything before it is answered."""
        while connection.expected and connection.expected[0] and not connection.expected[0].forward:
            connection.pipes[1].push(connection.expected.popleft().line, due)

    def _push_seen(self, frame):
        if not (self._keep_messages or self._drops or SUBSCRIPTION in self._corrupt):
            return frame
        parts = resp.decode(frame)
        if not isinstance(parts, list) or len(parts) != 3 or parts[0] != b"message":
            return frame
        message = Message(parts[1], parts[2], time.monotonic())
        if self._keep_messages:
            self.messages.append(message)
        drop = next((d for d in self._drops if d.wanted(message.payload)), None)
        if drop:
            drop.message = message
            self._drops.remove(drop)
            self.fired["drop"] += 1
        elif SUBSCRIPTION in self._corrupt and message.payload:
            self._corrupt.remove(SUBSCRIPTION)
            self.fired["corrupt"] += 1
            frame = _flipped(frame, len(frame) - 2 - len(message.payload))
        self._condition.notify_all()
        return None if drop else frame

    def _corrupted(self, pipe, frame):
        ways = ((ALL, pipe.direction), (pipe.connection.kind, pipe.direction))
        way = next((w for w in self._corrupt if w in ways), None)
        if not way:
            return frame
        self._corrupt.remove(way)
        self.fired["corrupt"] += 1
        return _flipped(frame, 0)

    def _write(self, pipe):
        now = time.monotonic()
        while pipe.queue and pipe.queue[0][0] <= now and len(pipe.out) < 65536:
            _, data = pipe.queue.popleft()
            pipe.queued -= len(data)
            pipe.out += data
        one_byte, half_open = self._set(self._one_byte, pipe), self._set(self._stalled, pipe.other)
        for _ in range(BYTES_OF_A_TURN):
            if not pipe.out:
                break
            size = 1 if one_byte else len(pipe.out)
            if pipe.cut_in is not None:
                size = min(size, pipe.cut_in)
                if size == 0:
                    self.fired["cut_after"] += 1
                    self._end(pipe.connection)
                    return
            try:
                sent = pipe.sink.send(pipe.out[:size])
            except BlockingIOError:
                return
            except OSError:
                self._end(pipe.connection)
                return
            pipe.out = pipe.out[sent:]
            self.fired["one_byte"] += one_byte
            self.fired["half_open"] += half_open * sent
            if pipe.cut_in is not None:
                pipe.cut_in -= sent
        if pipe.ended and not pipe.queue and not pipe.out:
            self._end(pipe.connection)

    def _turn(self, ready):
        if self._listener and self._listener in ready:
            self._accept()
        for connection in list(self._connections):
            for pipe in connection.pipes:
                stalled = self._set(self._stalled, pipe)
                if not stalled and pipe.source in ready and connection in self._connections:
                    self._read(pipe)
                if not stalled and connection in self._connections:
                    self._write(pipe)

    def _interest(self, selector):
        """Registers what can move; gives the time until something held back is due."""
        wanted = collections.Counter({self._wake_out: selectors.EVENT_READ})
        if self._listener:
            wanted[self._listener] = selectors.EVENT_READ
        due = []
        for connection in self._connections:
            for pipe in connection.pipes:
                if self._set(self._stalled, pipe):
                    continue
                if not pipe.ended and pipe.queued < QUEUE_LIMIT:
                    wanted[pipe.source] |= selectors.EVENT_READ
                if pipe.out:
                    wanted[pipe.sink] |= selectors.EVENT_WRITE
                elif pipe.queue:
                    due.append(pipe.queue[0][0])
        for sock, events in wanted.items():
            selector.register(sock, events)
        return max(0, min(due) - time.monotonic()) if due else None

    def _loop(self):
        while True:
            with self._lock:
                if not self._running:
                    break
                selector = selectors.PollSelector()
                timeout = self._interest(selector)
            ready = {key.fileobj for key, _ in selector.select(timeout)}
            with self._lock:
                if self._wake_out in ready:
                    self._wake_out.recv(4096)
                self._turn(ready)
        with self._lock:
            for connection in list(self._connections):
                self._end(connection)
            if self._listener:
                self._close_listener()
            self._wake_in.close()
            self._wake_out.close()


class _Changing:
    """Holds the lock and wakes the thread afterwards, which may be waiting on what has changed."""

    def __init__(self, lock, wake):
        self._lock, self._wake = lock, wake

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *exc):
        try:
            self._wake.send(b"x")
        except OSError:
            pass  # full: it is awake anyway
        self._lock.release()


def _ways(which, direction):
    return [(which, way) for way in ([TO_REDIS, TO_CLIENT] if direction == BOTH else [direction])]


def _chosen(connection, which):
    return which in (ALL, connection.kind)


def _flipped(frame, at):
    return frame[:at] + bytes([frame[at] ^ 0x80]) + frame[at + 1:]
