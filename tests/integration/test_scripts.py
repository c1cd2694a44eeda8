"""The Lua scripts of daemon/redis, run by a real server."""
import itertools
import os
import threading

import pytest
import redis as redis_py

from private_redis import PrivateRedis

SOURCE = os.path.join(os.path.dirname(__file__), "../../daemon/redis")
META, CHANNEL = "dc:{0}!meta", "cache:invalidate:0:dc:{0}"
EPOCH, RUN, SEQ = "e" * 32, "r" * 40, 1000
LATER = "9" * 19
VERSIONS = [1, 9, 10, 2**53 - 1, 2**53, 2**53 + 1, 10**15, 2**63 - 1]


def script(name):
    text = ""
    for part in ("common", name):
        with open(os.path.join(SOURCE, part + ".lua"), encoding="ascii") as f:
            text += f.read()
    return text


WRITE, CLEAR, PROPOSE, SWEEP = map(script, ("write", "clear", "propose", "sweep"))


@pytest.fixture(scope="module")
def server():
    with PrivateRedis() as r:
        yield r


@pytest.fixture
def db(server):
    client = server.client()
    client.flushall()
    client.hset(META, mapping={"epoch": EPOCH, "run": RUN, "seq": SEQ, "cleared": 0})
    yield client
    client.close()


def pad(number, width=19):
    return str(number).rjust(width, "0")


_ids = itertools.count(1)


def new_id():
    return f"{next(_ids):032x}"


def op(key="k", value=b"v", version=None, ttl=0, write_id=None, retry=False, carry=True, deadline=LATER,
       delete=False):
    return key, ["d" if delete else "s", key, pad(version) if version else "", ttl, write_id or new_id(),
                 int(retry), int(carry), deadline, b"" if delete else value]


class Answer:
    def __init__(self, raw):
        text = raw.decode()
        self.letter, self.text = text[0], text[1:]
        if self.letter in "ASDCIL":
            assert len(self.text) == 57
            self.version, self.seq, self.time = (int(self.text[i:i + 19]) for i in (0, 19, 38))


def call(db, ops, epoch=EPOCH, run=RUN):
    keys = [META] + ["dc:{0}:" + key for key, _ in ops]
    arguments = [epoch, run, CHANNEL, "pod"] + [a for _, args in ops for a in args]
    return [Answer(raw) for raw in db.eval(WRITE, len(keys), *keys, *arguments)]


def write(db, *args, epoch=EPOCH, run=RUN, **kwargs):
    return call(db, [op(*args, **kwargs)], epoch, run)[0]


def seq_of(db):
    return int(db.hget(META, "seq"))


def stored(db, key="k"):
    return db.get("dc:{0}:" + key)


def forge(db, key="k", version=5, seq=500, flag="v", source=b"pod", value=b"v", **change):
    fields = {"format": "1", "version": pad(version), "seq": pad(seq), "time": pad(1), "expiry": "0" * 13,
              "flag": flag, "id": new_id(), "len": pad(len(source), 2)}
    fields.update(change)
    text = "".join(fields.values()).encode() + source + value
    db.set("dc:{0}:" + key, text)
    return text


@pytest.mark.parametrize("old,new", list(itertools.product(VERSIONS, VERSIONS)))
def test_versions_compare_as_integers_of_63_bits(db, old, new):
    assert write(db, version=old, value=b"old").letter == "A"
    answer = write(db, version=new, value=b"new")
    assert answer.letter == ("A" if new > old else "S" if new < old else "C")
    assert answer.version == max(old, new)
    assert stored(db).endswith(b"new" if new > old else b"old")
    assert seq_of(db) == SEQ + (2 if new > old else 1)


def test_record_has_the_documented_layout(db):
    write_id = new_id()
    answer = write(db, version=7, value=b"payload", ttl=60000, write_id=write_id)
    text = stored(db).decode()
    assert text[0] == "1" and int(text[1:20]) == 7 and int(text[20:39]) == SEQ + 1
    assert int(text[39:58]) == answer.time
    assert int(text[58:71]) == answer.time // 1000000 + 60000
    assert text[71] == "v" and text[72:104] == write_id and text[104:106] == "03" and text[106:] == "podpayload"
    assert 59000 < db.pttl("dc:{0}:k") <= 60000
    seconds, micros = db.time()
    assert 0 <= seconds * 10**9 + micros * 1000 - answer.time < 10**10


