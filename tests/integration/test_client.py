"""libdcache-client against a daemon that does what each test says."""
import os
import select
import socket
import subprocess
import threading
import time

import pytest

import dcache
from dcache import Client, Result
from fake_daemon import CUT, EPOCH, SECOND, SILENCE, FakeDaemon, Refusal, boottime, pack, raw

MS = 10 ** 6


@pytest.fixture(name="fake")
def fixture_fake():
    with FakeDaemon() as fake:
        yield fake


@pytest.fixture(name="client")
def fixture_client(fake):
    with Client(fake.socket, timeout_ms=1000) as client:
        yield client


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


# ---- plain calls ----------------------------------------------------------------------------------------------

def test_what_was_set_is_read(fake, client):
    written = client.set("user:1", b"\x00\xffvalue", version=7, ttl_ms=5000, invalidate=True)
    assert (written.result, written.version, written.epoch) == (Result.OK, 7, EPOCH)
    reading = client.get("user:1")
    assert (reading.result, reading.value, reading.version, reading.source) == (Result.OK, b"\x00\xffvalue", 7, "pod-f")
    assert reading.state == dcache.State.FRESH and reading.age_ns < SECOND
    options = fake.asked("set")[0].params[2]
    assert options["write_id"] == written.write_id and len(written.write_id) == 16
    assert (options["version"], options["ttl_ms"], options["invalidate"]) == (7, 5000, True)
    assert 800 <= options["timeout_ms"] <= 1000


def test_hello_is_the_first_message_of_a_connection(fake, client):
    client.get("k")
    assert [request.method for request in fake.requests] == ["hello", "get"]
    assert fake.requests[0].params[0]["protocol"] == 1


def test_each_outcome_of_a_write_has_its_result(client):
    assert client.set("k", "a", version=5).result == Result.OK
    assert client.set("k", "b", version=4).result == Result.STALE
    assert client.set("k", "a", version=5).result == Result.DUPLICATE
    assert client.set("k", "c", version=5).result == Result.CONFLICT
    assert client.delete("k", version=6).result == Result.OK
    assert client.get("k").result == Result.ABSENT
    assert client.clear().epoch == "c0ffee00" * 4


def test_each_key_of_a_batch_has_its_own_result(fake, client):
    written = client.mset([("a", "1"), ("b", "2", {"version": 9}), ("c", "")])
    assert [w.result for w in written] == [Result.OK] * 3 and written[1].version == 9
    assert len({w.write_id for w in written}) == 3
    fake.on("mget", lambda request: [fake.read("a"), [4, 5, "no proof"], fake.read("nope")])
    readings = client.mget(["a", "b", "nope"])
    assert [r.result for r in readings] == [Result.OK, Result.E_REFUSED, Result.ABSENT]
    assert readings[0].value == b"1" and readings[0].source == "pod-f" and readings[1].value is None


@pytest.mark.parametrize("code, result", enumerate([
    "E_PROTOCOL", "E_PROTOCOL", "E_INVALID", "E_TOO_LARGE", "E_REFUSED", "E_INDETERMINATE", "E_BUSY", "E_PERMISSION",
    "E_TIMEOUT", "E_STORE", "E_CORRUPT", "E_INTERNAL", "E_MIN_VERSION", "E_OTHER_EPOCH", "E_UNAVAILABLE"], 1))
def test_each_error_code_has_its_result(fake, client, code, result):
    def refuse(_request):
        raise Refusal(code, "the reason")
    fake.on("get", refuse)
    fake.on("set", refuse)
    assert client.get("k").result == Result[result]
    assert client.error() == "the reason"
    assert client.set("k", "v").result == Result[result]


def test_an_unknown_error_code_leaves_a_write_in_doubt(fake, client):
    def refuse(_request):
        raise Refusal(99, "from the future")
    fake.on("get", refuse)
    fake.on("set", refuse)
    assert client.get("k").result == Result.E_INTERNAL
    assert client.set("k", "v").result == Result.E_INDETERMINATE


def test_wrong_arguments_are_told_apart_before_anything_is_sent(fake, client):
    assert client.get("").result == Result.E_INVALID and "empty" in client.error()
    assert client.set("k", "v", version=2 ** 63).result == Result.E_INVALID
    assert client.set("k", "v", retry=True).result == Result.E_INVALID and "write_id" in client.error()
    assert client.get("k", min_version=2 ** 63).result == Result.E_INVALID
    assert client.get("k", min_version=1, epoch="x" * 33).result == Result.E_INVALID
    with pytest.raises(OSError, match="1024 keys"):
        client.mget(["k"] * 1025)
    with pytest.raises(OSError, match="E_INVALID"):
        Client("/tmp/" + "x" * 108)
    assert fake.requests == []


