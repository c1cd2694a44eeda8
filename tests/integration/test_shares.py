"""What one client may take of the limits that all clients share, and what its reads are counted as then."""
import pytest

from daemon import ABSENT, ACCEPTED, BUSY, FAILED, FRESH, TOO_LARGE, Daemon
from private_redis import PrivateRedis
from proxy import DATA, Proxy

MGET_MAX = 1024
LARGE = b"v" * 1000000
# Nothing is to be refused for being late while Redis is stalled.
PATIENT = {"timeout_ms": 20000}
CONFIG = {"staleness": {"bound": "20s"}, "limits": {"buffers": "64M"}}


@pytest.fixture(scope="module", name="redis")
def fixture_redis():
    with PrivateRedis() as redis:
        yield redis


@pytest.fixture(name="stage")
def fixture_stage(redis):
    """A daemon, and the proxy between it and Redis."""
    with Proxy(redis.socket) as proxy, Daemon(redis=proxy.address, pod="shared", config=CONFIG) as daemon:
        yield daemon, proxy


def keys(prefix, count):
    return [b"%s%d" % (prefix, i) for i in range(count)]


def is_busy(reading):
    return reading[0] == FAILED and reading[1] == BUSY


def test_one_client_that_asks_for_more_than_its_share_leaves_the_rest_to_others(stage):
    daemon, proxy = stage
    with daemon.client(30) as greedy, daemon.client(30) as other:
        proxy.stall(DATA)
        asked = [greedy.send("mget", keys(b"share%d-" % i, MGET_MAX), PATIENT) for i in range(9)]
        greedy.call("ping")
        read = other.send("get", b"share-other", PATIENT)
        written = other.send("set", b"share-other", b"v", PATIENT)
        assert other.call("ping") == "pong"
        assert not {read, written} & other.answers.keys(), "both wait for Redis"
        proxy.resume(DATA)
        assert other.receive_answer(read)[0] is None
        assert other.receive_answer(written)[1][0] == ACCEPTED
        answers = [greedy.receive_answer(i)[1] for i in asked]
    # Two of the largest are its share; what is beyond hears so.
    assert all(reading[0] == ABSENT for answer in answers[:2] for reading in answer)
    assert all(is_busy(reading) for answer in answers[2:] for reading in answer)
    assert daemon.stats()["share_used_up"] == 7 * MGET_MAX


def test_the_largest_mget_and_the_largest_mset_are_within_one_share(stage):
    daemon, proxy = stage
    with daemon.client(30) as client:
        values = [[key, b"v" * 4000] for key in keys(b"largest", MGET_MAX)]
        proxy.stall(DATA)
        written = client.send("mset", values, PATIENT)
        read = client.send("mget", [key for key, _ in values], PATIENT)
        client.call("ping")
        proxy.resume(DATA)
        assert all(w[0] == ACCEPTED for w in client.receive_answer(written)[1])
        assert len(client.receive_answer(read)[1]) == MGET_MAX
        assert all(r[0] == FRESH for r in client.call("mget", [key for key, _ in values]))
    assert daemon.stats()["share_used_up"] == 0


def test_the_writes_of_one_client_do_not_take_the_memory_of_all(stage):
    daemon, proxy = stage
    with daemon.client(30) as greedy, daemon.client(30) as other:
        proxy.stall(DATA)
        sent = [greedy.send("set", key, LARGE, PATIENT) for key in keys(b"heavy", 9)]
        greedy.call("ping")
        written = other.send("set", b"heavy-other", LARGE, PATIENT)
        assert other.call("ping") == "pong"
        proxy.resume(DATA)
        assert other.receive_answer(written)[1][0] == ACCEPTED
        errors = [greedy.receive_answer(i)[0] for i in sent]
    assert errors[:4] == [None] * 4
    assert all(error[0] == BUSY for error in errors[4:])


