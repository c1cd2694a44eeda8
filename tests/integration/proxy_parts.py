"""What the fault proxy is made of: connections, their two directions, and the faults that wait for a frame."""
import collections
import socket
import struct

import resp

ALL, DATA, SUBSCRIPTION = "all", "data", "subscription"
TO_REDIS, TO_CLIENT, BOTH = "to_redis", "to_client", "both"
QUEUE_LIMIT = 8 << 20  # bytes held back in one direction before reading stops; picked

Message = collections.namedtuple("Message", "channel payload time")
Answer = collections.namedtuple("Answer", "line command forward")


class Drop:
    """A message to be taken out; `message` is it once `fired`."""

    def __init__(self, predicate, condition):
        self._predicate, self._condition = predicate, condition
        self.message = None

    @property
    def fired(self):
        return self.message is not None

    def wanted(self, payload):
        return self._predicate is None or self._predicate(payload)

    def wait(self, timeout=5):
        """Until the message was taken out; False after the timeout."""
        with self._condition:
            return self._condition.wait_for(lambda: self.fired, timeout)


class Pipe:
    """One direction of one connection: what was read and is not written yet."""

    def __init__(self, connection, direction, source, sink):
        self.connection, self.direction = connection, direction
        self.source, self.sink = source, sink
        self.framer = resp.Framer()
        self.queue = collections.deque()  # (due, bytes)
        self.queued = 0
        self.out = b""                    # due, not written yet
        self.ended = False                # the source has closed
        self.cut_in = None                # bytes until the connection is cut
        self.cut_at = None                # byte of the next frame long enough at which it is cut

    def holds(self):
        """Is something held back here?"""
        if self.queue or self.out:
            return True
        try:
            return bool(self.source.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    @property
    def other(self):
        """The other direction of the connection."""
        return self.connection.pipes[self is self.connection.pipes[0]]

    def push(self, data, due):
        if self.cut_at is not None and self.cut_at < len(data):
            self.cut_in, self.cut_at = self.queued + len(self.out) + self.cut_at, None
        self.queue.append((due, data))
        self.queued += len(data)

    def hurry(self):
        """What is held back by a delay is due now."""
        self.queue = collections.deque((0, data) for _, data in self.queue)


class Connection:
    def __init__(self, client, redis):
        self.client, self.redis = client, redis
        self.kind = DATA
        self.expected = collections.deque()  # of each request that is unanswered: its Answer, or None
        self.pipes = [Pipe(self, TO_REDIS, client, redis), Pipe(self, TO_CLIENT, redis, client)]

    def end(self, reset=False):
        for sock in (self.client, self.redis):
            if reset and sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
