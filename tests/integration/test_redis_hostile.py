"""
daemon/redis against a server that is out to harm it: malformed answers at every point, stalls, closed
connections. Whatever comes, the driver does not crash, and it reconnects and works once the server is well again.
"""
import asyncio
import itertools
import threading

import pytest

from redis_driver import Driver

INFO_SERVER = b"redis_version:7.0.15\r\nrun_id:" + b"a" * 40 + b"\r\n"
INFO_REPLICATION = b"role:master\r\n"
EPOCH = b"e" * 32


def bulk(text):
    return b"$%d\r\n%s\r\n" % (len(text), text)


def array(*parts):
    return b"*%d\r\n%s" % (len(parts), b"".join(parts))


class FakeRedis:
    """Answers as Redis would, except where `evil` gives other bytes for a command; None closes, b"" is silence."""

    def __init__(self, path):
        self.path, self.evil, self.connections, self.count = path, {}, 0, 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run)
        self.ready = threading.Event()
        self.thread.start()
        self.ready.wait()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(asyncio.start_unix_server(self._serve, self.path))
        self.ready.set()
        self.loop.run_forever()
        self.server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            self.loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        self.loop.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def _command(self, reader):
        count = int((await reader.readuntil(b"\r\n"))[1:])
        words = []
        for _ in range(count):
            length = int((await reader.readuntil(b"\r\n"))[1:])
            words.append((await reader.readexactly(length + 2))[:-2])
        return words

    def _answer(self, words, state):
        name = words[0].upper()
        if name == b"INFO":
            return bulk(INFO_SERVER if words[1] == b"server" else INFO_REPLICATION)
        if name == b"SCRIPT":
            return bulk(b"f" * 40)
        if name == b"CONFIG":
            return array(bulk(words[2]), bulk(b"no"))
        if name == b"HMGET":
            return array(bulk(EPOCH), bulk(b"a" * 40), bulk(b"1000"), bulk(b"0"))
        if name == b"TIME":
            return array(bulk(b"1763800000"), bulk(b"123456"))
        if name == b"GETRANGE":
            return bulk(b"")
        if name in (b"EVALSHA", b"EVAL"):
            return array(bulk(b"A" + b"1" * 57)) if b"dc:{0}:" in b" ".join(words) else bulk(b"P")
        if name == b"SUBSCRIBE":
            state["subscribed"] = True
            return array(bulk(b"subscribe"), bulk(words[1]), b":1\r\n")
        if name == b"PING":
            return array(bulk(b"pong"), bulk(words[1]))
        return b"-ERR unknown\r\n"

    async def _serve(self, reader, writer):
        state, self.connections = {}, self.connections + 1
        try:
            while True:
                words = await self._command(reader)
                self.count += 1
                name = words[0].decode().upper()
                key = name + " " + words[1].decode(errors="replace") if name == "INFO" else name
                answer = self.evil.get(key, self.evil.get("*", self._answer(words, state)))
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError, ValueError):
            pass
        writer.close()


@pytest.fixture
def fake(folder):
    server = FakeRedis(folder + "/fake.sock")
    yield server
    server.close()


def recover(d, fake):
    """The server is well again: the driver finds it and all requests work."""
    fake.evil = {}
    for attempt in range(1000, 1400):
        if "data=[ready] subscription=[ready]" in d.ask("status", "status"):
            d.send(f"fetch {attempt} k", "subscribe")
            # The fetch is lost without an answer if the link goes down meanwhile.
            while not (line := d.expect("")).startswith(("down data", f"fetched id={attempt} ")):
                pass
            if line.startswith(f"fetched id={attempt} status=ok"):
                return
        threading.Event().wait(0.01)
    raise AssertionError(d.seen[-30:])


MALFORMED = [b"x", b"\r\n", b"$", b"$5\r\nab", b"$-2\r\n", b"*-2\r\n", b"*2147483647\r\n", b"*4294967297\r\n",
             b"$9223372036854775807\r\n", b"*1\r\n" * 50, b"*16384\r\n" * 10, b":x\r\n", b"%1\r\n", b"_\r\n",
             b"$3\r\nabcde\r\n", b"+" + b"x" * 70000, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x01\x02\x00",
             b"*3\r\n:1\r\n:2\r\n:3\r\n", b"*0\r\n", b"*-1\r\n", b"$-1\r\n", b"+OK\r\n", b":7\r\n", b"$0\r\n\r\n",
             b"-ERR\r\n", b"-\r\n", b"-LOADING wait\r\n", b"-NOAUTH no\r\n", b"-READONLY no\r\n",
             b"-MASTERDOWN no\r\n", b"-MISCONF no\r\n", b"-BUSY no\r\n", b"-NOREPLICAS no\r\n",
             b"-NOSCRIPT no\r\n", b"-OOM no\r\n", b"-ERR max number of clients reached\r\n", b"+OK\r\n+OK\r\n",
             array(bulk(b"message"), bulk(b"x"), bulk(b"y")), array(bulk(b"message"), bulk(b"x")),
             array(bulk(b"unsubscribe"), bulk(b"x"), b":0\r\n"), array(bulk(b"pong"), bulk(b"other")),
             array(b"*0\r\n", b"*0\r\n", b"*0\r\n"), bulk(b"role:master"), bulk(b"run_id:\r\n"),
             array(bulk(b"A" + b"9" * 57)), array(bulk(b"A")), array(bulk(b"")), array(bulk(b"L" + b"1" * 57)),
             array(bulk(b"Z" * 58)), array(b":1\r\n"), array(bulk(b"a"), bulk(b"b"), bulk(b"c"), bulk(b"d")),
             None, b""]
