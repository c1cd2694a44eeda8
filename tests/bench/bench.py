#!/usr/bin/python3
"""
Measures dcached beside memcached, Redis and a bare echo on this machine, and says which gates it meets.

    bench.py [--quick] [--json FILE] [--only reads,writes,events,memory,misses]

README.md of this folder says how it measures and what came out. Exit 0 whatever the figures are.
"""
import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys

import bench_events
import bench_memory
import bench_reads
import bench_writes
from bench_reads import ONE, OWN, PLACEMENTS
from bench_servers import VALUE, Servers, tool

PARTS = ("reads", "writes", "events", "memory", "misses")
# id: quantity, gate, stretch, and whether more is better.
ROWS = {
    "d1_echo": ("depth-1 get / raw epoll echo", 0.85, 0.95, True),
    "d1_memcached": ("depth-1 get / memcached mg", 1.0, 1.15, True),
    "d1_redis": ("depth-1 get / Redis GET", 1.15, 1.4, True),
    "d64_mg": ("depth 64: get / memcached mg", 1.8, 2.5, True),
    "d64_multiget": ("depth 64: get / memcached multiget", 1.8, 2.5, True),
    "d64_mget_multiget": ("mget of 64 / memcached multiget", 1.8, 2.5, True),
    "d64_mget": ("depth 64: get / Redis MGET", 2.0, 3, True),
    "d64_mget_mget": ("mget of 64 / Redis MGET", 2.0, 3, True),
    "d64_get": ("depth 64: get / Redis GET", 2.8, 4, True),
    "d64k_mg": ("depth 64, 1 KiB: get / memcached mg", 1.7, 2.5, True),
    "d64k_mget": ("depth 64, 1 KiB: get / Redis MGET", 2.0, 2.5, True),
    "d64k_mget_mget": ("mget of 64, 1 KiB / Redis MGET", 2.0, 2.5, True),
    "c16_memcached": ("16 connections, depth 1: get / memcached mg", 1.1, 1.35, True),
    "writes": ("committed writes / bare script", 0.8, 0.95, True),
    "event_delay": ("published to applied / to a raw callback, p50", 1.5, 1.15, False),
    "events": ("events applied per second of one core", 1e6, 2e6, True),
    "memory": ("bytes per entry beside key and value / memcached", 0.7, 0.55, False),
    "misses_1": ("miss ratio / LRU, Zipf 0.99, cache 1 %", 0.88, 0.83, False),
    "misses_10": ("miss ratio / LRU, Zipf 0.99, cache 10 %", 0.88, 0.83, False),
}
OWN_CPU_UNGATED = {"d1_echo"}  # its gate speaks of one CPU


class Report:
    def __init__(self):
        self.rows, self.notes, self.details = [], [], {}

    def row(self, name, figure, placement="", cpu=None):
        quantity, gate, stretch, more = ROWS[name]
        met = figure >= gate if more else figure <= gate
        stretched = figure >= stretch if more else figure <= stretch
        verdict = "stretch" if stretched else "met" if met else "MISSED"
        if placement == OWN and name in OWN_CPU_UNGATED:
            verdict = "-"
        self.rows.append({"id": name, "quantity": quantity, "placement": placement, "gate": gate,
                          "stretch": stretch, "figure": figure, "by_cpu": cpu, "verdict": verdict})

    def print(self):
        def number(x):
            return f"{x / 1e6:.2f} M" if x >= 1e5 else f"{x:.2f}"
        print(f"\n| {'quantity':<49} | {'placement':<9} | gate      | stretch | figure | verdict | by CPU |")
        print("|---|---|---|---|---|---|---|")
        for r in self.rows:
            sign = ">=" if ROWS[r["id"]][3] else "<="
            print(f"| {r['quantity']:<49} | {r['placement']:<9} | {sign} {number(r['gate']):<6} | "
                  f"{number(r['stretch']):<7} | {number(r['figure']):<6} | {r['verdict']:<7} | "
                  f"{number(r['by_cpu']) if r['by_cpu'] else '':<6} |")
        for note in self.notes:
            print(note)


def say(text):
    print(text, flush=True)


def median_of(rounds, kind, what):
    return statistics.median(what(r[kind]) for r in rounds)