def test_a_key_and_a_value_may_hold_any_bytes(client):
    key = bytes(range(256))
    client.set(key, b"")
    assert client.get(key).value == b""


def test_a_request_longer_than_the_daemon_takes_is_refused_here(fake):
    fake.hello["max_message"] = 4096
    with Client(fake.socket) as client:
        assert client.set("k", b"x" * 5000).result == Result.E_TOO_LARGE and "4096" in client.error()
        assert client.get(b"k" * 200000).result == Result.E_TOO_LARGE
        assert client.set("k", b"x" * 3000).result == Result.OK
    assert [request.method for request in fake.requests] == ["hello", "set"]


# ---- no daemon, deadlines -------------------------------------------------------------------------------------

def test_no_daemon_is_unreachable_at_once(folder):
    with Client(os.path.join(folder, "none.sock"), timeout_ms=5000) as client:
        reading, took = elapsed(lambda: client.get("k"))
        assert reading.result == Result.E_UNREACHABLE and took < 1
        assert "none.sock" in client.error() and "is dcached running?" in client.error()
        assert client.set("k", "v").result == Result.E_UNREACHABLE


def test_backoff_grows_but_a_call_waits_no_longer_than_its_deadline(folder):
    with Client(os.path.join(folder, "none.sock")) as client:
        waits = [elapsed(lambda: client.get("k", timeout_ms=3000))[1] for _ in range(8)]
        assert max(waits[:3]) < 0.1 and max(waits) > 0.1, waits
        reading, took = elapsed(lambda: client.get("k", timeout_ms=50))
        assert reading.result == Result.E_UNREACHABLE and took < 0.3


def test_a_stalled_daemon_is_a_timeout_at_the_deadline(fake, client):
    fake.on("get", lambda request: SILENCE)
    reading, took = elapsed(lambda: client.get("k", timeout_ms=150))
    assert reading.result == Result.E_TIMEOUT and 0.14 < took < 0.6
    assert client.ping() == Result.OK


def test_a_write_that_was_sent_and_not_answered_is_indeterminate_at_its_deadline(fake, client):
    fake.on("set", lambda request: SILENCE)
    written, took = elapsed(lambda: client.set("k", "v", timeout_ms=150))
    assert written.result == Result.E_INDETERMINATE and 0.14 < took < 0.6
    assert fake.asked("set")[0].params[2]["write_id"] == written.write_id
    assert fake.asked("set")[0].params[2]["timeout_ms"] <= 150


def test_a_write_is_not_sent_before_hello_was_answered(fake, client):
    fake.on("hello", lambda request: SILENCE)
    assert client.set("k", "v", timeout_ms=100).result == Result.E_TIMEOUT
    assert "nothing was done" in client.error() and fake.asked("set") == []


def test_a_write_that_was_given_up_is_never_sent(fake, client):
    hello = []
    fake.on("hello", lambda request: hello.append(request) or SILENCE)
    assert client.set("given-up", "v", timeout_ms=100).result == Result.E_TIMEOUT
    fake.answer(hello[0], fake.do_hello(None))
    assert client.set("taken", "v").result == Result.OK
    assert [request.params[0] for request in fake.asked("set")] == [b"taken"]


def test_a_late_answer_is_not_taken_for_another(fake, client):
    fake.on("get", lambda request: SILENCE)
    assert client.get("slow", timeout_ms=50).result == Result.E_TIMEOUT
    slow = fake.wait("get")
    fake.on("get", lambda request: fake.answer(slow, fake.reading(b"late")) or fake.reading(b"right"))
    assert client.get("fast").value == b"right"


def test_a_full_backlog_is_asked_again_until_the_deadline():
    with FakeDaemon(backlog=0, accept=False) as fake:
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(fake.socket)
        with Client(fake.socket) as client:
            reading, took = elapsed(lambda: client.get("k", timeout_ms=200))
            assert reading.result == Result.E_TIMEOUT and took > 0.19
            written = client.set("k", "v", timeout_ms=100)
            assert written.result == Result.E_TIMEOUT and "nothing was done" in client.error()
            threading.Timer(0.1, lambda: fake._accept(fake.listener)).start()
            assert client.get("k", timeout_ms=3000).result == Result.ABSENT
        waiting.close()


