"""The barrier of the heartbeat: what was published before Redis ran a PING is delivered before its PONG."""
import socket
import threading

from private_redis import PrivateRedis

BARRIERS = 2000
PUBLISH = "local n = redis.call('INCR', 'count') redis.call('PUBLISH', 'channel', n) return n"


class Raw:
    """A connection that reads RESP arrays of strings and integers, in order."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        data = [b"*%d\r\n" % len(words)]
        for word in words:
            data.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.socket.sendall(b"".join(data))

    def read(self):
        line = self.file.readline()
        if line[:1] == b"*":
            return [self.read() for _ in range(int(line[1:]))]
        if line[:1] == b"$":
            return self.file.read(int(line[1:]) + 2)[:-2]
        return line[1:-2]

    def close(self):
        self.file.close()
        self.socket.close()


AHEAD = 5000  # messages; a subscriber that falls behind for ever proves nothing


class Progress:
    """How far the subscriber got, for the publishers to see."""
    delivered = 0


def publish(path, stop, progress):
    """Pipelined, as fast as the subscriber can follow."""
    raw = Raw(path)
    published = 0
    while not stop.is_set():
        while published - progress.delivered > AHEAD and not stop.is_set():
            stop.wait(0.0005)
        for _ in range(50):
            raw.send(b"EVAL", PUBLISH.encode(), b"1", b"count")
        for _ in range(50):
            published = int(raw.read())
    raw.close()


def test_nothing_published_before_a_ping_comes_after_its_pong():
    stop, progress = threading.Event(), Progress()
    with PrivateRedis() as server:
        publishers = [threading.Thread(target=publish, args=(server.socket, stop, progress)) for _ in range(2)]
        subscriber, asker = Raw(server.socket), Raw(server.socket)
        asker.send(b"SET", b"count", b"0")
        assert asker.read() == b"OK"
        subscriber.send(b"SUBSCRIBE", b"channel")
        assert subscriber.read()[0] == b"subscribe"
        for p in publishers:
            p.start()
        overtaken = 0
        try:
            for nonce in range(BARRIERS):
                # What the heartbeat does: read the counter on one connection, then PING on the other.
                asker.send(b"GET", b"count")
                at_least = int(asker.read())
                before = progress.delivered
                subscriber.send(b"PING", b"%d" % nonce)
                while True:
                    kind, *rest = subscriber.read()
                    if kind == b"pong":
                        assert rest == [b"%d" % nonce]
                        break
                    assert int(rest[1]) == progress.delivered + 1, "messages come in order, each once"
                    progress.delivered += 1
                assert progress.delivered >= at_least
                overtaken += progress.delivered > before
        finally:
            stop.set()
            for p in publishers:
                p.join()
            subscriber.close()
            asker.close()
        # The test means something only if publishing went on all the time.
        assert overtaken > BARRIERS / 2
