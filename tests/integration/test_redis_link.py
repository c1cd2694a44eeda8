"""daemon/redis on its own against a real server: links, requests, and what happens when they break."""
import re

import pytest

from private_redis import PrivateRedis, free_port
from redis_driver import Driver

META = "dc:{0}!meta"


@pytest.fixture
def server():
    with PrivateRedis(tcp=True) as r:
        yield r


def field(line, name):
    return re.search(rf"\b{name}=(\S*)", line).group(1)


def connect(server, **options):
    return Driver("unix:" + server.socket, **options).ready()


def test_a_write_is_acknowledged_published_and_fetched(server):
    with connect(server).settle().subscribe() as d:
        d.send("set 7 key value 5 0 0")
        first = d.expect("")
        second = d.expect("")
        written = first if first.startswith("written") else second
        message = second if written is first else first
        assert "status=ok result=accepted version=5" in written
        assert message.startswith("message record key=key ttl=0 kind=v version=5")
        assert field(message, "seq") == field(written, "seq") and message.endswith("value=value")
        fetched = d.ask("fetch 8 key", "fetched id=8")
        assert "meta=ok kind=v version=5" in fetched and fetched.endswith("source=pod size=5 value=value")
        assert d.ask("head 9 key", "fetched id=9").endswith("source=pod size=0 value=")
        assert d.ask("fetch 10 none", "fetched id=10").endswith("absent")


def test_fetches_of_one_turn_share_one_read_of_meta(server):
    with connect(server).settle() as d:
        before = server.client().info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]
        d.send(*[f"fetch {i} key{i}" for i in range(100, 120)])
        for i in range(100, 120):
            d.expect(f"fetched id={i} status=ok")
        after = server.client().info("commandstats")["cmdstat_hmget"]["calls"]
        assert 1 <= after - before < 20


def test_writes_of_one_turn_share_one_script_call(server):
    with connect(server).settle() as d:
        before = server.client().info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        d.send(*[f"set {i} key{i} v {i} 0 0" for i in range(100, 300)])
        for i in range(100, 300):
            assert f"accepted version={i} " in d.expect(f"written id={i} status=ok")
        assert 1 <= server.client().info("commandstats")["cmdstat_evalsha"]["calls"] - before < 100


def test_each_outcome_of_a_write_arrives(server):
    with connect(server).settle() as d:
        server.client().rpush("dc:{0}:list", "x")
        for line, result in [("set 1 k a 5 0 0", "accepted"), ("set 2 k a 4 0 0", "stale"),
                             ("set 3 k a 5 0 0", "duplicate"), ("set 4 k b 5 0 0", "conflict"),
                             ("set 5 k b 0 0 1", "indeterminate"), ("set 6 list b 1 0 0", "corrupt"),
                             ("delete 7 k 9223372036854775807", "accepted"), ("set 8 k x 0 0 0", "exhausted")]:
            assert f"result={result} " in d.ask(line, "written")
        server.client().hset(META, "run", "other")
        assert "result=wrong-epoch " in d.ask("set 9 k x 0 0 0", "written")
        assert "result=wrong-epoch " in d.ask("clear 10", "written")


def test_clear_gives_the_new_epoch_and_old_records_are_swept(server):
    with connect(server).settle().subscribe() as d:
        for i in range(1200):
            d.send(f"set {i} key{i} v 1 0 0")
        for i in range(1200):
            d.expect(f"written id={i} status=ok")
        server.client().set("dc:{0}other", "x")
        server.client().set("dcX{0}:other", "x")
        cleared = d.ask("clear 5000", "written id=5000")
        assert "result=cleared" in cleared
        assert server.client().hget(META, "epoch").decode() == field(cleared, "epoch")
        assert "removed=1200" in d.expect("log 2 cleared records are removed")
        assert set(server.client().keys()) == {b"dcX{0}:other", b"dc:{0}!meta", b"dc:{0}other"}


def test_pings_come_back_with_their_nonces(server):
    with connect(server).subscribe() as d:
        d.send(*[f"ping {n}" for n in range(5)])
        for n in range(5):
            d.expect(f"pong {n}", absent=("log 1", "down"))


