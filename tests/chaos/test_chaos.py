"""The fixed share of chaos: every kind of fault once, about 80 s; and what is drawn from a seed."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
import chaos
import faults
import plan


@pytest.mark.timeout(600)
def test_every_kind_of_fault_is_survived():
    """A run that shows less than it should is done again; what the second one cannot show either is not passed."""
    status = chaos.main(["--each-once", "--seed", "1"])
    if status == 3:
        status = chaos.main(["--each-once", "--seed", "2"])
    if status == 3:
        pytest.skip("the machine is too busy: no promise was seen broken, and not all were tried")
    assert status == 0


def test_a_seed_draws_the_same_schedule_again():
    assert plan.draw(7, 25, 12) == plan.draw(7, 25, 12) != plan.draw(8, 25, 12)


def test_every_kind_is_drawn_in_the_fixed_share():
    drawn = [kind for era in plan.each_once(1, 8) for phase in era.phases for kind in phase.kinds]
    assert sorted(drawn) == sorted(faults.NUMBERS)


def test_every_kind_is_drawn_in_a_long_run():
    drawn = {kind for era in plan.draw(1, 25, 12) for phase in era.phases for kind in phase.kinds}
    assert drawn == set(faults.NUMBERS)
