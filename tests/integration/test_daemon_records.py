"""
What Redis holds and sends may be anything: the daemon lives, serves its other keys, and counts and names what it
could not read.
"""
import time

import pytest

from daemon import ABSENT, CORRUPT, FRESH, PATIENCE, STORE, Daemon, RpcError
from private_redis import PrivateRedis
from sockets import differing

HEADER = 106
DIGITS = {"version": (1, 20), "seq": (20, 39), "timestamp": (39, 58), "expiry": (58, 71),
          "source length": (104, 106)}


@pytest.fixture(scope="module", name="redis")
def fixture_redis():
    with PrivateRedis() as redis:
        yield redis


@pytest.fixture(scope="module", name="daemon")
def fixture_daemon(redis):
    with Daemon(redis=redis.socket, pod="reads-anything", config={"cache": {"max_value": "4K"}}) as daemon:
        yield daemon
        assert daemon.stop() == 0, daemon.log()


@pytest.fixture(name="client")
def fixture_client(daemon):
    with daemon.client() as client:
        yield client


@pytest.fixture(name="record")
def fixture_record(redis, client):
    """A good record, for tests to spoil."""
    assert client.set(b"good", b"value", version=7)["outcome"] in (0, 2)
    return redis.client().get("dc:{0}:good")


def state_or_code(client, key, **options):
    """The state of a reading, or minus the code of its error, which has to have a text."""
    try:
        return client.get(key, **options)["state"]
    except RpcError as error:
        assert error.text
        return -error.code


def spoil(redis, client, record, name):
    """Stores it under a key that nobody has read, and reads that. `good` is served all the while."""
    key = b"bad:" + name
    redis.client().set(b"dc:{0}:" + key, record)
    outcome = state_or_code(client, key)
    assert client.get(b"good")["value"] == b"value"
    return outcome


def test_a_record_cut_at_every_byte_of_its_header_is_corrupt(redis, client, record):
    head = record[:-len(b"value")]
    before = client.call("stats")
    for at in range(1, len(head)):
        assert spoil(redis, client, record[:at], b"cut%d" % at) == -CORRUPT, at
    after = client.call("stats")
    assert after["bad_records"] - before["bad_records"] == after["errors"] - before["errors"] == len(head) - 1
    # Nothing there is no record; a record without its value is one of an empty value.
    assert spoil(redis, client, b"", b"empty") == ABSENT
    assert spoil(redis, client, head, b"head") == FRESH


def test_a_seq_that_no_store_counts_up_to_is_corrupt_and_ends_no_epoch(redis, daemon, client, record):
    epoch = daemon.status()["epoch"]
    begin, end = DIGITS["seq"]
    assert spoil(redis, client, record[:begin] + b"9223372036854775807" + record[end:], b"far") == -CORRUPT
    with pytest.raises(RpcError, match="unreadable"):
        client.set(b"bad:far", b"v", version=8)
    beats = daemon.stats()["heartbeats"]
    daemon.wait_until(lambda: daemon.stats()["heartbeats"] >= beats + 2)
    assert client.set(b"other", b"v")["outcome"] == 0 and daemon.status()["epoch"] == epoch
    assert int(redis.client().hget("dc:{0}!meta", "seq")) < 4 * 10**18


@pytest.mark.parametrize("field", DIGITS)
def test_a_letter_where_a_digit_stands_is_corrupt(redis, client, record, field):
    first, end = DIGITS[field]
    for at in range(first, end):
        for letter in (b"x", b" ", b"-", b"\x00", b"\xff"):
            bad = record[:at] + letter + record[at + 1:]
            assert spoil(redis, client, bad, b"%d" % at + letter) == -CORRUPT, (at, letter)


def test_wrong_formats_flags_and_lying_lengths_are_corrupt(redis, client, record):
    bad = {
        b"format": b"2" + record[1:],
        b"version 0": record[:1] + b"0" * 19 + record[20:],
        b"version 2^63": record[:1] + b"9223372036854775808" + record[20:],
        b"seq 0": record[:20] + b"0" * 19 + record[39:],
        b"seq 2^63": record[:20] + b"9" * 19 + record[39:],
        b"bare": record[:71] + b"b" + record[72:],
        b"flag": record[:71] + b"?" + record[72:],
        b"tombstone with a value": record[:71] + b"t" + record[72:],
        b"write id": record[:72] + b"G" * 32 + record[104:],
        b"long source": record[:104] + b"64" + record[106:] + b"x" * 100,
        b"longer than there is": record[:104] + b"63" + record[106:],
        b"oversized": record + b"x" * 8192,
        b"text": b"hello",
        b"json": b'{"version": 1}',
    }
    for name, text in bad.items():
        assert spoil(redis, client, text, name) == -CORRUPT, name