def print_turns(rounds):
    for kind in rounds[0]:
        us = {q: median_of(rounds, kind, lambda t, q=q: t[f"{q}_ns"] / 1000) for q in ("p50", "p99", "p999")}
        say(f"    {kind:<20} {median_of(rounds, kind, bench_reads.rate):>10,.0f} /s   "
            f"p50 {us['p50']:7.1f}  p99 {us['p99']:7.1f}  p99.9 {us['p999']:8.1f} us   "
            f"server CPU {median_of(rounds, kind, bench_reads.cpu_per_operation_ns):7,.0f} ns per operation")


def run_reads(report, servers, reads):
    for size in VALUE:
        servers.fill(reads.keys[size], size)
    groups = bench_reads.read_groups(servers)
    for placement in PLACEMENTS:
        for name, connections, targets, pairs in groups:
            say(f"\n{name}, {placement}")
            rounds = reads.run(name, placement, connections, targets)
            tried = reads.turns[-1]
            if tried["good"] < len(rounds):
                report.notes.append(f"noisy: {name}, {placement}: every round lost more than a tenth to stalls")
            print_turns(rounds)
            if tried["tried"] > tried["good"]:
                say(f"    {tried['tried'] - tried['good']} of {tried['tried']} rounds were disturbed")
            for row, kind, other in pairs:
                report.row(row, bench_reads.ratio(rounds, kind, other), placement,
                           bench_reads.cpu_ratio(rounds, kind, other))


def run_writes(report, servers, reads):
    say("\ncommitted writes, 32 connections, 16 deep")
    pairs = bench_writes.measure(servers, reads)
    if not pairs:
        report.notes.append("no figure: committed writes: every round was disturbed")
        return
    report.details["writes"] = result = bench_writes.summary(pairs)
    say(f"    dcached {result['dcached']:,.0f} /s   redis-benchmark with the bare script {result['bare']:,.0f} /s")
    report.row("writes", result["ratio"])


def run_events(report, servers, reads):
    say("\nevents")
    report.details["event_delay"] = delays = bench_events.delay(servers, reads.rounds)
    for what, text in (("raw_us", "to a raw callback"), ("applied_us", "to the index of a pod"),
                       ("notice_us", "to the raw subscriber's notice"), ("watch_us", "to the event of watch")):
        say(f"    {text:<31} p50 {statistics.median(d[what] for d in delays):7.1f} us")
    report.row("event_delay", statistics.median(d["applied_us"] / d["raw_us"] for d in delays))
    report.details["events"] = rates = bench_events.applied_per_second(servers, reads.rounds)
    say(f"    applied per second of CPU time  {statistics.median(rates):,.0f}")
    report.row("events", statistics.median(rates))


def run_memory(report, servers, reads):
    say("\nmemory, 12-byte keys and 100-byte values")
    report.details["memory"] = result = bench_memory.measure(servers)
    for server, figures in result.items():
        say(f"    {server:<10} " + "   ".join(f"{name} {value:,.1f}" for name, value in figures.items()))
    report.row("memory", result["dcached"]["per_entry"] / result["memcached"]["per_entry"])


def run_misses(report, servers, reads):
    short = ["--short"] if reads.rounds < 7 else []
    text = subprocess.run([tool("miss_ratio"), *short], stdout=subprocess.PIPE, text=True, check=False).stdout
    say("\n" + text)
    figures = [float(line.split()[6]) for line in text.splitlines()
               if re.match(r"Zipf 0\.99 +bytes", line)]
    report.row("misses_1", figures[0])
    report.row("misses_10", figures[1])


def machine():
    model = "unknown"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":")[1].strip()
    return f"{os.cpu_count()} CPUs ({model}), Linux {platform.release()}"


def main():
    parser = argparse.ArgumentParser(description="Measures dcached beside memcached, Redis and a bare echo.")
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 7: does it run, not how fast")
    parser.add_argument("--json", metavar="FILE", help="everything measured")
    parser.add_argument("--only", metavar="PARTS", default=",".join(PARTS), help="of " + ",".join(PARTS))
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two CPUs are needed")
    # Ctrl-C and kill alike leave the `with` below, which ends every server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    say(machine())
    with Servers() as servers:
        reads = bench_reads.Reads(servers, 3 if arguments.quick else 7, servers.dir)
        for part in parts:
            globals()[f"run_{part}"](report, servers, reads)
    report.print()
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as f:
            json.dump({"machine": machine(), "rows": report.rows, "reads": reads.turns, "notes": report.notes,
                       "details": report.details}, f, indent=1)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
