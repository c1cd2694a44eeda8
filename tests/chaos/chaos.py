"""
The chaos runner: real daemons, a real Redis, real load, and faults by number from a seed.

    tests/chaos/chaos.py --minutes 5 --seed 7
    tests/chaos/chaos.py --each-once
    tests/chaos/chaos.py --full --report FILE
    tests/chaos/chaos.py --only F7,F16 --minutes 1 --phase-seconds 10

The seed draws the same schedule each time: which faults, where, how long, in what order. What meets what in real
time is not repeatable. Exit status 0: no promise was broken, and every fault drawn had an effect; 1: one was;
3: none was seen broken, but the run shows less than it should: a fault had too little effect, or hits were rare;
5: the same, because the machine was too slow for some of it to be judged.
"""
import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback

import redis as redis_py

import paths  # noqa: F401 pylint: disable=unused-import
import converged
import faults
import plan
from daemon import PATIENCE
from tally import AT_ALL, FULL, Tally
from world import World, boottime_ns

# Beyond H + 100 ms after healing: daemons, load and proxies share the cores of one machine. Picked.
SLACK_MS = 100 * PATIENCE
FULL_MINUTES = 28.5  # what is under way when the time is up still ends within half an hour
EACH_ONCE_S = 8      # of a phase
# Of operations, with room for one that is rarer than a delete: one clear in a few seconds.
MIX, CLEAR_WEIGHT = "get=90000,mget=3000,strong=500,min_version=1000,max_stale=1000,set=3000,delete=200", 5
ANSWERS_S = 1 * PATIENCE  # a pod that is compared with Redis has answered for every key by then. Picked.

# What faults do to one another. Any other error is a mistake of the runner.
TROUBLES = (OSError, EOFError, redis_py.RedisError)


def lanes_of(world, seed, era, number, phase):
    """(class, random numbers, lane) of each lane of a phase."""
    for kind in phase.kinds:
        for cls in faults.BY_NUMBER[kind]:
            if cls.topologies and era.topology.name not in cls.topologies:
                continue
            for lane in range(len(world.pods) if cls.lane_per_pod else 1):
                yield cls, random.Random(f"{seed}/{era.number}/{number}/{cls.__name__}/{lane}"), lane


def run_lane(world, cls, rng, lane, made, tally):
    """A mistake of the runner ends the lane, and the run shows nothing."""
    try:
        fault = make(world, cls, rng, lane, made, tally)
        while fault and not world.over.is_set():
            try:
                fault.draw()
                effect = fault.once()
                if effect is not None:
                    tally.fired(fault.name, effect)
            except TROUBLES as e:
                tally.trouble(fault.name, e)
            world.pause(fault.rng.uniform(*fault.gap))
    except Exception as e:  # pylint: disable=broad-except
        tally.refuse(f"{cls.number}: {e!r}")
        traceback.print_exc()


def make(world, cls, rng, lane, made, tally):
    """What a fault needs for itself it makes while others run already. None is put for one that was not made."""
    fault = None
    try:
        fault = cls(world, rng, lane)
    except TROUBLES as e:
        tally.trouble(cls.number, e)
    finally:
        made.append(fault)
    return fault


def await_made(lanes, made):
    """A phase begins when every fault of it is ready, or could not be made."""
    deadline = time.monotonic() + 30 * PATIENCE
    while len(made) < len(lanes) and time.monotonic() < deadline:
        time.sleep(0.01)


def run_phase(world, tally, seed, era, number, phase):
    """Gives back how long its end took, for whoever reads along."""
    world.phase_number, world.phase_seconds = number, phase.seconds
    world.over.clear()
    made, lanes = [], []
    try:
        world.tell("faults", "on")
        lanes += [threading.Thread(target=run_lane, args=(world, *lane, made, tally), daemon=True)
                 for lane in lanes_of(world, seed, era, number, phase)]
        for lane in lanes:
            lane.start()
        await_made(lanes, made)
        time.sleep(max(1, phase.seconds - 3 - era.bound_ms / 1000))
    finally:
        world.over.set()
        over = time.monotonic()
        for lane in lanes:
            lane.join(60 * PATIENCE)
            if lane.is_alive():
                tally.refuse("a fault does not end")
    for fault in filter(None, made):
        fault.undo()
    ended = time.monotonic()
    world.heal()
    healed = time.monotonic()
    converge(world, tally)
    return (f"{ended - over:.1f} s until they ended, {healed - ended:.1f} to heal, "
            f"{time.monotonic() - healed:.1f} to converge")


