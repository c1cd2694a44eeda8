"""
The five ways in which a cache goes stale, each played between three daemons that share nothing but Redis. A
scenario takes a World, tells what happens, and fails with an AssertionError. The demo and
tests/integration/test_scenarios.py both run them.
"""
import threading
import time

import dcache
from stage import BOUND_S, HEARTBEAT_S, boottime, ms, until, value_of


def normal_updates(world):
    """updates v1, v2, v3 reach every pod"""
    key = "normal"
    for version in (1, 2, 3):
        written = world.write(world.writer, key, version)
        acknowledged = boottime()
        assert written.result == dcache.OK, written
        for reader in world.readers:
            reading, waited, _ = _follow(reader, key, version, acknowledged)
            assert reading.version == version and reading.value == value_of(key, version), reading
            world.tell(f"v{version} written by writer, read by {reader.name} {ms(waited)} after the answer")


def out_of_order(world):
    """an old message delivered after newer ones is rejected"""
    key = "order"
    for version in (1, 2, 3):
        assert world.write(world.writer, key, version).result == dcache.OK
    for reader in world.readers:
        until(lambda: _at_least(reader, key, 3), f"{reader.name} at v3")
    old = world.reader_1.proxy.wait_message(lambda payload: value_of(key, 1) in payload)

    before = {reader.name: reader.stats()["stale_rejected"] for reader in world.readers}
    heard = world.publish_again(old)
    world.tell(f"the message of v1 is published again after v3; {heard} pods receive it")
    assert heard == len(world.pods)
    for reader in world.readers:
        until(lambda: reader.stats()["stale_rejected"] > before[reader.name], f"{reader.name} rejects v1")
        lines, _ = until(lambda: [line for line in reader.log_lines("STALE DATA REJECTED") if key in line],
                         f"{reader.name} logs it")
        world.tell(f"{reader.name}: {lines[-1]}")
        reading = reader.get(key)
        assert reading.version == 3 and reading.value == value_of(key, 3), reading
        world.tell(f"{reader.name} still reads v{reading.version}")


