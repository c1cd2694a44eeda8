"""The fixed share of chaos: every kind of fault once, about 80 s; and what is drawn from a seed."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
import chaos
import faults
import plan
from tally import NOT_JUDGED, PASSED


@pytest.mark.timeout(600)
def test_every_kind_of_fault_is_survived():
    """What the machine is too slow for is done again, and then skipped; a run that shows too little fails."""
    status = chaos.main(["--each-once", "--seed", "1"])
    if status == NOT_JUDGED:
        status = chaos.main(["--each-once", "--seed", "2"])
    if status == NOT_JUDGED:
        pytest.skip("the machine is too busy: no promise was seen broken, and not all were tried")
    assert status == PASSED


def test_a_seed_draws_the_same_schedule_again():
    assert plan.draw(7, 25, 12) == plan.draw(7, 25, 12) != plan.draw(8, 25, 12)


def test_every_kind_is_drawn_in_the_fixed_share():
    drawn = [kind for era in plan.each_once(1, 8) for phase in era.phases for kind in phase.kinds]
    assert sorted(drawn) == sorted(faults.NUMBERS)


def test_every_kind_is_drawn_in_a_long_run():
    drawn = {kind for era in plan.draw(1, 25, 12) for phase in era.phases for kind in phase.kinds}
    assert drawn == set(faults.NUMBERS)