def test_auto_version_of_an_absent_key_is_its_seq(db):
    answer = write(db)
    assert (answer.letter, answer.version, answer.seq) == ("A", SEQ + 1, SEQ + 1)


@pytest.mark.parametrize("old", [v for v in VERSIONS if v < 2**63 - 1])
def test_auto_version_is_above_the_stored_one_and_not_below_seq(db, old):
    write(db, version=old)
    assert write(db).version == max(old + 1, SEQ + 2)


def test_auto_version_after_the_last_one_is_exhausted_and_executes_nothing(db):
    write(db, version=2**63 - 1)
    assert write(db).letter == "H"
    assert seq_of(db) == SEQ + 1


@pytest.mark.parametrize("seq, letter", [(4 * 10**18 - 1, "H"), (4 * 10**18, "W"), (2**63 - 1, "W")])
def test_no_seq_is_given_out_that_no_store_can_have_counted_up_to(db, seq, letter):
    db.hset(META, "seq", seq)
    assert write(db, version=1).letter == letter
    assert stored(db) is None


@pytest.mark.parametrize("seq", [9, 99, 2**53 - 1, 2**53, 2**53 + 1, 10**15 - 1, 4 * 10**18 - 2])
def test_seq_counts_by_one_at_every_magnitude(db, seq):
    db.hset(META, "seq", seq)
    assert write(db, version=1).seq == seq + 1
    assert db.hget(META, "seq") == str(seq + 1).encode()


def test_same_write_id_is_a_duplicate_with_the_first_answer(db):
    write_id = new_id()
    first = write(db, write_id=write_id)
    for retry in (False, True):
        again = write(db, write_id=write_id, retry=retry)
        assert (again.letter, again.text) == ("D", first.text)
    assert seq_of(db) == SEQ + 1


def test_equal_version_with_equal_content_is_a_duplicate(db):
    first = write(db, version=3, value=b"same")
    again = write(db, version=3, value=b"same", retry=True)
    assert (again.letter, again.text) == ("D", first.text)


def test_equal_version_with_other_content_is_a_conflict(db):
    write(db, version=3, value=b"one")
    assert write(db, version=3, value=b"two").letter == "C"
    assert write(db, version=3, delete=True).letter == "C"
    assert write(db, version=3, value=b"one").letter == "D"


def test_empty_value_and_tombstone_of_one_version_conflict(db):
    write(db, version=3, value=b"")
    assert write(db, version=3, delete=True).letter == "C"
    assert write(db, "other", version=3, delete=True).letter == "A"
    assert write(db, "other", version=3, value=b"").letter == "C"


def test_retry_of_an_auto_version_that_finds_another_record_is_indeterminate(db):
    write(db)
    answer = write(db, retry=True)
    assert (answer.letter, answer.version) == ("I", SEQ + 1)
    assert seq_of(db) == SEQ + 1


def test_retry_of_an_auto_version_that_finds_nothing_is_committed(db):
    assert write(db, retry=True).letter == "A"


def test_retry_below_the_stored_version_is_indeterminate(db):
    write(db, version=5)
    assert write(db, version=4, retry=True).letter == "I"
    assert write(db, version=4).letter == "S"


def test_tombstone_keeps_an_older_write_out(db):
    write(db, version=4)
    assert write(db, version=5, delete=True, ttl=50000).letter == "A"
    assert db.pttl("dc:{0}:k") > 0
    assert write(db, version=4, value=b"back").letter == "S"
    assert write(db, version=5, delete=True).letter == "D"
    assert write(db, version=6, value=b"new").letter == "A"


def test_an_expired_record_leaves_no_version_behind(db):
    write(db, version=9, ttl=1)
    while stored(db) is not None:
        pass
    assert write(db, version=2).letter == "A"


def test_a_cleared_record_is_absent(db):
    write(db, version=9)
    db.hset(META, "cleared", SEQ + 1)
    assert write(db, version=2).letter == "A"
    db.hset(META, "cleared", SEQ + 1)
    assert write(db, version=1).letter == "S"


