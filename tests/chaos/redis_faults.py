"""F7, F8, F11 to F14, F16, F17: what happens to Redis itself."""
import contextlib
import itertools
import threading
import time

import redis as redis_py

from daemon import INDETERMINATE, Client, RpcError
from fault import Fault
from programs import start_redis
from proxy import SUBSCRIPTION, TO_CLIENT
from topology import aof_is_truth

META = "dc:{0}!meta"
MARKER = "chaos:marker"
CHANNEL = "cache:invalidate:0:dc:{0}"


def pods_of(clients):
    """The connections of pods among CLIENT LIST: those of their user."""
    return [c for c in clients if c.get("user") == "pod"]


class ClientKill(Fault):
    number, title, endangers = "F7", "CLIENT KILL of either connection, every 50 ms", "GAP0 AVAIL"
    gap = (0.05, 0.05)
    variants = ("data", "subscription")

    def once(self):
        chosen = [c for c in pods_of(self.redis.client_list()) if (c["sub"] != "0") == (self.variant != "data")]
        if not chosen:
            return None
        one = self.rng.choice(sorted(chosen, key=lambda c: int(c["id"])))
        return self.redis.client_kill_filter(_id=one["id"]) > 0


class OutputBuffer(Fault):
    """Redis itself closes a subscriber that does not read; messages are lost with it."""
    number, title, endangers = "F8", "output-buffer kill of a slow subscriber", "GAP0"
    gap = (0.2, 0.6)
    variants = ("output-buffer kill",)

    def once(self):
        world, pod = self.world, self.rng.randrange(len(self.world.links))
        with world.redis_lock, world.link_lock(pod, "stall"):
            before = self._closed()
            self.redis.config_set("client-output-buffer-limit", "pubsub 65536 0 0")
            try:
                world.links[pod].stall(SUBSCRIPTION, TO_CLIENT)
                for _ in range(64):  # no records: nobody can read them, which is another fault at the same time
                    self.redis.publish(CHANNEL, b"x" * 16384)
                return self._closed() > before
            finally:
                self.redis.config_set("client-output-buffer-limit", "pubsub 33554432 8388608 60")
                world.links[pod].resume(SUBSCRIPTION, TO_CLIENT)

    def _closed(self):
        """What Redis itself says in its log."""
        return self.world.redis.log().count("closed ASAP for overcoming of output buffer limits")


class RedisSlow(Fault):
    """The effect is measured: of the writes from elsewhere in that time one has to wait, or is told BUSY."""
    number, title, endangers = "F11", "Redis stopped, DEBUG SLEEP, CLIENT PAUSE, busy script", "BOUND AVAIL"
    gap = (0.05, 0.2)
    slow = True
    variants = ("SIGSTOP", "DEBUG SLEEP", "CLIENT PAUSE", "busy script")
    script = ("local t = redis.call('TIME'); local e = t[1] * 1e6 + t[2] + ARGV[1]; "
              "repeat t = redis.call('TIME') until t[1] * 1e6 + t[2] >= e; return 1")

    def once(self):
        seconds = self.rng.uniform(0.05, 0.4) if self.rng.random() < 0.85 else self.rng.uniform(0.5, 1.5)
        pause_all = self.rng.random() < 0.5
        what = {"SIGSTOP": self._stop, "DEBUG SLEEP": self._sleep, "busy script": self._script,
                "CLIENT PAUSE": lambda s: self._pause(s, pause_all)}[self.variant]
        with self.world.redis_lock:
            call = threading.Thread(target=what, args=(seconds,))
            call.start()
            held = self._longest_write(call)
            call.join()
            return held >= 0.4 * seconds

    def _longest_write(self, call):
        client, longest = self.world.redis_client(), 0
        while call.is_alive():
            at = time.monotonic()
            try:
                client.set("chaos:probe", "x")
                longest = max(longest, time.monotonic() - at)
            except redis_py.ResponseError:  # BUSY
                longest = float("inf")
            except redis_py.RedisError:
                pass
            self.world.pause(0.002)
        client.close()
        return longest

    def _stop(self, seconds):
        self.world.redis.pause()
        try:
            self.world.pause(seconds)
        finally:
            self.world.redis.resume()

    def _pause(self, seconds, everything):
        self.redis.client_pause(int(seconds * 1000), all=everything)
        self.world.pause(seconds)

    def _sleep(self, seconds):
        self._quietly("DEBUG", "SLEEP", f"{seconds:.3f}")

    def _script(self, seconds):
        self._quietly("EVAL", self.script, 0, int(min(seconds, 1.0) * 1e6))

    def _quietly(self, *command):
        try:
            self.redis.execute_command(*command)
        except redis_py.RedisError:
            pass


