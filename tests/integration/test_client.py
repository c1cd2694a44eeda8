"""libdcache-client against a daemon that does what each test says: synchronous calls."""
import os
import resource
import socket
import threading

import pytest

import dcache
from application import elapsed
from daemon import PATIENCE
from dcache import Client, Result
from fake_daemon import CUT, EPOCH, SECOND, SILENCE, FakeDaemon, Refusal


# ---- plain calls ----------------------------------------------------------------------------------------------

def test_what_was_set_is_read(fake, client):
    written = client.set("user:1", b"\x00\xffvalue", version=7, ttl_ms=5000, invalidate=True)
    assert (written.result, written.version, written.epoch) == (Result.OK, 7, EPOCH)
    reading = client.get("user:1")
    assert (reading.result, reading.value, reading.version) == (Result.OK, b"\x00\xffvalue", 7)
    assert reading.source == "pod-f"
    assert reading.state == dcache.State.FRESH and reading.age_ns < SECOND
    options = fake.asked("set")[0].params[2]
    assert options["write_id"] == written.write_id and len(written.write_id) == 16
    assert (options["version"], options["ttl_ms"], options["invalidate"]) == (7, 5000, True)
    assert 800 <= options["timeout_ms"] <= 1000


def test_hello_is_the_first_message_of_a_connection(fake, client):
    client.get("k")
    assert [request.method for request in fake.requests][:2] == ["hello", "get"]
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


RESULTS = ("E_PROTOCOL E_PROTOCOL E_INVALID E_TOO_LARGE E_REFUSED E_INDETERMINATE E_BUSY E_PERMISSION E_TIMEOUT "
           "E_STORE E_CORRUPT E_INTERNAL E_MIN_VERSION E_OTHER_EPOCH E_UNAVAILABLE")


@pytest.mark.parametrize("code, result", enumerate(RESULTS.split(), 1))
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
    assert fake.asked("get") == [] and [len(request.params[1]) for request in fake.asked("set")] == [3000]


# ---- no daemon, deadlines -------------------------------------------------------------------------------------

def test_no_daemon_is_unreachable_at_once(folder):
    with Client(os.path.join(folder, "none.sock"), timeout_ms=5000) as client:
        reading, took = elapsed(lambda: client.get("k"))
        assert reading.result == Result.E_UNREACHABLE and took < 1 * PATIENCE
        assert "none.sock" in client.error() and "is dcached running?" in client.error()
        assert client.set("k", "v").result == Result.E_UNREACHABLE


def test_a_process_without_descriptors_is_not_told_to_start_a_daemon(fake, client):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        reading, text = client.get("k"), client.error()
        waited, waited_text = client.get("k", timeout_ms=1), client.error()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (reading.result, waited.result) == (Result.E_UNREACHABLE, Result.E_UNREACHABLE)
    assert "Too many open files" in text and "limit" in text and "is dcached running?" not in text
    assert "limit" in waited_text and "is dcached running?" not in waited_text
    assert client.get("k", timeout_ms=3000).result == Result.ABSENT


def test_backoff_grows_but_a_call_waits_no_longer_than_its_deadline(folder):
    with Client(os.path.join(folder, "none.sock")) as client:
        waits = [elapsed(lambda: client.get("k", timeout_ms=3000))[1] for _ in range(8)]
        assert min(waits) < 0.1 * PATIENCE and 0.1 < max(waits) < 2 * PATIENCE, waits
        reading, took = elapsed(lambda: client.get("k", timeout_ms=50))
        assert reading.result == Result.E_UNREACHABLE and took < 0.5 * PATIENCE


def test_a_stalled_daemon_is_a_timeout_at_the_deadline(fake, client):
    client.ping()
    fake.on("get", lambda request: SILENCE)
    reading, took = elapsed(lambda: client.get("k", timeout_ms=150))
    assert reading.result == Result.E_TIMEOUT and 0.14 < took < 0.6 * PATIENCE
    assert client.ping() == Result.OK


def test_a_write_that_was_sent_and_not_answered_is_indeterminate_at_its_deadline(fake, client):
    client.ping()
    fake.on("set", lambda request: SILENCE)
    written, took = elapsed(lambda: client.set("k", "v", timeout_ms=150))
    assert written.result == Result.E_INDETERMINATE and 0.14 < took < 0.6 * PATIENCE
    assert fake.asked("set")[0].params[2]["write_id"] == written.write_id
    assert fake.asked("set")[0].params[2]["timeout_ms"] <= 150


def test_a_write_is_not_sent_before_hello_was_answered(fake, client):
    fake.on("hello", lambda request: SILENCE)
    assert client.set("k", "v", timeout_ms=100).result == Result.E_TIMEOUT
    assert "nothing was done" in client.error() and fake.asked("set") == []


def test_a_write_that_was_given_up_is_never_sent(fake, client):
    fake.on("hello", lambda request: SILENCE)
    assert client.set("given-up", "v", timeout_ms=100).result == Result.E_TIMEOUT
    fake.answer(fake.wait("hello"), fake.do_hello(None))
    assert client.set("taken", "v").result == Result.OK
    assert [request.params[0] for request in fake.asked("set")] == [b"taken"]


def test_a_deadline_is_noticed_while_a_long_request_goes_out():
    """By the bytes that went out: a daemon that takes them as fast as they come leaves no pause for a clock."""
    with FakeDaemon(max_message=128 << 20) as fake, Client(fake.socket) as client:
        client.ping()
        fake.deaf = True
        assert client.set("k", bytes(100 << 20), timeout_ms=1).result == Result.E_INDETERMINATE
        assert fake.taken < 50 << 20


def test_a_late_answer_is_not_taken_for_another(fake, client):
    client.ping()
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
    assert (fake.accepted, len(fake.asked("get"))) == (2, 2)


def test_a_read_that_always_breaks_the_connection_fails(fake, client):
    fake.on("get", lambda request: CUT)
    assert client.get("k").result == Result.E_UNREACHABLE
    assert len(fake.asked("get")) == 2 and "lost" in client.error()


def test_a_write_cut_after_sending_is_indeterminate_and_not_repeated(fake, client):
    client.ping()
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
    with Client(fake.socket, timeout_ms=300) as client:
        client.ping()
        assert client.clear().result == Result.E_INDETERMINATE
    options, = fake.asked("clear")[0].params
    assert options["deadline"] > 0 and 0 < options["timeout_ms"] < 300


def test_each_item_of_a_lost_batch_is_indeterminate_with_its_write_id(fake, client):
    client.ping()
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
