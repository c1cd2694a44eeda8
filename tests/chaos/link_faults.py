"""F1 to F6, F15, F18, F27: what happens on the way between a pod and Redis."""
import itertools

from daemon import RpcError
from fault import Fault, LinkFault, OneLink
from proxy import ALL, BOTH, DATA, SUBSCRIPTION, TO_CLIENT, TO_REDIS

# In D. Shorter ones let hits go on.
SHORT, PAST_THE_LEASE = (0.05, 0.8), (1.1, 2.5)


class SilentPartition(LinkFault):
    """The effect is that the pod refuses: one that ends before the lease shows nothing, and lets hits go on."""
    number, title, endangers = "F1", "silent partition: nothing arrives, no error", "BOUND MONO"
    gap = (0.1, 0.5)

    def hold(self):
        self.link.stall(ALL, BOTH)
        self.bounds(*(SHORT if self.rng.random() < 0.5 else PAST_THE_LEASE))

    def release(self):
        self.link.resume(ALL, BOTH)

    def shown(self):
        return (*super().shown(), self.counted("refused"))


class HalfOpen(LinkFault):
    """
    Afterwards what was held back arrives, or the connection dies with it. The effect is that something was held
    back in one direction while bytes arrived in the other.
    """
    number, title, endangers = "F2", "half open: one direction stands still", "BOUND"
    gap = (0.1, 0.5)
    variants = ("to the pod", "to Redis")

    def hold(self):
        self.link.stall(ALL, self._direction())
        self.bounds(*(SHORT if self.rng.random() < 0.8 else PAST_THE_LEASE))

    def _direction(self):
        return TO_CLIENT if self.variant == "to the pod" else TO_REDIS

    def release(self):
        if self.rng.random() < 0.5:
            self.link.cut(ALL)
        self.link.resume(ALL, self._direction())

    def shown(self):
        return (*super().shown(), self.link.look().get("half_open", 0))


class OneByte(LinkFault):
    number, title, endangers, kind = "F3", "one byte at a time", "BOUND AVAIL", "one_byte"
    gap = (0.1, 0.4)
    variants = ("one byte at a time",)

    def hold(self):
        self.link.one_byte(True, self.rng.choice([ALL, DATA, SUBSCRIPTION]))
        self.pause(0.1, 0.4)

    def release(self):
        for which in (ALL, DATA, SUBSCRIPTION):
            self.link.one_byte(False, which)


class SlowLink(LinkFault):
    number, title, endangers, kind = "F3", "slow and jittering link, 0 .. 2 D", "BOUND AVAIL", "delay"
    gap = (0.1, 0.4)
    variants = ("slow and jittering",)

    def hold(self):
        bound_ms = self.world.bound_s * 1000
        self.link.delay(self.rng.uniform(0, bound_ms / 4), self.rng.uniform(1, bound_ms * 2))
        self.pause(0.1, 0.8)

    def release(self):
        self.link.delay(0)


class LateSubscription(LinkFault):
    number, title, endangers, kind = "F4", "subscription late, data fast", "FILL BOUND", "delay"
    gap = (0.05, 0.3)

    def hold(self):
        self.link.delay(self.rng.uniform(0.01, 1.5) * self.world.bound_s * 1000, 20, which=SUBSCRIPTION,
                        direction=TO_CLIENT)
        self.pause(0.1, 0.6)

    def release(self):
        self.link.delay(0, which=SUBSCRIPTION, direction=TO_CLIENT)


class LateData(LinkFault):
    """
    The answers of fetches wait while the subscription runs ahead. The effect is a fetch that the daemon found
    overtaken, of a key that another pod writes meanwhile.
    """
    number, title, endangers = "F5", "data late, subscription fast", "FILL"
    gap = (0.05, 0.3)
    laps = itertools.count()

    def hold(self):
        key = b"late:%d" % next(self.laps)
        self.link.stall(DATA, TO_CLIENT)
        try:
            with self.pod.daemon.client(1) as reader, \
                 self.world.pods[self.lane - 1].daemon.client(1) as writer:
                reader.send("get", key)
                writer.send("set", key, b"while it is fetched")  # its answer may be held back like ours
                self.bounds(0.05, 0.6)
                self.link.resume(DATA, TO_CLIENT)
                reader.receive()
        except (OSError, EOFError, RpcError):
            pass  # another fault's

    def release(self):
        self.link.resume(DATA, TO_CLIENT)

    def shown(self):
        return (*super().shown(), self.counted("fetches_overtaken"))


class Cut(LinkFault):
    """Before each byte of a frame in turn, over the whole run."""
    number, title, endangers, kind = "F6", "cut in the middle of a frame, at every byte", "INDET GAP0", "cut_after"
    gap = (0.05, 0.25)
    variants = ("cut on the way to the pod", "cut on the way to Redis")
    frame_bytes = 256  # longer frames end like these
    at = {variant: itertools.count() for variant in variants}
    done = {variant: set() for variant in variants}
    byte = 0

    def hold(self):
        before = self.link.look().get(self.kind, 0)
        self.link.cut_frame(self.byte, self.rng.choice([ALL, DATA, SUBSCRIPTION]),
                            TO_CLIENT if self.variant == self.variants[0] else TO_REDIS)
        self.until_more(self.kind, before, 0.4)

    def release(self):
        self.link.forget_frames()

    def once(self):
        self.byte = next(self.at[self.variant]) % self.frame_bytes
        effect = super().once()
        if effect:
            self.done[self.variant].add(self.byte)
            self.world.figure(f"{self.name}: different bytes of {self.frame_bytes}", len(self.done[self.variant]))
        return effect


