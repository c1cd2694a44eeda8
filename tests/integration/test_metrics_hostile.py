"""Scrapers that are slow, many or malformed: clients of the cache notice nothing, and probes get through."""
import os
import socket
import threading
import time

import pytest

from daemon import PATIENCE
from exposition import value_of
from http_raw import address_of, ask, connect, receive, scrape
from private_redis import free_port

CONNECTIONS_MAX = 32
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


GARBAGE = {
    "random": os.urandom(100_000),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "resp": b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n",
    "empty_lines": b"\r\n" * 50_000,
    "zeros": bytes(100_000),
    "another_http": b"GET /metrics HTTP/9.9\r\n\r\n",
    "half_a_line": b"GET\r\n\r\n",
    "dcached": b"\x94\x00\x01\xa3get\x91\xc4\x01k",
    "negative_length": b"GET /livez HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "endless_chunk": b"GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
}


@pytest.fixture
def daemon(shared_redis, start_daemon):
    return start_daemon(shared_redis, config={"metrics": {"listen": f"127.0.0.1:{free_port()}"},
                                              "redis": {"key_prefix": f"h{free_port()}:"}})


class CacheClient:
    """Reads a key over and over; at the end every read has been a hit, and the slowest took `worst_ms`."""

    def __init__(self, daemon):
        self.daemon, self.going, self.took = daemon, True, []
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        with self.daemon.client() as client:
            client.set(b"k", b"v")
            while self.going:
                begin = time.monotonic()
                assert client.get(b"k")["value"] == b"v"
                self.took.append(time.monotonic() - begin)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.daemon.wait_until(lambda: len(self.took) > 50 or not self.thread.is_alive())
        self.going = False
        self.thread.join(20)
        assert len(self.took) > 50, "the cache was not read"

    @property
    def median_ms(self):
        return sorted(self.took)[len(self.took) // 2] * 1000


def closed_within(sock, seconds):
    """Whether the daemon closes the connection, whatever it says before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sock.settimeout(max(0.01, end - time.monotonic()))
        try:
            if not sock.recv(1 << 16):
                return True
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
    return False


def test_a_client_that_sends_a_byte_now_and_then_is_closed_after_five_seconds(daemon):
    with CacheClient(daemon), connect(daemon) as sock:
        begin, sent = time.monotonic(), 0
        sock.settimeout(0.2)
        while time.monotonic() - begin < 12 * PATIENCE:
            try:
                sock.sendall(REQUEST[:20][sent % 20:sent % 20 + 1] if sent < 20 else b"x")
                sent += 1
                if not sock.recv(100):
                    break
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
        took = time.monotonic() - begin
    assert 4 < took < 8 * PATIENCE and sent > 10
    assert value_of(scrape(daemon), "dcached_http_evicted_total") == 1


def test_a_client_that_takes_no_answer_is_closed(daemon):
    with connect(daemon) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(2)
        try:
            for _ in range(2000):
                sock.sendall(REQUEST * 10)
        except (TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
        with CacheClient(daemon):
            daemon.wait_until(lambda: value_of(scrape(daemon), "dcached_http_evicted_total") == 1,
                              timeout=12 * PATIENCE)
        assert closed_within(sock, 3)


@pytest.mark.parametrize("what", ["uri", "header", "headers"])
def test_a_megabyte_before_the_end_of_the_headers_is_refused(daemon, what):
    million = b"x" * (1 << 20)
    request = {"uri": b"GET /" + million + b" HTTP/1.1\r\n\r\n",
               "header": b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + million + b"\r\n\r\n",
               "headers": b"GET /livez HTTP/1.1\r\n" + b"X-A: b\r\n" * (1 << 17) + b"\r\n"}[what]
    before = daemon.rss_bytes()
    with CacheClient(daemon), connect(daemon) as sock:
        try:
            sock.sendall(request)
            answer = sock.recv(100)
        except (ConnectionResetError, BrokenPipeError):
            answer = b""
        assert answer[9:12] in (b"", b"414", b"431", b"413"), answer
        assert closed_within(sock, 5)
    assert daemon.rss_bytes() - before < 2 << 20
    assert ask(daemon, "/livez").status == 200


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_http_harms_nobody(daemon, garbage):
    with CacheClient(daemon), connect(daemon) as sock:
        try:
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        assert closed_within(sock, 10)
    assert ask(daemon, "/livez").status == 200


def test_a_body_is_not_read(daemon):
    with connect(daemon) as sock:
        sock.sendall(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + bytes(5000))
        assert receive(sock).status == 405
        assert closed_within(sock, 5)


def flood(daemon, count):
    """Connections that were begun; those the backlog has no room for stay unfinished."""
    socks = []
    for _ in range(count):
        sock = socket.socket(socket.AF_INET)
        sock.setblocking(False)
        sock.connect_ex(address_of(daemon))
        socks.append(sock)
    return socks


def test_a_thousand_silent_connections_keep_no_probe_from_getting_through(daemon):
    with CacheClient(daemon) as cache:
        socks = flood(daemon, 1000)
        begin = time.monotonic()
        assert ask(daemon, "/livez", timeout=15 * PATIENCE).status == 200
        took = time.monotonic() - begin
        assert len(os.listdir(f"/proc/{daemon.process.pid}/fd")) < CONNECTIONS_MAX + 40
        for sock in socks:
            sock.close()
        assert took < 6 * PATIENCE
        assert cache.median_ms < 5 * PATIENCE
    families = scrape(daemon)
    assert value_of(families, "dcached_http_evicted_total") >= CONNECTIONS_MAX


def test_a_connection_gets_one_answer_in_a_turn_of_five_milliseconds(daemon):
    """A lower limit of time: a slow machine only makes it longer."""
    with connect(daemon) as sock:
        begin = time.monotonic()
        for _ in range(100):
            sock.sendall(REQUEST)
            assert receive(sock).status == 200
        assert time.monotonic() - begin > 100 * 0.004


def test_scrapers_without_a_pause_leave_the_loop_to_the_cache(daemon):
    """CPU time of the daemon, so that what the scrapers themselves take does not matter."""
    going, threads, answered = True, [], []

    def scraper():
        with connect(daemon) as sock:
            while going:
                sock.sendall(REQUEST)
                receive(sock)
                answered.append(1)
    for _ in range(8):
        threads.append(threading.Thread(target=scraper))
        threads[-1].start()
    begin, cpu = time.monotonic(), value_of(scrape(daemon), "process_cpu_seconds_total")
    time.sleep(2)  # of load, not for something to happen
    used = value_of(scrape(daemon), "process_cpu_seconds_total") - cpu
    share = used / (time.monotonic() - begin)
    going = False
    for thread in threads:
        thread.join(10)
    assert len(answered) > 50
    assert share < 0.5 * PATIENCE, f"{share:.2f} of a CPU"
