"""libdcache-client and what it cannot trust: its peer, a fork; and what it shows of itself."""
import os
import subprocess

import pytest

import dcache
from dcache import Client, Result
from fake_daemon import FakeDaemon, Refusal, pack, raw


# ---- peers that are not to be trusted -------------------------------------------------------------------------

def test_answers_may_come_one_byte_at_a_time(fake, client):
    fake.piece = 1
    fake.store[b"k"] = (b"x" * 3000, 1)
    assert client.get("k").value == b"x" * 3000


def test_another_protocol_is_told_with_both_numbers():
    with FakeDaemon(protocol=2) as fake, Client(fake.socket, timeout_ms=5000) as client:
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
    with Client(fake.socket, timeout_ms=5000) as client:
        fake.on("get", lambda request: raw(data))
        assert client.get("k").result == Result.E_PROTOCOL, client.error()
        assert "does not speak this protocol" in client.error()
        fake.on("get", fake.do_get)
        assert client.get("k").result == Result.ABSENT
        fake.on("set", lambda request: raw(data))
        assert client.set("k", "v", timeout_ms=100).result == Result.E_INDETERMINATE


WRONG_RESULTS = {
    "nil": None, "number": 7, "text": "text", "empty": [], "short": [1, 2, b"v"], "state": [9] + [0] * 7,
    "text_version": [1, 1, b"v", "7", 0, "s", 0, False],
    "huge_version": [1, 1, b"v", 2 ** 64 - 1, 0, "s", 0, False],
    "float": [1, 1.5, b"v", 1, 0, "s", 0, False], "map": {"a": 1}, "failure": [4, 5, "no"],
}


@pytest.mark.parametrize("result", WRONG_RESULTS.values(), ids=WRONG_RESULTS)
def test_a_result_of_another_shape_is_a_protocol_error(fake, result):
    with Client(fake.socket, timeout_ms=5000) as client:
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
    with Client(fake.socket, timeout_ms=5000) as client:
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
    assert fake.accepted == 1, "the parent kept its connection"


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
