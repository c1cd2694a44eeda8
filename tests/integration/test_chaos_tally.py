"""What a chaos run has to show before it is called passed, and what it is called otherwise."""
import os
import random
import sys
import threading
import types
from unittest.mock import Mock

import pytest
import redis as redis_py

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "chaos"))

# pylint: disable=wrong-import-position
import chaos
import fault
import faults
import plan
import redis_faults
from tally import FULL, NOT_JUDGED, PASSED, REFUSED, VIOLATED, Tally
from topology import TOPOLOGIES

ERAS = 20


def era(number=0, bound_ms=250, topology="everysec"):
    return plan.Era(number, 1, TOPOLOGIES[topology], bound_ms, 3, 1 << 20, 800, False, [])


def report(reads, bound_ms=250, **more):
    half, all_ns = bound_ms * 500_000, bound_ms * 1_000_000
    return {"checked_reads": reads, "age": {"max_ms": bound_ms - 0.01}, "violations": {}, "stalled_share": 0,
            "age_buckets": [[half, reads - reads // 1000], [all_ns, reads // 1000]], **more}


def shown(without=None, times=0, reads=FULL.reads, bounds=(250, 1000), hits=9):
    """A run that shows all that is required, but for what is said."""
    tally = Tally(FULL)
    for kind in faults.NUMBERS:
        names = [name for name in faults.variants(kind) if name != without or kind == without]
        for n in range(times if kind == without else 500):
            tally.fired(names[n % len(names)], True)
    for number in range(ERAS):
        bound_ms = bounds[number % len(bounds)]
        tally.checked(era(number, bound_ms), PASSED, report(reads // ERAS, bound_ms), "", tally.snapshot())
    tally.lived([{"reads": 10, "hits": hits}])
    tally.expect_shown(faults.NUMBERS)
    return tally


def test_a_run_that_shows_all_is_passed():
    tally = shown()
    assert tally.status() == PASSED
    assert "MISSED" not in tally.report() and "verdict: passed" in tally.report()


@pytest.mark.parametrize("but, why", [
    ({"without": "F7", "times": 99}, "F7 had an effect 99 times, not 100"),
    ({"without": "F13", "times": 9}, "F13 had an effect 9 times, not 10"),
    ({"without": "F16 FLUSHALL"}, "F16 FLUSHALL had an effect 0 times, not 1"),
    ({"without": "F8 output-buffer kill"}, "F8 output-buffer kill had an effect 0 times, not 1"),
    ({"reads": FULL.reads - ERAS}, "99,999,980 checked reads, not 100,000,000"),
    ({"bounds": (250,)}, "D = 1000 ms was not tried"),
    ({"hits": 5}, "hits were 5 of 10 reads, not more than half"),
])
def test_a_run_that_shows_less_is_refused(but, why):
    tally = shown(**but)
    assert tally.status() == REFUSED
    assert [one["text"] for one in tally.refusals] == [why]
    assert "verdict: refused to pass" in tally.report()


def test_what_lasts_long_is_required_less_often():
    assert shown("F13", 10).status() == PASSED


def test_one_variant_does_not_stand_for_another():
    tally = Tally(FULL)
    for _ in range(100):
        tally.fired("F8 message lost", True)
    tally.fired("F8 output-buffer kill", False)
    tally.expect_shown(["F8"])
    assert "F8 output-buffer kill had an effect 0 times, not 1" in [one["text"] for one in tally.refusals]
    assert tally.fired_json() == {"F8": {"count": 101, "effect": 100}}
    assert "| F8 output-buffer kill | 1 | 0 | 1 | MISSED |" in tally.report()


def test_every_variant_has_its_turn_before_one_comes_again():
    class Drawn(fault.Fault):
        number, variants = "F1", ("a", "a", "b")

    one, names = Drawn(Mock(), random.Random(1)), []
    for _ in range(30):
        one.draw()
        names.append(one.name)
    assert all(sorted(names[at:at + 3]) == ["F1 a", "F1 a", "F1 b"] for at in range(0, 30, 3))


def test_a_fault_without_effect_does_not_count():
    tally = Tally(FULL)
    for _ in range(100):
        tally.fired("F7", False)
    tally.expect_shown(["F7"])
    assert "F7 had an effect 0 times, not 100" in [one["text"] for one in tally.refusals]


def test_a_broken_promise_outweighs_what_is_missing():
    tally = shown(reads=ERAS)
    tally.checked(era(), VIOLATED, report(1), "MONO violated 2 times\n", tally.snapshot())
    assert tally.status() == VIOLATED and tally.violations[0]["promise"] == "MONO"


def test_what_fired_and_was_read_on_a_machine_too_slow_does_not_count():
    tally = Tally(FULL)
    before = tally.snapshot()
    tally.fired("F7", True)
    late = report(1000, stalled_share=0.4, violations={"AVAIL": {"count": 3}})
    tally.checked(era(), NOT_JUDGED, late, "AVAIL violated 3 times\n", before)
    assert tally.checked_reads() == 0 and tally.fired_json() == {}
    assert not tally.violations and "not judged" in tally.report()
    tally.expect_shown(["F7"])
    assert tally.status() == NOT_JUDGED and "verdict: not judged" in tally.report()


@pytest.mark.parametrize("slow_eras, status", [(1, PASSED), (2, PASSED), (3, NOT_JUDGED)])
def test_few_eras_may_be_unjudged_and_many_leave_the_run_unjudged(slow_eras, status):
    tally = shown()
    for _ in range(slow_eras):
        tally.checked(era(), NOT_JUDGED, report(1000, stalled_share=0.4), "", tally.snapshot())
    tally.expect_shown(faults.NUMBERS)
    assert tally.status() == status
    assert not tally.violations


def test_what_the_checker_could_not_read_is_no_violation():
    tally = shown()
    tally.checked(era(), 4, {}, "", tally.snapshot())
    assert tally.status() == REFUSED


def test_ages_of_all_eras_are_one_distribution_per_bound():
    ages = shown().summary()["age_at_the_library"]
    assert ages["D=250 ms"] == {"checked_reads": FULL.reads // 2, "count": FULL.reads // 2, "max_ms": 249.99,
                                "p50_ms": 125, "p99_ms": 125, "p9999_ms": 249.99}
    assert ages["D=1000 ms"]["max_ms"] == 999.99


def test_staleness_is_not_dated_by_a_clock_that_jumps():
    tally = Tally(FULL)
    for topology, ms in (("everysec", 20), ("pair", 30), ("clocks", 3_600_000)):
        stale = {"staleness": {"max_ms": ms}, "staleness_buckets": [[ms * 1_000_000, 2]]}
        tally.checked(era(0, 250, topology), PASSED, report(1000, **stale), "", tally.snapshot())
    assert tally.summary()["staleness"]["D=250 ms"] == {"checked_reads": 2000, "count": 4, "max_ms": 30,
                                                        "p50_ms": 20, "p99_ms": 30, "p9999_ms": 30}
    assert tally.checked_reads() == 3000
    assert "values read after a newer commit: since that | 4 | 20.000 ms" in tally.report()


@pytest.mark.parametrize("topology, promises", [("everysec", ["BOUND"]), ("pair", ["BOUND"]), ("clocks", [])])
def test_a_value_read_more_than_the_bound_after_a_newer_commit_is_a_violation(topology, promises):
    tally = Tally(FULL)
    for ms in (250, 250.1):
        stale = {"staleness": {"max_ms": ms}, "staleness_buckets": [[int(ms * 1_000_000), 1]]}
        tally.checked(era(0, 250, topology), PASSED, report(1000, **stale), "", tally.snapshot())
    assert [v["promise"] for v in tally.violations] == promises


def test_a_full_run_draws_every_kind_often_and_both_bounds():
    eras = plan.draw(12, 28.5, 12)
    drawn = [kind for one in eras for phase in one.phases for kind in phase.kinds]
    assert all(drawn.count(kind) >= (18 if faults.comes_rarely(kind) else 9) for kind in faults.NUMBERS)
    assert {one.bound_ms for one in eras} == {250, 1000}


class Failing(fault.Fault):
    """Throws in each of three tries."""
    number = "F7"
    gap = (0, 0)
    at_start, error = False, OSError

    def __init__(self, world, rng, lane=0):  # pylint: disable=super-init-not-called
        self.world, self.rng, self.lane, self.left = world, rng, lane, 3
        if self.at_start:
            raise self.error("no")

    def once(self):
        self.left -= 1
        if not self.left:
            self.world.over.set()
        raise self.error("no")


@pytest.mark.parametrize("at_start", [True, False])
@pytest.mark.parametrize("error, is_trouble", [
    (ConnectionRefusedError, True), (EOFError, True), (redis_py.BusyLoadingError, True),
    (KeyError, False), (AssertionError, False), (RuntimeError, False),
])
def test_what_faults_do_to_one_another_is_trouble_and_a_mistake_fails_the_run(error, is_trouble, at_start):
    over = threading.Event()
    tally, world, made = Tally(), types.SimpleNamespace(over=over, pause=over.wait), []
    cls = type("Fails", (Failing,), {"error": error, "at_start": at_start})
    chaos.run_lane(world, cls, random.Random(1), 0, made, tally)
    assert len(made) == 1
    assert sum(tally.troubled.values()) == (is_trouble and (1 if at_start else 3))
    assert tally.status() == (PASSED if is_trouble else REFUSED)
    assert len(tally.refusals) == (not is_trouble)


def test_a_share_of_the_eras_clears():
    eras = plan.draw(12, 28.5, 12)
    clearing = [one for one in eras if one.clears]
    assert clearing and len(clearing) * 2 <= len(eras)
    assert {one.topology.name for one in clearing} <= {"always", "everysec", "clocks", "aof-no"}


@pytest.mark.parametrize("seed", range(8))
def test_a_full_run_kills_redis_under_every_persistence(seed):
    eras = plan.draw(seed, 28.5, 12)
    under = {one.topology.name for one in eras if any("F12" in phase.kinds for phase in one.phases)}
    assert under == set(redis_faults.RedisKilled.topologies)
