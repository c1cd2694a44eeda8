"""Reads: dcached, memcached, Redis and the echo take turns under load.c; ratios are taken within a round."""
import json
import statistics
import subprocess

import bench_requests as build
from bench_servers import CLIENT_CPU, SERVER_CPU, VALUE, answer_bytes, on_cpu, pin, tool

TURN_MS = 400
LOST_MAX = 0.1
TRIES = 2  # a disturbed round is tried again, up to this many times as many rounds
PLACEMENTS = ("one CPU", "own CPU")
ONE, OWN = PLACEMENTS


def lost(turn, placement):
    """Share of the turn in which neither of the two could work."""
    duration = turn["duration_ns"]
    if placement == ONE:
        waited = duration - turn["server_run_ns"] - turn["client_run_ns"]
    else:
        waited = turn["server_wait_ns"] + turn["client_wait_ns"]
    return max(waited, turn["gaps_ns"]) / duration


class LoadFailed(Exception):
    """A server failed, or answered something else than the first time; load has said what."""


class Target:
    """One kind of request to one server. depth requests are under way on each connection."""

    def __init__(self, server, kind, depth=1, size="small"):
        self.server, self.kind, self.depth, self.size = server, kind, depth, size
        self.operations = build.MULTI if kind in ("dcached_mget", "memcached_multiget", "redis_mget") else 1


class Reads:
    def __init__(self, servers, rounds, directory):
        self.servers, self.rounds, self.dir = servers, rounds, directory
        self.keys = {size: build.names(size[:3], 1) for size in VALUE}
        self.files = {}
        self.turns = []  # of all groups, for the JSON

    def _requests(self, kind, size):
        if (kind, size) not in self.files:
            requests = getattr(build, kind)(self.keys[size])
            self.files[kind, size] = build.save(self.dir, f"{kind}-{size}", requests) + (requests[0],)
        return self.files[kind, size]

    def _argument(self, target, placement):
        if target.kind == "echo":
            path, length, first = self._requests("dcached_get", target.size)
            server = self.servers.start_echo(length, answer_bytes(self.servers.dcached[target.size].socket, first))
        else:
            path, length, _ = self._requests(target.kind, target.size)
            server = target.server
        pid = server.process.pid
        pin(pid, CLIENT_CPU if placement == ONE else SERVER_CPU)
        fields = (target.kind, pid, server.socket, path, length, target.depth, target.operations,
                  0 if target.kind == "dcached_set" else len(VALUE[target.size]))
        return ",".join(map(str, fields))

    def run(self, group, placement, connections, targets, rounds=None, lost=lost):
        """
        Rounds that were not disturbed: [{kind: turn}, ...]. lost(turn, placement) is the share of a turn that was
        lost.
        """
        rounds = rounds or self.rounds
        arguments = [self._argument(t, placement) for t in targets]
        tried = []
        with subprocess.Popen([tool("load"), str(TURN_MS), str(connections), *arguments], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, **on_cpu(CLIENT_CPU)) as load:
            try:
                for i in range(TRIES * rounds):
                    turns = self._round(load, i % len(targets))
                    tried.append((max(lost(t, placement) for t in turns.values()), turns))
                    if sum(r[0] <= LOST_MAX for r in tried) == rounds:
                        break
            finally:
                load.stdin.close()
                load.terminate()
        good = [turns for worst, turns in tried if worst <= LOST_MAX]
        # A machine that is busy with something else gives no good rounds: then the least bad, and it is said.
        used = good
        if len(good) < min(3, rounds):
            used = [turns for _, turns in sorted(tried, key=lambda r: r[0])[:min(3, rounds)]]
        self.turns.append({"group": group, "placement": placement, "connections": connections, "rounds": used,
                           "depths": {t.kind: t.depth for t in targets}, "tried": len(tried), "good": len(good)})
        return used

    @staticmethod
    def _round(load, first):
        load.stdin.write(f"{first}\n")
        load.stdin.flush()
        turns = {}
        for line in load.stdout:
            if line == "\n":
                return turns
            turn = json.loads(line)
            turns[turn["target"]] = turn
        raise LoadFailed


def rate(turn):
    """Operations per second."""
    return turn["operations"] * 1e9 / turn["duration_ns"]


def ratio(rounds, kind, other):
    return statistics.median(rate(r[kind]) / rate(r[other]) for r in rounds)


def cpu_per_operation_ns(turn):
    return turn["server_run_ns"] / turn["operations"]


def cpu_ratio(rounds, kind, other):
    """How many times more CPU the other's server takes for an operation."""
    return statistics.median(cpu_per_operation_ns(r[other]) / cpu_per_operation_ns(r[kind]) for r in rounds)


def read_groups(servers):
    """(name, connections, targets, pairs with a row in the table); pairs: (row, kind, other kind)."""
    d, large, m, r = servers.dcached["small"], servers.dcached["large"], servers.memcached, servers.redis
    multi = [("dcached_mget", d), ("memcached_multiget", m), ("redis_mget", r)]
    return [
        ("depth 1", 1, [Target(d, "dcached_get"), Target(None, "echo"), Target(m, "memcached_mg"),
                        Target(r, "redis_get")],
         [("d1_echo", "dcached_get", "echo"), ("d1_memcached", "dcached_get", "memcached_mg"),
          ("d1_redis", "dcached_get", "redis_get")]),
        ("depth 64, multi-get of 64", 1,
         [Target(d, "dcached_get", 64), Target(None, "echo", 64), Target(m, "memcached_mg", 64),
          Target(r, "redis_get", 64)] + [Target(server, kind) for kind, server in multi],
         [("d64_mg", "dcached_get", "memcached_mg"), ("d64_multiget", "dcached_get", "memcached_multiget"),
          ("d64_mget_multiget", "dcached_mget", "memcached_multiget"), ("d64_mget", "dcached_get", "redis_mget"),
          ("d64_mget_mget", "dcached_mget", "redis_mget"), ("d64_get", "dcached_get", "redis_get")]),
        ("depth 64, 1 KiB", 1,
         [Target(large, "dcached_get", 64, "large"), Target(m, "memcached_mg", 64, "large"),
          Target(large, "dcached_mget", 1, "large"), Target(r, "redis_mget", 1, "large")],
         [("d64k_mg", "dcached_get", "memcached_mg"), ("d64k_mget", "dcached_get", "redis_mget"),
          ("d64k_mget_mget", "dcached_mget", "redis_mget")]),
        ("16 connections, depth 1", 16,
         [Target(d, "dcached_get"), Target(m, "memcached_mg"), Target(r, "redis_get")],
         [("c16_memcached", "dcached_get", "memcached_mg")]),
        ("64 connections, depth 1", 64,
         [Target(d, "dcached_get"), Target(m, "memcached_mg"), Target(r, "redis_get")], []),
        ("16 connections, depth 16", 16,
         [Target(d, "dcached_get", 16), Target(m, "memcached_mg", 16), Target(r, "redis_get", 16)], []),
        ("depth 1, 1 KiB", 1, [Target(large, "dcached_get", 1, "large"), Target(m, "memcached_mg", 1, "large"),
                               Target(r, "redis_get", 1, "large")], []),
    ]
