"""What the tests of libdcache-client share."""
import select
import time

from dcache import Result

MS = 10 ** 6


def elapsed(call):
    """(what it gave, seconds it took)"""
    begin = time.monotonic()
    value = call()
    return value, time.monotonic() - begin


def drive(client, until, timeout=5):
    """The loop of an asynchronous application."""
    deadline = time.monotonic() + timeout
    while not until():
        assert time.monotonic() < deadline, "not within the time"
        assert client.process() == Result.OK, client.error()
        if until():
            return
        poll, fd, wanted = select.poll(), client.fd(), client.timeout_ms()
        if fd >= 0:
            poll.register(fd, client.events())
        poll.poll(min(wanted if wanted >= 0 else 100, 100))
