"""The freshness check of libdcache-client, which stands behind that of the daemon."""
import threading

import pytest

import dcache
from application import MS
from dcache import Client, Result
from fake_daemon import EPOCH, SECOND, SILENCE, FakeDaemon, boottime


# ---- freshness ------------------------------------------------------------------------------------------------

def test_an_answer_older_than_the_bound_is_dropped_and_asked_again(fake, client):
    old = lambda request: fake.reading(b"old", as_of=fake.now() - 2 * SECOND)
    fake.on("get", [old, lambda request: fake.reading(b"new")])
    assert client.get("k").value == b"new"
    assert len(fake.asked("get")) == 2


def test_an_answer_that_is_too_old_twice_is_refused(fake, client):
    fake.on("get", lambda request: fake.reading(b"old", as_of=fake.now() - 2 * SECOND))
    reading = client.get("k")
    assert reading.result == Result.E_REFUSED and reading.value is None
    assert "freshness cannot be proven" in client.error() and len(fake.asked("get")) == 2


def test_an_absent_answer_needs_proof_too(fake, client):
    fake.on("get", lambda request: [0, fake.now() - 2 * SECOND, None, 0, 0, "", 0, False])
    assert client.get("k").result == Result.E_REFUSED


def test_a_daemon_stopped_between_check_and_answer_cannot_give_an_old_value(fake, client):
    client.ping()
    def stopped(request):
        as_of = fake.now()
        threading.Timer(0.35, lambda: fake.answer(request, fake.reading(b"old", as_of=as_of))).start()
        return SILENCE
    fake.hello["bound_ns"] = 300 * MS
    with Client(fake.socket, timeout_ms=3000) as fresh:
        fake.on("get", [stopped, lambda request: fake.reading(b"new")])
        assert fresh.get("k").value == b"new"


def test_a_stale_answer_is_bounded_by_what_the_call_permits(fake, client):
    def stale(request):
        return fake.reading(b"old", state=2, as_of=fake.now() - 5 * SECOND, age_ms=5000)
    fake.on("get", stale)
    reading = client.get("k", max_stale_ms=10000)
    assert (reading.state, reading.value) == (dcache.State.STALE, b"old") and reading.age_ns >= 5 * SECOND
    assert client.get("k", max_stale_ms=2000).result == Result.E_REFUSED
    assert client.get("k").state == dcache.State.STALE, "the daemon's own policy permits it"


def test_a_local_answer_needs_no_proof(fake, client):
    fake.on("get", lambda request: fake.reading(b"mine", state=3, as_of=0))
    assert client.get("k").state == dcache.State.LOCAL


def test_only_the_keys_that_stay_too_old_are_refused(fake, client):
    fake.on("mget", lambda request: [fake.reading(b"a"), fake.reading(b"b", as_of=fake.now() - 2 * SECOND)])
    assert [r.result for r in client.mget(["a", "b"])] == [Result.OK, Result.E_REFUSED]
    assert len(fake.asked("mget")) == 2


@pytest.mark.parametrize("offset_s", [-60, 86400])
def test_the_clock_of_a_daemon_in_another_namespace_is_mapped(fake, client, offset_s):
    fake.clock_offset_ns = offset_s * SECOND
    fake.store[b"k"] = (b"v", 1)
    begin = boottime()
    reading = client.get("k")
    assert reading.value == b"v" and begin - SECOND < reading.as_of_ns <= boottime()
    fake.on("get", lambda request: fake.reading(b"old", as_of=fake.now() - 2 * SECOND))
    assert client.get("k").result == Result.E_REFUSED


def test_a_proof_from_the_future_proves_nothing(fake, client):
    fake.on("get", lambda request: fake.reading(b"v", as_of=fake.now() + 60 * SECOND))
    assert client.get("k").result == Result.E_REFUSED


def test_a_slow_hello_does_not_make_every_answer_too_old(fake):
    fake.hello["bound_ns"] = 200 * MS
    def slow(request):
        threading.Timer(0.4, lambda: fake.answer(request, fake.do_hello(request))).start()
        return SILENCE
    def after_hello(request):
        threading.Timer(0.45, lambda: fake.answer(request, fake.reading(b"first"))).start()
        return SILENCE
    fake.on("hello", [slow, fake.do_hello])
    fake.on("get", [after_hello, lambda request: fake.reading(b"second")])
    with Client(fake.socket, timeout_ms=3000) as client:
        assert client.get("k").result == Result.OK
        assert len(fake.asked("hello")) >= 2


def test_a_clock_learned_from_a_slow_hello_is_asked_for_again(fake, client):
    def slow(request):
        threading.Timer(0.15, lambda: fake.answer(request, fake.do_hello(request))).start()
        return SILENCE
    fake.on("hello", [slow, fake.do_hello])
    assert client.ping() == Result.OK and client.set("k", "v").result == Result.OK
    assert client.ping() == Result.OK
    assert len(fake.asked("hello")) >= 2 and fake.accepted == 1


def test_min_version_and_strong_reach_the_daemon(fake, client):
    client.get("k", strong=True, min_version=7, epoch=EPOCH, max_stale_ms=5)
    options = fake.asked("get")[0].params[1]
    assert options["strong"] is True and options["min_version"] == 7 and options["epoch"] == EPOCH
    assert options["max_stale_ms"] == 5