POINTS = ["*", "INFO server", "INFO replication", "SCRIPT", "CONFIG", "HMGET", "TIME", "GETRANGE", "EVALSHA",
          "EVAL", "SUBSCRIBE", "PING"]
REQUESTS = ["subscribe", "ping 5", "identity 1", "propose 1", "fetch 1 k", "head 2 k", "set 1 k v 1 0 0",
            "delete 2 k 1", "clear 3"]


@pytest.mark.parametrize("point", POINTS)
def test_no_answer_at_any_point_does_harm(fake, point):
    with Driver("unix:" + fake.path, deadline_ms=100, backoff_ms=20) as d:
        for answer in MALFORMED:
            recover(d, fake)
            before = fake.count
            fake.evil = {point: answer}
            if not point.isalpha():
                d.send("reset data", "reset subscription")
            d.send(*REQUESTS)
            for _ in range(400):
                if fake.count >= before + 8:
                    break
                threading.Event().wait(0.005)
        recover(d, fake)


@pytest.mark.parametrize("cut", range(1, 60, 3))
def test_an_answer_cut_anywhere_is_not_delivered(fake, cut):
    whole = array(bulk(b"A" + b"1" * 57))
    with Driver("unix:" + fake.path, deadline_ms=100, backoff_ms=20) as d:
        recover(d, fake)
        d.ask("identity 1", "identity id=1 status=ok")
        fake.evil = {"EVALSHA": whole[:cut]}
        d.ask("set 1 k v 1 0 0", "down data", absent=("written",))
        recover(d, fake)


@pytest.mark.parametrize("error,status", [
    (b"-LOADING x", "definite"), (b"-READONLY x", "definite"), (b"-MASTERDOWN x", "definite"),
    (b"-MISCONF x", "definite"), (b"-NOAUTH x", "definite"), (b"-NOREPLICAS x", "definite"),
    (b"-BUSY x", "definite"), (b"-OOM x", "definite"), (b"-NOPERM x", "definite"), (b"-NOSCRIPT x", "definite"),
    (b"-ERR x", "unknown"), (b"-WEIRD x", "unknown"), (b"-OOM x script: f, on @user_script:1.", "unknown"),
    (b"+OK", "unknown"), (b":1", "unknown"), (b"*0", "unknown"), (b"$-1", "unknown")])
def test_an_answer_to_a_write_is_definite_only_if_nothing_can_have_happened(fake, error, status):
    with Driver("unix:" + fake.path, deadline_ms=2000) as d:
        recover(d, fake)
        d.ask("identity 1", "identity id=1 status=ok")
        fake.evil = {"EVALSHA": error + b"\r\n", "EVAL": error + b"\r\n"}
        assert f"status={status} " in d.ask("set 1 k v 1 0 0", "written id=1")
        assert f"status={status} " in d.ask("clear 2", "written id=2")
        assert "status=ok" not in d.ask("propose 2", "proposed")


def test_reconnecting_backs_off(fake):
    fake.evil = {"*": None}
    with Driver("unix:" + fake.path, backoff_ms=100) as d:
        d.expect("log 1")
        before = fake.connections
        threading.Event().wait(1)
        # Two connections, 50 to 100 ms between attempts once backed off.
        assert 10 <= fake.connections - before <= 60
        recover(d, fake)


def test_a_server_that_stalls_at_the_handshake_is_given_up(fake):
    fake.evil = {"INFO server": b"", "INFO replication": b""}
    with Driver("unix:" + fake.path, deadline_ms=100, backoff_ms=20) as d:
        assert "no answer in time" in d.expect("log 1 cannot connect")
        recover(d, fake)


def test_every_message_shape_is_survived(fake):
    texts = [b"", b"M1", b"M1r" + b"e" * 32, b"M1r" + b"e" * 32 + b"0" * 13 + b"99999k", b"\0" * 100,
             b"M1c" + EPOCH + b"0" * 18 + b"1" * 19, b"M1c" + EPOCH + b"0" * 18 + b"9" * 19]
    shapes = [array(bulk(b"message"), bulk(b"cache:invalidate:0:dc:{0}"), bulk(t)) for t in texts]
    with Driver("unix:" + fake.path, deadline_ms=200, backoff_ms=20) as d:
        for shape, times in itertools.product(shapes, (1, 100)):
            recover(d, fake)
            fake.evil = {"PING": shape * times}
            d.send("ping 1")
            d.expect("message" if b"M1c" in shape and b"1" * 19 in shape else "bad-message")
        recover(d, fake)


@pytest.mark.parametrize("answer,why", [
    (array(bulk(b"pong"), bulk(b"2")), "another nonce"), (array(bulk(b"pong"), bulk(b"")), "another nonce"),
    (array(bulk(b"pong"), bulk(b"1")) * 2, "pong to no ping"),
    (array(bulk(b"message"), bulk(b"other"), bulk(b"x")), "another channel"),
    (array(bulk(b"subscribe"), bulk(b"cache:invalidate:0:dc:{0}"), b":1\r\n"), "nobody asked for")],
    ids=["nonce", "no-nonce", "twice", "channel", "subscribe"])
def test_a_subscription_that_cannot_be_trusted_is_closed(fake, answer, why):
    with Driver("unix:" + fake.path) as d:
        recover(d, fake)
        fake.evil = {"PING": answer}
        assert why in d.ask("ping 1", "log 1 connection to Redis lost")
        d.expect("up subscription")