def test_a_server_that_comes_later_is_found():
    r = PrivateRedis()
    with Driver("unix:" + r.socket) as d:
        d.expect("log 1 cannot connect")
        assert "waiting" in d.ask("status", "status")
        assert "status=not-sent" in d.ask("fetch 3 key", "fetched id=3")
        assert "status=not-sent" in d.ask("set 4 key v 1 0 0", "written id=4")
        assert "status=not-sent" in d.ask("propose 4", "proposed")
        assert "status=not-sent" in d.ask("identity 4", "identity")
        with r:
            d.ready()
            d.settle()


def test_a_port_by_name_is_tried_on_all_its_addresses(server):
    with Driver(f"localhost:{server.port}").ready() as d:
        d.settle()
    with Driver(f"localhost:{free_port()}") as d:
        assert "connection refused" in d.expect("log 1 cannot connect")


def test_a_name_that_does_not_exist_is_said_so():
    with Driver("no-such-host.invalid:1") as d:
        d.expect("log 1 cannot connect", timeout=15)


def test_a_restarted_server_has_another_run(server):
    with connect(server) as d:
        runs = set()
        for _ in range(3):
            runs.add(field(d.ask("identity 1", "identity id=1 status=ok"), "run"))
            server.restart(kill=True)
            d.ready()
        assert len(runs) == 3


def test_client_kill_takes_the_link_down_and_up_again(server):
    with connect(server).settle().subscribe() as d:
        for _ in range(20):
            server.client().execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            d.expect("down data")
            d.expect("up data")
            assert "status=ok" in d.ask("fetch 1 k", "fetched id=1")
            server.client().execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            d.expect("down subscription")
            d.expect("up subscription")
            d.subscribe()


def test_reset_closes_the_link_and_makes_a_new_one(server):
    with connect(server).settle().subscribe() as d:
        d.ask("reset subscription", "down subscription")
        d.expect("up subscription")
        d.ask("reset data", "down data")
        d.expect("up data")


def test_nothing_is_answered_after_link_down(server):
    with connect(server, deadline_ms=200).settle() as d:
        server.pause()
        d.send("fetch 50 key", "set 51 key v 1 0 0", "identity 52")
        d.expect("down data", absent=("fetched", "written", "identity"))
        server.resume()
        d.expect("up data", absent=("fetched", "written", "identity"))
        assert "status=ok" in d.ask("fetch 53 key", "fetched", absent=("written", "identity"))


def test_an_answer_that_does_not_come_closes_the_connection(server):
    with connect(server, deadline_ms=200).subscribe() as d:
        server.pause()
        d.ask("ping 1", "log 1 connection to Redis lost", absent=("pong",))
        d.expect("down subscription", absent=("pong",))
        server.resume()
        d.expect("up subscription", absent=("pong",))


def test_writes_of_the_largest_size_are_queued_together_and_sent(server):
    largest = 80_000_000
    with connect(server, max_value=largest, deadline_ms=60000).settle() as d:
        d.send(f"set 1 a *{largest} 1 0 0", f"set 2 b *{largest} 1 0 0")
        for i in (1, 2):
            assert "accepted" in d.expect(f"written id={i} status=ok", timeout=60, absent=("down",))


def test_a_queue_that_redis_does_not_take_closes_the_connection_at_its_limit(server):
    with connect(server, max_value=1 << 23, deadline_ms=60000).settle() as d:
        server.pause()
        for i in range(9):
            d.send(f"set {i} k *{1 << 23} 1 0 0")
            d.ask("status", "status", absent=("down",))  # a turn of the loop
        d.send(f"set 9 k *{1 << 23} 1 0 0")
        assert "more than 80 MiB are queued" in d.expect("log 1 connection to Redis lost", absent=("down",))
        server.resume()
        d.expect("up data")


def test_a_lost_script_is_brought_back_unnoticed(server):
    with connect(server).settle() as d:
        for i in range(1, 6):
            server.client().script_flush()
            d.send(f"set {i} a v {i} 0 0", f"set {i + 100} b v {i} 0 0")
            d.expect(f"written id={i} status=ok result=accepted")
            d.expect(f"written id={i + 100} status=ok result=accepted")


