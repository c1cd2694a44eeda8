"""Events: how soon one is applied in another pod, and how many are applied in a second."""
import os
import socket
import statistics
import subprocess
import time

import bench_requests as build
from bench_servers import CLIENT_CPU, SERVER_CPU, cpu_ns, on_cpu, pin, recv_until, tool
from dcached_script import Store

DELAYS, PAUSE_US = 500, 300
BATCH = 16  # keys in one call of the script, as a busy daemon sends them


def _delays(servers, requests, notifier, greeting):
    """Microseconds [(write to notice's arrival, write to the stamp in the notice), ...]."""
    path, length = build.save(servers.dir, "event-requests", requests)
    hello = os.path.join(servers.dir, "event-greeting")
    with open(hello, "wb") as f:
        f.write(greeting)
    done = subprocess.run([tool("event_delay"), servers.store.socket, path, str(length), notifier, hello,
                           str(PAUSE_US)], stdout=subprocess.PIPE, text=True, check=True, **on_cpu(SERVER_CPU))
    return [tuple(int(n) / 1000 for n in line.split()) for line in done.stdout.splitlines()]


def delay(servers, rounds):
    """
    Per round: raw, the p50 from a write's time in Redis to a raw subscriber's callback, and applied, that to the
    index of another pod.

    What a pod has applied is seen from outside through the event of `watch`, which crosses one more socket. The
    raw subscriber sends a notice of the same length across one like it, right from its callback; the time that
    takes is subtracted from the event's: applied = watch - (notice - callback). Redis and the observer are on one
    CPU, the subscriber on the other.
    """
    pod = servers.start_dcached("pod-w", redis={"key_prefix": "watched:"})
    watched = Store(servers.store, "watched:")
    bare = Store(servers.store, "raw:", create=True)
    pin(servers.store.process.pid, SERVER_CPU)
    pin(pod.process.pid, CLIENT_CPU)
    results = []
    for i in range(rounds):
        keys = build.names("evt", i, 1024)[:DELAYS]
        path = os.path.join(servers.dir, f"raw-{i}")
        raw = servers.start_process([tool("raw_subscriber"), servers.store.socket, bare.channel, path], path)
        pin(raw.process.pid, CLIENT_CPU)
        notices = _delays(servers, [build.script_write(bare, [key]) for key in keys], path, b"")
        raw.remove()
        events = _delays(servers, [build.script_write(watched, [key]) for key in keys], pod.socket,
                         build.rpc(1, "watch"))
        callback = statistics.median(stamp for _, stamp in notices)
        notice = statistics.median(arrived for arrived, _ in notices)
        watch = statistics.median(arrived for arrived, _ in events)
        results.append({"raw_us": callback, "applied_us": watch - (notice - callback), "notice_us": notice,
                        "watch_us": watch})
    pod.remove()
    return results


def _publish(servers, store, seed):
    """Every key once; returns how many."""
    keys = build.names("evt", seed)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(servers.store.socket)
        for i in range(0, len(keys), 4 * BATCH):
            calls = [build.script_write(store, keys[j:j + BATCH]) for j in range(i, i + 4 * BATCH, BATCH)]
            calls = [c for j, c in enumerate(calls) if i + j * BATCH < len(keys)]
            s.sendall(b"".join(calls))
            count = len(keys[i:i + 4 * BATCH])
            answer = recv_until(s, lambda data, n=count: data.count(b"$58\r\n") >= n and data[-2:] == b"\r\n")
            assert answer.count(b"\r\nA") == count, answer[:200]
    return len(keys)


def applied_per_second(servers, rounds):
    """
    Events applied per second of the daemon's CPU time. The daemon is stopped while every key is written once by
    another pod, then goes on and finds all the messages waiting; D is so long that its proof outlives the stop. In
    the first pass, which is not counted, it learns the keys.
    """
    pod = servers.start_dcached("pod-e", redis={"key_prefix": "applied:"},
                                staleness={"bound": "60s", "max_stale": "60s"})
    store = Store(servers.store, "applied:")
    pin(servers.store.process.pid, SERVER_CPU)
    pin(pod.process.pid, CLIENT_CPU)
    os.sched_setaffinity(0, {SERVER_CPU})
    rates = []
    try:
        for i in range(rounds + 1):
            before = pod.stats()
            pod.pause()
            count = _publish(servers, store, i)
            used = cpu_ns(pod.process.pid)
            pod.resume()
            deadline = time.monotonic() + 30
            while pod.stats()["messages"] - before["messages"] < count:
                assert time.monotonic() < deadline, pod.log()
                time.sleep(0.02)
            used = cpu_ns(pod.process.pid) - used
            after = pod.stats()
            assert after["accepted"] - before["accepted"] == count, (before, after)
            assert after["gaps"] == before["gaps"], (before, after)
            if i > 0:
                rates.append(count * 1e9 / used)
    finally:
        os.sched_setaffinity(0, {CLIENT_CPU, SERVER_CPU})
    pod.remove()
    return rates