def test_the_gathered_answers_of_one_client_do_not_take_the_memory_of_all(stage):
    daemon, proxy = stage
    cached = keys(b"gather", 3)
    with daemon.client(30) as greedy, daemon.client(30) as other:
        for key in cached:
            assert other.set(key, LARGE)["outcome"] == ACCEPTED
        daemon.wait_until(lambda: all(r[0] == FRESH for r in other.call("mget", cached)))
        proxy.stall(DATA)
        asked = [greedy.send("mget", [*cached, b"gather-absent%d" % i], PATIENT) for i in range(3)]
        greedy.call("ping")
        assert [r[0] for r in other.call("mget", cached)] == [FRESH] * 3
        proxy.resume(DATA)
        answers = [greedy.receive_answer(i)[1] for i in asked]
    assert [r[0] for r in answers[0]] == [FRESH] * 3 + [ABSENT]
    assert is_busy(answers[2][0])


# ---- TRUTH ---------------------------------------------------------------------------------------------------


class Tally:
    """What a client was told, beside what the daemon counted meanwhile."""

    def __init__(self, daemon):
        self.daemon, self.before = daemon, daemon.stats()
        self.served = self.refused = 0

    def add(self, reading):
        if reading[0] == FAILED:
            assert reading[1] in (BUSY, TOO_LARGE), reading
            self.refused += 1
        else:
            self.served += 1

    def check(self):
        after = self.daemon.stats()
        names = ("reads", "hits", "misses", "refused", "errors")
        counted = {name: after[name] - self.before[name] for name in names}
        assert self.served > 0 and self.refused > 0, "both have to have happened"
        assert counted["hits"] + counted["misses"] == self.served
        assert counted["refused"] == self.refused
        assert counted["errors"] == 0
        assert counted["reads"] == self.served + self.refused


@pytest.fixture(name="stored")
def fixture_stored(redis):
    """Twelve large values that no daemon has cached."""
    names = keys(b"stored", 12)
    with Daemon(redis=redis.socket, pod="storing") as daemon, daemon.client() as client:
        for key in names:
            client.set(key, LARGE)
    return names


def test_reads_whose_answers_a_client_did_not_take_count_as_refused(redis, stored):
    with Daemon(redis=redis.socket, pod="untaken") as daemon, daemon.client(30) as client:
        tally = Tally(daemon)
        asked = [client.send("get", key) for key in stored]
        daemon.wait_until(lambda: daemon.stats()["answers_shortened"] > 0)
        for i in asked:
            error, reading = client.receive_answer(i)
            tally.add([FAILED, error[0]] if error else reading)
        tally.check()


def test_an_mget_whose_answer_a_client_did_not_take_counts_as_refused(redis, stored):
    with Daemon(redis=redis.socket, pod="untaken") as daemon, daemon.client(30) as client:
        tally = Tally(daemon)
        asked = [client.send("mget", stored[i:i + 3]) for i in (0, 3, 6, 9)]
        daemon.wait_until(lambda: daemon.stats()["answers_shortened"] > 0)
        for i in asked:
            error, readings = client.receive_answer(i)
            for reading in [[FAILED, error[0]]] * 3 if error else readings:
                tally.add(reading)
        tally.check()


def test_keys_that_do_not_fit_into_the_answer_count_as_refused(redis, stored):
    with Daemon(redis=redis.socket, pod="long") as daemon, daemon.client(30) as client:
        for _ in range(2):
            tally = Tally(daemon)
            for reading in client.call("mget", stored):
                tally.add(reading)
            tally.check()


def test_keys_beyond_the_share_count_as_refused(stage):
    daemon, proxy = stage
    with daemon.client(30) as client:
        tally = Tally(daemon)
        proxy.stall(DATA)
        asked = [client.send("mget", keys(b"count%d-" % i, MGET_MAX), PATIENT) for i in range(4)]
        client.call("ping")
        proxy.resume(DATA)
        for i in asked:
            for reading in client.receive_answer(i)[1]:
                tally.add(reading)
        tally.check()