@pytest.mark.parametrize("command", [
    ("LPUSH", "x"), ("SADD", "x"), ("HSET", "f", "v"), ("ZADD", "1", "x"), ("XADD", "*", "f", "v"),
], ids=lambda command: command[0])
def test_a_key_of_another_type_is_corrupt(redis, client, record, command):
    key = b"dc:{0}:typed" + command[0].encode()
    redis.client().execute_command(command[0], key, *command[1:])
    assert record
    assert state_or_code(client, key[7:]) == -CORRUPT
    with pytest.raises(RpcError) as caught:
        client.set(key[7:], b"v", version=1)
    assert caught.value.code == STORE and "unreadable" in caught.value.text
    assert redis.client().exists(key), "what was there before is not lost"
    assert client.get(b"good")["state"] == FRESH


def test_an_unreadable_record_is_named_to_the_reader_the_log_and_the_watchers(redis, record):
    redis.client().set("dc:{0}:named", record[:50])
    # A daemon of its own: the log of the other one has had more such lines than it lets through.
    with Daemon(redis=redis.socket, pod="names") as daemon, daemon.client() as client:
        client.call("watch", b"named")
        with pytest.raises(RpcError) as caught:
            client.get(b"named")
        assert caught.value.text.startswith("record: ")
        event = client.receive_event()[1]
        assert (event["kind"], event["key"], event["text"]) == ("bad_record", b"named", caught.value.text)
        assert any("unreadable record" in line and caught.value.text in line for line in daemon.log().splitlines())
        seen = client.call("inspect", b"named")["redis"]
        assert (seen["state"], seen["text"]) == ("unreadable", caught.value.text)


def test_a_cached_copy_does_not_outlive_what_was_stored_in_its_place(redis, client, record):
    redis.client().set("dc:{0}:good", record[:60])
    assert state_or_code(client, b"good", strong=True) in (FRESH, -CORRUPT)
    assert [d["redis_version"] for d in differing(client, b"good")] == [0]
    redis.client().set("dc:{0}:good", record)


def messages(epoch, seq):
    head = b"M1r" + epoch + b"0" * 13
    record = b"1" + b"%019d" % 5 + b"%019d" % seq + b"0" * 19 + b"0" * 13 + b"v" + b"a" * 32 + b"01p" + b"value"
    good = head + b"00001k" + record
    return {
        "empty": b"", "text": b"hello", "json": b"{}", "binary": bytes(range(256)), "huge": b"x" * 5_000_000,
        "huge and well begun": good + b"x" * 5_000_000, "another schema": b"M2" + good[2:],
        "another epoch": good.replace(epoch, b"f" * 32), "no key": head + b"00000" + record,
        "key longer than it is": head + b"99999k" + record, "version 0": good.replace(b"%019d" % 5, b"0" * 19),
        "key longer than any": head + b"05000" + b"k" * 5000 + record,
        "seq far ahead": good.replace(b"%019d" % seq, b"9" * 18 + b"0"),
        "clear of nothing": b"M1c" + epoch + b"0" * 18 + b"x" * 19,
        "reserved key": head + b"00010!dcached:x" + record,
    }


def test_messages_that_are_none_of_ours_are_counted_and_harm_nothing(redis, daemon, client, record):
    assert record
    epoch = client.call("status")["epoch"].encode()
    for name, message in messages(epoch, client.call("status")["last"] + 1).items():
        before = client.call("stats")["messages"]
        redis.client().publish("cache:invalidate:0:dc:{0}", message)
        daemon.wait_until(lambda b=before: client.call("stats")["messages"] > b)
        assert client.get(b"good")["value"] == b"value", name
    for at in range(0, len(messages(epoch, 1)["no key"])):
        redis.client().publish("cache:invalidate:0:dc:{0}", messages(epoch, 1)["no key"][:at])
    daemon.wait_until(lambda: client.call("status")["ready"])
    stats = client.call("stats")
    assert stats["messages_bad"] > 100 and stats["messages_foreign"] >= 1
    assert "unreadable message" in daemon.log()
    version = client.set(b"after", b"v")["version"]
    assert client.get(b"after")["version"] == version
    assert client.get(b"k", strong=True)["state"] == ABSENT, "a forged message does not survive the proof"


