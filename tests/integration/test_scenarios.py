"""The five scenarios of the demo, as tests."""
import tempfile

import pytest

from scenarios import SCENARIOS
from stage import World


@pytest.fixture(scope="module")
def world():
    with tempfile.TemporaryDirectory(prefix="dc-") as folder, World(folder, tell=print) as world:
        yield world


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_scenario_passes(world, scenario):
    scenario(world)