class WrongByte(LinkFault):
    number, title, endangers, kind = "F6", "first byte of a frame or message wrong", "INDET GAP0", "corrupt"
    gap = (0.1, 0.5)
    variants = ("wrong byte of a frame", "wrong byte of a message")

    def hold(self):
        if self.variant == "wrong byte of a message":
            self.link.corrupt_next(message=True)
        else:
            self.link.corrupt_next(self.rng.choice([DATA, SUBSCRIPTION]), TO_CLIENT)
        self.pause(0.05, 0.15)

    def release(self):
        self.link.forget_frames()


class LostMessage(LinkFault):
    """Stands for whatever loses one message while the connection lives on."""
    number, title, endangers, kind = "F8", "messages lost", "GAP0", "drop"
    gap = (0.05, 0.2)
    variants = ("message lost",)

    def hold(self):
        self.link.drop_next_message()
        self.pause(0.05, 0.15)

    def release(self):
        self.link.forget_frames()


class ScriptedErrors(LinkFault):
    """
    Redis' place is taken for one to four answers. What comes before execution is not forwarded, or the answer
    would be a lie; an error of no known kind says nothing of execution and may be either.
    """
    number, title, kind = "F18", "READONLY, LOADING, MISCONF, BUSY, ... answered", "answer"
    endangers = "INDET NOCRASH"
    gap = (0.03, 0.2)
    unseen = {line.split()[0].decode(): line for line in [
        b"READONLY You can't write against a read only replica.", b"LOADING Redis is loading the dataset",
        b"MASTERDOWN Link with MASTER is down", b"MISCONF Redis is configured to save RDB snapshots",
        b"NOAUTH Authentication required.", b"NOREPLICAS Not enough good replicas to write.",
        b"BUSY Redis is busy running a script.", b"NOSCRIPT No matching script.",
        b"OOM command not allowed when used memory > 'maxmemory'.", b"NOPERM no permissions",
        b"CLUSTERDOWN the cluster is down"]}
    unseen["max-clients answered"] = b"ERR max number of clients reached"
    odd = [b"-", b"-ERR something unheard of", b"+OK", b":12", b"*0"]
    variants = (*unseen, *["another answer"] * 3)

    def hold(self):
        command = self.rng.choice([None, b"EVALSHA", b"EVALSHA", b"HMGET", b"INFO"])
        count = self.rng.randint(1, 4)
        if self.variant in self.unseen:
            self.link.answer_next(b"-" + self.unseen[self.variant] + b"\r\n", command, count)
        else:
            line = self.rng.choice(self.odd)
            self.link.answer_next(line + b"\r\n", command, count, forward=line != b"-" and self.rng.random() < 0.5)
        self.pause(0.05, 0.2)

    def release(self):
        self.link.forget_frames()


class OtherNode(OneLink):
    """One connection is led to the replica, then both are led back."""
    number, title, endangers = "F15", "the two connections on different nodes, one a replica", "GAP0"
    gap = (0.1, 0.4)
    slow = True  # waits for failovers
    topologies = ("pair", "guarded")
    variants = ("data at a replica", "subscription at a replica", "subscription at a replica")

    def once(self):
        link, world = self.link, self.world
        with world.redis_lock:
            if world.over.is_set():
                return None
            before = link.look().get("accepted", 0)
            try:
                link.lead_to(world.replica.socket)
                link.cut(DATA if self.variant == "data at a replica" else SUBSCRIPTION)
                arrived = self.until_more("accepted", before)
                self.pause(0.05, 0.2)
            finally:
                link.lead_to(world.redis.socket)
                link.cut(ALL)
            return arrived


class OneByOne(Fault):
    number, title, endangers = "F27", "links of k of n pods stopped one by one, resumed in another order", "all"
    gap = (0.05, 0.2)
    slow = True

    def once(self):
        world = self.world
        chosen = self.rng.sample(range(len(world.links)), self.rng.randint(1, len(world.links)))
        back = self.rng.sample(chosen, len(chosen))
        held = 0
        for pod in chosen:
            world.links[pod].stall(DATA if self.rng.random() < 0.2 else ALL, BOTH)
            self.pause(0.01, 0.1 * world.bound_s)
        self.pause(0.05 * world.bound_s, 0.5 * world.bound_s)
        for pod in back:
            before = world.links[pod].look().get("stall", 0)
            world.links[pod].resume(DATA, BOTH)
            world.links[pod].resume(ALL, BOTH)
            held += world.links[pod].look().get("stall", 0) > before
            self.pause(0.01, 0.1 * world.bound_s)
        return held > 0


FAULTS = [SilentPartition, HalfOpen, SlowLink, OneByte, LateSubscription, LateData, Cut, WrongByte, LostMessage,
          ScriptedErrors, OtherNode, OneByOne]