def test_user_password_and_database_are_used(server):
    admin = server.client()
    admin.execute_command("ACL", "SETUSER", "u", "reset", "on", ">pw", "~dc:*", "&cache:*", "+@all")
    admin.config_set("requirepass", "secret")
    with connect(server, user="u", password="pw", db=3).settle() as d:
        assert "accepted" in d.ask("set 1 key v 1 0 0", "written")
    with connect(server, password="secret", db=3) as d:
        assert "version=1 " in d.ask("fetch 1 key", "fetched")
        assert not any("secret" in line for line in d.seen)
    for wrong, code in [({"user": "u", "password": "no"}, "WRONGPASS"), ({}, "NOAUTH")]:
        with Driver("unix:" + server.socket, **wrong) as d:
            assert code in d.expect("log 1 cannot connect")


def test_databases_do_not_hear_each_other(server):
    with connect(server, db=1).settle().subscribe() as one, connect(server, db=2).settle().subscribe() as two:
        one.ask("set 1 key v 1 0 0", "written id=1 status=ok")
        one.expect("message") if not any(x.startswith("message") for x in one.seen) else None
        two.ask("ping 9", "pong 9", absent=("message",))


def test_no_right_to_info_is_said_and_keeps_the_link_down(server):
    admin = server.client()
    admin.execute_command("ACL", "SETUSER", "u", "reset", "on", ">pw", "~*", "&*", "+@all", "-info")
    with Driver("unix:" + server.socket, user="u", password="pw") as d:
        d.expect("log 0 this Redis user needs the right to INFO", absent=("up",))
        admin.execute_command("ACL", "SETUSER", "u", "+info")
        d.ready()


def test_rights_that_are_missing_only_cost_what_they_are_for(server):
    admin = server.client()
    admin.execute_command("ACL", "SETUSER", "u", "reset", "on", ">pw", "~*", "&*", "+@all", "-config", "-script",
                          "-scan")
    with connect(server, user="u", password="pw").settle() as d:
        assert "durability=[unknown: no right to CONFIG GET]" in d.ask("status", "status")
        assert "accepted" in d.ask("set 1 key v 1 0 0", "written")
        d.ask("clear 2", "written id=2 status=ok result=cleared")
        d.expect("log 1 cleared records stay in Redis")


def test_a_right_taken_away_is_a_definite_error(server):
    admin = server.client()
    admin.execute_command("ACL", "SETUSER", "u", "reset", "on", ">pw", "~*", "&*", "+@all")
    with connect(server, user="u", password="pw").settle() as d:
        admin.execute_command("ACL", "SETUSER", "u", "-evalsha", "-eval")
        assert "status=definite text=NOPERM" in d.ask("set 1 key v 1 0 0", "written")
        admin.execute_command("ACL", "SETUSER", "u", "-getrange")
        assert "status=definite meta=ok text=NOPERM" in d.ask("fetch 2 key", "fetched")
        admin.execute_command("ACL", "SETUSER", "u", "-hmget")
        assert re.search("status=definite .*text=NOPERM", d.ask("fetch 3 key", "fetched"))
        assert re.search("status=definite .*text=NOPERM", d.ask("identity 4", "identity"))


def test_a_denied_publish_is_unknown(server):
    admin = server.client()
    admin.execute_command("ACL", "SETUSER", "u", "reset", "on", ">pw", "~*", "resetchannels", "+@all")
    with connect(server, user="u", password="pw").settle() as d:
        assert "status=unknown" in d.ask("set 1 key v 1 0 0", "written")


def test_a_denied_subscription_is_said(server):
    admin = server.client()
    admin.execute_command("ACL", "SETUSER", "u", "reset", "on", ">pw", "~*", "resetchannels", "+@all")
    with connect(server, user="u", password="pw") as d:
        assert "NOPERM" in d.ask("subscribe", "log 1 connection to Redis lost")


@pytest.mark.parametrize("options,text", [
    ({"appendonly": "yes", "appendfsync": "everysec"}, "aof everysec"),
    ({"appendonly": "yes", "appendfsync": "always"}, "aof always"), ({"save": "60 1"}, "rdb"), ({}, "none")])
