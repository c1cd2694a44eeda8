"""F1 to F6, F15, F18, F27: what happens on the way between a pod and Redis."""
from fault import Fault, LinkFault, OneLink
from proxy import ALL, BOTH, DATA, SUBSCRIPTION, TO_CLIENT, TO_REDIS

# Mostly shorter than D, so that hits go on; one in five outlives the lease.
SHORT, PAST_THE_LEASE = (0.05, 0.8), (1.1, 2.5)


def hold_time(rng):
    return PAST_THE_LEASE if rng.random() < 0.2 else SHORT


class SilentPartition(LinkFault):
    number, title, endangers = "F1", "silent partition: nothing arrives, no error", "BOUND MONO"
    gap = (0.1, 0.5)

    def hold(self):
        self.link.stall(ALL, BOTH)
        self.bounds(*hold_time(self.rng))

    def release(self):
        self.link.resume(ALL, BOTH)


class HalfOpen(LinkFault):
    """Afterwards what was held back arrives, or the connection dies with it."""
    number, title, endangers = "F2", "half open: one direction stands still", "BOUND"
    gap = (0.1, 0.5)
    direction = TO_CLIENT

    def hold(self):
        self.direction = self.rng.choice([TO_CLIENT, TO_REDIS])
        self.link.stall(ALL, self.direction)
        self.bounds(*hold_time(self.rng))

    def release(self):
        if self.rng.random() < 0.5:
            self.link.cut(ALL)
        self.link.resume(ALL, self.direction)

    def once(self):
        cut = self.link.look().get("cut", 0)
        return super().once() or self.link.look().get("cut", 0) > cut


class SlowLink(LinkFault):
    number, title, endangers, kind = "F3", "slow and jittering link, 0 .. 2 D", "BOUND AVAIL", "delay"
    gap = (0.1, 0.4)

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
    """The answers of fetches wait while the subscription runs ahead."""
    number, title, endangers = "F5", "data late, subscription fast", "FILL"
    gap = (0.05, 0.3)

    def hold(self):
        self.link.stall(DATA, TO_CLIENT)
        self.bounds(0.3, 0.9)  # a heartbeat at least is held

    def release(self):
        self.link.resume(DATA, TO_CLIENT)


class Cut(LinkFault):
    """At a drawn byte, in either direction; one in four is a frame whose first byte is wrong instead."""
    number, title, endangers, kind = "F6", "cut in the middle of a frame", "INDET GAP0", "cut_after"
    gap = (0.05, 0.25)

    def hold(self):
        direction = self.rng.choice([TO_CLIENT, TO_REDIS])
        if self.rng.random() < 0.25:
            self.link.corrupt_next(self.rng.choice([DATA, SUBSCRIPTION]), TO_CLIENT)
        elif self.rng.random() < 0.2:
            self.link.corrupt_next(message=True)
        else:
            self.link.cut_after(self.rng.randrange(700), self.rng.choice([ALL, DATA, SUBSCRIPTION]), direction)
        self.pause(0.05, 0.15)

    def release(self):
        self.link.forget_frames()

    def once(self):
        before = self.link.look().get("corrupt", 0)
        return super().once() or self.link.look().get("corrupt", 0) > before


class LostMessage(LinkFault):
    """Stands for whatever loses one message while the connection lives on."""
    number, title, endangers, kind = "F8", "messages lost", "GAP0", "drop"
    gap = (0.05, 0.2)

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
    definite = [b"-READONLY You can't write against a read only replica.",
                b"-LOADING Redis is loading the dataset", b"-MASTERDOWN Link with MASTER is down",
                b"-MISCONF Redis is configured to save RDB snapshots",
                b"-NOAUTH Authentication required.", b"-NOREPLICAS Not enough good replicas to write.",
                b"-BUSY Redis is busy running a script.", b"-NOSCRIPT No matching script.",
                b"-OOM command not allowed when used memory > 'maxmemory'.", b"-NOPERM no permissions"]
    odd = [b"-ERR something unheard of", b"+OK", b":12", b"*0"]
    unseen = [b"-ERR max number of clients reached", b"-", b"-CLUSTERDOWN the cluster is down"]

    def hold(self):
        command = self.rng.choice([None, b"EVALSHA", b"EVALSHA", b"HMGET", b"INFO"])
        count = self.rng.randint(1, 4)
        if self.rng.random() < 0.7:
            self.link.answer_next(self.rng.choice(self.definite + self.unseen) + b"\r\n", command, count)
        else:
            self.link.answer_next(self.rng.choice(self.odd) + b"\r\n", command, count,
                                  forward=self.rng.random() < 0.5)
        self.pause(0.05, 0.2)

    def release(self):
        self.link.forget_frames()


class OtherNode(OneLink):
    """One connection is led to the replica, then both are led back."""
    number, title, endangers = "F15", "the two connections on different nodes, one a replica", "GAP0"
    gap = (0.1, 0.4)
    slow = True  # waits for failovers
    topologies = ("pair", "guarded")

    def once(self):
        link, world = self.link, self.world
        with world.redis_lock:
            if world.over.is_set():
                return None
            before = link.look().get("accepted", 0)
            try:
                link.lead_to(world.replica.socket)
                link.cut(self.rng.choice([DATA, SUBSCRIPTION, SUBSCRIPTION]))
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


FAULTS = [SilentPartition, HalfOpen, SlowLink, LateSubscription, LateData, Cut, LostMessage, ScriptedErrors,
          OtherNode, OneByOne]
