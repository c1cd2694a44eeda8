"""Every fault by its number; several classes may share one."""
import link_faults
import process_faults
import redis_faults
import spare_faults
import split_faults
from fault import named

CLASSES = link_faults.FAULTS + redis_faults.FAULTS + process_faults.FAULTS + spare_faults.FAULTS + \
    split_faults.FAULTS
BY_NUMBER = {}
for fault in CLASSES:
    BY_NUMBER.setdefault(fault.number, []).append(fault)
NUMBERS = [f"F{n}" for n in range(1, 28)]
assert sorted(BY_NUMBER) == sorted(NUMBERS), sorted(set(NUMBERS) ^ set(BY_NUMBER))


def lasts_long(number):
    return any(cls.long for cls in BY_NUMBER[number])


def comes_rarely(number):
    return any(cls.slow for cls in BY_NUMBER[number])


def differs_by_topology(number):
    return any(cls.of_topology for cls in BY_NUMBER[number])


def title(number):
    return "; ".join(cls.title for cls in BY_NUMBER[number])


def endangers(number):
    return " ".join(dict.fromkeys(name for cls in BY_NUMBER[number] for name in cls.endangers.split(" ")))


def possible_in(number, topology):
    return any(cls.topologies is None or topology in cls.topologies for cls in BY_NUMBER[number])


def variants(number):
    """Names of what is told apart under a number, in the order of the list."""
    return list(dict.fromkeys(named(number, variant) for cls in BY_NUMBER[number] for variant in cls.variants))