def racing_writers(world):
    """ten writers race versions 1 to 10: only rising versions are accepted"""
    key = "race"
    pods = [world.writer, world.reader_1]
    clients = [pods[n % 2].connect() for n in range(10)]
    start = threading.Barrier(len(clients))
    answers = {}

    def write(version, client):
        start.wait()
        answers[version] = client.set(key, value_of(key, version), version=version)

    # The highest versions get the connections that were opened first: nothing favours the right order.
    threads = [threading.Thread(target=write, args=(10 - n, client)) for n, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    results = {version: answer.result for version, answer in answers.items()}
    accepted = sorted((answer.seq, version) for version, answer in answers.items() if answer.result == dcache.OK)
    order = [version for _, version in accepted]
    rejected = sorted(version for version, result in results.items() if result == dcache.STALE)
    world.tell("ten connections on two pods; accepted in this order: " + " ".join(f"v{v}" for v in order))
    world.tell("rejected as stale: " + (" ".join(f"v{v}" for v in rejected) or "none"))
    assert len(order) + len(rejected) == 10, results
    assert order == sorted(order) and order[-1] == 10, f"accepted {order}"
    acknowledged = boottime()
    for pod in world.pods:
        reading, _, _ = _follow(pod, key, 10, acknowledged)
        assert reading.version == 10 and reading.value == value_of(key, 10), reading
        world.tell(f"{pod.name} ends at v{reading.version}")


def lost_message(world):
    """cache-aside: one message is lost on the way, the link lives on"""
    def lose(reader, key):
        """v1 is cached there; the message of v3 is taken out on the way. Gives the moment of the answer."""
        assert world.write(world.writer, key, 1).result == dcache.OK
        until(lambda: _at_least(reader, key, 1), f"{reader.name} holds v1")
        drop = reader.proxy.drop_next_message(lambda payload: value_of(key, 3) in payload)
        assert world.write(world.writer, key, 3).result == dcache.OK
        acknowledged = boottime()
        assert drop.wait(), "the message of v3 never came to the proxy"
        return acknowledged

    before = {reader.name: (reader.stats(), reader.proxy.fired["accepted"]) for reader in world.readers}

    lose(world.reader_1, "aside-strong")
    begin = time.monotonic()
    reading = world.reader_1.get("aside-strong", strong=True)
    took = time.monotonic() - begin
    assert reading.version == 3, reading
    world.tell(f"reader-1 holds v1, the message of v3 is lost: a strong get returns v{reading.version} after "
               f"{ms(took)}")

    acknowledged = lose(world.reader_2, "aside-plain")
    _, _, older = _follow(world.reader_2, "aside-plain", 3, acknowledged)
    elapsed = boottime() - acknowledged
    world.tell(f"reader-2 holds v1, the message of v3 is lost: plain gets returned v1 {older} times, then v3 "
               f"{ms(elapsed)} after the write (H is {ms(HEARTBEAT_S)}, D is {ms(BOUND_S)})")

    for reader in world.readers:
        counters, accepted = before[reader.name]
        stats = reader.stats()
        assert stats["gaps"] + stats["generations"] > counters["gaps"] + counters["generations"], "no gap was seen"
        assert reader.proxy.fired["accepted"] == accepted, f"the link of {reader.name} did not live on"
    world.tell("both links lived on: no connection was made again")


def partition(world):
    """a stalled link: reads are refused after D, and right again once it heals"""
    key, reader, before = "partition", world.reader_2, world.reader_2.stats()
    assert world.write(world.writer, key, 1).result == dcache.OK
    until(lambda: _at_least(reader, key, 1), "reader-2 holds v1")

    reader.proxy.stall()
    assert world.write(world.writer, key, 2).result == dcache.OK
    outdated = boottime()  # v1 is, from now on
    for version in (3, 4):
        assert world.write(world.writer, key, version).result == dcache.OK
    world.tell("the link of reader-2 is stalled: no error, no end of file; v2, v3 and v4 are written meanwhile")

    served, refused = _read_until_refused_for(reader, key, 0.3)
    assert refused > 3, f"{len(served)} served, {refused} refused"
    assert all(reading.version == 1 for reading in served), {reading.version for reading in served}
    oldest_proof = max((reading.age_ns for reading in served), default=0) / 1e9
    oldest_version = max((reading.as_of_ns + reading.age_ns for reading in served), default=0) / 1e9 - outdated
    world.tell(f"reader-2 served v1 {len(served)} times, then refused {refused} times; the oldest proof was "
               f"{ms(oldest_proof)} old, v1 outdated for at most {ms(oldest_version)} (D is {ms(BOUND_S)})")
    assert oldest_proof <= BOUND_S and oldest_version <= BOUND_S, "a read was older than D"
    world.tell("dcachectl inspect on reader-2:")
    for line in reader.ctl("--timeout", "300ms", "inspect", key).split("\n"):
        world.tell("    " + line)

    reader.proxy.resume()
    reading, waited = until(lambda: _at_least(reader, key, 1), "reader-2 serves again", BOUND_S + 2)
    assert reading.version == 4 and reading.value == value_of(key, 4), f"the first read after healing: {reading}"
    world.tell(f"healed: the first answer of reader-2 is v{reading.version}, {ms(waited)} later")
    assert reader.proxy.fired["stall"] > 0
    assert reader.stats()["refused"] > before["refused"]


SCENARIOS = [normal_updates, out_of_order, racing_writers, lost_message, partition]


def _at_least(pod, key, version):
    """The reading, if it is of that version or a newer one."""
    reading = pod.get(key, timeout_ms=200)
    return reading if reading.result == dcache.OK and reading.version >= version else None


def _follow(pod, key, version, acknowledged):
    """
    Reads until the version is there. No older one may be served later than D after a newer one was acknowledged;
    that moment is the library's last check, not when this program gets to run again. And none may be served with a
    proof from after the acknowledgement: the first heartbeat started since then ends them. Gives the reading, the
    seconds waited, and how many older ones came first.
    """
    def reading_of_version():
        reading = pod.get(key, timeout_ms=200)
        if reading.result != dcache.OK or reading.version >= version:
            return reading if reading.result == dcache.OK else None
        late = (reading.as_of_ns + reading.age_ns) / 1e9 - acknowledged
        assert late <= BOUND_S, f"{pod.name} served v{reading.version} {ms(late)} after v{version} was written"
        proven = reading.as_of_ns / 1e9
        assert proven <= acknowledged, f"{pod.name} proved v{reading.version} current after v{version}"
        older.append(reading)
        return None

    older = []
    reading, waited = until(reading_of_version, f"{pod.name} at v{version}")
    return reading, waited, len(older)


def _read_until_refused_for(reader, key, seconds):
    """
    Reads on for D and until all reads have been refused for so long. Gives the readings that were served, and how
    many were refused. On a busy machine a call may reach its own deadline before the daemon's answer comes.
    """
    served, refused, begin, since = [], 0, time.monotonic(), None
    while since is None or time.monotonic() - since < seconds or time.monotonic() - begin < BOUND_S:
        assert time.monotonic() - begin < BOUND_S + 5, "reads go on being served"
        reading = reader.get(key, timeout_ms=20)
        if reading.result == dcache.OK:
            served.append(reading)
            since = None
        else:
            assert reading.result in (dcache.E_REFUSED, dcache.E_TIMEOUT), reading
            refused += 1
            since = since or time.monotonic()
    return served, refused
