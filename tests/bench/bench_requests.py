"""
Requests of every protocol, built before anything is measured. Each function gives the bytes of one request; those
of one kind have one length, because keys have one length and ids of MessagePack-RPC stay below 128.
"""
import itertools
import os
import random

import msgpack

import dcached_script

KEYS, MULTI = 100000, 64


def name(prefix, number):
    return f"{prefix}:{number:08x}".encode()


def names(prefix, seed, count=KEYS):
    """Every key once, in random order, as many as fill whole multi-gets and bursts."""
    numbers = list(range(count))
    random.Random(seed).shuffle(numbers)
    return [name(prefix, n) for n in numbers[:count - count % MULTI]]


def rpc(number, method, *params):
    return msgpack.packb([0, number % 128, method, list(params)], use_bin_type=True)


def resp(*arguments):
    parts = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def groups(keys):
    return [keys[i:i + MULTI] for i in range(0, len(keys), MULTI)]


def dcached_get(keys):
    return [rpc(i, "get", key) for i, key in enumerate(keys)]


def dcached_mget(keys):
    return [rpc(i, "mget", group) for i, group in enumerate(groups(keys))]


def dcached_set(keys, value=b"v" * 100):
    # The deadline is for machines that are busy with something else.
    return [rpc(i, "set", key, value, {"timeout_ms": 10000}) for i, key in enumerate(keys)]


def memcached_mg(keys):
    return [b"mg %s v\r\n" % key for key in keys]


def memcached_multiget(keys):
    return [b"get %s\r\n" % b" ".join(group) for group in groups(keys)]


def redis_get(keys):
    return [resp("GET", key) for key in keys]


def redis_mget(keys):
    return [resp("MGET", *group) for group in groups(keys)]


_ids = itertools.count(1)


def script_write(store, keys, value=b"v" * 100):
    """One call of write.lua for these keys; store is a dcached_script.Store."""
    arguments = [store.epoch, store.run, store.channel, "bench"]
    for key in keys:
        arguments += ["s", key, "", 0, f"{next(_ids):032x}", 0, 1, dcached_script.LATER, value]
    return resp("EVALSHA", store.sha, 1 + len(keys), store.meta, *(store.record + key for key in keys), *arguments)


def save(directory, kind, requests):
    """Writes them to a file; (path, bytes of one request)."""
    assert len({len(r) for r in requests}) == 1, kind
    path = os.path.join(directory, kind)
    with open(path, "wb") as f:
        f.writelines(requests)
    return path, len(requests[0])
