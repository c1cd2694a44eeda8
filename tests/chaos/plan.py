"""
Which faults come together, on which Redis, with which D: drawn from the seed alone.

A run is a row of eras. An era is one Redis, its pods, one load and one checker; it has a few phases. A phase draws
two to four kinds of fault and leaves the others out. Kinds that were drawn least come first, so that all of them
have their turn; those of which few fit into a phase have it twice as often, and those that are another thing on
another Redis have it on each.
"""
import random
from collections import Counter, namedtuple

import faults
from topology import TOPOLOGIES, aof_is_truth

# clears: whether the load clears now and then; invalidating: how many pods send messages without values.
Era = namedtuple("Era", "number seed topology bound_ms pods max_memory writes clears phases ttl_keys value_bytes "
                 "invalidating", defaults=(0, 96, 0))
Phase = namedtuple("Phase", "kinds seconds")

PHASES_OF_AN_ERA = 4
TTL_KEYS = 30          # of 300
ERA_OVERHEAD_S = 4     # start and end; measured about 3
LONG_STOP_S = 66       # the phase in which a daemon is stopped for a minute


def _phase(rng, drawn, topology, wanted, seconds, at_most=4):
    possible = [n for n in wanted if faults.possible_in(n, topology.name)]
    count = min(len(possible), rng.randint(2, at_most))

    def turn(number):
        missing = faults.differs_by_topology(number) and not drawn[number, topology.name]
        return not missing, drawn[number] * (1 if faults.comes_rarely(number) else 2), rng.random()

    kinds = sorted(possible, key=turn)[:count]
    drawn.update([*kinds, *((kind, topology.name) for kind in kinds)])
    return Phase(sorted(kinds, key=lambda n: int(n[1:])), seconds)


def _era(rng, number, topology, phases, bound_ms=None):
    seed, bound_ms = rng.randrange(1 << 30), bound_ms or rng.choice([250, 1000])
    pods, max_memory, writes = rng.randint(3, 4), rng.choice([1, 8, 64]) << 20, _writes(rng, topology)
    return Era(number, seed, topology, bound_ms, pods, max_memory, writes, _clears(seed, topology, writes), phases,
               _ttl_keys(rng, topology), rng.choice([96, 1024]), rng.choice([0, 1]))


def _ttl_keys(rng, topology):
    """Only the append-only file tells that a key has expired, so that its versions begin again."""
    return rng.choice([0, TTL_KEYS]) if aof_is_truth(topology) else 0


def _writes(rng, topology):
    """
    Per second. Where there are few, a lost message is not shown by the next one. Where Redis forgets, many are
    needed for something to be there to read.
    """
    return rng.choice([20, 800, 800]) if topology.keeps == "everything" else 800


def _clears(seed, topology, writes):
    """Every other era in which a file says what became of it, and many writes make up for it."""
    return aof_is_truth(topology) and writes > 100 and seed % 2 == 0


def seconds(era):
    """How long it takes, about."""
    return ERA_OVERHEAD_S + sum(phase.seconds for phase in era.phases)


def draw(seed, minutes, phase_seconds, only=None):
    """Eras for about so long."""
    rng = random.Random(seed)
    wanted = [n for n in faults.NUMBERS if not only or n in only]
    drawn, eras, left = Counter(), [], minutes * 60
    topologies = []
    if minutes >= 10 and not only:
        eras.append(_era(rng, 0, TOPOLOGIES["everysec"], [Phase(["F9"], LONG_STOP_S)]))
        left -= LONG_STOP_S + ERA_OVERHEAD_S
    while left > 0:
        topologies = topologies or _shuffled(rng, [t for t in TOPOLOGIES.values() if
                                                   any(faults.possible_in(n, t.name) for n in wanted)])
        topology, phases = topologies.pop(), []
        left -= ERA_OVERHEAD_S
        while len(phases) < PHASES_OF_AN_ERA and (left > 0 or not phases):
            phases.append(_phase(rng, drawn, topology, wanted, phase_seconds))
            left -= phase_seconds
        eras.append(_era(rng, len(eras), topology, phases))
    return eras


def _shuffled(rng, items):
    return rng.sample(items, len(items))


def each_once(seed, phase_seconds):
    """Every kind once, in as few phases as there can be: three kinds in each of nine."""
    rng = random.Random(seed)
    drawn, eras = Counter(), []
    for topology, own in (("guarded", ["F14", "F15"]), ("none", ["F13", "F12"]), ("clocks", ["F19"])):
        others = [n for n in faults.NUMBERS if n not in ("F12", "F13", "F14", "F15", "F19") and not drawn[n]]
        kinds = own + rng.sample(others, 9 - len(own))
        drawn.update(kinds)
        phases = [Phase(sorted(kinds[at::3], key=lambda n: int(n[1:])), phase_seconds) for at in range(3)]
        eras.append(_era(rng, len(eras), TOPOLOGIES[topology], phases, bound_ms=250))
    return eras