@pytest.mark.parametrize("change", [
    {"epoch": None}, {"run": None}, {"seq": None}, {"cleared": None}, {"epoch": "f" * 32}, {"run": "x" * 40},
    {"seq": "01"}, {"seq": "-1"}, {"seq": "1e3"}, {"seq": "nan"}, {"seq": "inf"}, {"seq": "0x10"}, {"seq": " 12"},
    {"seq": ""}, {"seq": str(2**63)}, {"seq": "9" * 40}, {"seq": "1\n"}, {"seq": b"1\0"}, {"cleared": "x"},
    {"cleared": "1.0"}, {"epoch": ""}, {"run": ""},
])
def test_meta_that_is_not_as_expected_is_a_wrong_epoch_and_executes_nothing(db, change):
    for field, value in change.items():
        if value is None:
            db.hdel(META, field)
        else:
            db.hset(META, field, value)
    before = db.hgetall(META)
    assert [a.letter for a in call(db, [op("a"), op("b")])] == ["W", "W"]
    assert db.hgetall(META) == before and stored(db, "a") is None


def test_unreadable_ids_never_match_each_other(db):
    db.hset(META, mapping={"epoch": "", "run": ""})
    assert write(db, epoch="", run="").letter == "W"


def test_meta_of_another_type_is_a_wrong_epoch(db):
    db.delete(META)
    db.set(META, "text")
    assert write(db).letter == "W"


def test_a_write_after_its_deadline_is_not_executed(db):
    seconds, micros = db.time()
    now = seconds * 10**6 + micros
    answers = call(db, [op("late", deadline=pad(now - 1)), op("early", deadline=pad(now + 10**7))])
    assert [a.letter for a in answers] == ["X", "A"]
    assert stored(db, "late") is None and seq_of(db) == SEQ + 1


@pytest.mark.parametrize("text", [
    b"1", b"plain text", b"2" + b"0" * 105, b"1" + b"x" * 105, b"\0" * 106, b"1" * 71 + b"v" + b"g" * 32 + b"00",
    b"1" * 71 + b"b" + b"a" * 32 + b"00", b"1" * 71 + b"v" + b"a" * 32 + b"64",
    b"1" * 71 + b"v" + b"a" * 32 + b"0a",
])
def test_an_unreadable_record_is_corrupt_and_stays(db, text):
    db.set("dc:{0}:k", text)
    assert write(db, version=2**63 - 1).letter == "B"
    assert stored(db) == text and seq_of(db) == SEQ


@pytest.mark.parametrize("change", [{"version": "9" * 19}, {"version": "0" * 19}, {"seq": "0" * 19},
                                    {"seq": "9" * 19}, {"seq": pad(2**63 - 1)}, {"flag": "V"}, {"len": "99"}])
def test_a_record_with_a_silly_field_is_corrupt(db, change):
    text = forge(db)
    assert write(db, version=4).letter == "S"
    text = forge(db, **change)
    assert write(db, version=6).letter == "B"
    assert stored(db) == text and seq_of(db) == SEQ


def test_every_truncation_of_a_header_is_corrupt(db):
    text = forge(db)
    for cut in range(1, 106):
        db.set("dc:{0}:k", text[:cut])
        assert write(db, version=9).letter == "B", cut


def test_a_key_of_another_type_is_corrupt_and_its_neighbours_are_written(db):
    db.rpush("dc:{0}:b", "x")
    assert [a.letter for a in call(db, [op("a"), op("b"), op("c")])] == ["A", "B", "A"]
    assert seq_of(db) == SEQ + 2 and db.type("dc:{0}:b") == b"list"


def test_seq_goes_on_behind_a_record_left_over_from_a_lost_meta(db):
    forge(db, version=5, seq=SEQ + 50)
    assert write(db, version=6).seq == SEQ + 51
    assert seq_of(db) == SEQ + 51


def test_one_key_twice_in_a_call_is_written_in_order(db):
    answers = call(db, [op(value=b"1"), op(value=b"2")])
    assert [a.version for a in answers] == [SEQ + 1, SEQ + 2]
    assert stored(db).endswith(b"2")