# ---- lost connections -----------------------------------------------------------------------------------------

def test_a_read_is_repeated_once_on_a_fresh_connection(fake, client):
    fake.on("get", [lambda request: CUT, lambda request: fake.reading(b"again")])
    assert client.get("k").value == b"again"
    assert [request.method for request in fake.requests] == ["hello", "get", "hello", "get"]


def test_a_read_that_always_breaks_the_connection_fails(fake, client):
    fake.on("get", lambda request: CUT)
    assert client.get("k").result == Result.E_UNREACHABLE
    assert len(fake.asked("get")) == 2 and "lost" in client.error()


def test_a_write_cut_after_sending_is_indeterminate_and_not_repeated(fake, client):
    fake.on("set", lambda request: CUT)
    written, took = elapsed(lambda: client.set("k", "v", timeout_ms=300))
    assert written.result == Result.E_INDETERMINATE and took > 0.29, "before the deadline a retry races the first"
    assert len(fake.asked("set")) == 1 and "may or may not" in client.error()
    fake.on("set", fake.do_set)
    again = client.set("k", "v", write_id=written.write_id, retry=True)
    assert again.result == Result.OK and again.write_id == written.write_id
    options = fake.asked("set")[1].params[2]
    assert options["retry"] is True and options["write_id"] == written.write_id


def test_a_clear_cut_after_sending_is_indeterminate(fake):
    fake.on("clear", lambda request: CUT)
    with Client(fake.socket, timeout_ms=100) as client:
        assert client.clear().result == Result.E_INDETERMINATE


def test_each_item_of_a_lost_batch_is_indeterminate_with_its_write_id(fake, client):
    fake.on("mset", lambda request: CUT)
    written = client.mset([("a", "1"), ("b", "2")], timeout_ms=100)
    assert [w.result for w in written] == [Result.E_INDETERMINATE] * 2
    assert [w.write_id for w in written] == [item[2]["write_id"] for item in fake.asked("mset")[0].params[0]]


def test_calls_go_on_after_a_restart_of_the_daemon(fake, client):
    assert client.set("k", "v").result == Result.OK
    fake.stop()
    assert client.get("k").result == Result.E_UNREACHABLE
    fake.start()
    assert client.get("k", timeout_ms=3000).value == b"v"
    fake.stop()
    fake.start()
    assert client.set("k", "w").result == Result.OK, client.error()
    assert client.get("k").value == b"w"


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


def test_min_version_and_strong_reach_the_daemon(fake, client):
    client.get("k", strong=True, min_version=7, epoch=EPOCH, max_stale_ms=5)
    options = fake.asked("get")[0].params[1]
    assert options["strong"] is True and options["min_version"] == 7 and options["epoch"] == EPOCH
    assert options["max_stale_ms"] == 5


# ---- peers that are not to be trusted -------------------------------------------------------------------------

def test_answers_may_come_one_byte_at_a_time(fake, client):
    fake.piece = 1
    fake.store[b"k"] = (b"x" * 3000, 1)
    assert client.get("k").value == b"x" * 3000


def test_another_protocol_is_told_with_both_numbers():
    with FakeDaemon(protocol=2) as fake, Client(fake.socket, timeout_ms=300) as client:
        assert client.get("k").result == Result.E_PROTOCOL
        assert "protocol 2" in client.error() and "library 1" in client.error()
        assert client.set("k", "v").result == Result.E_PROTOCOL and fake.asked("set") == []


