"""
What a fault is to the runner.

A fault is a class. `once` makes it happen one time and says whether it had an effect: bytes held back, connections
closed, an error answered, a process seen stopped. What it began it has ended when it returns, also when the phase
is over earlier (`world.pause` is cut short then) or something is thrown. Each lane of a fault is a thread that
calls `once` again and again; its random numbers come from the seed, the phase, the fault and the lane alone.
"""

import time


class Fault:
    number = ""                # "F1" of the list of faults
    title = ""
    endangers = ""             # names of promises
    long = False               # lasts long: aimed at 10 times where others are at 100
    slow = False               # comes rarely in a phase, and is drawn twice as often
    gap = (0.05, 0.3)          # seconds between two of one lane
    lane_per_pod = False       # else there is one lane
    topologies = None          # names; None: all

    def __init__(self, world, rng, lane=0):
        self.world, self.rng, self.lane = world, rng, lane
        self.redis = world.redis_client()

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
            before = self.link.look().get(self.kind, 0)
            try:
                self.hold()
            finally:
                self.release()
            return self.link.look().get(self.kind, 0) > before

    def hold(self):
        raise NotImplementedError

    def release(self):
        raise NotImplementedError

    def bounds(self, low, high):
        """A pause counted in D."""
        self.pause(low * self.world.bound_s, high * self.world.bound_s)