def test_a_message_carries_what_was_committed(db):
    pubsub = db.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(CHANNEL)
    pubsub.get_message(timeout=5)
    write(db, version=7, value=b"payload", ttl=1234)
    write(db, version=8, value=b"hidden", carry=False)
    write(db, version=9, delete=True, carry=False)
    messages = [pubsub.get_message(timeout=5)["data"] for _ in range(3)]
    head = b"M1r" + EPOCH.encode()
    assert messages[0].startswith(head + b"0000000001234" + b"00001k" + b"1" + pad(7).encode())
    assert messages[0].endswith(b"03podpayload")
    assert b"hidden" not in messages[1] and messages[1][53 + 1 + 71:53 + 1 + 72] == b"b"
    assert messages[1].endswith(b"03pod")
    assert messages[2] == head + b"0" * 13 + b"00001k" + stored(db)
    pubsub.close()


def restricted(server, name, *rules):
    admin = server.client()
    admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">pw", *rules)
    return server.client(username=name, password="pw")


def test_a_denied_publish_is_unknown_and_leaves_seq_raised(server, db):
    user = restricted(server, "mute", "~*", "+@all", "resetchannels")
    answer = write(user, version=3)
    assert answer.letter == "U" and "hannel" in answer.text
    assert stored(db) is not None and seq_of(db) == SEQ + 1


def test_a_denied_set_is_definite_and_leaves_a_gap(server, db):
    user = restricted(server, "noset", "~*", "&*", "+@all", "-set")
    answer = write(user, version=3)
    assert answer.letter == "E"
    assert stored(db) is None and seq_of(db) == SEQ + 1


def test_a_denied_key_fails_before_execution(server, db):
    user = restricted(server, "nokey", "~dc:{0}!meta", "&*", "+@all")
    with pytest.raises(redis_py.ResponseError) as e:
        write(user, version=3)
    assert str(e.value).startswith("No permissions") or "NOPERM" in str(e.value) or "permission" in str(e.value)
    assert seq_of(db) == SEQ


def test_no_memory_in_redis_is_definite(server, db):
    write(db, version=1, value=b"old")
    db.config_set("maxmemory", 1)
    try:
        answer = write(db, version=2, value=b"new")
    finally:
        db.config_set("maxmemory", 0)
    assert answer.letter == "E" and "OOM" in answer.text
    assert stored(db).endswith(b"old") and seq_of(db) == SEQ + 1


def test_too_few_replicas_is_definite(server, db):
    db.config_set("min-replicas-to-write", 1)
    try:
        answer = write(db, version=2)
    finally:
        db.config_set("min-replicas-to-write", 0)
    assert answer.letter == "E" and "NOREPLICAS" in answer.text
    assert seq_of(db) == SEQ


def test_a_replica_refuses_definitely(server, db):
    with PrivateRedis(tcp=True) as other:
        replica = other.client()
        replica.hset(META, mapping={"epoch": EPOCH, "run": RUN, "seq": SEQ, "cleared": 0})
        replica.replicaof("127.0.0.1", other.port)  # itself: never in sync, and read only
        try:
            answer = write(replica, version=2)
            assert answer.letter == "E"
        except redis_py.RedisError as e:
            assert "READONLY" in repr(e) or "read only" in str(e) or "MASTERDOWN" in str(e)
        replica.replicaof("NO", "ONE")
        assert int(replica.hget(META, "seq")) == SEQ


# ---- clear ----

def clear(db, epoch=EPOCH, run=RUN, deadline=LATER, new="c" * 32):
    return Answer(db.eval(CLEAR, 1, META, epoch, run, deadline, CHANNEL, new)[0])


def test_clear_begins_an_epoch_and_publishes_it(db):
    write(db, version=3)
    pubsub = db.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(CHANNEL)
    pubsub.get_message(timeout=5)
    answer = clear(db)
    assert (answer.letter, answer.seq) == ("L", SEQ + 1)
    assert db.hgetall(META) == {b"epoch": b"c" * 32, b"run": RUN.encode(), b"seq": b"1001", b"cleared": b"1001"}
    assert pubsub.get_message(timeout=5)["data"] == b"M1c" + b"c" * 32 + b"0" * 18 + pad(1001).encode()
    assert write(db, version=1, epoch="c" * 32).letter == "A"
    pubsub.close()


