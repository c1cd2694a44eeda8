"""
F14 and F15 with two primaries: one that a network split keeps alive beside the new one, and one at each end of a
pod. What is committed on either side of a split may be lost, so the load's history is exempt until its end; the
pods are asked here instead. Nothing is exempt while the connections of a pod end on two servers.
"""
import contextlib
import time

from daemon import ACCEPTED, FRESH, RpcError
from fault import Fault, OneLink
from proxy import ALL, DATA, SUBSCRIPTION

DATA_COMMANDS = ("hmget", "get", "getrange", "eval", "evalsha")


@contextlib.contextmanager
def promoted(world):
    """
    The replica is a primary of its own that commits nothing; then it follows the primary again. It says who it is
    and nothing of what it has: a pod whose older connection is gone follows the newer one, and reads that were
    answered there would be those of a split.
    """
    with world.replica.client(socket_timeout=5) as client:
        client.config_set("min-replicas-to-write", 5)
        client.execute_command("ACL", "SETUSER", "pod", *(f"-{command}" for command in DATA_COMMANDS))
        client.execute_command("REPLICAOF", "NO", "ONE")
        try:
            yield
        finally:
            client.execute_command("REPLICAOF", "127.0.0.1", str(world.redis.port))
            client.execute_command("ACL", "SETUSER", "pod", "reset", *world.user_rules)
            client.config_set("min-replicas-to-write", 0)


class OldPrimaryAlive(Fault):
    """
    Some pods are led to the new primary, the others go on with the old one. With the replica guard these have to
    refuse once D has passed since a write was acknowledged on the other side; without it what they serve is not
    promised anything, and is counted. It ends with the old primary as a replica of the new one.
    """
    number, title, endangers = "F14", "old primary kept alive, with and without the replica guard", "BOUND"
    gap = (0.3, 1.0)
    long = True
    topologies = ("pair", "guarded")
    of_topology = True
    variants = ("old primary alive", "old primary alive, replica guard")
    lap = 0

    def possible(self):
        return [self.variants[self.world.topology.guarded]]

    def once(self):
        world = self.world
        self.lap += 1
        pods = self.rng.sample(world.pods, len(world.pods))
        new_side, old_side = pods[:1], pods[1:]
        key = b"split:%d:%d" % (world.phase_number, self.lap)
        with world.redis_lock:
            if world.over.is_set() or not self._follows():
                return None
            if not self._set(old_side[0], key, b"old", 1, 1):
                return None
            if not world.replicated(1000):
                return None
            with world.loss():
                with world.replica.client(socket_timeout=5) as replica:
                    replica.execute_command("REPLICAOF", "NO", "ONE")
                try:
                    for pod in new_side:
                        link = world.links[pod.number]
                        link.lead_to(world.replica.socket)
                        link.cut(ALL)
                    written = self._set(new_side[0], key, b"new", 2, 3)
                    return written and self._ask(old_side, key)
                finally:
                    world.fail_over(clean=False)

    def _follows(self):
        with self.world.replica.client(socket_timeout=5) as replica:
            return replica.info("replication").get("master_link_status") == "up"

    def _set(self, pod, key, value, version, patience_s):
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            try:
                with pod.daemon.client(1) as client:
                    if client.set(key, value, version=version)["outcome"] == ACCEPTED:
                        return True
            except (OSError, EOFError, RpcError):
                pass
            time.sleep(0.01)
        return False

    def _ask(self, pods, key):
        """What the pods at the old primary say of the key when D has passed since the other write."""
        time.sleep(self.world.bound_s)
        served = refused = 0
        for _ in range(5):  # a refused one takes as long as a heartbeat
            for pod in pods:
                try:
                    with pod.daemon.client(1) as client:
                        got = client.get(key)
                    served += got["state"] == FRESH and got["version"] < 2
                except RpcError:
                    refused += 1
                except (OSError, EOFError):
                    pass  # another fault's
            time.sleep(0.005)
        if self.world.topology.guarded and served:
            self.world.violation("BOUND", f"F14: {served} reads of an old primary in spite of the replica guard")
        self.world.count("reads of an old primary that was kept alive, exempt", served)
        self.world.count("reads refused by the replica guard", refused * self.world.topology.guarded)
        return (refused if self.world.topology.guarded else served) > 0


class TwoMasters(OneLink):
    """The next connection that is made ends at a second primary. Nothing may be proven by two servers."""
    number, title, endangers = "F15", "the two connections on two primaries", "GAP0"
    gap = (0.2, 0.6)
    topologies = ("pair", "guarded")
    variants = ("data at another primary", "subscription at another primary")

    def once(self):
        link, world = self.link, self.world
        with world.redis_lock:
            if world.over.is_set():
                return None
            with promoted(world):
                return self._lead_one(link)

    def _lead_one(self, link):
        before = link.look().get("led", 0)
        try:
            link.lead_next_to(self.world.replica.socket)
            link.cut(DATA if self.variant == self.variants[0] else SUBSCRIPTION)
            led = self.until_more("led", before)
            self.pause(0.05, 0.2)
        finally:
            link.lead_next_to(None)
            link.cut(ALL)
        return led


FAULTS = [OldPrimaryAlive, TwoMasters]