HOSTILE = {
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "unused_byte": b"\xc1",
    "huge_array": b"\xdd\xff\xff\xff\xff",
    "huge_text": b"\xdb\xff\xff\xff\xff",
    "nesting": b"\x91" * 64,
    "no_message": pack(7),
    "empty_array": pack([]),
    "a_request": pack([0, 1, "get", ["k"]]),
    "wrong_id": pack([1, "one", None, None]),
    "huge_id": pack([1, 2 ** 40, None, None]),
    "three_elements": pack([1, 2, None]),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_answer_closes_the_connection(fake, data):
    with Client(fake.socket, timeout_ms=300) as client:
        client.ping()
        fake.on("get", lambda request: raw(data))
        fake.on("set", lambda request: raw(data))
        assert client.get("k").result == Result.E_PROTOCOL, client.error()
        assert "does not speak this protocol" in client.error()
        assert client.set("k", "v").result == Result.E_INDETERMINATE
        fake.on("get", fake.do_get)
        assert client.get("k").result == Result.ABSENT


WRONG_RESULTS = {
    "nil": None, "number": 7, "text": "text", "empty": [], "short": [1, 2, b"v"], "state": [9] + [0] * 7,
    "text_version": [1, 1, b"v", "7", 0, "s", 0, False], "huge_version": [1, 1, b"v", 2 ** 64 - 1, 0, "s", 0, False],
    "float": [1, 1.5, b"v", 1, 0, "s", 0, False], "map": {"a": 1}, "failure": [4, 5, "no"],
}


@pytest.mark.parametrize("result", WRONG_RESULTS.values(), ids=WRONG_RESULTS)
def test_a_result_of_another_shape_is_a_protocol_error(fake, result):
    with Client(fake.socket, timeout_ms=300) as client:
        fake.on("get", lambda request: result)
        fake.on("mget", lambda request: [result])
        fake.on("set", lambda request: result)
        assert client.get("k").result == Result.E_PROTOCOL
        assert client.set("k", "v").result == Result.E_INDETERMINATE
        if result != [4, 5, "no"]:
            with pytest.raises(OSError, match="E_PROTOCOL"):
                client.mget(["k"])


@pytest.mark.parametrize("hello", [None, {}, {"protocol": 1}, {"protocol": "one"}, 7, [1, 2]])
def test_a_hello_of_another_shape_is_a_protocol_error(fake, hello):
    fake.on("hello", lambda request: hello)
    with Client(fake.socket, timeout_ms=300) as client:
        assert client.get("k").result == Result.E_PROTOCOL


def test_a_daemon_that_turns_us_away_is_quoted(fake, client):
    def refuse(_request):
        raise Refusal(8, "uid 12 is not on the list")
    fake.on("hello", refuse)
    assert client.get("k").result == Result.E_PERMISSION
    assert client.error() == "uid 12 is not on the list"


def test_answers_to_nothing_and_notifications_of_nothing_are_ignored(fake, client):
    noise = pack([1, 77, None, "x"]) + pack([2, "event", [5, {"kind": "update"}]]) + pack([2, "other", []])
    fake.on("get", lambda request: raw(noise + pack([1, request.id, None, fake.reading(b"v")])))
    assert client.get("k").value == b"v"


def test_extra_elements_of_a_later_version_are_skipped(fake, client):
    fake.on("get", lambda request: fake.reading(b"v") + [{"more": 1}, "x"])
    assert client.get("k").value == b"v"


# ---- fork, signals --------------------------------------------------------------------------------------------

def test_a_child_may_only_close(fake, client):
    client.set("k", "v")
    pid = os.fork()
    if pid == 0:
        good = client.get("k").result == Result.E_FORKED and client.set("k", "w").result == Result.E_FORKED
        good = good and client.ping() == Result.E_FORKED and client.process() == Result.E_FORKED
        good = good and client.fd() == -1 and "fork" in client.error()
        client.close()
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert client.get("k").value == b"v"
    assert len(fake.asked("hello")) == 1, "the parent kept its connection"


# ---- asynchronous ---------------------------------------------------------------------------------------------

def test_asynchronous_requests_are_called_back_once_each(fake, client):
    fake.store[b"k"] = (b"v", 1)
    got = []
    for _ in range(200):
        assert client.get_async("k", got.append) == Result.OK
    assert client.set_async("s", "x", got.append) == Result.OK
    assert client.delete_async("s", got.append) == Result.OK
    assert got == [], "never from within the call"
    drive(client, lambda: len(got) == 202)
    assert {g.result for g in got} == {Result.OK} and got[0].value == b"v"
    assert client.timeout_ms() == -1 and client.events() == select.POLLIN


def test_one_request_too_many_is_busy(fake, client):
    fake.on("get", lambda request: SILENCE)
    got = []
    assert [client.get_async("k", got.append, timeout_ms=200) for _ in range(1024)] == [Result.OK] * 1024
    assert client.get_async("k", got.append) == Result.E_BUSY and "1024" in client.error()
    assert client.ping() == Result.OK, "synchronous calls have their place"
    drive(client, lambda: len(got) == 1024)
    assert {g.result for g in got} == {Result.E_TIMEOUT}


def test_a_daemon_with_a_lower_limit_is_not_sent_more(fake):
    fake.hello["max_in_flight"] = 4
    fake.on("get", lambda request: SILENCE)
    with Client(fake.socket) as client:
        got = []
        client.ping()
        assert [client.get_async("k", got.append, timeout_ms=100) for _ in range(5)] == [Result.OK] * 4 + [Result.E_BUSY]
        drive(client, lambda: len(got) == 4)


def test_a_synchronous_call_runs_no_callback(fake, client):
    fake.store[b"k"] = (b"v", 1)
    got = []
    client.get_async("k", got.append)
    assert client.get("k").value == b"v"
    assert got == [] and client.timeout_ms() == 0
    client.process()
    assert len(got) == 1


def test_every_call_is_allowed_in_a_callback(fake, client):
    fake.store[b"k"] = (b"v", 1)
    got = []

    def chained(reading):
        got.append((reading.value, client.get("k").value, client.set("s", "x").result))
        if len(got) < 3:
            client.get_async("k", chained)
        client.process()
    client.get_async("k", chained)
    drive(client, lambda: len(got) == 3)
    assert set(got) == {(b"v", b"v", Result.OK)}


def test_an_asynchronous_answer_is_checked_when_it_is_handed_over(fake):
    fake.hello["bound_ns"] = 200 * MS
    got = []
    with Client(fake.socket, timeout_ms=5000) as client:
        client.get_async("k", got.append)
        client.process()
        client.process()
        fake.wait("get")
        time.sleep(0.3)  # the application does something else for longer than the bound
        drive(client, lambda: got)
        assert got[0].result == Result.ABSENT and len(fake.asked("get")) == 2


def test_closing_ends_what_is_unanswered(fake):
    fake.on("get", lambda request: SILENCE)
    fake.on("set", lambda request: SILENCE)
    got = []
    client = Client(fake.socket)
    client.ping()
    client.get_async("k", got.append)
    client.set_async("sent", "v", got.append)
    client.process()
    fake.wait("set")
    client.set_async("unsent", "v", got.append)
    client.close()
    assert sorted(g.result for g in got) == sorted([Result.E_UNREACHABLE, Result.E_INDETERMINATE, Result.E_UNREACHABLE])


def test_asynchronous_requests_survive_a_restart_of_the_daemon(fake, client):
    fake.store[b"k"] = (b"v", 1)
    got = []
    fake.on("get", [lambda request: CUT, fake.do_get])
    for _ in range(10):
        client.get_async("k", got.append, timeout_ms=3000)
    drive(client, lambda: len(got) == 10)
    assert {g.value for g in got} == {b"v"}


def test_a_descriptor_that_is_not_there_has_a_time_to_process(folder):
    with Client(os.path.join(folder, "none.sock")) as client:
        got = []
        assert client.fd() == -1 and client.timeout_ms() == -1
        client.get_async("k", got.append)
        assert client.fd() == -1 and client.timeout_ms() == 0
        drive(client, lambda: got)
        assert got[0].result == Result.E_UNREACHABLE


# ---- watches --------------------------------------------------------------------------------------------------

def test_events_come_and_a_new_connection_says_that_some_may_be_missing(fake, client):
    got = []
    assert client.watch("user:", got.append) == Result.OK
    assert client.watch("user:", got.append) == Result.E_INVALID
    drive(client, lambda: fake.asked("watch"))
    assert fake.asked("watch")[0].params == [b"user:"]
    client.ping()
    fake.event(1, {"kind": "update", "key": b"user:1", "version": 3})
    fake.event(2, {"kind": "update", "key": b"other"})
    drive(client, lambda: got)
    assert got == [[1, {"kind": "update", "key": b"user:1", "version": 3}]]
    fake.cut()
    drive(client, lambda: len(got) == 2)
    assert got[1] is None and len(fake.asked("watch")) == 2
    fake.event(1, {"kind": "delete"})
    drive(client, lambda: len(got) == 3)


def test_events_that_overtake_the_answer_to_watch_are_not_lost(fake, client):
    def early(request):
        fake.event(1, {"kind": "update", "version": 1})
        fake.event(9, {"kind": "of nobody"})
        client_is_ahead.wait(5)
        return 1
    client_is_ahead = threading.Event()
    fake.on("watch", early)
    got = []
    client.watch("", got.append)
    for _ in range(3):
        client.process()
    assert got == []
    client_is_ahead.set()
    drive(client, lambda: got)
    assert got == [[1, {"kind": "update", "version": 1}]] and client.timeout_ms() == -1


def test_a_refused_watch_is_told_by_process(fake, client):
    def refuse(_request):
        raise Refusal(7, "sixteen is enough")
    fake.on("watch", refuse)
    assert client.watch("", lambda event: None) == Result.OK
    deadline = time.monotonic() + 5
    result = Result.OK
    while result == Result.OK and time.monotonic() < deadline:
        result = client.process()
    assert result == Result.E_BUSY and client.error() == "sixteen is enough"


def test_a_flood_of_events_is_bounded_and_told(fake, client):
    got = []
    client.watch("", got.append)
    drive(client, lambda: fake.asked("watch"))
    client.ping()
    def flood(request):
        for _ in range(300):
            fake.event(1, {"kind": "update", "key": b"k" * 8000})
        return "pong"
    fake.on("ping", flood)
    client.ping()  # takes them in without running callbacks
    drive(client, lambda: None in got)
    assert 50 < len(got) < 300


# ---- the library itself ---------------------------------------------------------------------------------------

def test_only_the_documented_names_are_exported():
    header = os.path.join(dcache.REPO, "client", "include", "dcache", "client.h")
    with open(header, encoding="utf-8") as f:
        text = f.read()
    lines = subprocess.run(["nm", "-D", "--defined-only", dcache.library_path()], capture_output=True, text=True,
                           check=True).stdout.split("\n")
    names = {line.split()[2].split("@")[0] for line in lines if " T " in line}
    assert names and all(name.startswith("dcache_") and name + "(" in text for name in names)
    assert not [line for line in lines if line.split()[1:2] in (["D"], ["B"], ["W"])]


@pytest.mark.parametrize("compiler", [["g++", "-std=c++11"], ["gcc", "-std=c99"]])
@pytest.mark.parametrize("header", ["client.h", "hook.h"])
def test_the_headers_compile_alone(compiler, header):
    include = os.path.join(dcache.REPO, "client", "include")
    source = f"#include <dcache/{header}>\nint main(void) {{ return 0; }}\n"
    subprocess.run([*compiler, "-fsyntax-only", "-Wall", "-Wextra", "-pedantic", "-Werror", "-I", include, "-x",
                    "c++" if compiler[0] == "g++" else "c", "-"], input=source, text=True, check=True)


# ---- descriptors, examples ------------------------------------------------------------------------------------

def test_a_new_connection_never_has_the_number_of_the_one_it_replaces(fake, client):
    got = []
    client.get_async("k", got.append)
    drive(client, lambda: got)
    for _ in range(5):
        before = client.fd()
        fake.cut()
        fake.on("ping", fake.do_ping)
        assert client.ping() == Result.OK
        assert client.fd() not in (-1, before)
        assert client.process() == Result.OK


def example(name, *args):
    path = os.path.join(os.path.dirname(dcache.library_path()), "examples", name)
    return subprocess.run([path, *args], capture_output=True, text=True, timeout=20)


def test_the_synchronous_example_loads_stores_and_then_finds(fake, folder):
    first, second = example("plain_sync", "user:1", fake.socket), example("plain_sync", "user:1", fake.socket)
    assert first.stdout == "loaded version 42: from the database\nstored version 42 (ok)\n" and first.returncode == 0
    assert second.stdout == "cached version 42: from the database\n"
    alone = example("plain_sync", "user:1", os.path.join(folder, "none"))
    assert alone.returncode == 0 and alone.stdout.startswith("loaded past the cache, version 42")


def test_the_synchronous_example_retries_an_indeterminate_write(fake):
    fake.on("set", [lambda request: CUT, fake.do_set])
    assert example("plain_sync", "k", fake.socket).stdout.endswith("stored version 42 (ok)\n")
    first, second = fake.asked("set")
    assert first.params[2]["write_id"] == second.params[2]["write_id"] and second.params[2]["retry"] is True


def test_the_libuv_example_writes_and_reads_through_a_lost_connection(fake):
    cut = iter([True])
    fake.on("get", lambda request: CUT if next(cut, False) else fake.do_get(request))
    run = example("libuv_loop", fake.socket)
    assert run.returncode == 0, run.stdout + run.stderr
    assert sorted(run.stdout.split("\n"))[1:] == [f"read version 1: value {n}" for n in range(8)]
    assert len(fake.asked("hello")) == 2
