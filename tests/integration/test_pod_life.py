"""What becomes of a sidecar: its probes, the end of the pod, a daemon started again, memory that runs out."""
import os
import signal
import socket
import threading

import pytest

import dcache
import exposition
from daemon import Client as Raw
from memory_group import MemoryGroup
from pod import Pod, namespaces_work, status_of
from private_redis import PrivateRedis

pytestmark = pytest.mark.skipif(not namespaces_work(), reason="needs root and namespaces of mounts, pids and time")

LIMIT = 128 << 20  # of deploy/sidecar.yaml


@pytest.fixture(name="redis")
def fixture_redis():
    with PrivateRedis(tcp=True, requirepass="secret") as redis:
        yield redis


@pytest.fixture(name="pod")
def fixture_pod(folder):
    pod = Pod(folder)
    yield pod
    assert pod.close() == 0, pod.log()


def test_probes_ask_for_the_daemon_and_only_readyz_for_redis(pod, redis):
    redis.stop()
    pod.start(redis)  # the startup probe is satisfied: the application may start
    assert pod.probe("livenessProbe")
    status, text = pod.http("/readyz")
    assert status == 503 and text.startswith("not ready: no usable connection to Redis")
    redis.start()
    pod.wait_until(lambda: pod.http("/readyz") == (200, "ready\n"))
    redis.pause()
    pod.wait_until(lambda: pod.http("/readyz")[0] == 503)
    assert pod.probe("livenessProbe") and pod.probe("startupProbe")
    redis.resume()
    pod.wait_until(lambda: pod.http("/readyz")[0] == 200)


def test_a_daemon_that_stands_still_fails_its_liveness_probe(pod, redis):
    pod.start(redis)
    os.kill(pod.pid, signal.SIGSTOP)
    try:
        assert pod.http("/livez")[0] == 0
    finally:
        os.kill(pod.pid, signal.SIGCONT)
    pod.wait_until(lambda: pod.probe("livenessProbe"))


def test_the_end_of_a_pod_answers_what_is_in_flight_and_takes_the_socket_away(pod, redis):
    pod.start(redis)
    assert pod.serves()
    with Raw(pod.socket) as client:
        assert client.set(b"price", b"42")["outcome"] == 0
        redis.pause()
        waiting = [client.send("get", b"price", {"strong": True}) for _ in range(10)]
        client.send("stats")
        client.receive_answer(client.next_id)  # so all of them have been read
        ended = []
        thread = threading.Thread(target=lambda: ended.append(pod.end()))
        thread.start()
        pod.wait_until(lambda: '"message":"stopping"' in pod.log())
        with pytest.raises(OSError), socket.socket(socket.AF_UNIX) as late:
            late.connect(pod.socket)
        redis.resume()
        answers = [client.receive_answer(i) for i in waiting]
    thread.join()
    assert ended == [0]
    assert all(error is None and result[2] == b"42" for error, result in answers)
    assert not os.path.exists(pod.socket)


def test_an_application_goes_on_when_its_sidecar_is_killed_and_started_again(pod, redis):
    pod.start(redis)
    assert pod.serves()
    with dcache.Client(pod.socket, timeout_ms=1000) as application:
        assert application.set("price", "1", version=1).result == dcache.OK
        os.kill(pod.pid, signal.SIGKILL)
        pod.process.wait(10)
        assert os.path.exists(pod.socket)  # nobody has tidied up
        assert application.get("price").result == dcache.E_UNREACHABLE
        pod.start_again()
        pod.wait_until(lambda: application.get("price").result == dcache.OK)
        assert application.get("price").value == b"1"
        pod.wait_until(lambda: application.set("price", "2", version=2).result in (dcache.OK, dcache.DUPLICATE))
        assert application.get("price").value == b"2"


def groups_can_be_made():
    try:
        with MemoryGroup(LIMIT):
            return True
    except OSError:
        return False


class Greedy:
    """Applications that ask for large values and take no answer."""

    def __init__(self, path, key, count):
        self.socks = []
        for _ in range(count):
            self.socks.append(socket.socket(socket.AF_UNIX))
            self.socks[-1].connect(path)
            self.socks[-1].setblocking(False)
        self.request = Raw.request(1, "get", key) * 50

    def ask(self):
        for sock in self.socks:
            try:
                sock.send(self.request)
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                pass

    def close(self):
        for sock in self.socks:
            sock.close()


def buffers_of(pod):
    return exposition.value_of(exposition.parse(pod.http("/metrics")[1]), "dcached_memory_bytes", area="buffers")


def fill(pod):
    """The cache with values, the buffers with answers that nobody takes. While both are full the daemon works."""
    with dcache.Client(pod.socket, timeout_ms=10000) as client:
        value = b"v" * 60_000
        for i in range(1500):
            assert client.set(b"key:%d" % i, value).result == dcache.OK
        greedy = Greedy(pod.socket, b"key:1499", 200)
        pod.wait_until(lambda: greedy.ask() or buffers_of(pod) > 15 << 20)
        assert client.get(b"key:1499").value == value
        assert pod.probe("livenessProbe")
        greedy.close()


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="a sanitizer maps terabytes")
@pytest.mark.skipif(not groups_can_be_made(), reason="no control group with a limit of memory can be made here")
def test_a_full_cache_and_full_buffers_stay_below_the_limit_of_the_manifest(pod, redis):
    """A control group as the kubelet makes it: who passes the limit is killed."""
    assert pod.sidecar["resources"]["limits"]["memory"] == f"{LIMIT >> 20}Mi"
    with MemoryGroup(LIMIT) as group:
        pod.start(redis, preexec=group.enter)
        assert pod.serves() and pod.pid in group.members()
        fill(pod)
        assert group.killed() == 0 and group.most() > 64 << 20
        assert pod.close() == 0


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="a sanitizer maps terabytes")
def test_a_full_cache_and_full_buffers_ask_for_no_more_memory_than_the_limit(pod, redis):
    """RLIMIT_DATA, for where no control group can be made: who passes it gets no memory."""
    pod.start(redis, prefix=["prlimit", f"--data={LIMIT}"])
    assert pod.serves()
    fill(pod)
    assert int(status_of(pod.pid, "VmHWM")) * 1024 < LIMIT
    assert "out of memory" not in pod.log().lower()
