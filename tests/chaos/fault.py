"""
What a fault is to the runner.

A fault is a class. `once` makes it happen one time and says whether it had an effect: bytes held back, connections
closed, an error answered, a process seen stopped. What it began it has ended when it returns, also when the phase
is over earlier (`world.pause` is cut short then) or something is thrown. Each lane of a fault is a thread that
calls `once` again and again; its random numbers come from the seed, the phase, the fault and the lane alone.

Where one number names several things, each is a variant and is counted for itself: else what happens easily stands
for what never happens.
"""

import time

from daemon import RpcError


def named(number, variant):
    return f"{number} {variant}".strip()


class Fault:
    number = ""                # "F1"; the titles are a list: ./dev chaos --list
    title = ""
    endangers = ""             # names of promises
    long = False               # lasts long: aimed at 10 times where others are at 100
    slow = False               # comes rarely in a phase, and is drawn twice as often
    gap = (0.05, 0.3)          # seconds between two of one lane
    lane_per_pod = False       # else there is one lane
    topologies = None          # names; None: all
    of_topology = False        # the Redis decides the variant: wanted on each
    variant, _deck = "", ()
    variants = ("",)           # what is told apart; one that is there twice is drawn twice as often

    def __init__(self, world, rng, lane=0):
        self.world, self.rng, self.lane = world, rng, lane
        self.redis = world.redis_client()

    def possible(self):
        """The variants that can be tried here."""
        return self.variants

    def draw(self):
        """Which variant `once` makes next: all have their turn before one comes again."""
        if not self._deck:
            possible = self.possible()
            self._deck = self.rng.sample(possible, len(possible))
        self.variant = self._deck.pop()

    @property
    def name(self):
        """Number and variant, by which it is counted."""
        return named(self.number, self.variant)

    def once(self):
        """True: it happened and had an effect. False: it had none. None: it could not be tried now."""
        raise NotImplementedError

    def undo(self):
        """After the last `once` of a phase: what it keeps for the whole phase ends."""

    def pause(self, low, high):
        self.world.pause(self.rng.uniform(low, high))


class OneLink(Fault):
    """Of the link between one pod and Redis."""

    lane_per_pod = True

    @property
    def link(self):
        return self.world.links[self.lane]

    @property
    def pod(self):
        return self.world.pods[self.lane]

    def counted(self, counter):
        """A counter of the daemon; what is neither more nor less than anything where it does not answer."""
        try:
            with self.pod.daemon.client(1) as client:
                return client.call("stats")[counter]
        except (OSError, EOFError, RpcError):
            return float("nan")

    def until_more(self, counter, before, seconds=1):
        """Until a counter of the proxy has risen; False if it does not in that time."""
        deadline = time.monotonic() + seconds
        while self.link.look().get(counter, 0) <= before:
            if time.monotonic() > deadline or self.world.over.is_set():
                return False
            self.world.pause(0.01)
        return True


class LinkFault(OneLink):
    """`kind` is the counter of the proxy that shows its effect."""

    kind = "stall"

    def once(self):
        with self.world.link_lock(self.lane, self.kind):
            before = self.shown()
            try:
                self.hold()
            finally:
                self.release()
            return all(now > then for then, now in zip(before, self.shown()))

    def shown(self):
        """Counters of which each has to rise."""
        return (self.link.look().get(self.kind, 0),)

    def hold(self):
        raise NotImplementedError

    def release(self):
        raise NotImplementedError

    def bounds(self, low, high):
        """A pause counted in D."""
        self.pause(low * self.world.bound_s, high * self.world.bound_s)