def test_clear_on_another_epoch_run_or_after_its_deadline_does_nothing(db):
    before = db.hgetall(META)
    assert clear(db, epoch="f" * 32).letter == "W"
    assert clear(db, run="f" * 40).letter == "W"
    assert clear(db, deadline=pad(1)).letter == "X"
    assert db.hgetall(META) == before


# ---- propose ----

def propose(db, seen_epoch, seen_run, epoch, run=RUN, min_seq=0, min_cleared=0):
    return db.eval(PROPOSE, 1, META, seen_epoch, seen_run, epoch, run, pad(min_seq), pad(min_cleared))


def test_an_epoch_is_proposed_for_an_empty_store(db):
    db.delete(META)
    seconds, _ = db.time()
    assert propose(db, "", "", "a" * 32) == b"P"
    meta = db.hgetall(META)
    assert (meta[b"epoch"], meta[b"run"], meta[b"cleared"]) == (b"a" * 32, RUN.encode(), b"0")
    assert seconds * 10**6 <= int(meta[b"seq"]) <= (seconds + 10) * 10**6


def test_seq_of_a_new_epoch_is_the_highest_of_all_that_is_known(db):
    high = 2**61 + 1
    assert propose(db, EPOCH, RUN, "a" * 32, min_seq=high) == b"P"
    assert seq_of(db) == high
    assert propose(db, "a" * 32, RUN, "b" * 32, min_seq=5) == b"P"
    assert seq_of(db) == high


def test_what_was_cleared_stays_cleared_in_a_new_epoch(db):
    high = 2**61 + 1
    assert propose(db, EPOCH, RUN, "a" * 32, min_cleared=high) == b"P"
    assert db.hget(META, "cleared") == str(high).encode()
    assert seq_of(db) == high
    assert propose(db, "a" * 32, RUN, "b" * 32, min_cleared=5) == b"P"
    assert db.hget(META, "cleared") == str(high).encode()


def test_cleared_beyond_seq_is_no_meta_to_write_under_and_is_overtaken_by_a_new_epoch(db):
    db.hset(META, "cleared", 2**61)
    assert write(db).letter == "W" and stored(db) is None
    assert propose(db, EPOCH, RUN, "a" * 32) == b"P"
    assert write(db, epoch="a" * 32).letter == "A" and seq_of(db) == 2**61 + 1


def test_cleared_survives_a_new_epoch(db):
    db.hset(META, "cleared", 77)
    propose(db, EPOCH, RUN, "a" * 32)
    assert db.hget(META, "cleared") == b"77"
    db.hset(META, "cleared", "077")
    propose(db, "a" * 32, RUN, "b" * 32)
    assert db.hget(META, "cleared") == b"0"


@pytest.mark.parametrize("field", ["epoch", "run", "seq", "cleared"])
@pytest.mark.parametrize("junk", [b"", b"junk!", b"\xff\0", b"9" * 50])
def test_an_unreadable_field_is_replaced(db, field, junk):
    db.hset(META, field, junk)
    seen_epoch, seen_run = "" if field == "epoch" else EPOCH, "" if field == "run" else RUN
    assert propose(db, seen_epoch, seen_run, "a" * 32) == b"P"
    assert write(db, version=1, epoch="a" * 32).letter == "A"


def test_meta_of_another_type_is_replaced(db):
    db.delete(META)
    db.set(META, "text")
    assert propose(db, "", "", "a" * 32, min_seq=2**61) == b"P"
    assert write(db, version=1, epoch="a" * 32).seq == 2**61 + 1


def test_of_many_proposals_one_wins(server, db):
    db.delete(META)
    outcomes = []

    def run(i):
        client = server.client()
        outcomes.append((propose(client, "", "", f"{i:032x}"), f"{i:032x}".encode()))
        client.close()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(1, 21)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    winners = [epoch for outcome, epoch in outcomes if outcome == b"P"]
    assert len(outcomes) == 20 and winners == [db.hget(META, "epoch")]
