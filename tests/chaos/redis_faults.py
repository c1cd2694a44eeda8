"""F7, F8, F11 to F14, F16, F17: what happens to Redis itself."""
import threading
import time

import redis as redis_py

from fault import Fault
from programs import start_redis
from proxy import SUBSCRIPTION, TO_CLIENT
from topology import aof_is_truth

META = "dc:{0}!meta"
CHANNEL = "cache:invalidate:0:dc:{0}"


def pods_of(clients):
    """The connections of pods among CLIENT LIST: those of their user."""
    return [c for c in clients if c.get("user") == "pod"]


class ClientKill(Fault):
    number, title, endangers = "F7", "CLIENT KILL of either connection, every 50 ms", "GAP0 AVAIL"
    gap = (0.05, 0.05)

    def once(self):
        chosen = pods_of(self.redis.client_list())
        if not chosen:
            return None
        one = self.rng.choice(sorted(chosen, key=lambda c: int(c["id"])))
        return self.redis.client_kill_filter(_id=one["id"]) > 0


class OutputBuffer(Fault):
    """Redis itself closes a subscriber that does not read; messages are lost with it."""
    number, title, endangers = "F8", "output-buffer kill of a slow subscriber", "GAP0"
    gap = (0.2, 0.6)

    def once(self):
        world, pod = self.world, self.rng.randrange(len(self.world.links))
        with world.redis_lock, world.link_lock(pod, "stall"):
            before = self._subscribers()
            self.redis.config_set("client-output-buffer-limit", "pubsub 65536 0 0")
            try:
                world.links[pod].stall(SUBSCRIPTION, TO_CLIENT)
                for _ in range(64):  # no records: nobody can read them, which is another fault at the same time
                    self.redis.publish(CHANNEL, b"x" * 16384)
                fewer = before - self._subscribers()
            finally:
                self.redis.config_set("client-output-buffer-limit", "pubsub 33554432 8388608 60")
                world.links[pod].resume(SUBSCRIPTION, TO_CLIENT)
            return len(fewer) > 0

    def _subscribers(self):
        return {c["id"] for c in self.redis.client_list(_type="pubsub")}


class RedisSlow(Fault):
    """The effect is measured: a write from elsewhere has to wait, or is told BUSY."""
    number, title, endangers = "F11", "Redis stopped, DEBUG SLEEP, CLIENT PAUSE, busy script", "BOUND AVAIL"
    gap = (0.05, 0.2)
    slow = True

    def once(self):
        world, rng = self.world, self.rng
        seconds = rng.uniform(0.05, 0.4) if rng.random() < 0.85 else rng.uniform(0.5, 2.0)
        what = rng.choice([self._stop, self._sleep, self._pause, self._script])
        with world.redis_lock:
            held = []
            probe = threading.Thread(target=self._probe, args=(held,))
            begin = threading.Thread(target=what, args=(seconds, probe))
            begin.start()
            begin.join()
            probe.join()
            return bool(held) and held[0] >= 0.4 * seconds

    def _probe(self, held):
        at = time.monotonic()
        client = self.world.redis_client()
        try:
            client.set("chaos:probe", "x")
        except redis_py.ResponseError:  # BUSY
            held.append(1e9)
        except redis_py.RedisError:
            pass
        held.append(time.monotonic() - at)
        client.close()

    def _stop(self, seconds, probe):
        self.world.redis.pause()
        try:
            probe.start()
            self.world.pause(seconds)
        finally:
            self.world.redis.resume()

    def _pause(self, seconds, probe):
        self.redis.client_pause(int(seconds * 1000), all=self.rng.random() < 0.5)
        probe.start()
        self.world.pause(seconds)

    def _blocking(self, probe, *command):
        sender = self.world.redis_client()
        call = threading.Thread(target=_quietly, args=(sender.execute_command, *command))
        call.start()
        self.world.pause(0.02)
        probe.start()
        call.join()

    def _sleep(self, seconds, probe):
        self._blocking(probe, "DEBUG", "SLEEP", f"{seconds:.3f}")

    def _script(self, seconds, probe):
        script = ("local t = redis.call('TIME'); local e = t[1] * 1e6 + t[2] + ARGV[1]; "
                  "repeat t = redis.call('TIME') until t[1] * 1e6 + t[2] >= e; return 1")
        self._blocking(probe, "EVAL", script, 0, int(min(seconds, 1.0) * 1e6))


def _quietly(call, *args):
    try:
        call(*args)
    except redis_py.RedisError:
        pass


class RedisKilled(Fault):
    number, title, endangers = "F12", "Redis kill -9 under writes, and back", "ACKDUR LOSSVIS INDET"
    gap = (0.2, 1.0)
    long = True
    topologies = ("always", "everysec", "aof-no", "rdb", "none", "clocks")

    def once(self):
        world = self.world
        with world.redis_lock, world.loss(empty=world.topology.keeps == "nothing"):
            before = world.run_id()
            world.redis.kill()
            self.pause(0, 0.3)
            start_redis(world.redis)
            return world.run_id() != before


class RedisEmpty(Fault):
    number, title, endangers = "F13", "Redis back empty", "LOSSVIS"
    gap = (0.2, 1.0)
    long = True
    topologies = ("none", "rdb")

    def once(self):
        world = self.world
        with world.redis_lock, world.loss(empty=True):
            before = world.run_id()
            world.redis.kill()
            world.forget_files()
            start_redis(world.redis)
            return world.run_id() != before and self.redis.exists(META) in (0, 1)


