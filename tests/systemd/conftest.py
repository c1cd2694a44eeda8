"""
Fixtures: one machine for the whole run with Redis and a released dcached in it; `service` is a running
dcached.service with nothing left of the test before. Where no systemd can be booted these tests are
skipped, and say why.
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=wrong-import-position
from machine import REPO, CannotBoot, Machine


@pytest.fixture(scope="session")
def bare_machine():
    """With Redis; dcached is not installed."""
    if os.geteuid() != 0:
        pytest.skip("booting a systemd needs root")
    try:
        machine = Machine(kept=[REPO])
    except (CannotBoot, FileNotFoundError) as error:
        pytest.skip(f"no systemd can be booted here: {error}")
    with machine:
        machine.systemctl("start", "redis-server")
        yield machine


@pytest.fixture(scope="session")
def machine(bare_machine):
    """With dcached installed."""
    bare_machine.install()
    return bare_machine


@pytest.fixture
def service(machine):
    """The machine, with dcached.service and dcached.socket running and ready."""
    units = ("dcached.service", "dcached.socket", "redis-server.service")
    conf = machine.read("/etc/dcached/dcached.conf")
    machine.systemctl("start", "redis-server", "dcached.socket", "dcached.service")
    machine.wait_ready()
    yield machine
    machine.systemctl("stop", *units[:2])
    machine.write("/etc/dcached/dcached.conf", conf)
    for unit in units:
        if machine.exists(f"/etc/systemd/system/{unit}.d"):
            machine.systemctl("stop", unit)
            machine.drop_in(unit, "")
    machine.systemctl("reset-failed")
