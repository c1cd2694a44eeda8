"""Committed writes through dcached beside the bare script by redis-benchmark."""
import itertools
import re
import statistics
import subprocess

import bench_requests as build
from bench_reads import LOST_MAX, ONE, LoadFailed, Reads, Target, rate
from bench_servers import CLIENT_CPU, SERVER_CPU, on_cpu, pin
from dcached_script import LATER, Store

CONNECTIONS, DEPTH = 32, 16
BENCHMARK_WRITES = 40000  # takes about as long as a turn of the load


_runs = itertools.count(1)  # redis-benchmark may draw the same numbers again in its next run


def gaps(turn, placement=ONE):
    """Waiting for Redis is no loss here."""
    return turn["gaps_ns"] / turn["duration_ns"]


def redis_benchmark(servers, store):
    """Bare writes per second: the same script and arguments, one key each, auto version, 100 bytes."""
    arguments = [store.meta, store.record.decode() + "k__rand_int__", store.epoch, store.run, store.channel,
                 "bench", "s", "k__rand_int__", "", "0", f"{next(_runs):020x}__rand_int__", "0", "1", LATER,
                 "v" * 100]
    with servers.redis.client() as client:
        before = store.seq(client)
        done = subprocess.run(["redis-benchmark", "-s", servers.redis.socket, "-c", str(CONNECTIONS), "-P",
                               str(DEPTH), "-n", str(BENCHMARK_WRITES), "-r", str(build.KEYS), "-q", "EVALSHA",
                               store.sha, "2", *arguments], stdout=subprocess.PIPE, text=True, check=True,
                              **on_cpu(CLIENT_CPU))
        committed = store.seq(client) - before
    # An id that is drawn again for the key it was drawn for before is a duplicate.
    assert 0.99 * BENCHMARK_WRITES < committed <= BENCHMARK_WRITES, committed
    return float(re.findall(r"([0-9.]+) requests per second", done.stdout)[-1])


def measure(servers, reads: Reads):
    """[(dcached's writes/s, the bare script's), ...]. Redis has a CPU of its own, all else is on the other."""
    store = Store(servers.redis, "bench:", create=True)
    pin(servers.store.process.pid, SERVER_CPU)
    pin(servers.redis.process.pid, SERVER_CPU)
    target, pairs = Target(servers.dcached["small"], "dcached_set", DEPTH), []
    for _ in range(2 * reads.rounds):
        before = servers.dcached["small"].stats()["writes_accepted"]
        try:
            [turns] = reads.run("writes", ONE, CONNECTIONS, [target], 1, gaps)
        except LoadFailed:  # a machine that stands still for the deadline of a write makes it fail, rightly
            continue
        turn = turns["dcached_set"]
        accepted = servers.dcached["small"].stats()["writes_accepted"] - before
        assert accepted >= turn["operations"], (accepted, turn)
        bare = redis_benchmark(servers, store)
        if gaps(turn) <= LOST_MAX:
            pairs.append((rate(turn), bare))
        if len(pairs) == reads.rounds:
            break
    return pairs


def summary(pairs):
    return {"ratio": statistics.median(a / b for a, b in pairs), "dcached": statistics.median(a for a, _ in pairs),
            "bare": statistics.median(b for _, b in pairs)}