class Failover(Fault):
    """
    To a replica that is up to date (clean), or to one whose replication was cut some time before (stale). The old
    primary loses its connections and becomes a replica.
    """
    number, title, endangers = "F14", "failover to a stale replica; clean failover", "MONO LOSSVIS"
    gap = (0.2, 0.8)
    long = True
    topologies = ("pair", "guarded")

    def once(self):
        world = self.world
        with world.redis_lock:
            clean = self.rng.random() < 0.4
            with world.loss(kept=clean):
                if not clean:
                    with world.replica.client(socket_timeout=5) as replica:
                        replica.execute_command("REPLICAOF", "NO", "ONE")
                    self.pause(0.05, 0.5)
                before = world.run_id()
                return world.fail_over(clean) and world.run_id() != before


class StoreLosses(Fault):
    number, title = "F16", "FLUSHALL, DEL of meta or a field, SCRIPT FLUSH, records evicted, out of memory"
    endangers = "LOSSVIS NORES INDET"
    gap = (0.1, 0.5)

    def once(self):
        weighted = [(self._scripts, 4), (self._field, 3), (self._meta, 2), (self._full, 3), (self._evict, 2),
                    (self._flush, 1)]
        what = self.rng.choices([w for w, _ in weighted], [n for _, n in weighted])[0]
        if what == self._evict and not aof_is_truth(self.world.topology):
            return None  # no file tells the checker which keys are gone
        with self.world.redis_lock:
            return what()

    def _scripts(self):
        loaded = self.redis.info("memory").get("number_of_cached_scripts", 0)
        self.redis.script_flush()
        return loaded > 0

    def _field(self):
        with self.world.loss(kept=True):
            return self.redis.hdel(META, self.rng.choice(["epoch", "run", "seq", "cleared"])) > 0

    def _meta(self):
        with self.world.loss(kept=True):
            return self.redis.delete(META) > 0

    def _flush(self):
        with self.world.loss(empty=True):
            size = self.redis.dbsize()
            self.redis.flushall()
            return size > 0

    def _full(self):
        before = self._refused()
        self.redis.config_set("maxmemory", "1mb")
        try:
            self.pause(0.05, 0.2)
        finally:
            self.redis.config_set("maxmemory", "0")
        return self._refused() > before

    def _refused(self):
        """How often Redis answered OOM; redis-py leaves the field as it is."""
        return int(self.redis.info("errorstats").get("errorstat_OOM", "count=0").split("=")[1])

    def _evict(self):
        """Of a few keys; unless meta is among them the epoch goes on."""
        before = self.redis.info("stats")["evicted_keys"]
        self.world.evictions += 1
        self.redis.config_set("maxmemory-policy", "allkeys-random")
        used = self.redis.info("memory")["used_memory"]
        try:
            self.redis.config_set("maxmemory", str(int(used - 4096)))
            self.pause(0.02, 0.1)
        finally:
            self.redis.config_set("maxmemory", "0")
            self.redis.config_set("maxmemory-policy", "noeviction")
        return self.redis.info("stats")["evicted_keys"] > before


class Rights(Fault):
    """The effect: Redis' own log of denied commands, or of failed authentication."""
    number, title, endangers = "F17", "rights withdrawn while running, password changed", "GAP0 INDET"
    gap = (0.1, 0.3)
    slow = True
    less = [("-publish",), ("-set",), ("-hset",), ("-hmget",), ("-info",), ("-evalsha", "-script"), ("-@all",),
            ("resetchannels",), ("resetkeys",), ("off",), ("-time",), ("-getrange",)]

    def once(self):
        world, redis = self.world, self.redis
        with world.redis_lock:
            redis.execute_command("ACL", "LOG", "RESET")
            try:
                if self.rng.random() < 0.25:
                    redis.execute_command("ACL", "SETUSER", "pod", "resetpass", ">another")
                    for client in pods_of(redis.client_list()):
                        redis.client_kill_filter(_id=client["id"])
                else:
                    redis.execute_command("ACL", "SETUSER", "pod", *self.rng.choice(self.less))
                self.pause(0.05, 0.5)
            finally:
                denied = redis.execute_command("ACL", "LOG", 1)
                redis.execute_command("ACL", "SETUSER", "pod", "reset", *world.user_rules)
            return len(denied) > 0


class Limits(Fault):
    """Redis' own answers: no room for another client, and not enough replicas for a write."""
    number, title = "F18", "maxclients reached, min-replicas-to-write not met"
    endangers = "INDET NOCRASH"
    gap = (0.2, 0.6)

    def once(self):
        with self.world.redis_lock:
            if self.rng.random() < 0.5:
                return self._no_room()
            before = self._errors()
            self.redis.config_set("min-replicas-to-write", 5)
            try:
                self.pause(0.05, 0.3)
            finally:
                self.redis.config_set("min-replicas-to-write", 0)
            return self._errors() > before

    def _no_room(self):
        before = self.redis.info("stats")["rejected_connections"]
        self.redis.config_set("maxclients", 1)
        try:
            for client in pods_of(self.redis.client_list()):
                self.redis.client_kill_filter(_id=client["id"])
            self.pause(0.1, 0.3)
            return self.redis.info("stats")["rejected_connections"] > before
        finally:
            self.redis.config_set("maxclients", 10000)

    def _errors(self):
        return int(self.redis.info("errorstats").get("errorstat_NOREPLICAS", "count=0").split("=")[1])


FAULTS = [ClientKill, OutputBuffer, RedisSlow, RedisKilled, RedisEmpty, Failover, StoreLosses, Rights, Limits]
