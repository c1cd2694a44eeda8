"""Bytes that an entry takes beside its key and value, each cache filled until it evicts."""
import bench_requests as build
from bench_servers import fill_dcached, fill_memcached, memcached_stats

KEY_VALUE = 12 + 100


def dcached(servers, megabytes):
    """All of max_memory is counted: records, index, ghosts, floors and what lies idle."""
    pod = servers.start_dcached("pod-m", redis={"key_prefix": "memory:"},
                                cache={"max_memory": f"{megabytes}M", "max_value": "64K"})
    before, number = 0, 0
    while pod.stats()["evictions"] == before or number * 130 < megabytes << 20:
        keys = [build.name("mem", n) for n in range(number, number + 20000)]
        # Asked for twice, they stay: otherwise new keys push one another out of the smaller ring.
        fill_dcached(pod, keys, b"v" * 100, touch=2)
        number += len(keys)
    status = pod.status()
    pod.remove()
    return {"per_entry": (megabytes << 20) / status["entries"] - KEY_VALUE,
            "record": status["entries_bytes"] / status["entries"] - KEY_VALUE,
            "floors": status["floors_bytes"] / status["entries"], "entries": status["entries"]}


def memcached(servers, megabytes):
    """All of -m is counted, and the hash table, which comes on top of it."""
    server = servers.start_memcached("memcached-m", megabytes)
    number, stats = 0, {"evictions": "0"}
    while stats["evictions"] == "0":
        fill_memcached(server.socket, [build.name("mem", n) for n in range(number, number + 20000)], b"v" * 100)
        number += 20000
        stats = memcached_stats(server.socket)
    server.remove()
    items = int(stats["curr_items"])
    return {"per_entry": (int(stats["limit_maxbytes"]) + int(stats["hash_bytes"])) / items - KEY_VALUE,
            "record": int(stats["bytes"]) / items - KEY_VALUE, "entries": items}


def redis(servers):
    """used_memory before and after 100,000 keys."""
    with servers.redis.client() as client:
        client.flushall()
        before = client.info("memory")["used_memory"]
        for i in range(0, build.KEYS, 1000):
            client.mset({build.name("mem", n): b"v" * 100 for n in range(i, i + 1000)})
        used = client.info("memory")["used_memory"] - before
    return {"per_entry": used / build.KEYS - KEY_VALUE, "entries": build.KEYS}


def measure(servers, megabytes=64):
    return {"dcached": dcached(servers, megabytes), "memcached": memcached(servers, megabytes),
            "redis": redis(servers)}
