"""What the daemons keep in Redis, for writing there as another pod would: with their script, past any daemon."""
import os

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../daemon/redis")
LATER = "9" * 19  # a deadline


def write_script():
    text = ""
    for part in ("common.lua", "write.lua"):
        with open(os.path.join(SOURCES, part), encoding="ascii") as f:
            text += f.read()
    return text


class Store:
    """One partition. With create=True it is made here; otherwise a daemon has made it."""

    def __init__(self, redis, prefix, create=False):
        self.meta, self.record = f"{prefix}{{0}}!meta", f"{prefix}{{0}}:".encode()
        self.channel = f"cache:invalidate:0:{prefix}{{0}}"
        with redis.client() as client:
            if create:
                seconds, micros = client.time()
                client.hset(self.meta, mapping={"epoch": "e" * 32, "run": "r" * 40, "cleared": 0,
                                                "seq": seconds * 10**6 + micros})
            self.sha = client.script_load(write_script())
            meta = client.hgetall(self.meta)
        self.epoch, self.run = meta[b"epoch"], meta[b"run"]

    def seq(self, client):
        return int(client.hget(self.meta, "seq"))