def test_durability_is_what_redis_is_configured_for(options, text):
    with PrivateRedis(**options) as r, connect(r) as d:
        line = d.ask("status", "status")
        assert f"durability=[{text}]" in line and "role=master" in line and "version=" in line


@pytest.mark.parametrize("text,why", [
    (b"plain", "unknown format"), (b"1", "version"), (b"1" + b"3" * 70 + b"v" + b"g" * 34, "hexadecimal"),
    (b"1" * 71 + b"t" + b"a" * 32 + b"00value", "value"), (b"\0" * 200, "format")],
                         ids=["text", "cut", "letters", "tombstone-with-value", "zeros"])
def test_an_unreadable_record_is_invalid(server, text, why):
    with connect(server).settle() as d:
        server.client().set("dc:{0}:k", text)
        line = d.ask("fetch 1 k", "fetched")
        assert "status=ok" in line and " invalid " in line and why in line


def test_a_key_of_another_type_is_invalid(server):
    with connect(server).settle() as d:
        server.client().rpush("dc:{0}:k", "x")
        assert " invalid " in d.ask("fetch 1 k", "fetched")


def test_a_value_above_the_limit_is_invalid_however_large(server):
    with connect(server).settle() as d:
        d.ask("set 1 k *1000000 1 0 0", "written id=1 status=ok result=accepted")
    with connect(server, max_value=1000).settle() as d:
        assert "longer than max_value" in d.ask("fetch 1 k", "fetched")
        assert "size=0" in d.ask("head 1 k", "fetched")
        assert "status=ok" in d.ask("fetch 2 other", "fetched", absent=("down",))


def test_a_large_value_is_announced_without_being_carried(server):
    with connect(server).settle().subscribe() as d:
        d.send("set 1 k *65536 1 0 0", "set 2 l *65537 1 0 0")
        lines = [d.expect("") for _ in range(4)]
        messages = [line for line in lines if line.startswith("message")]
        assert "kind=v" in messages[0] and "size=65536" in messages[0]
        assert "kind=b" in messages[1] and "size=0" in messages[1]
        assert "size=65537" in d.ask("fetch 3 l", "fetched")


@pytest.mark.parametrize("payload", [b"", b"plain", b"M1", b"M2" + b"0" * 200, b"\xff" * 300, b"x" * 3000000],
                         ids=["empty", "text", "cut", "other-schema", "binary", "huge"])
def test_an_unreadable_message_is_only_counted(server, payload):
    with connect(server).subscribe() as d:
        server.client().publish("cache:invalidate:0:dc:{0}", payload)
        d.expect("bad-message", absent=("down", "message"))
        d.ask("ping 1", "pong 1", absent=("down", "message"))


@pytest.mark.parametrize("change", [("seq", "x"), ("cleared", "01"), ("epoch", "E" * 32), ("run", "")])
def test_meta_with_a_silly_field_is_invalid_and_can_be_replaced(server, change):
    with connect(server).settle() as d:
        server.client().hset(META, *change)
        assert "meta=invalid" in d.ask("identity 1", "identity")
        assert "meta=invalid" in d.ask("fetch 1 k", "fetched")
        d.ask("propose 1", "proposed status=ok")
        assert "meta=ok" in d.ask("identity 1", "identity")


def test_meta_of_another_type_is_invalid_and_can_be_replaced(server):
    with connect(server) as d:
        server.client().set(META, "x")
        assert "meta=invalid" in d.ask("identity 1", "identity")
        d.ask("propose 1", "proposed status=ok")
        assert "meta=ok" in d.ask("identity 1", "identity")


def test_a_replica_is_no_master(server):
    with connect(server) as d:
        assert "master=1" in d.ask("identity 1", "identity")
        server.client().replicaof("127.0.0.1", 1)
        assert "master=0" in d.ask("identity 2", "identity")


def test_megabytes_go_both_ways(server):
    with connect(server, max_value=20000000, deadline_ms=5000).settle() as d:
        d.ask("set 1 k *20000000 1 0 0", "written id=1 status=ok result=accepted", timeout=20)
        assert "size=20000000" in d.ask("fetch 2 k", "fetched", timeout=20)
