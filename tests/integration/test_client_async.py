"""The asynchronous side of libdcache-client: callbacks, watches, descriptors, the examples."""
import os
import select
import subprocess
import threading
import time

import pytest

from application import MS, drive
from daemon import build_dir
from dcache import Client, Result
from fake_daemon import CUT, SILENCE, FakeDaemon, Refusal


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
        results = [client.get_async("k", got.append, timeout_ms=100) for _ in range(5)]
        assert results == [Result.OK] * 4 + [Result.E_BUSY]
        drive(client, lambda: len(got) == 4)


def test_processing_sends_a_piece_of_a_long_request_and_asks_to_go_on(fake):
    fake.hello["max_message"] = 64 << 20
    with Client(fake.socket, timeout_ms=60000) as client:
        client.ping()
        fake.deaf = True  # it takes bytes as fast as they come
        client.set_async("k", bytes(60 << 20), lambda written: None)
        client.process()
        assert fake.taken < 30 << 20 and client.events() == select.POLLIN | select.POLLOUT


def test_a_long_request_arrives_whole(fake):
    fake.hello["max_message"] = 64 << 20
    value = bytes(range(251)) * (40 << 12)
    got = []
    with Client(fake.socket, timeout_ms=60000) as client:
        client.set_async("k", value, got.append)
        drive(client, lambda: got, timeout=60)
        assert got[0].result == Result.OK and fake.store[b"k"][0] == value
        assert client.events() == select.POLLIN


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
    assert sorted(g.result.name for g in got) == ["E_INDETERMINATE", "E_UNREACHABLE", "E_UNREACHABLE"]


def test_a_handle_that_is_closed_takes_no_calls_of_its_callbacks(fake):
    """The callbacks give up after some tries, so that the test ends where the library does not."""
    tries, got, nothing = [], [], []

    def again(answer):
        got.append(answer.result)
        if len(tries) < 10:
            tries.append(client.get_async("again", again))
            tries.append(client.set_async("again", "v", again))
            tries.append(client.watch("again", lambda event: None))

    def calls(_answer):
        tries.extend([client.get("k").result, client.set("k", "v").result, client.delete("k").result,
                      client.clear().result, client.ping(), client.process()])
        tries.extend(written.result for written in client.mset([("k", "v"), ("l", "v")]))
        nothing.append((client.fd(), client.events(), client.timeout_ms(), "being closed" in client.error()))
        client.close()
    fake.on("get", lambda request: SILENCE)
    fake.on("set", lambda request: SILENCE)
    client = Client(fake.socket)
    client.ping()
    client.get_async("sent", again)
    client.set_async("sent", "v", again)
    client.process()
    fake.wait("set")
    asked = len(fake.requests)
    client.set_async("unsent", "v", again)
    client.get_async("unsent", calls)
    client.close()
    assert set(tries) == {Result.E_UNREACHABLE} and len(tries) == 3 * 3 + 8, tries
    assert got == [Result.E_UNREACHABLE, Result.E_INDETERMINATE, Result.E_UNREACHABLE]
    assert nothing == [(-1, 0, -1, True)]
    assert (fake.accepted, len(fake.requests)) == (1, asked)


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


def test_losses_that_no_processing_comes_between_never_give_the_same_number_again(fake, client):
    assert client.ping() == Result.OK
    before = client.fd()
    for _ in range(8):
        fake.cut()
        assert client.ping() == Result.OK
        assert client.fd() not in (-1, before)
        before = client.fd()


def test_a_number_is_kept_until_the_next_one_was_asked_for(fake, client):
    assert client.ping() == Result.OK
    before = client.fd()
    for _ in range(3):
        fake.cut()
        drive(client, lambda: client.fd() == -1)
        for _ in range(3):  # other connections come and go meanwhile
            assert client.process() == Result.OK and client.ping() == Result.OK
            fake.cut()
        assert client.ping() == Result.OK and client.process() == Result.OK
        assert client.fd() not in (-1, before)
        before = client.fd()


def test_a_number_that_was_given_up_is_free(fake, client):
    assert client.ping() == Result.OK
    first = os.fstat(client.fd()).st_ino, client.fd()
    fake.cut()
    assert client.ping() == Result.OK and client.fd() != first[1]
    assert os.fstat(first[1]).st_ino == first[0], "a loop may still have it"
    client.process()
    assert not is_open(*first)


def is_open(inode, fd):
    try:
        return os.fstat(fd).st_ino == inode
    except OSError:
        return False


def example(name, *args):
    path = os.path.join(build_dir(), "client", "examples", name)
    return subprocess.run([path, *args], capture_output=True, text=True, timeout=20)


def test_the_synchronous_example_loads_stores_and_then_finds(fake, folder):
    first, second = example("plain_sync", "user:1", fake.socket), example("plain_sync", "user:1", fake.socket)
    assert first.stdout == "loaded version 42: from the database\nstored version 42 (ok)\n"
    assert first.returncode == 0
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
    assert fake.accepted == 2