def converge(world, tally):
    healed = time.monotonic()
    world.tell("healed", boottime_ns(), SLACK_MS)
    world.tell("quiesce")
    held = {pod: world.held(pod) for pod in world.pods}
    due = healed + 2 + world.bound_s
    time.sleep(max(0, due - time.monotonic()))
    late = world.late()
    while any(time.monotonic() < due + held[pod]() for pod in late):  # later by what the machine held back
        time.sleep(0.02)
        late = world.late()
    for pod, text in late.items():
        tally.violation("CONV", f"not ready 2 s + D + {held[pod]():.3f} s without a CPU after healing: "
                                f"pod {pod.number}: {text}; {world.health()}")
    world.loads[0].tell("converge", wait="converged")
    compare(world, tally)
    for pod in world.pods:
        pod.expect_alive()
        pod.expect_bounded()
        tally.figure("slowest restart of a daemon, s", pod.slowest_start_s)
    world.tell("resume")


def compare(world, tally):
    """CONV, whatever the checker knows of Redis: every pod answers what is stored there, for every key."""
    begun = time.monotonic()
    keys = [b"key:%d" % number for number in range(world.keys)]
    with world.redis.client(socket_timeout=10) as client:
        before = converged.of_redis(client, keys)
        held = {pod: world.held(pod) for pod in world.pods}
        answers = {pod: converged.of_pod(lambda pod=pod: pod.daemon.client(1), keys, lambda pod=pod:
                                         time.monotonic() < begun + ANSWERS_S + held[pod]())
                   for pod in world.pods}
        after = converged.of_redis(client, keys)
    tally.counted("keys of pods compared with Redis", len(world.pods) * len(keys))
    tally.counted("of these holding a value in Redis",
                  len(world.pods) * sum(kind == "value" for kind, _, _ in before.values()))
    tally.counted("of these not judged, since Redis changed meanwhile",
                  len(world.pods) * sum(before[key] != after[key] for key in keys))
    tally.figure("slowest comparison with Redis, s", time.monotonic() - begun)
    for pod in world.pods:
        found = list(converged.differences(before, answers[pod], after, world.evictions > 0))
        if found:
            tally.violation("CONV", f"pod {pod.number} differs from Redis in {len(found)} of {len(keys)} keys: " +
                            "; ".join(found[:4]))


def start_world(era, load, tally):
    """Before there is any load nothing is lost by a second try."""
    try:
        return World(era, load, tally)
    except (*TROUBLES, RuntimeError) as e:  # RuntimeError: a server or link does not start
        tally.trouble("start of an era", e)
        return World(era, load, tally)