SILLY_META = [("epoch", "short"), ("epoch", "G" * 32), ("run", "with space"), ("run", "x" * 41), ("seq", "-1"),
              ("seq", "01"), ("seq", "9" * 19), ("seq", "1e3"), ("seq", ""), ("cleared", "x"),
              ("cleared", "2" * 30)]


@pytest.mark.parametrize("field, text", SILLY_META)
def test_a_silly_meta_is_a_new_epoch(redis, daemon, client, field, text):
    epoch = client.set(b"meta", b"v")["epoch"]
    redis.client().hset("dc:{0}!meta", field, text)
    daemon.wait_until(lambda: client.call("status")["epoch"] != epoch and client.call("status")["ready"])
    assert client.get(b"meta", timeout_ms=2000)["value"] == b"v"
    assert client.set(b"meta", b"w", timeout_ms=3000)["epoch"] != epoch


@pytest.mark.parametrize("spoil_meta", [
    lambda raw: raw.delete("dc:{0}!meta"), lambda raw: raw.set("dc:{0}!meta", "text"),
    lambda raw: raw.hdel("dc:{0}!meta", "seq"), lambda raw: raw.hdel("dc:{0}!meta", "epoch"),
    lambda raw: raw.hset("dc:{0}!meta", "seq", 1),
], ids=["gone", "another type", "no seq", "no epoch", "seq went back"])
def test_a_broken_meta_is_a_new_epoch(redis, daemon, client, spoil_meta):
    epoch = client.set(b"meta", b"v")["epoch"]
    spoil_meta(redis.client())
    started = time.monotonic()
    daemon.wait_until(lambda: client.call("status")["epoch"] != epoch and client.call("status")["ready"])
    assert time.monotonic() - started < 1 * PATIENCE
    assert client.set(b"meta", b"w", timeout_ms=3000)["epoch"] != epoch


@pytest.fixture(scope="module", name="left_alone")
def fixture_left_alone():
    """A store with two records, the first of them cleared and not yet removed, and a reader alone."""
    with PrivateRedis() as redis:
        with Daemon(redis=redis.socket) as writer, writer.client() as client:
            client.set(b"cleared", b"old", version=1)
            old = redis.client().get("dc:{0}:cleared")
            client.call("clear")
            client.set(b"since", b"new", version=1)
        redis.client().set("dc:{0}:cleared", old)
        with Daemon(redis=redis.socket, role="reader") as reader:
            yield redis.client(), reader


@pytest.mark.parametrize("spoil_cleared", [
    lambda raw: raw.hdel("dc:{0}!meta", "cleared"), lambda raw: raw.hset("dc:{0}!meta", "cleared", "x"),
    lambda raw: raw.hset("dc:{0}!meta", "cleared", "3999999999999999999"),
], ids=["missing", "no number", "above seq"])
def test_while_nobody_knows_what_was_cleared_no_record_is_an_answer(left_alone, spoil_cleared):
    raw, reader = left_alone
    with reader.client() as client:
        assert [client.get(key)["state"] for key in (b"cleared", b"since")] == [ABSENT, FRESH]
        meta = raw.hgetall("dc:{0}!meta")
        spoil_cleared(raw)
        reader.wait_until(lambda: not client.call("status")["ready"])
        answers = [state_or_code(client, key) for key in (b"cleared", b"since", b"none")]
        assert answers == [-CORRUPT, -CORRUPT, ABSENT]
        with pytest.raises(RpcError, match="meta: the field cleared is missing or unreadable"):
            client.get(b"since")
        raw.hset("dc:{0}!meta", mapping=meta)
        reader.wait_until(lambda: client.call("status")["ready"])
        assert [client.get(key)["state"] for key in (b"cleared", b"since")] == [ABSENT, FRESH]