class RedisKilled(Fault):
    """The effect is that a write was under way: it has become indeterminate."""
    number, title, endangers = "F12", "Redis kill -9 under writes, and back", "ACKDUR LOSSVIS INDET"
    gap = (0.1, 0.5)
    long = True
    topologies = ("always", "everysec", "aof-no", "rdb", "none", "clocks")
    of_topology = True
    variants = ("no persistence", "RDB", "AOF always", "AOF everysec", "AOF no")
    writes, lap = 500, 0  # more than Redis commits until it is dead

    def possible(self):
        keeps, options = self.world.topology.keeps, self.world.topology.options
        return [{"nothing": "no persistence", "snapshot": "RDB"}.get(keeps) or f"AOF {options['appendfsync']}"]

    def once(self):
        world, self.lap = self.world, self.lap + 1
        with contextlib.ExitStack() as stack:
            clients = list(self._writers(stack))
            if not clients:
                return None
            with world.redis_lock, world.loss(empty=world.topology.keeps == "nothing"):
                before = world.run_id()
                for client in clients:
                    self._send_writes(client)
                world.redis.kill()
                try:
                    self.pause(0, 0.3)
                finally:
                    start_redis(world.redis)
                again = world.run_id() != before
            return again and any(self._indeterminate(client) for client in clients)

    def _send_writes(self, client):
        try:
            client.sock.sendall(b"".join(Client.request(n, "set", b"kill:%d:%d" % (self.lap, n), b"x" * 96)
                                         for n in range(self.writes)))
        except OSError:
            pass  # another fault's; what was told to be a loss has to become one

    def _writers(self, stack):
        """A client of each pod that can write now."""
        for pod in self.world.pods:
            try:
                client = stack.enter_context(pod.daemon.client(0.2))
                client.set(b"kill:first", b"x")
                client.sock.settimeout(1)  # until Redis is back and the daemon knows
                yield client
            except (OSError, EOFError, RpcError):
                pass  # another fault's

    def _indeterminate(self, client):
        try:
            errors = [client.receive()[1] for _ in range(self.writes)]
        except (OSError, EOFError):
            return False
        return any(error and error[0] == INDETERMINATE for error in errors)


class RedisEmpty(Fault):
    number, title, endangers = "F13", "Redis back empty", "LOSSVIS"
    gap = (0.2, 1.0)
    long = True
    topologies = ("none", "rdb")

    def once(self):
        world = self.world
        with world.redis_lock:
            before = world.run_id()
            self._save_marker()
            with world.loss(empty=True):
                world.redis.kill()
                world.forget_files()
                start_redis(world.redis)
            return world.run_id() != before and not self.redis.exists(MARKER)

    def _save_marker(self):
        """It would be found again if the files were."""
        self.redis.set(MARKER, "x")
        for _ in range(200):
            try:
                return self.redis.save()
            except redis_py.ResponseError:  # a snapshot is under way
                time.sleep(0.005)
        raise RuntimeError("a snapshot takes too long")


class Failover(Fault):
    """
    To a replica that is up to date (clean), or to one whose replication was cut some time before (stale). The old
    primary loses its connections and becomes a replica. The effect is seen by what was written last: it is there
    after a clean one, and lost after one that was not.
    """
    number, title, endangers = "F14", "failover to a stale replica; clean failover", "MONO LOSSVIS"
    gap = (0.2, 0.8)
    long = True
    topologies = ("pair", "guarded")
    variants = ("clean failover", "failover to a stale replica")
    laps = itertools.count(1)

    def once(self):
        world, lap = self.world, b"%d" % next(self.laps)
        with world.redis_lock:
            clean = self.variant == "clean failover"
            with world.loss(kept=clean):
                if not clean:
                    with world.replica.client(socket_timeout=5) as replica:
                        replica.execute_command("REPLICAOF", "NO", "ONE")
                    self.pause(0.05, 0.5)
                before = world.run_id()
                self.redis.set(MARKER, lap)
                return world.fail_over(clean) and world.run_id() != before and \
                    (self.redis.get(MARKER) == lap) == clean


class StoreLosses(Fault):
    number, title = "F16", "FLUSHALL, DEL of meta or a field, SCRIPT FLUSH, records evicted, out of memory"
    endangers = "LOSSVIS NORES INDET"
    gap = (0.1, 0.5)
    weights = {"SCRIPT FLUSH": 3, "DEL of a field": 2, "DEL of meta": 2, "out of memory": 3, "eviction": 2,
               "FLUSHALL": 1}
    variants = tuple(name for name, weight in weights.items() for _ in range(weight))

    def possible(self):
        """Where no file tells the checker which keys are gone none is evicted."""
        return [v for v in self.variants if v != "eviction" or aof_is_truth(self.world.topology)]

    def once(self):
        with self.world.redis_lock:
            return {"SCRIPT FLUSH": self._scripts, "DEL of a field": self._field, "DEL of meta": self._meta,
                    "out of memory": self._full, "eviction": self._evict, "FLUSHALL": self._flush}[self.variant]()

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
    variants = ("rights withdrawn", "rights withdrawn", "rights withdrawn", "password changed")
    less = [("-publish",), ("-set",), ("-hset",), ("-hmget",), ("-info",), ("-evalsha", "-script"), ("-@all",),
            ("resetchannels",), ("resetkeys",), ("off",), ("-time",), ("-getrange",)]

    def once(self):
        world, redis = self.world, self.redis
        with world.redis_lock:
            redis.execute_command("ACL", "LOG", "RESET")
            try:
                if self.variant == "password changed":
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
    variants = ("max-clients of Redis", "NOREPLICAS of Redis")

    def once(self):
        with self.world.redis_lock:
            if self.variant == "max-clients of Redis":
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
