"""Fixtures: a Redis, a fault proxy, daemons and applications of one's own. All are gone when the test ends."""
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "demo"))

# pylint: disable=wrong-import-position
from daemon import Daemon
from dcache import Client
from fake_daemon import FakeDaemon
from private_redis import PrivateRedis
from proxy import Proxy


@pytest.fixture(scope="session")
def shared_redis():
    """One Redis for the whole run; tests that share it keep apart by key_prefix. No faults in it, please."""
    with PrivateRedis() as redis:
        yield redis


@pytest.fixture
def redis():
    """A Redis for this test alone."""
    with PrivateRedis() as redis:
        yield redis


@pytest.fixture
def folder():
    """A folder with a path short enough for the name of a socket."""
    path = tempfile.mkdtemp(prefix="dc-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start_proxy(folder):
    """start_proxy(redis) -> Proxy on a Unix socket; `proxy.address` goes into `[redis] addr`."""
    made = []

    def start(redis, upstream=None):
        made.append(Proxy(upstream or redis.socket, listen=os.path.join(folder, f"proxy-{len(made)}")))
        return made[-1]
    yield start
    for proxy in made:
        proxy.close()


@pytest.fixture
def start_daemon():
    """
    start_daemon(redis, pod=..., ...) -> a ready Daemon. `redis` is a PrivateRedis or a Proxy. Those still running
    at the end are stopped in order, and have to end well: a leak or an assertion is a failure of the test.
    """
    made = []

    def start(redis, pod=None, ready=True, **options):
        address = redis.address.removeprefix("unix:") if isinstance(redis, Proxy) else redis.socket
        daemon = Daemon(redis=address, pod=pod or f"pod-{len(made)}", **options)
        made.append(daemon)
        return daemon.start(ready=ready)
    yield start
    ends = []
    for daemon in made:
        running = daemon.process is not None and daemon.process.poll() is None
        ends.append((daemon.stop() if running else 0, daemon.log()[-2000:]))
        daemon.remove()
    assert all(status == 0 for status, _ in ends), ends


@pytest.fixture
def fake():
    """A FakeDaemon: it answers as the test says."""
    with FakeDaemon() as daemon:
        yield daemon


@pytest.fixture
def client(fake):
    """libdcache-client, to talk to `fake`."""
    with Client(fake.socket, timeout_ms=1000) as handle:
        yield handle