def run_era(era, args, tally):
    load = {"keys": args.keys, "rate": args.rate // 2, "depth": args.depth,
            "writes-max": (args.writes or era.writes) // 2, "threads": 1, "clients": 2 * era.pods,
            "sync": era.pods, "mix": f"{MIX},clear={CLEAR_WEIGHT * era.clears}",
            "ttl-keys": era.ttl_keys, "value-bytes": era.value_bytes}
    tally.where = f"seed {args.seed} era {era.number} {era.topology.name} D={era.bound_ms} start"
    before = tally.snapshot()
    world = start_world(era, load, tally)
    try:
        for number, phase in enumerate(era.phases):
            tally.where = (f"seed {args.seed} era {era.number} {era.topology.name} D={era.bound_ms} "
                           f"phase {number} {' '.join(phase.kinds)}")
            faults_before = sum(tally.count.values())
            times = run_phase(world, tally, args.seed, era, number, phase)
            print(f"{time.monotonic() - tally.begun:7.1f} s  {tally.where}: "
                  f"{sum(tally.count.values()) - faults_before} faults; {times}", flush=True)
        status, report, text = world.close(tally.fired_json(before))
        tally.checked(era, status, report, text, before)
        tally.loaded(world.totals)
        tally.lived([life for pod in world.pods for life in pod.lives])
        if args.verbose:
            print(text, flush=True)
    finally:
        world.remove()


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help=f"5; {FULL_MINUTES} with --full")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phase-seconds", type=float, default=12)
    parser.add_argument("--only", type=lambda text: text.split(","), help="kinds, such as F7,F16")
    parser.add_argument("--each-once", action="store_true", help="every kind in one short phase; about 80 s")
    parser.add_argument("--full", action="store_true", help="half an hour that has to show, in one run, "
                        f"{FULL.faults:,} faults, each kind {FULL.each} times (what lasts long: {FULL.long}), "
                        f"{FULL.reads:,} checked reads, both values of D")
    parser.add_argument("--rate", type=int, default=0, help="operations per second, 0: as many as can be")
    parser.add_argument("--writes", type=int, help="writes per second at most; drawn for each era if not given")
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--report", help="the summary as JSON into this file")
    parser.add_argument("--list", action="store_true", help="the kinds of faults and the promises they endanger")
    parser.add_argument("--plan", action="store_true", help="print the schedule, run nothing")
    parser.add_argument("--verbose", action="store_true", help="what the checker says of every era")
    return parser.parse_args(argv)


def run_eras(eras, args, tally):
    """One after the other; when the time is up, what has not begun is left out. Those that were run."""
    limit_s, planned_s, run = 60 * args.minutes, 0, []
    for era in eras:
        spent_s = time.monotonic() - tally.begun
        pace = max(1, spent_s / planned_s) if planned_s else 1
        if not args.each_once and run and spent_s + pace * plan.seconds(era) > limit_s + plan.ERA_OVERHEAD_S:
            break
        run.append(era)
        try:
            run_era(era, args, tally)
        except Exception as e:  # pylint: disable=broad-except
            tally.refuse(f"the era was not finished: {e!r}")  # its checker has not spoken
            traceback.print_exc()
        planned_s += plan.seconds(era)
    return run


def prepare(args):
    if os.path.isdir("/dev/shm"):
        tempfile.tempdir = "/dev/shm"  # a disk that is slow for Redis would be a fault that nobody injected
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # 1000 clients at once
    if args.minutes is None:
        args.minutes = FULL_MINUTES if args.full else 5


def main(argv=None):
    args = arguments(argv)
    prepare(args)
    if args.list:
        for number in faults.NUMBERS:
            print(f"{number:4} {faults.title(number)}\n     endangers {faults.endangers(number)}")
        return 0
    eras = plan.each_once(args.seed, EACH_ONCE_S) if args.each_once else \
        plan.draw(args.seed, args.minutes, args.phase_seconds, args.only)
    if args.plan:
        for era in eras:
            print(f"era {era.number} {era.topology.name} D={era.bound_ms} ms, {era.pods} pods of "
                  f"{era.max_memory >> 20} MiB{', clears' * era.clears}, {era.ttl_keys} keys with a TTL, "
                  f"values of {era.value_bytes} B, {era.invalidating} pods that only invalidate: "
                  + "; ".join(" ".join(p.kinds) for p in era.phases))
        return 0
    tally = Tally(FULL if args.full else AT_ALL)
    drawn = {kind for era in run_eras(eras, args, tally) for phase in era.phases for kind in phase.kinds}
    tally.expect_shown(faults.NUMBERS if args.full else drawn)
    print(tally.report())
    if args.report:
        tally.write(args.report)
    return tally.status()


if __name__ == "__main__":
    sys.setswitchinterval(0.001)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was started is ended, too
    sys.exit(main())
